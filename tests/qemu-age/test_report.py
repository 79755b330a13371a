#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Every report, on a record whose truth is known; and replays at random.
"""

import json
import random
import tempfile
import unittest
import unittest.mock
from collections import Counter
from pathlib import Path

import numpy as np

from fakes import PAGE, frames, slot
from truth import FAR, LAST, MISSED, ReportTest, pages, young_at

import common

from agelib.qemu_age import replay, runs
from agelib.qemu_age.ages import Ages
from agelib.qemu_age.layout import Layout
from agelib.qemu_age.recordfile import Header, Reader, Writer
from agelib.qemu_age.replay import Choice, Replay
from agelib.qemu_age.source import Harvest


class Truth(ReportTest):
    """Figures that can be told by hand."""

    def test_summary(self):
        found = self.json()
        self.assertEqual(
            {name: found[name] for name in (
                "guest", "seconds", "harvests", "missed", "memory", "touched",
                "young", "events", "ended", "broken", "from-start")},
            {"guest": "truth", "seconds": 600, "harvests": 60, "missed": 1,
             "memory": pages(2000), "touched": pages(410),
             "young": pages(100), "events": {"missed": 1}, "ended": "time",
             "broken": None, "from-start": False})
        self.assertEqual(found["cold"], {"idle": 120, "bytes": pages(310)})
        self.assertEqual(found["recommended"]["idle"], 60)
        self.assertEqual(found["harvest-ns"]["max"], 2 * 10 ** 7)
        self.assertAlmostEqual(found["dirty-rate"], pages(590) / 600)
        text = self.text()
        for words in ("guest truth, 7.8 MiB", "10 min, every 10 s",
                      "harvests 60, 1 missed", "cold 1.2 MiB idle for 2 min",
                      "event missed, once", "ended time"):
            self.assertIn(words, text)

    def test_wss(self):
        """A minute holds all warm pages, and most intervals none."""
        found = self.json("wss", "--windows", "10s,1min,10min")
        self.assertEqual(found["memory"], pages(2000))
        short, minute, whole = found["windows"]
        sizes = [len(young_at(tick)) for tick in range(1, LAST + 1)
                 if tick != MISSED]
        self.assertEqual((short["min"], short["max"], short["now"]),
                         (pages(50), pages(350), pages(100)))
        self.assertAlmostEqual(short["mean"], pages(np.mean(sizes)))
        self.assertEqual((minute["min"], minute["max"], minute["now"]),
                         (pages(100), pages(400), pages(100)))
        self.assertEqual((whole["window"], whole["mean"], whole["now"]),
                         (600, pages(410), pages(410)))
        self.assertIn("1 min 400.0 KiB", self.text("wss"))

    def test_over_time(self):
        found = self.json("wss", "--over-time", "10s")["series"]
        self.assertEqual(
            [(row["time"], row["bytes"]) for row in found],
            [(tick * 10, pages(len(young_at(tick))))
             for tick in range(1, LAST + 1) if tick != MISSED])
        self.assertIn("5 min 440.0 KiB", self.text("wss", "--over-time",
                                                   "10s"))

    def test_idle(self):
        found = self.json("idle", "--bins", "0,10s,300s,310s,10min")
        self.assertEqual(
            [(row["from"], row["to"], row["bytes"]) for row in found["bins"]],
            [(0, 10, pages(100)), (10, 300, 0), (300, 310, pages(10)),
             (310, 600, pages(300)), (600, None, 0)])
        self.assertEqual((found["touched"], found["before"], found["never"]),
                         (pages(410), 0, pages(1590)))
        self.assertEqual(len(found["percentiles"]), 101)
        for rank, seconds in ((0, 0), (24, 0), (25, 300), (26, 300),
                              (27, 570), (100, 570)):
            self.assertEqual(found["percentiles"][rank], seconds, rank)
        self.assertIn("5 min - 10 min 1.2 MiB", self.text("idle"))

    def test_promotions(self):
        """The warm pages come back after five idle intervals each."""
        found = self.json("promotions", "--thresholds", "10s,50s,1min")
        first, fifty, minute = found["thresholds"]
        # Warm pages; cold ones once; hot ones over the missed harvest
        self.assertAlmostEqual(first["rate"],
                               pages(500 + 300 + 50) / (59 / 6))
        self.assertAlmostEqual(fifty["rate"], pages(500) / (55 / 6))
        self.assertEqual((minute["rate"], minute["cold"]), (0, pages(310)))
        self.assertEqual(found["recommended"], minute)
        self.assertEqual(found["first-touched"], pages(410))
        self.assertEqual(found["working-set"]["window"], 120)
        text = self.text("promotions")
        self.assertIn("cold is what is idle for 1 min: that is 1.2 MiB, and "
                      "0 % of the working set", text.replace("\n", " "))
        # All of the working set may come back
        free = self.json("promotions", "--goal", "1000")["recommended"]
        self.assertEqual(free["idle"], 10)

    def test_hot(self):
        found = self.json("hot")
        self.assertEqual(found["total"], {"bytes": pages(50), "ranges": 1})
        self.assertEqual(found["rows"], [
            {"start": pages(10), "end": pages(60), "bytes": pages(50),
             "memory": "m0", "node": 0, "share": 1.0}])
        # Warm pages: 10 of the 59 harvests but the first
        found = self.json("hot", "--share", "15")
        self.assertEqual(found["total"]["ranges"], 2)
        self.assertAlmostEqual(found["rows"][1]["share"], 10 / 59)
        self.assertIn("0xa000-0x3c000 200.0 KiB 100 % m0, node 0",
                      self.text("hot"))

    def test_cold(self):
        found = self.json("cold")
        self.assertEqual(found["total"], {"bytes": pages(310), "ranges": 2})
        self.assertEqual([(row["start"], row["bytes"], row["idle"])
                          for row in found["rows"]],
                         [(pages(FAR), pages(300), 570),
                          (pages(FAR + 500), pages(10), 300)])
        self.assertEqual(found["untouched"]["bytes"], pages(1590))
        self.assertEqual(self.json("cold", "--idle", "6min")["total"]["ranges"],
                         1)
        self.assertEqual(self.json("cold", "--size", "0-1M")["total"]["bytes"],
                         pages(10))
        self.assertEqual(len(self.json("cold", "--count", "1")["rows"]), 1)
        self.assertIn("0x100000000-0x10012c000 1.2 MiB 9 min 30 s m1, node 1",
                      self.text("cold"))

    def test_dirty(self):
        found = self.json("dirty", "--windows", "1min")
        self.assertAlmostEqual(found["rate"], pages(590) / 600)
        self.assertEqual(found["max"], pages(10) / 10)
        self.assertEqual(found["ever"], pages(10))
        self.assertEqual(found["windows"][0]["max"], pages(10))
        self.assertIn("4.0 KiB at most", self.text("dirty"))

    def test_check(self):
        found = self.json("check", status=1)
        self.assertEqual(found["problems"], ["event missed, 1 of them"])
        self.assertEqual(found["identities"], [
            {"kind": "young", "windows": 61}, {"kind": "dirty",
                                               "windows": 61}])
        self.assertIn("Problem: event missed, 1 of them",
                      self.text("check", status=1))

    def test_wrong_arithmetic(self):
        """The check finds a sum that is wrong."""
        with unittest.mock.patch.object(Ages, "promotions",
                                        lambda *_: 1):
            problems = self.json("check", status=1)["problems"]
        self.assertGreater(len(problems), 50)
        self.assertRegex(problems[-1], "dirty, a window of 61 intervals: 0 by "
                         "working sets, 1 by ages")


class Filters(ReportTest):
    """Parts of the record."""

    def test_memory(self):
        for words in (("--node", "1"), ("--memory", "m1"),
                      ("--address", "4G-")):
            found = self.json("summary", *words)
            self.assertEqual((found["memory"], found["touched"]),
                             (pages(1000), pages(310)))

    def test_address(self):
        """A range that cuts through hot pages."""
        found = self.json("summary", "--address", "0x1e000-0x28000")
        self.assertEqual((found["memory"], found["touched"],
                          found["young"]), (pages(10),) * 3)

    def test_time(self):
        """What was before counts as touched before."""
        found = self.json("idle", "--time", "200s-290s", "--bins", "0,90s")
        self.assertEqual([row["bytes"] for row in found["bins"]],
                         [pages(100), pages(300)])
        self.assertEqual(found["before"], pages(300))
        found = self.json("summary", "--time", "405s-430s")
        self.assertEqual((found["harvests"], found["missed"],
                          found["seconds"]), (3, 1, 30))
        found = self.json("wss", "--time", "5min-", "--over-time", "10s")
        self.assertEqual([row["bytes"] for row in found["series"][:2]],
                         [pages(50)] * 2)

    def test_nothing_left(self):
        for words, error in ((("--node", "7"), "guest has m0, m1; node 0, 1"),
                             (("--memory", "x"), "no memory is left"),
                             (("--time", "2h-"), "no harvest in it at that")):
            status, text = self.run_tool("summary", *words)
            self.assertEqual((status, text.count("\n")), (1, 1), text)
            self.assertIn(error, text)

    def test_wrong_words(self):
        """An option of another report is not ignored."""
        for words in (("wss", "--bins", "1s"), ("hot", "--idle", "1s"),
                      ("idle", "--bins", "x"), ("nothing",),
                      ("cold", "--size", "2M"), ("cold", "--count", "0"),
                      ("idle", "--png", "x.png"), ("--time", "9s-1s")):
            status, text = self.run_tool(*words)
            self.assertEqual(status, 2, (words, text))


class Edges(ReportTest):
    """Records in which there is next to nothing."""

    REPORTS = ("summary", "wss", "idle", "promotions", "hot", "cold",
               "heatmap", "dirty")

    def write(self, *sets):
        """A record of some harvests of a small guest."""
        path = Path(self.folder.name) / "edge"
        path.unlink(missing_ok=True)
        with Writer(path, Header("edge", 1, dirty=True)) as record:
            record.layout(Layout.from_slots([slot(0, 16 * PAGE)]))
            for tick, young in enumerate(sets):
                record.harvest(tick, Harvest(tick, tick + 1,
                                             runs.from_frames(young), 1,
                                             runs.EMPTY))
        return str(path)

    def test_few_harvests(self):
        """Every report says something that can be read."""
        for sets in ([set()], [{1}], [set(), set()], [{1}, {1}],
                     [set(range(16))] * 3):
            path = self.write(*sets)
            for report in self.REPORTS:
                with unittest.mock.patch.object(self, "path", path):
                    self.assertTrue(self.text(report))
                    found = self.json(report)
                    # NaN is no JSON.
                    json.dumps(found, allow_nan=False)

    def test_no_harvest(self):
        with unittest.mock.patch.object(self, "path", self.write()):
            status, text = self.run_tool()
        self.assertEqual((status, text.count("\n")), (1, 1))
        self.assertIn("edge: no harvest in it", text)

    def test_cut_off(self):
        """What is there is reported, and it is said that there is less."""
        path = Path(self.folder.name) / "cut"
        path.write_bytes(Path(self.path).read_bytes()[:-30])
        with unittest.mock.patch.object(self, "path", str(path)):
            status, text = self.run_tool()
            self.assertEqual(status, 0)
            self.assertRegex(text, r"byte \d+: its last line is cut off")
            self.assertIn("problems", self.json("check", status=1))


class Replays(unittest.TestCase):
    """Memory that comes and goes, and states that are loaded."""

    LAYOUTS = [[slot(0, 50 * PAGE)],
               [slot(0, 50 * PAGE), slot(80 * PAGE, 30 * PAGE, "dimm")],
               [slot(0, 40 * PAGE), slot(40 * PAGE, 10 * PAGE, "rom")]]

    def write(self, rng, path):
        """A record at random; returns what is idle, and what came back."""
        last, promoted = {}, Counter()
        layout, generation = self.LAYOUTS[0], 1
        owners = self.owners(layout)
        with Writer(path, Header("x", 1)) as record:
            record.layout(Layout.from_slots(layout))
            for tick in range(40):
                if rng.random() < 0.1:
                    layout = rng.choice(self.LAYOUTS)
                    record.layout(Layout.from_slots(layout))
                    now = self.owners(layout)
                    last = {frame: when for frame, when in last.items()
                            if now.get(frame) == owners[frame]}
                    owners = now
                if rng.random() < 0.05:
                    generation, last = generation + 1, {}
                if tick not in (0, 39) and rng.random() < 0.1:
                    continue
                young = set(rng.sample(sorted(owners), rng.randrange(15)))
                record.harvest(tick, Harvest(tick, tick + 1,
                                             runs.from_frames(young),
                                             generation))
                promoted.update(tick - last[frame] - 1 for frame in young
                                if frame in last)
                last |= dict.fromkeys(young, tick)
        return Counter(39 - when for when in last.values()), promoted

    @staticmethod
    def owners(layout):
        """Whose each page is."""
        return {frame: item["block"] for item in layout
                for frame in range(item["gpa"] // PAGE,
                                   (item["gpa"] + item["size"]) // PAGE)}

    def test_random(self):
        with tempfile.TemporaryDirectory(prefix="age-") as folder:
            for seed in range(60):
                path = Path(folder) / str(seed)
                idle, promoted = self.write(random.Random(seed), path)
                for kept in (replay.KEPT_RUNS, 3):
                    self.check(path, kept, idle, promoted)

    def check(self, path, kept, idle, promoted):
        """A replay, with runs in memory or without, says the same."""
        with unittest.mock.patch.object(replay, "KEPT_RUNS", kept):
            ages = Replay(Reader(path)).ages()
        self.assertEqual({age: count for age, count
                          in enumerate(ages.idle_pages()) if count}, idle)
        self.assertEqual({age: count for age, count
                          in enumerate(ages.promoted) if count}, promoted)
        for window in range(1, ages.tick + 1):
            self.assertEqual(*ages.identity(window))

    def test_choice(self):
        """A part in time has what came before in its first tick."""
        with tempfile.TemporaryDirectory(prefix="age-") as folder:
            path = Path(folder) / "record"
            with Writer(path, Header("x", 1)) as record:
                record.layout(Layout.from_slots(self.LAYOUTS[0]))
                for tick in range(200):
                    record.harvest(tick, Harvest(
                        tick, tick, runs.from_frames({tick // 4}), 1))
            found = Replay(Reader(path), Choice(time=(150, 180)))
            ticks = list(found)
            self.assertEqual(len(ticks), 31)
            self.assertEqual(frames(ticks[0].pages()), set(range(38)))
            self.assertEqual(frames(ticks[30].pages()), {45})


def main():
    """Runs everything."""
    common.run_classes([Truth, Filters, Edges, Replays])


if __name__ == "__main__":
    main()
