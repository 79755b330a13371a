# SPDX-License-Identifier: GPL-2.0-or-later
"""
The units whose age is kept: pages, or pieces that no harvest tells apart.

A live guest may touch any page next, so each page has a cell.  Of a record all
runs are known, and pages between two of their edges have one history: they
share a cell, and 64 GiB whose 2 MiB regions are young as a whole take 32768
cells in the place of 16 million.
"""

import numpy as np

from . import runs


class Cells:
    """
    The cells of a layout.

    @edges are the positions at which they begin, and the end of the last;
    without them each page is a cell.
    """

    def __init__(self, layout, edges=None):
        self.layout = layout
        self.edges = edges
        self.count = layout.pages if edges is None else len(edges) - 1
        self.weights = None
        self._cell_of = None
        if edges is not None:
            self.weights = np.diff(edges)
            self._cell_of = np.repeat(
                np.arange(self.count, dtype=np.int32), self.weights)

    @classmethod
    def of_runs(cls, layout, sets):
        """The cells for a record that has these sets of page frames."""
        cut = np.zeros(layout.pages + 1, dtype=bool)
        cut[[0, -1]] = True
        for part in layout.parts:
            row = np.array([[part.start, part.end]], dtype=np.int64)
            cut[layout.positions(row).ravel()] = True
        for some in sets:
            cut[layout.positions(some).ravel()] = True
        return cls(layout, np.flatnonzero(cut))

    def index(self, frames):
        """The cells in these runs of page frames."""
        positions = self.layout.positions(frames)
        if self.edges is not None and positions.size:
            positions = np.stack([self._cell_of[positions[:, 0]],
                                  self._cell_of[positions[:, 1] - 1] + 1],
                                 axis=1).astype(np.int64)
        return runs.frames_of(positions)

    def histogram(self, values, cells, length):
        """Pages by value; @values is for each of @cells, below @length."""
        if self.weights is None:
            return np.bincount(values, minlength=length)
        # Whole numbers below 2^53 are exact in what this returns.
        return np.bincount(values, self.weights[cells],
                           minlength=length).astype(np.int64)

    def sizes(self):
        """Pages of each cell."""
        if self.weights is None:
            return np.ones(self.count, dtype=np.int64)
        return self.weights

    def frames(self, mask):
        """The runs of page frames of the cells for which @mask is true."""
        found = runs.from_mask(mask)
        if self.edges is not None:
            found = self.edges[found]
        return self.layout.frames(found)
