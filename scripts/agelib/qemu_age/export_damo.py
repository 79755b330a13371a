# SPDX-License-Identifier: GPL-2.0-or-later
"""
A record as damo keeps its own: snapshots of regions, as JSON within zlib.

Several harvests are folded into a snapshot, so that a region has as many
grades as it has harvests, and not just touched or not.  A region of damo's is
hot by ``nr_accesses``, the harvests of the snapshot that found it young, and
has the ``age`` of its rate: for how many snapshots that has been what it is.
"""

import json
import zlib

import numpy as np

from . import runs
from .cells import Cells
from .errors import UserError
from .runs import PAGE

# damo takes minutes for snapshots of more.
MAX_REGIONS = 1000

TAIL = (b'],"total_bytes":null,"damos_stats":null,'
        b'"sample_interval_us":null}')


class Regions:
    """
    The regions of one snapshot after the other.

    @counts are, for each cell, the harvests of this snapshot that found it
    young.  @joined tells how many snapshots had more regions than damo bears.
    """

    def __init__(self, cells):
        self.cells = cells
        self.frames = cells.layout.frames(
            np.stack([cells.edges[:-1], cells.edges[1:]], axis=1))
        self.holes = self.frames[1:, 0] != self.frames[:-1, 1]
        self.counts = np.zeros(cells.count, dtype=np.int64)
        self.age = np.zeros(cells.count, dtype=np.int64)
        self._before = None
        self.joined = 0

    def add(self, young):
        """One more harvest."""
        self.counts[self.cells.index(young)] += 1

    def close(self):
        """The rows start, end, accesses, age; the next snapshot begins."""
        if self._before is not None:
            same = self.counts == self._before
            self.age = np.where(same, self.age + 1, 0)
        rows = self._rows()
        self._before = self.counts
        self.counts = np.zeros_like(self.counts)
        return rows

    def _rows(self):
        first = np.concatenate([[0], 1 + np.flatnonzero(
            self.holes | (np.diff(self.counts) != 0) |
            (np.diff(self.age) != 0))])
        if len(first) > MAX_REGIONS:
            self.joined += 1
            first = self._fewer(first)
        sizes = np.add.reduceat(self.cells.weights, first)
        last = np.append(first[1:], self.cells.count) - 1
        means = [np.rint(np.add.reduceat(values * self.cells.weights, first) /
                         sizes).astype(np.int64)
                 for values in (self.counts, self.age)]
        return np.stack([self.frames[first, 0] * PAGE,
                         self.frames[last, 1] * PAGE, *means], axis=1)

    def _fewer(self, first):
        """Keeps the borders at which most is to be seen, and all holes."""
        sizes = np.add.reduceat(self.cells.weights, first)
        steps = np.abs(np.diff(self.counts[first])).astype(float)
        # Where the rate is the same, the age parts; it counts for less.
        steps = (steps + 1e-6) * np.minimum(sizes[1:], sizes[:-1])
        steps[self.holes[first[1:] - 1]] = np.inf
        kept = np.sort(np.argsort(-steps, kind="stable")[:MAX_REGIONS - 1])
        return np.concatenate([[0], first[1:][kept]])


def region(start, end, accesses, age):
    """
    A region, as damo writes it.

    One at address 0 would be lost from the range that damo guesses.
    """
    return {"start": str(max(start, PAGE)), "end": str(end),
            "nr_accesses": {"samples": str(accesses), "percent": None},
            "age": {"usec": None, "aggr_intervals": str(age)},
            "probe_hits": [], "sz_filter_passed": "0"}


def head(interval, fold):
    """All that comes before the first snapshot."""
    sample = round(interval * 1000000)
    text = json.dumps({
        "kdamond_idx": 0, "context_idx": 0,
        "intervals": {"sample_us": str(sample),
                      "aggr_us": str(sample * fold),
                      "ops_update_us": str(sample * fold)},
        "scheme_idx": None, "target_id": 0, "scheme_filters": [],
        "snapshots": []})
    return b"[" + text.removesuffix("]}").encode()


def snapshot(start_ns, end_ns, rows):
    """One snapshot, as JSON."""
    regions = ",".join(json.dumps(region(*row)) for row in rows.tolist()
                       if row[1] > PAGE)
    times = f'{{"start_time":"{start_ns}","end_time":"{end_ns}","regions":['
    return times.encode() + regions.encode() + TAIL


def snapshots(replay, fold, regions, dirty):
    """
    Every whole snapshot.

    The first harvest only sets the bits to nothing: it tells of all time
    before.
    """
    begin = replay.reader.wall_ns(replay.first_ns)
    step = round(replay.interval * 10 ** 9)
    for tick in replay:
        if tick.number == 0:
            continue
        regions.add(tick.pages(dirty))
        if tick.number % fold == 0:
            yield snapshot(begin + (tick.number - fold) * step,
                           begin + tick.number * step, regions.close())


def sets(replay, dirty):
    """All runs that a harvest found."""
    return (tick.pages(dirty) for tick in replay)


def export(replay, args, say):
    """The file, in pieces of bytes."""
    if replay.ticks < args.fold:
        raise UserError(f"the record has {replay.ticks} intervals, too few "
                        f"for a snapshot of {args.fold}: --fold takes less")
    regions = Regions(Cells.of_runs(replay.layout,
                                    sets(replay, args.dirty)))
    packer = zlib.compressobj(6)
    yield packer.compress(head(replay.interval, args.fold))
    comma = b""
    for text in snapshots(replay, args.fold, regions, args.dirty):
        yield packer.compress(comma + text)
        comma = b","
    yield packer.compress(b'],"data_source":"unknown"}]')
    yield packer.flush()
    if regions.joined:
        say(f"{regions.joined} snapshots had more than {MAX_REGIONS} regions: "
            "neighbours were joined, and have the mean of their rates")
    if runs.count(replay.layout.stretches[:1]) and \
            replay.layout.stretches[0, 0] == 0:
        say("the first region begins at 4096: damo loses one that is at 0")
