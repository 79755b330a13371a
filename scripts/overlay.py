#!/usr/bin/python3
#
# Put this project into a QEMU tree, and take it out again
#
# SPDX-License-Identifier: GPL-2.0-or-later
"""Link this checkout into a QEMU source tree and hook it up there.

The checkout mirrors the places that its files have in QEMU. Each of them is a
symbolic link in the tree, so that an edit here is an edit there, and a few
lines are added to files of QEMU, which is what upstream would have to take.
Some of them mend QEMU itself; see docs/devel/age-mends.rst.
"""

import argparse
import glob
import json
import os
import re
import sys
import tempfile
from dataclasses import astuple, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Directories that are ours from the top down.
DIRS = ['accel/age', 'hw/age-device', 'tests/qtest/age']

# Single files among those of QEMU.
FILES = [
    'configs/devices/*/age.mak',
    'docs/devel/age*.png',
    'docs/devel/age*.rst',
    'docs/devel/age*.rst.inc',
    'docs/interop/age*.rst',
    'docs/specs/age*.rst',
    'docs/system/age*.rst',
    'docs/system/qemu-age*.png',
    'docs/system/qemu-age.rst',
    'docs/tools/qemu-age.rst',
    'include/system/age*.h',
    'qapi/age*.json',
    'tests/qtest/fuzz/age_*.[ch]',
]

# Where earlier versions had files: a link that is left there is taken out.
FORMER = ['tests/qtest/age-*.[ch]']

# What was added to a tree is written down there: revert has to take out the
# lines that are in it, also when the table below has changed since.
STATE = '.age-overlay'


class OverlayError(Exception):
    """A tree that does not fit; nothing in it was changed."""


@dataclass(frozen=True)
class Hook:
    """What to add to one file of QEMU: mostly one line.

    `anchor` is a line, or several in a row, that occurs once in `file`.
    `where` is "before" or "after" it, or "instead" of it.
    `needs` are the files of ours without which the line makes no sense.
    `since` and `before` bound the QEMU versions that want it; empty: all.
    `mend` says that it mends QEMU, which can be left out.
    """
    file: str
    where: str
    anchor: str
    line: str
    needs: str
    since: str = ''
    before: str = ''
    mend: bool = False

    def fits(self, version):
        """Whether a QEMU of that version wants it."""
        here = version_key(version)
        return (version_key(self.since) <= here and
                (not self.before or here < version_key(self.before)))


def version_key(version):
    """Release candidates ("10.1.50") come before what they lead to."""
    return [int(number) for number in re.findall(r'[0-9]+', version)]


def mend_of_physmem(where, anchor, line, since='', before='11.0'):
    """A hook of the mend that include/system/age-tlb-view.h explains."""
    return Hook('system/physmem.c', where, anchor, line,
                'include/system/age-tlb-view.h', since, before, mend=True)


HOOKS = [
    Hook('accel/meson.build', 'after', "  subdir('qtest')",
         "  subdir('age')", 'accel/age/meson.build'),
    # A word of the bitmaps is a long of 64 bits, and an entry one atomic
    # access: not so on Windows and on hosts of 32 bits, which do without all
    # of it.
    Hook('meson.build', 'before', 'host_kconfig = \\',
         "config_host_data.set('CONFIG_AGE',"
         " 'CONFIG_TCG' in accelerators and cc.sizeof('long') == 8)",
         'accel/age/meson.build'),
    Hook('meson.build', 'after', 'host_kconfig = \\',
         "  (config_host_data.get('CONFIG_AGE') ?"
         " ['CONFIG_AGE_POSSIBLE=y'] : []) + \\",
         'accel/age/Kconfig accel/age/meson.build'),
    Hook('accel/Kconfig', 'before', 'config WHPX',
         'source age/Kconfig', 'accel/age/Kconfig accel/age/meson.build'),
    Hook('meson.build', 'before', "    'accel/kvm',",
         "    'accel/age',", 'accel/age/trace-events'),
    Hook('qapi/meson.build', 'after', "    'acpi',",
         "    'age',\n    'age-history',",
         'qapi/age.json qapi/age-history.json accel/age/meson.build'),
    # Before qom.json, which includes what has the properties of our objects
    Hook('qapi/qapi-schema.json', 'before', "{ 'include': 'qom.json' }",
         "{ 'include': 'age.json' }\n{ 'include': 'age-history.json' }",
         'qapi/age.json qapi/age-history.json accel/age/meson.build'),
    # Tools have qom.json as well, so what it includes has no commands.
    Hook('qapi/qom.json', 'before', "{ 'include': 'authz.json' }",
         "{ 'include': 'age-object.json' }",
         'qapi/age-object.json accel/age/meson.build'),
    Hook('qapi/meson.build', 'before', "  'authz',", "  'age-object',",
         'qapi/age-object.json accel/age/meson.build'),
    Hook('qapi/qom.json', 'before', "    'authz-list',",
         "    { 'name': 'age-history',\n      'if': 'CONFIG_AGE' },",
         'qapi/age-history.json accel/age/meson.build'),
    Hook('qapi/qom.json', 'before',
         "      'authz-list':                 'AuthZListProperties',",
         "      'age-history':                "
         "{ 'type': 'AgeHistoryProperties',\n"
         "                                      'if': 'CONFIG_AGE' },",
         'qapi/age-history.json accel/age/meson.build'),
    Hook('qapi/stats.json', 'after',
         '# @kvm: since 7.1\n#\n# @cryptodev: since 8.0',
         '#\n# @age: since 10.0',
         'qapi/age-history.json accel/age/meson.build'),
    Hook('qapi/stats.json', 'instead', "  'data': [ 'kvm', 'cryptodev' ] }",
         "  'data': [ 'kvm', 'cryptodev',\n"
         "            { 'name': 'age', 'if': 'CONFIG_AGE' } ] }",
         'qapi/age-history.json accel/age/meson.build'),
    # query-accelerators and "info accelerators" go over this enumeration.
    Hook('qapi/accelerator.json', 'before',
         '# @hvf: Apple Hypervisor.framework',
         '# @age: TCG with a second-stage MMU (since 10.2)\n#',
         'accel/age/meson.build', since='10.2'),
    Hook('qapi/accelerator.json', 'instead',
         "{ 'enum': 'Accelerator', 'data': ['hvf', 'kvm', 'mshv', 'nvmm', "
         "'qtest', 'tcg', 'whpx', 'xen'] }",
         "{ 'enum': 'Accelerator',\n"
         "  'data': [ { 'name': 'age', 'if': 'CONFIG_AGE' }, 'hvf', 'kvm',\n"
         "            'mshv', 'nvmm', 'qtest', 'tcg', 'whpx', 'xen' ] }",
         'accel/age/meson.build', since='10.2'),
    Hook('system/vl.c', 'before', '    /* Reason: property "chardev" */',
         '    /* Reason: needs the accelerator */\n'
         '    if (g_str_equal(type, "age-history")) {\n'
         '        return false;\n    }\n',
         'qapi/age-history.json accel/age/meson.build'),
    Hook('hmp-commands-info.hx', 'after',
         "    Show the crypto devices.\nERST",
         '#include "accel/age/monitor/hmp-commands-info.h.inc"',
         'accel/age/monitor/hmp-commands-info.h.inc'),
    Hook('hmp-commands.hx', 'before', '#if defined(CONFIG_FDT)',
         '#include "accel/age/monitor/hmp-commands.h.inc"',
         'accel/age/monitor/hmp-commands.h.inc'),
    Hook('qemu-options.hx', 'after',
         r'    "                one-insn-per-tb=on|off'
         r' (one guest instruction per TCG translation block)\n"',
         r'    "                page-size=4k|2m|1g,levels=n,'
         r'flush=none|request (age)\n"'
         '\n'
         r'    "                hw-ad=on|off,haft=on|off,'
         r'tlb-grow=on|off (age)\n"',
         'accel/age/meson.build'),
    Hook('qemu-options.hx', 'before', '    ``-object rng-builtin,id=id``',
         '    ``-object age-history,id=id[,interval=ms][,flush=none|request]'
         '[,dirty=on|off][,events=on|off]``\n'
         '        Remembers for each page of the guest when it was last '
         'accessed, under\n'
         '        ``-accel age``.  Any number of clients of QMP can read it.\n'
         '\n'
         '        Every ``interval`` milliseconds it makes a harvest of all '
         'memory; 0,\n'
         '        the default, leaves that to clients.  ``flush`` is what is '
         'done about\n'
         '        TLBs then (default: request).  With ``dirty=on`` it '
         'remembers stores as\n'
         '        well.  With ``events=on`` each harvest of its own ends with '
         'an event.\n',
         'docs/interop/age-history.rst qapi/age-history.json'),
    # Commands that can be given without arguments, but are no queries
    Hook('tests/qtest/qmp-cmd-test.c', 'after', '        "add-fd",',
         '        "age-test-clear-dirty",\n        "age-test-clear-young",',
         'accel/age/meson.build'),
    Hook('system/physmem.c', 'after', '#include "system/xen-mapcache.h"',
         '#include "system/age.h"',
         'accel/age/meson.build include/system/age.h'),
    Hook('system/physmem.c', 'after',
         '                                      need_madvise, '
         'need_fallocate, ret);',
         '        age_discarded(host_startaddr, length);',
         'accel/age/meson.build include/system/age.h'),
    # Section numbers of another memory map, see docs/devel/age-mends.rst
    mend_of_physmem('after', '#include "exec/memory-internal.h"',
                    '#include "system/age-tlb-view.h"', before='10.1'),
    mend_of_physmem('after', '#include "memory-internal.h"',
                    '#include "system/age-tlb-view.h"', since='10.1'),
    mend_of_physmem('after', '    MemoryListener tcg_as_listener;',
                    '    FlatView *tlb_view;'),
    mend_of_physmem('before', '    for (;;) {\n        section = '
                    'address_space_translate_internal('
                    'd, addr, &addr, plen, false);',
                    '    d = age_tlb_view_dispatch('
                    '&cpu->cpu_ases[asidx].tlb_view,\n'
                    '                              '
                    'cpu->cpu_ases[asidx].as);'),
    mend_of_physmem('before', '    assert(section_index < d->map.sections_nb);',
                    '    d = age_tlb_view_dispatch('
                    '&cpuas->tlb_view, cpuas->as);'),
    mend_of_physmem('after', 'static void tcg_commit_cpu('
                    'CPUState *cpu, run_on_cpu_data data)\n{',
                    '    CPUAddressSpace *cpuas = data.host_ptr;\n\n'
                    '    age_tlb_view_follow(&cpuas->tlb_view, cpuas->as);'),
    mend_of_physmem('after', '            memory_listener_unregister('
                    '&cpuas->tcg_as_listener);',
                    '            g_clear_pointer(&cpuas->tlb_view, '
                    'flatview_unref);'),
    # TLBs of another block's pages, see docs/devel/age-mends.rst
    Hook('include/exec/ram_addr.h', 'instead',
         '            cpu_physical_memory_dirty_bits_cleared(start, length);',
         '            cpu_physical_memory_dirty_bits_cleared('
         'start + rb->offset, length);',
         'accel/age/meson.build', before='10.1', mend=True),
    Hook('migration/ram.c', 'instead',
         '            physical_memory_dirty_bits_cleared(start, length);',
         '            physical_memory_dirty_bits_cleared('
         'start + rb->offset, length);',
         'accel/age/meson.build', since='10.2', mend=True),
    # What plugins take for memory, see docs/devel/age-mends.rst
    Hook('accel/tcg/cputlb.c', 'instead', '    if (tlb_addr & TLB_MMIO) {',
         '    if (full->slow_flags[access_type] & TLB_MMIO) {',
         'accel/age/meson.build', since='10.2', mend=True),
    Hook('hw/meson.build', 'after', "subdir('adc')",
         "subdir('age-device')", 'hw/age-device/meson.build'),
    Hook('hw/Kconfig', 'after', 'source adc/Kconfig',
         'source age-device/Kconfig', 'hw/age-device/Kconfig'),
    Hook('meson.build', 'after', "    'hw/adc',",
         "    'hw/age-device',", 'hw/age-device/trace-events'),
    Hook('tests/qtest/meson.build', 'after', 'qtest_executables = {}',
         "subdir('age')", 'tests/qtest/age/meson.build'),
    Hook('tests/qtest/fuzz/meson.build', 'after',
         "specific_fuzz_ss.add(files('generic_fuzz.c'))",
         "specific_fuzz_ss.add(when: 'CONFIG_AGE_DEVICE',"
         " if_true: files('age_device_fuzz.c', 'age_iommu_fuzz.c'))",
         'tests/qtest/fuzz/age_device_fuzz.c hw/age-device/meson.build'),
    Hook('docs/system/index.rst', 'after', '   replay',
         '   age', 'docs/system/age.rst'),
    Hook('docs/system/index.rst', 'before', '   managed-startup',
         '   age-accuracy', 'docs/system/age-accuracy.rst'),
    Hook('docs/system/index.rst', 'before', '   managed-startup',
         '   age-export', 'docs/system/age-export.rst'),
    Hook('docs/system/index.rst', 'before', '   managed-startup',
         '   age-libvirt', 'docs/system/age-libvirt.rst'),
    Hook('docs/system/index.rst', 'before', '   managed-startup',
         '   qemu-age', 'docs/system/qemu-age.rst'),
    # The manual page qemu-age(1)
    Hook('docs/conf.py', 'before', "    ('tools/qemu-img', 'qemu-img',",
         "    ('tools/qemu-age', 'qemu-age',\n"
         "     'what guests use of their memory',\n"
         "     [], 1),", 'docs/tools/qemu-age.rst'),
    Hook('docs/meson.build', 'before',
         "        'qemu-img.1': (have_tools ? 'man1' : ''),",
         "        'qemu-age.1': 'man1',", 'docs/tools/qemu-age.rst'),
    Hook('docs/tools/index.rst', 'before', '   qemu-img',
         '   qemu-age', 'docs/tools/qemu-age.rst'),
    Hook('docs/interop/index.rst', 'before', '   barrier',
         '   age-harvest', 'docs/interop/age-harvest.rst'),
    Hook('docs/interop/index.rst', 'before', '   barrier',
         '   age-history', 'docs/interop/age-history.rst'),
    Hook('docs/interop/index.rst', 'before', '   barrier',
         '   age-record', 'docs/interop/age-record.rst'),
    Hook('docs/devel/index-internals.rst', 'after', '   vfio-iommufd',
         '   age', 'docs/devel/age.rst'),
    Hook('docs/devel/index-internals.rst', 'after', '   age',
         '   age-mends', 'docs/devel/age-mends.rst'),
    Hook('docs/devel/index-internals.rst', 'before',
         '   writing-monitor-commands',
         '   age-performance', 'docs/devel/age-performance.rst'),
    Hook('docs/devel/testing/index.rst', 'after', '   fuzzing',
         '   ../age-testing', 'docs/devel/age-testing.rst'),
    Hook('docs/devel/testing/index.rst', 'after', '   ../age-testing',
         '   ../age-test-failed', 'docs/devel/age-test-failed.rst'),
    Hook('docs/specs/index.rst', 'after', '   edu',
         '   age-device', 'docs/specs/age-device.rst'),
]


# Text: lists of lines in, lists of lines out

def positions(lines, wanted):
    """Where the run of lines `wanted` starts in `lines`.

    Releases differ in how far some are indented; that counts only if it tells
    places apart.
    """
    def exact(here, there):
        count = len(there)
        return [i for i in range(len(here) - count + 1)
                if here[i:i + count] == there]

    return exact(lines, wanted) or exact([line.lstrip() for line in lines],
                                         [line.lstrip() for line in wanted])


def remove_hook(lines, hook):
    """Take what `hook` added out where it stands next to its anchor."""
    anchor, added = hook.anchor.split('\n'), hook.line.split('\n')
    if hook.where == 'instead':
        for start in positions(lines, added):
            return lines[:start] + anchor + lines[start + len(added):]
        return lines
    before = hook.where == 'before'
    pair = added + anchor if before else anchor + added
    for start in positions(lines, pair):
        at = start if before else start + len(anchor)
        return lines[:at] + lines[at + len(added):]
    return lines


def insert_hook(lines, hook):
    """Add what `hook` has, which must be possible in one place only."""
    anchor, added = hook.anchor.split('\n'), hook.line.split('\n')
    found = positions(lines, anchor)
    name = hook.anchor.replace('\n', '\\n').strip()
    if len(found) != 1:
        problem = 'is missing' if not found else f'occurs {len(found)} times'
        raise OverlayError(f'{hook.file}: the line "{name}" {problem},'
                           f' cannot add "{hook.line.strip()}"')
    if positions(lines, added):
        raise OverlayError(f'{hook.file}: "{hook.line.strip()}" is there'
                           f' already, but not next to "{name}"')
    at = found[0] + (len(anchor) if hook.where == 'after' else 0)
    rest = at + (len(anchor) if hook.where == 'instead' else 0)
    return lines[:at] + added + lines[rest:]


# Files

def read_text(path):
    """The text of a file with its line ends as they are."""
    with open(path, encoding='utf-8', newline='') as file:
        return file.read()


def write_text(path, text):
    """Replace a file in one step; its permissions stay."""
    mode = os.stat(path).st_mode & 0o777 if path.exists() else 0o644
    handle, name = tempfile.mkstemp(dir=path.parent, prefix='.age-')
    with open(handle, 'w', encoding='utf-8', newline='') as file:
        file.write(text)
    os.chmod(name, mode)
    os.replace(name, path)


class Overlay:
    """One checkout and one QEMU tree."""

    def __init__(self, tree, root=ROOT, hooks=None, mends=True):
        self.tree = Path(tree).resolve()
        self.root = Path(root).resolve()
        self.table = HOOKS if hooks is None else hooks
        self.mends = mends
        if not (self.tree / 'VERSION').is_file():
            raise OverlayError(f'{tree}: not a QEMU source tree (no VERSION)')
        self.version = read_text(self.tree / 'VERSION').strip()

    def dead(self):
        """Patterns, and files that hooks need, of which there is none."""
        patterns = DIRS + FILES
        for hook in self.table:
            patterns += hook.needs.split()
        return sorted({pattern for pattern in patterns
                       if not glob.glob(pattern, root_dir=self.root)})

    # Links

    def wanted_links(self):
        """The places of ours that exist, as paths below the root."""
        found = [d for d in DIRS if (self.root / d / 'meson.build').exists()]
        for pattern in FILES:
            found += glob.glob(pattern, root_dir=self.root)
        return sorted(found)

    def is_ours(self, place):
        """Whether `place` in the tree is a link to the same place here."""
        path = self.tree / place
        if not path.is_symlink():
            return False
        target = os.readlink(path)
        # A checkout that was moved left links to where it was.
        moved = target.endswith('/' + place) and not path.exists()
        return target == str(self.root / place) or moved

    def present_links(self):
        """The links of ours in the tree, dangling ones too."""
        found = []
        for pattern in DIRS + FILES + FORMER:
            found += glob.glob(pattern, root_dir=self.tree)
        return sorted(place for place in found if self.is_ours(place))

    def check_links(self):
        """Refuse a tree with something else where a link has to go."""
        for place in self.wanted_links():
            path = self.tree / place
            if os.path.lexists(path) and not self.is_ours(place):
                raise OverlayError(f'{path} is in the way: '
                                   + self.intruder(place))

    def intruder(self, place):
        """What is where a link has to go, and what can be done about it."""
        path = self.tree / place
        if not path.is_symlink():
            return 'not a link of ours; move it out of this tree'
        target = os.readlink(path)
        what = f'a link to {target}'
        other = target.removesuffix('/' + place)
        if other == target:
            return f'{what}; remove it'
        # Theirs knows which lines it has put into the tree.
        return (f'{what}; "{other}/scripts/overlay.py revert {self.tree}" '
                'takes that checkout out of this tree')

    def make_link(self, place):
        """Make one link point here; say whether that took a change."""
        path = self.tree / place
        target = str(self.root / place)
        if path.is_symlink() and os.readlink(path) == target:
            return False
        if path.is_symlink():
            path.unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
        return True

    def drop_link(self, place):
        """Remove a link, and directories that were there for it only."""
        path = self.tree / place
        path.unlink()
        for parent in path.parents:
            if parent == self.tree or any(parent.iterdir()):
                break
            parent.rmdir()

    # Hooks

    def wanted_hooks(self):
        """The hooks for this version whose files are there, and linked."""
        links = self.wanted_links()

        def is_linked(name):
            return (self.root / name).exists() and any(
                Path(name).is_relative_to(link) for link in links)

        return [hook for hook in self.table
                if hook.fits(self.version) and (self.mends or not hook.mend)
                and all(is_linked(name) for name in hook.needs.split())]

    def recorded_hooks(self):
        """The hooks that an earlier run wrote down in the tree."""
        path = self.tree / STATE
        if not path.exists():
            return []
        try:
            return [Hook(*entry) for entry in json.loads(read_text(path))]
        except (ValueError, TypeError) as error:
            raise OverlayError(f'{path}: cannot read it: {error}') from error

    def edits(self, hooks):
        """What files become with `hooks` and no others: {file: text}."""
        known = self.recorded_hooks()
        known += [hook for hook in self.table if hook not in known]
        result = {}
        for file in sorted({hook.file for hook in known}):
            here = [hook for hook in known if hook.file == file]
            wanted = [hook for hook in hooks if hook.file == file]
            path = self.tree / file
            if not path.is_file():
                if wanted:
                    raise OverlayError(f'{file}: no such file in {self.tree}')
                continue
            old = read_text(path)
            lines = old.split('\n')
            for hook in reversed(here):
                lines = remove_hook(lines, hook)
            for hook in wanted:
                lines = insert_hook(lines, hook)
            new = '\n'.join(lines)
            if new != old:
                result[file] = new
        return result

    def record(self, hooks):
        """Write down what is in the tree; nothing, if that is nothing."""
        path = self.tree / STATE
        if not hooks:
            path.unlink(missing_ok=True)
            return
        text = json.dumps([astuple(hook) for hook in hooks], indent=1) + '\n'
        if not path.exists() or read_text(path) != text:
            write_text(path, text)

    # What the command line asks for

    def apply(self):
        """Link and hook up; returns the places that changed."""
        self.check_links()
        hooks = self.wanted_hooks()
        edits = self.edits(hooks)
        wanted = self.wanted_links()
        changed = []
        for place in self.present_links():
            if place not in wanted:
                self.drop_link(place)
                changed.append(place)
        changed += [place for place in wanted if self.make_link(place)]
        for file, text in edits.items():
            write_text(self.tree / file, text)
        self.record(hooks)
        return changed + list(edits)

    def revert(self):
        """Take everything out; returns the places that changed."""
        edits = self.edits([])
        for file, text in edits.items():
            write_text(self.tree / file, text)
        links = self.present_links()
        for place in links:
            self.drop_link(place)
        self.record([])
        return list(edits) + links

    def missing(self):
        """The places that apply would change."""
        links = self.present_links()
        wanted = self.wanted_links()
        places = [place for place in wanted if place not in links]
        places += [place for place in links if place not in wanted]
        return places + list(self.edits(self.wanted_hooks()))

    def status(self):
        """Print what is in the tree; returns whether all is as it should be."""
        missing, dead = self.missing(), self.dead()
        for place in self.present_links():
            print(f'link {place}')
        for hook in self.wanted_hooks():
            if hook.file not in missing:
                print(f'hook {hook.file}: {" ".join(hook.line.split())}')
        for place in missing:
            print(f'not up to date: {place}')
        for pattern in dead:
            print(f'{pattern}: no such file of ours; take it out of overlay.py')
        return not missing and not dead


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('action', choices=['apply', 'revert', 'status'])
    parser.add_argument('qemu_dir', metavar='QEMU_DIR')
    parser.add_argument('--without-mends', action='store_true',
                        help='leave out what mends faults of QEMU itself')
    version = read_text(ROOT / 'VERSION').strip()
    parser.add_argument('--version', action='version',
                        version=f'overlay.py (age) {version}')
    args = parser.parse_args()
    try:
        overlay = Overlay(args.qemu_dir, mends=not args.without_mends)
        if args.action == 'status':
            return 0 if overlay.status() else 1
        for place in getattr(overlay, args.action)():
            print(f'{args.action}: {place}')
    except (OverlayError, OSError) as error:
        print(f'overlay.py: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
