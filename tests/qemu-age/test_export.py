#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Every format of export, read back from a record whose truth is known.
"""

import contextlib
import csv
import io
import json
import os
import shutil
import struct
import subprocess
import tempfile
import unittest
import zlib
from pathlib import Path

from fakes import PAGE, slot

import common

from agelib.qemu_age import export_damo, program, runs
from agelib.qemu_age.layout import Layout
from agelib.qemu_age.recordfile import Header, Writer
from agelib.qemu_age.source import Harvest

FAR = 1 << 20
LAST = 300
BEFORE = set(range(700, 720))
START_NS = 1700000000 * 10 ** 9


def truth(tick):
    """
    What was young at a tick of one second, in a guest of two nodes.

    Some pages always, some each other second, some in the first 100 s only,
    and some in the far memory once; the first harvest tells of others.
    """
    young = set(range(10, 60))
    young |= set(range(60, 80)) if tick % 2 else set()
    young |= set(range(100, 150)) if tick <= 100 else set()
    young |= set(range(FAR, FAR + 300)) if tick == 155 else set()
    young |= {0} if tick == 260 else set()
    young |= BEFORE if tick == 0 else set()
    return young


def write_truth(path):
    """The record of it."""
    layout = Layout.from_slots([
        slot(0, 1000 * PAGE, backend="m0", node=0),
        slot(FAR * PAGE, 1000 * PAGE, backend="m1", node=1)])
    header = Header("truth", 1.0, dirty=True, wall_ns=START_NS,
                    monotonic_ns=0)
    with Writer(path, header) as record:
        record.layout(layout)
        for tick in range(LAST + 1):
            record.harvest(tick, Harvest(
                tick * 10 ** 9, tick * 10 ** 9 + 1000,
                runs.from_frames(truth(tick)), 1,
                runs.from_frames({20} if tick == 30 else [])))
        record.end("time")


def window(first, last):
    """What was young in one of these ticks."""
    return set().union(*map(truth, range(first, last + 1)))


class ExportTest(unittest.TestCase):
    """The record, once for all tests of a class."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="age-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.path = str(Path(cls.folder.name) / "record")
        cls.out = str(Path(cls.folder.name) / "out")
        write_truth(cls.path)

    def run_tool(self, *words):
        """Exit status and what was printed."""
        text = io.StringIO()
        with contextlib.redirect_stdout(text), \
                contextlib.redirect_stderr(text):
            try:
                status = program.main(["export", *words])
            except SystemExit as e:
                status = e.code
        return status, text.getvalue()

    def export(self, kind, *words):
        """The bytes of a format."""
        status, text = self.run_tool(self.path, "--to", kind, "-o", self.out,
                                     *words)
        self.assertEqual(status, 0, text)
        return Path(self.out).read_bytes()


def damo_regions(data):
    """The snapshots of a file of damo's: [(start, end, {frame: (n, age)})]"""
    found = []
    [context] = json.loads(zlib.decompress(data))
    for shot in context["snapshots"]:
        pages = {}
        for region in shot["regions"]:
            value = (int(region["nr_accesses"]["samples"]),
                     int(region["age"]["aggr_intervals"]))
            for frame in range(int(region["start"]) // PAGE,
                               int(region["end"]) // PAGE):
                assert frame not in pages
                pages[frame] = value
        found.append((int(shot["start_time"]), int(shot["end_time"]), pages))
    return context, found


class Damo(ExportTest):
    """By hand as damo reads it, and by damo itself where there is one."""

    def check(self, fold):
        """All snapshots of so many harvests against the truth."""
        context, shots = damo_regions(self.export("damo", "--fold",
                                                  str(fold)))
        self.assertEqual(context["intervals"], {
            "sample_us": "1000000", "aggr_us": str(fold * 1000000),
            "ops_update_us": str(fold * 1000000)})
        self.assertEqual(context["target_id"], 0)
        self.assertEqual(len(shots), LAST // fold)
        before, ages = {}, {}
        everything = {*range(1, 1000), *range(FAR, FAR + 1000)}
        for number, (start, end, pages) in enumerate(shots):
            first = number * fold
            self.assertEqual(start, START_NS + first * 10 ** 9)
            self.assertEqual(end, start + fold * 10 ** 9)
            self.assertEqual(set(pages), everything)
            young = [truth(first + i + 1) for i in range(fold)]
            counts = {frame: sum(frame in some for some in young)
                      for frame in everything}
            ages = {frame: ages[frame] + 1
                    if before.get(frame) == counts[frame] else 0
                    for frame in everything}
            self.assertEqual(pages, {frame: (counts[frame], ages[frame])
                                     for frame in everything})
            before = counts

    def test_grades(self):
        self.check(10)

    def test_no_grades(self):
        self.check(1)

    def test_rest(self):
        """What does not fill a snapshot is left out."""
        self.check(70)

    def test_too_short(self):
        status, text = self.run_tool(self.path, "--to", "damo", "--fold",
                                     "301", "-o", self.out)
        self.assertEqual(status, 1)
        self.assertRegex(text, "300 intervals, too few .*--fold")

    def test_many_regions(self):
        """A snapshot has no more than damo bears, and loses no access."""
        path = str(Path(self.folder.name) / "many")
        young = runs.from_frames(range(0, 20000, 4))
        with Writer(path, Header("many", 1.0)) as record:
            record.layout(Layout.from_slots([
                slot(0, 20000 * PAGE), slot(FAR * PAGE, 16 * PAGE)]))
            for tick in range(3):
                record.harvest(tick, Harvest(tick, tick, young, 1))
        status, text = self.run_tool(path, "--to", "damo", "--fold", "2",
                                     "-o", self.out)
        self.assertEqual(status, 0)
        self.assertIn("neighbours were joined", text)
        [context] = json.loads(zlib.decompress(Path(self.out).read_bytes()))
        regions = context["snapshots"][0]["regions"]
        self.assertLessEqual(len(regions), export_damo.MAX_REGIONS)
        self.assertEqual(int(regions[-1]["start"]), FAR * PAGE)
        self.assertEqual(sum(int(item["end"]) - int(item["start"])
                             for item in regions), 20015 * PAGE)

    @unittest.skipUnless(shutil.which("damo"), "no damo here: apt install "
                         "damo (Debian 13 and later) tests against it")
    def test_damo_itself(self):
        """What damo says of the file, by its own raw output."""
        self.export("damo", "--fold", "1")
        heat = [row.split() for row in self.damo(
            "heatmap", "--output", "raw", "--address_range", "0",
            str(1000 * PAGE), "--resol", str(LAST), "100")]
        hot = {}
        for _, place, rate in heat:
            hot.setdefault(int(place) // (10 * PAGE), set()).add(float(rate))
        self.assertEqual((hot[2], hot[50]), ({1.0}, {0.0}))
        self.assertEqual(hot[12], {0.0, 1.0})
        wss = dict(row.split()[:2] for row in self.damo(
            "wss", "--raw_number", "--exclude_samples", "0")
            if "|" in row)
        self.assertEqual({int(wss[name]) // PAGE for name in wss},
                         {50, 70, 100, 370})
        self.assertIn("00000000a000-00000003c000 ( 200.000 KiB)           1 "
                      "  299", self.damo("access", "--raw_form"))

    def damo(self, *words):
        """The lines of a report of damo's."""
        return subprocess.run(
            ["damo", "report", *words, "--input", self.out], check=True,
            capture_output=True, text=True).stdout.splitlines()


class Lists(ExportTest):
    """The formats that are of one moment, the end of the record."""

    def idle(self):
        """{page frame: seconds idle}, of those ever touched."""
        return {frame: LAST - tick for tick in range(LAST + 1)
                for frame in truth(tick)}

    def test_csv(self):
        rows = list(csv.DictReader(io.StringIO(
            self.export("csv").decode())))
        idle, found, count = self.idle(), {}, 0
        for row in rows:
            start, end = int(row["start"]) // PAGE, int(row["end"]) // PAGE
            self.assertEqual(int(row["bytes"]), (end - start) * PAGE)
            self.assertEqual((row["memory"], row["node"]),
                             ("m1", "1") if start >= FAR else ("m0", "0"))
            count += end - start
            if row["idle_s"]:
                found |= dict.fromkeys(range(start, end),
                                       (float(row["idle_s"]),
                                        int(row["harvests"])))
        self.assertEqual(count, 2000)
        self.assertEqual(found, {
            frame: (seconds, sum(frame in truth(tick)
                                 for tick in range(LAST + 1)))
            for frame, seconds in idle.items()})

    def test_lru_gen(self):
        """Two nodes of four generations, the oldest first."""
        rows = [row.split() for row in
                self.export("lru_gen").decode().splitlines()]
        self.assertEqual(rows, [
            ["memcg", "1", "/truth"],
            ["node", "0"],
            ["0", "301000", str(50 + 20), "0"],
            ["1", "120000", "0", "0"],
            ["2", "60000", "1", "0"],
            ["3", "10000", str(50 + 20), "0"],
            ["node", "1"],
            ["0", "301000", "300", "0"], ["1", "120000", "0", "0"],
            ["2", "60000", "0", "0"], ["3", "10000", "0", "0"]])

    def test_page_idle(self):
        """Memory is idle unless it was touched; holes are not."""
        data = self.export("page_idle")
        self.assertEqual(len(data) % 8, 0)
        words = struct.unpack(f"<{len(data) // 8}Q", data)
        found = {number * 64 + bit for number, word in enumerate(words)
                 if word for bit in range(64) if word >> bit & 1}
        everything = {*range(1000), *range(FAR, FAR + 1000)}
        # Idle for 120 s at the tick 300: not young in 181 to 300
        self.assertEqual(found, everything - window(LAST - 119, LAST))

    def test_vab(self):
        data = self.export("vab")
        pairs = list(struct.iter_unpack("<QQ", data))
        self.assertEqual(pairs, [(0, PAGE), (10 * PAGE, 80 * PAGE)])
        data = self.export("vab", "--idle", "2min-", "--offset", "1G",
                           "--node", "1")
        self.assertEqual(list(struct.iter_unpack("<QQ", data)), [
            ((1 << 30) + FAR * PAGE, (1 << 30) + (FAR + 300) * PAGE)])

    def test_dirty(self):
        """What was written, in the place of what was accessed."""
        data = self.export("vab", "--idle", "0-", "--dirty")
        self.assertEqual(list(struct.iter_unpack("<QQ", data)),
                         [(20 * PAGE, 21 * PAGE)])

    def test_prefetch(self):
        """Each page once, with the tick that first touched it."""
        first, found = {}, []
        for tick in range(LAST + 1):
            for frame in sorted(truth(tick)):
                first.setdefault(frame, tick)
        text = self.export("prefetch").decode()
        for row in csv.DictReader(io.StringIO(text)):
            start = int(row["start"]) // PAGE
            found += [(frame, float(row["first_s"])) for frame in
                      range(start, start + int(row["bytes"]) // PAGE)]
        self.assertEqual(dict(found), first)
        self.assertEqual(len(found), len(first))
        self.assertEqual([tick for _, tick in found],
                         sorted(tick for _, tick in found))

    def test_prefetch_loaded(self):
        """Of a guest that was loaded, only what came then counts."""
        path = str(Path(self.folder.name) / "loaded")
        with Writer(path, Header("loaded", 1.0)) as record:
            record.layout(Layout.from_slots([slot(0, 100 * PAGE)]))
            for tick, pages in enumerate(({1, 2}, {3}, {9, 2}, {1, 9})):
                record.harvest(tick, Harvest(tick, tick,
                                             runs.from_frames(pages),
                                             1 + tick // 2))
        self.run_tool(path, "--to", "prefetch", "-o", self.out)
        self.assertEqual(Path(self.out).read_text("utf-8").split(), [
            "start,bytes,first_s", "8192,4096,2", "36864,4096,2",
            "4096,4096,3"])


class Mistakes(ExportTest):
    """One line each."""

    def test_options(self):
        for words in (["--to", "csv", "--fold", "3"], ["--to", "nothing"],
                      ["--to", "lru_gen", "--bins", "0s"], []):
            self.assertEqual(self.run_tool(self.path, *words)[0], 2, words)

    def test_no_place(self):
        status, text = self.run_tool(self.path, "--to", "csv", "-o",
                                     "/nowhere/x")
        self.assertEqual((status, text), (
            1, "qemu-age: /nowhere/x: No such file or directory\n"))

    def test_cut(self):
        """What can be read of a record is exported, and that is said."""
        cut = str(Path(self.folder.name) / "cut")
        shutil.copy(self.path, cut)
        os.truncate(cut, os.path.getsize(cut) - 200)
        status, text = self.run_tool(cut, "--to", "csv", "-o", self.out)
        self.assertEqual(status, 0)
        self.assertIn("what comes before is exported", text)
        whole = self.export("csv", "--time", "0-295")
        self.assertEqual(self.run_tool(cut, "--to", "csv", "--time",
                                       "0-295", "-o", self.out)[0], 0)
        self.assertEqual(Path(self.out).read_bytes(), whole)


def main():
    """Runs everything."""
    common.run_classes([Damo, Lists, Mistakes])


if __name__ == "__main__":
    main()
