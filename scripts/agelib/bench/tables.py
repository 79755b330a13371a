# SPDX-License-Identifier: GPL-2.0-or-later
"""
Benchmarks of the page tables by themselves: runs ``tests/bench/bench-table``.
"""

import subprocess
from collections import defaultdict

from ..qemu.emulator import build_dir
from .figures import BenchError, Skip, need_memory, single, skipped

GIB = 1 << 30

# Row of bench-table: what it is, unit and goal.  Pages are all that are mapped,
# young or not.  Where the goal is None, it is there to be compared with.
ROWS = {
    "test": ("test, all young", "ns/page", 1.3),
    "test-clear": ("clear, all young", "ns/page", 6),
    "idle": ("clear, nothing young", "us", 20),
    "idle-dirty": ("dirty flags, nothing dirty", "us", 20),
    "idle-pieces": ("clear by 1 MiB, nothing young", "ns/call", 100),
    "idle-sparse": ("clear 1 page of each region, nothing young", "us", 20),
    "sparse-1": ("a page each of 1 % of regions", "ns/page", 0.05),
    "sparse-512": ("1 % of regions, clear", "ns/page", 0.05),
    "sparse-512-test": ("1 % of regions, test", "ns/page", 0.05),
    "limit-read": ("limit: read each entry", "ns/page", None),
    "limit-atomic": ("limit: one atomic each", "ns/page", None),
    "tables": ("tables, of memory mapped", "%", 0.21),
}

# These have a number behind: so many young pages of a thousand.
SPREAD = "spread-"


def describe(name):
    """What a row of bench-table is, its unit and its goal."""
    if name.startswith(SPREAD):
        share = int(name[len(SPREAD):]) / 10
        return f"{share:g} % of pages young, clear", "ns/page", None
    return ROWS[name]


def measure(gib, runs):
    """Runs bench-table; the values of each of its rows."""
    program = build_dir() / "tests/bench/bench-table"
    if not program.exists():
        raise Skip(f"there is no {program}: build it first")
    # An entry of 8 bytes and two bits a page, and something for the upper
    # levels; nobody else should have to swap for it.
    need_memory(gib * GIB // 4096 * 9 + (256 << 20), f"a table of {gib} GiB")
    done = subprocess.run([str(program), str(gib), str(runs)], text=True,
                          capture_output=True, check=False)
    if done.returncode:
        raise BenchError(f"bench-table {gib} {runs}: status "
                         f"{done.returncode}: {done.stderr.strip()}")
    rows = defaultdict(list)
    for line in done.stdout.splitlines():
        name, value = line.split("\t")
        rows[name].append(float(value))
    return rows


def table_row(args):
    """The row "table"."""
    for gib in args.sizes["table"]:
        try:
            rows = measure(gib, args.runs)
        except Skip as e:
            yield skipped("table", f"{gib} GiB", str(e))
            continue
        for name, values in rows.items():
            what, unit, goal = describe(name)
            # Smaller tables fit into the processor's caches.
            yield single("table", f"{gib} GiB: {what}", unit, values,
                         goal if gib >= 16 else None,
                         {"gib": gib, "row": name})
