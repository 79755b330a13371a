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
    """
    One line for each test; what it has to say goes in comments.

    @failed is a FailedFolder, or None.
    """

    def __init__(self, stream, failed=None):
        super().__init__()
        self.stream = stream
        self.failed = failed
        self.current = "before the first test"
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
        self.current = name_of(test)
        self.begin = time.monotonic()

    def stopTest(self, test):
        super().stopTest(test)
        if self.failed:
            self.failed.end_of_test()

    def fail(self, test, text):
        """One result that is none to be proud of."""
        self.comment(text)
        self.report(False, name_of(test))
        if self.failed:
            self.failed.add(name_of(test), text)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.report(True, name_of(test))
        self.comment(f"{time.monotonic() - self.begin:.1f} s")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.fail(test, str(err[1]))

    def addError(self, test, err):
        super().addError(test, err)
        self.fail(test, "".join(traceback.format_exception(*err)))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.report(True, name_of(test), f" # SKIP {reason}")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            self.fail(test, f"{subtest}: {err[1]}")


def name_of(test):
    """Class and method; for a class that fails as a whole, what it says."""
    parts = test.id().split(".")
    return ".".join(parts[-2:]) if "(" not in test.id() else str(test)


def run(suite, failed=None):
    """
    Runs a suite and ends the process.

    The last line names the folder @failed, if there is something in it.
    """
    result = TAPResult(sys.stdout, failed)
    if failed:
        failed.on_sigterm(lambda: result.current, result.comment)
    suite.run(result)
    # A plan at the end counts what really came: a class whose set-up fails
    # has one result, not one for each test.
    result.say(f"1..{result.number}")
    if failed:
        failed.end()
        result.comment(failed.last_line() or "")
    sys.exit(0 if result.wasSuccessful() and result.number else 1)
