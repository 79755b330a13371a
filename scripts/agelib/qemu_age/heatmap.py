# SPDX-License-Identifier: GPL-2.0-or-later
"""
The heat map: which part of memory was young, when.

Rows are time, columns memory without its holes.  The heat of a field is the
mean share of its pages that a harvest finds young: 1 if all of them are young
each time.
"""

from dataclasses import dataclass

import numpy as np

from .layout import Layout
from .runs import PAGE


@dataclass
class HeatMap:
    """
    @heat has a row for each piece of time, and NaN where nothing was harvested.

    @times are the edges of the rows, in seconds since the begin of the record;
    @positions those of the columns, in pages; @layout tells their addresses.
    """

    heat: np.ndarray
    times: np.ndarray
    positions: np.ndarray
    layout: Layout
    what: str = "young"

    def address(self, column):
        """The address at which a column begins, or the last one ends."""
        place = int(self.positions[column])
        if place >= self.layout.pages:
            return int(self.layout.stretches[-1, 1]) * PAGE
        row = np.array([[place, place + 1]])
        return int(self.layout.frames(row)[0, 0]) * PAGE

    def json(self):
        """What --json prints."""
        return {"what": self.what, "times": self.times.tolist(),
                "addresses": [self.address(column) for column
                              in range(len(self.positions))],
                "heat": [[None if np.isnan(value) else round(value, 6)
                          for value in row] for row in self.heat.tolist()]}


def coverage(positions, edges):
    """How many pages of the runs lie between each two edges."""
    if positions.size == 0:
        return np.zeros(len(edges) - 1, dtype=np.int64)
    sizes = positions[:, 1] - positions[:, 0]
    before = np.cumsum(sizes) - sizes
    # How many pages lie below each edge: those of whole runs, and a part of
    # the last run that begins below.
    which = np.searchsorted(positions[:, 0], edges, side="left") - 1
    part = np.minimum(edges - positions[which, 0], sizes[which])
    below = np.where(which >= 0, before[which] + part, 0)
    return np.diff(below)


def draw(replay, rows, columns, dirty=False):
    """
    The heat map of a record, with at most so many rows and columns.

    The first harvest is left out where there are others: it tells of all time
    before the record.
    """
    ticks = max(replay.ticks, 1)
    skipped = 0 if replay.ticks < 1 else 1
    rows, columns = min(rows, ticks), min(columns, replay.layout.pages)
    edges = np.linspace(0, replay.layout.pages, columns + 1).astype(np.int64)
    heat = np.zeros((rows, columns))
    harvests = np.zeros(rows)
    for tick in replay:
        if tick.number < skipped or tick.harvest is None:
            continue
        row = (tick.number - skipped) * rows // ticks
        heat[row] += coverage(replay.layout.positions(tick.pages(dirty)),
                              edges)
        harvests[row] += 1
    with np.errstate(invalid="ignore", divide="ignore"):
        heat = heat / (harvests[:, None] * np.diff(edges))
    # A row begins with the first tick that falls into it.
    starts = -(-np.arange(rows + 1) * ticks // rows)
    times = (replay.first + starts) * replay.interval
    return HeatMap(heat, times, edges, replay.layout,
                   "dirty" if dirty else "young")
