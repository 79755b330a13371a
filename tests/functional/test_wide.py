#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Debian guests on wider machines than people mostly have.

More physical addresses, memory in several places and of several kinds, other
CPUs, and a debugger at the same time.  What is judged, and how, is in
``linuxguest.py``.
"""

import common

from agelib.qemu.harvest import PAGE, Slots
from gdbstub import Watcher
from linuxguest import RoundsMixin, guest_class

# The NUMA nodes of the widest machines, in MiB: x86's hole below 4 GiB comes
# within the second one.
NODES = (1000, 4000)
DIMM = 1024

# The kernel would have pages move to the node of who uses them.
STAY = "numa_balancing=disable"

WATCHED = 4

ARGS = common.parse_args(__doc__.splitlines()[1])


class NodesMixin(RoundsMixin):
    """Memory of several nodes and backends, of all of which there are pages."""

    backends = ()
    levels = 4

    def test_everywhere(self):
        """The area is in all backends alike, and all of it can be found."""
        self.round(("touch", "all", "load", self.cpus))
        info = self.harvester.query()
        slots = Slots(info["slots"], "memory")
        names = [slots.find(pfn * PAGE)["backend"]
                 for pfn in self.guest.account().touched]
        for backend in self.backends:
            self.assertGreater(names.count(backend),
                               self.pages // len(self.backends) // 2, backend)
        self.assertEqual(info["levels"], self.levels)

    def test_watched(self):
        """Watchpoints take all accesses to a page another way."""
        area = int(self.guest.tell("alloc", self.pages, "small")["address"])
        pages = self.rng.sample(range(self.pages), WATCHED)
        with Watcher(self.guest, [(area + page * PAGE, PAGE)
                                  for page in pages]) as watcher:
            for op in ("load", "store", "atomic"):
                self.round(("touch", "all", op, self.cpus))
        self.assertGreater(watcher.hits, 0)


def ram_backend(name, size):
    """Memory that the host need not have: most of it is never used."""
    return f"memory-backend-ram,id={name},size={size}M,reserve=off"


def numa_options(*more):
    """A backend for each of the nodes."""
    options = list(more)
    for i, size in enumerate(NODES):
        options += ["-object", ram_backend(f"ram{i}", size),
                    "-numa", f"node,nodeid={i},memdev=ram{i}"]
    return options


def guests_x86_64():
    """The guests of x86-64."""
    dimm = ["-m", f"{sum(NODES)}M,slots=1,maxmem=16G",
            "-object", ram_backend("dimm", DIMM),
            "-numa", f"node,nodeid={len(NODES)}",
            "-device", f"pc-dimm,memdev=dimm,node={len(NODES)}"]
    return [
        guest_class(ARGS, "Wide", NodesMixin, levels=5,
                    backends=("ram0", "ram1", "dimm"), options={
                        "cpu": "max,phys-bits=52", "smp": 4,
                        "append": f"{STAY} memhp_default_state=online",
                        "more": numa_options(*dimm)}),
        guest_class(ARGS, "FourLevels", RoundsMixin, options={
            "machine": "pc", "cpu": "qemu64", "smp": 3}),
    ]


def guests_aarch64():
    """The guests of arm64."""
    return [
        guest_class(ARGS, "Wide", NodesMixin, backends=("ram0", "ram1"),
                    options={"machine": "virt,secure=on,mte=on,"
                                        "virtualization=on",
                             "smp": 4, "memory": sum(NODES),
                             "append": STAY, "more": numa_options()}),
        guest_class(ARGS, "HighmemOff", RoundsMixin, options={
            "machine": "virt,highmem=off", "cpu": "cortex-a53", "smp": 3,
            "memory": 3000}),
    ]


def main():
    """Runs the guests of one architecture."""
    guests = {"x86_64": guests_x86_64, "aarch64": guests_aarch64}
    common.run_classes(guests[ARGS.arch](), ARGS)


if __name__ == "__main__":
    main()
