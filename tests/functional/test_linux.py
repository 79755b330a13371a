#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Debian guests: what is harvested, held against the guest's own account.

What is judged, and how, is in ``linuxguest.py``.  Rounds are random but the
same each time; ``--seed`` makes them others.
"""

import threading
import time

import common
import linuxguest

from agelib.qemu.harvest import PAGE, Harvester
from linuxguest import AREA_PAGES, OPS, RoundsMixin

ARGS = common.parse_args(__doc__.splitlines()[1])


class AllMixin(RoundsMixin):
    """What one guest of each architecture has to pass as well."""

    rounds = ARGS.rounds

    def test_without_flush(self):
        """
        Without a flush nothing is invented; what is missed is told.

        Nothing is asserted of it, since it depends on when the guest's own
        flushes happen to come.
        """
        for op in OPS:
            account, found = self.hold(
                op, lambda: self.harvester.harvest(flush="none"))
            self.assertFalse(account.untouched & found)
            recall = len(account.touched & found) / len(account.touched)
            common.comment(f"{op}: recall without a flush {recall:.0%}")

    def test_all_pages(self):
        """Not one of many pages may be missed."""
        self.round(("touch", "all", "load", self.cpus))

    def test_dirty(self):
        """Stores make pages dirty, loads do not, in any order."""
        for op in ("load", "store", "load", "atomic"):
            seed = self.rng.getrandbits(32)
            self.guest.tell("reset")
            self.harvester.clear(dirty=True)
            self.guest.tell("touch", f"random:{seed}:500", "load", self.cpus)
            self.guest.tell("touch", f"random:{seed}:500", op, self.cpus)
            account = self.guest.account()
            dirty = self.harvester.harvest(dirty=True).young
            self.assertFalse(account.untouched & dirty, op)
            self.assertEqual(account.touched & dirty,
                             set() if op == "load" else account.touched, op)

    def test_huge_pages(self):
        """The guest's own huge pages do not hide which page was touched."""
        area = self.guest.tell("alloc", AREA_PAGES, "thp")
        self.assertGreater(int(area["huge"]), AREA_PAGES // 2)
        try:
            for _ in range(3):
                self.round(self.random_touch())
        finally:
            self.guest.tell("alloc", AREA_PAGES, "small")

    def test_console_noise(self):
        """Lines that are spoilt or repeated do no harm on the console."""
        self.guest.tell("reset")
        self.guest.write_serial(b"!7 touch all load 1 #0000\n[ 1.0] oops")
        self.assertEqual(self.guest.tell("report")["touched"], "0")
        self.guest.begin("touch", "every:4:0", "load", 1)
        self.guest.repeat()
        self.guest.repeat()
        self.guest.finish()
        self.assertEqual(self.guest.tell("report")["touched"],
                         str(AREA_PAGES // 4))

    def test_paused(self):
        """A paused guest can be harvested and touches nothing."""
        self.guest.tell("reset")
        self.harvester.clear()
        self.guest.tell("touch", "every:2:0", "store", self.cpus)
        account = self.guest.account()
        self.pause()
        self.judge(account, self.harvester.harvest(clear=False).young,
                   "pause, test")
        self.judge(account, self.harvester.clear().young, "pause, clear")
        left = self.harvester.harvest().young
        self.assertFalse(left, "young pages in a paused guest:" +
                         self.describe(left))

    def test_formats(self):
        """The three formats tell the same of a guest that stands still."""
        self.pause()
        bitmap = self.harvester.harvest(clear=False).young
        self.assertTrue(bitmap)
        for kind in ("runs", "count"):
            young, total = self.harvest_as(kind)
            self.assertEqual(total, len(bitmap), kind)
            if kind == "runs":
                self.assertEqual(young, bitmap)

    def harvest_as(self, kind):
        """A test of all pages in another format: the set, and the count."""
        ranges = [self.harvester.range(start, end, clear=False)
                  for start, end in self.harvester.ranges]
        answer = self.guest.command("age-test-clear-young", {
            "ranges": ranges, "format": kind, "flush": "none"}, oob=True)
        young = set()
        for part in answer["ranges"]:
            for run in part.get("runs", []):
                young.update(range(run["start"] // PAGE, run["end"] // PAGE))
        return young, sum(part["young-pages"] for part in answer["ranges"])

    def test_walk(self):
        """Entries lead to the page in the host, and show their flag."""
        self.guest.tell("reset")
        self.harvester.clear()
        self.guest.tell("touch", "every:64:0", "store", 1)
        account = self.guest.account()
        sample = self.rng.sample(sorted(account.touched), 16)
        self.pause()
        for pfn in sample:
            self.check_leaf(pfn, accessed=True)
        self.harvester.clear()
        for pfn in sample:
            self.check_leaf(pfn, accessed=False)

    def check_leaf(self, pfn, accessed):
        """Holds the last entry of a walk against the slot."""
        leaf = self.walk(pfn)[-1]
        gpa = pfn * PAGE
        slot = next(slot for slot in self.harvester.query()["slots"]
                    if slot["address-space"] == "memory" and
                    0 <= gpa - slot["gpa"] < slot["size"])
        self.assertTrue(leaf["leaf"], leaf)
        self.assertEqual(leaf["address"], slot["hva"] + gpa - slot["gpa"],
                         leaf)
        self.assertEqual(leaf["accessed"], accessed, leaf)

    def test_two_harvesters(self):
        """
        Two who harvest at the same time share what is young.

        One is out of band and the other in the main loop, so that they do
        run side by side.  A page that one found is old for the other, and
        no page is lost between them.
        """
        self.guest.tell("reset")
        self.harvester.clear()
        found = [set(), set()]
        stop = threading.Event()
        errors = []

        def keep_harvesting(i):
            try:
                mine = Harvester(self.guest.qmps[i], oob=i == 0)
                while not stop.is_set():
                    found[i] |= mine.harvest().young
            # Whatever it is, the test fails with it.
            except Exception as e:  # pylint: disable=broad-exception-caught
                errors.append(e)

        threads = [threading.Thread(target=keep_harvesting, args=(i,))
                   for i in range(2)]
        for thread in threads:
            thread.start()
        try:
            self.touch_for_a_while()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertFalse(errors)
        found.append(self.harvester.harvest().young)
        self.judge(self.guest.account(), set().union(*found),
                   "two harvesters")

    def touch_for_a_while(self):
        """Half of the pages, again and again, in all ways."""
        for i in range(12):
            self.guest.tell("touch", "random:7:500", OPS[i % 4], self.cpus)
        self.guest.tell("run", AREA_PAGES // 16, AREA_PAGES // 4,
                        AREA_PAGES // 64, 100, self.cpus)
        time.sleep(2)
        self.guest.tell("stop")

    def test_nothing_lost(self):
        """
        What walkers set, harvesters cleared.

        Between two moments at which the guest stands still and everything
        is old, each bit that was set has been cleared, and has gone with
        its memory at most.
        """
        before = self.counters_when_old()
        for _ in range(3):
            self.guest.tell(*self.random_touch())
            self.harvester.harvest()
        after = self.counters_when_old()
        change = {name: after[name] - before[name] for name in after}
        self.assertGreater(change["accessed-set"], 0)
        self.assertEqual(change["accessed-set"],
                         change["cleared"] + change["zapped"], change)

    def counters_when_old(self):
        """The counters at a moment at which no page is young."""
        self.guest.command("stop")
        try:
            self.harvester.clear()
            return self.harvester.query()["counters"]
        finally:
            self.guest.command("cont")

    def test_background(self):
        """Harvests under way while the guest keeps touching miss nothing."""
        self.guest.tell("reset")
        self.harvester.clear()
        found = set()
        self.guest.tell("run", AREA_PAGES // 8, AREA_PAGES // 2,
                        AREA_PAGES // 64, 50, self.cpus)
        for _ in range(20):
            time.sleep(0.1)
            found |= self.harvester.harvest().young
        self.guest.tell("stop")
        found |= self.harvester.harvest().young
        self.judge(self.guest.account(), found, "background pattern")


class Pages16KMixin(RoundsMixin):
    """A kernel whose own pages are of 16 KiB: ours are of 4 all the same."""

    kernel = "aarch64-16k"

    def test_page_size(self):
        """It is such a kernel, and its page is young by the quarter."""
        self.assertEqual(self.guest.hello["page-size"], str(16 << 10))
        self.round(("touch", "every:4:1", "load", self.cpus))


class NoADMixin:
    """Without accessed bits of the hardware: what the fallback can tell."""

    accel = "age,thread=multi,hw-ad=off"
    needs = "hw-ad"

    def fallback(self, ranges, allowed=True):
        """One harvest of some ranges, with the fallback or without."""
        answer = self.guest.command("age-test-clear-young", {
            "ranges": [{"start": start, "end": end}
                       for start, end in ranges],
            "fallback": allowed, "flush": "request", "format": "count"})
        self.harvester.wait_flush()
        return answer

    def test_refused(self):
        """The refusal has a reason, and consumes nothing."""
        info = self.harvester.query()
        self.assertFalse(info["test-clear-young"])
        self.assertTrue(info["reason"])
        self.pause()
        answer = self.fallback(self.harvester.ranges, allowed=False)
        self.assertEqual(answer["young"], 0)
        for part in answer["ranges"]:
            self.assertFalse(part["handled"])
            self.assertTrue(part["reason"])
        self.assertEqual(self.fallback(self.harvester.ranges)["young"], 1)
        self.assertEqual(self.fallback(self.harvester.ranges)["young"], 0)

    def test_pages(self):
        """Asked page by page, the fallback tells which were touched."""
        for op in OPS:
            self.guest.tell("reset")
            self.fallback(self.harvester.ranges)
            seed = self.rng.getrandbits(32)
            self.guest.tell("touch", f"random:{seed}:500", op, self.cpus)
            account = self.guest.account()
            for pages, young in ((account.touched, 1), (account.untouched, 0)):
                for pfn in self.rng.sample(sorted(pages), 32):
                    page = (pfn * PAGE, (pfn + 1) * PAGE)
                    self.assertEqual(self.fallback([page])["young"], young,
                                     f"{op}: pfn {pfn:#x}")


def guest_class(name, *mixins, **attributes):
    """A class for one kind of guest."""
    return linuxguest.guest_class(ARGS, name, *mixins, **attributes)


def guests_x86_64():
    """The guests of x86-64."""
    return [
        guest_class("Q35Multi", AllMixin, options={"smp": 4}),
        guest_class("Q35Single", RoundsMixin, accel="age,thread=single",
                    rounds=ARGS.rounds, options={"smp": 3}),
        guest_class("Pc", RoundsMixin, options={"machine": "pc", "smp": 1}),
        # Of microvm's clocks Linux knows only one that the TSC can be
        # held against.  On a busy host that fails, and it waits forever.
        guest_class("Microvm", RoundsMixin,
                    options={"machine": "microvm", "smp": 2,
                             "append": "tsc_early_khz=2000000"}),
        guest_class("LargePages", RoundsMixin, exact=False,
                    accel="age,page-size=2m"),
        guest_class("NoAD", NoADMixin),
    ]


def guests_aarch64():
    """The guests of arm64."""
    return [
        guest_class("VirtMulti", AllMixin, options={"smp": 4}),
        guest_class("VirtSingle", RoundsMixin, accel="age,thread=single",
                    rounds=ARGS.rounds),
        guest_class("OneCpu", RoundsMixin, options={"smp": 1}),
        guest_class("Pages16K", Pages16KMixin),
        guest_class("CortexA72", RoundsMixin,
                    options={"cpu": "cortex-a72", "smp": 3}),
        guest_class("El2", RoundsMixin,
                    options={"machine": "virt,virtualization=on"}),
        guest_class("LargePages", RoundsMixin, exact=False,
                    accel="age,page-size=2m"),
        guest_class("NoAD", NoADMixin),
    ]


def main():
    """Runs the guests of one architecture."""
    guests = {"x86_64": guests_x86_64, "aarch64": guests_aarch64}
    common.run_classes(guests[ARGS.arch](), ARGS)


if __name__ == "__main__":
    main()
