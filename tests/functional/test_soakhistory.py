#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the soak takes for a history that is right, without a guest.

A history of a few pages has one thing wrong at a time, which must be noticed.
"""

import base64
import unittest

import common

from agelib.qemu.harvest import PAGE
from agelib.qemu.qmp import QMPCommandError
from agelib.soak.check import demand
from agelib.soak.history import (REFUSED, HistoryCheck, Window, pages_from,
                                 pages_of)
from agelib.soak.load import part_pages
from agelib.soak.plugs import SoakError

PAGES = 64
FIRM = pages_from(0, 48 * PAGE)


class FakeHistory:
    """A history of a guest with few pages; @young are those that are so."""

    def __init__(self):
        self.stamps = {}
        self.young = set()
        self.number = self.first = 10

    def stamp(self, *frames):
        """They were made old."""
        self.stamps.update(dict.fromkeys(frames, self.number))

    def command(self, _, arguments, **__):
        """One read."""
        since = arguments.get("since", 0)
        if 0 < since < self.first:
            raise QMPCommandError("age-history-read", {"desc": REFUSED})
        if arguments["harvest"]:
            self.stamp(*self.young)
            self.young = set()
        bits = sum(1 << PAGES - 1 - frame
                   for frame, number in self.stamps.items() if number >= since)
        self.number += 1
        return {"next": self.number, "ranges": [{
            "start": 0, "end": PAGES * PAGE, "bitmap": base64.b64encode(
                bits.to_bytes(PAGES // 8, "little")).decode()}]}


class History(unittest.TestCase):
    """One window: pages 3 and 5 are made old, and 7 is young at the end."""

    def setUp(self):
        self.history = FakeHistory()
        self.window = Window()
        self.checker = HistoryCheck(self.history, self.window, FIRM, demand)
        self.history.stamp(1, 5)
        self.checker.take(0, True)
        self.history.stamp(3, 5)
        self.history.young = {7}
        self.window.cleared = pages_of({3, 5})
        self.window.read(self.history)

    def assert_wrong(self, what):
        """It is noticed."""
        with self.assertRaisesRegex(SoakError, what):
            self.checker.check()

    def test_right(self):
        """Nothing is wrong, now and in the next window."""
        self.assertEqual(self.checker.check(), 0)
        self.checker.take(pages_of({7}), True)
        self.assertEqual(self.checker.check(), 0)

    def test_old_number(self):
        """A page was made old, and was not stamped."""
        self.history.stamps[5] = 10
        self.window.told = pages_of({3})
        self.assert_wrong("older numbers")

    def test_forgotten(self):
        """Of a page that is gone the history knows nothing."""
        del self.history.stamps[5]
        self.assertEqual(self.checker.check(), 1)

    def test_invented(self):
        """A page is told that nobody made old."""
        self.history.stamp(9)
        self.assert_wrong("not cleared")

    def test_inexact(self):
        """The fallback does not say which pages it made old."""
        self.history.stamp(9)
        self.window.exact = False
        self.assertEqual(self.checker.check(), 0)

    def test_reader(self):
        """The reader was not told what is told of the whole window."""
        self.window.told = pages_of({3})
        self.assert_wrong("not told to the reader")

    def test_aliases(self):
        """Of other pages nothing is known."""
        self.history.stamp(50)
        self.assertEqual(self.checker.check(), 0)

    def test_young(self):
        """What is young is told, and nothing else unless others run."""
        self.history.young = {8}
        with self.assertRaisesRegex(SoakError, "were not told"):
            self.checker.take(pages_of({7}), False)
        self.history.young = {7, 8}
        with self.assertRaisesRegex(SoakError, "were not young"):
            self.checker.take(pages_of({7}), True)
        self.history.young = {7, 8}
        self.checker.take(pages_of({7}), False)

    def test_loaded(self):
        """Numbers of before a load are given up, and nothing is held."""
        self.history.number += 1
        self.history.first = self.history.number
        self.history.stamps = {}
        self.assertEqual(self.checker.check(), 0)
        self.assertIsNone(self.window.since)


class Parts(unittest.TestCase):
    """What a harvest told of a range, as bits: the last page is bit 0."""

    def test_formats(self):
        """Runs and bitmaps are the same."""
        asked = {"start": 0, "end": 8 * PAGE}
        runs = {"runs": [{"start": PAGE, "end": 3 * PAGE}]}
        bitmap = {"bitmap": base64.b64encode(bytes([0x9f])).decode()}
        self.assertEqual(part_pages(asked, runs, 2), (2, 0x60))
        self.assertEqual(part_pages(asked, bitmap, 2), (2, 0x60))

    def test_mask(self):
        """What was only tested is found, and not made old."""
        asked = {"start": 0, "end": 8 * PAGE,
                 "bitmap": base64.b64encode(bytes([0x20])).decode()}
        part = {"bitmap": base64.b64encode(bytes([0x40])).decode()}
        self.assertEqual(part_pages(asked, part, 2), (2, 0x20))

    def test_place(self):
        """Ranges and frames have their places among all memory."""
        self.assertEqual(pages_from(3 * PAGE, 5 * PAGE), pages_of({3, 4}))


if __name__ == "__main__":
    common.run_classes([History, Parts])
