# SPDX-License-Identifier: GPL-2.0-or-later
"""
Arm's VMSAv8-64 stage 2 translation tables, with pages of 4 KiB.

Arm Architecture Reference Manual (DDI 0487), "VMSAv8-64 translation table
format descriptors", "Concatenated translation tables", "Stage 2 memory region
type and cacheability attributes", and the registers VTCR_EL2 and VTTBR_EL2.
52-bit addresses are not known here, nor is what HCR_EL2.FWB would change.
"""

from .entry import Entry, TablesError, bits, field, height_shift

VALID = 1 << 0
TABLE = 1 << 1          # a page at level 3
READ = 1 << 6
WRITE = 1 << 7
ACCESSED = 1 << 10
FNXS = 1 << 11
NT = 1 << 16
DBM = 1 << 51
CONTIGUOUS = 1 << 52
ADDRESS = bits(47, 12)

# Of VTCR_EL2, with their highest and lowest bits
FIELDS = {"T0SZ": (5, 0), "SL0": (7, 6), "IRGN0": (9, 8), "ORGN0": (11, 10),
          "SH0": (13, 12), "TG0": (15, 14), "PS": (18, 16), "VS": (19, 19),
          "HA": (21, 21), "HD": (22, 22), "RES1": (31, 31), "HAFT": (44, 44)}
DS_SL2 = bits(33, 32)

# Height of the root by SL0
ROOT_HEIGHTS = (1, 2, 3, 0)
MOST_TABLES_SHIFT = 4

DEVICES = ("Device-nGnRnE", "Device-nGnRE", "Device-nGRE", "Device-GRE")
CACHES = {1: "NC", 2: "WT", 3: "WB"}
SHARING = {0: "NSH", 2: "OSH", 3: "ISH"}
EXECUTE = (True, "EL0", False, "EL1")


class Stage2:
    """The format, as VTCR_EL2 and VTTBR_EL2 choose it."""

    name = "stage2"

    def __init__(self, vttbr, vtcr):
        self.vttbr, self.vtcr = vttbr, vtcr
        self.fields = {name: field(vtcr, *place)
                       for name, place in FIELDS.items()}
        if self.fields["TG0"] or vtcr & DS_SL2:
            raise TablesError(f"VTCR_EL2 {vtcr:#x}: only pages of 4 KiB and "
                              "48-bit addresses are known here")
        self.hardware_dirty = bool(self.fields["HA"] and self.fields["HD"])
        self.address_bits = 64 - self.fields["T0SZ"]
        self.root_height = ROOT_HEIGHTS[self.fields["SL0"]]
        self.root_tables = self._root_tables()
        self.root = vttbr & bits(47, 12)
        if self.root % (self.root_tables << 12):
            raise TablesError(f"VTTBR_EL2 {vttbr:#x}: a root of "
                              f"{self.root_tables} tables must be aligned to "
                              "its size")

    def _root_tables(self):
        """How many tables stand side by side, from the bits they resolve."""
        resolved = self.address_bits - height_shift(self.root_height)
        further = resolved - 9
        if resolved < 1 or further > MOST_TABLES_SHIFT or \
                self.address_bits > 48:
            raise TablesError(
                f"VTCR_EL2 {self.vtcr:#x}: {self.address_bits} bits can't "
                f"start at level {self.level(self.root_height)}")
        return 1 << max(further, 0)

    def describe(self):
        """What the registers say, in lines of text."""
        known = sum(bits(*place) for place in FIELDS.values())
        fields = [f"{name}={value}" for name, value in self.fields.items()]
        if self.vtcr & ~known:
            fields.append(f"others={self.vtcr & ~known:#x}")
        count = self.root_tables
        side = f", {count} tables side by side" if count > 1 else ""
        return [f"Stage 2: root at level {self.level(self.root_height)} for "
                f"{self.address_bits} bits of guest-physical address{side}",
                f"VTTBR_EL2 {self.vttbr:#x}: root at {self.root:#x}, "
                f"VMID={field(self.vttbr, 63, 48)} CnP={self.vttbr & 1}",
                f"VTCR_EL2 {self.vtcr:#x}: " + " ".join(fields)]

    @staticmethod
    def level(height):
        """The manual's number for a level."""
        return 3 - height

    def decode(self, value, height):
        """An entry taken apart; None if it is not valid."""
        if not value & VALID:
            return None
        if not value & TABLE:
            # A block; levels 0 and 3 have none.
            return self._leaf(value, height) if height in (1, 2) else None
        return self._table(value, height) if height else \
            self._leaf(value, height)

    def _leaf(self, value, height):
        """A block or a page."""
        shift = height_shift(height)
        managed = self.hardware_dirty and bool(value & DBM)
        return Entry(
            gpa=0, size=1 << shift, height=height, level=self.level(height),
            index=0, value=value, present=True, leaf=True,
            read=bool(value & READ), write=managed or bool(value & WRITE),
            execute=EXECUTE[field(value, 54, 53)],
            accessed=bool(value & ACCESSED),
            dirty=bool(value & WRITE) if managed else None,
            address=value & bits(47, shift), memory_type=memory_type(value),
            software=value & bits(63, 55), hints=hints(value, height),
            problems=leaf_problems(value, shift))

    def _table(self, value, height):
        """The entry of a table of the next level."""
        haft = self.fields["HA"] and self.fields["HAFT"]
        ignored = (bits(58, 51) | bits(11, 2)) & ~(ACCESSED if haft else 0)
        return Entry(
            gpa=0, size=1 << height_shift(height), height=height,
            level=self.level(height), index=0, value=value, present=True,
            leaf=False, read=True, write=True, execute=True,
            accessed=bool(value & ACCESSED) if haft else None, dirty=None,
            address=value & ADDRESS, memory_type="",
            software=value & ignored, hints=(),
            problems=("reserved bits",)
            if value & (bits(50, 48) | bits(63, 59)) else ())


def memory_type(value):
    """The manual's names for MemAttr and SH."""
    outer, inner = field(value, 5, 4), field(value, 3, 2)
    if not outer:
        return DEVICES[inner]
    name = CACHES[outer]
    if inner != outer:
        name += f"/{CACHES.get(inner, 'reserved')}"
    return f"{name} {SHARING.get(field(value, 9, 8), 'reserved')}"


def hints(value, height):
    """What else is to be said of a leaf."""
    found = []
    if value & CONTIGUOUS:
        found.append("contiguous")
    if value & FNXS:
        found.append("FnXS")
    if height and value & NT:
        found.append("nT")
    return tuple(found)


def leaf_problems(value, shift):
    """What a leaf must not have."""
    reserved = bits(50, 48) | (bits(shift - 1, 12) & ~NT if shift > 12 else 0)
    found = []
    if value & reserved:
        found.append("reserved bits")
    if "reserved" in memory_type(value):
        found.append("reserved memory type")
    return tuple(found)
