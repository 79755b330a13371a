#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
The library below the guests' tests, without any guest.
"""

import base64
import io
import json
import os
import re
import socket
import threading
import unittest
import unittest.mock
from collections import Counter

import common

from agelib.demo.program import parse_args
from agelib.demo.result import compare, percent
from agelib.demo.watch import MAP_CELLS, Watch, place
from agelib.guest.workload import (ENTRY_SHAPE_SHIFT, ENTRY_TOUCHED, Account,
                             decode_account, runs)
from agelib.qemu.harvest import PAGE, decode_bitmap, encode_bitmap, ram_ranges
from agelib.qemu.qmp import QMP, QMPCommandError, QMPError
from agelib.terminal import WIDTH, Terminal, thousands


def bitmap(count, *bits, ones=True):
    """A bitmap as it comes back, with some bits flipped."""
    value = (1 << count) - 1 if ones else 0
    for bit in bits:
        value ^= 1 << bit
    data = value.to_bytes((count + 7) // 8, "little")
    return base64.b64encode(data).decode()


class Bitmaps(unittest.TestCase):
    """From the bits of a range to page frames."""

    def test_order(self):
        """Bit 0 is the last page, the highest bit is the first."""
        start, end = 16 * PAGE, 80 * PAGE
        for ones in (True, False):
            text = bitmap(64, 0, 63, ones=ones)
            self.assertEqual(decode_bitmap(start, end, text, ones), {16, 79})

    def test_every_bit(self):
        """Each bit alone is one page, at its place."""
        end = 43 * PAGE
        for bit in range(43):
            text = bitmap(43, bit)
            self.assertEqual(decode_bitmap(0, end, text, True), {42 - bit})

    def test_nothing_young(self):
        """What comes back as it went has no young page."""
        for ones in (True, False):
            text = encode_bitmap(0, 100 * PAGE, ones)
            self.assertFalse(decode_bitmap(0, 100 * PAGE, text, ones))

    def test_padding(self):
        """Bits behind the last page say nothing."""
        text = base64.b64encode(b"\xff\x0f").decode()
        self.assertFalse(decode_bitmap(0, 12 * PAGE, text, True))

    def test_short(self):
        """A bitmap that is too short is no bitmap of the range."""
        with self.assertRaisesRegex(Exception, "only 8 bits"):
            decode_bitmap(0, 9 * PAGE, bitmap(8), True)


class Ranges(unittest.TestCase):
    """From slots to ranges, and from frames to runs."""

    @staticmethod
    def slot(gpa, size, space="memory"):
        """A slot as query-age tells it."""
        return {"gpa": gpa, "size": size, "address-space": space}

    def test_merge(self):
        """Neighbours merge, holes and other address spaces do not."""
        slots = [self.slot(0x3000, 0x1000), self.slot(0, 0x2000),
                 self.slot(0x2000, 0x1000), self.slot(0x8000, 0x1000),
                 self.slot(0x4000, 0x4000, "smm")]
        self.assertEqual(ram_ranges(slots),
                         [(0, 0x4000), (0x8000, 0x9000)])
        self.assertEqual(ram_ranges(slots, "smm"), [(0x4000, 0x8000)])

    def test_runs(self):
        """Only frames that follow each other are read at once."""
        self.assertEqual(runs([7, 8, 9, 3, 4, 6]), [(7, 3), (3, 2), (6, 1)])
        self.assertEqual(runs([]), [])


class Accounts(unittest.TestCase):
    """The account, and what is made of it."""

    def test_decode(self):
        """Frame, flag and shape of an entry."""
        account = decode_account(
            [0x123 | ENTRY_TOUCHED | 1 << ENTRY_SHAPE_SHIFT,
             0x456 | 3 << ENTRY_SHAPE_SHIFT], 0)
        self.assertEqual(account.touched, {0x123})
        self.assertEqual(account.untouched, {0x456})
        self.assertEqual(account.shapes["hot"], {0x123})
        self.assertEqual(account.shapes["cold"], {0x456})

    def test_compare(self):
        """A miss, an invention, and a page of somebody else."""
        account = Account({1, 2, 3, 4}, {5, 6},
                          {"none": set(), "hot": {1, 2, 3, 4},
                           "cold": {5, 6}}, 0)
        result = compare(account, {1, 2, 3, 5, 9},
                         Counter({1: 2, 2: 2, 3: 1, 5: 1}), 2)
        self.assertEqual(result["touched"], 4)
        self.assertEqual(result["found"], 3)
        self.assertEqual(result["recall"], 0.75)
        self.assertEqual(result["invented"], 1)
        self.assertEqual(result["elsewhere"], 1)
        self.assertEqual(result["shapes"]["hot"]["seen-in"], 5 / 8)

    def test_percent(self):
        """A single miss in a million does not read as 100 %."""
        self.assertEqual(percent(1), "100.00 %")
        self.assertEqual(percent(999999 / 1000000), "99.99 %")

    def test_place(self):
        """Shares of memory in which pages are young, over holes."""
        ranges = [(0, 4 * PAGE), (100 * PAGE, 104 * PAGE)]
        self.assertEqual(place({0, 1, 102}, ranges, 4), [1, 0, 0, 0.5])


class FakeTerminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    @staticmethod
    def isatty():
        """It is none, of course."""
        return True


class Text(unittest.TestCase):
    """What terminals and pipes get."""

    def test_width(self):
        """The longest numbers leave room for the map."""
        stream = FakeTerminal()
        sample = {"seconds": 3599.0, "young": 1 << 28, "cumulative": 1 << 28,
                  "pages": 1 << 28, "cost-ns": 999 * 10 ** 6}
        with unittest.mock.patch.dict(os.environ, {"TERM": "xterm"}):
            watch = Watch("aarch64", parse_args([]), Terminal(stream))
            watch.print_columns()
            watch.print_sample(sample, [0.5] * MAP_CELLS)
        plain = re.sub("\r|\033\\[[0-9]*[a-zA-Z]", "", stream.getvalue())
        for line in plain.splitlines():
            self.assertLess(len(line), WIDTH, line)

    def test_plain(self):
        """Neither colours nor lines that change, nor what can't be shown."""
        data = io.BytesIO()
        stream = io.TextIOWrapper(data, encoding="ascii")
        term = Terminal(stream)
        term.status("soon gone")
        term.line(term.style("✔", "green") + " done · well" + term.map([1]))
        stream.flush()
        self.assertEqual(data.getvalue(), b"ok: done - well#\n")

    def test_thousands(self):
        """Groups of three digits."""
        self.assertEqual(thousands(1234567), "1 234 567")


class FakeServer(threading.Thread):
    """The other end of a QMP connection, with one answer to each request."""

    def __init__(self, sock, capabilities, answers):
        super().__init__(daemon=True)
        self.file = sock.makefile("rw", encoding="utf-8", newline="\n")
        self.sock = sock
        self.answers = [{"return": {}}] + answers
        self.requests = []
        self.put({"QMP": {"version": {}, "capabilities": capabilities}})
        self.start()

    def put(self, message):
        """Sends one message, with QEMU's line ending."""
        self.file.write(json.dumps(message) + "\r\n")
        self.file.flush()

    def run(self):
        for answer in self.answers:
            request = json.loads(self.file.readline())
            self.requests.append(request)
            self.put({"event": "SOMETHING", "data": {}})
            self.put(dict(answer, id=request["id"]))
        self.file.close()
        self.sock.close()


class Client(unittest.TestCase):
    """The QMP client."""

    def connect(self, capabilities, *answers):
        """A client, and the server that it talks to."""
        ours, theirs = socket.socketpair()
        server = FakeServer(theirs, capabilities, list(answers))
        client = QMP(ours)
        self.addCleanup(client.close)
        client.connect(10)
        return client, server

    def test_oob(self):
        """A command is out of band where that was offered."""
        client, server = self.connect(["oob"], {"return": 1}, {"return": 2})
        self.assertEqual(client.command("a"), 1)
        self.assertEqual(client.command("b", {"x": 1}, oob=True), 2)
        self.assertEqual([request["id"] for request in server.requests],
                         [1, 2, 3])
        self.assertEqual(server.requests[0]["arguments"], {"enable": ["oob"]})
        self.assertEqual(server.requests[1]["execute"], "a")
        self.assertEqual(server.requests[2]["exec-oob"], "b")
        self.assertEqual(server.requests[2]["arguments"], {"x": 1})
        self.assertEqual(len(client.events), 3)

    def test_no_oob(self):
        """Where it was not, it is an error of our own."""
        client, _ = self.connect([])
        with self.assertRaisesRegex(QMPError, "out-of-band"):
            client.command("a", oob=True)

    def test_error(self):
        """An error has QEMU's words."""
        client, _ = self.connect([], {"error": {"class": "GenericError",
                                                "desc": "no such thing"}})
        with self.assertRaisesRegex(QMPCommandError, "a: no such thing"):
            client.command("a")

    def test_closed(self):
        """A connection that is gone is an error, not a wait."""
        client, _ = self.connect([], {"return": 1})
        client.command("a")
        with self.assertRaises(QMPError):
            client.command("b", timeout=10)


def main():
    """Runs everything."""
    common.run_classes([Bitmaps, Ranges, Accounts, Text, Client])


if __name__ == "__main__":
    main()
