#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
A large guest for an hour: what its record takes, and the reports of it.
"""

import json
import random
import resource
import subprocess
import tempfile
import unittest
from pathlib import Path

import numpy as np

from fakes import slot

import common

from agelib.qemu_age import runs
from agelib.qemu_age.layout import Layout
from agelib.qemu_age.recordfile import Header, Writer
from agelib.qemu_age.source import Harvest

TOOL = Path(__file__).resolve().parents[2] / "scripts/qemu-age"
GIB = 1 << 30
REGION = 512
SECONDS = 3600
YOUNG = 328
PATIENCE = 600

# What a report may take, in seconds of a processor and KiB
CPU_S = 10
MEMORY_KIB = 1 << 20


def regions(layout):
    """The page frame at which each region of 2 MiB begins."""
    return np.concatenate([np.arange(start, end, REGION)
                           for start, end in layout.stretches.tolist()])


class Large(unittest.TestCase):
    """64 GiB, 1 % of whose regions of 2 MiB are young in each second."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="age-")
        cls.addClassCleanup(folder.cleanup)
        cls.path = Path(folder.name) / "record"
        layout = Layout.from_slots([slot(0, 2 * GIB),
                                    slot(4 * GIB, 62 * GIB)])
        rng = random.Random(14)
        begins = regions(layout)
        with Writer(cls.path, Header("large", 1)) as record:
            record.layout(layout)
            for tick in range(SECONDS + 1):
                first = begins[rng.sample(range(len(begins)), YOUNG)]
                record.harvest(tick, Harvest(
                    tick * 10 ** 9, tick * 10 ** 9 + 2 * 10 ** 7, runs.union(
                        [np.stack([first, first + REGION], axis=1)])))
            record.end("time")

    def test_size(self):
        size = self.path.stat().st_size
        common.comment(f"{size / SECONDS:.0f} bytes a harvest")
        self.assertLess(size / SECONDS, 100 << 10)

    def test_reports(self):
        """Each of them, in processor time, which other load leaves alone."""
        for name in ("summary", "wss", "idle", "promotions", "hot", "cold",
                     "heatmap", "check"):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            text = subprocess.run(
                [TOOL, "report", self.path, name, "--json"], check=True,
                stdout=subprocess.PIPE, timeout=PATIENCE).stdout
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds = after.ru_utime + after.ru_stime - \
                before.ru_utime - before.ru_stime
            common.comment(f"{name}: {seconds:.1f} s, at most "
                           f"{after.ru_maxrss >> 10} MiB so far")
            self.assertTrue(json.loads(text))
            self.assertLess(seconds, CPU_S)
            self.assertLess(after.ru_maxrss, MEMORY_KIB)

    def test_figures(self):
        """Regions are picked at random: the mean is no secret."""
        found = json.loads(subprocess.run(
            [TOOL, "report", self.path, "wss", "--windows", "1s,1min",
             "--json"], check=True, stdout=subprocess.PIPE,
            timeout=PATIENCE).stdout)
        second, minute = found["windows"]
        self.assertEqual(second["mean"], YOUNG << 21)
        wanted = (64 * GIB) * (1 - (1 - YOUNG / (32 << 10)) ** 60)
        self.assertLess(abs(minute["mean"] / wanted - 1), 0.01)


def main():
    """Runs everything."""
    common.run_classes([Large])


if __name__ == "__main__":
    main()
