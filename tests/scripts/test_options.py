#!/usr/bin/python3
#
# Tests of scripts/agelib/options.py
#
# SPDX-License-Identifier: GPL-2.0-or-later
"""Scripts refuse numbers that make no sense, before they start a guest."""

import subprocess
import sys
import unittest
from argparse import ArgumentTypeError
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / 'scripts'

sys.dont_write_bytecode = True
sys.path.insert(0, str(SCRIPTS))

# pylint: disable=wrong-import-position  # the path has to be there first
from agelib.options import count, duration

BAD_COUNTS = '0', '-1', '1.5', 'nan', '', 'ten'
BAD_DURATIONS = '0', '-1', 'nan', 'inf', '', 'long'


class TypesTest(unittest.TestCase):
    """What the two take, and what not."""

    def test_count(self):
        self.assertEqual(count('12'), 12)
        for text in BAD_COUNTS:
            with self.assertRaises(ArgumentTypeError):
                count(text)

    def test_duration(self):
        self.assertEqual(duration('0.5'), 0.5)
        for text in BAD_DURATIONS:
            with self.assertRaises(ArgumentTypeError):
                duration(text)


class ScriptsTest(unittest.TestCase):
    """They name the option and what is wrong with it."""

    def refuse(self, script, option, text):
        """One line behind that of the usage"""
        done = subprocess.run([SCRIPTS / script, f'{option}={text}'],
                              capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (2, ''))
        self.assertRegex(done.stderr,
                         rf'error: argument {option}: .* is no .*number.*\n\Z')

    def test_counts(self):
        for script, option in (('damon-compare', '--rounds'),
                               ('flush-error', '--rounds'),
                               ('demo', '--seconds'),
                               ('bench', '--runs'),
                               ('bench', '--max-gib')):
            self.refuse(script, option, '0')

    def test_durations(self):
        for script, option in (('damon-compare', '--seconds'),
                               ('flush-error', '--seconds'),
                               ('soak', '--minutes')):
            self.refuse(script, option, 'nan')


if __name__ == '__main__':
    unittest.main()
