# SPDX-License-Identifier: GPL-2.0-or-later
"""
Benchmarks of flushes on machines with very many vCPUs.

No guest is booted.  On x86-64 firmware waits for an interrupt in the end, and
wakes up with each tick; on arm64 one vCPU executes what it takes for code.  All
others sleep.  Who sleeps owes no flush, so that a harvest with a flush should
take as long as on a machine with one vCPU.  Times are those of the client, from
sending the harvest to the first answer that says that no flush is pending; the
time in the accelerator is what the answer says.
"""

import time

from ..guest.workload import TITLES
from ..qemu.emulator import Emulator
from ..qemu.harvest import Harvester
from ..qemu.patience import PATIENCE
from .figures import BenchError, cpu_seconds, single

# Harvests a run, and seconds between two of them: the guest uses some pages
HARVESTS = 20
PAUSE = 0.02

# What makes so many vCPUs possible
MACHINES = {
    "x86_64": ["-machine", "q35", "-cpu", "max,x2apic=on",
               "-device", "intel-iommu,intremap=on,eim=on"],
    "aarch64": ["-machine", "virt,gic-version=3", "-cpu", "max"],
}


# Firmware is done when the emulator uses less than this share of a processor.
IDLE = 0.2


def wait_asleep(machine):
    """Waits until firmware has put all vCPUs to sleep."""
    deadline = time.monotonic() + PATIENCE
    used = 1
    while used > IDLE:
        if time.monotonic() > deadline:
            raise BenchError("the firmware does not come to its end")
        before = cpu_seconds(machine.process.pid)
        time.sleep(1)
        used = cpu_seconds(machine.process.pid) - before


def harvest(harvester):
    """One: milliseconds until no flush is pending, and us in QEMU."""
    ranges = [{"start": start, "end": end} for start, end in harvester.ranges]
    begin = time.monotonic()
    answer = harvester.qmp.command(
        "age-test-clear-young",
        {"ranges": ranges, "flush": "request", "format": "count"}, oob=True)
    pending = answer["flush-pending"]
    while pending:
        pending = harvester.qmp.command("query-age", oob=True)["flush-pending"]
    seconds = time.monotonic() - begin
    return seconds * 1e3, (answer["end-ns"] - answer["begin-ns"]) / 1e3


def flush_row(args):
    """The row "flush"."""
    for arch in args.archs:
        name = f"{TITLES[arch]} {args.sizes['vcpus']} vCPUs, all but one asleep"
        args.progress(name)
        options = MACHINES[arch] + ["-smp", args.sizes["vcpus"], "-m", "256"]
        with Emulator(arch, options, "age", 2) as machine:
            if arch == "x86_64":
                wait_asleep(machine)
            harvester = Harvester(machine.qmps[1])
            found = []
            for _ in range(HARVESTS * args.runs):
                time.sleep(PAUSE)
                found.append(harvest(harvester))
        yield single("flush", f"{name}: until none is pending", "ms",
                     [client for client, _ in found], 1)
        yield single("flush", f"{name}: in the accelerator", "us",
                     [inside for _, inside in found])
