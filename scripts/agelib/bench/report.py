# SPDX-License-Identifier: GPL-2.0-or-later
"""
Reads what ``--json`` wrote, and refuses what is none of it.

Reports come from elsewhere: another version, a file that was cut short, an
editor.  Whoever prints one may rely on all that is checked here.
"""

import json
from pathlib import Path

from .figures import BenchError

VERSION = 1

# Larger than any figure; what is larger still can't be printed in a column.
LIMIT = 1e15


def is_count(value):
    """Whole, and not below zero; JSON's true is none, Python's is."""
    return (isinstance(value, int) and not isinstance(value, bool) and
            0 <= value < LIMIT)


def is_number(value):
    """As above, or a fraction; NaN is in no order with anything."""
    return is_count(value) or (isinstance(value, float) and
                               0 <= value < LIMIT)


def is_text(value):
    """One line that a terminal can show, and takes for nothing else."""
    return isinstance(value, str) and value.isprintable()


FLAG, COUNT, NUMBER = "true or false", "a count", "a number"
LINE, OBJECT, LIST = "a text of one line", "an object", "a list"

KINDS = {FLAG: lambda value: isinstance(value, bool),
         COUNT: is_count,
         NUMBER: is_number,
         LINE: is_text,
         OBJECT: lambda value: isinstance(value, dict),
         LIST: lambda value: isinstance(value, list)}

# What is printed, and of what kind that must be
REPORT = {"quick": FLAG, "host": OBJECT, "results": LIST}
REPORT_OPTIONAL = {"commit": LINE}
HOST = {"processor": LINE, "cpus": COUNT, "memory-mib": COUNT,
        "kernel": LINE, "load-before": NUMBER}
HOST_OPTIONAL = {"load-after": NUMBER}
RESULT = {"row": LINE, "name": LINE}
RESULT_OPTIONAL = {"skipped": LINE, "goal": NUMBER, "about": OBJECT}
MEASURED = {"unit": LINE, "figures": OBJECT}
FIGURE = {"median": NUMBER, "min": NUMBER, "max": NUMBER, "runs": COUNT}


class Wrong(Exception):
    """What is wrong with a report, and where in it."""


def check(thing, place, members, optional=None):
    """The members of an object, of which @optional may be missing."""
    if not isinstance(thing, dict):
        raise Wrong(f"{place or 'it'} is not an object")
    for name, kind in (members | (optional or {})).items():
        where = f"{place}.{name}" if place else name
        if name in thing:
            if not KINDS[kind](thing[name]):
                raise Wrong(f"{where} is not {kind}")
        elif name in members:
            raise Wrong(f"{where} is missing")


def check_figure(figure, place):
    """One figure, whose range is what --compare goes by."""
    check(figure, place, FIGURE)
    if not figure["min"] <= figure["median"] <= figure["max"]:
        raise Wrong(f"{place}: min, median and max are not in this order")
    if figure["runs"] < 1:
        raise Wrong(f"{place}.runs is 0")


def check_figures(figures, place):
    """All of a result: a value, or the parts of a pair."""
    pair = "ratio" in figures
    for name in ("base", "candidate") if pair else ("value",):
        if name not in figures:
            raise Wrong(f"{place}.{name} is missing")
    for name, figure in figures.items():
        if not is_text(name):
            raise Wrong(f"{place}: a name is not {LINE}")
        check_figure(figure, f"{place}.{name}")


def check_result(result, place):
    """A line of the report."""
    check(result, place, RESULT, RESULT_OPTIONAL)
    if "skipped" in result:
        return
    check(result, place, MEASURED)
    check_figures(result["figures"], f"{place}.figures")
    amount = result.get("about", {}).get("amount", 1)
    if not is_count(amount) or amount < 1:
        raise Wrong(f"{place}.about.amount is not a count from 1 on")


def check_report(report):
    """All of it that is printed."""
    check(report, "", {})
    if "version" not in report:
        raise Wrong("version is missing")
    if not is_count(report["version"]) or report["version"] != VERSION:
        raise Wrong(f"its version is not {VERSION}, the only one that this "
                    "program knows")
    check(report, "", REPORT, REPORT_OPTIONAL)
    check(report["host"], "host", HOST, HOST_OPTIONAL)
    for i, result in enumerate(report["results"]):
        check_result(result, f"results[{i}]")


def read_report(path):
    """The report in a file."""
    try:
        report = json.loads(Path(path).read_text("utf-8"))
    except OSError as e:
        raise BenchError(f"{path}: {e.strerror}") from None
    except (ValueError, RecursionError) as e:
        raise BenchError(f"{path} is not JSON: {e}") from None
    try:
        check_report(report)
    except Wrong as e:
        raise BenchError(f"{path} is no report of --json: {e}") from None
    return report
