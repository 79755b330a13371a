#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Guests that come and go, and what Prometheus makes of their figures.
"""

import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from fakes import PAGE, PATIENCE_S, TOP, FakeGuest, FakeSocket, slot, until

import common

from agelib.qemu_age import live, metrics
from agelib.qemu_age.fleet import Fleet
from agelib.qemu_age.live import Guest
from agelib.qemu_age.source import QMPSource

SLOTS = [slot(0, 100 * PAGE, backend="m0", node=0),
         slot(1 << 30, 50 * PAGE, backend="m1", node=1)]
FAR = (1 << 30) // PAGE
NEEDED = "no prometheus: run scripts/setup --test-guests"


def guest_named(name):
    """A made-up guest."""
    guest = FakeGuest([dict(item) for item in SLOTS])
    guest.name = name
    return guest


def get(url):
    """What a server says."""
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        return answer.read().decode()


def queries():
    """The queries that the manual has."""
    text = (TOP / "docs/system/age-export.rst").read_text("utf-8")
    text = text[text.index("Queries to begin with"):text.index("Export\n---")]
    blocks = re.findall(r"\n\n((?:  .*\n|\n(?=  ))+)", text)
    return [query for block in blocks for query in block.split("\n\n")]


def free_port():
    """A port that nobody uses now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def end_process(process):
    """Ends a process that we started; returns its exit status."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(PATIENCE_S)
    finally:
        process.kill()
        if process.stderr:
            process.stderr.close()


class Steps(unittest.TestCase):
    """A guest, harvest by harvest, without any thread."""

    def setUp(self):
        self.fake = guest_named("steps")
        self.server = FakeSocket(self.fake)
        self.addCleanup(self.server.close)
        self.source = QMPSource.open(self.server.path)
        self.addCleanup(self.source.close)
        self.guest = Guest(self.server.path, 10, lambda part: part.node,
                           metrics.view, dirty=True)

    def step(self, tick, young=(), dirty=()):
        """One harvest; the figures after it."""
        self.fake.young, self.fake.dirty = set(young), set(dirty)
        self.guest.step(self.source, tick)
        return self.guest.figures

    def test_figures(self):
        """Nodes apart, and each figure as it can be told by hand."""
        self.step(0, range(20))
        self.step(1, {1, 2, FAR}, {1})
        found = self.step(5, {3, FAR}, {1, 2})
        near, far = found.places[0], found.places[1]
        self.assertEqual(near.memory, 100 * PAGE)
        self.assertEqual(near.touched, 20 * PAGE)
        self.assertEqual(near.young, PAGE)
        self.assertEqual(near.dirtied, 3 * PAGE)
        self.assertEqual(near.first, 20)
        self.assertEqual(near.sets, {"10s": PAGE, "1m": 20 * PAGE,
                                     "2m": 20 * PAGE, "10m": 20 * PAGE,
                                     "1h": 20 * PAGE})
        # Idle for 0: page 3; 40 s: 1 and 2; 50 s: the 17 others
        self.assertEqual(dict(near.idle)["30.0"], PAGE)
        self.assertEqual(dict(near.idle)["60.0"], 20 * PAGE)
        self.assertEqual(near.idle[-1], ("+Inf", 20 * PAGE))
        self.assertEqual(near.idle_sum, (2 * 40 + 17 * 50) * PAGE)
        # Pages 1 and 2 came back at once, page 3 after 4 ticks between
        self.assertEqual(dict(near.again),
                         {"10.0": 2, "30.0": 2} | dict.fromkeys(
                             ["60.0", "120.0", "300.0", "600.0", "1800.0",
                              "3600.0", "7200.0", "+Inf"], 3))
        self.assertEqual(near.again_sum, 40)
        self.assertEqual((far.memory, far.touched, far.first),
                         (50 * PAGE, PAGE, 1))
        self.assertEqual((found.sums.harvests, found.sums.missed), (3, 3))

    def test_layout_and_load(self):
        """Memory comes and goes; a guest that is loaded begins anew."""
        self.step(0, {1, FAR})
        self.fake.slots.pop()
        found = self.step(1, {2})
        self.assertEqual(list(found.places), [0])
        self.assertEqual(found.places[0].touched, 2 * PAGE)
        self.fake.slots.append(dict(SLOTS[1]))
        self.assertEqual(self.step(2).places[1].touched, 0)
        self.fake.generation = 2
        found = self.step(3, {7})
        self.assertEqual(found.places[0].touched, PAGE)
        self.assertEqual(found.sums.loads, 1)

    def test_refused(self):
        """A harvest that is refused is a failure, and the next is none."""
        self.step(0, {1})
        self.fake.script["age-test-clear-young"] = lambda _: {
            "error": {"class": "GenericError", "desc": "not now"}}
        self.assertIn("not now", self.step(1).error)
        self.fake.script.clear()
        found = self.step(2, {1})
        self.assertTrue(found.up)
        self.assertEqual((found.sums.failures, found.sums.missed), (1, 1))


class Folders(unittest.TestCase):
    """Who is watched."""

    def test_come_and_go(self):
        folder = tempfile.TemporaryDirectory(prefix="age-")
        self.addCleanup(folder.cleanup)
        said = []
        fleet = Fleet([folder.name], lambda path: Guest(
            path, 0.05, lambda part: None, metrics.view), said.append)
        self.addCleanup(fleet.close)
        fleet.refresh()
        self.assertEqual(fleet.figures(), [])
        servers = [FakeSocket(guest_named("twin")) for _ in range(2)]
        for number, server in enumerate(servers):
            self.addCleanup(server.close)
            os.rename(server.path, f"{folder.name}/{number}")
        Path(folder.name, "log").write_text("no socket", "utf-8")
        fleet.refresh()
        until(lambda: len(fleet.figures()) == 2, "two guests")
        self.assertEqual([title for title, _ in fleet.figures()], [
            f"twin ({folder.name}/{number})" for number in range(2)])
        os.unlink(f"{folder.name}/0")
        fleet.refresh()
        self.assertEqual([title for title, _ in fleet.figures()], ["twin"])
        self.assertEqual(said, [])

    def test_back(self):
        """A guest that has gone is told once, and begins anew."""
        before, live.RETRY_S = live.RETRY_S, 0.05
        self.addCleanup(setattr, live, "RETRY_S", before)
        server = FakeSocket(guest_named("back"))
        self.addCleanup(server.close)
        said = []
        fleet = Fleet([server.path], lambda path: Guest(
            path, 0.05, lambda part: None, metrics.view), said.append)
        self.addCleanup(fleet.close)
        fleet.refresh()
        until(lambda: any(item.up for _, item in fleet.figures()), "up")
        server.client.shutdown(socket.SHUT_RDWR)
        until(lambda: fleet.refresh() or said, "an error")
        until(lambda: any(item.up for _, item in fleet.figures()), "back")
        self.assertLess(fleet.figures()[0][1].sums.harvests, 100)
        self.assertEqual(len(said), 1, said)


class Exporter(unittest.TestCase):
    """The command itself, with two guests behind it."""

    def setUp(self):
        self.guests = [guest_named("alpha"), guest_named("beta")]
        self.servers = [FakeSocket(guest) for guest in self.guests]
        for server in self.servers:
            self.addCleanup(server.close)
        self.guests[0].young = set(range(7))
        self.guests[1].young = {FAR}
        self.url = self.start(*[server.path for server in self.servers])

    def start(self, *words):
        """Starts it; returns where it listens."""
        process = subprocess.Popen(
            [sys.executable, str(TOP / "scripts/qemu-age"), "exporter",
             "--listen", "127.0.0.1:0", "--interval", "1s", *words],
            stderr=subprocess.PIPE, text=True)
        self.process = process
        self.addCleanup(end_process, process)
        line = process.stderr.readline()
        self.assertRegex(line, "listening: http://127.0.0.1:[0-9]+/metrics")
        return line.split()[-1]

    def ready(self):
        """The metrics, once both guests are in them."""
        return until(lambda: (text := get(self.url)).count(
            "age_harvests_total{") == 2 and text, "two guests")

    def test_metrics(self):
        text = self.ready()
        for line in (
                'age_touched_bytes{guest="alpha",node="0"} 28672.0',
                'age_touched_bytes{guest="beta",node="1"} 4096.0',
                'age_memory_bytes{guest="beta",node="0"} 409600.0',
                'age_lost_bytes{guest="alpha"} 0.0',
                'age_idle_seconds_bucket{guest="alpha",le="+Inf",node="0"} '
                '28672.0',
                'age_working_set_bytes{guest="alpha",node="0",window="1m"} '
                '28672.0'):
            self.assertIn(line, text)

    def test_scrapes_cost_nothing(self):
        """The guest is harvested at the interval, however often asked."""
        self.ready()
        before = len(self.guests[0].requests)
        begin = time.monotonic()
        for _ in range(50):
            get(self.url)
        more = len(self.guests[0].requests) - before
        # A harvest is a command, with query-age each tenth time.
        self.assertLessEqual(more, 2 * (time.monotonic() - begin) + 3)

    def test_ends(self):
        """A signal ends it, and nothing but what was asked for is said."""
        self.ready()
        self.assertEqual(end_process(self.process), 0)

    def test_rude_client(self):
        """One that goes in the middle of its request is not told of."""
        place = urllib.parse.urlsplit(self.url)
        with socket.create_connection((place.hostname, place.port)) as sock:
            sock.sendall(b"GET /met")
            # Closed by a reset, which the server is told as an error
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                            struct.pack("ii", 1, 0))
            time.sleep(0.5)
        self.ready()
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=PATIENCE_S)
        self.assertEqual((self.process.returncode, errors), (0, ""))

    @unittest.skipUnless(shutil.which("promtool"), NEEDED)
    def test_promtool(self):
        """Names, units and types are as Prometheus wants them."""
        done = subprocess.run(["promtool", "check", "metrics"], text=True,
                              input=self.ready(), capture_output=True,
                              check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         (0, "", ""))

    @unittest.skipUnless(shutil.which("prometheus"), NEEDED)
    def test_prometheus(self):
        """A real one scrapes both, and answers what the manual asks."""
        self.ready()
        ask = self.start_prometheus()

        def up():
            try:
                return len(ask("age_guest_up == 1")) == 2
            except OSError:
                return False

        until(up, "two guests in Prometheus")
        found = ask("sum by (guest) (age_touched_bytes)")
        self.assertEqual({item["metric"]["guest"]: float(item["value"][1])
                          for item in found}, {"alpha": 28672, "beta": 4096})
        found = ask('sum(age_touched_bytes) - '
                    'sum(age_working_set_bytes{window="2m"})')
        self.assertEqual(float(found[0]["value"][1]), 0)
        self.assertEqual(len(queries()), 4)
        for query in queries():
            until(lambda query=query: ask(query), query)

    def start_prometheus(self):
        """One that scrapes the exporter; a function that asks it."""
        folder = tempfile.TemporaryDirectory(prefix="age-")
        self.addCleanup(folder.cleanup)
        config, port = Path(folder.name) / "config.yml", free_port()
        target = urllib.parse.urlsplit(self.url).netloc
        config.write_text(
            "global: {scrape_interval: 3s, scrape_timeout: 3s}\n"
            "scrape_configs:\n- job_name: age\n"
            f"  static_configs: [{{targets: ['{target}']}}]\n", "utf-8")
        self.addCleanup(end_process, subprocess.Popen(
            ["prometheus", f"--config.file={config}",
             f"--storage.tsdb.path={folder.name}/data",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

        def ask(query):
            query = urllib.parse.urlencode({"query": query})
            return json.loads(get(f"http://127.0.0.1:{port}/api/v1/query?"
                                  + query))["data"]["result"]

        return ask


class Mistakes(unittest.TestCase):
    """One line each."""

    def run_tool(self, *words, path=""):
        """Exit status and complaints; @path has libraries of ours."""
        done = subprocess.run(
            [sys.executable, str(TOP / "scripts/qemu-age"), "exporter",
             *words], capture_output=True, text=True, check=False,
            timeout=PATIENCE_S, env=os.environ | {"PYTHONPATH": path})
        return done.returncode, done.stderr

    def test_address(self):
        status, text = self.run_tool("--listen", "here", "x")
        self.assertEqual(status, 2)
        self.assertIn("'here' is no address", text)

    def test_no_library(self):
        with tempfile.TemporaryDirectory(prefix="age-") as folder:
            Path(folder, "prometheus_client.py").write_text(
                "raise ModuleNotFoundError('no', name='prometheus_client')\n",
                "utf-8")
            self.assertEqual(self.run_tool("x", path=folder), (
                1, "qemu-age: the library prometheus_client is missing; this "
                "installs it: apt install python3-prometheus-client\n"))

    def test_taken(self):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            sock.listen()
            place = f"127.0.0.1:{sock.getsockname()[1]}"
            self.assertEqual(self.run_tool("--listen", place, "x"), (
                1, f"qemu-age: {place}: Address already in use; --listen "
                "takes another address\n"))


def main():
    """Runs everything."""
    common.run_classes([Steps, Folders, Exporter, Mistakes])


if __name__ == "__main__":
    main()
