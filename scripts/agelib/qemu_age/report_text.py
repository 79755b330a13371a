# SPDX-License-Identifier: GPL-2.0-or-later
"""
The reports as tables for people; they have what --json has.
"""

import textwrap

from ..terminal import WIDTH
from .units import size_text, time_text

BAR = 20

# Where the figures of the summary begin
INDENT = 16

SHOWN_PERCENTILES = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100)


def bar(value, top):
    """A bar of # whose length is the share of @top."""
    if not top or value <= 0:
        return ""
    return "#" * max(round(value / top * BAR), 1)


def percent(share):
    """A share in few characters."""
    if not share:
        return "0 %"
    return f"{share * 100:.3g} %" if share < 1000 else f"{share:.3g} times"


def sentences(text):
    """A text of some length, as lines."""
    return textwrap.wrap(text, WIDTH - 1)


def named(name, text):
    """A figure of the summary, and what it is."""
    return textwrap.wrap(f"{name:{INDENT}}{text}", WIDTH - 1,
                         subsequent_indent=" " * INDENT)


def or_none(seconds):
    """A time, where 0 is one as well."""
    return time_text(seconds) if seconds else "0 s"


def table(titles, rows):
    """Columns as wide as they need, all but the first to the right."""
    rows = [titles, *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(titles))]
    for row in rows:
        cells = [text.ljust(width) if i == 0 else text.rjust(width)
                 for i, (text, width) in enumerate(zip(row, widths))]
        yield "  ".join([*cells, *row[len(titles):]]).rstrip()


def window_table(rows, memory):
    """Working set by window."""
    return table(["window", "min", "mean", "max", "at the end"],
                 [[time_text(row["window"]), size_text(row["min"]),
                   size_text(row["mean"]), size_text(row["max"]),
                   size_text(row["now"]), bar(row["mean"], memory)]
                  for row in rows])


def summary(found):
    """The main figures, a line each."""
    for name, text in summary_rows(found):
        yield from named(name, text)


def summary_rows(found):
    """Names and texts."""
    yield "guest", f"{found['guest']}, {size_text(found['memory'])}"
    yield "recorded", (f"{found['begin']}, {or_none(found['seconds'])}, every "
                       f"{time_text(found['interval'])}, flush "
                       f"{found['flush']}")
    yield "harvests", f"{found['harvests']}, {found['missed']} missed"
    cost = found["harvest-ns"]
    yield "cost", (f"{time_text(cost['mean'] / 1e9)} a harvest, "
                   f"{time_text(cost['max'] / 1e9)} at most")
    yield "touched", (f"{size_text(found['touched'])}, of which "
                      f"{size_text(found['young'])} in the last interval")
    for row in found["windows"]:
        yield "working set", (f"{size_text(row['mean'])} in "
                              f"{time_text(row['window'])} (from "
                              f"{size_text(row['min'])} to "
                              f"{size_text(row['max'])})")
    if "cold" in found:
        yield "cold", (f"{size_text(found['cold']['bytes'])} idle for "
                       f"{time_text(found['cold']['idle'])} or more")
    yield "recommended", recommended(found["recommended"])
    if "dirty-rate" in found:
        yield "written", f"{size_text(found['dirty-rate'])} a second"
    for name, count in found["events"].items():
        yield "event", f"{name}, {times(count)}"
    yield "ended", found["broken"] or found["ended"] or "no word"


def times(count):
    """How often."""
    return "once" if count == 1 else f"{count} times"


def recommended(row):
    """What to call cold."""
    if row is None:
        return "no threshold meets the goal in this time"
    return (f"cold is what is idle for {time_text(row['idle'])}: that is "
            f"{size_text(row['cold'])}, and {percent(row['share'])} of the "
            "working set comes back in a minute")


def wss(found):
    """Working set by window, or over time."""
    if "series" not in found:
        yield from window_table(found["windows"], found["memory"])
        return
    top = max((row["bytes"] for row in found["series"]), default=0)
    yield from table(["time", "working set"],
                     [[or_none(row["time"]), size_text(row["bytes"]),
                       bar(row["bytes"], top)] for row in found["series"]])


def idle(found):
    """Memory by idle time, and percentiles."""
    rows = [[f"{or_none(row['from'])} -" +
             (f" {time_text(row['to'])}" if row["to"] else ""),
             size_text(row["bytes"]), bar(row["bytes"], found["touched"])]
            for row in found["bins"]]
    yield from table(["idle for", "memory"], rows)
    yield from sentences(
        f"Touched: {size_text(found['touched'])}, of which "
        f"{size_text(found['before'])} not since the record began; never "
        f"touched: {size_text(found['never'])}.")
    if found["before"]:
        yield "What was not touched since then counts as idle since then."
    if found["percentiles"]:
        yield ""
        yield from table(["of what was touched", "idle for at most"],
                         [[f"{rank} %", or_none(found["percentiles"][rank])]
                          for rank in SHOWN_PERCENTILES])


def promotions(found):
    """Thresholds, and what they cost."""
    yield from table(
        ["cold after", "cold now", "back a minute", "of working set"],
        [[time_text(row["idle"]), size_text(row["cold"]),
          size_text(row["rate"]), percent(row["share"])]
         for row in found["thresholds"]])
    working = found["working-set"]
    if working["bytes"] is not None:
        yield from sentences(
            f"Working set: {size_text(working['bytes'])} in "
            f"{time_text(working['window'])}; first touched in the record: "
            f"{size_text(found['first-touched'])}.")
    yield from sentences(f"Goal: {percent(found['goal'])} a minute. "
                         "Recommended: " +
                         recommended(found["recommended"]) + ".")


def range_rows(rows, title, value):
    """A line for each range."""
    return table(["addresses", "size", title, "memory"],
                 [[f"{row['start']:#x}-{row['end']:#x}",
                   size_text(row["bytes"]), value(row),
                   row["memory"] + ("" if row["node"] is None
                                    else f", node {row['node']}")]
                  for row in rows])


def total_text(total):
    """All ranges together."""
    count = total["ranges"]
    return (f"{size_text(total['bytes'])} in "
            f"{count} {'range' if count == 1 else 'ranges'}")


def hot(found):
    """Ranges that are young often."""
    yield from sentences(
        f"Young in {percent(found['share'])} of the harvests or more: "
        f"{total_text(found['total'])}; the largest:")
    yield from range_rows(found["rows"], "young in",
                          lambda row: percent(row["share"]))


def cold(found):
    """Ranges that are idle for long."""
    yield from sentences(
        f"Touched, and idle for {time_text(found['idle'])} or more: "
        f"{total_text(found['total'])}; never touched: "
        f"{total_text(found['untouched'])}. The largest that were touched:")
    yield from range_rows(found["rows"], "idle for",
                          lambda row: time_text(row["idle"]))


def dirty(found):
    """What is written."""
    yield from sentences(
        f"Written: {size_text(found['rate'])} a second on average, "
        f"{size_text(found['max'])} at most; {size_text(found['ever'])} ever.")
    yield from window_table(found["windows"], found["memory"])


def check(found):
    """What is wrong, if anything."""
    yield (f"{found['harvests']} harvests, {found['missed']} missed; ended: "
           f"{found['ended'] or 'no word'}.")
    for row in found["identities"]:
        yield (f"Working sets and ages of {row['kind']} pages were compared "
               f"for {row['windows']} windows.")
    for text in found["problems"]:
        yield from sentences(f"Problem: {text}.")
    if not found["problems"]:
        yield "All is well."


TEXTS = {"summary": summary, "wss": wss, "idle": idle,
         "promotions": promotions, "hot": hot, "cold": cold, "dirty": dirty,
         "check": check}


def lines(name, found):
    """The lines of a report."""
    return TEXTS[name](found)
