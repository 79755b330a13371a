#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Sets of pages, the layout of memory, and guests that are harvested.
"""

import random
import unittest
from pathlib import Path

import fakes
from fakes import PAGE, FakeGuest, FakeSocket, frames, slot

import common

from agelib.qemu_age import runs, source
from agelib.qemu_age.layout import Layout, LayoutError
from agelib.qemu_age.source import QMPSource, SourceError


def sample(rng, top=200):
    """A random set of page frames, with neighbours in it."""
    return {frame for start in rng.choices(range(top), k=rng.randrange(9))
            for frame in range(start, start + rng.randrange(1, 12))}


class Runs(unittest.TestCase):
    """Vectors against sets."""

    def test_sets(self):
        rng = random.Random(1)
        for _ in range(500):
            a, b = sample(rng), sample(rng)
            left, right = runs.from_frames(a), runs.from_frames(b)
            self.assertEqual(frames(left), a)
            self.assertEqual(set(runs.frames_of(left).tolist()), a)
            self.assertEqual(runs.count(left), len(a))
            self.assertEqual(frames(runs.intersect(left, right)), a & b)
            self.assertEqual(frames(runs.union([left, right])), a | b)
            self.assertEqual(frames(runs.subtract(left, right)), a - b)
            self.assertEqual(runs.from_deltas(runs.to_deltas(left)).tolist(),
                             left.tolist())

    def test_union_is_proper(self):
        """Neighbours and overlaps become one row."""
        rows = runs.np.array([[5, 6], [0, 3], [2, 4], [4, 5], [9, 9]])
        self.assertEqual(runs.union([rows]).tolist(), [[0, 6]])

    def test_bitmap(self):
        rng = random.Random(2)
        for _ in range(200):
            start = rng.randrange(50)
            end = start + rng.randrange(1, 100)
            young = {frame for frame in sample(rng) if start <= frame < end}
            for ones in (True, False):
                text = fakes.encode(young, start * PAGE, end * PAGE, ones)
                found = runs.from_bitmap(start * PAGE, end * PAGE, text, ones)
                self.assertEqual(frames(found), young)

    def test_bad_bitmap(self):
        for text, error in (("AA==", "only 8 bits for 9 pages"),
                            ("A", "not base64")):
            with self.assertRaisesRegex(runs.RunsError, error):
                runs.from_bitmap(0, 9 * PAGE, text)

    def test_bad_deltas(self):
        for deltas in ([1], [1, 0], [1, 2, 0, 4], [-1, 2], [5, 1, -3, 1]):
            with self.assertRaises(runs.RunsError):
                runs.from_deltas(deltas)


class Layouts(unittest.TestCase):
    """Page frames and positions."""

    SLOTS = [slot(0, 0xa0000), slot(0x100000, 0x100000),
             slot(0x200000, 0x100000, backend="fast", node=1),
             slot(0, 0x300000, "other", "smm"),
             slot(0x1000000, 0x8000, "rom")]

    def test_parts(self):
        layout = Layout.from_slots(self.SLOTS)
        self.assertEqual(
            [(part.start, part.end, part.name, part.node, part.space)
             for part in layout.parts],
            [(0, 0xa0, "ram", None, "memory"),
             (0xa0, 0x100, "other", None, "smm"),
             (0x100, 0x200, "ram", None, "memory"),
             (0x200, 0x300, "fast", 1, "memory"),
             (0x1000, 0x1008, "rom", None, "memory")])
        self.assertEqual(layout.pages, 0x308)
        self.assertEqual(layout.stretches.tolist(),
                         [[0, 0x300], [0x1000, 0x1008]])
        self.assertEqual(Layout.from_json(layout.json()), layout)
        later = [part | {"hello": 1} for part in layout.json()]
        self.assertEqual(Layout.from_json(later), layout)

    def test_positions(self):
        """There and back, and without what is in a hole."""
        layout = Layout.from_slots([slot(4 * PAGE, 10 * PAGE),
                                    slot(50 * PAGE, 7 * PAGE),
                                    slot(90 * PAGE, 20 * PAGE)])
        there = [*range(4, 14), *range(50, 57), *range(90, 110)]
        rng = random.Random(3)
        for _ in range(300):
            some = sample(rng, 120)
            positions = layout.positions(runs.from_frames(some))
            self.assertEqual({there[i] for i in frames(positions)},
                             some & set(there))
            self.assertEqual(frames(layout.frames(positions)),
                             some & set(there))

    def test_changed(self):
        """What is plugged, unplugged and exchanged."""
        old = Layout.from_slots([slot(0, 10 * PAGE),
                                 slot(10 * PAGE, 5 * PAGE, "rom"),
                                 slot(40 * PAGE, 5 * PAGE, "dimm")])
        new = Layout.from_slots([slot(0, 12 * PAGE),
                                 slot(12 * PAGE, 8 * PAGE, "rom")])
        self.assertEqual(old.changed(new).tolist(), [[10, 12], [40, 45]])
        self.assertEqual(new.changed(old).tolist(), [[10, 12], [15, 20]])
        self.assertEqual([(part.start, part.end, part.name)
                          for part in new.over(old).parts],
                         [(0, 12, "ram"), (12, 20, "rom"), (40, 45, "dimm")])

    def test_select(self):
        layout = Layout.from_slots(self.SLOTS)
        self.assertEqual(layout.select(name="fast").pages, 0x100)
        self.assertEqual(layout.select(node=1).pages, 0x100)
        self.assertEqual(layout.select(name="ram").pages, 0x1a0)
        self.assertEqual(
            layout.select(addresses=(0x1ff001, 0x201000)).stretches.tolist(),
            [[0x1ff, 0x201]])
        with self.assertRaisesRegex(LayoutError, "fast, other, ram, rom; "
                                    "node 1; 0x0-0x1008000"):
            layout.select(node=7)


class Sources(unittest.TestCase):
    """A guest behind a socket."""

    SLOTS = [slot(0, 0x100000), slot(0x400000, 0x200000)]

    def open(self, guest):
        """A source for a made-up guest."""
        server = FakeSocket(guest)
        self.addCleanup(server.close)
        found = QMPSource.open(server.path)
        self.addCleanup(found.close)
        return found

    def test_harvest(self):
        """What is young is told once, as runs or as a bitmap."""
        guest = FakeGuest(self.SLOTS)
        for max_runs in (3500, 1):
            guest.max_runs = max_runs
            guest.young = {0, 1, 5, 0xff, 0x400, 0x5ff}
            guest.dirty = {1, 0x400}
            with self.open(guest) as found:
                harvest = found.harvest(dirty=True)
                self.assertEqual(frames(harvest.young),
                                 {0, 1, 5, 0xff, 0x400, 0x5ff})
                self.assertEqual(frames(harvest.dirty), {1, 0x400})
                self.assertEqual(runs.count(harvest.lost), 0)
                self.assertEqual((harvest.end_ns - harvest.begin_ns,
                                  harvest.cost_ns), (10 ** 9 + 1000, 2000))
                self.assertEqual(runs.count(found.harvest().young), 0)

    def test_proxy(self):
        """A socket that offers what it has not, as libvirt's proxy does."""
        guest = FakeGuest(self.SLOTS)
        guest.oob = False
        guest.young = {1}
        with self.open(guest) as found:
            self.assertEqual(frames(found.harvest().young), {1})

    def test_title(self):
        """What -name says, or the name of the socket."""
        guest = FakeGuest(self.SLOTS)
        self.assertEqual(self.open(guest).title, "qmp")
        guest.name = "database"
        self.assertEqual(self.open(guest).title, "database")

    def test_test_only(self):
        """Without clear, the next harvest finds the same."""
        guest = FakeGuest(self.SLOTS)
        guest.max_runs = 1
        guest.young = {3, 9}
        found = self.open(guest)
        for clear in (False, True):
            self.assertEqual(frames(found.harvest(clear=clear).young), {3, 9})
        self.assertEqual(guest.requests[-1][1]["flush"], "request")
        self.assertEqual(guest.requests[-2][1]["flush"], "none")

    def test_large(self):
        """What is too much for a bitmap is asked for piece by piece."""
        guest = FakeGuest([slot(0, 300 << 30)])
        guest.young = {7, 128 << 18, (300 << 18) - 1}
        found = self.open(guest)
        self.assertEqual(frames(found.harvest().young),
                         {7, 128 << 18, (300 << 18) - 1})
        self.assertEqual([name for name, _ in guest.requests].count(
            "age-test-clear-young"), 3)

    def test_plugged(self):
        """Memory that comes is seen with the harvest that finds it."""
        guest = FakeGuest(list(self.SLOTS))
        found = self.open(guest)
        self.assertEqual(found.layout().pages, 0x300)
        guest.slots.append(slot(0x800000, 0x100000, backend="dimm"))
        guest.young = {0x801}
        self.assertEqual(frames(found.harvest().young), {0x801})
        self.assertEqual(found.layout().parts[-1].name, "dimm")

    def test_lost(self):
        """What could not be looked at is not taken for old."""
        guest = FakeGuest(self.SLOTS)
        found = self.open(guest)
        plain = guest.result

        def result(what, start, end, young, clear):
            answer = plain(what, start, end, young, clear)
            if start:
                answer["handled"] = False
            return answer

        guest.result = result
        self.assertEqual(found.harvest().lost.tolist(), [[0x400, 0x600]])

    def test_strangers(self):
        """Who takes is noticed, and who only looks is not."""
        guest = FakeGuest(self.SLOTS)
        found = self.open(guest)
        found.strangers()
        guest.young = {1, 2, 3}
        guest.harvest("young", guest.young, {"clear": False})
        found.harvest()
        self.assertEqual(found.strangers(), 0)
        guest.young = {1, 2}
        guest.harvest("young", guest.young, {})
        found.harvest()
        self.assertEqual(found.strangers(), 2)
        self.assertEqual(found.strangers(), 0)


class Errors(unittest.TestCase):
    """One line each, that names the socket and the way out."""

    def check(self, words, guest=None, greeting=None):
        """Opening a socket fails with these words."""
        server = FakeSocket(guest, greeting)
        self.addCleanup(server.close)
        with self.assertRaisesRegex(SourceError, words) as caught:
            QMPSource.open(server.path, timeout=0.3)
        self.assertIn(server.path, str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))

    def test_none(self):
        with self.assertRaisesRegex(SourceError, "/nowhere: no such socket"):
            QMPSource.open("/nowhere")

    def test_no_socket(self):
        with self.assertRaisesRegex(SourceError, "this is no socket"):
            QMPSource.open(Path(__file__))

    def test_dead(self):
        server = FakeSocket()
        server.listener.shutdown(source.socket.SHUT_RDWR)
        server.listener.close()
        with self.assertRaisesRegex(SourceError, "its QEMU has ended"):
            QMPSource.open(server.path)
        server.folder.cleanup()

    def test_held(self):
        """The second client of a socket waits for a greeting in vain."""
        self.check("another client has this socket", greeting="")

    def test_monitor(self):
        """The monitor for people is none for programs."""
        self.check("no QMP socket", greeting="QEMU 10.0.2 monitor")

    def test_other_json(self):
        self.check("no QMP socket", greeting={"hello": 1})

    def test_other_accelerator(self):
        self.check("without -accel age", FakeGuest([], {
            "query-age": lambda _: {"return": {"enabled": False,
                                               "version": "0.1.0"}}}))

    def test_other_build(self):
        self.check("built without age", FakeGuest([], {
            "query-age": lambda _: {"error": {"class": "CommandNotFound",
                                              "desc": "not found"}}}))


def main():
    """Runs everything."""
    common.run_classes([Runs, Layouts, Sources, Errors])


if __name__ == "__main__":
    main()
