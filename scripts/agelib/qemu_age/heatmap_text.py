# SPDX-License-Identifier: GPL-2.0-or-later
"""
The heat map in a terminal: a digit a field, on one of 256 colours.

Digits go by powers of two, so that a small hot set in a large memory is not
lost: 9 is half of the pages and more, 8 a quarter, and 0 anything at all.
"""

import math

from ..terminal import WIDTH
from .runs import PAGE
from .units import size_text, time_text

GRADES = 10

# From dark blue over violet and red to yellow: the colour cube of xterm
HOT = (17, 18, 54, 90, 126, 162, 197, 203, 209, 226)
GREY = (233, 235, 237, 239, 241, 243, 246, 249, 252, 255)
PALETTES = {"hot": HOT, "grey": GREY}

# Columns of the times, and between two addresses
LABEL = 10
MARK = 16


def grade(share):
    """The digit of a share, None for nothing at all."""
    if not share > 0:
        return None
    return max(GRADES + math.floor(math.log2(min(share, 0.999))), 0)


def field(share, palette, colour):
    """One field."""
    if math.isnan(share):
        return "?"
    level = grade(share)
    if level is None:
        return " " if colour else "."
    if not colour:
        return str(level)
    ink = 16 if level > 6 else 250
    return f"\033[48;5;{palette[level]};38;5;{ink}m{level}\033[0m"


def axis(heat_map):
    """The line of addresses, and the marks that show where they are."""
    columns = len(heat_map.positions) - 1
    width = max(columns, WIDTH - LABEL - 1)
    marks, labels = [" "] * columns, [" "] * width
    for column in range(0, columns, MARK):
        text = f"{heat_map.address(column):#x}"
        if column + len(text) <= width:
            marks[column] = "|"
            labels[column:column + len(text)] = text
    return "".join(marks).rstrip(), "".join(labels).rstrip()


def legend(heat_map, palette, colour):
    """What the digits mean."""
    rows, columns = heat_map.heat.shape
    shares = [2.0 ** (level - GRADES) for level in range(GRADES)]
    fields = " ".join(
        f"{field(share * 1.01, palette, colour)} {share * 100:.2g}%"
        for share in shares[1:])
    width = size_text((heat_map.positions[-1] / columns) * PAGE)
    height = time_text((heat_map.times[-1] - heat_map.times[0]) / rows)
    return [f"A field is {height} of {width}; share of its pages "
            f"{heat_map.what} in a harvest:",
            f"{field(0.0005, palette, colour)} less {fields}"]


def lines(heat_map, palette="hot", colour=True):
    """The map, with axes and legend."""
    marks, labels = axis(heat_map)
    yield f"{'time':>{LABEL}} address"
    yield " " * (LABEL + 1) + labels
    yield " " * (LABEL + 1) + marks
    for row, begin in zip(heat_map.heat.tolist(), heat_map.times.tolist()):
        fields = "".join(field(share, PALETTES[palette], colour)
                         for share in row)
        yield f"{time_text(begin) if begin else '0 s':>{LABEL}} {fields}"
    yield ""
    yield from legend(heat_map, PALETTES[palette], colour)
