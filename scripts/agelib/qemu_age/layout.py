# SPDX-License-Identifier: GPL-2.0-or-later
"""
The memory of a guest: which page frames it has, and whose memory they are.

Holes are as large as memory, so vectors are over *positions*: the page frames
that there are, numbered from 0 without a hole.
"""

from dataclasses import asdict, dataclass, fields

import numpy as np

from . import runs
from .errors import UserError
from .runs import PAGE


class LayoutError(UserError):
    """There is no such memory."""


@dataclass(frozen=True)
class Part:
    """
    Page frames from @start to @end (exclusive) that one memory backs.

    @name is the memory backend's or, without one, the RAM block's; @node the
    NUMA node, or None.
    """

    start: int
    end: int
    name: str
    node: int = None
    space: str = "memory"
    device: bool = False

    @property
    def pages(self):
        """How many there are."""
        return self.end - self.start


def merge(parts):
    """Neighbours of one memory become one part: it has slots enough."""
    merged = []
    for part in parts:
        if merged and merged[-1].end == part.start and \
                asdict(merged[-1]) | {"start": 0, "end": 0} == \
                asdict(part) | {"start": 0, "end": 0}:
            part = Part(**asdict(part) | {"start": merged.pop().start})
        merged.append(part)
    return merged


class Layout:
    """
    All memory of a guest.

    @parts ascend by page frame and do not overlap; @stretches are the runs of
    page frames between two holes.
    """

    def __init__(self, parts):
        self.parts = merge(parts)
        rows = np.array([(part.start, part.end) for part in self.parts],
                        dtype=np.int64).reshape(-1, 2)
        self.stretches = runs.union([rows])
        sizes = self.stretches[:, 1] - self.stretches[:, 0]
        self._first = np.cumsum(sizes) - sizes
        self.pages = int(sizes.sum())

    def __eq__(self, other):
        return isinstance(other, Layout) and self.parts == other.parts

    @classmethod
    def from_slots(cls, slots):
        """
        From the slots of query-age.

        A harvest is by address, whatever the address space.  So where
        several spaces have memory at one address, the normal one tells
        whose it is.
        """
        slots = sorted(slots,
                       key=lambda slot: slot["address-space"] != "memory")
        taken, parts = runs.EMPTY, []
        for slot in slots:
            start = slot["gpa"] // PAGE
            row = np.array([[start, start + slot["size"] // PAGE]])
            for first, end in runs.subtract(row, taken).tolist():
                parts.append(Part(first, end,
                                  slot.get("backend", slot.get("block", "")),
                                  slot.get("node"), slot["address-space"],
                                  slot.get("device", False)))
            taken = runs.union([taken, row])
        return cls(sorted(parts, key=lambda part: part.start))

    @classmethod
    def from_json(cls, parts):
        """The inverse of json(); what a later version adds is left out."""
        names = [field.name for field in fields(Part)]
        return cls([Part(**{name: part[name] for name in names
                            if name in part}) for part in parts])

    def json(self):
        """A list of objects, a part each."""
        return [asdict(part) for part in self.parts]

    def positions(self, frames):
        """
        The same runs of page frames as runs of positions.

        What is not in this layout is left out.
        """
        inside = frames
        which = self._stretch_of(inside)
        if not self._has(inside, which):
            inside = runs.intersect(frames, self.stretches)
            which = self._stretch_of(inside)
        shift = (self._first - self.stretches[:, 0])[which]
        return inside + shift[:, None]

    def _stretch_of(self, frames):
        """For each run, the first stretch that ends behind its start."""
        return np.searchsorted(self.stretches[:, 1], frames[:, 0],
                               side="right")

    def _has(self, frames, which):
        """Whether each run is in its stretch as a whole, as nearly always."""
        if frames.size == 0 or which.max() >= len(self.stretches):
            return False
        return ((frames[:, 0] >= self.stretches[which, 0]) &
                (frames[:, 1] <= self.stretches[which, 1])).all()

    def frames(self, positions):
        """Runs of positions as runs of page frames, parted by the holes."""
        sizes = self.stretches[:, 1] - self.stretches[:, 0]
        there = np.stack([self._first, self._first + sizes], axis=1)
        inside = runs.intersect(positions, there)
        which = np.searchsorted(there[:, 1], inside[:, 0], side="right")
        shift = (self.stretches[:, 0] - self._first)[which]
        return inside + shift[:, None]

    def changed(self, other):
        """The runs of this memory that @other lacks, or has of another."""
        same = [runs.intersect(self.of(name), other.of(name))
                for name in {part.name for part in self.parts}]
        return runs.subtract(self.stretches, runs.union(same))

    def over(self, older):
        """This memory, and what only @older has."""
        parts = list(self.parts)
        for part in older.parts:
            row = np.array([[part.start, part.end]], dtype=np.int64)
            for start, end in runs.subtract(row, self.stretches).tolist():
                parts.append(Part(**asdict(part) | {"start": start,
                                                    "end": end}))
        return Layout(sorted(parts, key=lambda part: part.start))

    def of(self, name):
        """The runs of one memory."""
        return runs.union([np.array([(part.start, part.end) for part
                                     in self.parts if part.name == name],
                                    dtype=np.int64).reshape(-1, 2)])

    def select(self, name=None, node=None, addresses=None):
        """
        The part of it that is of one memory, node or range of addresses.

        @addresses are (start, end) in bytes.
        """
        kept = [part for part in self.parts
                if (name is None or part.name == name)
                and (node is None or part.node == node)]
        if addresses:
            start, end = addresses[0] // PAGE, -(-addresses[1] // PAGE)
            kept = [Part(**asdict(part) | {"start": max(part.start, start),
                                           "end": min(part.end, end)})
                    for part in kept
                    if part.start < end and start < part.end]
        if not kept:
            raise LayoutError("no memory is left: " + self.describe())
        return Layout(kept)

    def describe(self):
        """What there is to select from."""
        names = sorted({part.name for part in self.parts})
        nodes = sorted({part.node for part in self.parts
                        if part.node is not None})
        text = f"the guest has {', '.join(names) or 'none'}"
        if nodes:
            text += f"; node {', '.join(map(str, nodes))}"
        if self.parts:
            text += (f"; {self.parts[0].start * PAGE:#x}-"
                     f"{self.parts[-1].end * PAGE:#x}")
        return text
