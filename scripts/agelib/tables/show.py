# SPDX-License-Identifier: GPL-2.0-or-later
"""
Print the page tables that the QMP command age-dump-tables wrote to a file.

Entries are decoded as the manuals have them: Intel EPT, Arm stage 2.  Leaves of
one kind side by side make one line, which shows the raw value of the first.
A is the accessed flag, D the dirty flag, "." where there is none.
"""

from .dump import Dump, merge
from .entry import height_shift

UNITS = ["", "K", "M", "G", "T", "P"]

COLUMNS = (f"{'GPA range':31} {'level':>5} {'size':>9}  "
           f"{'frame or table':16} RWX  {'memory':14} AD  raw")


def add_arguments(parser):
    """What can be asked for, and the file."""
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--leaves", action="store_true",
                       help="a line for each leaf")
    shown.add_argument("--tables", action="store_true",
                       help="the entries that point to tables as well, and a "
                            "line for each leaf")
    shown.add_argument("--summary", action="store_true",
                       help="only how many there are, level by level")
    parser.add_argument("file", metavar="FILE",
                        help="what age-dump-tables wrote")


def size_text(size):
    """A power of two in few characters."""
    unit = (size.bit_length() - 1) // 10
    return f"{size >> unit * 10}{UNITS[unit]}"


def flag(value, letter):
    """A flag that is set, clear, or not there."""
    return "." if value is None else letter if value else "-"


def execute_text(value):
    """X or not; Arm can make a difference between exception levels."""
    return {True: "X", False: "-", "EL0": "0", "EL1": "1"}[value]


def line(first, last=None):
    """An entry, or a run of leaves."""
    end = (last or first).end
    count = (end - first.gpa) // first.size
    size = size_text(first.size) + (f"*{count}" if count > 1 else "")
    rights = flag(first.read, "R") + flag(first.write, "W") + \
        execute_text(first.execute)
    notes = list(first.hints) + [f"!{text}" for text in first.problems]
    if first.software:
        notes.append(f"software:{first.software:#x}")
    return (f"{first.gpa:015x}-{end:015x} {first.level:5} {size:>9}  "
            f"{first.address:016x} {rights}  "
            f"{first.memory_type if first.leaf else 'table':14} "
            f"{flag(first.accessed, 'A')}{flag(first.dirty, 'D')}  "
            f"{first.value:016x}  {' '.join(notes)}").rstrip()


def print_summary(dump):
    """Numbers, level by level."""
    print(f"{'level':>5} {'size':>5} {'tables':>8} {'leaves':>10} "
          f"{'young':>10} {'dirty':>10}")
    for level in dump.summary():
        print(f"{level.level:5} {size_text(1 << height_shift(level.height)):>5}"
              f" {level.tables:8} {level.leaves:10} {level.young:10} "
              f"{level.dirty:10}")


def print_tables(dump, args):
    """A line for each entry or run, as was asked for."""
    print(COLUMNS)
    if args.tables:
        pairs = ((entry, None) for entry in dump.entries())
    elif args.leaves:
        pairs = ((leaf, None) for leaf in dump.leaves())
    else:
        pairs = merge(dump.leaves())
    for first, last in pairs:
        print(line(first, last))


def show(args):
    """Prints what the command line asks for."""
    dump = Dump.load(args.file)
    print("\n".join(dump.format.describe()) + "\n")
    if args.summary:
        print_summary(dump)
    else:
        print_tables(dump, args)
