# SPDX-License-Identifier: GPL-2.0-or-later
"""
Two reports side by side: A, which is older, and B, which may be worse.

Of a pair the ratio is compared, since both sides of it were measured on the
same host at the same time.  It also gets lower when the base gets slower, so
there is a column for the time of the candidate alone.
"""

import os
import textwrap
from collections import Counter

from ..terminal import WIDTH
from .report import read_report
from .show import NAME_WIDTH, host_text, judged, number

COLUMN = 8
MARKS = {"worse": "red", "better": "green", "1 run": "yellow"}

LEGEND = """\
Figures are medians, and all of them are better when they are lower.
B/A      B's median divided by A's
time     the same of the candidate's time alone, for as much work; a pair is
         compared by its ratio, candidate to base
worse    each run of B is above each of A: their ranges do not overlap
better   each run of B is below each of A
(none)   the ranges overlap: no more than the spread of the runs
1 run    of A or of B there is one run only, which has no spread"""


class Side:
    """One of the two files."""

    def __init__(self, letter, path):
        self.letter = letter
        # Names of files may be no text; what can't be shown is escaped.
        self.path = os.fsencode(path).decode("utf-8", "backslashreplace")
        self.report = read_report(path)
        self.results = keyed(self.report["results"])

    @property
    def title(self):
        """Which of the two."""
        return f"{self.letter} ({self.path})"


def keyed(results):
    """
    The results by row and name.

    Rows may be asked for twice, so which one of that name it is counts as well.
    """
    seen = Counter()
    answer = {}
    for result in results:
        key = (result["row"], result["name"])
        answer[key + (seen[key],)] = result
        seen[key] += 1
    return answer


def mark(a, b):
    """What the ranges of two figures say."""
    if min(a["runs"], b["runs"]) < 2:
        return "1 run"
    if b["min"] > a["max"]:
        return "worse"
    return "better" if b["max"] < a["min"] else ""


def quotient(b, a):
    """B/A as it is shown; there is none of a base of zero."""
    return number(b / a, "ratio") if a else "–"


def candidate_quotient(a, b):
    """
    The same of a pair's candidate, for as much work.

    Reports of the row "rate" did not tell once how much that was.
    """
    if judged(a) != "ratio":
        return ""
    amounts = [result.get("about", {}).get("amount") for result in (a, b)]
    if amounts == [None, None] and a["row"] != "rate":
        amounts = [1, 1]
    if None in amounts:
        return "–"
    times = [result["figures"]["candidate"]["median"] / amount
             for result, amount in zip((a, b), amounts)]
    return quotient(times[1], times[0])


def unlike(a, b):
    """Why two results can't be compared; None if they can."""
    if judged(a) != judged(b):
        return "a pair in one file, a single figure in the other"
    if a["unit"] != b["unit"]:
        return f"{a['unit']} in A, {b['unit']} in B"
    return None


# The table

def print_line(term, text, cells, verdict=""):
    """A line of the table; a long text gets one of its own."""
    if len(text) > NAME_WIDTH:
        term.line("  " + text)
        text = ""
    # Figures stay apart even if one is too long for its column.
    columns = "".join(f" {cell:>{COLUMN - 1}}" for cell in cells)
    term.line(f"  {text:<{NAME_WIDTH}}{columns}  " +
              term.style(verdict, *filter(None, [MARKS.get(verdict)])))


def print_pair(term, a, b):
    """One result of both files; returns its mark."""
    name = judged(a)
    first, second = a["figures"][name], b["figures"][name]
    text = a["name"] + (f", {a['unit']}" if name == "value" else "")
    verdict = mark(first, second)
    print_line(term, text,
               [number(first["median"], name), number(second["median"], name),
                quotient(second["median"], first["median"]),
                candidate_quotient(a, b)], verdict)
    return verdict


def print_table(term, pairs):
    """All results of both files; counts the marks."""
    marks = Counter()
    row = None
    for a, b in pairs:
        if a["row"] != row:
            row = a["row"]
            term.line()
            term.line(term.style(row, "bold"))
            print_line(term, "", ["A", "B", "B/A", "time"])
        marks[print_pair(term, a, b)] += 1
    term.line()
    told = [f"{marks[verdict]} {verdict}" for verdict in ("worse", "better")]
    term.line(f"{len(pairs)} results in both files: {', '.join(told)}")


# What is around it

def differences(a, b):
    """In what the hosts differ."""
    return [f"{name} ({a['host'][name]}; {b['host'][name]})"
            for name in ("processor", "cpus", "memory-mib", "kernel")
            if a["host"][name] != b["host"][name]]


def warn(term, text):
    """What makes the table worth less."""
    for line in textwrap.wrap(f"warning: {text}", WIDTH):
        term.line(term.style(line, "yellow"))


def print_sides(term, sides):
    """What was measured, where, and why it may not compare."""
    for side in sides:
        term.line(f"{side.letter}: {side.path}")
        commit = side.report.get("commit", "unknown")
        text = f"commit {commit}; {host_text(side.report)}"
        for line in textwrap.wrap(text, WIDTH - 3):
            term.line("   " + line)
    differ = differences(*(side.report for side in sides))
    if differ:
        warn(term, f"A and B are of different hosts: {', '.join(differ)}")
    for side in sides:
        if side.report["quick"]:
            warn(term, f"{side.letter} is of --quick: smaller sizes, and one "
                       "run of most rows")


def print_list(term, title, lines):
    """What is not in the table, if there is any of it."""
    if not lines:
        return
    term.line()
    term.line(title)
    for text in lines:
        for line in textwrap.wrap(text, WIDTH, initial_indent="  ",
                                  subsequent_indent="    "):
            term.line(line)


def print_rest(term, sides, odd):
    """What is in one file only, was skipped, or is not of one kind."""
    for side, other in zip(sides, reversed(sides)):
        print_list(term, f"Only in {side.title}:",
                   [f"{result['row']}: {result['name']}"
                    for key, result in side.results.items()
                    if key not in other.results and "skipped" not in result])
    for side in sides:
        print_list(term, f"Skipped in {side.title}:",
                   [f"{result['row']}: {result['name']}: {result['skipped']}"
                    for result in side.results.values()
                    if "skipped" in result])
    print_list(term, "Not of one kind in both files:",
               [f"{a['row']}: {a['name']}: {unlike(a, b)}" for a, b in odd])


def compare(term, path_a, path_b):
    """Prints B relative to A."""
    sides = Side("A", path_a), Side("B", path_b)
    first, second = (side.results for side in sides)
    both = [(first[key], second[key]) for key in first if key in second]
    both = [pair for pair in both if not any("skipped" in x for x in pair)]
    print_sides(term, sides)
    term.line()
    for line in LEGEND.splitlines():
        term.line(term.style(line, "dim"))
    print_table(term, [pair for pair in both if not unlike(*pair)])
    print_rest(term, sides, [pair for pair in both if unlike(*pair)])
