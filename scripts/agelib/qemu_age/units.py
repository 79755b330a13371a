# SPDX-License-Identifier: GPL-2.0-or-later
"""
Sizes, times and addresses, as people read and write them.
"""

import argparse
import re

from .runs import PAGE

SIZES = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30,
         "T": 1 << 40}
TIMES = {"ms": 0.001, "s": 1, "": 1, "m": 60, "min": 60, "h": 3600,
         "d": 86400}


def parse_time(text):
    """Seconds, from 0.5, 500ms, 10s, 2min or 1h."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+) ?([a-z]*)", text)
    if not match or match[2] not in TIMES:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: 0.5, 500ms, 10s, 2min, 1h")
    return float(match[1]) * TIMES[match[2]]


def parse_positive_time(text):
    """Seconds, and not none."""
    seconds = parse_time(text)
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return seconds


def parse_size(text):
    """Bytes, from 4096, 0x1000, 4K, 2MiB or 1G."""
    match = re.fullmatch(r"(0x[0-9a-fA-F]+|[0-9]+)(?:([BKMGT])(?:i?B)?)?",
                         text)
    if not match:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size: 4096, 0x1000, 4K, 2M, 1G")
    return int(match[1], 0) * SIZES[match[2] or ""]


def parse_span(parse):
    """A parser of FROM-TO, where TO may be left out."""
    def span(text):
        low, dash, high = text.partition("-")
        if not dash or not low:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no range: FROM-TO or FROM-")
        low = parse(low)
        high = parse(high) if high else None
        if high is not None and high <= low:
            raise argparse.ArgumentTypeError(f"{text!r} is empty")
        return low, high
    return span


def size_text(size):
    """Bytes in few characters: 12.3 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            break
        size /= 1024
    else:
        unit = "TiB"
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def pages_text(pages):
    """The size of so many pages."""
    return size_text(pages * PAGE)


def time_text(seconds):
    """A time in few characters: 1.5 s, 2 min, 1 h 30 min."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"),
             (whole // 60 % 60, "min"), (whole % 60, "s")]
    shown = [f"{value} {unit}" for value, unit in parts if value]
    return " ".join(shown[:2])
