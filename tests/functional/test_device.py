#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
``age-device`` in a Debian guest: what it makes young, and how it says so.

A program in the guest (``scripts/guest/agedev.c``) has the device do DMA to
pages that no vCPU touches, and keeps account of which these are.  Then

- each page that the device touched is young, and no other one of them;
- it is the device that says so, and not the vCPUs' MMU;
- the data are right, and the guest sees the end of each job.

Patterns are random but the same each time; ``--seed`` makes them others.
"""

import random
import time
import unittest

import common

from agelib.guest.workload import (Guest, WorkloadError, images_present,
                                   no_kernel, other_kernel)
from agelib.qemu.harvest import PAGE, Harvester
from agelib.qemu.patience import PATIENCE

COMMANDS = ("read", "write", "copy", "fill")
WAYS = ("poll", "intx", "pending", "message", "kernel")
AREA_PAGES = 16 << 20 >> 12
# Frames that lie side by side: at least a huge page of the guest's
RUN_PAGES = 512

PORT = "pcie-root-port,id=port0,chassis=1"

ARGS = common.parse_args(__doc__.splitlines()[1])


class DeviceTest(unittest.TestCase):
    """One guest with one device for all the tests of a class."""

    machine = None
    bus = "port0"
    ports = (PORT,)
    worker = "off"
    kernel = None       # another one than usual
    area_pages = AREA_PAGES
    guest = None

    @classmethod
    def setUpClass(cls):
        if not images_present(ARGS.arch):
            raise unittest.SkipTest("no guest images: run scripts/build-guest")
        kernel = cls.kernel and other_kernel(cls.kernel)
        if kernel and not kernel.exists():
            raise unittest.SkipTest(no_kernel(kernel))
        device = f"age-device,id=dma0,bus={cls.bus},worker={cls.worker}"
        cls.guest = Guest(ARGS.arch, "age,thread=multi", program="agedev",
                          machine=cls.machine, images=(kernel, None),
                          devices=(*cls.ports, device))
        cls.addClassCleanup(cls.guest.stop)
        cls.guest.start()
        cls.guest.boot()
        cls.opened = cls.guest.tell("open")

    def setUp(self):
        # Whatever another test may have left behind
        self.guest.tell("wait", "poll")
        area = self.guest.tell("alloc", self.area_pages, "thp")
        self.assertGreaterEqual(int(area["run"]), RUN_PAGES)
        self.rng = random.Random(f"{ARGS.seed} {self.id()}")
        self.harvester = Harvester(self.guest.qmp)

    def tearDown(self):
        self.guest.check()

    def pattern(self, most=100):
        """
        A random choice of pages, at most so many of a thousand.

        So few that there would be none are not among them.
        """
        return (f"random:{self.rng.getrandbits(32)}:"
                f"{self.rng.randint(10, most)}")

    def make_old(self):
        """A new account, and nothing that is young."""
        self.guest.tell("reset")
        self.harvester.clear()

    def round(self, *words):
        """Makes all old, lets the device touch, and judges what is found."""
        self.make_old()
        answer = self.guest.tell(*words)
        found = self.harvester.harvest(clear=self.rng.random() < 0.5).young
        self.judge(found, words)
        self.verify(words)
        return answer

    def judge(self, found, what):
        """Holds a harvest against the account, which it returns."""
        account = self.guest.account()
        self.assertEqual(account.moved, 0, "page frames changed")
        self.assertTrue(account.touched)
        missed = account.touched - found
        invented = account.untouched & found
        self.assertFalse(missed, f"after {what}: not young, of "
                         f"{len(account.touched)} that were touched")
        self.assertFalse(invented, f"after {what}: young, of "
                         f"{len(account.untouched)} that were left alone")
        return account

    def verify(self, what):
        """Has the guest compare all the data; this touches all of them."""
        self.assertEqual(self.guest.tell("verify")["wrong"], "0",
                         f"pages with wrong data after {what}")

    def answers(self, pages):
        """What each MMU answers to a test of these pages, one by one."""
        results = self.guest.command("age-test-clear-young", {
            "ranges": [self.harvester.range(pfn * PAGE, (pfn + 1) * PAGE,
                                            clear=False) for pfn in pages],
            "flush": "none", "format": "count"})["ranges"]
        return [({answer["mmu"]: answer["how"]
                  for answer in result["answers"]}, result["young-pages"])
                for result in results]

    def job(self, command, pattern, repeat=1):
        """The words for a random job within a huge page."""
        room = RUN_PAGES * PAGE // (2 if command == "copy" else 1)
        # The window ends with a page, and no step may go beyond its end.
        most = (3 * PAGE, 4 * PAGE) if pattern != "random" else (PAGE, PAGE)
        length, stride = (self.rng.randint(8, limit) for limit in most)
        if pattern == "random":
            stride = PAGE
        if not repeat:
            # Bytes of a fill are then the same each time.
            length, stride = length & -8, stride & -8
        reach = length if pattern == "sequential" else stride
        count = self.rng.randint(1, (room - length) // reach)
        return ("job", command, pattern, length, count, stride,
                self.rng.getrandbits(64), repeat)


class JobsMixin:
    """What the device has to do wherever it is."""

    rounds = ARGS.rounds

    def test_open(self):
        """The guest finds the device, and reads what it is."""
        self.assertEqual(self.opened["id"], "0x141474544")
        features = 2 | (self.worker == "on")
        self.assertEqual(self.opened["features"], str(features))

    def test_pages(self):
        """Some bytes in each of many pages, wherever they are."""
        for command in COMMANDS:
            self.round("pages", command, self.pattern())

    def test_jobs(self):
        """Steps by pattern, where frames are side by side."""
        for _ in range(min(self.rounds, ARGS.rounds)):
            for pattern in ("sequential", "stride", "random"):
                repeat = self.rng.randint(1, 3)
                self.round(*self.job(self.rng.choice(COMMANDS), pattern,
                                     repeat))

    def test_ways(self):
        """Each way to see that a job has ended, for many jobs."""
        for way in WAYS:
            with self.subTest(way=way):
                row = self.guest.tell("wait", way)["row"]
                answer = self.round("pages", self.rng.choice(COMMANDS),
                                    self.pattern(30))
                common.comment(f"{way}: {answer['jobs']} jobs" + (
                    f", each an interrupt {row}" if row != "none" else ""))

    def test_answers(self):
        """
        The device alone knows of these pages.

        To the vCPUs they are old; and as long as the device does not tell,
        nobody knows that they are young.
        """
        path = "/machine/peripheral/dma0"
        self.make_old()
        self.guest.tell("pages", "read", self.pattern())
        account = self.guest.account()
        pages = self.rng.sample(sorted(account.touched), 8)
        for pfn in pages:
            entries = self.guest.command("query-age-walk",
                                         {"gpa": pfn * PAGE})["entries"]
            self.assertFalse(entries[-1]["accessed"], entries[-1])
        for tells, how, young in ((True, "bitmap", 1), (False, "refused", 0),
                                  (True, "bitmap", 1)):
            self.guest.command("qom-set", {
                "path": path, "property": "test-clear-young", "value": tells})
            self.assertEqual(self.answers(pages),
                             [({"age": "bitmap", "dma0": how}, young)] * 8)
        self.judge(self.harvester.harvest().young, "telling again")

    def test_repeated(self):
        """A job without end makes pages young again, until it is stopped."""
        for way in WAYS:
            self.guest.tell("wait", way)
            self.make_old()
            command = self.rng.choice(("read", "copy", "fill"))
            words = self.job(command, self.rng.choice(("stride", "random")),
                             repeat=0)
            self.guest.tell(*words)
            try:
                for _ in range(3):
                    self.guest.tell("pass")
                    self.judge(self.harvester.clear().young, words)
            finally:
                self.guest.tell("stop")
            self.harvester.clear()
            area = self.guest.account()
            found = self.harvester.harvest().young
            self.assertFalse((area.touched | area.untouched) & found)
            self.verify(words)


class UnplugMixin:
    """Unplugged by a guest that has it do DMA, and plugged in again."""

    def test_unplug(self):
        """It goes while it works; another one takes its place."""
        self.make_old()
        words = self.job("fill", "stride", repeat=0)
        self.guest.tell(*words)
        self.guest.tell("pass")
        self.judge(self.harvester.clear().young, words)
        found = self.unplug("dma0")
        account = self.guest.account()
        self.assertFalse(account.untouched & found)
        self.harvester.clear()
        found = self.harvester.harvest().young
        self.assertFalse(account.touched & found)
        self.assertEqual(self.answers([min(account.touched)]),
                         [({"age": "bitmap"}, 0)])
        self.verify(words)
        self.plug("dma1")
        self.round("pages", "copy", self.pattern())
        pages = [min(account.touched)]
        self.assertEqual(self.answers(pages)[0][0],
                         {"age": "bitmap", "dma1": "bitmap"})

    def unplug(self, name):
        """Takes it out; returns what was young until it was gone."""
        found = set()
        self.guest.command("device_del", {"id": name})
        deadline = time.monotonic() + PATIENCE
        while not any(event["event"] == "DEVICE_DELETED" and
                      event["data"].get("device") == name
                      for event in self.guest.qmp.events):
            if time.monotonic() > deadline:
                raise self.guest.failure("the guest keeps the device")
            found |= self.harvester.harvest().young
            time.sleep(0.01)
        self.guest.tell("gone")
        return found

    def plug(self, name):
        """Puts one in; the guest takes a while to see it."""
        self.guest.command("device_add", {
            "driver": "age-device", "id": name, "bus": self.bus})
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self.guest.tell("open")
            except WorkloadError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def guest_class(name, *mixins, **attributes):
    """A class for one kind of guest."""
    return type(name, mixins + (DeviceTest,), attributes)


def guests_x86_64():
    """The guests of x86-64."""
    pc = {"machine": "pc", "bus": "pci.0", "ports": ()}
    return [
        guest_class("Q35", JobsMixin),
        guest_class("Q35Unplug", UnplugMixin, worker="on"),
        guest_class("Pc", JobsMixin, worker="on", **pc),
        guest_class("PcUnplug", UnplugMixin, **pc),
    ]


def guests_aarch64():
    """The guests of arm64."""
    return [
        guest_class("Virt", JobsMixin),
        guest_class("VirtWorker", JobsMixin, worker="on"),
        # A huge page of such a kernel has 32 MiB.
        guest_class("VirtPages16K", JobsMixin, rounds=5,
                    kernel="aarch64-16k", area_pages=64 << 20 >> 12),
        guest_class("VirtUnplug", UnplugMixin),
        guest_class("VirtWorkerUnplug", UnplugMixin, worker="on"),
    ]


def main():
    """Runs the guests of one architecture."""
    guests = {"x86_64": guests_x86_64, "aarch64": guests_aarch64}
    common.run_classes(guests[ARGS.arch](), ARGS)


if __name__ == "__main__":
    main()
