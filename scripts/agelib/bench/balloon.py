# SPDX-License-Identifier: GPL-2.0-or-later
"""
Benchmarks of a balloon: a guest that gives memory away, and takes it back.

Each page that the balloon takes is discarded, and zapped from the tables.  The
time is the client's, from the command to the size that was asked for.
"""

import contextlib
import time

from ..guest.workload import TITLES, Guest
from ..qemu.patience import PATIENCE
from .figures import BenchError, Pair, Stopwatch
from .guests import need_images

MIB = 1 << 20
CPUS = 4
# What the guest keeps
REST_MIB = 512

# A driver for the balloon, and then the load's program
PREPARE = ("mount -t proc proc /proc; mount -t sysfs sysfs /sys; "
           "modprobe virtio_pci; modprobe virtio_balloon; "
           "exec /age-init 2> /dev/null")


def guest_for(arch, accel, size_mib):
    """A guest with a balloon."""
    return Guest(arch, f"{accel},thread=multi", program="load", smp=CPUS,
                 memory=size_mib + REST_MIB,
                 append=f'rdinit=/bin/sh -- -c "{PREPARE}"',
                 devices=["virtio-balloon-pci"])


def wait_size(guest, size):
    """Waits until the guest has given all, or taken all."""
    deadline = time.monotonic() + PATIENCE
    while guest.command("query-balloon")["actual"] != size:
        if time.monotonic() > deadline:
            raise BenchError("the balloon does not come to its size")
        time.sleep(0.001)


def inflate(guest, size_mib):
    """There and back: a sample."""
    guest.command("cont")
    with Stopwatch(guest.process.pid) as watch:
        for mib in REST_MIB, REST_MIB + size_mib:
            guest.command("balloon", {"value": mib * MIB})
            wait_size(guest, mib * MIB)
    guest.command("stop")
    return watch.sample


def balloon_row(args):
    """The row "balloon"."""
    size_mib = args.sizes["balloon"]
    for arch in args.archs:
        need_images(arch)
        pair = Pair()
        args.progress(f"{TITLES[arch]}: two guests with balloons boot")
        with contextlib.ExitStack() as stack:
            guests = [stack.enter_context(guest_for(arch, accel, size_mib))
                      for accel in ("tcg", "age")]
            for guest in guests:
                guest.boot()
                guest.command("stop")
            for guest in guests:
                inflate(guest, size_mib)
            for run in range(args.runs):
                args.progress(f"{TITLES[arch]}: balloon, run {run + 1} of "
                              f"{args.runs}")
                pair.add(*(inflate(guest, size_mib) for guest in guests))
        yield pair.result("balloon", f"{TITLES[arch]} {CPUS} vCPUs, balloon of "
                                     f"{size_mib} MiB", 1.02)
