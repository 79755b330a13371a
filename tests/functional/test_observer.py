#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Debian guests: what is harvested, held against a plugin that sees every access.

The plugin knows nothing of the accelerator: TCG calls it for each load, store
and block of code (``tests/plugins/age-pages.c``).  From its first instruction
on, the guest is stopped again and again, and what is young is held against
what the plugin saw since the last time.

- Recall is whole: each page that the plugin saw is young, and dirty if it saw
  a store.
- Nothing is invented: each page that is young, or dirty, was seen by the
  plugin, or is one that processors use of their own accord: the page tables
  of the guest, which are walked to find out, and its descriptor tables.
"""

import array
import mmap
import os
import re
import socket
import time
import unittest
from collections import Counter
from dataclasses import dataclass, field

import common

from agelib.guest.workload import Guest, images_present, little_endian
from agelib.qemu.emulator import EmulatorError, build_dir
from agelib.qemu.harvest import PAGE, Harvester, decode_bitmap
from agelib.qemu.patience import PATIENCE

MEMORY = 512 << 20
RAM_BASE = {"x86_64": 0, "aarch64": 1 << 30}
AREA_PAGES = 16 << 20 >> 12
OPS = ("load", "store", "atomic", "exec", "mix", "straddle")
PAUSE = 0.5
SHOWN = 8

# As in tests/plugins/age-pages.c
LOAD, STORE, FAR, FETCH, VIRTUAL, ROOT = (1 << bit for bit in range(6))

# Page tables of both architectures, with pages of 4 KiB
ENTRIES = 512
TABLE_SHIFTS = (39, 30, 21, 12)
ADDRESS = (1 << 48) - PAGE
X86_LEVEL5 = 48
X86_CR4_LA57 = 1 << 12

# Here firmware of x86 has ROM, RAM and SMRAM by turns.  What was there goes
# with its accessed bits.
X86_REMAPPED = set(range(0xa0, 0x100))

# Young pages that nobody accounts for may be one in so many: tables of a
# process that has gone, code that was looked up and then interrupted.
RARE = 10000

X86_TABLES = re.compile(r"(?:[GI]DT=|TR =[0-9a-f]+) *([0-9a-f]+) ([0-9a-f]+)")

ARGS = common.parse_args(__doc__.splitlines()[1])


@dataclass
class Seen:
    """
    What the plugin saw.

    @data are page frames of the guest, @stores those of them that were
    stored to, @fetches pages of QEMU's, @virtual virtual addresses in the
    guest and @roots physical ones.
    """

    data: set = field(default_factory=set)
    stores: set = field(default_factory=set)
    fetches: set = field(default_factory=set)
    virtual: set = field(default_factory=set)
    roots: set = field(default_factory=set)


class ObservedGuest(Guest):
    """A guest with the plugin, and with memory that can be looked at."""

    def __init__(self, arch, accel, **options):
        super().__init__(arch, accel, **options)
        self.plugin = None
        self.memory_fd = os.memfd_create("age-observed")
        os.truncate(self.memory_fd, MEMORY)
        self.memory = mmap.mmap(self.memory_fd, MEMORY)
        path = f"/proc/{os.getpid()}/fd/{self.memory_fd}"
        self.options += [
            "-object", f"memory-backend-file,id=ram,size={MEMORY},share=on,"
                       f"mem-path={path}",
            "-machine", "memory-backend=ram", "-S"]

    def _channel_options(self, theirs):
        self.plugin, other = socket.socketpair()
        self.plugin.settimeout(PATIENCE)
        theirs.append(other)
        library = build_dir() / "tests/plugins/libage-pages.so"
        return super()._channel_options(theirs) + [
            "-plugin", f"{library},fd={other.fileno()}"]

    def stop(self):
        super().stop()
        if self.plugin:
            self.plugin.close()
            self.memory.close()
            os.close(self.memory_fd)
            self.plugin = None

    def take(self):
        """What the plugin saw since the last time."""
        self.plugin.sendall(b"t")
        count = array.array("Q", self._receive(8))[0]
        seen = Seen()
        for record in array.array("Q", self._receive(8 * count)):
            kind, address = record % PAGE, record - record % PAGE
            if kind == FAR:
                raise EmulatorError("an access beyond the plugin's map")
            if kind in (FETCH, VIRTUAL, ROOT):
                {FETCH: seen.fetches, VIRTUAL: seen.virtual,
                 ROOT: seen.roots}[kind].add(address)
            else:
                seen.data.add(address // PAGE)
                if kind & STORE:
                    seen.stores.add(address // PAGE)
        return seen

    def registers(self):
        """The registers of all vCPUs, as the monitor shows them."""
        return self.command("human-monitor-command",
                            {"command-line": "info registers -a"})

    def _receive(self, size):
        data = bytearray()
        while len(data) < size:
            part = self.plugin.recv(size - len(data))
            if not part:
                raise self.failure("the plugin has gone")
            data += part
        return bytes(data)


class Tables:
    """The guest's page tables as they are now."""

    def __init__(self, guest, roots):
        self.guest = guest
        self.roots = roots
        self.registers = guest.registers()
        self.shifts = TABLE_SHIFTS
        cr4 = re.search("CR4=([0-9a-f]+)", self.registers)
        if cr4 and int(cr4[1], 16) & X86_CR4_LA57:
            self.shifts = (X86_LEVEL5,) + TABLE_SHIFTS

    def frames(self):
        """The page frames of all tables."""
        found = set()
        todo = [(root, 0) for root in self.roots]
        while todo:
            table, level = todo.pop()
            entries = self._read(table)
            if entries and (table, level) not in found:
                found.add((table, level))
                todo += [(entry & ADDRESS, level + 1) for entry in entries
                         if self._leads_on(entry, level)]
        return {table // PAGE for table, _ in found}

    def translate(self, vaddr):
        """The page frames of a virtual address, under all the roots."""
        frames = {self._translate(root, vaddr) for root in self.roots}
        return frames - {None}

    def descriptors(self):
        """The page frames of x86's descriptor tables and task states."""
        frames = set()
        for base, limit in X86_TABLES.findall(self.registers):
            base, limit = int(base, 16), int(limit, 16)
            for vaddr in range(base, base + limit + PAGE, PAGE):
                frames |= self.translate(min(vaddr, base + limit))
        return frames

    def _translate(self, table, vaddr):
        for level, shift in enumerate(self.shifts):
            entries = self._read(table)
            entry = entries[(vaddr >> shift) % ENTRIES] if entries else 0
            if not entry & 1:
                return None
            if not self._leads_on(entry, level):
                size = 1 << shift
                return (entry & ADDRESS & -size | vaddr & size - 1) // PAGE
            table = entry & ADDRESS
        return None

    def _leads_on(self, entry, level):
        if level == len(self.shifts) - 1:
            return False
        if self.guest.arch == "x86_64":
            return entry & 0x81 == 0x01
        return entry & 3 == 3

    def _read(self, table):
        """The entries of a table; none if there is no memory."""
        entries = array.array("Q")
        offset = table - RAM_BASE[self.guest.arch]
        if 0 <= offset < MEMORY:
            entries.frombytes(self.guest.memory[offset:offset + PAGE])
        return little_endian(entries)


class Slots:
    """Where the guest's memory is in QEMU."""

    def __init__(self, slots):
        self.slots = slots

    def frames(self, page):
        """The page frames of a page of QEMU's, which may be several."""
        return {(page - slot["hva"] + slot["gpa"]) // PAGE
                for slot in self.slots
                if 0 <= page - slot["hva"] < slot["size"]}


class Findings:
    """
    What came of all looks, for young pages or for dirty ones.

    @missed and @unknown collect what is not as it should be, each page frame
    with the number of the look; @counts says what the others were.
    """

    def __init__(self, name):
        self.name = name
        self.counts = Counter()
        self.missed = []
        self.unknown = []

    def add(self, look, found, must, may):
        """
        Holds what was found against what must be there, and explains it.

        @may has sets of page frames by a name; the first that has a page
        counts it.
        """
        self.missed += [(look, frame) for frame in must - found]
        self.counts[self.name] += len(found)
        for kind, frames in may.items():
            self.counts[kind] += len(found & frames)
            found = found - frames
        self.unknown += [(look, frame) for frame in found]

    def report(self):
        """What there was to see, for those who read the log."""
        common.comment(", ".join(f"{count} {kind}" for kind, count
                                 in self.counts.items()) +
                       f", {len(self.unknown)} unknown" +
                       describe(self.unknown))


class Observer:
    """Looks at a guest at moments at which it is stopped."""

    def __init__(self, guest):
        self.guest = guest
        # Memory comes and goes while firmware is at work: all there may be
        self.range = (0, 4 << 30)
        self.harvester = Harvester(guest.qmp, [self.range])
        self.slots = self._slots()
        self.tables = set()
        self.looks = 0
        self.young = Findings("young")
        self.dirty = Findings("dirty")

    def _slots(self):
        return Slots(self.harvester.query()["slots"])

    def _dirty(self):
        """The dirty pages, which become clean."""
        start, end = self.range
        answer = self.guest.command("age-test-clear-dirty", {
            "ranges": [{"start": start, "end": end}], "flush": "request"})
        self.harvester.wait_flush()
        return decode_bitmap(start, end, answer["ranges"][0]["bitmap"], True)

    def look(self):
        """One harvest of each kind, and a judgement of what was found."""
        self.guest.command("stop")
        young, dirty = self.harvester.clear().young, self._dirty()
        seen = self.guest.take()
        before, self.slots = self.slots, self._slots()
        fetched = [self.slots.frames(page) | before.frames(page)
                   for page in seen.fetches]
        self.looks += 1

        # There is no table before firmware has ended.
        gone = set()
        if self.guest.arch == "x86_64" and not self.tables:
            gone = X86_REMAPPED | {None}
        must = seen.data - gone
        for frames in fetched:
            must |= not_young(frames or {None}, young, gone)
        others = self._used_by_processors(seen)
        self.young.add(self.looks, young, must, {
            "loaded or stored": seen.data,
            "fetched": set().union(*fetched), **others})
        self.dirty.add(self.looks, dirty, seen.stores - gone, {
            "stored": seen.stores, **others})
        self.guest.command("cont")

    def _used_by_processors(self, seen):
        """What the plugin does not get to see, by what it is."""
        tables = Tables(self.guest, seen.roots)
        before, self.tables = self.tables, tables.frames()
        virtual = [tables.translate(vaddr) for vaddr in seen.virtual]
        return {"page tables": before | self.tables,
                "descriptor tables": tables.descriptors(),
                "seen by virtual address": set().union(*virtual)}


def not_young(frames, young, gone):
    """
    The page frames of one fetched page, if none of them is young.

    The plugin tells the page of QEMU's only.  Where one of its frames may
    have gone since, it may be that one that was fetched: SeaBIOS begins in
    ROM below 1 MiB and then has RAM there, and the same ROM stays mapped
    below 4 GiB.
    """
    return set() if frames & (young | gone) else frames


def describe(found):
    """Some of the page frames that are not as they should be."""
    return "".join(f"\n#  look {look}: pfn " +
                   ("none" if frame is None else f"{frame:#x}")
                   for look, frame in found[:SHOWN])


class ObserverTest(unittest.TestCase):
    """One guest from its first instruction on, under two vCPUs."""

    accel = "age,thread=multi"

    def setUp(self):
        if not images_present(ARGS.arch):
            self.skipTest("no guest images: run scripts/build-guest")
        self.guest = ObservedGuest(ARGS.arch, self.accel, smp=2, memory=512)
        self.addCleanup(self.guest.stop)
        self.guest.start()
        self.observer = Observer(self.guest)
        self.next_look = 0

    def look_now_and_then(self):
        """A look each half second at most: a guest must get on as well."""
        if time.monotonic() >= self.next_look:
            self.observer.look()
            self.next_look = time.monotonic() + PAUSE

    def judge(self):
        """Everything that was seen so far."""
        observer = self.observer
        common.comment(f"{observer.looks} looks")
        for findings in observer.young, observer.dirty:
            findings.report()
            name = findings.name
            self.assertEqual(len(findings.missed), 0,
                             f"used pages that are not {name}:" +
                             describe(findings.missed))
            self.assertLess(len(findings.unknown) * RARE,
                            findings.counts[name],
                            f"{name} pages that nobody used:" +
                            describe(findings.unknown))

    def test_boot_and_work(self):
        """Firmware, kernel, and each kind of access of the workload."""
        self.guest.command("cont")
        self.guest.boot(idle=self.look_now_and_then)
        self.observer.look()
        self.judge()
        self.guest.tell("alloc", AREA_PAGES, "small")
        for i in range(ARGS.rounds):
            self.guest.tell("touch", f"random:{ARGS.seed + i}:500",
                            OPS[i % len(OPS)], 2)
            self.observer.look()
        self.judge()


class SingleThread(ObserverTest):
    """The same with all vCPUs in one thread."""

    accel = "age,thread=single"


if __name__ == "__main__":
    common.run_classes([ObserverTest, SingleThread], ARGS)
