# SPDX-License-Identifier: GPL-2.0-or-later
"""
Tables of what was measured, for terminals and for the documentation.
"""

import textwrap

NAME_WIDTH = 38
LABELS = {"base": "before", "candidate": "after", "ratio": "ratio",
          "cpu-ratio": "ratio of CPU time"}
# Of a pair, what its two sides are; the row "plugin" has no age in it.
SIDES = {"load": ("tcg", "age"), "boot": ("tcg", "age"),
         "rate": ("tcg", "age"), "plugin": ("tcg", "with the plugin"),
         "faults": ("with the lock", "without")}


def number(value, name=""):
    """A figure to three places."""
    if name in ("ratio", "cpu-ratio"):
        return f"{value:.3f}"
    if value >= 1000:
        return f"{value:.0f}"
    if value >= 100:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def judged(result):
    """The name of the figure that the goal is about."""
    return "ratio" if "ratio" in result["figures"] else "value"


def met(result):
    """Whether the median keeps to the goal; None where there is none."""
    if "goal" not in result or "skipped" in result:
        return None
    return result["figures"][judged(result)]["median"] <= result["goal"]


def goal_text(result):
    """The goal as it is shown."""
    return f"<= {result['goal']:g}" if "goal" in result else ""


def label(result, name):
    """What a figure is called under its result."""
    sides = dict(zip(("base", "candidate"),
                     SIDES.get(result["row"], ("base", "candidate"))))
    return sides.get(name, LABELS.get(name, name))


def host_text(report):
    """Where it was measured."""
    host = report["host"]
    text = (f"{host['processor']}, {host['cpus']} CPUs, "
            f"{host['memory-mib']} MiB, Linux {host['kernel']}, "
            f"load {host['load-before']:.2f}")
    if "load-after" in host:
        text += f" to {host['load-after']:.2f}"
    return text


# Terminals

def print_host(term, report):
    """The first lines."""
    term.line(host_text(report))
    if report["quick"]:
        term.line("quick: this only shows that all of it works")


def print_columns(term):
    """The head of the table."""
    term.line(term.style(f"  {'':{NAME_WIDTH}}{'median':>8}{'min':>8}"
                         f"{'max':>8}{'runs':>5}", "dim"))


def print_figure(term, text, name, figure, tail=""):
    """A line of the table; a long text gets one of its own."""
    values = "".join(f"{number(figure[key], name):>8}"
                     for key in ("median", "min", "max"))
    if len(text) > NAME_WIDTH:
        term.line("  " + text)
        text = ""
    term.line(f"  {text:<{NAME_WIDTH}}{values}{figure['runs']:>5}{tail}")


def print_result(term, result):
    """A line for a single figure, a few for a pair."""
    if "skipped" in result:
        term.line(f"  {result['name']}: skipped: {result['skipped']}")
        return
    tail = ""
    if "goal" in result:
        good = met(result)
        tail = term.style(f"  {goal_text(result)}" + ("" if good else " !"),
                          "green" if good else "red")
    figures = result["figures"]
    if "value" in figures:
        print_figure(term, f"{result['name']}, {result['unit']}", "value",
                     figures["value"], tail)
        return
    term.line(f"  {result['name']}")
    for name, figure in figures.items():
        text = "    " + label(result, name)
        if name in ("base", "candidate"):
            text += f", {result['unit']}"
        print_figure(term, text, name, figure,
                     tail if name == judged(result) else "")


def print_report(term, report):
    """All that a file has."""
    print_host(term, report)
    row = None
    for result in report["results"]:
        if result["row"] != row:
            row = result["row"]
            term.line()
            term.line(term.style(row, "bold"))
            print_columns(term)
        print_result(term, result)


# Documentation

def rst_cells(result):
    """What was measured, its figure, its range, runs and goal."""
    figures = result["figures"]
    name = judged(result)
    figure = figures[name]
    what = result["name"]
    if name == "value":
        what += f", {result['unit']}"
    else:
        base, candidate = (number(figures[side]["median"])
                           for side in ("base", "candidate"))
        what += f" ({base} → {candidate} {result['unit']})"
    return [what, number(figure["median"], name),
            f"{number(figure['min'], name)} – {number(figure['max'], name)}",
            str(figure["runs"]), goal_text(result)]


def rst_row(cells):
    """A row of a table, a line for each cell."""
    return [(("     - " if i else "   * - ") + cell).rstrip()
            for i, cell in enumerate(cells)]


def rst_lines(report):
    """Where it was measured, and a list-table for each row of it."""
    lines = textwrap.wrap(f"Measured on: {host_text(report)}.", 80)
    row = None
    for result in report["results"]:
        if result["row"] != row:
            row = result["row"]
            lines += ["", f".. list-table:: {row}", "   :header-rows: 1",
                      "   :widths: 50 12 20 8 10", ""]
            lines += rst_row(["", "median", "range", "runs", "goal"])
        if "skipped" in result:
            lines += rst_row([result["name"], "–", result["skipped"], "", ""])
        else:
            lines += rst_row(rst_cells(result))
    return lines
