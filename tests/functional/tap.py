# SPDX-License-Identifier: GPL-2.0-or-later
"""
Runs unittest's tests and prints TAP, as far as meson needs it.

Lines come as the tests go, so that a run that hangs shows where.
"""

import sys
import time
import traceback
import unittest


class TAPResult(unittest.TestResult):
    """One line for each test; what it has to say goes in comments."""

    def __init__(self, stream):
        super().__init__()
        self.stream = stream
        self.number = 0
        self.begin = 0.0

    def say(self, text):
        """One line at once."""
        self.stream.write(text + "\n")
        self.stream.flush()

    def comment(self, text):
        """A text of any length that is no result."""
        for line in text.rstrip().splitlines():
            self.say(f"# {line}".rstrip())

    def report(self, ok, name, note=""):
        """One result."""
        self.number += 1
        self.say(f"{'ok' if ok else 'not ok'} {self.number} - {name}{note}")

    def startTest(self, test):
        super().startTest(test)
        self.begin = time.monotonic()

    def addSuccess(self, test):
        super().addSuccess(test)
        self.report(True, name_of(test))
        self.comment(f"{time.monotonic() - self.begin:.1f} s")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.comment(str(err[1]))
        self.report(False, name_of(test))

    def addError(self, test, err):
        super().addError(test, err)
        self.comment("".join(traceback.format_exception(*err)))
        self.report(False, name_of(test))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.report(True, name_of(test), f" # SKIP {reason}")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            self.comment(f"{subtest}: {err[1]}")
            self.report(False, name_of(test))


def name_of(test):
    """Class and method; for a class that fails as a whole, what it says."""
    parts = test.id().split(".")
    return ".".join(parts[-2:]) if "(" not in test.id() else str(test)


def run(suite):
    """Runs a suite and ends the process."""
    result = TAPResult(sys.stdout)
    suite.run(result)
    # A plan at the end counts what really came: a class whose set-up fails
    # has one result, not one for each test.
    result.say(f"1..{result.number}")
    sys.exit(0 if result.wasSuccessful() and result.number else 1)
