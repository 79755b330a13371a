# SPDX-License-Identifier: GPL-2.0-or-later
"""
The demo: working sets of Debian guests, held against their own account.

For each architecture it boots a stock Debian kernel under ``-accel age``
with a workload of known shape, harvests once a second over QMP and prints a
line each time.  At the end it asks the guest which pages it touched.

``--json FILE`` writes everything that was measured.  The members below stay;
others may be added.  Counts are pages of 4096 bytes::

    { "version": 1,
      "ok": bool,                   all guests ok
      "guests": [ {
        "arch": "x86_64" | "aarch64",
        "ok": bool,                 nothing failed, missed or invented (but
                                    without a flush some may be missed)
        "error": str,               only if something failed; what follows
                                    may be missing then
        "machine": str, "cpu": str, "accel": str,
        "cpus": int, "memory-mib": int, "kernel": str,
        "flush": "request" | "none",
        "boot-seconds": float,
        "workload": { "pages": int, "hot": int, "warm": int, "cold": int,
                      "window": int, "period-ms": int, "threads": int },
        "harvests": [ {             in order, one a second
          "seconds": float,         since the workload began
          "young": int,             found in this one
          "cumulative": int,        found in any up to now
          "pages": int,             looked at
          "cost-ns": int,           in the accelerator
          "round-trip-ns": int,     command to answer
          "flush-pending": bool } ],
        "result": {
          "touched": int,           by the guest's account
          "found": int,             of those, in any harvest
          "recall": float,          found / touched
          "invented": int,          workload pages found, yet not touched
          "elsewhere": int,         found outside the workload: the kernel,
                                    its page tables, other programs
          "moved": int,             workload pages whose frame changed
          "shapes": { "hot" | "warm" | "cold": {
            "pages": int, "touched": int, "found": int, "invented": int,
            "seen-in": float } } }, mean share of harvests a touched page
                                    was found in
        "query-age": { ... } } ] }  its answer at the end
"""

import argparse
import json
import os
import signal
import sys
import time
from collections import Counter

from .emulator import EmulatorError
from .harvest import PAGE, HarvestError, Harvester
from .qmp import QMPError
from .terminal import WIDTH, Terminal, thousands
from .workload import GUESTS, Guest, WorkloadError

MIB = 1 << 20
TITLES = {"x86_64": "x86-64", "aarch64": "arm64"}
FAILURES = (EmulatorError, WorkloadError, HarvestError, QMPError)
MAP_CELLS = 26
PERIOD_MS = 1000


def parse_args(argv):
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Harvest the accessed pages of Debian guests once a "
                    "second, and hold them against the guests' own account.")
    parser.add_argument("--arch", action="append", choices=sorted(GUESTS),
                        help="only this one (default: both, in turn)")
    parser.add_argument("--seconds", type=int, default=12,
                        help="how long to watch each guest (default: 12)")
    parser.add_argument("--memory", type=int, default=512, metavar="MIB",
                        help="memory of each guest (default: 512)")
    parser.add_argument("--cpus", type=int, default=2,
                        help="vCPUs of each guest (default: 2)")
    parser.add_argument("--accel", default="age,thread=multi",
                        help="the accelerator (default: %(default)s)")
    parser.add_argument("--flush", choices=["request", "none"],
                        default="request",
                        help="whether a harvest asks the vCPUs to flush "
                             "their TLBs (default: request); without, what "
                             "a TLB holds on to looks old, as on hardware")
    parser.add_argument("--only-parse", action="store_true",
                        help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="FILE",
                        help="write everything to FILE; - is the standard "
                             "output, and the rest goes to the other one")
    args = parser.parse_args(argv)
    args.arch = args.arch or ["x86_64", "aarch64"]
    if args.seconds < 1:
        parser.error("--seconds: at least 1")
    if args.memory < 256:
        parser.error("--memory: at least 256, or Debian does not boot")
    if not 1 <= args.cpus <= 8:
        parser.error("--cpus: 1 to 8")
    return args


def mib(pages):
    """Pages in MiB."""
    return pages * PAGE / MIB


def workload_shape(memory_mib, cpus):
    """The background pattern: half of the memory, in three parts."""
    pages = memory_mib * MIB // PAGE // 2
    hot = pages // 16
    warm = pages // 2
    return {"pages": pages, "hot": hot, "warm": warm,
            "cold": pages - hot - warm, "window": warm // 16,
            "period-ms": PERIOD_MS, "threads": cpus}


class Watch:
    """One guest, from its start to its account."""

    def __init__(self, arch, args, term):
        self.args = args
        self.term = term
        self.arch = arch
        machine, cpu, _ = GUESTS[arch]
        self.report = {
            "arch": arch, "ok": False, "machine": machine, "cpu": cpu,
            "accel": args.accel, "cpus": args.cpus,
            "memory-mib": args.memory, "flush": args.flush,
            "harvests": []}
        self.found = set()
        self.times_found = Counter()

    def run(self):
        """Everything; the report tells how it went."""
        self._heading()
        try:
            with Guest(self.arch, self.args.accel, smp=self.args.cpus,
                       memory=self.args.memory) as guest:
                self._boot(guest)
                harvester = Harvester(guest.qmp, flush=self.args.flush)
                self._start_workload(guest, harvester)
                self._harvests(guest, harvester)
                self._result(guest, harvester)
        except FAILURES as e:
            self.report["error"] = str(e)
            self.term.line(self.term.style("  ✘ ", "red") + str(e))
        return self.report

    def _heading(self):
        args, term = self.args, self.term
        title = term.style(TITLES[self.arch], "bold")
        machine = self.report["machine"]
        term.line()
        term.line(f"{title} · {machine} · {args.cpus} vCPUs · "
                  f"{args.memory} MiB · -accel {args.accel}")

    def _boot(self, guest):
        begin = time.monotonic()

        def idle():
            self.term.status(
                f"  booting Debian … {time.monotonic() - begin:.0f} s")

        idle()
        guest.boot(idle=idle)
        seconds = time.monotonic() - begin
        kernel = guest.hello["kernel"]
        self.report.update({"kernel": kernel,
                            "boot-seconds": round(seconds, 3)})
        self.term.line(f"  Linux {kernel}, booted in {seconds:.1f} s")

    def _start_workload(self, guest, harvester):
        """Everything is old when the workload begins."""
        shape = workload_shape(self.args.memory, self.args.cpus)
        self.report["workload"] = shape
        self.term.status("  the guest fills its memory …")
        guest.tell("alloc", shape["pages"], "small")
        guest.tell("reset")
        harvester.clear()
        guest.tell("run", shape["hot"], shape["warm"], shape["window"],
                   shape["period-ms"], shape["threads"])
        self.term.line(
            f"  workload of {mib(shape['pages']):.0f} MiB: "
            f"{mib(shape['hot']):.0f} hot, {mib(shape['cold']):.0f} cold, "
            f"in {mib(shape['warm']):.0f} a window of "
            f"{mib(shape['window']):.0f} moves on")
        self.term.line()

    def _harvests(self, guest, harvester):
        """One a second, and a last one when the workload has stopped."""
        begin = time.monotonic()
        self.print_columns()
        for second in range(1, self.args.seconds + 1):
            left = begin + second - time.monotonic()
            if left > 0:
                time.sleep(left)
            if second == self.args.seconds:
                guest.tell("stop")
            guest.check()
            self._sample(harvester.harvest(), harvester.ranges, begin)

    def _sample(self, harvest, ranges, begin):
        self.found |= harvest.young
        self.times_found.update(harvest.young)
        sample = {
            "seconds": round(time.monotonic() - begin, 3),
            "young": len(harvest.young), "cumulative": len(self.found),
            "pages": harvest.pages, "cost-ns": harvest.cost_ns,
            "round-trip-ns": harvest.round_trip_ns,
            "flush-pending": harvest.flush_pending}
        self.report["harvests"].append(sample)
        self.print_sample(sample, place(harvest.young, ranges, MAP_CELLS))

    def print_columns(self):
        """What the columns of the live lines are."""
        head = (f"{'time':>7} {'young MiB':>11} {'cumulative':>11} "
                f"{'harvest':>10} {'ns/page':>8}")
        if self.term.live:
            head += "  " + "where in memory"
        self.term.line(self.term.style(head, "dim"))

    def print_sample(self, sample, shares):
        """The live line of one harvest; @shares are where in memory."""
        cost_ms = sample["cost-ns"] / 1e6
        each = sample["cost-ns"] / sample["pages"]
        young = self.term.style(f"{mib(sample['young']):11.1f}", "bold")
        line = (f"{sample['seconds']:5.0f} s {young} "
                f"{mib(sample['cumulative']):11.1f} {cost_ms:7.2f} ms "
                f"{each:8.2f}")
        if self.term.live:
            line += "  " + self.term.map(shares)
        self.term.line(line)

    def _result(self, guest, harvester):
        self.term.status("  the guest's account …")
        account = guest.account()
        self.report["query-age"] = harvester.query()
        self.report["result"] = compare(
            account, self.found, self.times_found,
            len(self.report["harvests"]))
        self.report["ok"] = self._judge(self.report["result"])
        self.term.status("")

    def _judge(self, result):
        """Large entries find whole blocks: nothing is invented then."""
        exact = self.report["query-age"]["page-size"] == "4k"
        whole = (result["found"] == result["touched"] or
                 self.args.flush == "none")
        return (result["touched"] > 0 and result["moved"] == 0 and whole and
                not (exact and result["invented"]))


def place(young, ranges, cells):
    """The share of young pages in each of @cells equal parts of memory."""
    total = sum(end - start for start, end in ranges) // PAGE
    size = max(1, -(-total // cells))
    counts = [0] * cells
    before = 0
    for start, end in ranges:
        first, last = start // PAGE, end // PAGE
        shift = before - first
        for pfn in young:
            if first <= pfn < last:
                counts[(pfn + shift) // size] += 1
        before += last - first
    return [count / size for count in counts]


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


def write_json(path, reports):
    """The report for machines."""
    text = json.dumps({"version": 1,
                       "ok": all(report["ok"] for report in reports),
                       "guests": reports}, indent=2) + "\n"
    if path == "-":
        sys.stdout.write(text)
        return
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def terminate(*_):
    """SIGTERM ends the demo as Ctrl-C does: in good order."""
    raise KeyboardInterrupt


def main(argv=None):
    """The demo; returns the exit status."""
    args = parse_args(argv)
    if args.only_parse:
        return 0
    term = Terminal(sys.stderr if args.json == "-" else sys.stdout)
    signal.signal(signal.SIGTERM, terminate)
    reports = []
    try:
        term.line("Accessed pages, harvested once a second over QMP and held "
                  "against")
        term.line("what the guests themselves say they touched")
        for arch in args.arch:
            reports.append(Watch(arch, args, term).run())
        print_summary(term, reports)
    except KeyboardInterrupt:
        term.line("interrupted")
        return 130
    except BrokenPipeError:
        # Nobody reads on; what Python still wants to flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), term.stream.fileno())
        return 141
    if args.json:
        write_json(args.json, reports)
    return 0 if all(report["ok"] for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
