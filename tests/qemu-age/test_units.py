#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Sizes, times and addresses, as they are read and written.
"""

import argparse
import unittest

from fakes import PAGE

import common

from agelib.qemu_age import units


class Reading(unittest.TestCase):
    """What people type."""

    def check(self, parse, good, bad):
        """Some texts have values, others are refused."""
        for text, value in good.items():
            self.assertEqual(parse(text), value, text)
        for text in bad:
            with self.assertRaises(argparse.ArgumentTypeError, msg=text):
                parse(text)

    def test_time(self):
        self.check(units.parse_time,
                   {"0": 0, "0.5": 0.5, ".5s": 0.5, "500ms": 0.5, "10s": 10,
                    "2min": 120, "2m": 120, "1h": 3600, "1 h": 3600,
                    "1d": 86400},
                   ["", "x", "1x", "-1", "1e3", "1.2.3", "s"])

    def test_positive_time(self):
        self.check(units.parse_positive_time, {"1ms": 0.001},
                   ["0", "0s", "x"])

    def test_size(self):
        self.check(units.parse_size,
                   {"0": 0, "4096": 4096, "0x1000": 4096, "4K": 4096,
                    "2M": 2 << 20, "2MiB": 2 << 20, "2MB": 2 << 20,
                    "1G": 1 << 30, "3T": 3 << 40, "7B": 7},
                   ["", "x", "1.5G", "-1", "0xg", "1P", "4k"])

    def test_span(self):
        self.check(units.parse_span(units.parse_size),
                   {"0-4K": (0, 4096), "1M-": (1 << 20, None)},
                   ["1M", "-1M", "2M-1M", "1M-1M", "", "-"])


class Writing(unittest.TestCase):
    """What they are shown."""

    def test_size(self):
        for size, text in ((0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"),
                           (1536 << 20, "1.5 GiB"), (5 << 40, "5.0 TiB"),
                           (5000 << 40, "5000.0 TiB"), (3 * PAGE, "12.0 KiB")):
            self.assertEqual(units.size_text(size), text)

    def test_time(self):
        for seconds, text in ((0.0000125, "0.0125 ms"), (0.5, "500 ms"),
                              (0.9999, "1 s"), (1.25, "1.25 s"),
                              (59.9, "59.9 s"), (60, "1 min"),
                              (90, "1 min 30 s"), (3600, "1 h"),
                              (3661, "1 h 1 min"), (90000, "1 d 1 h")):
            self.assertEqual(units.time_text(seconds), text)


def main():
    """Runs everything."""
    common.run_classes([Reading, Writing])


if __name__ == "__main__":
    main()
