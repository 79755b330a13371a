#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
The page tables of Debian guests, decoded by the manuals alone.

Each guest boots, touches memory, is stopped, and has the tables of all its
address spaces dumped.  What ``agelib.tables`` makes of them, which shares
nothing with the accelerator, is held against what the accelerator says: the
slots, the walks, the harvests and the counters.
"""

import random
import tempfile
import time
import unittest
from pathlib import Path

import common

from agelib.guest.workload import Guest, images_present
from agelib.qemu.harvest import PAGE, Harvester, Slots
from agelib.qemu.patience import PATIENCE
from agelib.tables.dump import Dump
from agelib.tables.ept import SOFT_WRITE

AREA_PAGES = 32 << 20 >> 12
SAMPLE = 200

# What query-age-walk calls the memory types that are in use
WALK_TYPES = {"WB": "WB", "UC": "UC", "WB ISH": "normal-WB",
              "Device-nGnRE": "device", "": None}
RAM_TYPES = {"ept": "WB", "stage2": "WB ISH"}
DEVICE_TYPES = {"ept": "UC", "stage2": "Device-nGnRE"}

ARGS = common.parse_args(__doc__.splitlines()[1])


def leaf_pages(leaves):
    """The pages of the host that leaves map."""
    return {page for leaf in leaves
            for page in range(leaf.address, leaf.address + leaf.size, PAGE)}


class TablesTest(unittest.TestCase):
    """One guest for all the tests of a class, stopped before the first."""

    accel = "age,thread=multi"
    options = {}
    levels = {"x86_64": 4, "aarch64": 4}
    root_tables = 1
    blocks = False
    table_flags = True

    @classmethod
    def setUpClass(cls):
        if not images_present(ARGS.arch):
            raise unittest.SkipTest("no guest images: run scripts/build-guest")
        cls.guest = Guest(ARGS.arch, cls.accel, **cls.options)
        cls.addClassCleanup(cls.guest.stop)
        cls.guest.start()
        cls.guest.boot()
        cls.rng = random.Random(ARGS.seed)
        cls.harvester = Harvester(cls.guest.qmp)
        cls.prepare()
        cls.guest.command("stop")
        cls.dumps = {root["address-space"]: cls.dump(root["address-space"])
                     for root in cls.harvester.query()["roots"]}
        cls.info = cls.settle()
        cls.leaves = {name: list(dump.leaves())
                      for name, dump in cls.dumps.items()}

    @classmethod
    def prepare(cls):
        """Old pages and young ones, clean pages and dirty ones."""
        cls.guest.tell("alloc", AREA_PAGES, "small")
        cls.make_old()
        cls.guest.tell("touch", "every:2:0", "load", 2)
        cls.guest.tell("touch", "every:3:0", "store", 2)

    @classmethod
    def make_old(cls):
        """All pages are old, and clean, from here on."""
        cls.guest.command("age-test-clear-dirty", {
            "ranges": [cls.harvester.range(start, end, True)
                       for start, end in cls.harvester.ranges],
            "format": "count"})
        cls.harvester.clear()

    @classmethod
    def dump(cls, space):
        """The decoded tables of an address space."""
        with tempfile.TemporaryDirectory(prefix="age-") as folder:
            path = Path(folder) / "tables"
            cls.guest.command("age-dump-tables", {
                "file": str(path), "address-space": space})
            return Dump.load(path)

    @classmethod
    def table_counts(cls):
        """How many tables each level has, by what was dumped."""
        summaries = [dump.summary() for dump in cls.dumps.values()]
        return [{"level": levels[0].level,
                 "tables": sum(level.tables for level in levels)}
                for levels in zip(*summaries, strict=True)]

    @classmethod
    def settle(cls):
        """
        query-age, once all tables have gone that were taken out.

        Until then they count as tables, and what was young in them does
        not count as zapped.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            info = cls.harvester.query()
            if info["tables"] == cls.table_counts() or \
                    time.monotonic() > deadline:
                return info
            time.sleep(0.2)

    def all_leaves(self):
        """The leaves of all address spaces."""
        return [leaf for leaves in self.leaves.values() for leaf in leaves]

    def test_registers(self):
        """The header has the registers, and they fit the rest."""
        for root in self.info["roots"]:
            form = self.dumps[root["address-space"]].format
            self.assertEqual(form.name, self.info["format"])
            self.assertEqual(form.root_height + 1, self.info["levels"])
            self.assertEqual(form.root_height + 1, self.levels[ARGS.arch])
            self.assertEqual(form.root_tables, self.root_tables)
            if form.name == "ept":
                self.assertEqual(form.eptp, root["eptp"])
                self.assertEqual(form.flags, self.info["hw-ad"])
            else:
                self.assertEqual((form.vttbr, form.vtcr),
                                 (root["vttbr"], root["vtcr"]))
                self.assertEqual(form.address_bits, self.info["gpa-bits"])
                self.assertEqual(form.hardware_dirty, self.info["hw-ad"])
                self.assertEqual(bool(form.fields["HAFT"]), self.table_flags)

    def test_table_pages(self):
        """As many tables on each level as are counted."""
        self.assertEqual(self.table_counts(), self.info["tables"])

    def test_entries(self):
        """Nothing that the manuals forbid, and flags where they belong."""
        for dump in self.dumps.values():
            for entry in dump.entries():
                self.assertEqual(entry.problems, (), entry)
                if not entry.leaf:
                    self.assertEqual(entry.accessed is not None,
                                     self.table_flags, entry)

    def test_frames(self):
        """A leaf maps the memory of its slot, with the slot's rights."""
        for space, leaves in self.leaves.items():
            slots = Slots(self.info["slots"], space)
            for leaf in leaves:
                slot = slots.find(leaf.gpa)
                self.assertIsNotNone(slot, f"{space}: no slot for {leaf}")
                self.assertLessEqual(leaf.end, slot["gpa"] + slot["size"])
                self.assertEqual(leaf.address,
                                 slot["hva"] + leaf.gpa - slot["gpa"], leaf)
                self.check_rights(leaf, slot)

    def check_rights(self, leaf, slot):
        """What a leaf permits is what its slot permits."""
        types = DEVICE_TYPES if slot["device"] else RAM_TYPES
        self.assertEqual(leaf.memory_type, types[self.info["format"]], leaf)
        self.assertEqual(leaf.write, not slot["read-only"], leaf)
        self.assertTrue(leaf.read, leaf)
        if not slot["device"]:
            self.assertIs(leaf.execute, True, leaf)

    def test_sizes(self):
        """Blocks where they were asked for, and pages where not."""
        largest = max(leaf.height for leaf in self.all_leaves())
        self.assertEqual(largest, 1 if self.blocks else 0)

    def test_walks(self):
        """A walk shows what is in the tables, or where they end."""
        for space, dump in self.dumps.items():
            mapped = [leaf.gpa for leaf in self.leaves[space]]
            gpas = self.rng.sample(mapped, min(SAMPLE, len(mapped)))
            gpas += [self.rng.randrange(2 << 30) for _ in range(SAMPLE)]
            for gpa in gpas:
                walk = self.guest.command("query-age-walk", {
                    "gpa": gpa, "address-space": space})
                self.assertEqual(walk["entries"],
                                 [walk_entry(entry)
                                  for entry in dump.lookup(gpa)], hex(gpa))

    def test_young(self):
        """A harvest finds the pages whose leaves are young."""
        young = leaf_pages(leaf for leaf in self.all_leaves()
                           if leaf.accessed)
        self.check_harvest("age-test-clear-young", young)

    def test_dirty(self):
        """A harvest of dirty bits finds the pages whose leaves are dirty."""
        dirty = leaf_pages(leaf for leaf in self.all_leaves() if leaf.dirty)
        self.check_harvest("age-test-clear-dirty", dirty)

    def check_harvest(self, command, pages):
        """Some pages are found, others are not, in the whole of memory."""
        found, total = self.harvest(command)
        self.assertEqual(found, pages)
        self.assertGreater(len(found), AREA_PAGES // 4)
        self.assertLess(len(found), total)

    def harvest(self, command):
        """The pages of the host that are found, and how many there are."""
        spans = {(slot["hva"], slot["hva"] + slot["size"])
                 for slot in self.info["slots"]}
        answer = self.guest.command(command, {
            "ranges": [self.harvester.range(start, end, False)
                       for start, end in sorted(spans)],
            "address": "hva", "flush": "none", "format": "runs"})
        found = set()
        for part in answer["ranges"]:
            for run in part["runs"]:
                found.update(range(run["start"], run["end"], PAGE))
        return found, sum(end - start for start, end in spans) // PAGE

    def test_conservation(self):
        """What walks made young was made old, or went, or is young still."""
        counters = self.info["counters"]
        young = sum(1 for leaf in self.all_leaves() if leaf.accessed)
        self.assertGreater(counters["cleared"], 0)
        self.assertEqual(counters["accessed-set"] + counters["inherited"],
                         counters["cleared"] + counters["zapped"] + young,
                         counters)


def make_old_by_software(guest, harvester):
    """All pages are old, where there are no flags to clear."""
    guest.command("age-clear-young", {
        "ranges": [{"start": start, "end": end}
                   for start, end in harvester.ranges], "flush": "request"})
    harvester.wait_flush()


class NoADMixin:
    """Without accessed flags of the hardware software keeps account."""

    accel = "age,thread=multi,hw-ad=off"
    table_flags = False

    @classmethod
    def make_old(cls):
        """As a hypervisor does where hardware has no accessed flags."""
        make_old_by_software(cls.guest, cls.harvester)

    def check_rights(self, leaf, slot):
        """Permissions may be away for now, but none is there in excess."""
        if self.info["format"] == "stage2":
            super().check_rights(leaf, slot)
            return
        self.assertEqual(leaf.memory_type, RAM_TYPES["ept"], leaf)
        self.assertEqual(bool(leaf.value & SOFT_WRITE),
                         not slot["read-only"], leaf)
        self.assertFalse(leaf.write and slot["read-only"], leaf)
        if leaf.present:
            self.assertTrue(leaf.read and leaf.execute, leaf)
        else:
            self.assertIn(leaf.hints, (("tracked:RWX",), ("tracked:R-X",)))

    def test_young(self):
        """Asked page by page, those are young whose leaves are."""
        young = leaf_pages(leaf for leaf in self.all_leaves()
                           if leaf.accessed)
        old = leaf_pages(self.all_leaves()) - young
        pages = self.rng.sample(sorted(young), SAMPLE) + \
            self.rng.sample(sorted(old), SAMPLE)
        answer = self.guest.command("age-test-young", {
            "ranges": [{"start": page, "end": page + PAGE}
                       for page in pages], "address": "hva"})
        self.assertEqual([part["young"] for part in answer["ranges"]],
                         [True] * SAMPLE + [False] * SAMPLE)

    def test_dirty(self):
        """No leaf has a dirty flag."""
        self.assertEqual({leaf.dirty for leaf in self.all_leaves()}, {None})


class SwitchedMixin:
    """Without the hardware's flags for a while, and with them again."""

    @classmethod
    def prepare(cls):
        """Touches pages while there are no flags, and others afterwards."""
        cls.switch(False)
        cls.guest.tell("alloc", AREA_PAGES, "small")
        cls.guest.tell("touch", "every:5:0", "store", 2)
        make_old_by_software(cls.guest, cls.harvester)
        cls.switch(True)
        super().prepare()

    @classmethod
    def switch(cls, value):
        """Hands the flags to the hardware, or to software."""
        cls.guest.command("qom-set", {
            "path": "/machine/age", "property": "hw-ad", "value": value})


def walk_entry(entry):
    """An entry as query-age-walk tells it."""
    told = {"level": entry.level, "index": entry.index, "value": entry.value,
            "leaf": entry.leaf, "read": entry.read, "write": entry.write,
            "execute": entry.execute, "accessed": bool(entry.accessed),
            "dirty": bool(entry.dirty), "address": entry.address}
    if entry.leaf:
        told["memory-type"] = WALK_TYPES[entry.memory_type]
    return told


def guest_class(name, *mixins, **attributes):
    """A class for one kind of guest."""
    return type(name, mixins + (TablesTest,), attributes)


def guests_x86_64():
    """The guests of x86-64."""
    return [
        guest_class("Default"),
        guest_class("FiveLevels", accel="age,levels=5,page-size=2m",
                    levels={"x86_64": 5}, blocks=True),
        guest_class("NoAD", NoADMixin),
        guest_class("Switched", SwitchedMixin),
    ]


def guests_aarch64():
    """
    The guests of arm64.

    Cortex-A53 has addresses of 40 bits, for which two tables stand side by
    side at level 1.
    """
    return [
        guest_class("Default"),
        guest_class("CortexA53", accel="age,haft=off,page-size=2m",
                    levels={"aarch64": 3}, root_tables=2, blocks=True,
                    table_flags=False, options={"cpu": "cortex-a53"}),
        guest_class("NoAD", NoADMixin),
        guest_class("Switched", SwitchedMixin),
    ]


def main():
    """Runs the guests of one architecture."""
    guests = {"x86_64": guests_x86_64, "aarch64": guests_aarch64}
    common.run_classes(guests[ARGS.arch](), ARGS)


if __name__ == "__main__":
    main()
