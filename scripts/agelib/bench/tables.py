# SPDX-License-Identifier: GPL-2.0-or-later
"""
Benchmarks of the page tables by themselves, and of the history beside them:
runs ``tests/bench/bench-table`` and ``tests/bench/bench-history``.
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
    "zap": ("zap all, with the BQL held", "us", 5000),
}

# Rows of bench-history.  Each of the first is there three times: without the
# history, with it, and as a ratio.
HARVESTS = {
    "dense": "clear, all young",
    "sparse-1": "a page each of 1 % of regions",
    "sparse-512": "1 % of regions, clear",
    "mixed": "clear all, stamps of all ages",
}
READS = {
    "read-idle": ("read of an idle guest", "us", 50),
    "read-sparse": ("read of 1 % of regions", "us", 2000),
    "read-all": ("read of all", "us", None),
    "query": ("distributions, 64 bins", "us", 1000),
}

# These have a number behind: so many young pages of a thousand.
SPREAD = "spread-"


def describe(name):
    """What a row of bench-table is, its unit and its goal."""
    if name.startswith(SPREAD):
        share = int(name[len(SPREAD):]) / 10
        return f"{share:g} % of pages young, clear", "ns/page", None
    return ROWS[name]


def describe_history(name):
    """The same for a row of bench-history."""
    if name in READS:
        return READS[name]
    base, _, kind = name.rpartition("-")
    if kind not in ("history", "ratio"):
        base, kind = name, None
    if base.startswith(SPREAD):
        what = describe(base)[0]
    else:
        what = HARVESTS[base]
    if kind == "ratio":
        return f"{what}: with history, of without", "ratio", 1.3
    return f"{what}{', with history' if kind else ''}", "ns/page", None


def measure(name, gib, runs, page_bytes=9):
    """Runs a program; the values of each of its rows."""
    program = build_dir() / "tests/bench" / name
    if not program.exists():
        raise Skip(f"there is no {program}: build it first")
    # An entry of 8 bytes and two bits a page, and something for the upper
    # levels; nobody else should have to swap for it.
    need_memory(gib * GIB // 4096 * page_bytes + (256 << 20),
                f"a table of {gib} GiB")
    done = subprocess.run([str(program), str(gib), str(runs)], text=True,
                          capture_output=True, check=False)
    if done.returncode:
        raise BenchError(f"{name} {gib} {runs}: status "
                         f"{done.returncode}: {done.stderr.strip()}")
    rows = defaultdict(list)
    for line in done.stdout.splitlines():
        row, value = line.split("\t")
        rows[row].append(float(value))
    return rows


def table_row(args):
    """The row "table"."""
    for gib in args.sizes["table"]:
        try:
            rows = measure("bench-table", gib, args.runs)
        except Skip as e:
            yield skipped("table", f"{gib} GiB", str(e))
            continue
        for name, values in rows.items():
            what, unit, goal = describe(name)
            # Smaller tables fit into the processor's caches.
            yield single("table", f"{gib} GiB: {what}", unit, values,
                         goal if gib >= 16 else None,
                         {"gib": gib, "row": name})


def history_row(args):
    """The row "history"."""
    gib = args.sizes["history"]
    for name, values in measure("bench-history", gib, args.runs, 13).items():
        what, unit, goal = describe_history(name)
        yield single("history", f"{gib} GiB: {what}", unit, values,
                     goal if gib >= 16 else None, {"gib": gib, "row": name})
