#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
How long the pages of a real guest are idle, by the history.

Each page's time is held against when the guest touched it, the distribution
against the pages, and promotions against working sets.  ``--long`` is for 10
minutes of 256 MiB, with an interval of 1 s.
"""

import time
from collections import Counter

import common

from agelib.qemu.harvest import PAGE
from agelib.qemu.history import (HistoryReader, NS_IN_MS, at_least, host_pages,
                                 query_history)
from history import CPUS, OPS, HistoryTest

ARGS = common.parse_args(__doc__.splitlines()[1])

MEMORY = (768 if ARGS.long else 512) << 20
RAM_BASE = {"x86_64": 0, "aarch64": 1 << 30}[ARGS.arch]

# Idle times: the area, the interval, and how long pages are touched
AREA_PAGES = (256 if ARGS.long else 32) << 20 >> 12
INTERVAL_MS = 1000 if ARGS.long else 250
TOUCH_SECONDS = 600 if ARGS.long else 12
GROUPS = 8
# A thread of a busy host may be late, and a pass takes some time.
LATE_MS = 150

# The working set: pages of the pattern, the pace of reads, and how many
HOT, WARM, WINDOW, PERIOD_MS = 512, 2048, 256, 500
PACE_MS = 400
READS = 36
TRIES = 5


def now_ms():
    """The clock that answers have, in ms."""
    return time.monotonic_ns() // NS_IN_MS


class IdleMixin:
    """How long pages have been idle, and what follows from that."""

    def test_idle_times(self):
        """
        The time told of each page is right to one interval.

        The area's pages are cut in groups.  One is left alone once the area
        is there, the others are touched one after the other, in any order.
        """
        self.add(interval=INTERVAL_MS)
        begin = now_ms()
        self.alloc(AREA_PAGES)
        alone = (begin, now_ms())
        groups = [self.touch_first(i) for i in range(GROUPS - 1)]
        end = time.monotonic() + TOUCH_SECONDS
        while time.monotonic() < end:
            i = self.rng.randrange(GROUPS - 1)
            groups[i] = (groups[i][0], self.touch(i))
            time.sleep(0.5 + self.rng.random())
        time.sleep(2 * INTERVAL_MS / 1000)
        self.assertEqual(self.account().moved, 0)
        rest = set(self.account_of_area()) - set().union(
            *(pages for pages, _ in groups))
        self.check_groups(groups + [(rest, alone)])
        self.check_distribution()

    def touch(self, i):
        """One group; returns from when to when that was."""
        begin = now_ms()
        self.guest.tell("touch", f"every:{GROUPS}:{i}", self.rng.choice(OPS),
                        CPUS)
        return begin, now_ms()

    def touch_first(self, i):
        """The same, and the pages that these are."""
        self.guest.tell("reset")
        when = self.touch(i)
        return self.account().touched, when

    def account_of_area(self):
        """All of its page frames."""
        account = self.account()
        return account.touched | account.untouched

    def check_groups(self, groups):
        """All pages of groups were last found when they were touched."""
        self.assertEqual(sum(len(pages) for pages, _ in groups), AREA_PAGES)
        now, ages = self.ages.read(RAM_BASE, MEMORY // PAGE)
        info = query_history(self.guest.qmp, [INTERVAL_MS])
        room = INTERVAL_MS * (1 + info["missed"]) + LATE_MS
        latest = 0
        for i, (pages, (begin, end)) in enumerate(groups):
            found = [now - ages[pfn - RAM_BASE // PAGE] for pfn in pages]
            latest = max(latest, max(found) - end)
            for told in (min(found), max(found)):
                self.assertGreaterEqual(told, begin - LATE_MS, f"group {i}")
                self.assertLessEqual(told, end + room, f"group {i}")
        common.comment(f"{AREA_PAGES} pages, {info['harvests']} passes, "
                       f"{info['missed']} missed: found at most {latest} ms "
                       f"after the touch, interval {INTERVAL_MS} ms")

    def check_distribution(self):
        """It is the one that the pages have, of a guest that stands still."""
        self.guest.command("stop")
        try:
            time.sleep(2 * INTERVAL_MS / 1000)
            times = self.ages.times(self.harvester.query()["slots"])
            bins = sorted({250, 500, 1000, 2000, 3000, 5000, 10000, 20000,
                           60000, 120000, 300000})
            info = query_history(self.guest.qmp, bins)
        finally:
            self.guest.command("cont")
        now = info["now-ns"] // NS_IN_MS
        idle = Counter(sum(now - when >= bound for bound in bins)
                       for when in times.values() if when)
        for i, part in enumerate(info["idle"]):
            self.assertEqual(part["bytes"], idle[i] * PAGE, part)
        self.assertEqual(info["untouched"],
                         sum(not when for when in times.values()) * PAGE)

    def test_working_set(self):
        """
        The growth of the working set with its window is the promotion rate.

        W(k) is what was touched in the last k passes.  Summed up over all
        passes, W(k + 1) less W(k) are the touches after which a page was left
        alone for k passes: it was promoted after more than k, or it was idle
        for k or more at the end.  That is exact, so it has to be equal.
        """
        self.alloc(2 * (HOT + WARM))
        self.guest.tell("run", HOT, WARM, WINDOW, PERIOD_MS, CPUS)
        self.addCleanup(self.guest.tell, "stop")
        for _ in range(TRIES):
            passes, info = self.steady_reads()
            if passes:
                break
        else:
            self.skipTest("the host is too busy for reads at a steady pace")
        self.check_sums(passes, info)

    def steady_reads(self):
        """
        The pages that each pass found, on a grid of times, and a query.

        Nobody else harvests.  For what is too late there is no pass; nothing
        at all is returned if a read itself took too long.
        """
        self.guest.command("object-add", {"qom-type": "age-history",
                                          "id": "h0"})
        try:
            reader = HistoryReader(self.guest.qmps[1])
            reads = {}
            start = now_ms() + PACE_MS
            for i in range(READS):
                due = start + i * PACE_MS
                time.sleep(max(due - now_ms(), 0) / 1000)
                if now_ms() - due < PACE_MS // 16:
                    reads[i] = reader.read()
            bins = [int((k - 0.5) * PACE_MS) for k in range(1, READS)]
            info = query_history(self.guest.qmps[1], bins)
        finally:
            self.guest.command("object-del", {"id": "h0"})
        return self.on_grid(reads, start, info), info

    def on_grid(self, reads, start, info):
        """Sets of host pages by pass, if all were in time; else None."""
        late = [read.begin_ms - start - i * PACE_MS
                for i, read in reads.items()]
        last = max(reads)
        late.append((info["now-ns"] // NS_IN_MS - start - last * PACE_MS) // 2)
        common.comment(f"{len(reads)} reads, at most {max(late)} ms late")
        if max(late) >= PACE_MS // 8 or len(reads) < READS // 2:
            return None
        slots = self.harvester.query()["slots"]
        return [host_pages(reads[i].young, slots) if i in reads else set()
                for i in range(last + 1)]

    def check_sums(self, passes, info):
        """For each k, as test_working_set() has it."""
        promoted = at_least(info, "promoted", "pages")
        idle = at_least(info, "idle", "bytes")
        smaller = 0
        for k in range(len(passes) - 1):
            sums = sum(map(len, windows(passes, k + 1)))
            came_back = promoted[int((k + 0.5) * PACE_MS)]
            left = idle[int((k - 0.5) * PACE_MS) if k else 0] // PAGE
            self.assertEqual(sums - smaller, came_back + left, f"k = {k}")
            smaller = sums
        # A page of the warm part is touched each WARM / WINDOW periods.
        again = WARM // WINDOW * PERIOD_MS // PACE_MS // 2
        self.assertGreater(promoted[int((again + 0.5) * PACE_MS)], WINDOW)


def windows(passes, k):
    """For each pass, what the last k passes found."""
    return (set().union(*passes[max(i - k + 1, 0):i + 1])
            for i in range(len(passes)))


class Multi(IdleMixin, HistoryTest):
    """A thread for each vCPU."""

    args = ARGS
    accel = "age,thread=multi"
    memory = MEMORY


class Single(IdleMixin, HistoryTest):
    """One thread for all vCPUs."""

    args = ARGS
    accel = "age,thread=single"
    memory = MEMORY


if __name__ == "__main__":
    common.run_classes([Multi, Single], ARGS)
