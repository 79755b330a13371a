# SPDX-License-Identifier: GPL-2.0-or-later
"""
A page table entry taken apart, whatever its format.
"""

from dataclasses import dataclass

ENTRIES = 512
PAGE_SHIFT = 12
LEVEL_SHIFT = 9


class TablesError(Exception):
    """These are no tables, or not all of them."""


@dataclass(slots=True)
class Entry:
    """
    An entry that says something, be it only to software.

    @gpa and @size are what it covers; @height is 0 where pages are, and
    counts up to the root; @level counts as the manual does.  @address is the
    frame of a leaf, or the next table.

    @present says whether hardware can use it.  A leaf that is not present
    was kept by software, which took its permissions away.

    @read, @write and @execute are what the entry alone permits; @execute is
    the manual's word for it if that is neither all nor nothing.  @dirty is
    None where there is no such thing as a dirty flag.

    @software are the bits that hardware ignores, @problems what the manual
    forbids, or makes a fault of.
    """

    gpa: int
    size: int
    height: int
    level: int
    index: int
    value: int
    present: bool
    leaf: bool
    read: bool
    write: bool
    execute: bool | str
    accessed: bool
    dirty: bool | None
    address: int
    memory_type: str
    software: int
    hints: tuple
    problems: tuple

    @property
    def end(self):
        """The address behind what it covers."""
        return self.gpa + self.size


def field(value, high, low):
    """Bits @high to @low of a value, as manuals write it."""
    return value >> low & (1 << high - low + 1) - 1


def bits(high, low):
    """A mask of the bits @high to @low."""
    return (1 << high + 1) - (1 << low)


def height_shift(height):
    """log2 of what an entry covers."""
    return PAGE_SHIFT + LEVEL_SHIFT * height
