#!/usr/bin/python3
#
# Tests of .ci/run
#
# SPDX-License-Identifier: GPL-2.0-or-later
"""A check of a few lines on each release, and the last line of all."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / '.ci/run'

# It says what it was asked for, and then what the test wants of the release.
CHECK = '''#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
echo "asked: $*, CI=$CI"
cat "said-$2"
exit "$(cat "status-$2")"
'''


class CiTest(unittest.TestCase):
    """A folder that has nothing but the script and that check."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix='age-')
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        for name in '.ci', 'scripts':
            (self.folder / name).mkdir()
        shutil.copy(SCRIPT, self.folder / '.ci/run')
        check = self.folder / 'scripts/check'
        check.write_text(CHECK)
        check.chmod(0o755)

    def run_ci(self, old, new, status=(0, 0), seconds=0):
        """Exit status and lines, from what a check says on each release."""
        for release, said, ended in (('10.0', old, status[0]),
                                     ('10.2', new, status[1])):
            (self.folder / f'said-{release}').write_text(said)
            (self.folder / f'status-{release}').write_text(f'{ended}\n')
        done = subprocess.run([self.folder / '.ci/run'], check=False,
                              env=os.environ | {'SECONDS': str(seconds)},
                              capture_output=True, text=True)
        self.assertEqual(done.stderr, '')
        return done.returncode, done.stdout.splitlines()

    def test_sum(self):
        status, lines = self.run_ci('a\n5 passed, 0 failed, 1 skipped\n',
                                    'b\n3 passed, 0 failed, 2 skipped\n')
        self.assertEqual(status, 0)
        self.assertEqual(lines, [
            'asked: --qemu-version 10.0, CI=true', 'a',
            'QEMU 10.0: 5 passed, 0 failed, 1 skipped',
            'asked: --qemu-version 10.2 --suite unit --suite qtest '
            '--suite functional-release, CI=true', 'b',
            'QEMU 10.2: 3 passed, 0 failed, 2 skipped',
            '8 passed, 0 failed, 3 skipped'])

    def test_failures(self):
        """A failure on either release is one of the whole."""
        good = '5 passed, 0 failed, 1 skipped\n'
        bad = '4 passed, 1 failed, 1 skipped\n'
        for old, new, ended in (good, bad, (0, 1)), (bad, good, (1, 0)):
            status, lines = self.run_ci(old, new, ended)
            self.assertEqual(status, 1)
            self.assertEqual(lines[-1], '9 passed, 1 failed, 2 skipped')

    def test_broken_off(self):
        """A check without its last line has failed."""
        good = '5 passed, 0 failed, 1 skipped\n'
        for said in '', 'killed\n', good + 'and then no more\n':
            status, lines = self.run_ci(good, said)
            self.assertEqual(status, 1)
            self.assertIn('QEMU 10.2: scripts/check broke off', lines)
            self.assertEqual(lines[-1], '5 passed, 1 failed, 1 skipped')

    def test_no_failure_counted(self):
        """A check that failed has failed, whatever it counts."""
        for said in '0 passed, 0 failed, 0 skipped\n', \
                '4 passed, 0 failed, 1 skipped\n':
            status, lines = self.run_ci(said, '5 passed, 0 failed, 0 skipped',
                                        (1, 0))
            self.assertEqual(status, 1)
            self.assertIn(', 1 failed, ', lines[-1])

    def test_no_source(self):
        """A release whose source has vanished is no failure."""
        status, lines = self.run_ci('5 passed, 0 failed, 0 skipped\n',
                                    '0 passed, 0 failed, 1 skipped\n')
        self.assertEqual(status, 0)
        self.assertEqual(lines[-1], '5 passed, 0 failed, 1 skipped')

    def test_nothing_passed(self):
        skipped = '0 passed, 0 failed, 1 skipped\n'
        status, lines = self.run_ci(skipped, skipped)
        self.assertEqual(status, 1)
        self.assertEqual(lines[-1], '0 passed, 0 failed, 2 skipped')

    def test_late(self):
        """A slow machine has no time for the second release, and says so."""
        status, lines = self.run_ci('5 passed, 0 failed, 0 skipped\n', '',
                                    seconds=3200)
        self.assertEqual(status, 0)
        self.assertEqual(
            lines[-2],
            'QEMU 10.2: skipped, there is no time after 53 min')
        self.assertEqual(lines[-1], '5 passed, 0 failed, 1 skipped')


if __name__ == '__main__':
    unittest.main()
