# SPDX-License-Identifier: GPL-2.0-or-later
"""
Reports of places: which ranges are hot, and which are cold.

Each returns what --json prints; sizes are in bytes, times in seconds.
"""

import numpy as np

from . import runs
from .runs import PAGE


def limits(args):
    """The bounds for sizes, in pages."""
    low, high = args.size or (0, None)
    return -(-low // PAGE), 1 << 62 if high is None else high // PAGE


def select(layout, found, args):
    """Those ranges that have a size that was asked for, each of one memory."""
    found = runs.intersect(found, np.array(
        [(part.start, part.end) for part in layout.parts], dtype=np.int64))
    low, high = limits(args)
    sizes = found[:, 1] - found[:, 0]
    return found[(sizes >= low) & (sizes < high)]


def owner(layout, frame):
    """Whose memory a page is."""
    part = next(part for part in layout.parts
                if part.start <= frame < part.end)
    return part.name, part.node


def describe(layout, start, end):
    """What all rows have."""
    name, node = owner(layout, start)
    return {"start": start * PAGE, "end": end * PAGE,
            "bytes": (end - start) * PAGE, "memory": name, "node": node}


def largest(found, count):
    """The @count largest ranges, the larger first."""
    order = np.argsort(found[:, 0] - found[:, 1], kind="stable")
    return found[order[:count]].tolist()


def mean_over(ages, values, start, end):
    """The mean of a value of cells over the pages of a range."""
    cells = ages.cells.index(np.array([[start, end]]))
    return float(np.average(values[cells], weights=ages.cells.sizes()[cells]))


def total(found):
    """Bytes of all ranges, and how many they are."""
    return {"bytes": runs.count(found) * PAGE, "ranges": len(found)}


def hot(replay, args):
    """Ranges whose pages are young in most harvests."""
    ages = replay.ages(touches=True)
    # The first harvest tells of all time before.
    ticks = max(replay.harvests - 1, 1)
    first = ages.cells.index(next(iter(replay)).pages())
    ages.touches[first] -= 1
    often = ages.touches >= max(args.share / 100 * ticks, 1)
    found = select(replay.layout, ages.cells.frames(often), args)
    rows = [describe(replay.layout, start, end) |
            {"share": mean_over(ages, ages.touches, start, end) / ticks}
            for start, end in largest(found, args.count)]
    return {"share": args.share / 100, "total": total(found), "rows": rows}


def cold(replay, args):
    """Ranges that were touched, and have been idle since for long."""
    ages = replay.ages()
    ticks = round(args.idle / replay.interval)
    ages_of_cells = ages.idle_cells()
    old = ages.cells.frames(ages_of_cells >= max(ticks, 1))
    found = select(replay.layout, old, args)
    rows = []
    for start, end in largest(found, args.count):
        cells = ages.cells.index(np.array([[start, end]]))
        rows.append(describe(replay.layout, start, end) |
                    {"idle": int(ages_of_cells[cells].min()) *
                     replay.interval})
    untouched = select(replay.layout, ages.cells.frames(ages_of_cells < 0),
                       args)
    return {"idle": ticks * replay.interval, "total": total(found),
            "untouched": total(untouched), "rows": rows}
