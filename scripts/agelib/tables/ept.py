# SPDX-License-Identifier: GPL-2.0-or-later
"""
Intel's extended page tables.

Intel SDM volume 3, "The Extended Page Table Mechanism (EPT)": the formats of
the entries, "Extended-Page-Table Pointer (EPTP)", "EPT Misconfigurations" and
"Accessed and Dirty Flags for EPT".  Bits that mean something only where a
VM-execution control says so are ignored here, as all these controls are off.

Without accessed flags software may keep track of accesses by taking away all
permissions.  For hardware nothing is there then, and 63 bits are software's.
How they are used is told in Linux's arch/x86/kvm/mmu/spte.h: bit 11 says that
something is there, bits 54 and 56 keep R and X, bit 58 says that W may come
back.
"""

from .entry import Entry, TablesError, bits, field, height_shift

READ, WRITE, EXECUTE = 1 << 0, 1 << 1, 1 << 2
IGNORE_PAT = 1 << 6
LARGE = 1 << 7
ACCESSED = 1 << 8
DIRTY = 1 << 9
ADDRESS = bits(51, 12)

SOFT_PRESENT = 1 << 11
SOFT_READ, SOFT_EXECUTE = 1 << 54, 1 << 56
SOFT_WRITE = 1 << 58

MEMORY_TYPES = {0: "UC", 1: "WC", 4: "WT", 5: "WP", 6: "WB"}
LARGEST_LEAF = 2


class Ept:
    """The format, as the EPT pointer chooses it."""

    name = "ept"
    root_tables = 1

    def __init__(self, eptp):
        self.eptp = eptp
        levels = field(eptp, 5, 3) + 1
        if levels not in (4, 5):
            raise TablesError(f"EPTP {eptp:#x}: {levels} levels; there are 4 "
                              "or 5")
        if field(eptp, 2, 0) not in (0, 6):
            raise TablesError(f"EPTP {eptp:#x}: memory type "
                              f"{field(eptp, 2, 0)}; there are 0 and 6")
        if field(eptp, 11, 8) or field(eptp, 63, 52):
            raise TablesError(f"EPTP {eptp:#x}: reserved bits are set")
        self.flags = bool(field(eptp, 6, 6))
        self.root = eptp & ADDRESS
        self.root_height = levels - 1
        self.address_bits = height_shift(levels)

    def describe(self):
        """What the registers say, in lines of text."""
        tables = "write-back" if field(self.eptp, 2, 0) == 6 else "uncacheable"
        flags = "accessed and dirty flags" if self.flags else \
            "no accessed or dirty flags"
        return [f"EPT: {self.root_height + 1} levels for {self.address_bits} "
                "bits of guest-physical address",
                f"EPTP {self.eptp:#x}: root at {self.root:#x}, tables are "
                f"{tables}, {flags}"]

    @staticmethod
    def level(height):
        """The manual's number for a level."""
        return height + 1

    def decode(self, value, height):
        """An entry taken apart; None if it says nothing."""
        leaf = height == 0 or \
            height <= LARGEST_LEAF and bool(value & LARGE)
        present = bool(value & (READ | WRITE | EXECUTE))
        if not present and not (leaf and value & SOFT_PRESENT):
            return None
        return Entry(
            gpa=0, size=1 << height_shift(height), height=height,
            level=self.level(height), index=0, value=value, present=present,
            leaf=leaf, read=bool(value & READ), write=bool(value & WRITE),
            execute=bool(value & EXECUTE),
            accessed=self._accessed(value, leaf, present),
            dirty=bool(value & DIRTY) if leaf and self.flags else None,
            address=value & ADDRESS & leaf_mask(leaf, height),
            memory_type=memory_type(value) if leaf else "",
            software=value & self._ignored(leaf, height),
            hints=hints(value, leaf, present),
            problems=problems(value, leaf, height) if present else ())

    def _accessed(self, value, leaf, present):
        """By hardware's flag, or else what software took for one."""
        if self.flags:
            return bool(value & ACCESSED)
        return present if leaf else None

    def _ignored(self, leaf, height):
        """The bits that hardware ignores in an entry that is present."""
        ignored = bits(63, 52) | bits(11, 10)
        if not self.flags:
            ignored |= ACCESSED | DIRTY
        if not leaf:
            ignored |= DIRTY
        elif not height:
            ignored |= LARGE
        return ignored


def leaf_mask(leaf, height):
    """The bits that a leaf's frame can have."""
    return -1 << height_shift(height) if leaf else -1


def memory_type(value):
    """The manual's name for a leaf's memory type."""
    return MEMORY_TYPES.get(field(value, 5, 3), "reserved")


def hints(value, leaf, present):
    """What else is to be said of an entry."""
    found = []
    if leaf and value & IGNORE_PAT:
        found.append("ignore-PAT")
    if not present:
        kept = "".join(letter if value & bit else "-" for letter, bit in
                       (("R", SOFT_READ), ("W", SOFT_WRITE),
                        ("X", SOFT_EXECUTE)))
        found.append(f"tracked:{kept}")
    return tuple(found)


def problems(value, leaf, height):
    """What makes an entry that is present a misconfiguration."""
    found = []
    if value & WRITE and not value & READ:
        found.append("W without R")
    if leaf:
        reserved = bits(height_shift(height) - 1, 12) if height else 0
    else:
        reserved = bits(7, 3)
    if value & reserved:
        found.append("reserved bits")
    if leaf and memory_type(value) == "reserved":
        found.append("reserved memory type")
    return tuple(found)
