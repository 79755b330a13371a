# SPDX-License-Identifier: GPL-2.0-or-later
"""
Sets of page frames as runs: an array of int64, a row [start, end) a run.

Rows ascend, and neither overlap nor touch.
"""

import base64
import binascii

import numpy as np

from .errors import UserError

PAGE = 4096

EMPTY = np.empty((0, 2), dtype=np.int64)


class RunsError(UserError):
    """What should be runs of pages is none."""


def from_ranges(ranges):
    """The runs of QMP's ranges of addresses."""
    flat = [address for item in ranges
            for address in (item["start"], item["end"])]
    return np.array(flat, dtype=np.int64).reshape(-1, 2) // PAGE


def from_bitmap(start, end, text, ones=True):
    """
    The runs of a bitmap that came back for the addresses from @start to @end.

    Where it was all @ones before, a young page has 0 now, and 1 where it was
    all zeroes.  Bit 0 is the last page of the range.
    """
    pages = (end - start) // PAGE
    try:
        data = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except binascii.Error as e:
        raise RunsError(f"the bitmap of {start:#x}-{end:#x} is not base64: "
                        f"{e}") from None
    if len(data) * 8 < pages:
        raise RunsError(f"the bitmap of {start:#x}-{end:#x} has only "
                        f"{len(data) * 8} bits for {pages} pages")
    bits = np.unpackbits(data, count=pages, bitorder="little")
    return from_mask(bits[::-1] != ones) + start // PAGE


def from_mask(mask):
    """The runs of what is true, by index."""
    edges = np.zeros(len(mask) + 2, dtype=np.int8)
    edges[1:-1] = mask
    return np.flatnonzero(np.diff(edges)).astype(np.int64).reshape(-1, 2)


def from_frames(frames):
    """The runs of page frames in any order."""
    frames = np.unique(np.fromiter(frames, dtype=np.int64))
    return union([np.stack([frames, frames + 1], axis=1)])


def frames_of(runs):
    """Each page frame of the runs."""
    sizes = runs[:, 1] - runs[:, 0]
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(runs[:, 0] - ends + sizes, sizes) + np.arange(total)


def count(runs):
    """How many pages there are."""
    return int((runs[:, 1] - runs[:, 0]).sum())


def union(sets):
    """One set of all; these may overlap, and their rows be in any order."""
    rows = np.concatenate([EMPTY, *sets])
    rows = rows[rows[:, 1] > rows[:, 0]]
    if rows.size == 0:
        return EMPTY
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    reach = np.maximum.accumulate(rows[:, 1])
    first = np.concatenate([[True], rows[1:, 0] > reach[:-1]])
    last = np.concatenate([first[1:], [True]])
    return np.stack([rows[first, 0], reach[last]], axis=1)


def intersect(a, b):
    """The pages that both have; runs end where those of either end."""
    if a.size == 0 or b.size == 0:
        return EMPTY
    # For each row of a, the rows of b from the first that ends behind its
    # start to the last that starts before its end.
    low = np.searchsorted(b[:, 1], a[:, 0], side="right")
    high = np.searchsorted(b[:, 0], a[:, 1], side="left")
    sizes = np.maximum(high - low, 0)
    which = np.repeat(np.arange(len(a)), sizes)
    other = frames_of(np.stack([low, low + sizes], axis=1))
    return np.stack([np.maximum(a[which, 0], b[other, 0]),
                     np.minimum(a[which, 1], b[other, 1])], axis=1)


def subtract(a, b):
    """The pages of @a that @b does not have."""
    top = int(a[-1, 1]) if len(a) else 0
    edges = np.concatenate([[0], b.ravel(), [max(top, int(b[-1, 1])
                                                 if len(b) else 0)]])
    return intersect(a, edges.reshape(-1, 2))


def to_deltas(runs):
    """Gap, length, gap, length: small numbers, which compress well."""
    return np.diff(runs.ravel(), prepend=0).tolist()


def from_deltas(deltas):
    """The inverse of to_deltas()."""
    edges = np.cumsum(np.array(deltas, dtype=np.int64))
    if len(edges) % 2 or (len(edges) and (
            edges[0] < 0 or (np.diff(edges) <= 0).any())):
        raise RunsError("a list of runs makes no sense")
    return edges.reshape(-1, 2)
