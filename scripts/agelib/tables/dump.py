# SPDX-License-Identifier: GPL-2.0-or-later
"""
Second-stage page tables, from a file that ``age-dump-tables`` wrote.

Entries are decoded by the manuals alone, and share nothing with the
accelerator, so that one can be held against the other.  ``ept.py`` and
``stage2.py`` have the formats, ``qapi/age.json`` the layout of the file.
"""

import struct
from dataclasses import dataclass

from .entry import ENTRIES, LEVEL_SHIFT, TablesError, height_shift
from .ept import Ept
from .stage2 import Stage2

MAGIC = b"AGETABLE"
VERSION = 1
HEADER = struct.Struct("<8s5Q")
TABLE = struct.Struct("<513Q")


@dataclass
class LevelSummary:
    """What there is on a level: tables, and leaves in them."""

    level: int
    height: int
    tables: int = 0
    leaves: int = 0
    young: int = 0
    dirty: int = 0

    def add(self, leaf):
        """Counts a leaf."""
        self.leaves += 1
        self.young += bool(leaf.accessed)
        self.dirty += bool(leaf.dirty)


class Dump:
    """
    The tables of one address space.

    @format is that of the entries, from the registers in the header;
    @tables has the 512 entries of each table by its address.
    """

    def __init__(self, data):
        eptp, vttbr, vtcr, count = self._header(data)
        self.format = pick_format(eptp, vttbr, vtcr)
        self.tables = self._tables(data, count)

    @classmethod
    def load(cls, path):
        """The tables in a file."""
        with open(path, "rb") as file:
            return cls(file.read())

    def entries(self):
        """
        All entries that say something, by ascending address.

        The entry of a table comes right before what is in the table.
        """
        reached = set()
        for i in range(self.format.root_tables):
            table = self.format.root + i * 8 * ENTRIES
            base = i << height_shift(self.format.root_height + 1)
            origin = f"table {i} of the root"
            yield from self._below(table, self.format.root_height, base,
                                   origin, reached)
        if len(reached) != len(self.tables):
            stray = min(set(self.tables) - reached)
            raise TablesError(f"nothing points to the table at {stray:#x}")

    def leaves(self):
        """The leaves, by ascending address."""
        return (entry for entry in self.entries() if entry.leaf)

    def lookup(self, gpa):
        """The entries that translate an address, the root's first."""
        found = []
        height = self.format.root_height
        index = gpa >> height_shift(height)
        table = self.format.root + (index >> LEVEL_SHIFT) * 8 * ENTRIES
        if gpa >> self.format.address_bits:
            raise TablesError(f"{gpa:#x} is beyond what the tables translate")
        while True:
            shift = height_shift(height)
            entry = self._entry(table, (gpa >> shift) % ENTRIES, height,
                                gpa >> shift << shift)
            if entry:
                found.append(entry)
            if not entry or entry.leaf:
                return found
            table, height = entry.address, height - 1

    def summary(self):
        """What there is on each level, from the root down."""
        levels = {height: LevelSummary(self.format.level(height), height)
                  for height in range(self.format.root_height, -1, -1)}
        levels[self.format.root_height].tables = self.format.root_tables
        for entry in self.entries():
            if entry.leaf:
                levels[entry.height].add(entry)
            else:
                levels[entry.height - 1].tables += 1
        return list(levels.values())

    def _below(self, table, height, base, origin, reached):
        """The entries of a table and of those below it."""
        if table not in self.tables:
            raise TablesError(f"{origin} should be at {table:#x}, but is not "
                              "in the file")
        if table in reached:
            raise TablesError(f"two entries point to the table at {table:#x}")
        reached.add(table)
        shift = height_shift(height)
        for index in range(ENTRIES):
            gpa = base + (index << shift)
            entry = None
            # A root need not be used up to its end.
            if not gpa >> self.format.address_bits:
                entry = self._entry(table, index, height, gpa)
            if not entry:
                continue
            yield entry
            if not entry.leaf:
                yield from self._below(
                    entry.address, height - 1, entry.gpa,
                    f"the table of level {self.format.level(height - 1)} for "
                    f"{entry.gpa:#x}", reached)

    def _entry(self, table, index, height, gpa):
        value = self.tables[table][index]
        entry = self.format.decode(value, height) if value else None
        if entry:
            entry.gpa, entry.index = gpa, index
        return entry

    @staticmethod
    def _header(data):
        if data[:len(MAGIC)] != MAGIC:
            raise TablesError("this is no file of age-dump-tables")
        if len(data) < HEADER.size:
            raise TablesError("the file ends within its header")
        _, version, eptp, vttbr, vtcr, count = HEADER.unpack_from(data)
        if version != VERSION:
            raise TablesError(f"version {version} of the file's format is not "
                              "known here")
        return eptp, vttbr, vtcr, count

    @staticmethod
    def _tables(data, count):
        size = HEADER.size + count * TABLE.size
        if len(data) < size:
            raise TablesError(f"the file is cut off: {len(data)} bytes, and "
                              f"{count} tables take {size}")
        if len(data) > size:
            raise TablesError(f"{len(data) - size} bytes behind the last table")
        tables = {}
        for address, *entries in TABLE.iter_unpack(data[HEADER.size:]):
            if address in tables:
                raise TablesError(f"the table at {address:#x} is there twice")
            tables[address] = entries
        return tables


def pick_format(eptp, vttbr, vtcr):
    """The format that the registers in a header are of."""
    if eptp and not vttbr and not vtcr:
        return Ept(eptp)
    if vtcr and not eptp:
        return Stage2(vttbr, vtcr)
    raise TablesError("the header has neither an EPTP nor a VTCR_EL2, or both")


def same_kind(a, b):
    """Whether leaves differ in nothing but in what they map where."""
    return (a.height == b.height and a.present == b.present and
            (a.read, a.write, a.execute) == (b.read, b.write, b.execute) and
            (a.accessed, a.dirty) == (b.accessed, b.dirty) and
            (a.memory_type, a.software) == (b.memory_type, b.software) and
            (a.hints, a.problems) == (b.hints, b.problems))


def merge(leaves):
    """
    Runs of leaves of one kind, as (first, last) of each.

    Addresses go up in step, those of the guest as those of the host.
    """
    first = last = None
    for leaf in leaves:
        if last and same_kind(last, leaf) and leaf.gpa == last.end and \
                leaf.address == last.address + last.size:
            last = leaf
            continue
        if first:
            yield first, last
        first = last = leaf
    if first:
        yield first, last
