#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
qemu-age on real guests, against what they say of themselves.
"""

import subprocess
import threading
import time
import unittest

import common
from toolguest import TOOL, FolderTest, Thief, ToolGuest

from agelib.guest.workload import GUESTS, images_present, linux_options
from agelib.qemu.emulator import Emulator, emulator_path
from agelib.qemu.patience import PATIENCE
from agelib.qemu_age import runs
from agelib.qemu_age.history_source import HistorySource
from agelib.qemu_age.recorder import Recorder
from agelib.qemu_age.recordfile import Header, Reader, Writer
from agelib.qemu_age.replay import Replay
from agelib.qemu_age.source import QMPSource, SourceError

INTERVAL = 0.5

ARGS = common.parse_args(__doc__.splitlines()[1])


class Background:
    """A recorder in a thread."""

    def __init__(self, qmp, path, source=QMPSource):
        self.stop = threading.Event()
        self.writer = Writer(path, Header("guest", INTERVAL, dirty=True))
        self.recorder = Recorder(source(qmp, "guest"), self.writer,
                                 INTERVAL, dirty=True)
        self.thread = threading.Thread(target=self.recorder.run,
                                       args=(self.stop,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(PATIENCE)
        self.writer.close()

    def wait(self, harvests):
        """Waits for so many more; returns the last one's tick."""
        wanted = self.recorder.harvests + harvests
        deadline = time.monotonic() + PATIENCE
        while self.recorder.harvests < wanted:
            if time.monotonic() > deadline or not self.thread.is_alive():
                raise AssertionError("the recorder does not get on")
            time.sleep(0.02)
        return self.recorder.tick


class Truth(FolderTest):
    """A guest that touches what it is told to, and keeps an account."""

    def setUp(self):
        super().setUp()
        self.guest = ToolGuest(ARGS)
        self.addCleanup(self.guest.stop)
        self.guest.start()
        self.guest.boot()

    def test_truth(self):
        """
        What was loaded first and stored to later, and nothing else.

        Between the two, enough harvests pass for the vCPUs to flush what
        they know of the first.
        """
        self.check_truth(QMPSource)

    def test_history(self):
        """The same by a history, while another client takes all bits."""
        with Thief(self.guest.qmps[2]):
            self.check_truth(lambda qmp, name: HistorySource(qmp, name, True))
        self.assertEqual(len(self.guest.histories()), 1)

    def check_truth(self, source):
        """Records by way of @source while the guest touches pages."""
        with Background(self.guest.qmps[1], self.path, source) as background:
            first_tick = background.wait(3)
            first = self.guest.touch("load", 500)
            middle_tick = background.wait(4)
            second = self.guest.touch("store", 300)
            background.wait(2)
        replay = Replay(Reader(self.path))
        ticks = [tick for tick in replay if tick.number > first_tick]
        early = self.together(ticks, first_tick, middle_tick - 2)
        late = self.together(ticks, middle_tick, replay.ticks)
        area = first.touched | first.untouched
        self.assertEqual(early & area, first.touched)
        self.assertEqual(late & area, second.touched)
        written = self.together(ticks, middle_tick, replay.ticks, dirty=True)
        self.assertEqual(written & area, second.touched)
        self.check_ages(replay, first, second)

    def check_ages(self, replay, first, second):
        """The second touch left its pages younger than the first."""
        ages = replay.ages()
        idle = ages.idle_cells()
        old = self.pages(ages, idle >= 4)
        young = self.pages(ages, (idle >= 0) & (idle <= 3))
        self.assertLessEqual(first.touched - second.touched, old)
        self.assertLessEqual(second.touched, young)
        self.assertGreater(len(first.touched & second.touched), 100)
        found = self.report("check")
        self.assertEqual(
            [text for text in found["problems"] if "event" not in text], [])
        found = self.report("summary")
        self.assertNotIn("stranger", found["events"])
        self.assertGreaterEqual(found["touched"],
                                len(first.touched | second.touched) *
                                runs.PAGE)

    @staticmethod
    def together(ticks, above, last, dirty=False):
        """All pages of some ticks."""
        return set(runs.frames_of(runs.union(
            [tick.pages(dirty) for tick in ticks
             if above < tick.number <= last])).tolist())

    @staticmethod
    def pages(ages, mask):
        """The page frames of some cells."""
        return set(runs.frames_of(ages.cells.frames(mask)).tolist())


class Commands(FolderTest):
    """The tool, as it is called."""

    def test_command(self):
        """From the first instruction: nothing is young before."""
        if not images_present(ARGS.arch):
            raise unittest.SkipTest("no guest images: run scripts/build-guest")
        command = [emulator_path(ARGS.arch), "-display", "none", "-nodefaults",
                   *linux_options(ARGS.arch)]
        done = subprocess.run(
            [TOOL, "record", "-o", self.path, "--interval", "500ms", "--for",
             "5s", "--", *map(str, command)], stderr=subprocess.PIPE,
            text=True, check=False, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("ended: time", done.stderr)
        first = next(iter(Replay(Reader(self.path))))
        self.assertEqual(runs.count(first.pages()), 0)
        found = self.report("summary")
        self.assertTrue(found["from-start"])
        self.assertGreaterEqual(found["memory"], 512 << 20)
        self.assertGreater(found["touched"], 8 << 20)

    def start(self, accel):
        """An emulator that does not run, with a socket in the folder."""
        path = self.folder / "qmp"
        guest = Emulator(ARGS.arch, [
            "-machine", GUESTS[ARGS.arch][0], "-cpu", "max", "-S", "-qmp",
            f"unix:{path},server=on,wait=off"], accel)
        self.addCleanup(guest.stop)
        guest.start()
        return guest, path

    def test_held(self):
        """QEMU serves one client at a time, and the second is told so."""
        _, path = self.start("age")
        with QMPSource.open(path):
            with self.assertRaisesRegex(SourceError, "another client"):
                QMPSource.open(path, timeout=2)
        QMPSource.open(path).close()

    def test_other_accelerator(self):
        _, path = self.start("tcg")
        done = subprocess.run([TOOL, "record", "-o", self.path, path],
                              stderr=subprocess.PIPE, text=True, check=False,
                              timeout=PATIENCE)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, f"qemu-age: {path}: this QEMU runs "
                         "without -accel age\n")

    def test_guest_ends(self):
        """A QEMU that is killed ends the record, which says so."""
        guest, path = self.start("age")
        with subprocess.Popen([TOOL, "record", "-o", self.path, "--interval",
                               "20ms", path], stderr=subprocess.PIPE,
                              text=True) as done:
            deadline = time.monotonic() + PATIENCE
            while not self.path.exists() or self.path.stat().st_size < 2000:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.02)
            guest.process.kill()
            text = done.stderr.read()
        self.assertEqual(done.returncode, 0, text)
        self.assertIn("ended: gone", text)
        record = Reader(self.path)
        self.assertGreater(len(list(record)), 3)
        self.assertRegex(record.ended, "gone")

    def test_stranger(self):
        """Somebody else who makes pages old is noticed."""
        guest, path = self.start("age")
        guest.command("cont")
        with QMPSource.open(path) as source:
            deadline = time.monotonic() + PATIENCE
            source.strangers()
            taken = 0
            while not taken and time.monotonic() < deadline:
                guest.command("age-test-clear-young", {"format": "count"})
                source.harvest()
                taken = source.strangers()
            self.assertGreater(taken, 0)


def main():
    """Runs everything."""
    common.run_classes([Truth, Commands], ARGS)


if __name__ == "__main__":
    main()
