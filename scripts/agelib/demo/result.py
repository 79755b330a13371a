# SPDX-License-Identifier: GPL-2.0-or-later
"""
What was found, held against the guest's account, and the tables of it.
"""

from ..guest.workload import TITLES
from ..terminal import WIDTH, thousands


def compare(account, found, times_found, harvests):
    """What was found, held against what the guest says it touched."""
    own = account.touched | account.untouched
    hits = account.touched & found
    return {
        "touched": len(account.touched),
        "found": len(hits),
        "recall": len(hits) / max(1, len(account.touched)),
        "invented": len(account.untouched & found),
        "elsewhere": len(found - own),
        "moved": account.moved,
        "shapes": {
            name: compare_shape(account, pages, found, times_found, harvests)
            for name, pages in account.shapes.items() if name != "none"}}


def compare_shape(account, pages, found, times_found, harvests):
    """The same for one part of the workload."""
    touched = pages & account.touched
    seen = sum(times_found[pfn] for pfn in touched)
    return {"pages": len(pages), "touched": len(touched),
            "found": len(touched & found),
            "invented": len(pages & account.untouched & found),
            "seen-in": seen / max(1, len(touched) * harvests)}


def percent(share, digits=2):
    """
    A share in percent.

    Only all of it reads 100: rounding must not make a miss invisible.
    """
    scale = 10 ** digits
    value = int(share * 100 * scale) / scale
    return f"{value:.{digits}f} %"


def print_table(term, report):
    """One guest's table at the end."""
    result = report["result"]
    term.line(term.style(
        f"  {TITLES[report['arch']]:<12} {'touched':>10} {'found':>10} "
        f"{'recall':>10} {'not touched':>13} {'seen in':>11}", "bold"))
    term.line(term.style(
        f"  {'pages':<12} {'says guest':>10} {'of these':>10} "
        f"{'':>10} {'but found':>13} {'harvests':>11}", "dim"))
    for name, shape in result["shapes"].items():
        term.line(table_row(name, shape, f"{shape['seen-in']:11.0%}"
                            if shape["touched"] else f"{'–':>11}"))
    whole = table_row("workload", result, "")
    perfect = result["found"] == result["touched"]
    term.line(term.style(whole, "green" if perfect else "red"))
    term.line(f"  {'elsewhere':<12} {'':>10} {'':>10} {'':>10} "
              f"{thousands(result['elsewhere']):>13}  kernel, others")


def table_row(name, row, extra):
    """A line of the table."""
    recall = "–"
    if row["touched"]:
        recall = percent(row["found"] / row["touched"])
    return (f"  {name:<12} {thousands(row['touched']):>10} "
            f"{thousands(row['found']):>10} {recall:>10} "
            f"{thousands(row['invented']):>13} {extra}")


def print_verdict(term, report):
    """One line for each guest: what its table comes to."""
    title = TITLES[report["arch"]]
    result = report.get("result")
    if report["ok"]:
        text = "every touched page was found"
        if result["found"] < result["touched"]:
            text = f"without a flush {percent(result['recall'])} was found"
        if not result["invented"]:
            text += ", and none that was left alone"
    elif not result:
        text = "no result: " + report["error"].splitlines()[0]
    elif result["moved"]:
        text = f"{result['moved']} pages changed their frame: no verdict"
    elif result["found"] < result["touched"]:
        missed = result["touched"] - result["found"]
        text = f"{missed} touched pages were not found"
    else:
        text = f"{result['invented']} pages found that nobody touched"
    mark = term.style("✔", "green") if report["ok"] else \
        term.style("✘", "red")
    term.line(f"  {mark} {title}: {text}"[:WIDTH + 20])


def print_summary(term, reports):
    """The tables and what they come to."""
    term.line()
    term.rule()
    for report in reports:
        if "result" in report:
            print_table(term, report)
            term.line()
    for report in reports:
        print_verdict(term, report)
