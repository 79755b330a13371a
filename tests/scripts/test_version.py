#!/usr/bin/python3
#
# Tests that there is one version
#
# SPDX-License-Identifier: GPL-2.0-or-later
"""The file VERSION, and who must agree with it: tools, CHANGELOG.md, tags.

What the emulators say is compared in tests/functional/test_examples.py.
"""

import os
import re
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

NUMBER = re.compile(r'\d+\.\d+\.\d+')
SECTION = re.compile(r'^## (Unreleased|(\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d)$',
                     re.MULTILINE)
HEADING = re.compile(r'^## .*', re.MULTILINE)


def read(name):
    """A file of the repository."""
    return (ROOT / name).read_text(encoding='utf-8')


def tools():
    """Every program in scripts."""
    return sorted(path for path in (ROOT / 'scripts').iterdir()
                  if path.is_file() and os.access(path, os.X_OK))


def changelog_version(text):
    """The newest version of a change log, below what is not released yet.

    None if a heading is not as all of them should be.
    """
    if len(SECTION.findall(text)) != len(HEADING.findall(text)):
        return None
    names = [match[1] for match in SECTION.finditer(text)]
    numbers = [match[2] for match in SECTION.finditer(text)]
    if 'Unreleased' in names[1:]:
        return None
    return next(filter(None, numbers), None)


def tags_of_head():
    """Tags of releases on the commit; None if there is no repository."""
    try:
        done = subprocess.run(
            ['git', '-C', ROOT, 'tag', '--points-at', 'HEAD', 'v*'],
            capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.split() if done.returncode == 0 else None


class VersionTest(unittest.TestCase):
    """All of them against the file VERSION."""

    def setUp(self):
        self.version = read('VERSION').strip()

    def test_form(self):
        self.assertEqual(read('VERSION'), self.version + '\n')
        self.assertTrue(NUMBER.fullmatch(self.version), self.version)

    def test_link_for_qemu(self):
        """What QEMU's build reads is this file, not another one."""
        self.assertEqual(os.readlink(ROOT / 'accel/age/VERSION'),
                         '../../VERSION')

    def test_tools(self):
        self.assertGreater(len(tools()), 10)
        for path in tools():
            with self.subTest(path.name):
                done = subprocess.run([path, '--version'], check=False,
                                      capture_output=True, text=True,
                                      stdin=subprocess.DEVNULL)
                self.assertEqual(
                    (done.returncode, done.stdout, done.stderr),
                    (0, f'{path.name} (age) {self.version}\n', ''))

    def test_changelog(self):
        self.assertEqual(changelog_version(read('CHANGELOG.md')),
                         self.version)

    def test_tag(self):
        """A release is tagged by its version, and by nothing else."""
        tags = tags_of_head()
        if tags is None:
            self.skipTest('no git repository')
        self.assertIn(tags, ([], [f'v{self.version}']))


class ChangelogTest(unittest.TestCase):
    """Which version a change log is taken to be of."""

    def test_good(self):
        release = '## 1.2.3 - 2030-01-02\n\n## 1.2.0 - 2030-01-01\n'
        self.assertEqual(changelog_version(release), '1.2.3')
        self.assertEqual(changelog_version('## Unreleased\n' + release),
                         '1.2.3')

    def test_bad(self):
        for text in ('', '## Unreleased\n', '## 1.2.3\n',
                     '## 1.2.3 - 2030-01-02\n## Unreleased\n',
                     '## Next\n## 1.2.3 - 2030-01-02\n'):
            self.assertIsNone(changelog_version(text), text)


if __name__ == '__main__':
    unittest.main()
