#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Many read the history of a real guest, while it comes, goes and moves.

None takes anything from another or loses anything, as held against what the
guest says that it touched; and nothing is told of a past that was another.
"""

import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import common

from agelib.qemu.harvest import Harvester
from agelib.qemu.history import HistoryReader
from agelib.qemu.patience import PATIENCE
from agelib.qemu.qmp import QMPCommandError
from history import CPUS, OPS, HistoryTest

ARGS = common.parse_args(__doc__.splitlines()[1])

AREA_PAGES = 32 << 20 >> 12

# What a read may be told while the history comes and goes
GONE = ("there is no history", "was deleted while it was read",
        "does not know any more", "has not handed out the number")


class Every:
    """A thread that does something again and again, at a pace."""

    def __init__(self, what, pace):
        self.what = what
        self.pace = pace
        self.error = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def _run(self):
        try:
            while not self._end.wait(self.pace):
                self.what()
        # Whatever it is, check() raises it in the thread of the test.
        except Exception as e:  # pylint: disable=broad-exception-caught
            self.error = e

    def check(self):
        """Raises what it died of."""
        if self.error:
            raise self.error


class ReadersMixin:
    """Many readers, of whom none takes from another, nor loses anything."""

    def test_readers(self):
        """Two at their own pace and a plain harvester between them."""
        self.add()
        self.alloc(AREA_PAGES)
        readers = [HistoryReader(self.guest.qmps[i]) for i in (1, 2)]
        harvester = Harvester(self.guest.qmps[3])
        told = [set(), set()]

        def read(i):
            told[i] |= readers[i].read().young

        self.begin_account(*readers)
        with Every(lambda: read(0), 0.1) as first, \
                Every(lambda: read(1), 0.7) as second, \
                Every(harvester.harvest, 0.05) as plain:
            self.touch_for_a_while()
        for thread in (first, second, plain):
            thread.check()
        account = self.account()
        for i in range(2):
            read(i)
            self.judge(account, told[i], f"reader {i}")

    def touch_for_a_while(self):
        """Part of the pages, in all ways."""
        for op in OPS:
            self.guest.tell("touch", f"random:{self.rng.getrandbits(32)}:100",
                            op, CPUS)
        self.guest.tell("run", AREA_PAGES // 16, AREA_PAGES // 4,
                        AREA_PAGES // 64, 100, CPUS)
        time.sleep(2)
        self.guest.tell("stop")

    def test_killed(self):
        """Who dies before it has its answer asks again, and gets all."""
        self.add()
        self.alloc(AREA_PAGES)
        reader = HistoryReader(self.guest.qmps[1])
        self.begin_account(reader)
        for i, victim in enumerate(self.guest.qmps[4:]):
            self.guest.tell("touch", f"every:16:{i}", OPS[i], CPUS)
            # It also takes what is young, and the answer goes nowhere.
            victim.send({"exec-oob": "age-history-read", "id": i,
                         "arguments": reader.arguments()})
            time.sleep(i * 0.003)
            victim.close()
        self.assertEqual(reader.read().young & self.account().touched,
                         self.account().touched)
        self.begin_account(reader)
        self.guest.tell("touch", "every:16:9", "load", CPUS)
        self.judge(self.account(), reader.read().young, "the next time")

    def test_deleted(self):
        """The history goes while it is read: the read ends, or says so."""
        reader = HistoryReader(self.guest.qmps[1])
        outcomes = Counter()

        def read():
            try:
                reader.read()
                outcomes["read"] += 1
            except QMPCommandError as e:
                why = next((text for text in GONE if text in e.desc), None)
                if not why:
                    raise
                outcomes[why] += 1
                reader.since = None

        self.alloc(AREA_PAGES)
        self.guest.tell("run", 512, 2048, 256, 100, CPUS)
        self.addCleanup(self.guest.tell, "stop")
        with Every(read, 0) as thread:
            for i in range(50):
                self.guest.command("object-add", {
                    "qom-type": "age-history", "id": "h0",
                    "interval": i % 3 * 5})
                time.sleep(self.rng.random() / 20)
                self.guest.command("object-del", {"id": "h0"})
        thread.check()
        common.comment(f"{dict(outcomes)}")
        self.assertTrue(outcomes["read"])
        self.assertTrue(sum(outcomes[why] for why in GONE))


class LifeMixin:
    """What a history is through when the guest stops, goes back or moves."""

    def test_stopped(self):
        """What was touched before a stop is told during it, and after."""
        self.add()
        self.alloc(AREA_PAGES)
        early, late = (HistoryReader(self.guest.qmps[i]) for i in (1, 2))
        self.begin_account(early, late)
        self.guest.tell("touch", "every:4:1", "store", CPUS)
        account = self.account()
        self.guest.command("stop")
        try:
            self.judge(account, early.read().young, "stopped")
            self.assertFalse(early.read().young, "nobody runs")
        finally:
            self.guest.command("cont")
        self.judge(account, late.read().young, "going on")
        self.guest.tell("reset")
        self.guest.tell("touch", "every:4:2", "load", CPUS)
        self.judge(self.account(), early.read().young, "later")

    def test_snapshot(self):
        """A snapshot that is loaded has a past of its own."""
        self.add()
        self.alloc(AREA_PAGES)
        self.add_disk()
        self.addCleanup(self.remove_disk)
        reader = HistoryReader(self.guest.qmps[1])
        self.begin_account(reader)
        self.job("snapshot-save", tag="then", vmstate="disk",
                 devices=["disk"])
        self.guest.tell("touch", "every:2:0", "store", CPUS)
        before = reader.read()
        self.judge(self.account(), before.young, "after the save")
        self.job("snapshot-load", tag="then", vmstate="disk",
                 devices=["disk"])
        self.guest.command("cont")
        self.assert_refused(reader)
        self.after_load(self.guest, reader, before.generation)

    def after_load(self, guest, reader, generation):
        """Reads on in a new generation."""
        reader.since = None
        first = reader.read()
        self.assertGreater(first.generation, generation)
        Harvester(guest.qmp).wait_flush()
        guest.tell("reset")
        guest.tell("touch", "every:4:3", "load", CPUS)
        self.judge(guest.account(), reader.read().young, "after the load")

    def test_migration(self):
        """The other side has a history of its own, which begins at its load."""
        with tempfile.TemporaryDirectory(prefix="age-") as folder:
            target = self.new_guest()
            target.options += ["-incoming", "defer"]
            with target:
                self.check_migration(target, f"unix:{folder}/migration")

    def check_migration(self, target, uri):
        """Numbers of before, of either side, are none of the new history."""
        source = self.guest
        self.add()
        self.add(target)
        self.alloc(AREA_PAGES)
        reader = HistoryReader(source.qmps[1])
        theirs = HistoryReader(target.qmps[1])
        generation = theirs.read().generation
        self.begin_account(reader)
        source.tell("touch", "every:2:0", "store", CPUS)
        account = self.account()
        self.migrate(source, target, uri)
        self.judge(account, reader.read().young, "where it was")
        self.assert_refused(theirs)
        theirs.since = reader.since
        with self.assertRaises(QMPCommandError):
            theirs.read()
        target.protocol = source.protocol
        target.command("cont")
        self.after_load(target, theirs, generation)
        target.command("stop")
        source.command("cont")

    def migrate(self, source, target, uri):
        """The guest goes to the other emulator."""
        source.command("migrate-set-parameters", {
            "max-bandwidth": 10 << 30, "downtime-limit": 20000})
        target.command("migrate-incoming", {"uri": uri})
        source.command("migrate", {"uri": uri})
        deadline = time.monotonic() + PATIENCE
        for side in (source, target):
            while side.command("query-migrate").get("status") != "completed":
                self.assertLess(time.monotonic(), deadline,
                                side.command("query-migrate"))
                time.sleep(0.05)

    def job(self, command, **arguments):
        """A job of QEMU's, from beginning to end."""
        self.guest.command(command, {"job-id": "job0", **arguments})
        deadline = time.monotonic() + PATIENCE
        while True:
            job = self.guest.command("query-jobs")[0]
            if job["status"] == "concluded":
                break
            self.assertLess(time.monotonic(), deadline, f"{command} hangs")
            time.sleep(0.02)
        self.guest.command("job-dismiss", {"id": "job0"})
        self.assertNotIn("error", job)

    def add_disk(self):
        """A disk for snapshots, whose file is gone once it is open."""
        with tempfile.TemporaryDirectory(prefix="age-") as folder:
            path = str(Path(folder) / "disk")
            self.job("blockdev-create", options={
                "driver": "file", "filename": path, "size": 0})
            self.guest.command("blockdev-add", {
                "driver": "file", "node-name": "file", "filename": path})
            self.job("blockdev-create", options={
                "driver": "qcow2", "file": "file", "size": 1 << 20})
            self.guest.command("blockdev-add", {
                "driver": "qcow2", "node-name": "disk", "file": "file"})

    def remove_disk(self):
        """What was added for snapshots goes."""
        for node in ("disk", "file"):
            self.guest.command("blockdev-del", {"node-name": node})

    def assert_refused(self, reader):
        """The reader's number is of the past, and it can begin anew."""
        with self.assertRaises(QMPCommandError) as refused:
            reader.read()
        self.assertIn("does not know any more", refused.exception.desc)


class Multi(ReadersMixin, LifeMixin, HistoryTest):
    """A thread for each vCPU."""

    args = ARGS
    accel = "age,thread=multi"


class Single(ReadersMixin, LifeMixin, HistoryTest):
    """One thread for all vCPUs."""

    args = ARGS
    accel = "age,thread=single"


if __name__ == "__main__":
    common.run_classes([Multi, Single], ARGS)
