# SPDX-License-Identifier: GPL-2.0-or-later
"""
A record, or a part of it, tick by tick.

It is read twice: first to learn what memory there is, how long it takes, and
where runs begin and end; and then again for what is asked of it.  Runs are kept
in memory in between, unless they are too many.
"""

from dataclasses import dataclass, field

import numpy as np

from . import runs
from .ages import Ages
from .cells import Cells
from .errors import UserError
from .source import Harvest

# 16 bytes each
KEPT_RUNS = 8 << 20

# How many sets are joined at once
JOINED = 64


@dataclass
class Choice:
    """
    The part of a record that is asked for.

    @time are seconds since its begin, @addresses bytes; each is a pair of
    which the second may be None.  @name is a memory backend, @node a NUMA node.
    """

    time: tuple = (0, None)
    addresses: tuple = None
    name: str = None
    node: int = None

    def select(self, layout):
        """The memory that is asked for."""
        addresses = self.addresses
        if addresses and addresses[1] is None:
            addresses = (addresses[0], 1 << 62)
        return layout.select(self.name, self.node, addresses)


@dataclass
class Tick:
    """
    One interval.

    @number counts from 0 within what is asked for; @harvest is None if there
    was none.  @gone are page frames that are other memory from here on, @anew
    is set if all are.
    """

    number: int
    harvest: Harvest
    gone: np.ndarray = field(default_factory=lambda: runs.EMPTY)
    anew: bool = False

    def pages(self, dirty=False):
        """The runs of what was young, or dirty."""
        if self.harvest is None:
            return runs.EMPTY
        found = self.harvest.dirty if dirty else self.harvest.young
        return runs.EMPTY if found is None else found


class Joined:
    """What many sets have together, joined now and then."""

    def __init__(self):
        self.sets = []

    def add(self, some):
        """One more set."""
        self.sets.append(some)
        if len(self.sets) >= JOINED:
            self.sets = [runs.union(self.sets)]

    def all(self):
        """Everything so far."""
        return runs.union(self.sets)


class Replay:
    """
    A part of a record.

    @layout is all the memory that there ever was, @pages how much there was at
    the end; @ticks how many intervals; @harvests, @missed and @costs_ns tell of
    the harvests, @events are the lines of what else happened.
    """

    def __init__(self, reader, choice=None):
        self.reader = reader
        self.choice = choice or Choice()
        self.interval = reader.header.interval
        self.layout = None
        self.pages = 0
        self.events, self.costs_ns = [], []
        self.harvests = self.first_ns = 0
        self.first = self._tick_of(self.choice.time[0])
        self.end = self._tick_of(self.choice.time[1])
        self.last = -1
        self._kept = []
        self._scan()

    @property
    def ticks(self):
        """Intervals between the first harvest and the last."""
        return self.last - self.first

    @property
    def seconds(self):
        """How long all that took, by the number of intervals."""
        return self.ticks * self.interval

    @property
    def missed(self):
        """Intervals at whose end there was no harvest."""
        return self.ticks + 1 - self.harvests

    def ages(self, dirty=False, touches=False, each=None):
        """
        The ages at the end.

        @each(ages, tick) is called after every tick.
        """
        ages = Ages(Cells.of_runs(self.layout, self._sets(dirty)),
                    touches=touches)
        for tick in self:
            if tick.gone.size:
                ages.drop(tick.gone)
            if tick.anew:
                ages.forget()
            ages.advance(tick.pages(dirty), tick.harvest is not None)
            if each:
                each(ages, tick)
        return ages

    def __iter__(self):
        """
        Each tick from the first to the last, whether it had a harvest or not.

        What was accessed before the first is told by the first.
        """
        before, changes = [Joined(), Joined()], [runs.EMPTY, False]
        number = 0
        for kind, tick, value in self._steps():
            if kind == "gone":
                changes[0] = runs.union([changes[0], value])
                for joined in before:
                    joined.sets = [runs.subtract(joined.all(), value)]
            elif kind == "anew":
                before, changes[1] = [Joined(), Joined()], True
            elif kind == "harvest" and tick < self.first:
                self._remember(before, value)
            elif kind == "harvest":
                if number == 0:
                    self._remember(before, value)
                    value = self._first(before, value)
                    changes = [runs.EMPTY, False]
                while number < tick - self.first:
                    yield Tick(number, None)
                    number += 1
                yield Tick(number, value, *changes)
                number, changes = number + 1, [runs.EMPTY, False]

    @staticmethod
    def _remember(before, harvest):
        before[0].add(harvest.young)
        if harvest.dirty is not None:
            before[1].add(harvest.dirty)

    @staticmethod
    def _first(before, harvest):
        """The first harvest, with all that came before it."""
        first = type(harvest)(**vars(harvest))
        first.young = before[0].all()
        if harvest.dirty is not None:
            first.dirty = before[1].all()
        return first

    def _tick_of(self, seconds):
        return None if seconds is None else int(seconds / self.interval + 1e-6)

    def _sets(self, dirty):
        """All runs that any tick brings."""
        for tick in self:
            yield tick.pages(dirty)
            yield tick.gone

    def _steps(self):
        """What happens, as (kind, tick, value), up to the end asked for."""
        return iter(self._kept if self._kept is not None else self._read())

    def _read(self):
        layout = generation = None
        for entry in self.reader:
            if entry.kind == "layout":
                new = entry.layout()
                if layout is not None and (gone := layout.changed(new)).size:
                    yield "gone", None, gone
                layout = new
                yield "layout", None, layout
            elif entry.kind == "event":
                yield "event", entry.tick, entry.line
            elif entry.kind == "harvest":
                if self.end is not None and entry.tick > self.end:
                    return
                harvest = entry.harvest()
                if generation not in (None, harvest.generation):
                    yield "anew", entry.tick, None
                generation = harvest.generation
                yield "harvest", entry.tick, harvest

    def _scan(self):
        """The first pass."""
        size, last = 0, None
        for step in self._read():
            kind, tick, value = step
            if kind == "layout":
                last = value
                self.layout = value.over(self.layout) if self.layout else value
            elif kind == "event":
                self._note_event(tick, value)
            else:
                if kind == "harvest":
                    self._note_harvest(tick, value)
                    size += len(value.young) + np.size(value.dirty) // 2
                if self._kept is not None:
                    self._kept.append(step)
            if size > KEPT_RUNS:
                self._kept = None
        if self.harvests == 0:
            raise UserError(f"{self.reader.path}: no harvest in it"
                            f"{' at that time' if last else ''}")
        self.layout = self.choice.select(self.layout)
        self.pages = runs.count(runs.intersect(self.layout.stretches,
                                               last.stretches))

    def _note_event(self, tick, line):
        if tick >= self.first and (self.end is None or tick <= self.end):
            self.events.append(line)

    def _note_harvest(self, tick, harvest):
        if tick < self.first:
            return
        if not self.harvests:
            self.first_ns, self.first = harvest.begin_ns, tick
        self.harvests += 1
        self.last = tick
        self.costs_ns.append(harvest.cost_ns)
