#!/usr/bin/python3
#
# Tests of the option --qemu-version
#
# SPDX-License-Identifier: GPL-2.0-or-later
"""What scripts say to a release that there is not.

They come to that before they do anything.
"""

import subprocess
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / 'scripts'

UNKNOWN = 'setup: --qemu-version 9.9: 10.0, 10.2 and 11.0 are known\n'
MISSING = ': --qemu-version needs a release, such as 10.2\n'
FAILED = '0 passed, 1 failed, 0 skipped\n'


def run(name, *args):
    """Exit status and all output of a script."""
    done = subprocess.run([SCRIPTS / name, *args], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


class ReleaseTest(unittest.TestCase):
    """In either way of writing it."""

    def test_setup(self):
        for args in (['--qemu-version', '9.9'], ['--qemu-version=9.9']):
            self.assertEqual(run('setup', *args), (1, UNKNOWN))
        self.assertEqual(run('setup', '--qemu-version'), (1, 'setup' + MISSING))

    def test_check(self):
        """Its last line counts that as one that failed."""
        for args in (['--qemu-version', '9.9'], ['--qemu-version=9.9']):
            status, output = run('check', *args, '--suite', 'unit')
            self.assertEqual(status, 1)
            self.assertIn(UNKNOWN, output)
            self.assertTrue(output.endswith(FAILED), output)
        self.assertEqual(run('check', '--qemu-version'),
                         (1, 'check' + MISSING + FAILED))

    def test_demo(self):
        """It leaves the answer to setup."""
        for args in (['--qemu-version', '9.9'], ['--arch', 'x86_64',
                                                 '--qemu-version=9.9']):
            self.assertEqual(run('demo', *args), (1, UNKNOWN))
        status, output = run('demo', '--qemu-version')
        self.assertEqual(status, 2)
        self.assertIn('expected one argument', output)


if __name__ == '__main__':
    unittest.main()
