# SPDX-License-Identifier: GPL-2.0-or-later
"""
One guest of the demo: what it is told, and the line of each harvest.
"""

import time
from collections import Counter

from ..guest.workload import (GUEST_FAILURES, GUESTS, TITLES, Guest,
                              own_initrd)
from ..qemu.harvest import PAGE, Harvester
from ..qemu_age.errors import UserError
from .record import Record
from .result import compare

MIB = 1 << 20
FAILURES = (*GUEST_FAILURES, UserError)
MAP_CELLS = 26
PERIOD_MS = 1000


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
        self.record = None

    def run(self):
        """Everything; the report tells how it went."""
        self._heading()
        try:
            with self._make_guest() as guest:
                self._boot(guest)
                harvester = Harvester(guest.qmp, flush=self.args.flush)
                self._open_record(harvester)
                self._start_workload(guest, harvester)
                self._harvests(guest, harvester)
                self._result(guest, harvester)
            self._print_record()
        except FAILURES as e:
            self.report["error"] = str(e)
            self.term.line(self.term.style("  ✘ ", "red") + str(e))
        finally:
            if self.record:
                self.record.close()
        return self.report

    def _make_guest(self):
        args = self.args
        initrd = args.initrd and own_initrd(self.arch, args.initrd)
        return Guest(self.arch, args.accel, smp=args.cpus, memory=args.memory,
                     images=(args.kernel, initrd), append=args.append)

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
                f"  booting Linux … {time.monotonic() - begin:.0f} s")

        idle()
        guest.boot(idle=idle)
        seconds = time.monotonic() - begin
        kernel = guest.hello["kernel"]
        self.report.update({"kernel": kernel,
                            "boot-seconds": round(seconds, 3)})
        self.term.line(f"  Linux {kernel}, booted in {seconds:.1f} s")

    def _open_record(self, harvester):
        path = self.args.records / f"demo-{self.arch}.age"
        self.record = Record(path, self.arch, self.args.flush,
                             harvester.query())
        self.report["record"] = str(path)

    def _print_record(self):
        """What qemu-age makes of the harvests."""
        self.term.line()
        for line in self.record.lines(self.term.colour):
            self.term.line(f"  {line}")

    def _start_workload(self, guest, harvester):
        """Everything is old when the workload begins."""
        shape = workload_shape(self.args.memory, self.args.cpus)
        self.report["workload"] = shape
        self.term.status("  the guest fills its memory …")
        guest.tell("alloc", shape["pages"], "small")
        guest.tell("reset")
        self.record.add(0, harvester.clear())
        guest.tell("run", shape["hot"], shape["warm"], shape["window"],
                   shape["period-ms"], shape["threads"])
        self.term.line(
            f"  workload of {mib(shape['pages']):.0f} MiB: "
            f"{mib(shape['hot']):.0f} hot, {mib(shape['cold']):.0f} cold, "
            f"in {mib(shape['warm']):.0f} a window of "
            f"{mib(shape['window']):.0f} moves on")
        self.term.line()

    def _harvests(self, guest, harvester):
        """
        One a second or a little more, and a last one when the workload has
        stopped.
        """
        begin = time.monotonic()
        self.print_columns()
        for second in range(1, self.args.seconds + 1):
            # Not sooner if the last one was late: each has its whole second.
            time.sleep(1)
            if second == self.args.seconds:
                guest.tell("stop")
            guest.check()
            harvest = harvester.harvest()
            self._sample(harvest, harvester.ranges, begin)
            self.record.add(second, harvest)
        self.record.end()

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
