#!/usr/bin/python3
#
# Style of the sources: QEMU's checkpatch.pl and a few rules of our own
#
# SPDX-License-Identifier: GPL-2.0-or-later
"""Print TAP: one result a file and rule set."""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from columns import WIDTH, too_long

ROOT = Path(__file__).resolve().parents[2]
# That of any release does.
CHECKPATCH = min(ROOT.glob('qemu-src*/scripts/checkpatch.pl'), default=None)

# The rest of the top level is not ours, or no source.
PLACES = ['.ci', '.pylintrc', 'accel', 'configs', 'examples', 'hw', 'include',
          'meson.build', 'meson.options', 'qapi', 'scripts', 'tests']

# Documentation, whose lines are kept short as well
TEXTS = ['*.md', 'docs/**/*.rst', 'docs/**/*.rst.inc', 'examples/*.md']

# What may change under a reader is read by its accessor: AgePageTable.fmt and
# AgeMMU.fmt. They are assigned, or their address is taken, elsewhere.
RACY = re.compile(r'(?<![\w.>&-])[\w.>-]*\b(?:pt|mmu)(?:->|\.)fmt\b(?! = )')
RACY_PLACES = ['accel/age', 'hw/age-device']

# Kinds of file that must name their license.
LICENSED = {'.c', '.h', '.inc', '.S', '.py', '.sh', '.json', '.mak'}
LICENSED_NAMES = {'meson.build', 'meson.options', 'Kconfig'}

# Programs that use libc alone: no QEMU there, nor its rules for it.
LIBC_PLACES = ['examples', 'scripts/guest']
QEMU_ONLY = ['qemu_', 'architecture specific defines']

# Shell: what each script begins with, so that no mistake goes unnoticed. The
# first process of a guest goes on, whatever it could not do.
STRICT = 'set -euo pipefail'
GUEST_PLACES = ['scripts/guest']

# Switched off for a line or a block of Python: it has to be said why, behind it
# or in the line above.
DISABLED = re.compile(r'# pylint: disable[^#]*$')


def sources():
    """Every file of ours, as a path below the root."""
    found = []
    for place in PLACES:
        top = ROOT / place
        paths = sorted(top.rglob('*')) if top.is_dir() else [top]
        found += [path.relative_to(ROOT) for path in paths
                  if path.is_file() and '__pycache__' not in path.parts]
    return found


def texts():
    """Every page of documentation, as a path below the root."""
    return sorted(path.relative_to(ROOT) for pattern in TEXTS
                  for path in ROOT.glob(pattern))


def is_c(path):
    """C sources and headers, those that are included in bits too."""
    return path.suffix in {'.c', '.h'} or path.name.endswith('.h.inc')


def first_line(path):
    """The first line of a file, if it is text."""
    with open(ROOT / path, encoding='utf-8', errors='replace') as file:
        return file.readline()


def is_shell(path):
    """Scripts for a shell, which have no suffix here."""
    line = first_line(path)
    return line.startswith('#!') and line.rstrip().endswith('sh')


def is_python(path):
    """Python, with a suffix or without."""
    line = first_line(path)
    return path.suffix == '.py' or line.startswith('#!') and 'python' in line


def is_narrow(path):
    """Files with a limit to their lines that no other check knows."""
    return (is_c(path) or is_shell(path)
            or path.name in {'meson.build', 'meson.options', 'Kconfig'})


def needs_license(path):
    """Whether the file has to say under which license it is."""
    return (path.suffix in LICENSED or path.name in LICENSED_NAMES
            or first_line(path).startswith('#!'))


def own_rules(path):
    """Complaints of our own rules about one file."""
    text = (ROOT / path).read_text(encoding='utf-8', errors='replace')
    lines = text.split('\n')
    found = []
    if needs_license(path) and not any('SPDX-License-Identifier:' in line
                                       for line in lines[:40]):
        found.append(f'{path}:1: no SPDX-License-Identifier')
    if text and not text.endswith('\n'):
        found.append(f'{path}:{len(lines)}: no newline at the end')
    for number, line in enumerate(lines, 1):
        where = f'{path}:{number}'
        if line != line.rstrip():
            found.append(f'{where}: white space at the end of the line')
        if is_c(path) and '\t' in line:
            found.append(f'{where}: tab')
        if is_narrow(path) and len(line) > WIDTH:
            found.append(f'{where}: {len(line)} columns, {WIDTH} are the limit')
        if is_racy(path) and RACY.search(line):
            found.append(f'{where}: read the format by its accessor')
    return found + twice_opened(path, lines) + loose(path, lines) + \
        unexplained(path, lines)


def is_racy(path):
    """Sources in which others may change a format while it is read."""
    return is_c(path) and any(path.is_relative_to(place)
                              for place in RACY_PLACES)


def loose(path, lines):
    """Shell that goes on after an error, or has another style."""
    if not is_shell(path) or is_guests(path):
        return []
    code = [line for line in lines if line and not line.startswith('#')]
    found = [f'{path}:{number}: the brace belongs behind the function\'s name'
             for number, line in enumerate(lines, 1) if line == '{']
    if code[:1] != [STRICT]:
        found.append(f'{path}:1: the first command is not "{STRICT}"')
    return found


def unexplained(path, lines):
    """Checks of pylint that are switched off, and nobody knows why."""
    if not is_python(path):
        return []
    return [f'{path}:{number}: say why, behind it or in the line above'
            for number, line in enumerate(lines, 1) if DISABLED.search(line)
            and not lines[number - 2].lstrip().startswith('#')]


def is_guests(path):
    """Whether it runs in a guest."""
    return any(path.is_relative_to(place) for place in GUEST_PLACES)


def twice_opened(path, lines):
    """A second exec on a descriptor drops the lock that the first one has."""
    if not is_shell(path):
        return []
    found, opened = [], set()
    for number, line in enumerate(lines, 1):
        match = re.match(r'\s*exec (\d+)([<>]+)(&-)?', line)
        if match and match[3]:
            opened.discard(match[1])
        elif match and match[1] in opened:
            found.append(f'{path}:{number}: descriptor {match[1]} is open')
        elif match:
            opened.add(match[1])
    return found


def columns(path):
    """Lines of a page that should be wrapped."""
    lines = (ROOT / path).read_text(encoding='utf-8').split('\n')
    return [f'{path}:{number}: {length} columns, {WIDTH} are the limit'
            for number, length in too_long(lines, path.suffix == '.md')]


def run(command):
    """The complaints that a program prints."""
    done = subprocess.run(command, cwd=ROOT, text=True, errors='replace',
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False)
    if done.returncode == 0:
        return []
    return done.stdout.splitlines() or [f'exit status {done.returncode}']


def checkpatch(path):
    """Complaints of QEMU's own checker; warnings count."""
    found = run(['perl', str(CHECKPATCH), '--no-tree', '--strict', '--terse',
                 '--no-summary', '--file', str(path)])
    if any(path.is_relative_to(place) for place in LIBC_PLACES):
        found = [line for line in found
                 if not any(words in line for words in QEMU_ONLY)]
    return found


def shellcheck(path):
    """Complaints of shellcheck."""
    return run(['shellcheck', '--format=gcc', str(path)])


def pylint(paths):
    """Complaints of pylint, which looks at all files at once."""
    found = run(['pylint', '--score=n', *map(str, paths)])
    return [line for line in found if not line.startswith('*****')]


def plan():
    """[(description, check or reason to skip, path or paths)]"""
    all_files = sources()
    c_files = [path for path in all_files if is_c(path)]
    shell = [path for path in all_files if is_shell(path)]
    have_shellcheck = shutil.which('shellcheck')
    # The longest comes first: others run beside it.
    tests = [('pylint', pylint if shutil.which('pylint')
              else 'pylint is not installed',
              [path for path in all_files if is_python(path)])]
    tests += [('rules', own_rules, path) for path in all_files]
    tests += [('columns', columns, path) for path in texts()]
    tests += [('checkpatch', checkpatch if CHECKPATCH else 'no QEMU',
               path) for path in c_files]
    tests += [('shellcheck', shellcheck if have_shellcheck
               else 'shellcheck is not installed', path) for path in shell]
    return tests


def outcome(test):
    """What one test came to: "ok" or not, what was looked at, complaints."""
    name, check, what = test
    place = what if isinstance(what, Path) else 'of all files'
    if isinstance(check, str):
        return 'ok', f'{name} {place} # SKIP {check}', []
    complaints = check(what)
    return 'not ok' if complaints else 'ok', f'{name} {place}', complaints


def main():
    """Run all; the exit status is that of a TAP program."""
    # checkpatch reads its arguments and nothing else.
    os.environ['LC_ALL'] = 'C.UTF-8'
    tests = plan()
    print(f'1..{len(tests)}')
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = enumerate(pool.map(outcome, tests), 1)
        for number, (verdict, text, complaints) in results:
            for line in complaints:
                print(f'# {line}')
            print(f'{verdict} {number} {text}', flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
