#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
qemu-age top: its figures, and what a terminal of 80x24 gets to see.
"""

import socket
import subprocess
import unittest

from fakes import PAGE, PATIENCE_S, TOP, FakeGuest, FakeSocket, slot

import common
from pseudoterminal import PseudoTerminal

from agelib.qemu_age import top_text, top_view
from agelib.qemu_age.live import Guest
from agelib.qemu_age.source import QMPSource

COMMAND = [TOP / "scripts/qemu-age", "top"]
FAR = (1 << 30) // PAGE
SLOTS = [slot(0, 1000 * PAGE, backend="m0", node=0),
         slot(1 << 30, 500 * PAGE, backend="m1", node=1)]


class Steps(unittest.TestCase):
    """The figures of a guest, harvest by harvest."""

    def setUp(self):
        self.fake = FakeGuest([dict(item) for item in SLOTS])
        self.server = FakeSocket(self.fake)
        self.addCleanup(self.server.close)
        self.source = QMPSource.open(self.server.path)
        self.addCleanup(self.source.close)
        self.rates = top_view.Rates(10)
        self.guest = Guest(self.server.path, 10, top_view.key,
                           lambda place, interval: top_view.view(
                               place, interval, True), True, touches=True)

    def step(self, tick, young=(), dirty=()):
        """The row of a guest after one more harvest, every ten seconds."""
        self.fake.young, self.fake.dirty = set(young), set(dirty)
        self.guest.step(self.source, tick)
        return top_view.row("x", self.guest.figures, self.rates)

    def test_windows(self):
        """What can't be known yet is not made up."""
        row = self.step(0, range(100))
        self.assertEqual((row.memory, row.young), (1500, 100))
        self.assertEqual((row.sets, row.cold, row.promotions),
                         ([None] * 3, None, None))
        for tick in range(1, 61):
            row = self.step(tick, {1, FAR} if tick % 2 else {1, 2})
            self.assertEqual(row.sets, [
                2, 3 if tick >= 6 else None, 3 if tick >= 60 else None])
            # All of the first harvest but those two, from two minutes on
            self.assertEqual(row.cold, 98 if tick >= 12 else None)

    def test_promotions(self):
        """Pages that come back after two minutes, for one minute."""
        self.step(0, range(30))
        for tick in range(1, 15):
            self.step(tick, {1})
        self.assertEqual(self.step(15, range(11)).promotions, 10)
        for tick in range(16, 21):
            self.assertEqual(self.step(tick, {1}).promotions, 10)
        self.assertEqual(self.step(21, {1}).promotions, 0)

    def test_dirty(self):
        row = self.step(0, {1}, {1, FAR, FAR + 1})
        self.assertEqual(row.dirty, 3)
        line = top_text.guest_line(row, 10, True)
        self.assertEqual(line.split()[7], "1.2K")
        self.assertEqual(top_text.guest_line(row, 10, False).split()[7], "-")

    def test_small(self):
        """Small parts share a line."""
        self.fake.slots += [slot((1 << 31) + number * 4 * PAGE, 4 * PAGE,
                                 f"rom{number}") for number in range(9)]
        row = self.step(0, {1, (1 << 31) // PAGE})
        lines = list(top_text.detail(self.guest.figures, row, 10, True))
        self.assertIn("  9 small ones: 144.0 KiB, 4.0 KiB young", lines)
        self.assertLess(len(lines), 24)

    def test_depth(self):
        """Bars, strip and ranges of one guest."""
        self.step(0, range(100))
        for tick in range(1, 9):
            self.step(tick, {*range(10, 60), FAR + 7})
        near = self.guest.figures.places["m0", 0]
        # 0-2 s, to 10 s, to 1 min, to 2 min, to 10 min, more, never
        self.assertEqual(near.bars, [50, 0, 0, 50, 0, 0, 900])
        self.assertEqual(len(near.strip), top_view.COLUMNS)
        self.assertAlmostEqual(sum(near.strip), 50 / 1000 * 60, 0)
        self.assertEqual(near.ranges, [(10 * PAGE, 50, 1.0)])
        far = self.guest.figures.places["m1", 1]
        self.assertEqual(far.ranges, [((FAR + 7) * PAGE, 1, 8 / 9)])
        row = top_view.row("x", self.guest.figures, self.rates)
        for unicode in True, False:
            lines = list(top_text.detail(self.guest.figures, row, 10, True,
                                         unicode))
            self.assertLessEqual(max(map(len, lines)), 80)
            self.assertLess(len(lines), 24)
            self.assertEqual(all(map(str.isascii, lines)), not unicode)
        self.assertTrue(any("m1, node 1: 2.0 MiB" in line for line in lines))


class Texts(unittest.TestCase):
    """Numbers in few characters."""

    def test_short(self):
        for size in [0, 1, 999, 1000, 1023, 1024, 99999, 102349, 10 ** 6,
                     *(2 ** power - 1 for power in range(10, 60)),
                     *(2 ** power for power in range(10, 60))]:
            self.assertLessEqual(len(top_text.short_size(size)), 5, size)
            self.assertLessEqual(len(top_text.short_count(min(
                size, 10 ** 14))), 5)
            self.assertLessEqual(len(top_text.short_time(min(
                size, 10 ** 11))), 5)
        self.assertEqual(top_text.short_size(1536), "1.5K")
        self.assertEqual(top_text.short_size(64 << 30), "64.0G")
        self.assertEqual(top_text.short_count(1234), "1.2k")
        self.assertEqual(top_text.short_time(1500000), "1.5ms")
        self.assertEqual(top_text.short_size(None), "-")

    def test_window(self):
        """The chosen guest is always among those shown."""
        for count in range(40):
            for chosen in range(count):
                first, end = top_text.window(count, chosen, 10)
                self.assertTrue(first <= chosen < end)
                self.assertEqual(end - first, min(count, 10))


class Terminal(unittest.TestCase):
    """The command in a pseudo-terminal."""

    def setUp(self):
        self.servers = []

    def guests(self, *names):
        """Sockets with guests of these names behind them."""
        for name in names:
            guest = FakeGuest([dict(item) for item in SLOTS])
            guest.name = name
            guest.young = set(range(300))
            self.servers.append(FakeSocket(guest))
            self.addCleanup(self.servers[-1].close)
        return [server.path for server in self.servers]

    def start(self, *words):
        """Starts it in a terminal of 80x24."""
        found = PseudoTerminal([*COMMAND, *words])
        self.addCleanup(found.close)
        return found

    def test_list_and_depth(self):
        """All guests, one in depth by a key, and back."""
        terminal = self.start(*self.guests("alpha", "beta"))
        lines = terminal.until("2 of 2 guests")
        self.assertRegex(lines[1], "^GUEST +MEM +YOUNG +10s")
        self.assertRegex("\n".join(lines), "alpha +5.9M +")
        # Both at once, as from somebody who is quick
        terminal.press("\x1b[B\r")
        lines = terminal.until("never")
        self.assertRegex("\n".join(lines), "beta +5.9M +")
        self.assertIn("m1, node 1: 2.0 MiB", "\n".join(lines))
        terminal.press("b")
        terminal.until("2 of 2 guests")
        terminal.press("q")
        self.assertEqual(terminal.end(), 0)
        terminal.check_restored()

    def test_ctrl_c(self):
        """The terminal is given back."""
        terminal = self.start("--guest", "alpha", *self.guests("alpha"))
        terminal.until("never")
        self.assertTrue(terminal.taken())
        terminal.press("\x03")
        self.assertEqual(terminal.end(), 0)
        terminal.check_restored()

    def test_many(self):
        """More guests than lines."""
        terminal = self.start(*self.guests(*(f"guest{number:02}"
                                  for number in range(30))))
        lines = terminal.until("30 of 30 guests")
        self.assertEqual(sum("guest" in line for line in lines), 22)
        self.assertIn("9 more", lines[-1])
        terminal.press("\x03")
        terminal.end()

    def test_gone(self):
        """A guest that ends is said to have; the others go on."""
        terminal = self.start(*self.guests("alpha", "beta"))
        terminal.until("2 of 2 guests")
        self.servers[1].client.shutdown(socket.SHUT_RDWR)
        self.servers[1].close()
        lines = terminal.until("1 of 2 guests")
        self.assertRegex("\n".join(lines), "beta +.*/qmp: ")
        terminal.press("q")
        self.assertEqual(terminal.end(), 0)


class Pipe(unittest.TestCase):
    """Where nobody looks at a screen."""

    def run_tool(self, *words):
        """Exit status, output, complaints."""
        done = subprocess.run([*COMMAND, *words], capture_output=True,
                              text=True, check=False, timeout=PATIENCE_S)
        return done.returncode, done.stdout, done.stderr

    def test_lines(self):
        """A line a second, without any escape."""
        guest = FakeGuest([dict(item) for item in SLOTS])
        guest.name, guest.young = "alpha", set(range(50))
        server = FakeSocket(guest)
        self.addCleanup(server.close)
        status, out, errors = self.run_tool("--for", "4s", server.path)
        self.assertEqual((status, errors), (0, ""))
        lines = out.splitlines()
        self.assertNotIn("\x1b", out)
        self.assertLessEqual(max(map(len, lines)), 80)
        self.assertEqual(lines[0].split()[:3], ["GUEST", "MEM", "YOUNG"])
        self.assertIn(len(lines), (3, 4, 5, 6))
        self.assertEqual({line.split()[0] for line in lines[1:]}, {"alpha"})

    def test_errors(self):
        self.assertEqual(self.run_tool("/nowhere"), (
            1, "", "qemu-age: /nowhere: no such socket or folder; start QEMU "
            "with -qmp unix:PATH,server=on,wait=off\n"))
        server = FakeSocket(FakeGuest([dict(item) for item in SLOTS]))
        self.addCleanup(server.close)
        status, _, errors = self.run_tool("--for", "1s", "--guest", "x",
                                          server.path)
        self.assertEqual((status, errors),
                         (1, "qemu-age: no guest is called 'x'\n"))


def main():
    """Runs everything."""
    common.run_classes([Steps, Texts, Terminal, Pipe])


if __name__ == "__main__":
    main()
