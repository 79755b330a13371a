#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
qemu-age record, on guests that are made up, and its command line.
"""

import functools
import os
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock
from pathlib import Path

import fakes
from fakes import FakeGuest, FakeSocket, frames, slot

import common

from agelib.qemu_age import launch, program, recorder, runs
from agelib.qemu_age.errors import UserError
from agelib.qemu_age.layout import Layout
from agelib.qemu_age.recordfile import Reader
from agelib.qemu_age.source import (Harvest, QMPSource, Source, SourceError,
                                    SourceGone)

TOOL = Path(__file__).resolve().parents[2] / "scripts/qemu-age"
SLOTS = [slot(0, 0x100000)]
PATIENCE = 60


class Clock:
    """Time that passes only when somebody waits, or says so."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Stop:
    """Nobody asks; waiting takes no time."""

    def __init__(self, clock):
        self.clock = clock

    def wait(self, seconds):
        """Time passes."""
        self.clock.now += seconds
        return False


class Script(Source):
    """A source whose harvests are functions or errors, one after the other."""

    name = "guest"

    def __init__(self, steps):
        self.steps = list(steps)
        self.memory = Layout.from_slots(SLOTS)
        self.taken = 0

    def layout(self):
        return self.memory

    def harvest(self, flush="request", dirty=False, clear=True):
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step() if callable(step) else step

    def strangers(self):
        return self.taken


class Kept:
    """Calls of a writer, by name and tick."""

    def __init__(self):
        self.calls = []

    def layout(self, layout):
        """Another layout."""
        self.calls.append(("layout", layout.pages))

    def harvest(self, tick, _):
        """A harvest."""
        self.calls.append(("harvest", tick))

    def event(self, tick, name, **more):
        """Something odd."""
        self.calls.append((name, tick, *more.values()))

    def end(self, why):
        """The end."""
        self.calls.append(("end", why))


def harvest(generation=1, lost=runs.EMPTY):
    """One in which nothing happened."""
    return Harvest(1, 2, runs.EMPTY, generation, None, lost)


class Loop(unittest.TestCase):
    """The loop, with time that is made up."""

    def setUp(self):
        self.clock = Clock()

    def play(self, *steps, duration=None, said=None, source=None):
        """What is kept, if these are the harvests."""
        clock, kept = self.clock, Kept()
        source = source or Script([
            step if not isinstance(step, (int, float))
            else lambda step=step: self.late(step) for step in steps])
        loop = recorder.Recorder(source, kept, 2.0,
                                 say=[].append if said is None
                                 else said.append)
        with unittest.mock.patch.object(
                recorder, "Pace",
                functools.partial(recorder.Pace, clock=clock)):
            loop.run(Stop(clock), duration)
        return kept.calls

    def late(self, seconds):
        """A harvest that takes long."""
        self.clock.now += seconds
        return harvest()

    def test_time(self):
        """The first harvest and one for each interval."""
        calls = self.play(*[harvest()] * 9, duration=6)
        self.assertEqual(calls, [("layout", 256)] + [
            ("harvest", tick) for tick in range(4)] + [("end", "time")])

    def test_missed(self):
        """A harvest of 5 s in an interval of 2 s lets a tick pass."""
        said = []
        calls = self.play(0, 0, 5, 0, 5, 0, duration=14, said=said)
        self.assertEqual(calls[1:], [
            ("harvest", 0), ("harvest", 1), ("harvest", 2),
            ("missed", 4, 1), ("harvest", 4), ("harvest", 5),
            ("missed", 7, 1), ("harvest", 7), ("end", "time")])
        self.assertEqual(len(said), 1)

    def test_gone(self):
        calls = self.play(harvest(), SourceGone("closed"))
        self.assertEqual(calls[-1], ("end", "gone: closed"))

    def test_refused(self):
        """A harvest that is refused does not end it, unless it is the first."""
        calls = self.play(harvest(), SourceError("no"), harvest(), duration=4)
        self.assertEqual(calls[2:], [("refused", 1, "no"), ("harvest", 2),
                                     ("end", "time")])
        calls = self.play(SourceError("no"))
        self.assertEqual(calls[-1], ("end", "refused: no"))

    def test_generation(self):
        said = []
        calls = self.play(harvest(), harvest(2), harvest(2), duration=4,
                          said=said)
        self.assertEqual(calls[2:], [("generation", 1), ("harvest", 1),
                                     ("harvest", 2), ("end", "time")])
        self.assertRegex(said[0], "guest: .* loaded")

    def test_guest_events(self):
        """What happened to the guest is told before the harvest."""
        found = harvest()
        found.events = ["RTC_CHANGE", "RESET", "STOP"]
        calls = self.play(found, duration=1)
        self.assertEqual(calls[1:4], [("reset", 0), ("stop", 0),
                                      ("harvest", 0)])

    def test_lost(self):
        calls = self.play(harvest(lost=runs.from_frames({1})), duration=1)
        self.assertIn(("lost", 0), calls)

    def test_history(self):
        """Another history than the one that was read."""
        said, found = [], harvest()
        found.replaced = True
        calls = self.play(harvest(), found, found, duration=4, said=said)
        self.assertEqual(calls[2:6], [("history", 1), ("harvest", 1),
                                      ("history", 2), ("harvest", 2)])
        self.assertEqual(len(said), 1)

    def test_layout(self):
        """Memory that changes is told before the harvest that has it."""
        source = Script([])

        def grow():
            source.memory = Layout.from_slots([slot(0, 0x200000)])
            return harvest()

        source.steps = [harvest(), grow, harvest()]
        calls = self.play(source=source, duration=4)
        self.assertEqual(calls[:4], [("layout", 256), ("harvest", 0),
                                     ("layout", 512), ("harvest", 1)])

    def test_stranger(self):
        """It is looked for every ten seconds; the user is told once."""
        source = Script([harvest()] * 12)
        source.taken = 5
        said = []
        calls = self.play(source=source, duration=22, said=said)
        self.assertEqual([call for call in calls if call[0] == "stranger"],
                         [("stranger", tick, 5) for tick in (0, 5, 10)])
        self.assertEqual(len(said), 1)


class Files(unittest.TestCase):
    """The whole tool, on a guest behind a socket."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="age-")
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "record"
        self.guest = FakeGuest(SLOTS)
        self.server = FakeSocket(self.guest)
        self.addCleanup(self.server.close)

    def start(self, *options):
        """The tool, recording."""
        return subprocess.Popen(
            [TOOL, "record", "-o", self.path, *options, self.server.path],
            stderr=subprocess.PIPE, text=True)

    def wait_for_bytes(self, size):
        """Waits until the record has so many bytes."""
        deadline = time.monotonic() + PATIENCE
        while not self.path.exists() or self.path.stat().st_size < size:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_content(self):
        """What was young at each harvest is in the record of it."""
        self.guest.young = {1, 2, 9}
        self.guest.dirty = {2}
        done = self.start("--interval", "200ms", "--for", "1s", "--dirty",
                          "--name", "me")
        _, err = done.communicate(timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, err)
        # A busy host may miss one.
        self.assertRegex(err, r"[2-6] harvests in .*ended: time")
        record = Reader(self.path)
        self.assertEqual(record.header.name, "me")
        found = [entry.harvest() for entry in record
                 if entry.kind == "harvest"]
        self.assertEqual([frames(item.young) for item in found],
                         [{1, 2, 9}] + [set()] * (len(found) - 1))
        self.assertGreater(len(found), 1)
        self.assertEqual(frames(found[0].dirty), {2})

    def test_refused(self):
        """A guest that can't be harvested at all is an error."""
        self.guest.script["age-test-clear-young"] = lambda _: {
            "error": {"class": "GenericError", "desc": "not today"}}
        done = self.start()
        _, err = done.communicate(timeout=PATIENCE)
        self.assertEqual((done.returncode, err.count("\n")), (1, 1), err)
        self.assertIn("age-test-clear-young: not today", err)

    def test_killed(self):
        """Not even SIGKILL takes what was written."""
        done = self.start("--interval", "10ms", "--quiet")
        self.wait_for_bytes(3000)
        done.kill()
        done.communicate(timeout=PATIENCE)
        record = Reader(self.path)
        self.assertGreater(len(list(record)), 10)
        self.assertIsNone(record.ended)

    def test_guest_ends(self):
        """A guest that ends is the end of the record, and no error."""
        done = self.start("--interval", "10ms")
        self.wait_for_bytes(1000)
        self.server.client.shutdown(fakes.socket.SHUT_RDWR)
        _, err = done.communicate(timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, err)
        record = Reader(self.path)
        list(record)
        self.assertRegex(record.ended, "gone: .*connection")


class CommandLine(unittest.TestCase):
    """What is said to those who do it wrong, and who lack something."""

    @staticmethod
    def run_tool(*words, **env):
        """Exit status and what was said."""
        done = subprocess.run([sys.executable, TOOL, *words], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False, timeout=PATIENCE,
                              env=os.environ | env)
        return done.returncode, done.stdout

    def test_help(self):
        """Every command has a help, which the general one lists."""
        status, text = self.run_tool("--help")
        self.assertEqual(status, 0)
        for name, what in program.COMMANDS.items():
            self.assertRegex(" ".join(text.split()), f"{name} {what}")
            status, own = self.run_tool(name, "--help")
            self.assertEqual(status, 0, own)
            self.assertIn(f"usage: qemu-age {name}", own)

    def test_wrong(self):
        for words in (), ("nothing",), ("record",), ("record", "-o", "x"), \
                ("record", "-o", "x", "a", "--", "b"), \
                ("record", "-o", "x", "a", "--interval", "0"):
            status, text = self.run_tool(*words)
            self.assertEqual(status, 2, text)
            self.assertIn("usage:", text)

    def test_no_socket(self):
        status, text = self.run_tool("record", "-o", "/tmp/none", "/nowhere")
        self.assertEqual((status, text.count("\n")), (1, 1), text)
        self.assertIn("/nowhere: no such socket", text)

    def test_missing_library(self):
        """The line that installs it, and nothing else."""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "numpy.py").write_text(
                "raise ModuleNotFoundError('no numpy', name='numpy')\n")
            status, text = self.run_tool("record", "-o", "x", "y",
                                         PYTHONPATH=folder)
            self.assertEqual((status, text.count("\n")), (1, 1), text)
            self.assertIn("apt install python3-numpy", text)
            self.assertEqual(self.run_tool("--help", PYTHONPATH=folder)[0], 0)

    def test_other_import_error(self):
        """A mistake of our own is not blamed on Debian."""
        with self.assertRaises(ImportError):
            program.missing(ImportError("x", name="agelib.nothing"))

    def test_launch(self):
        """What is added to a command line."""
        self.assertEqual(launch.complete(["qemu", "-m", "1"], 7),
                         ["qemu", "-m", "1", "-accel", "age", "-S",
                          "-chardev", "socket,id=qemu-age,fd=7",
                          "-mon", "chardev=qemu-age,mode=control"])
        for words in (["-accel", "age,x=y"], ["--accel", "kvm"],
                      ["-machine", "q35,accel=age"], ["-enable-kvm"]):
            self.assertEqual(launch.complete(["qemu", *words], 7).count("age"),
                             0)

    def test_no_program(self):
        with self.assertRaisesRegex(UserError, "^/nowhere: No such file"):
            launch.Launched(["/nowhere"])
        with self.assertRaisesRegex(UserError, "false: it did not start"):
            launch.Launched(["false"])


    def test_nobody_reads(self):
        """A pipe that is closed is no error to speak of."""
        with subprocess.Popen([TOOL, "--help"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as done:
            done.stdout.close()
            self.assertEqual(done.stderr.read(), b"")


class Prepared(unittest.TestCase):
    """The source that a QMP client of somebody else's makes."""

    def test_closes(self):
        """A client whose guest is none is closed."""
        server = FakeSocket(FakeGuest([], {"query-age": lambda _: {
            "return": {"enabled": False, "version": "0"}}}))
        self.addCleanup(server.close)
        with self.assertRaises(SourceError):
            QMPSource.open(server.path)
        server.listener.settimeout(PATIENCE)
        self.assertEqual(server.client.recv(1), b"")


def main():
    """Runs everything."""
    common.run_classes([Loop, Files, CommandLine, Prepared])


if __name__ == "__main__":
    main()
