# SPDX-License-Identifier: GPL-2.0-or-later
"""
Debian guests that are harvested, held against their own account.

Each guest boots a stock Debian kernel to the workload, which touches pages as
it is told and says which page frames those were.  Then

- recall is whole: every page it touched is young;
- nothing is invented: no page that it left alone is young.
"""

import random
import unittest

from agelib.guest.workload import Guest, images_present, no_kernel, other_kernel
from agelib.qemu.emulator import EmulatorError
from agelib.qemu.harvest import PAGE, Harvester

OPS = ("load", "store", "atomic", "exec", "mix", "straddle")
AREA_PAGES = 64 << 20 >> 12
SHOWN = 8


class LinuxTest(unittest.TestCase):
    """One guest for all the tests of a class."""

    args = None         # the command line
    accel = "age,thread=multi"
    options = {}
    monitors = 2
    exact = True        # an entry for each page
    needs = None        # a property that the accelerator may not have
    kernel = None       # another one than usual
    pages = AREA_PAGES  # of the area that is touched
    guest = None

    @classmethod
    def setUpClass(cls):
        if not images_present(cls.args.arch):
            raise unittest.SkipTest("no guest images: run scripts/build-guest")
        kernel = cls.kernel and other_kernel(cls.kernel)
        if kernel and not kernel.exists():
            raise unittest.SkipTest(no_kernel(kernel))
        cls.guest = Guest(cls.args.arch, cls.accel, monitors=cls.monitors,
                          images=(kernel, None), **cls.options)
        cls.addClassCleanup(cls.guest.stop)
        try:
            cls.guest.start()
        except EmulatorError as e:
            if cls.needs and f"'age-accel.{cls.needs}' not found" in str(e):
                raise unittest.SkipTest(f"no property {cls.needs}") from None
            raise
        cls.guest.boot()
        cls.guest.tell("alloc", cls.pages, "small")
        cls.cpus = int(cls.guest.hello["cpus"])

    def setUp(self):
        self.rng = random.Random(f"{self.args.seed} {self.id()}")
        self.harvester = Harvester(self.guest.qmp)

    def tearDown(self):
        self.guest.check()

    def random_touch(self):
        """The words of a random command."""
        pattern = self.rng.choice([
            f"random:{self.rng.getrandbits(32)}:500",
            f"random:{self.rng.getrandbits(32)}:{self.rng.randint(1, 999)}",
            f"every:{self.rng.randint(2, 64)}:0", "all"])
        threads = self.rng.randint(1, self.cpus)
        return "touch", pattern, self.rng.choice(OPS), threads

    def round(self, touch):
        """Makes all old, lets the guest touch, and judges what is found."""
        self.guest.tell("reset")
        self.harvester.clear()
        self.guest.tell(*touch)
        found = self.harvester.harvest(clear=self.rng.random() < 0.5).young
        self.judge(self.guest.account(), found, " ".join(map(str, touch)))

    def hold(self, op, make_old):
        """
        Touches the same pages before and after they are made old.

        Few pages, or the TLB drops them by itself; one vCPU is left for
        what else the guest does.
        """
        seed = self.rng.getrandbits(32)
        self.guest.tell("hold", f"random:{seed}:6", op,
                        max(1, self.cpus - 1))
        try:
            self.guest.tell("reset")
            make_old()
            self.guest.tell("again")
            found = self.harvester.harvest().young
            return self.guest.account(), found
        finally:
            self.guest.tell("release")

    def judge(self, account, found, what):
        """Holds a harvest against the account."""
        self.assertEqual(account.moved, 0, "page frames changed")
        missed = account.touched - found
        invented = account.untouched & found if self.exact else set()
        problems = []
        if missed:
            problems.append(f"{len(missed)} of {len(account.touched)} "
                            "touched pages are not young:" +
                            self.describe(missed))
        if invented:
            problems.append(f"{len(invented)} of {len(account.untouched)} "
                            "untouched pages are young:" +
                            self.describe(invented))
        if problems:
            self.fail(f"after '{what}': " + "\n".join(problems))

    def describe(self, frames):
        """Some page frames, each with the entries that lead to it."""
        lines = []
        for pfn in sorted(frames)[:SHOWN]:
            entries = self.walk(pfn)
            path = " ".join(f"{entry['level']}:{entry['value']:#x}"
                            for entry in entries)
            lines.append(f"\n  pfn {pfn:#x}  {path}")
        if len(frames) > SHOWN:
            lines.append(f"\n  and {len(frames) - SHOWN} more")
        return "".join(lines)

    def walk(self, pfn):
        """The entries on the way to a page frame, the root's first."""
        answer = self.guest.command("query-age-walk", {"gpa": pfn * PAGE})
        return answer["entries"]

    def pause(self):
        """Stops the guest for the rest of a test."""
        self.guest.command("stop")
        self.addCleanup(self.guest.command, "cont")


class RoundsMixin:
    """What every guest has to pass."""

    rounds = 5

    def test_rounds(self):
        """Random patterns; a page that is touched is found, no other."""
        for _ in range(min(self.rounds, self.args.rounds)):
            self.round(self.random_touch())

    def test_held(self):
        """
        A flush that has ended makes vCPUs walk again.

        Threads that hold on to their vCPUs touch again what they touched
        before, with nothing but the flush in between that could take the
        translations out of their TLBs.
        """
        for op in OPS:
            account, found = self.hold(op, self.harvester.clear)
            self.judge(account, found, f"hold, {op}")

    def test_each_op(self):
        """Each kind of access alone makes a page young."""
        for op in OPS:
            seed = self.rng.getrandbits(32)
            self.round(("touch", f"random:{seed}:500", op, self.cpus))


def guest_class(args, name, *mixins, **attributes):
    """A class for one kind of guest; @args are the command line."""
    return type(name, mixins + (LinuxTest,), {"args": args, **attributes})
