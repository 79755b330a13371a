#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
qemu-age top and exporter on a real guest, and Ctrl-C.

The guest keeps HOT pages in use and nothing else, so that figures are known
but for what its kernel does meanwhile.  To the page they are compared while it
is stopped: with what a history has found in the same time.
"""

import contextlib
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import common
from pseudoterminal import PseudoTerminal
from toolguest import TOOL, FolderTest, Thief, ToolGuest

from agelib.guest.workload import linux_options
from agelib.qemu.emulator import emulator_path
from agelib.qemu_age.recordfile import Reader
from agelib.qemu_age.runs import PAGE

# How long to wait for what takes seconds, and less than the test itself may
WAIT_S = 180

HOT = 2049
# What a kernel that has nothing to do may access between two harvests
NOISE = 1024
INTERVAL = "500ms"
# With the flash of arm's machine
MEMORY = "(512|640)M"
UNITS = {unit: 1024 ** power for power, unit in enumerate("BKMGT")}

ARGS = common.parse_args(__doc__.splitlines()[1])


def until(found, what):
    """Waits until a function returns something true."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"not within {WAIT_S} s: {what}")


def is_hot(size):
    """Whether so many bytes are what is hot, and not much else."""
    # A size of few digits is one of 2 MiB at least, here.
    return HOT * PAGE * 0.97 <= size <= (HOT + NOISE) * PAGE


def size_of(text):
    """A size as top writes it."""
    return float(text[:-1]) * UNITS[text[-1]]


class Metrics:
    """What an exporter tells when it is asked."""

    def __init__(self, url):
        with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
            self.text = answer.read().decode()

    def sum(self, name, labels=""):
        """The sum of a metric over all nodes; None if there is none."""
        found = re.findall(rf"(?m)^{name}{{[^}}]*{labels}[^}}]*}} (.*)$",
                           self.text)
        return sum(map(float, found)) if found else None


class Watch(FolderTest):
    """One guest for all tests."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="age-")
        cls.addClassCleanup(folder.cleanup)
        cls.paths = [Path(folder.name) / name
                     for name in ("first", "second", "third")]
        cls.guest = ToolGuest(ARGS, cls.paths)
        cls.addClassCleanup(cls.guest.stop)
        cls.guest.start()
        cls.guest.boot()

    def setUp(self):
        super().setUp()
        self.guest.tell("run", HOT - 1, 1, 1, 3600000, 2)
        self.addCleanup(self.rest)

    def rest(self):
        """The guest goes on and has nothing to do, nor a history."""
        self.guest.command("cont")
        self.guest.tell("stop")
        left = self.guest.histories()
        for name in left:
            self.guest.command("object-del", {"id": name})
        self.assertEqual(left, [])

    @contextlib.contextmanager
    def tool(self, *words):
        """The tool at work; it has ended afterwards."""
        with subprocess.Popen([TOOL, *words], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as process:
            # Whoever reads is not to wait for ever.
            timer = threading.Timer(WAIT_S, process.kill)
            timer.start()
            try:
                yield process
            finally:
                timer.cancel()
                process.kill()

    def interrupt(self, process):
        """Ctrl-C; returns what it had complained of till then."""
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=WAIT_S)
        self.assertEqual(process.returncode, 0, errors)
        return errors

    def history(self):
        """A history of the test's own; removed afterwards."""
        self.guest.command("object-add", {"qom-type": "age-history",
                                          "id": "truth"})
        self.addCleanup(self.guest.command, "object-del", {"id": "truth"})
        return "truth"

    def known(self, history):
        """How many pages a history has found."""
        found = self.guest.command("age-history-read", {
            "history": history, "harvest": False, "format": "count"})
        return sum(item["pages"] for item in found["ranges"])

    # exporter

    def exporter(self, *words):
        """An exporter of the first socket."""
        return self.tool("exporter", "--listen", "127.0.0.1:0", "--interval",
                         INTERVAL, *words, self.paths[0])

    def check_metrics(self, process, history):
        """Figures of the hot pages, and to the page of all that was found."""
        url = process.stderr.readline().split()[-1]
        until(lambda: is_hot(Metrics(url).sum("age_young_bytes") or 0),
              "the hot pages are young")
        self.guest.command("stop")
        count = Metrics(url).sum("age_harvests_total")
        found = until(lambda: (now := Metrics(url)).sum("age_harvests_total")
                      > count + 2 and now, "more harvests")
        self.assertEqual(found.sum("age_young_bytes"), 0)
        self.assertEqual(found.sum("age_touched_bytes"),
                         self.known(history()) * PAGE)
        self.assertGreaterEqual(
            found.sum("age_working_set_bytes", 'window="1h"'), HOT * PAGE)
        self.assertEqual(found.sum("age_stolen_pages_total"), 0)
        self.guest.command("cont")
        return url

    def test_exporter(self):
        """Somebody else who takes bits is told of, and counted."""
        truth = self.history()
        with self.exporter() as process:
            url = self.check_metrics(process, lambda: truth)
            with Thief(self.guest.qmps[2]):
                self.assertRegex(process.stderr.readline(), "first: somebody "
                                 "else .* --history")
            until(lambda: Metrics(url).sum("age_stolen_pages_total"),
                  "what was taken")
            self.assertEqual(self.interrupt(process), "")

    def test_exporter_history(self):
        """Somebody else takes all bits, and nothing is missing."""
        with Thief(self.guest.qmps[2]), self.exporter("--history") as process:
            self.check_metrics(process, lambda: self.guest.histories()[0])
            self.assertEqual(self.interrupt(process), "")

    # top

    def check_lines(self, process):
        """Waits for a line of the hot pages, and for one without."""
        def young():
            words = process.stdout.readline().split()
            self.assertTrue(words, "it ended")
            return size_of(words[2])

        self.assertEqual(process.stdout.readline().split()[:3],
                         ["GUEST", "MEM", "YOUNG"])
        while not is_hot(young()):
            pass
        line = process.stdout.readline()
        self.assertRegex(line, f"^first +{MEMORY} ")
        self.guest.command("stop")
        while young():
            pass
        self.guest.command("cont")

    def top(self, *words):
        """top in a pipe."""
        return self.tool("top", "--interval", INTERVAL, "--dirty", *words,
                         self.paths[0])

    def test_top_pipe(self):
        with self.top() as process:
            self.check_lines(process)
            with Thief(self.guest.qmps[2]):
                self.assertRegex(process.stderr.readline(), "first: somebody "
                                 "else .* --history")
                until(lambda: process.stdout.readline().endswith("!\n"),
                      "the mark")
            self.assertEqual(self.interrupt(process), "")

    def test_top_pipe_history(self):
        with Thief(self.guest.qmps[2]), self.top("--history") as process:
            self.check_lines(process)
            self.assertEqual(self.interrupt(process), "")

    def terminal(self, *words):
        """The tool in a terminal."""
        terminal = PseudoTerminal([TOOL, *words])
        self.addCleanup(terminal.close)
        return terminal

    def test_top_terminal(self):
        """All guests, one in depth, and the end by Ctrl-C."""
        with Thief(self.guest.qmps[2]):
            terminal = self.terminal("top", "--history", "--interval",
                                     INTERVAL, *self.paths)
            lines = terminal.until("3 of 3 guests")
            self.assertRegex("\n".join(lines), f"second +{MEMORY} ")
            terminal.press("\r")
            lines = terminal.until("never +[0-9.]+ MiB")
            self.assertRegex("\n".join(lines), r"(pc|mach-virt)\.ram: 512.0 M")
            terminal.press("\x03")
            self.assertEqual(terminal.end(), 0)
        terminal.check_restored()
        self.assertNotIn("somebody else", terminal.text)

    # Together

    def has_bytes(self, size):
        """Waits until the record has so many."""
        until(lambda: self.path.exists() and self.path.stat().st_size > size,
              "a record")

    def record(self, *words):
        """A recorder of the third socket."""
        return self.tool("record", "-o", self.path, "--interval", INTERVAL,
                         "--history", *words, self.paths[2])

    def test_together(self):
        """Three at a time; who made the history leaves first."""
        with self.top("--history") as top:
            top.stdout.readline()
            made = self.guest.histories()
            with self.tool("exporter", "--listen", "127.0.0.1:0", "--interval",
                           INTERVAL, "--history", self.paths[1]) as exporter, \
                    self.record() as record:
                url = exporter.stderr.readline().split()[-1]
                self.has_bytes(500)
                until(lambda: is_hot(Metrics(url).sum("age_young_bytes") or 0),
                      "the hot pages are young")
                self.assertEqual(self.guest.histories(), made)
                self.assertEqual(self.interrupt(top), "")
                self.assertIn("history was deleted", record.stderr.readline())
                self.assertIn("history was deleted",
                              exporter.stderr.readline())
                until(lambda: is_hot(Metrics(url).sum("age_young_bytes")),
                      "the hot pages are young")
                self.assertEqual(self.interrupt(exporter), "")
                self.assertIn("ended: asked", self.interrupt(record))
        # Twice if it was the exporter that made the second one.
        self.assertIn(self.report("summary")["events"]["history"], (1, 2))

    # Ctrl-C

    def test_interrupt_record(self):
        """At work, and on the way there."""
        for seconds in 0.2, 0.5, 0.8, 1.1, None:
            with self.record() as record:
                if seconds:
                    time.sleep(seconds)
                else:
                    self.has_bytes(500)
                record.send_signal(signal.SIGINT)
                _, errors = record.communicate(timeout=WAIT_S)
            self.assertIn(record.returncode, (0, 130, -signal.SIGINT))
            self.assertLessEqual(errors.count("\n"), 1, errors)
            self.assertEqual(self.guest.histories(), [])
            if self.path.exists():
                found = Reader(self.path)
                list(found)
                self.assertEqual(found.ended, "asked")
                self.path.unlink()
        self.assertEqual(record.returncode, 0)


class Command(FolderTest):
    """A QEMU of the tool's own."""

    def test_interrupt(self):
        """Ctrl-C in their terminal ends both, by the tool's hand."""
        terminal = PseudoTerminal([
            TOOL, "record", "-o", self.path, "--interval", "100ms", "--",
            emulator_path(ARGS.arch), "-display", "none", "-nodefaults",
            *linux_options(ARGS.arch)])
        self.addCleanup(terminal.close)
        until(lambda: self.path.exists() and self.path.stat().st_size > 2000,
              "a record")
        terminal.press("\x03")
        # It ends when nobody has the terminal any more, QEMU neither.
        self.assertEqual(terminal.end(), 0)
        self.assertRegex(terminal.text, "ended: asked\r\n$")
        self.assertNotIn("terminating", terminal.text)
        found = Reader(self.path)
        self.assertGreater(len(list(found)), 3)
        self.assertEqual(found.ended, "asked")


def main():
    """Runs everything, with signals as a shell in a terminal leaves them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    common.run_classes([Watch, Command], ARGS)


if __name__ == "__main__":
    main()
