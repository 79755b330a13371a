#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
The heat map: in numbers, in text and as a picture.
"""

import random
import re
import xml.etree.ElementTree
from pathlib import Path

import numpy as np

from truth import FAR, MISSED, ReportTest, pages

import common

from agelib.qemu_age import heatmap, runs


class HeatMaps(ReportTest):
    """The map in numbers, in text and as a picture."""

    def test_numbers(self):
        found = self.json("heatmap", "--rows", "6", "--columns", "20")
        heat = np.array(found["heat"])
        self.assertEqual(found["times"], [0, 100, 200, 300, 400, 500, 600])
        self.assertEqual(found["addresses"][:2] + found["addresses"][10:11],
                         [0, pages(100), pages(FAR)])
        self.assertEqual(found["addresses"][-1], pages(FAR + 1000))
        self.assertEqual(heat[:, 0].tolist(), [0.5] * 6)
        # Warm: 6; 12 and 18; 24 and 30; 36; 42 and 48, of 9; 54 and 60
        self.assertEqual(np.round(heat[:, 1] * 20, 3).tolist(),
                         [1, 2, 2, 1, round(20 / 9, 3), 2])
        # Cold: at tick 3 in three columns; the first harvest is left out
        self.assertEqual(heat[:, 10:13].sum(axis=1).round(6).tolist(),
                         [0.3, 0, 0, 0, 0, 0])
        self.assertEqual(heat[2, 15], 0.01)
        self.assertEqual(np.count_nonzero(heat), 6 + 6 + 3 + 1)

    def test_missed_row(self):
        """A row without a harvest is none without heat."""
        found = self.json("heatmap", "--rows", "60")
        self.assertEqual([row[0] for row in found["heat"]].index(None),
                         MISSED - 1)
        self.assertIn("\n6 min 40 s ????", self.text("heatmap", "--rows",
                                                     "60"))

    def test_dirty(self):
        found = self.json("heatmap", "--columns", "2", "--rows", "1",
                          "--dirty")
        self.assertEqual(found["heat"], [[0.01, 0]])

    def test_text(self):
        """Digits go by powers of two; the axes and the legend tell what."""
        lines = self.text("heatmap", "--rows", "6", "--columns",
                          "20").splitlines()
        self.assertEqual(lines[1].split(), ["0x0", "0x100258000"])
        self.assertEqual(lines[3], " 0 s 95........666.......")
        self.assertEqual(lines[5], "3 min 20 s 96.............3....")
        self.assertIn("A field is 1 min 40 s of 400.0 KiB", lines[-2])

    def test_colours(self):
        plain = self.text("heatmap", "--rows", "6").splitlines()
        for palette in "hot", "grey":
            status, text = self.run_tool("heatmap", "--rows", "6", "--colour",
                                         "always", "--palette", palette)
            self.assertEqual(status, 0)
            self.assertIn("\033[48;5;", text)
            bare = re.sub("\033\\[[0-9;]*m", "", text).splitlines()
            # Without colours a field in which nothing is young is a dot.
            self.assertEqual([re.sub("[ .]", "", line) for line in bare],
                             [re.sub("[ .]", "", line) for line in plain])

    def test_pictures(self):
        paths = [str(Path(self.folder.name) / name)
                 for name in ("map.png", "map.svg")]
        for report in "heatmap", "wss":
            status, text = self.run_tool(report, "--png", paths[0], "--svg",
                                         paths[1])
            # The table is there as well; the map would not fit.
            self.assertEqual((status, bool(text)), (0, report == "wss"), text)
            self.assertEqual(Path(paths[0]).read_bytes()[:8],
                             b"\x89PNG\r\n\x1a\n")
            root = xml.etree.ElementTree.parse(paths[1]).getroot()
            self.assertTrue(root.tag.endswith("svg"))
            for path in paths:
                Path(path).unlink()

    def test_coverage(self):
        """Pages between edges, against counting."""
        rng = random.Random(13)
        for _ in range(300):
            some = set(rng.sample(range(100), rng.randrange(40)))
            edges = np.array(sorted({0, 100, *rng.choices(range(100), k=5)}))
            self.assertEqual(
                heatmap.coverage(runs.from_frames(some), edges).tolist(),
                [sum(low <= frame < high for frame in some)
                 for low, high in zip(edges, edges[1:])])


def main():
    """Runs everything."""
    common.run_classes([HeatMaps])


if __name__ == "__main__":
    main()
