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

import tap
from failed import FailedFolder


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
    parser.add_argument("--long", action="store_true",
                        help="the long form of the tests that have one")
    parser.add_argument("--only", nargs="+", metavar="TEST", default=[],
                        help="Class or Class.test; default: all of them")
    parser.add_argument("--list", action="store_true",
                        help="run nothing, and list the tests")
    args = parser.parse_args()
    args.name = f"{Path(sys.argv[0]).stem.removeprefix('test_')}-{args.arch}"
    if args.build:
        os.environ["AGE_BUILD"] = args.build
    return args


def comment(text):
    """Something to know that is no result."""
    print(f"# {text}", flush=True)


def run_classes(classes, args=None):
    """
    Runs the tests of these classes, or those that were named.

    What failed tests leave is kept if there are @args: then there are
    emulators.
    """
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    tests = [test for cls in classes for test in load(cls)
             if not args or wanted(test, args.only)]
    if args and args.list:
        print("\n".join(map(tap.name_of, tests)))
        return
    if args and not tests:
        sys.exit(f"{args.name}: there is no {' '.join(args.only)}; "
                 "--list shows what there is")
    tap.run(unittest.TestSuite(tests), FailedFolder(args.name) if args
            else None)


def wanted(test, only):
    """Whether a test was named on the command line."""
    cls, method = test.id().split(".")[-2:]
    return not only or cls in only or f"{cls}.{method}" in only
