# SPDX-License-Identifier: GPL-2.0-or-later
"""
A record as lists of ranges and as pages by age, in the formats of others.

Each function gives the file in pieces of bytes.
"""

import csv
import io

import numpy as np

from . import runs
from .runs import PAGE

# Page frames of page_idle/bitmap at once; a multiple of 64
CHUNK = 1 << 20


def idle_ticks(replay, span):
    """The bounds of idle ages (low, high) in ticks, from seconds."""
    low, high = span
    return (round(low / replay.interval),
            None if high is None else round(high / replay.interval))


def line(row):
    """One line of CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(row)
    return out.getvalue().encode()


def owners(layout, found):
    """Runs of page frames, parted where memory becomes another's."""
    for part in layout.parts:
        inside = runs.intersect(found, np.array([[part.start, part.end]]))
        for start, end in inside.tolist():
            yield start, end, part


def export_csv(replay, args, _):
    """A line a range whose pages have one history, by address."""
    ages = replay.ages(args.dirty, touches=True)
    yield line(["start", "end", "bytes", "memory", "node", "idle_s",
                "harvests"])
    idle = ages.idle_cells()
    edges = ages.cells.edges
    first = np.concatenate([[0], 1 + np.flatnonzero(
        (np.diff(idle) != 0) | (np.diff(ages.touches) != 0))])
    ends = np.append(edges[first[1:]], edges[-1])
    for begin, end, cell in zip(edges[first], ends, first):
        found = replay.layout.frames(np.array([[begin, end]]))
        seconds = "" if idle[cell] < 0 else \
            f"{idle[cell] * replay.interval:g}"
        for start, stop, part in owners(replay.layout, found):
            yield line([start * PAGE, stop * PAGE, (stop - start) * PAGE,
                        part.name, "" if part.node is None else part.node,
                        seconds, ages.touches[cell]])


def generations(ages, rows, edges):
    """Pages of these runs by generation, the youngest first."""
    cells = ages.cells.index(rows)
    idle = ages.idle_cells()[cells]
    which = np.searchsorted(edges, idle, side="right")
    sizes = ages.cells.sizes()[cells]
    return np.bincount(which[idle >= 0], sizes[idle >= 0],
                       minlength=len(edges) + 1).astype(np.int64)


def export_lru_gen(replay, args, _):
    """
    As MGLRU shows its generations, the oldest first.

    A generation has the age of its birth, so nothing in it was touched
    before.  What kind of memory the guest's pages are is not known: they
    are all counted as anonymous.
    """
    ages = replay.ages(args.dirty)
    edges = [max(round(edge / replay.interval), 1) for edge in args.bins]
    births = [*edges, max(ages.tick + 1, edges[-1])]
    yield f"memcg {1:5d} /{replay.reader.header.name}\n".encode()
    nodes = {}
    for part in replay.layout.parts:
        nodes.setdefault(part.node or 0, []).append((part.start, part.end))
    for node, rows in sorted(nodes.items()):
        pages = generations(ages, np.array(rows, dtype=np.int64), edges)
        yield f" node {node:5d}\n".encode()
        for number in range(len(births)):
            which = len(births) - 1 - number
            born = round(births[which] * replay.interval * 1000)
            yield (f" {number:10d} {born:10d} {pages[which]:10d}  {0:10d} "
                   "\n").encode()


def export_page_idle(replay, args, _):
    """
    The bitmap of page_idle: 64-bit words, page i is bit i % 64.

    A page that was never touched is idle too; holes are not.
    """
    low, high = idle_ticks(replay, args.idle or (120, None))
    ages = replay.ages(args.dirty)
    idle = ages.idle_cells()
    mask = (idle < 0) | (idle >= low)
    if high is not None:
        mask &= idle < high
    found = ages.cells.frames(mask)
    end = -(-int(replay.layout.stretches[-1, 1]) // 64) * 64
    for first in range(0, end, CHUNK):
        last = min(first + CHUNK, end)
        bits = np.zeros(last - first, dtype=np.uint8)
        inside = runs.intersect(found, np.array([[first, last]]))
        bits[runs.frames_of(inside - first)] = 1
        yield np.packbits(bits, bitorder="little").tobytes()


def export_vab(replay, args, _):
    """
    Ranges for memtierd: pairs of little-endian 64-bit start and end.

    What is to be of interest is told by its idle time.
    """
    low, high = idle_ticks(replay, args.idle or (0, 120))
    ages = replay.ages(args.dirty)
    idle = ages.idle_cells()
    mask = idle >= low
    if high is not None:
        mask &= idle < high
    found = ages.cells.frames(mask) * PAGE + args.offset
    yield found.astype("<u8").tobytes()


def first_touches(replay, dirty):
    """
    [(tick, runs)]: what had not been touched before, by the tick that did.

    What became other memory counts as never touched; of a guest whose state
    was loaded, what came before says nothing.
    """
    found, seen = [], runs.EMPTY
    for tick in replay:
        if tick.anew:
            found, seen = [], runs.EMPTY
        if tick.gone.size:
            seen = runs.subtract(seen, tick.gone)
            found = [(number, runs.subtract(some, tick.gone))
                     for number, some in found]
        young = runs.intersect(tick.pages(dirty), replay.layout.stretches)
        new = runs.subtract(young, seen)
        if new.size:
            found.append((tick.number, new))
            seen = runs.union([seen, new])
    return found


def export_prefetch(replay, args, _):
    """What a restore should load, first things first."""
    yield line(["start", "bytes", "first_s"])
    for tick, found in first_touches(replay, args.dirty):
        for start, end in found.tolist():
            yield line([start * PAGE, (end - start) * PAGE,
                        f"{tick * replay.interval:g}"])
