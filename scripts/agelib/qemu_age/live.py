# SPDX-License-Identifier: GPL-2.0-or-later
"""
A guest that is harvested at a pace for as long as it runs, and again if it
comes back.

Each has a thread, so that one that hangs keeps nobody waiting, and hands on
figures that nobody changes afterwards: reading them costs nothing, however
often it is done.
"""

import threading
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from . import runs
from .ages import Ages
from .cells import Cells
from .errors import UserError
from .layout import Layout
from .recorder import Pace
from .source import QMPSource, SourceError, SourceGone, connect
from .trouble import Lookout, Told

# How soon a guest that could not be reached is tried again, in seconds
RETRY_S = 5

# Mean working sets are not asked for, and their sums take time.
DEPTH = 1


@dataclass
class Place:
    """
    The ages of one part of a guest's memory, and sums of what ages forget.

    @dirtied are pages that were found dirty, in all harvests.
    """

    ages: Ages
    young: int = 0
    dirty: int = 0
    dirtied: int = 0


@dataclass
class Sums:
    """What happened since the guest was reached."""

    harvests: int = 0
    missed: int = 0
    failures: int = 0
    loads: int = 0
    stolen: int = 0
    lost: int = 0
    cost_ns: int = 0
    last_cost_ns: int = 0


@dataclass
class Figures:
    """
    What a guest looked like after a harvest.

    @places are what ``Guest.view`` makes of each place, by its key.
    """

    title: str
    path: str
    error: str = None
    places: dict = field(default_factory=dict)
    sums: Sums = field(default_factory=Sums)

    @property
    def up(self):
        """Whether it could be harvested when last tried."""
        return self.error is None


class Guest(threading.Thread):
    """
    One guest, which is watched from start() to end().

    @key tells of a part of its memory which place it belongs to; @view(place,
    interval) makes of it what others may read.  @make_source(qmp, name) is how
    it is harvested.  @figures is None before the first harvest or the first
    error; @notices are lines for the user, each kind once for as long as the
    guest is watched.
    """

    def __init__(self, path, interval, key, view, dirty=False, flush="request",
                 touches=False, make_source=QMPSource):
        super().__init__(daemon=True)
        self.path = str(path)
        self.interval = interval
        self.key, self.view = key, view
        self.options = (flush, dirty)
        self.touches = touches
        self.make_source = make_source
        self.notices = deque()
        self._told = Told(self.path, self.notices.append)
        self.figures = None
        self.stop = threading.Event()
        self.title = self.path
        self.places, self.sums = {}, Sums()
        self._layout = self._generation = None
        self._tick = -1
        self._lookout = Lookout(interval)

    def _clear(self):
        """Of a guest that has been reached just now nothing is known yet."""
        self.places, self.sums = {}, Sums()
        self._layout = self._generation = None
        self._tick = -1
        self._lookout = Lookout(self.interval)

    def end(self):
        """Lets go of the guest, soon: join() waits until it is done."""
        self.stop.set()

    def run(self):
        while not self.stop.is_set():
            try:
                with self.make_source(connect(self.path), self.path) as source:
                    self.title = source.title
                    self._clear()
                    self._follow(source)
            except UserError as e:
                self.figures = Figures(self.title, self.path, str(e))
            self.stop.wait(RETRY_S)

    def _follow(self, source):
        """Harvests until it is gone, or we are."""
        pace = Pace(self.interval)
        tick = 0
        while not self.stop.wait(pace.left(tick)):
            self.step(source, tick)
            tick = pace.next_tick(tick)

    def step(self, source, tick):
        """One tick."""
        try:
            harvest = source.harvest(*self.options)
            if self._lookout.due(tick):
                self._look_for_strangers(source)
        except SourceGone:
            raise
        except SourceError as e:
            self.sums.failures += 1
            self.figures = Figures(self.title, self.path, str(e))
            return
        if harvest.replaced:
            self._told.tell("history")
        self._take(source.layout(), harvest, tick)
        self.figures = Figures(
            self.title, self.path, None,
            {key: self.view(place, self.interval)
             for key, place in self.places.items()},
            Sums(**vars(self.sums)))

    def _look_for_strangers(self, source):
        pages = source.strangers()
        self.sums.stolen += pages
        if pages:
            self._told.tell("stranger")

    def _take(self, layout, harvest, tick):
        """What a harvest found, and the ticks before it that had none."""
        if layout != self._layout:
            self._arrange(layout)
        self._layout = layout
        loaded = self._generation not in (None, harvest.generation)
        self._generation = harvest.generation
        gap = tick - self._tick - 1
        self._tick = tick
        for place in self.places.values():
            if loaded:
                place.ages.forget()
            for _ in range(gap):
                place.ages.advance(runs.EMPTY, False)
            self._add(place, harvest)
        self._sum(harvest, gap, loaded)

    @staticmethod
    def _add(place, harvest):
        there = place.ages.cells.layout.stretches
        place.young = runs.count(runs.intersect(harvest.young, there))
        place.ages.advance(harvest.young)
        if harvest.dirty is not None:
            place.dirty = runs.count(runs.intersect(harvest.dirty, there))
            place.dirtied += place.dirty

    def _sum(self, harvest, gap, loaded):
        sums = self.sums
        sums.harvests += 1
        sums.missed += gap
        sums.loads += loaded
        sums.lost = runs.count(harvest.lost)
        sums.cost_ns += harvest.cost_ns
        sums.last_cost_ns = harvest.cost_ns

    def _arrange(self, layout):
        """Memory came or went: each place keeps what it still has."""
        parts = {}
        for part in layout.parts:
            parts.setdefault(self.key(part), []).append(part)
        places = {}
        for key, some in parts.items():
            place = self.places.get(key)
            if place:
                place.ages.rebase(Layout(some))
            else:
                place = Place(Ages(Cells(Layout(some)), DEPTH, self.touches))
            places[key] = place
        self.places = places


def at_most(counts, ticks):
    """How many of what is counted by age have an age of @ticks or less."""
    return int(np.sum(counts[:ticks + 1]))
