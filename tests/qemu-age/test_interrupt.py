#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Ctrl-C at any moment: from before the first line of ours to the middle of the
work.

A program that was left behind is noticed, as it holds the pipe of complaints.
"""

import contextlib
import os
import random
import re
import signal
import subprocess
import tempfile
import time
import unittest
import unittest.mock
import urllib.request
from pathlib import Path

from fakes import PATIENCE_S, TOP, FakeSocket, slot, until
from fake_history import HistoryGuest

import common
from pseudoterminal import PseudoTerminal

from agelib.qemu_age.launch import Launched
from agelib.qemu_age.recordfile import Reader
from agelib.qemu_age.stop import Stop

TOOL = TOP / "scripts/qemu-age"
QEMU = TOP / "tests/qemu-age/fake_qemu.py"

# How many moments of a start are tried
MOMENTS = 14

# A shell says 130 in both cases.
INTERRUPTED = (128 + signal.SIGINT, -signal.SIGINT)


def listens(process):
    """Waits until exporter does."""
    line = process.stderr.readline()
    if "listening" not in line:
        raise AssertionError(line)
    with urllib.request.urlopen(line.split()[-1], timeout=PATIENCE_S):
        return line


class Moments(unittest.TestCase):
    """Each command, interrupted on its way to work, and at work."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="age-")
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "record"
        self.guest = HistoryGuest([slot(0, 0x100000)])
        self.guest.young = {1, 2, 3}
        server = FakeSocket(self.guest)
        self.addCleanup(server.close)
        self.socket = server.path

    @contextlib.contextmanager
    def running(self, *words):
        """A command; it has ended in the end."""
        process = subprocess.Popen([TOOL, *words], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.communicate(timeout=PATIENCE_S)

    def end(self, process, status):
        """Ctrl-C; returns what it still said, in a line at most."""
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
        self.assertIn(process.returncode, status, errors)
        # That a loaded host has no time is no matter of Ctrl-C.
        errors = re.sub("(?m)^.*: the harvests can't keep up.*\n", "", errors)
        self.assertLessEqual(errors.count("\n"), 1, errors)
        self.assertNotIn("Traceback", errors)
        return errors

    def check_left(self):
        """Nothing is left but what should be."""
        self.assertIsNone(self.guest.history)
        if self.path.exists():
            record = Reader(self.path)
            kinds = [entry.kind for entry in record]
            self.assertIsNone(record.broken)
            self.assertEqual((kinds[-1], record.ended), ("end", "asked"))
            self.path.unlink()

    def check(self, ready, *words):
        """
        Interrupts a command at moments up to the one at which it is @ready,
        which is waited for, and a little later.
        """
        begin = time.monotonic()
        for moment in range(MOMENTS, -1, -1):
            with self.running(*words) as process:
                if moment == MOMENTS:
                    ready(process)
                    whole = time.monotonic() - begin
                else:
                    time.sleep(whole * moment / MOMENTS)
                errors = self.end(process, (0,) if moment == MOMENTS
                                  else (0, *INTERRUPTED))
                if moment == MOMENTS:
                    # One that does not get on has to be ended by a signal.
                    self.assertNotIn("qemu: ", errors)
            self.check_left()

    def has_bytes(self, _):
        """Waits until something is recorded."""
        until(lambda: self.path.exists() and self.path.stat().st_size > 2000,
              "a record")

    def test_record(self):
        self.check(self.has_bytes, "record", "-o", self.path, "--interval",
                   "10ms", self.socket)

    def test_record_history(self):
        self.check(self.has_bytes, "record", "-o", self.path, "--interval",
                   "10ms", "--history", self.socket)
        self.assertTrue(self.guest.calls("object-add"))

    def test_record_command(self):
        self.check(self.has_bytes, "record", "-o", self.path, "--interval",
                   "10ms", "--", QEMU)

    def test_top(self):
        self.check(lambda process: process.stdout.readline(), "top",
                   "--interval", "10ms", "--history", "--guest", "qmp",
                   self.socket)

    def test_exporter(self):
        self.check(listens, "exporter", "--interval", "10ms", "--history",
                   "--listen", "127.0.0.1:0", self.socket)

    def test_report(self):
        """One that only reads ends at once."""
        with self.running("record", "-o", self.path, "--interval", "10ms",
                          self.socket) as process:
            self.has_bytes(process)
            self.end(process, (0,))
        for number in range(6):
            with self.running("report", self.path) as process:
                time.sleep(number / 10)
                self.end(process, (0, *INTERRUPTED))


class Terminals(unittest.TestCase):
    """Where Ctrl-C is a key, which QEMU gets as well."""

    def setUp(self):
        self.guest = HistoryGuest([slot(0, 0x100000)])
        self.server = FakeSocket(self.guest)
        self.addCleanup(self.server.close)

    def press(self, wait, *words):
        """Ctrl-C in a terminal; returns the exit status and the rest."""
        terminal = PseudoTerminal([TOOL, *words])
        try:
            wait(terminal)
            terminal.press("\x03")
            status = terminal.end()
            terminal.check_restored()
        finally:
            terminal.close()
        self.assertNotIn("Traceback", terminal.text)
        self.assertIsNone(self.guest.history)
        return status, terminal.text

    def test_top(self):
        """Before, while and after the terminal is taken over."""
        words = ("top", "--history", self.server.path)
        begin = time.monotonic()
        status, _ = self.press(lambda it: it.until("1 of 1 guests"), *words)
        whole = time.monotonic() - begin
        self.assertEqual(status, 0)
        for moment in range(MOMENTS):
            seconds = whole * moment / MOMENTS

            def wait(terminal, seconds=seconds):
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    terminal.read(max(end - time.monotonic(), 0))

            status, _ = self.press(wait, *words)
            self.assertIn(status, (0, *INTERRUPTED))

    def test_command(self):
        """QEMU does not end, nor say anything, before it is told to."""
        with tempfile.TemporaryDirectory(prefix="age-") as folder:
            path = Path(folder) / "record"

            def wait(_):
                until(lambda: path.exists() and path.stat().st_size > 2000,
                      "a record")

            status, text = self.press(wait, "record", "-o", path, "--interval",
                                      "10ms", "--", QEMU)
            record = Reader(path)
            list(record)
        self.assertEqual((status, record.ended), (0, "asked"))
        self.assertNotIn("terminating", text)


class Waits(unittest.TestCase):
    """What takes long does not wait for its end."""

    def interrupt(self, waits, *words):
        """What a command says that waits in vain, once it does."""
        with subprocess.Popen([TOOL, "record", "-o", "/nowhere/x", *words],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as process:
            try:
                waits(process)
                process.send_signal(signal.SIGINT)
                _, errors = process.communicate(timeout=PATIENCE_S)
            finally:
                process.kill()
        self.assertIn(process.returncode, INTERRUPTED)
        return errors

    def test_no_greeting(self):
        """The socket is somebody else's."""
        server = FakeSocket(greeting="")
        self.addCleanup(server.close)
        self.assertEqual(self.interrupt(
            lambda _: until(lambda: server.client, "a client"),
            server.path), "")

    def test_qemu_starts(self):
        """A QEMU that does not get on is ended."""
        self.assertEqual(self.interrupt(
            lambda process: process.stdout.readline(), "--", QEMU, "-hang"),
                         f"qemu: terminating on signal {signal.SIGTERM:d}\n")

    def test_wait(self):
        """A signal that comes just when a wait begins is noticed."""
        class Alarm(Stop):
            """The same by a signal that comes by itself."""
            SIGNALS = (signal.SIGALRM,)

        rng = random.Random(1)
        for _ in range(2000):
            with Alarm() as asked:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-6, 1e-4))
                while not asked.wait(1e-5):
                    pass

    def test_second(self):
        """The second one does not wait for what is under way."""
        with Stop() as asked:
            os.kill(os.getpid(), signal.SIGINT)
            self.assertTrue(asked.wait(PATIENCE_S))
            with self.assertRaises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(PATIENCE_S)

    def test_at_once(self):
        """A Ctrl-C that has come does not let a wait begin."""
        with Stop() as asked:
            with self.assertRaises(KeyboardInterrupt), asked.at_once():
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(PATIENCE_S)
            with self.assertRaises(KeyboardInterrupt), asked.at_once():
                self.fail("it began")
        self.assertIs(signal.getsignal(signal.SIGINT),
                      signal.default_int_handler)

    def test_no_end(self):
        """Whoever can't wait for a QEMU to end has it killed."""
        guest = Launched([str(QEMU)])
        with unittest.mock.patch.object(guest, "_quit",
                                        side_effect=KeyboardInterrupt), \
                self.assertRaises(KeyboardInterrupt):
            guest.end()
        self.assertEqual(guest.process.returncode, -signal.SIGKILL)
        guest.source.close()


def main():
    """Runs everything, with signals as a shell in a terminal leaves them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    common.run_classes([Moments, Terminals, Waits])


if __name__ == "__main__":
    main()
