# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the tests of qemu-age on real guests share.
"""

import json
import random
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

from agelib.guest.workload import Guest, images_present
from agelib.qemu.patience import PATIENCE

TOOL = Path(__file__).resolve().parents[2] / "scripts/qemu-age"
AREA_PAGES = 4096


class FolderTest(unittest.TestCase):
    """A folder for each test."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="age-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.path = self.folder / "record"

    def report(self, *words):
        """A report as JSON."""
        text = subprocess.run([TOOL, "report", self.path, *words, "--json"],
                              stdout=subprocess.PIPE, check=False,
                              timeout=PATIENCE).stdout
        return json.loads(text)


class Thief:
    """A client that makes all memory old and clean, 20 times a second."""

    def __init__(self, qmp):
        self.qmp = qmp
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(PATIENCE)

    def _run(self):
        while not self.stop.wait(0.05):
            for kind in "young", "dirty":
                self.qmp.command(f"age-test-clear-{kind}",
                                 {"format": "count", "flush": "request"},
                                 oob=True)


class ToolGuest(Guest):
    """
    A guest that touches what it is told to, and keeps an account.

    @sockets are paths of further QMP sockets, for the tool.
    """

    def __init__(self, args, sockets=(), monitors=3):
        if not images_present(args.arch):
            raise unittest.SkipTest("no guest images: run scripts/build-guest")
        super().__init__(args.arch, "age,thread=multi", monitors=monitors)
        for path in sockets:
            self.options += ["-qmp", f"unix:{path},server=on,wait=off"]
        self.rng = random.Random(args.seed)

    def boot(self, *words, **options):
        """Waits for it, and has it take the memory that it touches."""
        super().boot(*words, **options)
        self.tell("alloc", AREA_PAGES, "small")

    def choose(self, permille):
        """Random pages of that memory, so many of a thousand."""
        return f"random:{self.rng.getrandbits(32)}:{permille}"

    def touch(self, op, permille):
        """Touches random pages; returns the account."""
        self.tell("reset")
        self.tell("touch", self.choose(permille), op, 2)
        account = self.account()
        if account.moved:
            raise AssertionError("page frames changed")
        return account

    def histories(self):
        """The ids of the histories there are."""
        return [item["name"] for item in
                self.command("qom-list", {"path": "/objects"})
                if item["type"] == "child<age-history>"]
