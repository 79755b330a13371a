# SPDX-License-Identifier: GPL-2.0-or-later
"""
The soak: everything at once, for as long as it is told to.

A busy guest is harvested by several at a time, while memory, processors and
devices come and go, the balloon is blown up, the machine is reset and moves to
other emulators.  Again and again all of it stands still, and check.py holds
the tables and the counters against each other.
"""

import random
import tempfile
import time
from collections import Counter
from pathlib import Path

from ..qemu.harvest import Harvester
from ..qemu.history import HistoryReader
from ..qemu.qmp import QMPCommandError
from .check import StandStill, demand, table_pages
from .device import DeviceSteps
from .history import pages_of
from .load import GONE, Load
from .machine import CPUS, MEMORY, MOST_CPUS, SoakGuest

AREA_PAGES = 64 << 20 >> 12
OPS = ("load", "store", "atomic", "exec", "mix", "straddle")
# Linux adds memory in blocks of 128 MiB.
DIMM_SIZES = (128 << 20, 256 << 20, 512 << 20)
MOST_DIMMS = 3
MOST_PLUGGED_CPUS = 2

# Lines of what the guest said that are shown if something went wrong
SHOWN_LINES = 200

# How much more memory the emulator may have at the end than early on, in
# KiB: all of the guest's, since the guest uses more of it as time goes by.
MARGIN = (MEMORY >> 10) + (64 << 10)


def comment(text):
    """Something to know, also for who reads the output as TAP."""
    print(f"# {text}", flush=True)


class Soak(DeviceSteps):
    """One soak of an architecture, to be used in a ``with`` statement."""

    def __init__(self, arch, seed):
        self.arch = arch
        self.seed = seed
        self.rng = random.Random(f"{seed} {arch}")
        self.steps = Counter()
        self.sums = Counter()
        self.resident = []
        self.begin = time.monotonic()
        self.folder = None
        self.guest = None
        self.load = None
        self.start_tables = 0
        self.names = 0
        self.working = False

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="age-soak-")
        return self

    def __exit__(self, kind, *_):
        if self.guest:
            if kind:
                self.last_words()
            self.guest.stop()
        self.folder.cleanup()

    def last_words(self):
        """What the emulator and the guest said, if something went wrong."""
        comment(self.guest.failure("last words:"))
        for text in (self.guest.state(), self.guest.firmware_log(),
                     bytes(self.guest.console).decode(errors="replace")):
            for line in text.splitlines()[-SHOWN_LINES:]:
                comment(f"| {line.rstrip()}")

    def say(self, text):
        """What happened, and when."""
        comment(f"{time.monotonic() - self.begin:7.1f} s  {text}")

    def run(self, seconds):
        """Rounds of all steps in some order: one, and more if there is time."""
        self.begin = time.monotonic()
        self.start()
        self.guest.boot(idle=self.idle)
        self.say(f"{self.arch}: booted; {self.check()}")
        self.work()
        while True:
            for name in self.round():
                self.step(name)
            if time.monotonic() - self.begin >= seconds:
                break
        self.finish()

    def start(self):
        """The first emulator."""
        self.guest = SoakGuest(self.arch, Path(self.folder.name))
        self.guest.start()
        self.load = Load(self.guest, self.seed)
        self.start_tables = table_pages(self.guest.command("query-age"))
        self.load.start()
        self.guest.command("cont")

    def round(self):
        """The steps of a round: each kind, in some order."""
        names = ["device", "job", "unplug_device", "job", "device", "balloon",
                 "balloon", "switch", "pause", "work", "recall", "reset",
                 "migrate", "forget"]
        # Of memory and vCPUs that are plugged Debian's kernel for Arm makes
        # no use.
        if self.arch == "x86_64":
            names += ["memory", "unplug_memory", "memory",
                      "processor", "unplug_processor", "processor"]
        self.rng.shuffle(names)
        for at in range(4, len(names) + 4, 5):
            names.insert(at, "check")
        return names

    def step(self, name):
        """One step, if it can be done now."""
        done = getattr(self, name)()
        self.steps[name if done else f"{name} (not possible)"] += 1
        self.say(f"{name}: {done or 'not possible now'}")
        self.idle()

    def idle(self):
        """What is to be looked at all the time."""
        self.load.check()
        self.guest.take_events()

    def name(self, kind):
        """A name that was not used yet."""
        self.names += 1
        return f"{kind}{self.names}"

    def of_kind(self, kind):
        """What is plugged of a kind, and may be asked to go."""
        return sorted(name for name in self.guest.plugged
                      if name.startswith(kind))

    def unplug(self, kind):
        """Takes out one of a kind."""
        names = self.of_kind(kind)
        if not names:
            return None
        name = self.rng.choice(names)
        return self.went(name, self.guest.plugs.unplug(name))

    @staticmethod
    def went(name, gone):
        """What became of it."""
        return f"{name} {'went' if gone else 'stays'}"

    # Steps: each returns what it did, or None if it could not

    def memory(self):
        """A DIMM."""
        if len(self.of_kind("dimm")) == MOST_DIMMS:
            return None
        name, size = self.name("dimm"), self.rng.choice(DIMM_SIZES)
        self.guest.plug({"driver": "pc-dimm", "id": name,
                         "memdev": f"memory-{name}"},
                        {"qom-type": "memory-backend-ram",
                         "id": f"memory-{name}", "size": size})
        place = next(info["data"] for info in
                     self.guest.command("query-memory-devices")
                     if info["data"]["id"] == name)
        self.guest.plugged[name].device.update(slot=place["slot"],
                                               addr=place["addr"])
        # Linux takes what can be moved from there, once it has it.
        time.sleep(1)
        self.work()
        return f"{name} of {size >> 20} MiB at {place['addr']:#x}"

    def unplug_memory(self):
        """A DIMM less, and nothing may be left of it."""
        result = self.unplug("dimm")
        return f"{result}; {self.check()}" if result else None

    def processor(self):
        """A vCPU."""
        if len(self.of_kind("cpu")) == MOST_PLUGGED_CPUS or \
                self.guest.cpus_ever == MOST_CPUS:
            return None
        free = self.rng.choice([
            cpu for cpu in self.guest.command("query-hotpluggable-cpus")
            if "qom-path" not in cpu])
        name = self.name("cpu")
        props = {key: value for key, value in free["props"].items()
                 if key != "node-id"}
        self.guest.plug({"driver": free["type"], "id": name, **props})
        return name

    def unplug_processor(self):
        """A vCPU less."""
        return self.unplug("cpu")

    def balloon(self):
        """Takes memory from the guest, or gives some back."""
        # The guest must have enough left for what is plugged into it, and
        # what is plugged counts.
        memory = sum(self.guest.command("query-memory-size-summary").values())
        taken = self.rng.randrange(0, MEMORY // 16, 1 << 20)
        self.guest.command("balloon", {"value": memory - taken})
        return f"{taken >> 20} MiB less"

    def switch(self):
        """Hardware that sets accessed bits, and hardware that does not."""
        for value in (False, True):
            self.guest.command("qom-set", {"path": "/machine/age",
                                           "property": "hw-ad",
                                           "value": value})
            time.sleep(self.rng.random())
        return "off and on"

    def pause(self):
        """Stops the guest for a moment."""
        for _ in range(5):
            self.guest.command("stop")
            time.sleep(self.rng.random() / 10)
            self.guest.command("cont")
            time.sleep(self.rng.random() / 10)
        return "five times"

    def work(self):
        """The guest does something else, on all of its processors."""
        if self.working:
            self.guest.tell("stop")
        self.working = True
        self.guest.tell("alloc", AREA_PAGES, self.rng.choice(("small", "thp")))
        hot = self.rng.randrange(AREA_PAGES // 4)
        warm = self.rng.randrange(AREA_PAGES // 4, AREA_PAGES // 2)
        threads = CPUS + len(self.of_kind("cpu"))
        self.guest.tell("run", hot, warm, self.rng.randint(1, warm),
                        self.rng.randint(10, 500), threads)
        return f"{hot} hot, {warm} warm pages, {threads} threads"

    def recall(self):
        """What the guest says that it touched is young."""
        self.guest.tell("stop")
        try:
            with self.load:
                result = self.touch_and_find()
        except QMPCommandError as e:
            # The guest may let go of memory that it was asked for before.
            if GONE not in e.desc:
                raise
            result = "memory went"
        self.guest.tell("run", AREA_PAGES // 8, AREA_PAGES // 4,
                        AREA_PAGES // 32, 100, CPUS)
        return result

    def touch_and_find(self):
        """Two touches, and one harvest that has to find both."""
        harvester = Harvester(self.guest.qmp)
        reader = HistoryReader(self.guest.qmp)
        self.guest.tell("reset")
        self.count_found(harvester.clear())
        reader.read(harvest=False)
        for op in self.rng.sample(OPS, 2):
            self.guest.tell("touch", f"random:{self.rng.getrandbits(32)}:"
                            f"{self.rng.randint(100, 900)}", op, CPUS)
        harvest = harvester.harvest()
        self.count_found(harvest)
        account = self.guest.account()
        if account.moved:
            return "pages moved"
        missed = account.touched - harvest.young
        demand(not missed, f"{len(missed)} of {len(account.touched)} "
               f"pages are not young: {sorted(missed)[:8]}")
        missed = account.touched - reader.read(harvest=False).young
        demand(not missed, f"{len(missed)} of {len(account.touched)} "
               f"pages are not in the history: {sorted(missed)[:8]}")
        return f"{len(account.touched)} pages found"

    def count_found(self, harvest):
        """Adds a harvest of our own to what harvests were told."""
        self.load.count(young_found=len(harvest.young),
                        young_cleared=len(harvest.young))
        self.load.cleared(pages_of(harvest.young))

    def reset(self):
        """Boots anew, with what is plugged; it is busy meanwhile as well."""
        before = time.monotonic()
        # How often it is asked for something is a matter of time.
        steps, self.rng = self.rng, random.Random(self.rng.getrandbits(32))

        def idle():
            self.idle()
            if self.rng.random() < 0.1:
                self.rng.choice((self.pause, self.switch, self.check))()

        self.guest.reset(idle)
        self.rng = steps
        self.working = False
        self.work()
        return f"{time.monotonic() - before:.1f} s"

    def migrate(self):
        """The guest moves on; where it was, everything is still right."""
        # What the guest may still let go would be at the other side and not
        # at this one.  And with several blocks of memory, QEMU 10.0 looks at
        # the TLBs of the wrong one when it clears dirty bits, under any
        # accelerator by TCG.
        plugs = self.guest.plugs
        names = sorted(plugs.pending | set(self.of_kind("dimm")))
        gone = [plugs.unplug(name) for name in names]
        if not all(gone):
            return None
        plugs.settle()
        source, load = self.guest, self.load
        target = SoakGuest(self.arch, source.folder, source.number + 1, source)
        return self.move(source, load, target)

    def move(self, source, load, target):
        """The guest goes on in @target, or stays where it is."""
        before = time.monotonic()
        self.guest, moved = target, None
        try:
            moved = self.change_over(source, load, target)
        finally:
            if moved is False:
                self.load.stop()
                self.guest, self.load = source, load
                target.stop()
            else:
                source.stop()
        return f"{time.monotonic() - before:.1f} s" if moved else None

    def change_over(self, source, load, target):
        """What a move is made of; returns whether the guest went along."""
        target.start()
        self.load = Load(target, self.seed)
        self.load.plain = not self.of_kind("dma")
        demand(table_pages(target.command("query-age")) ==
               self.start_tables, "tables before the start")
        self.load.start()
        if not source.move_to(target, load.check):
            return False
        load.stop()
        self.end_of_life(source, load)
        return True

    def end_of_life(self, guest, load):
        """The last look at an emulator that is not needed any more."""
        load.check()
        with StandStill(guest, load) as still:
            still.check()
            info = still.forget(self.start_tables)
        self.sums.update(info["counters"])
        self.sums.update(load.tally)
        self.sums["declined"] += guest.plugs.declined

    def check(self):
        """Whether everything is right."""
        with StandStill(self.guest, self.load) as still:
            info, young = still.check()
        resident = self.guest.resident()
        self.resident.append(resident)
        counters = info["counters"]
        return (f"{counters['accessed-set']} set, {counters['cleared']} "
                f"cleared, {counters['zapped']} zapped, {young} young, "
                f"{table_pages(info)} tables, {resident >> 10} MiB")

    def forget(self):
        """Everything is zapped, and has to come back."""
        with StandStill(self.guest, self.load) as still:
            still.forget(self.start_tables)
        return f"{self.start_tables} tables left"

    def finish(self):
        """Takes all out again, and looks for what is left."""
        self.guest.tell("stop")
        for name in list(self.guest.plugged):
            gone = self.guest.plugs.unplug(name)
            self.say(f"at the end {self.went(name, gone)}")
        self.idle()
        self.check()
        self.load.stop()
        self.end_of_life(self.guest, self.load)
        third = len(self.resident) // 3
        if third:
            early = max(self.resident[:third])
            late = max(self.resident[-third:])
            self.say(f"resident: {early >> 10} MiB early, {late >> 10} late")
            demand(late <= early + MARGIN, f"{late} KiB, and {early} before")

    def summary(self):
        """What happened, in all."""
        return {"steps": dict(sorted(self.steps.items())),
                "sums": dict(sorted(self.sums.items()))}
