#!/usr/bin/python3
#
# Tests of the file MAINTAINERS
#
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every file has a section, and no pattern is left over from a file gone."""

import re
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

FIELD = re.compile(r'^([A-Z]): +(\S.*)$')
STATES = ('Supported', 'Maintained', 'Odd Fixes', 'Orphan', 'Obsolete')
PERSON = re.compile(r'[^<>]+ <[^<>@ ]+@[^<>@ ]+>')


def parse(text):
    """[(title, [(letter, value)])]; what comes before the first is prose."""
    sections = []
    lines = text.splitlines()
    for above, line in zip([''] + lines, lines):
        field = FIELD.match(line)
        if re.fullmatch('-{3,}', line):
            sections.append((above, []))
        elif field and sections:
            sections[-1][1].append((field[1], field[2]))
    return sections


def matches(pattern, name):
    """Whether a pattern covers a file, by the rules of QEMU's list.

    A folder with a slash at the end has all that is below it; in what has none
    an asterisk stands for anything but a slash.
    """
    if pattern.endswith('/'):
        return name.startswith(pattern)
    glob = '[^/]*'.join(map(re.escape, pattern.split('*')))
    return re.fullmatch(glob, name) is not None


def tracked_files():
    """Every file of the repository, new ones too; None if there is none."""
    command = ['git', '-C', ROOT, 'ls-files', '-z', '--cached', '--others',
               '--exclude-standard']
    try:
        done = subprocess.run(command, capture_output=True, text=True,
                              check=False)
    except OSError:
        return None
    names = done.stdout.split('\0')[:-1]
    # A file that is removed, but not from the index yet, is none.
    return [name for name in names if (ROOT / name).exists()] or None


class MaintainersTest(unittest.TestCase):
    """The file of this repository."""

    def setUp(self):
        text = (ROOT / 'MAINTAINERS').read_text(encoding='utf-8')
        self.sections = parse(text)
        self.patterns = [value for _, fields in self.sections
                         for letter, value in fields if letter == 'F']

    def test_sections(self):
        self.assertGreater(len(self.sections), 3)
        for title, fields in self.sections:
            letters = {letter for letter, _ in fields}
            self.assertTrue({'M', 'S', 'F'} <= letters, title)
            for letter, value in fields:
                if letter == 'M':
                    self.assertTrue(PERSON.fullmatch(value), title)
                if letter == 'S':
                    self.assertIn(value, STATES, title)

    def test_every_pattern_has_a_file(self):
        files = tracked_files()
        if files is None:
            self.skipTest('no git repository')
        idle = [pattern for pattern in self.patterns
                if not any(matches(pattern, name) for name in files)]
        self.assertEqual(idle, [])

    def test_every_file_has_a_pattern(self):
        files = tracked_files()
        if files is None:
            self.skipTest('no git repository')
        alone = [name for name in files
                 if not any(matches(pattern, name)
                            for pattern in self.patterns)]
        self.assertEqual(alone, [])


class RulesTest(unittest.TestCase):
    """How such a file is read."""

    def test_patterns(self):
        for pattern, name in (('a/', 'a/b/c.h'), ('a/*', 'a/b.c'),
                              ('a/*/x*.c', 'a/b/x1.c'), ('a.c', 'a.c')):
            self.assertTrue(matches(pattern, name), pattern)
        for pattern, name in (('a/', 'ab/c'), ('a/*', 'a/b/c.h'),
                              ('a', 'a/b'), ('a.c', 'abc')):
            self.assertFalse(matches(pattern, name), pattern)

    def test_parse(self):
        self.assertEqual(parse('F: no\n\nA\n---\nM: x\nno\n\nB\n----\nF: y\n'),
                         [('A', [('M', 'x')]), ('B', [('F', 'y')])])


if __name__ == '__main__':
    unittest.main()
