#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
A client that asks and asks, and reads no answer.

A monitor keeps answers until they are read.  So what one client can have
QEMU keep must be bounded, whether it asks in band or out of band; the refusal
must consume nothing, and is of no concern to other clients.
"""

import base64
import json
import re
import time
import unittest

import common

from agelib.qemu.emulator import Emulator
from agelib.qemu.patience import PATIENCE
from agelib.qemu.qmp import QMPError

# What the accelerator lets a client leave unread, and what a socket holds
LIMIT = 16 << 20
SOCKET = 1 << 20

SPAN = 64 << 30
QUESTIONS = 60
WANT = {"ranges": [{"start": 0, "end": SPAN}]}
UNREAD = re.compile(r"\d+ bytes of earlier answers were not read yet; read "
                    r"them before the next command")

RAM_BASE = {"x86_64": 0, "aarch64": 1 << 30}
MACHINE = {"x86_64": ["-machine", "pc"],
           "aarch64": ["-machine", "virt", "-cpu", "max"]}

ARGS = common.parse_args(__doc__.splitlines()[1])


class UnreadTest(unittest.TestCase):
    """Two clients: one that does not read, and one that does."""

    def setUp(self):
        self.emulator = Emulator(ARGS.arch, MACHINE[ARGS.arch] +
                                 ["-m", "64"], monitors=2)
        self.addCleanup(self.emulator.stop)
        self.emulator.start()
        self.silent = self.emulator.qmps[0]
        self.other = self.emulator.qmps[1]
        self.marks = 0
        deadline = time.monotonic() + PATIENCE
        # Firmware, or what the processor does without any
        while not self.young():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        self.other.command("stop")

    def young(self):
        """How many pages are young, which they stay."""
        base = RAM_BASE[ARGS.arch]
        zeroes = base64.b64encode(bytes((base + (64 << 20)) >> 15)).decode()
        answer = self.other.command("age-test-clear-young", {
            "ranges": [{"start": 0, "end": base + (64 << 20),
                        "bitmap": zeroes}], "format": "count"})
        return answer["ranges"][0]["young-pages"]

    def send(self, how, name, arguments=None):
        """A command of the client that does not read."""
        request = {how: name, "id": name}
        if arguments:
            request["arguments"] = arguments
        self.silent.send(request, PATIENCE)

    def mark(self):
        """
        Waits until all is done that the silent client has asked for.

        Commands of one client are done in order, so it adds an object and the
        other client waits for that.
        """
        self.marks += 1
        name = f"mark{self.marks}"
        self.send("execute", "object-add", {
            "qom-type": "memory-backend-ram", "id": name, "size": 4096})
        deadline = time.monotonic() + PATIENCE
        while name not in [child["name"] for child in self.other.command(
                "qom-list", {"path": "/objects"})]:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def answers(self):
        """All that waits for the client: their length, and what they say."""
        left = self.marks
        self.marks = 0
        while left:
            message = self.silent.receive(PATIENCE)
            if message.get("id") == "object-add":
                left -= 1
            elif "event" not in message:
                yield len(json.dumps(message)), message

    def check_flood(self, how, name):
        """Asks much, then reads: what was kept is bounded."""
        for _ in range(QUESTIONS):
            self.send(how, name, WANT)
        self.mark()
        young = self.young()
        self.assertTrue(young)
        refused = ["age-test-clear-young", "age-test-clear-dirty",
                   "age-clear-young", "age-test-young", "query-age",
                   "query-age-walk"]
        for command in refused:
            self.send(how, command, {"query-age": None,
                                     "query-age-walk": {"gpa": 4096}}
                      .get(command, WANT))
        self.mark()
        self.assertEqual(self.young(), young)
        self.other.command("query-age", oob=True)

        kept, errors = [], []
        for size, message in self.answers():
            if "return" in message:
                self.assertEqual(errors, [])
                kept.append(size)
            else:
                self.assertRegex(message["error"]["desc"], UNREAD)
                errors.append(message["id"])
        common.comment(f"{name}, {how}: {len(kept)} answers of {kept[0]} "
                       f"bytes, then {len(errors)} refused")
        self.assertEqual(len(kept) + len(errors), QUESTIONS + len(refused))
        self.assertEqual(errors[-len(refused):], refused)
        self.assertGreater(sum(kept), LIMIT)
        self.assertLess(sum(kept), LIMIT + SOCKET + max(kept))

    def check_again(self):
        """Whoever has read can ask again."""
        self.silent.command("query-age")
        self.silent.command("age-test-clear-young", WANT, oob=True)
        self.assertEqual(self.young(), 0)

    def test_in_band(self):
        """Answers by the main loop."""
        self.check_flood("execute", "age-test-clear-dirty")
        self.check_again()

    def test_out_of_band(self):
        """Answers by the thread of the monitors."""
        self.check_flood("exec-oob", "age-test-clear-dirty")
        self.check_again()

    def test_hmp(self):
        """A human monitor command has a monitor of its own."""
        for _ in range(3):
            self.assertIn("format:", self.silent.command(
                "human-monitor-command", {"command-line": "info age"}))
        self.assertRaises(QMPError, self.silent.command, "query-age-walk",
                          {"gpa": 1 << 60})


if __name__ == "__main__":
    common.run_classes([UnreadTest], ARGS)
