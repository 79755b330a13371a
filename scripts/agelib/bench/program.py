# SPDX-License-Identifier: GPL-2.0-or-later
"""
The benchmarks: runs rows, prints a table, writes JSON.

``--json FILE`` writes everything that was measured, as soon as it was.  The
members below stay; others may be added::

    { "version": 1,
      "quick": bool,
      "host": { "processor": str, "cpus": int, "memory-mib": int,
                "kernel": str, "load-before": float, "load-after": float },
      "commit": str,                only in a checkout
      "results": [ {
        "row": str, "name": str,
        "unit": str,                of all figures but ratios
        "goal": float,              an upper bound of the ratio, or of the
                                    value; absent where there is none
        "skipped": str,             why there are no figures
        "about": { ... },           more to know, by row
        "figures": {                "value", or "base", "candidate", "ratio"
                                    and "cpu-ratio", each of them:
          NAME: { "median": float, "min": float, "max": float,
                  "runs": int, "values": [ float ] } } } ] }
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

from ..guest.workload import GUESTS, WorkloadError
from ..options import count
from ..qemu.emulator import TOP, EmulatorError
from ..qemu.harvest import HarvestError
from ..qemu.qmp import QMPError
from ..terminal import Terminal
from ..version import add_version
from . import (balloon, calls, compare, faults, flush, guests, harvests, show,
               tables)
from .figures import BenchError, Skip, skipped
from .report import VERSION, read_report

FAILURES = (BenchError, EmulatorError, HarvestError, QMPError, WorkloadError)

ROWS = {
    "table": (tables.table_row, "page tables by themselves; needs no guest"),
    "history": (tables.history_row, "the history by itself: what stamps cost, "
                                    "and reads"),
    "call": (calls.call_row, "single calls over QMP on a large machine"),
    "load": (guests.load_row, "guests under age against tcg, harvested or "
                              "not; memory of the tables"),
    "boot": (guests.boot_row, "boots of guests that are harvested"),
    "grow": (guests.grow_row, "the same with TLBs that grow, nobody "
                              "harvests"),
    "blocks": (guests.blocks_row, "leaves of 2 MiB against those of 4 KiB"),
    "interval": (guests.interval_row, "a history that harvests once a second, "
                                      "against none"),
    "balloon": (balloon.balloon_row, "a balloon that takes 1 GiB and gives it "
                                     "back"),
    "harvest": (harvests.harvest_row, "passes over a guest that has booted: "
                                      "all young, and idle"),
    "faults": (faults.faults_row, "harvests while vCPUs fault, with and "
                                   "without the MMU lock"),
    "flush": (flush.flush_row, "harvests with a flush where hundreds of "
                               "vCPUs sleep"),
    "plugin": (guests.plugin_row, "QEMU's own hotpages plugin on the same "
                                  "boot"),
    "rate": (guests.rate_row, "loads at 1, 10 and 100 harvests a second"),
}

# GiB of tables and of the machine; seconds of a load; policies of harvested
# boots; MiB, vCPUs and bursts a run of the row "faults"; where plugins run
FULL = {"table": (1, 16, 64, 256, 1024), "call": 64, "seconds": 3,
        "boot": ("none", "request"), "area": 1024, "cpus": (1, 2, 4, 8),
        "bursts": 3, "plugin": tuple(GUESTS), "vcpus": 288, "balloon": 1024,
        "history": 64}
QUICK = {"table": (1,), "call": 2, "seconds": 0.3, "boot": (), "area": 64,
         "cpus": (2,), "bursts": 2, "plugin": (), "vcpus": 16, "balloon": 64,
         "history": 1}
QUICK_ROWS = ("table", "history", "call", "load", "faults", "flush")


def parse_args(argv):
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure what the accelerator costs, against tcg or "
                    "against another way, in turn.")
    parser.add_argument("row", nargs="*", metavar="ROW",
                        help="only these (default: all; see --list)")
    parser.add_argument("--list", action="store_true",
                        help="list the rows, and measure nothing")
    parser.add_argument("--quick", action="store_true",
                        help="few rows, one short run of each, to see that "
                             "all of it works; the figures are worth little")
    parser.add_argument("--runs", type=count, metavar="N",
                        help="runs of each row (default: 7; quick: 1)")
    parser.add_argument("--arch", action="append", choices=sorted(GUESTS),
                        help="only guests of this one (default: both)")
    parser.add_argument("--max-gib", type=count, metavar="GIB",
                        help="leave out larger tables, and make the machine "
                             "of the row call no larger (default: no bound)")
    parser.add_argument("--json", metavar="FILE", help="write all figures")
    parser.add_argument("--show", metavar="FILE",
                        help="measure nothing, print such a file as a table")
    parser.add_argument("--rst", metavar="FILE",
                        help="the same for a page of the documentation")
    parser.add_argument("--compare", nargs=2, metavar=("A.json", "B.json"),
                        help="measure nothing, print B relative to A; takes no "
                             "rows and no other option")
    parser.add_argument("--no-build", action="store_true",
                        help="take what was built before")
    parser.add_argument("--only-parse", action="store_true",
                        help=argparse.SUPPRESS)
    add_version(parser)
    args = parser.parse_args(argv)
    check_args(parser, args)
    return args


def check_args(parser, args):
    """What argparse can't tell; and the defaults that depend on others."""
    if args.compare:
        check_alone(parser, args)
    for row in args.row:
        if row not in ROWS:
            parser.error(f"there is no row {row}; see --list")
    if args.runs is None:
        args.runs = 1 if args.quick else 7
    args.archs = args.arch or list(GUESTS)
    args.row = args.row or (QUICK_ROWS if args.quick else list(ROWS))
    args.sizes = dict(QUICK if args.quick else FULL)
    if args.max_gib is not None:
        args.sizes["table"] = [gib for gib in args.sizes["table"]
                               if gib <= args.max_gib]
        for row in "call", "history":
            args.sizes[row] = min(args.sizes[row], args.max_gib)


def check_alone(parser, args):
    """Two files are compared as they are, whatever else is asked for."""
    for name in ("row", "list", "quick", "runs", "arch", "max_gib", "json",
                 "show", "rst"):
        value = getattr(args, name)
        if value not in (None, []) and value is not False:
            what = "rows" if name == "row" else "--" + name.replace("_", "-")
            parser.error(f"--compare takes two files, and no {what}")


def processor():
    """What the host's processor calls itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()


def host():
    """What else the figures depend on."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
    return {"processor": processor(), "cpus": len(os.sched_getaffinity(0)),
            "memory-mib": memory >> 20, "kernel": platform.release(),
            "load-before": os.getloadavg()[0]}


def commit():
    """The commit that is checked out, if it can be told."""
    try:
        done = subprocess.run(
            ["git", "-C", str(TOP), "describe", "--always", "--dirty"],
            text=True, capture_output=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


class Bench:
    """One run of the program."""

    def __init__(self, args, term):
        self.args = args
        self.term = term
        self.failed = False
        self.report = {"version": VERSION, "quick": args.quick,
                       "host": host(), "results": []}
        if commit():
            self.report["commit"] = commit()

    def run(self):
        """All rows."""
        self.args.progress = lambda text: self.term.status(f"  {text} …")
        show.print_host(self.term, self.report)
        for row in self.args.row:
            self.term.line()
            self.term.line(self.term.style(row, "bold") + ": " + ROWS[row][1])
            begin = time.monotonic()
            self._row(row)
            self.term.line(self.term.style(
                f"  {time.monotonic() - begin:.0f} s", "dim"))
            self._write()

    def _row(self, row):
        """One row; what fails does not keep the next one from running."""
        try:
            show.print_columns(self.term)
            for result in ROWS[row][0](self.args):
                self._add(result.json())
        except Skip as e:
            self._add(skipped(row, row, str(e)).json())
        except FAILURES as e:
            self.failed = True
            self.term.line(self.term.style("  ✘ ", "red") + str(e))

    def _add(self, result):
        if self.args.quick:
            # Goals are for the sizes of a full run, and for more than one.
            result.pop("goal", None)
        self.report["results"].append(result)
        show.print_result(self.term, result)
        self._write()

    def _write(self):
        self.report["host"]["load-after"] = os.getloadavg()[0]
        if self.args.json:
            text = json.dumps(self.report, indent=1) + "\n"
            Path(self.args.json).write_text(text, "utf-8")


def show_file(args, term):
    """Prints what was measured before."""
    report = read_report(args.show or args.rst)
    if args.rst:
        print("\n".join(show.rst_lines(report)))
    else:
        show.print_report(term, report)


def terminate(*_):
    """SIGTERM ends the program as Ctrl-C does: in good order."""
    raise KeyboardInterrupt


def run(args, term):
    """What the command line asks for; returns the exit status."""
    if args.list:
        for name, (_, what) in ROWS.items():
            term.line(f"{name:<9} {what}")
        return 0
    if args.show or args.rst:
        show_file(args, term)
        return 0
    if args.compare:
        compare.compare(term, *args.compare)
        return 0
    signal.signal(signal.SIGTERM, terminate)
    bench = Bench(args, term)
    bench.run()
    return 1 if bench.failed else 0


def main(argv=None):
    """The program; returns the exit status."""
    args = parse_args(argv)
    if args.only_parse:
        return 0
    term = Terminal()
    try:
        return run(args, term)
    except BenchError as e:
        print(f"bench: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        term.line("interrupted")
        return 130
    except BrokenPipeError:
        # Nobody reads on; what Python still wants to flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), term.stream.fileno())
        return 141
