# SPDX-License-Identifier: GPL-2.0-or-later
"""
A guest with a history, for the tests that hold the one against the other.

Each guest boots a stock Debian kernel to the workload, which touches known
pages at known times.
"""

import random
import unittest

from agelib.guest.workload import Guest, images_present
from agelib.qemu.harvest import PAGE, Harvester
from agelib.qemu.history import AgesMemory

CPUS = 4
MONITORS = 8
OPS = ("load", "store", "atomic", "exec", "mix")


class HistoryTest(unittest.TestCase):
    """One guest for all the tests of a class."""

    args = None         # the command line
    accel = None
    memory = 512 << 20

    @classmethod
    def setUpClass(cls):
        if not images_present(cls.args.arch):
            raise unittest.SkipTest("no guest images: run scripts/build-guest")
        cls.ages = AgesMemory(cls.memory // PAGE)
        cls.addClassCleanup(cls.ages.close)
        cls.guest = cls.new_guest()
        cls.addClassCleanup(cls.guest.stop)
        cls.guest.start()
        cls.ages.connect(cls.guest.qmp)
        cls.guest.boot()

    @classmethod
    def new_guest(cls):
        """Such a guest, not started yet."""
        return Guest(cls.args.arch, cls.accel, monitors=MONITORS, smp=CPUS,
                     memory=cls.memory >> 20)

    def setUp(self):
        self.rng = random.Random(f"{self.args.seed} {self.id()}")
        self.harvester = Harvester(self.guest.qmp)

    def tearDown(self):
        self.guest.check()

    def add(self, guest=None, **properties):
        """A history, for the rest of the test."""
        guest = guest or self.guest
        guest.command("object-add", {"qom-type": "age-history", "id": "h0",
                                     **properties})
        if guest is self.guest:
            self.addCleanup(guest.command, "object-del", {"id": "h0"})

    def alloc(self, pages):
        """A new area, in pages of the kernel's that are as ours."""
        self.guest.tell("alloc", pages, "small")

    def begin_account(self, *readers):
        """From now on the guest keeps account, and each reader knows it."""
        self.guest.tell("reset")
        for reader in readers:
            reader.read()
        self.harvester.wait_flush()

    def account(self):
        """The guest's account; its pages must be where they were."""
        account = self.guest.account()
        self.assertEqual(account.moved, 0, "page frames changed")
        return account

    def judge(self, account, told, what):
        """Holds what a reader was told against the account."""
        self.assertTrue(account.touched)
        missed = account.touched - told
        self.assertFalse(missed, f"{what}: {len(missed)} of "
                         f"{len(account.touched)} touched pages are not told")
        invented = account.untouched & told
        self.assertFalse(invented, f"{what}: {len(invented)} of "
                         f"{len(account.untouched)} untouched pages are told")
