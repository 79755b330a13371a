# SPDX-License-Identifier: GPL-2.0-or-later
"""
Reports that follow from ages alone: how much, for how long, at what price.

Each returns what --json prints; sizes are in bytes, times in seconds.
"""

import time

import numpy as np

from . import threshold
from .runs import PAGE
from .units import time_text

WINDOWS = (1, 10, 60, 120, 600, 1800, 3600)
BINS = (0, 1, 10, 30, 60, 120, 300, 600, 1800, 3600)
SUMMARY_WINDOWS = (10, 60, 600)
COLD_S = 120

# Events after which something is missing in a record
TROUBLE = {"missed", "refused", "lost", "stranger", "history"}


def in_ticks(replay, seconds):
    """Times as numbers of ticks, each once; less than a tick is none."""
    ticks = {round(value / replay.interval) for value in seconds}
    return sorted(ticks)


def clock_text(replay, monotonic_ns):
    """A moment of the record as the time of day, in UTC."""
    wall = replay.reader.wall_ns(monotonic_ns) / 1e9
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall))


class Series:
    """
    The working sets of some windows, tick by tick.

    To be called by Replay.ages().  A value is -1 where nothing was harvested or
    the window was not full.
    """

    def __init__(self, windows):
        self.windows = windows
        self.values = {window: [] for window in windows}

    def __call__(self, ages, tick):
        for window, values in self.values.items():
            full = tick.harvest is not None and \
                window <= ages.tick - ages.begin
            values.append(ages.working_set(window) if full else -1)

    def times(self, window, interval):
        """When each of them was, in seconds since the first harvest."""
        values = np.array(self.values[window], dtype=np.int64)
        return np.flatnonzero(values >= 0) * interval

    def full(self, window):
        """The values of a window that say something."""
        values = np.array(self.values[window], dtype=np.int64)
        return values[values >= 0]


def window_rows(replay, series, ages):
    """Working set by window: the table of the report wss."""
    rows = []
    for window in series.windows:
        values = series.full(window) * PAGE
        if values.size:
            rows.append({"window": window * replay.interval,
                         "min": int(values.min()),
                         "mean": float(values.mean()),
                         "max": int(values.max()),
                         "now": ages.working_set(window) * PAGE})
    return rows


def summary(replay, _):
    """What there is, and the main figures."""
    series = Series([ticks for ticks in in_ticks(replay, SUMMARY_WINDOWS)
                     if ticks])
    ages = replay.ages(each=series)
    header = replay.reader.header
    found = {
        "guest": header.name, "begin": clock_text(replay, replay.first_ns),
        "seconds": replay.seconds, "interval": replay.interval,
        "flush": header.flush, "from-start": header.from_start,
        "harvests": replay.harvests, "missed": replay.missed,
        "memory": replay.pages * PAGE, "touched": ages.touched() * PAGE,
        "young": ages.working_set(1) * PAGE,
        "windows": window_rows(replay, series, ages),
        "harvest-ns": {"mean": float(np.mean(replay.costs_ns)),
                       "max": max(replay.costs_ns)},
        "events": count_events(replay),
        "ended": replay.reader.ended, "broken": replay.reader.broken}
    cold = round(COLD_S / replay.interval)
    if cold <= ages.tick:
        found["cold"] = {"idle": cold * replay.interval,
                         "bytes": ages.cold(cold) * PAGE}
    found["recommended"] = threshold_row(
        threshold.recommend(ages, replay.interval))
    if header.dirty:
        found["dirty-rate"] = written(replay)["rate"]
    return found


def count_events(replay):
    """How many of each kind there were."""
    names = [line["event"] for line in replay.events]
    return {name: names.count(name) for name in sorted(set(names))}


def wss(replay, args):
    """Working set by window."""
    windows = [ticks for ticks in in_ticks(replay, args.windows or WINDOWS)
               if ticks]
    if args.over_time:
        windows = [max(round(args.over_time / replay.interval), 1)]
    series = Series(windows)
    ages = replay.ages(each=series)
    found = {"windows": window_rows(replay, series, ages),
             "memory": replay.pages * PAGE}
    if args.over_time:
        found["series"] = [
            {"time": seconds, "bytes": size * PAGE} for seconds, size in zip(
                series.times(windows[0], replay.interval).tolist(),
                series.full(windows[0]).tolist())]
    if pictures_of(args):
        draw_curves(replay, series, args)
    return found


def pictures_of(args):
    """The files that pictures are to be written to."""
    return [path for path in (args.png, args.svg) if path]


def draw_curves(replay, series, args):
    """The working sets of all windows, over time, as pictures."""
    # matplotlib may be missing, and takes its time.
    # pylint: disable-next=import-outside-toplevel
    from . import pictures
    curves = [(time_text(window * replay.interval),
               series.times(window, replay.interval),
               series.full(window) * PAGE / (1 << 20))
              for window in series.windows if series.full(window).size]
    pictures.save_curves(curves, replay.reader.header.name,
                         pictures_of(args))


def idle(replay, args):
    """Pages by idle time, now."""
    ages = replay.ages()
    edges = in_ticks(replay, args.bins or BINS)
    if not args.bins:
        edges = [edge for edge in edges if edge <= ages.tick]
    pages = ages.idle_bins(edges).tolist()
    ends = [edge * replay.interval for edge in edges[1:]] + [None]
    rows = [{"from": edge * replay.interval, "to": end, "bytes": count * PAGE}
            for edge, end, count in zip(edges, ends, pages)]
    return {"bins": rows, "touched": ages.touched() * PAGE,
            "before": int(ages.by_last[0]) * PAGE,
            "never": (replay.pages - ages.touched()) * PAGE,
            "percentiles": [age * replay.interval
                            for age in ages.percentiles()]}


def threshold_row(found):
    """A threshold as the reports tell it, or None."""
    return found and {"idle": found.seconds, "rate": found.rate * PAGE,
                      "share": found.share, "cold": found.frees * PAGE}


def promotions(replay, args):
    """What each threshold of cold would bring back in a minute."""
    ages = replay.ages()
    asked = args.thresholds or [edge for edge in BINS if edge]
    ticks = [value for value in in_ticks(replay, asked)
             if 0 < value <= ages.tick]
    pages, window = threshold.working_set(ages, replay.interval)
    return {"thresholds": [threshold_row(threshold.judge(
                ages, replay.interval, value)) for value in ticks],
            "working-set": {"window": window * replay.interval,
                            "bytes": pages and pages * PAGE},
            "first-touched": ages.first * PAGE, "goal": args.goal / 100,
            "recommended": threshold_row(threshold.recommend(
                ages, replay.interval, args.goal / 100))}


def written(replay):
    """How much is written, and how fast."""
    pages = [tick.pages(True) for tick in replay if tick.harvest]
    inside = [int(np.diff(replay.layout.positions(some)).sum()) * PAGE
              for some in pages]
    return {"rate": sum(inside[1:]) / max(replay.seconds, replay.interval),
            "max": max(inside[1:], default=0) / replay.interval,
            "ticks": inside}


def dirty(replay, args):
    """Written pages: rate, and the working set of stores."""
    found = written(replay)
    del found["ticks"]
    windows = [ticks for ticks in in_ticks(replay, args.windows or WINDOWS)
               if ticks]
    series = Series(windows)
    ages = replay.ages(dirty=True, each=series)
    return found | {"ever": ages.touched() * PAGE,
                    "memory": replay.pages * PAGE,
                    "windows": window_rows(replay, series, ages)}


def check(replay, _):
    """Whether the record is whole, and the arithmetic right."""
    problems = [f"event {name}, {count} of them"
                for name, count in count_events(replay).items()
                if name in TROUBLE]
    reader = replay.reader
    if reader.broken:
        problems.append(f"byte {reader.good}: {reader.broken}")
    elif reader.ended is None:
        problems.append("the recorder did not come to its end")
    kinds = ["young"] + (["dirty"] if reader.header.dirty else [])
    identities = []
    for kind in kinds:
        ages = replay.ages(dirty=kind == "dirty")
        for window in range(1, min(ages.tick + 1, ages.depth) + 1):
            left, right = ages.identity(window)
            if left != right:
                problems.append(f"{kind}, a window of {window} intervals: "
                                f"{left} by working sets, {right} by ages")
        identities.append({"kind": kind, "windows": window})
    return {"harvests": replay.harvests, "missed": replay.missed,
            "identities": identities, "ended": reader.ended,
            "problems": problems}
