# SPDX-License-Identifier: GPL-2.0-or-later
"""
A record whose truth is known, and reports of it.
"""

import contextlib
import io
import json
import re
import tempfile
import unittest
from pathlib import Path

from fakes import PAGE, slot

from agelib.qemu_age import program, runs
from agelib.qemu_age.layout import Layout
from agelib.qemu_age.recordfile import Header, Writer
from agelib.qemu_age.source import Harvest
from agelib.terminal import WIDTH

FAR = 1 << 20
HOT, WARM = set(range(10, 60)), set(range(100, 150))
COLD, ONCE = set(range(FAR, FAR + 300)), set(range(FAR + 500, FAR + 510))
MISSED, LAST = 41, 60
SECOND = 10 ** 9


def young_at(tick):
    """
    What was young at a tick of ten seconds.

    The hot pages always, the warm ones once a minute, the cold ones twice at
    the begin, and some only once, in the middle.
    """
    young = set(HOT)
    young |= WARM if tick % 6 == 0 else set()
    young |= COLD if tick in (0, 3) else set()
    young |= ONCE if tick == 30 else set()
    return young


def write_truth(path):
    """The record of it, in which one harvest is missing."""
    layout = Layout.from_slots([
        slot(0, 1000 * PAGE, backend="m0", node=0),
        slot(FAR * PAGE, 1000 * PAGE, backend="m1", node=1)])
    with Writer(path, Header("truth", 10, dirty=True)) as record:
        record.layout(layout)
        for tick in range(LAST + 1):
            if tick == MISSED:
                record.event(tick + 1, "missed", ticks=1)
                continue
            begin = tick * 10 * SECOND
            record.harvest(tick, Harvest(
                begin, begin + SECOND // 100 * (2 if tick == 7 else 1),
                runs.from_frames(young_at(tick)), 1,
                runs.from_frames(range(10, 20))))
        record.end("time")


class ReportTest(unittest.TestCase):
    """The record, once for all tests of a class."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="age-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.path = str(Path(cls.folder.name) / "record")
        write_truth(cls.path)

    def run_tool(self, *words):
        """Exit status and what was printed."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = program.main(["report", self.path, *words])
            except SystemExit as e:
                status = e.code
        return status, out.getvalue() + err.getvalue()

    def text(self, *words, status=0):
        """What a report prints for people, with single spaces."""
        got, text = self.run_tool(*words)
        self.assertEqual(got, status, text)
        for line in text.splitlines():
            self.assertLessEqual(len(line), WIDTH, line)
        return re.sub(" +", " ", text)

    def json(self, *words, status=0):
        """What a report prints for programs."""
        got, text = self.run_tool(*words, "--json")
        self.assertEqual(got, status, text)
        return json.loads(text)


def pages(count):
    """Their size in bytes."""
    return count * PAGE
