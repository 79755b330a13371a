# SPDX-License-Identifier: GPL-2.0-or-later
"""
What ``qemu-age top`` shows of a guest, in numbers.
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from .live import at_most
from .runs import PAGE
from .threshold import WORKING_SET_S

# The windows of working sets, in seconds
WINDOWS = (10, 60, 600)

# Where bars of idle times begin, in seconds
BARS = (0, 2, 10, 60, 120, 600)

# Memory that was young in so many of all harvests is hot.
HOT = 0.5
RANGES = 5

COLUMNS = 60


@dataclass
class PlaceView:
    """
    A part of a guest's memory, in pages.

    @sets and @cold are None where nobody has watched for long enough;
    @promoted are all that came back after having been cold.  What only the
    view in depth has: @bars by idle time, the last being never touched;
    @strip the share of each column that was young within ten seconds; @ranges
    (start, pages, share of harvests).
    """

    memory: int
    young: int
    dirty: int
    sets: list
    cold: int
    promoted: int
    bars: list = field(default_factory=list)
    strip: list = field(default_factory=list)
    ranges: list = field(default_factory=list)


def ticks_of(seconds, interval):
    """So many intervals, and at least one."""
    return max(round(seconds / interval), 1)


def view(place, interval, deep=False):
    """What is shown of a part."""
    ages = place.ages
    watched = ages.tick - ages.begin
    sets = [ages.working_set(ticks) if ticks <= watched else None
            for ticks in (ticks_of(window, interval) for window in WINDOWS)]
    cold = ticks_of(WORKING_SET_S, interval)
    found = PlaceView(
        ages.cells.layout.pages, place.young, place.dirty, sets,
        ages.cold(cold) if cold <= watched else None,
        int(ages.promoted.sum()) - at_most(ages.promoted, cold - 1))
    if deep:
        found.bars = bars(ages, interval)
        found.strip = strip(ages, ticks_of(10, interval))
        found.ranges = ranges(ages)
    return found


def bars(ages, interval):
    """Pages by idle time, and those that were never touched."""
    edges = [0, *(ticks_of(edge, interval) for edge in BARS[1:])]
    found = ages.idle_bins(edges).tolist() if ages.tick >= 0 else []
    return found + [ages.cells.layout.pages - ages.touched()]


def strip(ages, ticks):
    """The share of each column that was young within so many ticks."""
    pages = ages.cells.layout.pages
    columns = min(COLUMNS, pages)
    first = np.arange(columns) * pages // columns
    recent = ages.last > max(ages.tick - ticks, -1)
    counts = np.add.reduceat(recent, first, dtype=np.int64)
    return (counts / np.diff(np.append(first, pages))).tolist()


def ranges(ages):
    """The largest ranges that are young in most harvests."""
    often = ages.touches >= max(HOT * (ages.tick + 1), 1)
    found = ages.cells.frames(often)
    order = np.argsort(found[:, 0] - found[:, 1], kind="stable")[:RANGES]
    rows = []
    for start, end in found[order].tolist():
        cells = ages.cells.index(np.array([[start, end]]))
        share = float(ages.touches[cells].mean()) / (ages.tick + 1)
        rows.append((start * PAGE, end - start, share))
    return rows


def total(values):
    """Their sum, or None if one is not known."""
    values = list(values)
    return None if None in values else sum(values)


@dataclass
class Row:
    """
    One guest, all its memory together, in pages.

    @promotions are pages a minute, None before there can be any.
    """

    title: str
    error: str
    memory: int = 0
    young: int = 0
    dirty: int = 0
    sets: list = None
    cold: int = None
    promotions: float = None
    cost_ns: int = 0
    stolen: int = 0


class Rates:
    """Promotions a minute of each guest, over the last minute."""

    def __init__(self, interval):
        self.interval = interval
        self.seen = {}

    def of(self, figures, promoted):
        """The rate of a guest, whose sum is now @promoted."""
        ticks = figures.sums.harvests + figures.sums.missed
        seen = self.seen.setdefault(figures.path, deque())
        if seen and (ticks < seen[-1][0] or promoted < seen[-1][1]):
            seen.clear()
        if not seen or ticks > seen[-1][0]:
            seen.append((ticks, promoted))
        while len(seen) > 2 and \
                (ticks - seen[1][0]) * self.interval >= 60:
            seen.popleft()
        passed = (ticks - seen[0][0]) * self.interval
        return (promoted - seen[0][1]) * 60 / passed if passed else None


def row(title, figures, rates):
    """The line of a guest."""
    if not figures.up:
        return Row(title, figures.error)
    places = list(figures.places.values())
    cold = total(place.cold for place in places)
    rate = rates.of(figures, sum(place.promoted for place in places))
    return Row(title, None, sum(place.memory for place in places),
               sum(place.young for place in places),
               sum(place.dirty for place in places),
               [total(place.sets[number] for place in places)
                for number in range(len(WINDOWS))], cold,
               None if cold is None else rate, figures.sums.last_cost_ns,
               figures.sums.stolen)


def key(part):
    """What parts of memory are told apart: the memory, and its node."""
    return part.name, part.node
