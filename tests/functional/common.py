# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the functional tests share: the way to agelib, and the command line.
"""

import argparse
import os
import struct
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

# pylint: disable=wrong-import-position
import tap  # noqa: E402
from agelib.qemu.emulator import build_dir  # noqa: E402


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


class Widen:
    """
    Has the threads of an emulator hesitate: ``tests/preload/widen.c``.

    To be used in a ``with`` statement around the emulator, to which it gives its
    ``environment``.
    """

    def __init__(self):
        # pylint: disable=consider-using-with
        self.file = tempfile.NamedTemporaryFile(prefix="age-widen-")
        self.set()
        library = build_dir() / "tests/preload/widen.so"
        if not library.exists():
            raise RuntimeError(f"there is no {library}: build it first")
        self.environment = {"LD_PRELOAD": str(library),
                            "AGE_WIDEN_FILE": self.file.name}

    def set(self, wait_us=0, wake_us=0):
        """From now on, these are the delays."""
        self.file.seek(0)
        self.file.write(struct.pack("=II", wait_us, wake_us))
        self.file.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


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
