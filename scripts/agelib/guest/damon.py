# SPDX-License-Identifier: GPL-2.0-or-later
"""
A guest in which DAMON watches memory whose use is known.

``scripts/guest/damon.c`` is the program in it.
"""

import time
from dataclasses import dataclass

from ..qemu.patience import PATIENCE
from .workload import PAGE, Guest, WorkloadError, other_kernel

AREA_PAGES = (128 << 20) // PAGE

# DAMON's own defaults: how often it samples, how often it adds that up
SAMPLE_US = 5000
AGGREGATION_US = 100000

# How long the guest pauses before it touches its pages again
PAUSE_US = 20000


@dataclass
class Found:
    """
    What a watcher says was accessed, in pages of the area.

    @used is how many of them were, @unused how many were not.
    """

    used: int
    unused: int


def damon_kernel(arch):
    """A kernel that has DAMON, which Debian's have from 13 on."""
    return other_kernel(f"{arch}-damon")


class DamonGuest(Guest):
    """A guest that touches some pages again and again."""

    def __init__(self, arch, accel, **options):
        super().__init__(arch, accel, program="damon",
                         images=(damon_kernel(arch), None), **options)
        self.used = set()
        self.unused = set()

    def use(self, pattern):
        """Begins to touch the pages of a pattern, and no others."""
        self.tell("alloc", AREA_PAGES, "small")
        self.tell("run", pattern, PAUSE_US)
        account = self.account()
        self.used, self.unused = account.touched, account.untouched

    def rest(self):
        """Ends that.  What was found counts only if no page has moved."""
        self.tell("stop")
        if self.account().moved:
            raise WorkloadError("the kernel has moved pages of the area")

    def take_turn(self):
        """Waits until all of the pages have been touched once more."""
        # The one that has begun may be past a page already.
        last = int(self.tell("turns")["turns"]) + 2
        deadline = time.monotonic() + PATIENCE
        while int(self.tell("turns")["turns"]) < last:
            if time.monotonic() > deadline:
                raise WorkloadError("the pages are not touched any more")
            time.sleep(PAUSE_US / 1e6)

    def watch(self, operations):
        """Has DAMON watch, by ``paddr`` or by ``vaddr``."""
        self.tell("damon", operations, SAMPLE_US, AGGREGATION_US)

    def accessed(self):
        """What DAMON says was accessed when it last added up."""
        answer = self.tell("accessed")
        return Found(int(answer["hot"]), int(answer["cold"]))

    def young(self, harvest):
        """What a harvest says."""
        return Found(len(harvest.young & self.used),
                     len(harvest.young & self.unused))
