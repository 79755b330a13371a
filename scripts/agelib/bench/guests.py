# SPDX-License-Identifier: GPL-2.0-or-later
"""
Benchmarks of whole guests: Debian under ``tcg`` and under ``age``, in turn.

The guest's side is ``scripts/guest/load.c``.  Times are those of the host's
clock; the guest's own may be a little off.  While one guest is measured, the
other is stopped.
"""

import contextlib
import threading
import time

from ..guest.workload import GUESTS, TITLES, Guest, images_present
from ..qemu.emulator import build_dir
from ..qemu.harvest import Harvester
from .figures import (BenchError, Pair, Sample, Skip, Stopwatch, cpu_seconds,
                      single)

MEMORY_MIB = 1024
CPUS = 2
RANDOM_MIB = 256
RATE = 10
RATES = (1, 10, 100)
REGION_KIB = 2048

# Boots with a plugin take minutes, and differ by far more than their spread.
PLUGIN_RUNS = 3

# How a guest is harvested, and what it may cost: without, and by policy
HARVESTS = {None: ("no harvest", 1.02),
            "none": (f"{RATE} Hz, flush=none", 1.02),
            "request": (f"{RATE} Hz, flush=request", 1.05)}

# The command of each load, to which the amount is added, and the rest of it;
# and an amount to begin with
LOADS = {"compile": ((CPUS,), 2), "pipe": ((), 500), "switch": ((), 500),
         "random": ((), 200000)}


def need_images(arch):
    """Skips what can't be booted."""
    if not images_present(arch):
        raise Skip(f"no images for {arch}: run scripts/build-guest")


def guest_for(arch, accel, *options):
    """A guest with the loads in it."""
    guest = Guest(arch, f"{accel},thread=multi", monitors=2, program="load",
                  smp=CPUS, memory=MEMORY_MIB)
    guest.options += map(str, options)
    return guest


class Beat:
    """
    Harvests all of a guest's memory at a steady pace, out of band.

    It has the second monitor for itself.  With @flush None it does nothing.
    """

    def __init__(self, guest, flush, rate=RATE):
        self.qmp = guest.qmps[1]
        self.flush = flush
        self.period = 1 / rate
        self._end = threading.Event()
        self._error = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        if self.flush:
            self._thread.start()
        return self

    def __exit__(self, kind, *_):
        if not self.flush:
            return
        self._end.set()
        self._thread.join()
        if self._error and not kind:
            raise self._error

    def _run(self):
        try:
            self._harvests(Harvester(self.qmp))
        # Whatever it is, it belongs to the thread that waits for us.
        except Exception as e:  # pylint: disable=broad-exception-caught
            self._error = e

    def _harvests(self, harvester):
        arguments = {"ranges": [harvester.range(start, end, clear=True)
                                for start, end in harvester.ranges],
                     "flush": self.flush, "format": "bitmap"}
        due = time.monotonic()
        while not self._end.wait(max(0, due - time.monotonic())):
            self.qmp.command("age-test-clear-young", arguments, oob=True)
            due += self.period


# Boots

def timed_boot(stack, guest, flush=None):
    """From the start of the emulator to that of our program."""
    begin = time.monotonic()
    stack.enter_context(guest)
    with Beat(guest, flush):
        guest.boot()
    wall = time.monotonic() - begin
    sample = Sample(wall, cpu_seconds(guest.process.pid))
    guest.command("stop")
    return sample


def boot_once(arch, accel, *options, flush=None):
    """A boot, after which the guest is gone."""
    with contextlib.ExitStack() as stack:
        return timed_boot(stack, guest_for(arch, accel, *options), flush)


def boot_pairs(args, arch, what, candidate, runs=None):
    """Boots under tcg and of a candidate, in turn."""
    need_images(arch)
    pair = Pair()
    runs = runs or args.runs
    for run in range(runs):
        args.progress(f"boot {arch}, {what}: run {run + 1} of {runs}")
        pair.add(boot_once(arch, "tcg"), candidate())
    return pair


def boot_row(args):
    """The row "boot": boots of guests that are harvested meanwhile."""
    for arch in args.archs:
        for flush in args.sizes["boot"]:
            what, goal = HARVESTS[flush]
            pair = boot_pairs(args, arch, what,
                              lambda a=arch, f=flush: boot_once(a, "age",
                                                                flush=f))
            yield pair.result("boot", f"{TITLES[arch]} boot, {what}", goal)


def plugin_row(args):
    """The row "plugin": QEMU's own hotpages in the place of age."""
    path = build_dir() / "tests/bench/libhotpages.so"
    if not path.exists():
        raise Skip(f"there is no {path}: build it first")
    for arch in args.sizes["plugin"]:
        if arch in args.archs:
            pair = boot_pairs(
                args, arch, "hotpages",
                lambda a=arch: boot_once(a, "tcg", "-plugin", path),
                min(args.runs, PLUGIN_RUNS))
            yield pair.result("plugin",
                              f"{TITLES[arch]} boot, tcg with hotpages")


# Loads

class Rounds:
    """
    Loads of one architecture; each round has two new guests.

    @sides are their accelerators, each with further options behind it.
    """

    def __init__(self, args, arch, sides=(("tcg",), ("age",))):
        need_images(arch)
        self.args = args
        self.arch = arch
        self.sides = sides
        self.boots = Pair()
        self.pairs = {}
        self.amounts = {}
        self.queries = []

    def round(self, variants):
        """
        One run of everything.

        @variants are (load, policy, rate); the base runs before each.
        """
        with contextlib.ExitStack() as stack:
            base, candidate = (guest_for(self.arch, *side)
                               for side in self.sides)
            self.args.progress(f"{TITLES[self.arch]}: two guests boot")
            self.boots.add(timed_boot(stack, base),
                           timed_boot(stack, candidate))
            for guest in (base, candidate):
                guest.command("cont")
                guest.tell("area", RANDOM_MIB)
                guest.command("stop")
            for name in dict.fromkeys(load for load, _, _ in variants):
                self._warm_up(name, base, candidate)
            for variant in variants:
                self._pair(variant, base, candidate)
            self.queries.append(candidate.command("query-age"))

    def _warm_up(self, name, base, candidate):
        """Has the code translated, and finds out how much is enough."""
        if name not in self.amounts:
            self.amounts[name] = calibrate(base, name,
                                           self.args.sizes["seconds"])
        else:
            run_load(base, name, LOADS[name][1])
        run_load(candidate, name, LOADS[name][1])

    def _pair(self, variant, base, candidate):
        name, flush, rate = variant
        self.args.progress(f"{TITLES[self.arch]} {name}, {flush} {rate} Hz")
        amount = self.amounts[name]
        first, first_sum = run_load(base, name, amount)
        second, second_sum = run_load(candidate, name, amount, flush, rate)
        if first_sum != second_sum:
            base, candidate = map(" ".join, self.sides)
            raise BenchError(f"{self.arch} {name} {amount}: the result is "
                             f"{first_sum} with {base}, {second_sum} with "
                             f"{candidate}")
        self.pairs.setdefault(variant, Pair()).add(first, second)


def run_load(guest, name, amount, flush=None, rate=RATE):
    """One load in a guest that is stopped before and after."""
    rest = LOADS[name][0]
    guest.command("cont")
    # What a stop may have left to be made up for
    time.sleep(0.1)
    with Beat(guest, flush, rate), Stopwatch(guest.process.pid) as watch:
        answer = guest.tell(name, amount, *rest)
    guest.command("stop")
    return watch.sample, answer["sum"]


def calibrate(guest, name, seconds):
    """The amount of a load that takes about so long."""
    amount = LOADS[name][1]
    while True:
        wall = run_load(guest, name, amount)[0].wall
        if wall >= seconds / 3:
            return max(1, round(amount * seconds / wall))
        amount = round(amount * min(8, 1 + seconds / wall))


def load_row(args):
    """The row "load": loads with nobody harvesting, and with somebody."""
    variants = [(name, flush, RATE) for name in LOADS for flush in HARVESTS]
    for arch in args.archs:
        rounds = Rounds(args, arch)
        for _ in range(args.runs):
            rounds.round(variants)
        yield rounds.boots.result("load", f"{TITLES[arch]} boot, no harvest",
                                  HARVESTS[None][1])
        for (name, flush, _), pair in rounds.pairs.items():
            what, goal = HARVESTS[flush]
            yield pair.result("load", f"{TITLES[arch]} {name}, {what}", goal,
                              about={"amount": rounds.amounts[name]})
        yield from memory(arch, rounds.queries)


def sides_row(args, row, sides, goals):
    """Loads that nobody harvests; @goals by load, then by architecture."""
    variants = [(name, None, RATE) for name in goals if name in LOADS]
    for arch in args.archs:
        rounds = Rounds(args, arch, sides)
        for _ in range(args.runs):
            rounds.round(variants)
        if "boot" in goals:
            yield rounds.boots.result(row, f"{TITLES[arch]} boot",
                                      goals["boot"][arch])
        for (name, _, _), pair in rounds.pairs.items():
            yield pair.result(row, f"{TITLES[arch]} {name}", goals[name][arch],
                              about={"amount": rounds.amounts[name]})


def both(goal):
    """The same goal for all architectures."""
    return dict.fromkeys(GUESTS, goal)


def grow_row(args):
    """The row "grow": TLBs that grow, against tcg."""
    yield from sides_row(args, "grow", (("tcg",), ("age,tlb-grow=on",)), {
        "boot": both(0.95), "compile": both(1), "pipe": both(1.02),
        "random": {"x86_64": 0.10, "aarch64": 0.65}})


def blocks_row(args):
    """The row "blocks": leaves of 2 MiB, against those of 4 KiB."""
    yield from sides_row(args, "blocks", (("age",), ("age,page-size=2m",)),
                         {"boot": both(None), "random": both(1)})


def interval_row(args):
    """The row "interval": a history that harvests once a second."""
    history = "age-history,id=h0,interval=1000"
    yield from sides_row(args, "interval",
                         (("age",), ("age", "-object", history)),
                         {name: both(1.01) for name in ("boot", *LOADS)})


def rate_row(args):
    """The row "rate": how the pace of harvests tells."""
    variants = [("compile", flush, pace) for pace in RATES
                for flush in ("none", "request")]
    for arch in args.archs:
        rounds = Rounds(args, arch)
        for _ in range(args.runs):
            rounds.round(variants)
        for (name, flush, pace), pair in rounds.pairs.items():
            yield pair.result(
                "rate", f"{TITLES[arch]} {name}, {pace} Hz, flush={flush}",
                about={"arch": arch, "rate": pace, "flush": flush,
                       "amount": rounds.amounts[name]})


# Memory

def memory(arch, queries):
    """What the tables of these guests took; a table of pages is a region."""
    tables = [4 * sum(level["tables"] for level in query["tables"])
              for query in queries]
    regions = [query["tables"][-1]["tables"] for query in queries]
    yield single("load", f"{TITLES[arch]} tables of the guest", "KiB", tables)
    yield single("load", f"{TITLES[arch]} tables, of regions in use", "%",
                 [100 * size / (count * REGION_KIB)
                  for size, count in zip(tables, regions, strict=True)],
                 about={"regions": regions})
