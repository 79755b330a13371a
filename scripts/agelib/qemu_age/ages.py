# SPDX-License-Identifier: GPL-2.0-or-later
"""
How long each page has been idle, and what follows from it.

Time is counted in *ticks*: intervals between harvests.  Tick 0 is the first
harvest, which finds what was ever accessed before.  The idle age of a page is
the number of ticks since it was last young: 0 if it is so now.

- W(t, k), the working set of a window of k ticks, is how many pages have an
  idle age below k at tick t;
- a page that is young at t and was last so at s < t is a *promotion* with the
  idle age t - s - 1: the ticks between, in which it was idle.  With a threshold
  of k ticks for what is cold it would be a fault, if that age is k or more;
- the sum over all ticks of W(t, k + 1) - W(t, k) counts each touch after which
  k ticks passed without another.  Those are the promotions with an age of k or
  more, and the last touches of pages that have gone, or been idle since, for as
  long.  This is Denning's identity with its ends, and holds to the page.
"""

import numpy as np

from . import runs
from .cells import Cells

NEVER = -1

# The longest window whose mean is kept, in ticks
DEPTH = 7200


class Ages:
    """
    The ages of the cells of a guest, from harvest to harvest.

    @last is, for each cell, the tick at which it was last young; @by_last how
    many pages have each such tick; @promoted pages by idle age when they were
    touched again; @first pages that nobody had touched before; @touches, if
    wanted, the ticks in which each cell was young.
    """

    def __init__(self, cells, depth=DEPTH, touches=False):
        self.cells = cells
        self.depth = depth
        self.tick = -1
        self.begin = 0
        self.samples = 0
        self.first = 0
        self.last = np.full(cells.count, NEVER, dtype=np.int32)
        self.touches = np.zeros(cells.count, np.int32) if touches else None
        self.by_last, self.promoted, self.dropped = (
            np.zeros(256, dtype=np.int64) for _ in range(3))
        self._every = np.zeros(depth + 2, dtype=np.int64)
        self._full = np.zeros(depth + 2, dtype=np.int64)
        self._full_ticks = np.zeros(depth + 2, dtype=np.int64)

    def advance(self, young, sampled=True):
        """
        One tick in which the runs of page frames @young were accessed.

        Not @sampled is a tick without a harvest: what happened in it is
        told by the next, so no working set is known for it.
        """
        self.tick += 1
        self._grow()
        cells = self.cells.index(young)
        # By the tick when they were last young; the first are those never
        counts = self.cells.histogram(self.last[cells] + 1, cells,
                                      self.tick + 1)
        self.first += int(counts[0])
        self.promoted[:self.tick] += counts[:0:-1]
        self.by_last[:self.tick] -= counts[1:]
        self.by_last[self.tick] = counts.sum()
        self.last[cells] = self.tick
        if self.touches is not None:
            self.touches[cells] += 1
        self._sum(sampled)

    def forget(self):
        """
        All memory has become another: nothing of before is known.

        Windows that reach back to before are full no more.
        """
        self.drop(self.cells.layout.stretches)
        self.begin = max(self.tick, 0)

    def drop(self, frames):
        """These runs of page frames are gone, or other memory from here on."""
        cells = self.cells.index(frames)
        cells = cells[self.last[cells] >= 0]
        counts = self.cells.histogram(self.last[cells], cells, self.tick + 1)
        self.dropped[:self.tick + 1] += counts[::-1]
        self.by_last[:self.tick + 1] -= counts
        self.last[cells] = NEVER

    def rebase(self, layout):
        """
        Goes on with another layout: what both have keeps its age.

        Only where each page has a cell.
        """
        before = self.cells.layout.stretches
        common = runs.intersect(before, layout.stretches)
        self.drop(runs.subtract(before, common))
        cells = Cells(layout)
        old, new = self.cells.index(common), cells.index(common)
        self.last = self._moved(self.last, old, new, cells.count, NEVER)
        if self.touches is not None:
            self.touches = self._moved(self.touches, old, new, cells.count, 0)
        self.cells = cells

    @staticmethod
    def _moved(values, old, new, count, default):
        """The values at their new places."""
        moved = np.full(count, default, dtype=values.dtype)
        moved[new] = values[old]
        return moved

    # What is known now

    def touched(self):
        """Pages that were ever accessed."""
        return int(self.by_last[:self.tick + 1].sum())

    def working_set(self, window):
        """W(now, window): pages young in one of the last @window ticks."""
        first = max(self.tick + 1 - window, 0)
        return int(self.by_last[first:self.tick + 1].sum())

    def idle_pages(self):
        """Pages by idle age, from 0 to that of what tick 0 found."""
        return self.by_last[self.tick::-1].copy() if self.tick >= 0 \
            else self.by_last[:0]

    def idle_bins(self, bins):
        """
        Pages by bins of idle age: the lower edges, ascending, in ticks.

        What is idle for less than the first edge is in no bin.
        """
        ages = self.idle_pages()
        which = np.searchsorted(bins, np.arange(len(ages)), side="right")
        counts = np.bincount(which, ages, minlength=len(bins) + 1)
        return counts[1:].astype(np.int64)

    def percentiles(self, wanted=range(101)):
        """
        The idle ages, in ticks, that these percentages of pages do not pass.

        Of the pages that were ever touched; none if there are none.
        """
        ages = np.cumsum(self.idle_pages())
        if ages.size == 0 or ages[-1] == 0:
            return []
        # The smallest age that so many pages have or are below; at least one
        ranks = np.maximum(np.ceil(np.array(wanted) * ages[-1] / 100), 1)
        return np.searchsorted(ages, ranks).tolist()

    def idle_cells(self):
        """The idle age of each cell; -1 for never touched."""
        return np.where(self.last >= 0, self.tick - self.last, -1)

    # What is known of all ticks so far

    def windows(self):
        """The longest window that has been full in a tick, in ticks."""
        return int(np.count_nonzero(self._full_ticks[1:]))

    def mean_working_set(self, window):
        """The mean of W over the ticks in which the window was full."""
        ticks = int(self._full_ticks[window])
        return float(self._full[window]) / ticks if ticks else None

    def promotions(self, threshold):
        """Pages that were touched after being idle for @threshold or more."""
        return int(self.promoted[threshold:].sum())

    def cold(self, threshold):
        """Pages that are idle for @threshold ticks or more now."""
        return self.touched() - self.working_set(threshold)

    def identity(self, window):
        """
        Both sides of Denning's identity, for a window of k = @window ticks.

        Left, what working sets say, and right, promotions and ends.
        """
        if window > self.depth:
            raise ValueError("no sums are kept for such a window")
        left = int(self._every[window + 1] - self._every[window])
        ended = int(self.idle_pages()[window:].sum() +
                    self.dropped[window:].sum())
        return left, self.promotions(window) + ended

    def _sum(self, sampled):
        """Adds this tick to the sums over ticks, for every window."""
        recent = self.by_last[self.tick::-1][:self.depth + 1]
        sets = np.cumsum(recent)
        self._every[1:len(sets) + 1] += sets
        self._every[len(sets) + 1:] += sets[-1]
        if sampled and self.tick > self.begin:
            full = min(self.tick - self.begin, self.depth)
            self._full[1:full + 1] += sets[:full]
            self._full_ticks[1:full + 1] += 1
            self.samples += 1

    def _grow(self):
        """Room for another tick."""
        if self.tick + 1 >= len(self.by_last):
            self.by_last, self.promoted, self.dropped = (
                np.concatenate([old, np.zeros_like(old)]) for old
                in (self.by_last, self.promoted, self.dropped))
