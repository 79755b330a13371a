#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
DAMON in a guest, and age outside of it, at the same time.

They do not disturb each other: age is exact to the page while DAMON clears
accessed bits of the guest's own, and DAMON finds used pages while age harvests.
How much each finds depends on chance as well; ``scripts/damon-compare``
measures it.
"""

import time
import unittest

import common

from agelib.guest.damon import DamonGuest, damon_kernel
from agelib.guest.workload import images_present, no_kernel
from agelib.qemu.harvest import Harvester
from agelib.qemu.patience import PATIENCE

ARGS = common.parse_args(__doc__.splitlines()[1])


class Damon(unittest.TestCase):
    """One guest for both tests."""

    guest = None

    @classmethod
    def setUpClass(cls):
        if not images_present(ARGS.arch):
            raise unittest.SkipTest("no guest images: run scripts/build-guest")
        if not damon_kernel(ARGS.arch).exists():
            raise unittest.SkipTest(no_kernel(damon_kernel(ARGS.arch)))
        cls.guest = DamonGuest(ARGS.arch, "age,thread=multi")
        cls.addClassCleanup(cls.guest.stop)
        cls.guest.start()
        cls.guest.boot()
        cls.guest.use("block:4096:4096")
        cls.guest.watch("paddr")

    def setUp(self):
        self.harvester = Harvester(self.guest.qmp)

    def tearDown(self):
        self.guest.check()

    def test_age_is_exact(self):
        """All that is used is young, and nothing else of the area."""
        for _ in range(5):
            self.harvester.clear()
            self.guest.take_turn()
            found = self.guest.young(self.harvester.harvest(clear=False))
            self.assertEqual(found.used, len(self.guest.used))
            self.assertEqual(found.unused, 0)

    def test_damon_finds(self):
        """Harvests, and their flushes, do not keep DAMON from its work."""
        deadline = time.monotonic() + PATIENCE / 2
        while not self.guest.accessed().used:
            self.assertLess(time.monotonic(), deadline,
                            "DAMON never says that the used pages are")
            self.harvester.clear()

    def test_pages_stayed(self):
        """So that the first test was held against the right ones."""
        self.guest.rest()


if __name__ == "__main__":
    common.run_classes([Damon], ARGS)
