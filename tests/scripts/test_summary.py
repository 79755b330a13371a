#!/usr/bin/python3
#
# Tests of scripts/summary.py
#
# SPDX-License-Identifier: GPL-2.0-or-later
"""Logs as meson writes them, and the last line that they must lead to."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / 'scripts/summary.py'

PASS = '<testcase name="a"/>'
FAIL = '<testcase name="b"><failure/></testcase>'
ERROR = '<testcase name="c"><error/></testcase>'
SKIP = '<testcase name="d"><skipped/></testcase>'


def suite(name, *cases):
    """One suite of a JUnit file."""
    return f'<testsuite name="{name}">{"".join(cases)}</testsuite>'


def program(name, result, stdout=''):
    """One line of meson's JSON file."""
    return {'name': name, 'result': result, 'stdout': stdout}


class SummaryTest(unittest.TestCase):
    """Runs the script on logs made here."""

    def summary(self, suites, programs):
        """Exit status and lines of output."""
        with tempfile.TemporaryDirectory() as name:
            logs = Path(name)
            if suites is not None:
                (logs / 'log.junit.xml').write_text(
                    f'<testsuites>{"".join(suites)}</testsuites>')
                (logs / 'log.json').write_text(
                    ''.join(json.dumps(entry) + '\n' for entry in programs))
            done = subprocess.run([sys.executable, '-B', SCRIPT, logs / 'log'],
                                  capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.splitlines()

    def test_subtests_count(self):
        status, lines = self.summary(
            [suite('age.x86_64/one', PASS, PASS, SKIP), suite('age', PASS)],
            [program('age:qtest / x86_64/one', 'OK'),
             program('age:scripts / two', 'OK')])
        self.assertEqual(status, 0)
        self.assertEqual(lines, ['3 passed, 0 failed, 1 skipped'])

    def test_failures_show_why(self):
        status, lines = self.summary(
            [suite('age.one', PASS, FAIL)],
            [program('age:unit / one', 'FAIL', 'ok 1 a\n# why\nnot ok 2 b')])
        self.assertEqual(status, 1)
        self.assertIn('# why', lines)
        self.assertNotIn('ok 1 a', lines)
        self.assertEqual(lines[-1], '1 passed, 1 failed, 0 skipped')

    def test_program_without_subtests(self):
        status, lines = self.summary([suite('age', PASS, ERROR)],
                                     [program('one', 'OK'),
                                      program('two', 'TIMEOUT')])
        self.assertEqual(status, 1)
        self.assertEqual(lines[-1], '1 passed, 1 failed, 0 skipped')

    def test_broken_off(self):
        several = 'age:qtest+qtest-x86_64 / one'
        for name, of_junit in [('one', 'one'), ('age:unit / one', 'one'),
                               (several, several)]:
            status, lines = self.summary(
                [suite(f'age.{of_junit}', PASS, PASS)],
                [program(name, 'ERROR')])
            self.assertEqual(status, 1)
            self.assertEqual(lines[-1], '2 passed, 1 failed, 0 skipped')

    def test_nothing_ran(self):
        status, lines = self.summary(None, [])
        self.assertEqual(status, 1)
        self.assertEqual(lines, ['0 passed, 0 failed, 0 skipped'])

    def test_all_skipped(self):
        status, lines = self.summary([suite('age.one', SKIP)],
                                     [program('one', 'SKIP')])
        self.assertEqual(status, 1)
        self.assertEqual(lines, ['0 passed, 0 failed, 1 skipped'])


if __name__ == '__main__':
    unittest.main()
