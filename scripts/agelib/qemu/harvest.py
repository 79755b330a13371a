# SPDX-License-Identifier: GPL-2.0-or-later
"""
Harvests: accessed bits over QMP, as sets of guest page frames.
"""

import base64
import bisect
import time
from dataclasses import dataclass

from .patience import patience

PAGE = 4096

# For each byte value, the numbers of the bits that are set
BITS = [[bit for bit in range(8) if value >> bit & 1]
        for value in range(256)]


class HarvestError(Exception):
    """A harvest was refused or is not what it should be."""


@dataclass
class Harvest:
    """
    One harvest.

    @young are the page frames found young (or dirty, where that was asked
    for), @pages how many were looked at,
    @cost_ns what it cost the accelerator, @round_trip_ns what it cost us.
    @begin_ns is when it began by the host's CLOCK_MONOTONIC; @generation
    changes when the guest's state is loaded.
    """

    young: set
    pages: int
    cost_ns: int
    round_trip_ns: int
    flush_pending: bool
    begin_ns: int
    generation: int


def ram_ranges(slots, space="memory"):
    """
    The (start, end) of all the memory of an address space.

    Neighbours become one range, so that a bitmap covers all of a guest's
    memory and none of the holes.
    """
    ranges = []
    for slot in sorted(slots, key=lambda slot: slot["gpa"]):
        if slot["address-space"] != space:
            continue
        start, end = slot["gpa"], slot["gpa"] + slot["size"]
        if ranges and ranges[-1][1] == start:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((start, end))
    return ranges


class Slots:
    """The slots of an address space, by guest-physical address."""

    def __init__(self, slots, space):
        self.slots = sorted((slot for slot in slots
                             if slot["address-space"] == space),
                            key=lambda slot: slot["gpa"])
        self.starts = [slot["gpa"] for slot in self.slots]

    def find(self, gpa):
        """The slot that holds an address, or None."""
        i = bisect.bisect_right(self.starts, gpa) - 1
        if i >= 0 and gpa < self.starts[i] + self.slots[i]["size"]:
            return self.slots[i]
        return None


def encode_bitmap(start, end, ones):
    """The caller's bitmap: all ones to clear what is young, or all zeros."""
    size = ((end - start) // PAGE + 7) // 8
    return base64.b64encode((b"\xff" if ones else b"\0") * size).decode()


def decode_bitmap(start, end, text, ones):
    """
    The young page frames of a range, from the bitmap that came back.

    The bit of the page at address a is (end - a) / 4096 - 1: bit 0 is the
    last page.  A young page has its bit flipped, so the bits that differ
    from the caller's are the young ones.
    """
    count = (end - start) // PAGE
    last = end // PAGE - 1
    data = base64.b64decode(text, validate=True)
    if len(data) * 8 < count:
        raise HarvestError(f"the bitmap of {start:#x}-{end:#x} has only "
                           f"{len(data) * 8} bits for {count} pages")
    same = 0xff if ones else 0
    young = set()
    for i, value in enumerate(data):
        if value != same:
            first = last - i * 8
            young.update(first - bit for bit in BITS[value ^ same]
                         if i * 8 + bit < count)
    return young


class Harvester:
    """
    Harvests a guest's memory over one QMP connection.

    @ranges defaults to all memory of the normal address space.
    """

    def __init__(self, qmp, ranges=None, flush="request", oob=True):
        self.qmp = qmp
        self.flush = flush
        self.oob = oob
        self.ranges = ranges or ram_ranges(self.query()["slots"])
        if not self.ranges:
            raise HarvestError("the guest has no memory to harvest")

    def query(self):
        """query-age, which has to say that there is something to query."""
        answer = self.qmp.command("query-age", oob=self.oob)
        if not answer["enabled"]:
            raise HarvestError("the accelerator is not age")
        return answer

    def harvest(self, clear=True, flush=None, dirty=False):
        """
        The pages that are young; with @clear they are old afterwards.

        With @dirty, those that are dirty, and then they are clean.
        """
        what = "dirty" if dirty else "young"
        begin = time.monotonic_ns()
        answer = self.qmp.command(f"age-test-clear-{what}", {
            "ranges": [{"start": start, "end": end}
                       for start, end in self.ranges],
            "clear": clear,
            "flush": flush or (self.flush if clear else "none"),
            "format": "bitmap"}, oob=self.oob)
        round_trip = time.monotonic_ns() - begin
        young = set()
        for wanted, got in zip(self.ranges, answer["ranges"], strict=True):
            young |= self._decode(wanted, got, clear, f"{what}-pages")
        return Harvest(young,
                       sum(end - start for start, end in self.ranges) // PAGE,
                       answer["end-ns"] - answer["begin-ns"], round_trip,
                       answer["flush-pending"], answer["begin-ns"],
                       answer["generation"])

    def clear(self, dirty=False):
        """
        Makes every page old, with the flush that this harvester is for.

        With one, no vCPU's TLB remembers otherwise afterwards.  With
        @dirty, makes every page clean.
        """
        found = self.harvest(clear=True, dirty=dirty)
        self.wait_flush()
        return found

    def wait_flush(self, timeout=120):
        """Waits until the flush that was requested has happened."""
        deadline = time.monotonic() + patience(timeout)
        while self.query()["flush-pending"]:
            if time.monotonic() > deadline:
                raise HarvestError("the flush never comes to an end")
            time.sleep(0.002)

    @staticmethod
    def range(start, end, clear):
        """One range of a command; without @clear a bitmap of zeros."""
        wanted = {"start": start, "end": end}
        if not clear:
            wanted["bitmap"] = encode_bitmap(start, end, False)
        return wanted

    @staticmethod
    def _decode(wanted, got, clear, count):
        start, end = wanted
        if (got["start"], got["end"]) != wanted:
            raise HarvestError(f"asked for {start:#x}-{end:#x} and got "
                               f"{got['start']:#x}-{got['end']:#x}")
        if not got["handled"]:
            raise HarvestError(f"{start:#x}-{end:#x} was not harvested: "
                               f"{got.get('reason', 'no reason given')}")
        young = decode_bitmap(start, end, got["bitmap"], clear)
        if len(young) != got[count]:
            raise HarvestError(f"{start:#x}-{end:#x}: {len(young)} pages in "
                               f"the bitmap, {got[count]} counted")
        return young
