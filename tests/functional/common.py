# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the functional tests share: the way to agelib, and the command line.
"""

import argparse
import os
import sys
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

# pylint: disable=wrong-import-position
import tap  # noqa: E402


def parse_args(description):
    """The command line, and with it where the emulators are."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--arch", choices=["x86_64", "aarch64"],
                        required=True)
    parser.add_argument("--build", metavar="DIR",
                        help="where emulators and guests are")
    parser.add_argument("--rounds", type=int, default=50,
                        help="rounds of the tests that have rounds")
    parser.add_argument("--seed", type=int, default=1,
                        help="of everything that is random")
    parser.add_argument("only", nargs="*", metavar="TEST",
                        help="Class or Class.test; default: all of them")
    args = parser.parse_args()
    if args.build:
        os.environ["AGE_BUILD"] = args.build
    return args


def comment(text):
    """Something to know that is no result."""
    print(f"# {text}", flush=True)


def run_classes(classes, only):
    """Runs the tests of these classes, or those that were named."""
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    suite = unittest.TestSuite()
    for cls in classes:
        tests = [test for test in load(cls) if wanted(test, only)]
        suite.addTests(tests)
    tap.run(suite)


def wanted(test, only):
    """Whether a test was named on the command line."""
    cls, method = test.id().split(".")[-2:]
    return not only or cls in only or f"{cls}.{method}" in only
