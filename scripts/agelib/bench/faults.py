# SPDX-License-Identifier: GPL-2.0-or-later
"""
Benchmarks of harvests while vCPUs fault memory in.

A vCPU that faults holds the MMU lock for reading.  ``age-clear-young`` takes it
for writing, ``age-test-clear-young`` does not take it.

In a burst all mappings are zapped, and then the guest's vCPUs touch each page
of an area once, so that each touch is an EPT violation or a translation fault;
the memory is there already, and nothing else slows them down.  Until the guest
is through, there is a pass every few milliseconds.

Waiting for a lock is rare and long, so what counts is the mean of a burst's
passes.
"""

import statistics
import threading

from ..guest.workload import TITLES, Guest
from ..qemu.harvest import PAGE, Harvester
from .figures import BenchError, Pair, Sample
from .guests import need_images

MIB = 1 << 20

# Seconds between two passes: some thousand pages become young meanwhile
PAUSE = 0.002


class Passes:
    """Passes over all memory, again and again until told to end."""

    def __init__(self, harvester, locked):
        self.harvester = harvester
        self.locked = locked
        self.seconds = []
        self._end = threading.Event()
        self._error = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        self._end.set()
        self._thread.join()
        if self._error and not kind:
            raise self._error

    def _run(self):
        try:
            self.seconds.append(self._pass())
            while not self._end.wait(PAUSE):
                self.seconds.append(self._pass())
        # Whatever it is, it belongs to the thread that waits for us.
        except Exception as e:  # pylint: disable=broad-exception-caught
            self._error = e

    def _pass(self):
        arguments = {"ranges": [{"start": start, "end": end}
                                for start, end in self.harvester.ranges],
                     "flush": "none"}
        command = "age-clear-young"
        if not self.locked:
            command = "age-test-clear-young"
            arguments["format"] = "count"
        answer = self.harvester.qmp.command(command, arguments, oob=True)
        return (answer["end-ns"] - answer["begin-ns"]) / 1e9


class Faults:
    """A guest with so many vCPUs, all of which fault."""

    def __init__(self, arch, cpus, area_mib):
        self.cpus = cpus
        self.area_mib = area_mib
        self.guest = Guest(arch, "age,thread=multi", monitors=2,
                           program="load", smp=cpus, memory=area_mib + 512)
        self.harvester = None

    def __enter__(self):
        self.guest.start()
        try:
            self.guest.boot()
            self.guest.tell("area", self.area_mib)
            self.harvester = Harvester(self.guest.qmps[1])
        except BaseException:
            self.guest.stop()
            raise
        return self

    def __exit__(self, *_):
        self.guest.stop()

    def _zap(self):
        """Has the next access to each page fault, also if a TLB has it."""
        for on in (False, True):
            self.guest.command("qom-set", {"path": "/machine/age",
                                           "property": "hw-ad", "value": on})
        self.harvester.clear()

    def burst(self, locked):
        """Its passes, and how long the guest took for its sweep, both in s."""
        self._zap()
        before = self._violations()
        with Passes(self.harvester, locked) as passes:
            answer = self.guest.tell("sweep", self.cpus)
        faults = self._violations() - before
        if faults < self.area_mib * MIB // PAGE:
            raise BenchError(f"only {faults} faults in {self.area_mib} MiB")
        return passes.seconds, int(answer["ns"]) / 1e9, faults

    def _violations(self):
        return self.guest.command("query-age")["counters"]["violations"]


class Contest:
    """What the bursts of one number of vCPUs came to."""

    def __init__(self):
        self.passes = Pair()
        self.longest = Pair()
        self.sweeps = Pair()
        self.rates = []

    def run(self, faults):
        """A burst each."""
        locked, lockless = faults.burst(True), faults.burst(False)
        self.passes.add(Sample(statistics.fmean(locked[0]) * 1e6),
                        Sample(statistics.fmean(lockless[0]) * 1e6))
        self.longest.add(Sample(max(locked[0]) * 1e6),
                         Sample(max(lockless[0]) * 1e6))
        self.sweeps.add(Sample(locked[1] * 1e3), Sample(lockless[1] * 1e3))
        self.rates.append(round(lockless[2] / lockless[1]))

    def results(self, arch, cpus):
        """Three lines."""
        name = f"{TITLES[arch]} {cpus} vCPU{'s' if cpus > 1 else ''} fault"
        about = {"arch": arch, "cpus": cpus, "faults-per-second": self.rates}
        yield self.passes.result("faults", f"{name}: mean pass", 1, "us", about)
        yield self.longest.result("faults", f"{name}: longest pass", None,
                                  "us", about)
        yield self.sweeps.result("faults", f"{name}: the guest's sweep", None,
                                 "ms", about)


def faults_row(args):
    """The row "faults"."""
    area_mib = args.sizes["area"]
    for arch in args.archs:
        need_images(arch)
        for cpus in args.sizes["cpus"]:
            args.progress(f"{TITLES[arch]}: {cpus} vCPUs fault")
            contest = Contest()
            with Faults(arch, cpus, area_mib) as fault:
                for _ in range(args.sizes["bursts"] * args.runs):
                    contest.run(fault)
            yield from contest.results(arch, cpus)
