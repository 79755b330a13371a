#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Guests that run by the instruction counter are not disturbed by harvests.

A Debian kernel without a root file system boots, panics and ends its machine.
All that could vary is fixed, so two runs end after the same number of
instructions, with the same registers and the same memory, to the byte; and a
recorded run is replayed to the same end.  Harvests at any time must not change
that, since the client that makes them is not part of what is counted, recorded
or replayed.
"""

import hashlib
import tempfile
import time
import unittest
from dataclasses import dataclass
from pathlib import Path

import common

from agelib.guest.workload import images_present
from agelib.qemu.emulator import Emulator, build_dir
from agelib.qemu.harvest import Harvester
from agelib.qemu.patience import PATIENCE
from agelib.qemu.qmp import QMPCommandError

MEMORY = 256 << 20
RAM_BASE = {"x86_64": 0, "aarch64": 1 << 30}
MACHINES = {"x86_64": ("q35", "max", "ttyS0"),
            "aarch64": ("virt", "cortex-a72", "ttyAMA0")}

# More than a guest has by half: memory comes and goes while firmware runs
EVERYTHING = {"start": 0, "end": 4 << 30}

REFUSAL = "can't be flushed under record/replay"

ARGS = common.parse_args(__doc__.splitlines()[1])


@dataclass
class Outcome:
    """What a guest has come to when it has ended."""

    instructions: int
    registers: str
    memory: str
    console: bytes


class CountedGuest(Emulator):
    """
    A kernel that boots as far as it gets without a root file system.

    The machine stays as it is at its end, to be looked at.  The guest's
    console goes to a file: what record/replay does not know of, such as
    our usual channel, might push back.
    """

    def __init__(self, folder, accel, icount):
        machine, cpu, console = MACHINES[ARGS.arch]
        super().__init__(ARGS.arch, [
            "-machine", machine, "-cpu", cpu, "-m", MEMORY >> 20,
            "-icount", icount, "-net", "none", "-action", "shutdown=pause",
            "-seed", 1, "-rtc", "base=2025-01-01,clock=vm",
            "-kernel", build_dir() / "guest" / ARGS.arch / "vmlinuz",
            "-append", f"console={console} panic=-1 mitigations=off"], accel)
        self.folder = Path(folder)

    def _channel_options(self, theirs):
        # The last four: the channel that is the serial line, and its use
        return super()._channel_options(theirs)[:-4] + [
            "-serial", f"file:{self.console_path}"]

    @property
    def console_path(self):
        """What the guest said."""
        return (self.record.folder or self.folder) / "console"

    def run(self, idle):
        """Calls @idle again and again until the guest has ended."""
        deadline = time.monotonic() + PATIENCE
        while self.command("query-status")["status"] != "shutdown":
            if time.monotonic() > deadline:
                raise self.failure("the guest never ends")
            idle()
        return self.outcome()

    def outcome(self):
        """How the guest has ended."""
        registers = self.command("human-monitor-command",
                                 {"command-line": "info registers -a"})
        return Outcome(self.command("query-replay")["icount"], registers,
                       self._memory(), self.console_path.read_bytes())

    def _memory(self):
        path = self.folder / "memory"
        self.command("pmemsave", {"val": RAM_BASE[ARGS.arch], "size": MEMORY,
                                  "filename": str(path)})
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        path.unlink()
        return digest


class Client:
    """Harvests now and then, in the main loop and beside it by turns."""

    def __init__(self, guest, pause):
        self.guest = guest
        self.pause = pause
        self.harvests = 0
        self.found = 0

    def harvest(self):
        """One harvest without a flush, which makes all pages old."""
        oob = self.harvests % 2 == 0
        for command, member in (("age-test-clear-young", "young-pages"),
                                ("age-test-clear-dirty", "dirty-pages")):
            answer = self.guest.command(command, {
                "ranges": [EVERYTHING], "flush": "none", "format": "count"},
                oob=oob)
            self.found += answer["ranges"][0][member]
        self.harvests += 1
        time.sleep(self.pause)


class CountedTest(unittest.TestCase):
    """What the tests share: guests, and the comparison of their ends."""

    def setUp(self):
        if not images_present(ARGS.arch):
            self.skipTest("no guest images: run scripts/build-guest")
        self.folder = self.enterContext(
            tempfile.TemporaryDirectory(prefix="age-"))

    def run_guest(self, accel, icount, pause=None, first=None):
        """
        One guest from start to end.

        With @pause there are harvests, so many seconds apart; @first is
        called with the guest when it has just started.
        """
        with CountedGuest(self.folder, accel, icount) as guest:
            if first:
                first(guest)
            client = Client(guest, pause)
            outcome = guest.run(client.harvest if pause
                                else lambda: time.sleep(0.1))
            if pause:
                common.comment(f"{client.harvests} harvests found "
                               f"{client.found} pages young or dirty")
                self.assertGreater(client.found, 0)
                self.check_counters(guest)
        return outcome

    def check_counters(self, guest):
        """Harvests did come while pages were being made young."""
        counters = Harvester(guest.qmp, [(0, 4 << 30)]).query()["counters"]
        self.assertGreater(counters["cleared"], 0)
        self.assertGreater(counters["accessed-set"], counters["violations"])
        self.assertEqual(counters["flushes"], 0)

    def same(self, one, two):
        """Two guests ended in the same way."""
        self.assertGreater(one.instructions, 0)
        self.assertIn(b"Kernel panic", one.console)
        self.assertEqual(one.instructions, two.instructions)
        self.assertEqual(one.console, two.console)
        self.assertEqual(one.registers, two.registers)
        self.assertEqual(one.memory, two.memory)


class Icount(CountedTest):
    """The instruction counter by itself."""

    def test_as_tcg(self):
        """A guest that is harvested does what it does under TCG."""
        icount = "shift=3,sleep=off"
        self.same(self.run_guest("tcg", icount),
                  self.run_guest("age", icount, pause=0.05))


class Replay(CountedTest):
    """Record and replay."""

    def test_replay(self):
        """
        A recorded run is replayed, with harvests at other times.

        What was recorded with harvests replays without the accelerator as
        well.
        """
        recorded = self.run_guest("age,flush=request", self.mode("record"),
                                  pause=0.3, first=self.check_refused)
        self.same(recorded, self.run_guest(
            "age,flush=request", self.mode("replay"), pause=0.05,
            first=self.check_refused))
        self.same(recorded, self.run_guest("tcg", self.mode("replay")))

    def mode(self, name):
        """The option of icount."""
        return f"shift=auto,rr={name},rrfile={self.folder}/log"

    def check_refused(self, guest):
        """A flush is refused, asked for or by default; others work."""
        for command in ("age-test-clear-young", "age-test-clear-dirty",
                        "age-clear-young"):
            for flush in ({}, {"flush": "request"}):
                with self.assertRaises(QMPCommandError) as context:
                    guest.command(command, {"ranges": [EVERYTHING], **flush})
                self.assertIn(REFUSAL, context.exception.desc)
        guest.command("age-test-young", {"ranges": [EVERYTHING]})


def main():
    """Runs the tests of one architecture."""
    common.run_classes([Icount, Replay], ARGS)


if __name__ == "__main__":
    main()
