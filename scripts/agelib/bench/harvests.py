# SPDX-License-Identifier: GPL-2.0-or-later
"""
Benchmarks of passes over a guest that has booted, while it stands still.

The times are the accelerator's: what the answer says of its begin and end.
"""

from ..guest.workload import TITLES, Guest
from .figures import BenchError, single
from .guests import need_images

MEMORY_MIB = 2048
# What the program in the guest uses, page by page
AREA_MIB = 1536
MIB_PAGES = 256


def harvest(guest, **how):
    """A pass over all memory: nanoseconds, and how many pages were young."""
    answer = guest.qmps[1].command(
        "age-test-clear-young", {"flush": "none", "format": "count"} | how,
        oob=True)
    young = sum(result["young-pages"] for result in answer["ranges"])
    return answer["end-ns"] - answer["begin-ns"], young


def passes(guest, area_mib):
    """One of each kind; the guest is stopped but to use its memory."""
    guest.command("cont")
    guest.qmps[1].command("age-test-clear-young",
                          {"flush": "request", "format": "count"}, oob=True)
    guest.tell("area", area_mib)
    guest.command("stop")
    found = {"test": harvest(guest, clear=False), "clear": harvest(guest),
             "idle": harvest(guest), "idle again": harvest(guest)}
    for name in "test", "clear":
        if found[name][1] < area_mib * MIB_PAGES:
            raise BenchError(f"only {found[name][1]} pages are young")
    return found


def harvest_row(args):
    """The row "harvest"."""
    area_mib = min(AREA_MIB, args.sizes["area"] * 3 // 2)
    for arch in args.archs:
        need_images(arch)
        args.progress(f"{TITLES[arch]}: a guest boots, and is harvested")
        with Guest(arch, "age,thread=multi", monitors=2, program="load",
                   smp=1, memory=MEMORY_MIB) as guest:
            guest.boot()
            found = [passes(guest, area_mib) for _ in range(args.runs)]
        name = f"{TITLES[arch]} guest of {MEMORY_MIB} MiB"
        for kind, goal in ("test", None), ("clear", 6):
            yield single("harvest", f"{name}: {kind}, a young page", "ns",
                         [run[kind][0] / run[kind][1] for run in found], goal)
        yield single("harvest", f"{name}: idle", "us",
                     [run["idle again"][0] / 1e3 for run in found], 5)
