#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
The record: what is written is read, as far as it is there.
"""

import gzip
import json
import random
import subprocess
import tempfile
import unittest
from pathlib import Path

from fakes import frames, slot

import common

from agelib.qemu_age import runs
from agelib.qemu_age.layout import Layout
from agelib.qemu_age.recordfile import (Header, Reader, RecordError, Writer,
                                        pack)
from agelib.qemu_age.source import Harvest

REGION = 512


class RecordTest(unittest.TestCase):
    """A folder for records."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="age-")
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "record"

    def write(self, harvests=5, dirty=True):
        """A record of a small guest; returns what is in it."""
        rng = random.Random(8)
        layout = Layout.from_slots([slot(0, 1 << 20),
                                    slot(1 << 32, 4 << 20, backend="b",
                                         node=1)])
        young = [runs.from_frames(rng.sample(range(256), tick * 3))
                 for tick in range(harvests)]
        with Writer(self.path, Header("guest", 0.5, dirty=dirty)) as record:
            record.layout(layout)
            for tick, some in enumerate(young):
                record.harvest(tick, Harvest(
                    tick * 10, tick * 10 + 1, some, 1,
                    some[::2] if dirty else None))
            record.event(harvests, "missed", ticks=2)
            record.end("asked")
        return layout, young


class Contents(RecordTest):
    """There and back."""

    def test_read(self):
        layout, young = self.write()
        record = Reader(self.path)
        self.assertEqual((record.header.name, record.header.interval,
                          record.header.dirty), ("guest", 0.5, True))
        entries = list(record)
        self.assertEqual([entry.kind for entry in entries],
                         ["layout"] + ["harvest"] * 5 + ["event", "end"])
        self.assertEqual(entries[0].layout(), layout)
        for tick, entry in enumerate(entries[1:6]):
            harvest = entry.harvest()
            self.assertEqual(entry.tick, tick)
            self.assertEqual(frames(harvest.young), frames(young[tick]))
            self.assertEqual(frames(harvest.dirty), frames(young[tick][::2]))
            self.assertEqual((harvest.begin_ns, harvest.end_ns),
                             (tick * 10, tick * 10 + 1))
        self.assertEqual((record.broken, record.ended), (None, "asked"))
        self.assertEqual(record.good, self.path.stat().st_size)
        self.assertEqual(len(list(record)), 8)

    def test_optional(self):
        """What is seldom there comes back as well."""
        lost = runs.from_frames({7, 8})
        with Writer(self.path, Header("guest", 1)) as record:
            record.harvest(0, Harvest(1, 9, runs.EMPTY, 3, None, lost, True,
                                      cost_ns=5))
        harvest = next(iter(Reader(self.path))).harvest()
        self.assertEqual(harvest.lost.tolist(), lost.tolist())
        self.assertTrue(harvest.flush_pending)
        self.assertIsNone(harvest.dirty)
        self.assertEqual((harvest.generation, harvest.cost_ns), (3, 5))

    def test_tools(self):
        """gzip reads it; each line is JSON by itself."""
        self.write()
        text = subprocess.run(["gzip", "-dc"], input=self.path.read_bytes(),
                              stdout=subprocess.PIPE, check=True).stdout
        lines = [json.loads(line) for line in text.splitlines()]
        self.assertEqual(lines[0]["age-record"], 1)
        self.assertEqual(len(lines), 9)
        # Gap, length, gap, length
        first = sum(lines[3]["young"][:1])
        self.assertIn(first, range(256))

    def test_unknown(self):
        """A line of a kind that is not known yet is passed over."""
        self.write(1)
        with open(self.path, "ab") as file:
            for line in {"hello": 1}, [1], 1:
                file.write(pack(line))
        self.assertEqual([entry.kind for entry in Reader(self.path)][-4:],
                         ["end", "", "", ""])


class Crashes(RecordTest):
    """The file ends, or goes wrong, anywhere."""

    def test_cut(self):
        """Cut after every byte, it is read up to there."""
        self.write()
        data = self.path.read_bytes()
        whole = [entry.line for entry in Reader(self.path)]
        ends, unpacked = [], b""
        for size in range(len(data) + 1):
            self.path.write_bytes(data[:size])
            try:
                record = Reader(self.path)
            except RecordError as e:
                self.assertIn("no record", str(e))
                self.assertEqual(ends, [])
                continue
            lines = [entry.line for entry in record]
            self.assertEqual(lines, whole[:len(lines)])
            if record.broken is None:
                ends.append(size)
                unpacked = gzip.decompress(data[:size])
            self.assertEqual(len(lines), len(ends) - 1)
            self.assertEqual(record.good, ends[-1])
            self.assertEqual(unpacked.count(b"\n"), len(ends))
        self.assertEqual(len(ends), len(whole) + 1)

    def test_damage(self):
        """A wrong byte ends it, and nothing wrong is told."""
        self.write()
        data = self.path.read_bytes()
        whole = [entry.line for entry in Reader(self.path)]
        header = len(pack(Reader(self.path).header.json()))
        rng = random.Random(9)
        for place in range(header, len(data)):
            wrong = bytearray(data)
            wrong[place] ^= rng.randrange(1, 256)
            self.path.write_bytes(wrong)
            record = Reader(self.path)
            lines = [entry.line for entry in record]
            self.assertEqual(lines, whole[:len(lines)])

    def test_zeroes(self):
        """What a power failure may leave behind the end."""
        self.write()
        with open(self.path, "ab") as file:
            file.write(bytes(5000))
        record = Reader(self.path)
        self.assertEqual(len(list(record)), 8)
        self.assertIsNotNone(record.broken)


class Errors(RecordTest):
    """One line each, that names the file."""

    def test_other_files(self):
        for data in (b"", b"hello", pack({"hello": 1}), pack([1])):
            self.path.write_bytes(data)
            with self.assertRaisesRegex(RecordError,
                                        "record: this is no record"):
                Reader(self.path)

    def test_no_file(self):
        with self.assertRaisesRegex(RecordError, "No such file"):
            Reader(self.path)

    def test_version(self):
        self.path.write_bytes(pack({"age-record": 99}))
        with self.assertRaisesRegex(RecordError, "version 99"):
            Reader(self.path)

    def test_header(self):
        self.path.write_bytes(pack({"age-record": 1}))
        with self.assertRaisesRegex(RecordError, "header lacks 'name'"):
            Reader(self.path)

    def test_no_overwriting(self):
        self.write()
        with self.assertRaisesRegex(RecordError, "not overwritten"):
            Writer(self.path, Header("guest", 1))

    def test_full(self):
        """A full disk is an error, not a record that lacks something."""
        with self.assertRaisesRegex(RecordError, "No space left"):
            self.write_full()

    @staticmethod
    def write_full():
        """A record on the device that is always full."""
        record = Writer.__new__(Writer)
        with open("/dev/full", "wb", buffering=0) as file:
            record.path, record.bytes = "/dev/full", 0
            # No file system that is full is at hand.
            # pylint: disable-next=protected-access
            record._file = file.fileno()
            record.end("never")


class Sizes(RecordTest):
    """What harvests cost on the disk."""

    def cost(self, young, count=20):
        """The bytes of one harvest on average."""
        with Writer(self.path, Header("guest", 1)) as record:
            before = record.bytes
            for tick in range(count):
                record.harvest(tick, Harvest(
                    tick * 10 ** 9 + 123456789, tick * 10 ** 9 + 133456789,
                    young(tick)))
            return (record.bytes - before) / count

    def test_idle(self):
        """A guest that sleeps: nothing is young, or next to nothing."""
        rng = random.Random(10)
        self.assertLess(self.cost(lambda _: runs.EMPTY), 200)
        self.path.unlink()
        few = self.cost(lambda _: runs.from_frames(
            rng.sample(range(1 << 20), 100)))
        self.assertLess(few, 1024)

    def test_busy(self):
        """64 GiB of which 1 % of the regions of 2 MiB are young."""
        rng = random.Random(11)

        def young(_):
            first = runs.np.array(rng.sample(range(32768), 328)) * REGION
            return runs.union([runs.np.stack([first, first + REGION], 1)])

        self.assertLess(self.cost(young), 100 << 10)
        self.path.unlink()
        # The same regions, with half of their pages young, here and there
        scattered = self.cost(lambda tick: runs.from_frames(
            first + i for first in runs.frames_of(young(tick))[::REGION]
            .tolist() for i in rng.sample(range(REGION), REGION // 2)), 3)
        self.assertLess(scattered, 100 << 10)


def main():
    """Runs everything."""
    common.run_classes([Contents, Crashes, Errors, Sizes])


if __name__ == "__main__":
    main()
