#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Guests whose QEMU keeps a history: who makes it, who deletes it, and what
happens to those who read it if something goes wrong.
"""

import contextlib
import functools
import socket
import subprocess
import sys
import threading
import unittest
import urllib.request

from fakes import (PAGE, PATIENCE_S, TOP, FakeGuest, FakeSocket, frames, slot,
                   until)
from fake_history import HistoryGuest, refusal

import common

from agelib.qemu_age import live
from agelib.qemu_age.fleet import Fleet
from agelib.qemu_age.history_source import OURS, HistorySource
from agelib.qemu_age.live import Guest
from agelib.qemu_age.source import (QMPSource, SourceError, SourceGone,
                                    connect)

TOOL = TOP / "scripts/qemu-age"
SLOTS = [slot(0, 0x100000), slot(0x400000, 0x200000)]


def harvest_by(guest, kind="young"):
    """Somebody else takes what is young of a guest."""
    guest.answer({"execute": f"age-test-clear-{kind}"})


@contextlib.contextmanager
def thief(guest):
    """Somebody else who does so all the time, and finds something."""
    stop = threading.Event()

    def run():
        while not stop.wait(0.02):
            with guest.lock:
                guest.young |= {1, 2, 3}
            harvest_by(guest)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class Sources(unittest.TestCase):
    """A source, command by command."""

    def open(self, guest, dirty=False):
        """A source for a guest."""
        server = FakeSocket(guest)
        self.addCleanup(server.close)
        found = HistorySource(connect(server.path), server.path, dirty)
        self.addCleanup(found.close)
        return found, server

    def check(self, found, young, replaced=False):
        """The next harvest is this one."""
        harvest = found.harvest()
        self.assertEqual((frames(harvest.young), harvest.replaced),
                         (set(young), replaced))

    def test_made(self):
        """One that is made is deleted in the end."""
        guest = HistoryGuest(SLOTS)
        found, _ = self.open(guest, dirty=True)
        self.assertEqual(guest.history, OURS)
        self.assertTrue(guest.keeps_dirty)
        found.close()
        self.assertIsNone(guest.history)

    def test_left_alone(self):
        """One that was there stays."""
        guest = HistoryGuest(SLOTS, "h0")
        found, _ = self.open(guest)
        self.check(found, ())
        found.close()
        self.assertEqual(guest.history, "h0")
        self.assertEqual(guest.calls("object-add"), [])
        self.assertEqual(guest.calls("object-del"), [])

    def test_shared(self):
        """What others take is not missing, be it as runs or as a bitmap."""
        guest = HistoryGuest(SLOTS)
        found, _ = self.open(guest, dirty=True)
        for guest.max_runs in 3500, 1:
            guest.young, guest.dirty = {1, 2, 0x401}, {2, 9}
            harvest_by(guest)
            guest.young |= {7}
            harvest_by(guest, "dirty")
            harvest = found.harvest(dirty=True)
            self.assertEqual(frames(harvest.young), {1, 2, 7, 0x401})
            self.assertEqual(frames(harvest.dirty), {2, 9})
            self.assertEqual(found.strangers(), 0)
            self.check(found, ())

    def test_two(self):
        """Neither reader takes anything from the other."""
        guest = HistoryGuest(SLOTS)
        (one, _), (two, _) = self.open(guest), self.open(guest)
        guest.young = {5}
        self.check(one, {5})
        guest.young = {6}
        self.check(two, {5, 6})
        self.check(one, {6})

    def test_deleted(self):
        """Another one is made, and nothing that is still there is lost."""
        guest = HistoryGuest(SLOTS)
        found, _ = self.open(guest)
        guest.young = {1, 2}
        self.check(found, {1, 2})
        guest.answer({"execute": "object-del", "arguments": {"id": OURS}})
        guest.young = {3}
        self.check(found, {3}, True)
        guest.young = {4}
        self.check(found, {4})
        found.close()
        self.assertIsNone(guest.history)

    def test_taken_over(self):
        """One by another name is read, and stays in the end."""
        guest = HistoryGuest(SLOTS)
        found, _ = self.open(guest)
        self.check(found, ())
        guest.begin("h1")
        guest.young = {3}
        self.check(found, {3}, True)
        found.close()
        self.assertEqual(guest.history, "h1")

    def test_same_name(self):
        """It was deleted, and added again by the same name."""
        guest = HistoryGuest(SLOTS, "h0")
        found, _ = self.open(guest, dirty=True)
        found.harvest(dirty=True)
        guest.begin("h0")
        guest.young = {3}
        harvest = found.harvest(dirty=True)
        self.assertTrue(harvest.replaced)
        self.assertEqual(frames(harvest.young), {3})
        self.assertFalse(found.harvest(dirty=True).replaced)

    def test_loaded(self):
        """A state that is loaded is no other history."""
        guest = HistoryGuest(SLOTS, "h0")
        found, _ = self.open(guest, dirty=True)
        found.harvest(dirty=True)
        guest.load()
        guest.young = {3}
        harvest = found.harvest(dirty=True)
        self.assertEqual((frames(harvest.young), harvest.generation,
                          harvest.replaced), ({3}, 2, False))

    def test_quicker(self):
        """Somebody else makes one at the same time."""
        guest = HistoryGuest(SLOTS)
        plain = guest.add

        def add(arguments):
            guest.begin("other")
            return plain(arguments)

        guest.script["object-add"] = add
        found, _ = self.open(guest)
        found.close()
        self.assertEqual(guest.history, "other")

    def test_refused(self):
        """An error of another kind is one, and makes no other history."""
        guest = HistoryGuest(SLOTS, "h0", dirty=False)
        found, _ = self.open(guest, dirty=True)
        for _ in range(2):
            with self.assertRaisesRegex(SourceError, "not remember stores"):
                found.harvest(dirty=True)
        self.assertEqual(guest.history, "h0")
        guest.script["object-add"] = lambda _: refusal("unknown type")
        guest.history = None
        with self.assertRaisesRegex(SourceError, "unknown type"):
            found.harvest()
        with self.assertRaisesRegex(SourceError, "unknown type"):
            self.open(guest)

    def test_connection_lost(self):
        """Who comes back knows the history that is its own."""
        guest = HistoryGuest(SLOTS)
        found, server = self.open(guest)
        server.client.shutdown(socket.SHUT_RDWR)
        with self.assertRaises(SourceGone):
            found.harvest()
        found.close()
        self.assertEqual(guest.history, OURS)
        self.open(guest)[0].close()
        self.assertIsNone(guest.history)

    def test_no_answer(self):
        """A QEMU that does not answer is not asked again in the end."""
        guest = HistoryGuest(SLOTS)
        found, _ = self.open(guest)
        found.qmp.sock.close()
        with self.assertRaises(SourceGone):
            found.harvest()
        found.close()
        self.assertEqual(guest.calls("object-del"), [])


class Watched(unittest.TestCase):
    """Guests that are followed, as top and exporter do."""

    def setUp(self):
        before, live.RETRY_S = live.RETRY_S, 0.05
        self.addCleanup(setattr, live, "RETRY_S", before)
        self.said = []

    def serve(self, guest):
        """A socket with a guest behind it."""
        server = FakeSocket(guest)
        self.addCleanup(server.close)
        return server

    def fleet(self, *servers, make_source=HistorySource):
        """These are watched."""
        fleet = Fleet([server.path for server in servers], functools.partial(
            Guest, interval=0.05, key=lambda part: None,
            view=lambda place, _: place.young, make_source=make_source),
            self.said.append)
        self.addCleanup(fleet.close)
        fleet.refresh()
        return fleet

    def test_made(self):
        """Each guest gets what it lacks, for as long as it is watched."""
        guests = HistoryGuest(SLOTS), HistoryGuest(SLOTS, "h0")
        fleet = self.fleet(*map(self.serve, guests))
        until(lambda: len(fleet.figures()) == 2, "two guests")
        self.assertEqual([guest.history for guest in guests], [OURS, "h0"])
        fleet.close()
        self.assertEqual([guest.history for guest in guests], [None, "h0"])
        self.assertEqual(self.said, [])

    def test_forgotten(self):
        """A guest that is not watched any more is left as it was."""
        guest = HistoryGuest(SLOTS)
        fleet = self.fleet(self.serve(guest))
        until(fleet.figures, "a guest")
        fleet.paths = []
        fleet.refresh()
        until(lambda: not guest.history, "the end of its history")

    def test_vanishes(self):
        """A history that somebody deletes is told of once."""
        guest = HistoryGuest(SLOTS)
        fleet = self.fleet(self.serve(guest))
        for _ in range(3):
            until(lambda: guest.history, "a history")
            guest.answer({"execute": "object-del",
                          "arguments": {"id": guest.history}})
        until(lambda: fleet.refresh() or self.said, "a word about it")
        until(lambda: guest.history, "a history")
        fleet.close()
        self.assertEqual(len(self.said), 1)
        self.assertRegex(self.said[0], "/qmp: the history was deleted")
        self.assertIsNone(guest.history)

    def test_qemu_dies(self):
        """Its error is told; the QEMU that comes next has a history anew."""
        guest = HistoryGuest(SLOTS)
        server = self.serve(guest)
        fleet = self.fleet(server)
        until(fleet.figures, "a guest")
        server.client.shutdown(socket.SHUT_RDWR)
        with guest.lock:
            guest.history = None
        until(lambda: fleet.refresh() or self.said, "an error")
        until(lambda: guest.history, "a history")
        fleet.close()
        self.assertIsNone(guest.history)
        self.assertRegex(self.said[0], "/qmp: QMP connection (closed|lost)")

    def test_hangs(self):
        """A QEMU that does not answer does not hold up the end."""
        guest = HistoryGuest(SLOTS)
        fleet = self.fleet(self.serve(guest))
        until(fleet.figures, "a guest")
        thread = next(iter(fleet.guests.values()))
        with guest.lock:
            fleet.close()
            self.assertTrue(thread.is_alive())
        until(lambda: not guest.history, "the end of its history")

    def test_stranger(self):
        """Who takes bits is told of once for each guest."""
        guests = [FakeGuest(SLOTS), FakeGuest(SLOTS), FakeGuest(SLOTS)]
        fleet = self.fleet(*map(self.serve, guests), make_source=QMPSource)
        with thief(guests[0]), thief(guests[1]):
            def told():
                fleet.refresh()
                sums = [guest.figures.sums if guest.figures else live.Sums()
                        for guest in fleet.guests.values()]
                return min(item.harvests for item in sums) > 40
            until(told, "many harvests")
        self.assertEqual(len(self.said), 2, self.said)
        for text, path in zip(sorted(self.said), sorted(
                list(fleet.guests)[:2])):
            self.assertRegex(text, f"^{path}: somebody else makes pages old")
        stolen = [guest.figures.sums.stolen for guest
                  in fleet.guests.values()]
        self.assertEqual([bool(count) for count in stolen],
                         [True, True, False])


class Tools(unittest.TestCase):
    """The commands."""

    def serve(self, guest):
        """The path of a socket with a guest behind it."""
        server = FakeSocket(guest)
        self.addCleanup(server.close)
        return server.path

    def top(self, guest, *words):
        """top in a pipe, for some seconds; its lines and complaints."""
        done = subprocess.run(
            [sys.executable, TOOL, "top", "--interval", "100ms", "--for",
             "4s", *words, self.serve(guest)], capture_output=True, text=True,
            check=False, timeout=PATIENCE_S)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.splitlines(), done.stderr

    def exporter(self, guest, *words):
        """What exporter offers after a while, and what it complained of."""
        with subprocess.Popen(
                [sys.executable, TOOL, "exporter", "--interval", "100ms",
                 "--listen", "127.0.0.1:0", *words, self.serve(guest)],
                stderr=subprocess.PIPE, text=True) as process:
            try:
                url = process.stderr.readline().split()[-1]

                def harvests():
                    with urllib.request.urlopen(url, timeout=PATIENCE_S) as it:
                        return (text := it.read().decode()).count(
                            'age_harvests_total{guest="qmp"} ') and float(
                            text.split('age_harvests_total{guest="qmp"} ')[1]
                            .split()[0]) > 25 and text
                text = until(harvests, "harvests")
            finally:
                process.terminate()
                _, errors = process.communicate(timeout=PATIENCE_S)
        self.assertEqual(process.returncode, 0, errors)
        return text, errors

    def test_top_history(self):
        """It is made and deleted, and nobody is a thief."""
        guest = HistoryGuest(SLOTS)
        with thief(guest):
            lines, errors = self.top(guest, "--history", "--dirty")
        self.assertEqual(errors, "")
        self.assertFalse([line for line in lines if line.endswith("!")])
        self.assertIn(f"{3 * PAGE >> 10}.0K",
                      [line.split()[2] for line in lines])
        self.assertEqual([(item["qom-type"], item["dirty"]) for item
                          in guest.calls("object-add")],
                         [("age-history", True)])
        self.assertIsNone(guest.history)

    def test_top_stranger(self):
        """Without it the thief is told of, once, and marked."""
        guest = HistoryGuest(SLOTS)
        with thief(guest):
            lines, errors = self.top(guest)
        self.assertEqual(errors.count("\n"), 1, errors)
        self.assertRegex(errors, "qemu-age: .*/qmp: somebody else .*--history")
        self.assertTrue(lines[-1].endswith("!"), lines)
        self.assertEqual(guest.calls("object-add"), [])

    def test_exporter_history(self):
        guest = HistoryGuest(SLOTS, "h0")
        with thief(guest):
            text, errors = self.exporter(guest, "--history")
        self.assertEqual(errors, "")
        self.assertIn('age_stolen_pages_total{guest="qmp"} 0.0', text)
        self.assertIn(f'age_touched_bytes{{guest="qmp",node=""}} {3 * PAGE}.0',
                      text)
        self.assertEqual(guest.history, "h0")

    def test_exporter_stranger(self):
        guest = HistoryGuest(SLOTS)
        with thief(guest):
            text, errors = self.exporter(guest)
        self.assertEqual(errors.count("\n"), 1, errors)
        self.assertRegex(errors, "qemu-age: .*/qmp: somebody else .*--history")
        self.assertNotIn('age_stolen_pages_total{guest="qmp"} 0.0', text)


def main():
    """Runs everything."""
    common.run_classes([Sources, Watched, Tools])


if __name__ == "__main__":
    main()
