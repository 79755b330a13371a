#!/usr/bin/python3
#
# Tests of scripts/overlay.py
#
# SPDX-License-Identifier: GPL-2.0-or-later
"""Each test makes a small QEMU tree and a small checkout of its own."""

import contextlib
import importlib.util
import io
import os
import re
import shutil
import sys
import tempfile
import unittest
import unittest.mock
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def load_overlay():
    """Import the script without leaving compiled files beside it."""
    sys.dont_write_bytecode = True
    spec = importlib.util.spec_from_file_location(
        'overlay', ROOT / 'scripts/overlay.py')
    module = importlib.util.module_from_spec(spec)
    sys.modules['overlay'] = module
    spec.loader.exec_module(module)
    return module


overlay = load_overlay()

TREE = {
    'VERSION': '10.0.3\n',
    'accel/meson.build': "if have_system\n  subdir('qtest')\nendif\n",
    'docs/system/index.rst': '.. toctree::\n\n   intro\n   replay',
    'qapi/block.json': '# QEMU\n',
    'table.hx': 'SRST\n  last\nERST\n\nSRST\n  other\nERST\n',
}

CHECKOUT = {
    'accel/age/meson.build': '# ours\n',
    'accel/age/age.c': '/* ours */\n',
    'configs/devices/common/age.mak': '# ours\n',
    'include/system/age.h': '/* ours */\n',
    'qapi/age.json': '# ours\n',
    'tests/qtest/fuzz/age_one.c': '/* ours */\n',
    'tests/unit/other.c': '/* ours, but no business of QEMU */\n',
}

SUBDIR = overlay.Hook('accel/meson.build', 'after', "  subdir('qtest')",
                      "  subdir('age')", 'accel/age/meson.build')
TOCTREE = overlay.Hook('docs/system/index.rst', 'before', '   replay',
                       '   age', 'docs/system/age.rst')
TABLE = overlay.Hook('table.hx', 'after', '  last\nERST', '#include "age"',
                     'accel/age/meson.build')
HOOKS = [SUBDIR, TOCTREE, TABLE]
FILES = ['configs/devices/*/age.mak', 'qapi/age.json']


def write_files(root, files):
    """Make a directory from {path: text}."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')


def snapshot(root):
    """All there is in a directory, in a form that compares."""
    found = {}
    for path in sorted(root.rglob('*')):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = ('link', os.readlink(path))
        elif path.is_dir():
            found[name] = ('directory',)
        else:
            found[name] = ('file', path.read_bytes(), path.stat().st_mode)
    return found


class OverlayTest(unittest.TestCase):
    """What apply, status and revert promise."""

    def setUp(self):
        self.dir = Path(tempfile.mkdtemp(prefix='age-overlay-'))
        self.addCleanup(shutil.rmtree, self.dir)
        self.tree = self.dir / 'qemu'
        self.root = self.dir / 'age'
        write_files(self.tree, TREE)
        write_files(self.root, CHECKOUT)
        self.stock = snapshot(self.tree)

    def overlay(self, hooks=None):
        """The overlay of the two, as a new run of the script sees it."""
        return overlay.Overlay(self.tree, self.root,
                               HOOKS if hooks is None else hooks)

    def text(self, name):
        """A file of the tree."""
        return (self.tree / name).read_text(encoding='utf-8')

    def assert_refused(self, words, hooks=None):
        """Apply must fail, say why, and leave the tree alone."""
        before = snapshot(self.tree)
        with self.assertRaises(overlay.OverlayError) as caught:
            self.overlay(hooks).apply()
        message = str(caught.exception)
        self.assertNotIn('\n', message)
        for word in words:
            self.assertIn(word, message)
        self.assertEqual(snapshot(self.tree), before)

    def test_apply_links_and_hooks(self):
        self.overlay().apply()
        for place in ['accel/age', 'include/system/age.h', 'qapi/age.json',
                      'configs/devices/common/age.mak',
                      'tests/qtest/fuzz/age_one.c']:
            self.assertEqual(os.readlink(self.tree / place),
                             str(self.root / place))
        self.assertFalse((self.tree / 'tests/unit').exists())
        self.assertEqual(self.text('accel/meson.build'),
                         "if have_system\n  subdir('qtest')\n"
                         "  subdir('age')\nendif\n")
        self.assertEqual(self.text('table.hx'),
                         'SRST\n  last\nERST\n#include "age"\n\n'
                         'SRST\n  other\nERST\n')

    def test_hook_waits_for_its_file(self):
        self.overlay().apply()
        self.assertEqual(self.text('docs/system/index.rst'),
                         TREE['docs/system/index.rst'])
        write_files(self.root, {'docs/system/age.rst': 'Age\n'})
        self.overlay().apply()
        self.assertEqual(self.text('docs/system/index.rst'),
                         '.. toctree::\n\n   intro\n   age\n   replay')

    def test_hook_waits_for_its_link(self):
        (self.root / 'accel/age/meson.build').unlink()
        early = overlay.Hook(SUBDIR.file, SUBDIR.where, SUBDIR.anchor,
                             SUBDIR.line, 'accel/age/age.c')
        self.overlay([early]).apply()
        self.assertFalse(os.path.lexists(self.tree / 'accel/age'))
        self.assertEqual(self.text('accel/meson.build'),
                         TREE['accel/meson.build'])

    def test_apply_twice_changes_nothing(self):
        self.overlay().apply()
        before = snapshot(self.tree)
        times = {path: path.stat().st_mtime_ns
                 for path in self.tree.rglob('*') if path.is_file()}
        self.assertEqual(self.overlay().apply(), [])
        self.assertEqual(snapshot(self.tree), before)
        for path, time in times.items():
            self.assertEqual(path.stat().st_mtime_ns, time, path)

    def test_missing(self):
        self.assertIn('accel/age', self.overlay().missing())
        self.overlay().apply()
        self.assertEqual(self.overlay().missing(), [])
        (self.tree / 'qapi/age.json').unlink()
        self.assertEqual(self.overlay().missing(), ['qapi/age.json'])

    def test_dead_patterns(self):
        write_files(self.root, {'docs/system/age.rst': 'Age\n'})
        self.overlay().apply()
        dead = self.overlay().dead()
        self.assertIn('docs/specs/age*.rst', dead)
        self.assertIn('hw/age-device', dead)
        for alive in ['accel/age', 'qapi/age.json', 'docs/system/age*.rst',
                      'docs/system/age.rst']:
            self.assertNotIn(alive, dead)
        needy = replace(SUBDIR, needs='accel/age/meson.build accel/age/gone')
        self.assertIn('accel/age/gone', self.overlay([needy]).dead())

    def test_status(self):
        with contextlib.redirect_stdout(io.StringIO()) as output, \
                unittest.mock.patch.object(overlay, 'DIRS', ['accel/age']), \
                unittest.mock.patch.object(overlay, 'FILES', FILES[:]):
            self.assertFalse(self.overlay([SUBDIR]).status())
            self.overlay([SUBDIR]).apply()
            self.assertTrue(self.overlay([SUBDIR]).status())
            overlay.FILES.append('docs/gone*.rst')
            self.assertFalse(self.overlay([SUBDIR]).status())
        self.assertIn('\ndocs/gone*.rst: no such file of ours',
                      output.getvalue())

    def test_missing_anchor(self):
        gone = overlay.Hook('accel/meson.build', 'after', "  subdir('gone')",
                            "  subdir('x')", 'accel/age/meson.build')
        self.assert_refused(['accel/meson.build', "subdir('gone')",
                             'is missing'], [TABLE, gone])

    def test_anchor_not_unique(self):
        twice = overlay.Hook('table.hx', 'after', 'ERST', 'x',
                             'accel/age/meson.build')
        self.assert_refused(['table.hx', 'ERST', '2 times'],
                            [SUBDIR, twice])

    def test_file_of_the_hook_missing(self):
        gone = overlay.Hook('gone.hx', 'after', 'a', 'b',
                            'accel/age/meson.build')
        self.assert_refused(['gone.hx'], [SUBDIR, gone])

    def test_foreign_file_in_the_way(self):
        write_files(self.tree, {'qapi/age.json': '# someone else\n'})
        self.assert_refused(['qapi/age.json', 'in the way', 'move it out'])

    def test_foreign_link_in_the_way(self):
        (self.tree / 'accel/age').symlink_to('/dev/null')
        self.assert_refused(['accel/age', '/dev/null; remove it'])

    def test_another_checkout_in_the_way(self):
        other = self.dir / 'other'
        write_files(other, CHECKOUT)
        theirs = overlay.Overlay(self.tree, other, HOOKS)
        theirs.apply()
        self.assert_refused(['in the way', f'a link to {other}',
                             f'{other}/scripts/overlay.py revert {self.tree}'])
        theirs.revert()
        self.overlay().apply()

    def test_line_there_but_elsewhere(self):
        write_files(self.tree, {'accel/meson.build':
                                "  subdir('age')\n\n  subdir('qtest')\n"})
        self.assert_refused(['accel/meson.build', 'there already'])

    def test_not_a_qemu_tree(self):
        with self.assertRaises(overlay.OverlayError):
            overlay.Overlay(self.root, self.root, HOOKS)

    def test_other_version(self):
        for bounds in {'since': '11.0'}, {'before': '10.0'}, \
                {'since': '10.0.4', 'before': '10.1'}:
            other = replace(SUBDIR, **bounds)
            self.overlay([other]).apply()
            self.assertEqual(self.text('accel/meson.build'),
                             TREE['accel/meson.build'])

    def test_this_version(self):
        for bounds in {'since': '9.2', 'before': '11.0'}, \
                {'since': '10.0'}, {'before': '10.0.4'}:
            self.overlay([replace(SUBDIR, **bounds)]).apply()
            self.assertIn(SUBDIR.line, self.text('accel/meson.build'))
            self.overlay([]).apply()

    def test_mends_are_left_out(self):
        mend = replace(SUBDIR, mend=True)
        self.overlay([mend, TABLE]).apply()
        self.assertIn(SUBDIR.line, self.text('accel/meson.build'))
        overlay.Overlay(self.tree, self.root, [mend, TABLE],
                        mends=False).apply()
        self.assertEqual(self.text('accel/meson.build'),
                         TREE['accel/meson.build'])
        self.assertIn(TABLE.line, self.text('table.hx'))

    def test_several_lines(self):
        lines = replace(SUBDIR, line="  subdir('age')\n\n  # more\n")
        self.overlay([lines]).apply()
        self.assertIn(lines.line, self.text('accel/meson.build'))
        self.assertEqual(self.overlay([lines]).apply(), [])
        self.overlay([lines]).revert()
        self.assertEqual(snapshot(self.tree), self.stock)

    def test_instead(self):
        other = replace(SUBDIR, where='instead', anchor="  subdir('qtest')",
                        line="  subdir('age')\n  subdir('more')")
        self.overlay([other]).apply()
        self.assertEqual(self.text('accel/meson.build'),
                         "if have_system\n  subdir('age')\n"
                         "  subdir('more')\nendif\n")
        self.assertEqual(self.overlay([other]).apply(), [])
        self.overlay([other]).revert()
        self.assertEqual(snapshot(self.tree), self.stock)

    def test_other_indentation(self):
        deeper = replace(SUBDIR, anchor='      ' + SUBDIR.anchor)
        self.overlay([deeper]).apply()
        self.assertIn(SUBDIR.line, self.text('accel/meson.build'))
        self.overlay([deeper]).revert()
        self.assertEqual(snapshot(self.tree), self.stock)

    def test_link_goes_with_its_file(self):
        self.overlay().apply()
        (self.root / 'qapi/age.json').unlink()
        shutil.rmtree(self.root / 'accel')
        self.overlay().apply()
        self.assertFalse(os.path.lexists(self.tree / 'qapi/age.json'))
        self.assertFalse(os.path.lexists(self.tree / 'accel/age'))
        self.assertEqual(self.text('accel/meson.build'),
                         TREE['accel/meson.build'])

    def test_link_of_an_earlier_version(self):
        place = self.tree / 'tests/qtest/age-one-test.c'
        place.parent.mkdir(parents=True)
        place.symlink_to(self.root / 'tests/qtest/age-one-test.c')
        self.overlay().apply()
        self.assertFalse(os.path.lexists(place))

    def test_moved_checkout(self):
        self.overlay().apply()
        self.root.rename(self.dir / 'moved')
        self.root = self.dir / 'moved'
        self.overlay().apply()
        self.assertEqual(os.readlink(self.tree / 'accel/age'),
                         str(self.root / 'accel/age'))
        self.overlay().revert()
        self.assertEqual(snapshot(self.tree), self.stock)

    def test_revert(self):
        write_files(self.root, {'docs/system/age.rst': 'Age\n'})
        self.overlay().apply()
        self.assertNotEqual(snapshot(self.tree), self.stock)
        self.overlay().revert()
        self.assertEqual(snapshot(self.tree), self.stock)
        self.assertEqual(self.overlay().revert(), [])

    def test_revert_lines_of_an_older_table(self):
        self.overlay().apply()
        self.overlay([TOCTREE]).revert()
        self.assertEqual(snapshot(self.tree), self.stock)

    def test_revert_without_the_record(self):
        self.overlay().apply()
        (self.tree / overlay.STATE).unlink()
        self.overlay().revert()
        self.assertEqual(snapshot(self.tree), self.stock)

    def test_changed_line_replaces_the_old_one(self):
        self.overlay().apply()
        changed = overlay.Hook(SUBDIR.file, SUBDIR.where, SUBDIR.anchor,
                               "  subdir('aged')", SUBDIR.needs)
        self.overlay([changed]).apply()
        self.assertEqual(self.text('accel/meson.build'),
                         "if have_system\n  subdir('qtest')\n"
                         "  subdir('aged')\nendif\n")

    def test_permissions_stay(self):
        os.chmod(self.tree / 'table.hx', 0o640)
        self.overlay().apply()
        mode = (self.tree / 'table.hx').stat().st_mode & 0o777
        self.assertEqual(mode, 0o640)


class HostsTest(unittest.TestCase):
    """What goes into all builds, for hosts without the accelerator too."""

    def test_schema(self):
        """Commands are there only if what carries them out is, and types."""
        for path in sorted((ROOT / 'qapi').glob('age*.json')):
            text = path.read_text(encoding='utf-8')
            found = re.findall(r"^\{ '\w+':.*?\}$(?=\n\n|\n?\Z)", text,
                               re.MULTILINE | re.DOTALL)
            self.assertEqual(len(found), len(re.findall(r"^\{", text,
                                                        re.MULTILINE)))
            for definition in found:
                if not definition.startswith("{ 'include':"):
                    self.assertIn("'if': 'CONFIG_AGE'", definition)

    def test_schema_of_tools(self):
        """qom.json is also in tools, which can carry out nothing of ours."""
        for hook in overlay.HOOKS:
            if hook.file == 'qapi/qom.json':
                for name in re.findall("'include': '(.*?)'", hook.line):
                    text = (ROOT / 'qapi' / name).read_text(encoding='utf-8')
                    self.assertNotRegex(text, "'(command|event|include)':")

    def test_tables_of_the_monitor(self):
        """So are the lines of tables that all builds have."""
        found = sorted((ROOT / 'accel/age').rglob('*.h.inc'))
        self.assertTrue(found)
        for path in found:
            lines = path.read_text(encoding='utf-8').splitlines()
            lines = [line for line in lines if not line.startswith('/*')]
            self.assertEqual(lines[0], '#if defined(CONFIG_AGE)', path.name)
            self.assertEqual(lines[-1], '#endif', path.name)
            self.assertEqual(sum('#' in line for line in lines), 2, path.name)


TREES = sorted(path.parent for path in ROOT.glob('qemu-src*/VERSION'))


@unittest.skipUnless(TREES, 'no QEMU tree')
class RealTreeTest(unittest.TestCase):
    """The table of hooks against each release that the set-up fetched."""

    def test_every_anchor_is_there(self):
        for tree in TREES:
            with self.subTest(tree=tree.name):
                real = overlay.Overlay(tree)
                hooks = [hook for hook in overlay.HOOKS
                         if hook.fits(real.version)]
                real.edits(hooks)

    def test_no_pattern_is_dead(self):
        self.assertEqual(overlay.Overlay(TREES[0]).dead(), [])


if __name__ == '__main__':
    unittest.main()
