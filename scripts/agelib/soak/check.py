# SPDX-License-Identifier: GPL-2.0-or-later
"""
What has to hold in a soak whenever the guest stands still.

- Conservation: what walks made young was made old, or went, or is young still.
- What harvests told is what the counters have.
- What they made old since a number is what the history tells since then.
- The tables are right by the manuals, map the memory of the slots, and are as
  many as are counted, and no more than the slots need.
"""

import time

from ..qemu.harvest import PAGE, Slots
from ..qemu.patience import PATIENCE
from ..tables.dump import Dump
from .history import HistoryCheck, pages_from, pages_of
from .machine import MEMORY, RAM_BASE
from .plugs import SoakError

LEVEL_BITS = 9
TABLE_SHIFT = 21        # what a table of pages maps


class SoakSlots(Slots):
    """Slots, and the tables that they take."""

    def most_tables(self, height):
        """How many tables there can be, below the root."""
        shift = TABLE_SHIFT + LEVEL_BITS * height
        places = set()
        for slot in self.slots:
            last = slot["gpa"] + slot["size"] - 1
            places.update(range(slot["gpa"] >> shift, (last >> shift) + 1))
        return len(places)


def demand(right, *words):
    """Like an assertion, which can't be switched off."""
    if not right:
        raise SoakError(" ".join(map(str, words)))


def table_pages(info):
    """All table pages that are counted."""
    return sum(level["tables"] for level in info["tables"])


class StandStill:
    """
    A moment at which neither the guest nor anybody else does anything.

    To be used in a ``with`` statement.
    """

    def __init__(self, guest, load):
        self.guest = guest
        self.load = load
        self.running = False

    def __enter__(self):
        self.load.__enter__()
        try:
            self.running = self.guest.command("query-status")["running"]
            self.guest.command("stop")
        except BaseException:
            self.load.__exit__()
            raise
        return self

    def __exit__(self, *exception):
        try:
            if self.running and exception == (None, None, None):
                self.guest.command("cont")
        finally:
            self.load.__exit__()

    def query(self):
        """query-age."""
        return self.guest.command("query-age")

    def dump(self, space):
        """The decoded tables of an address space."""
        path = self.guest.folder / "tables"
        self.guest.command("age-dump-tables", {
            "file": str(path), "address-space": space})
        return Dump.load(path)

    def wait(self, what, holds):
        """
        Waits until @holds says so of query-age, which it returns.

        Tables that were taken out are freed a little later, and what was
        young in them counts as zapped only then.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            info = self.query()
            if holds(info):
                return info
            if time.monotonic() > deadline:
                raise SoakError(f"{what}: {info['tables']} "
                                f"{info['counters']}")
            time.sleep(0.05)

    # What has to hold

    def check(self):
        """All of it; returns query-age, and how many leaves were young."""
        dumps = {root["address-space"]: self.dump(root["address-space"])
                 for root in self.query()["roots"]}
        counts = self.count(dumps)
        info = self.wait("other tables are counted than there are",
                         lambda info: info["tables"] == counts)
        young = sum(self.check_space(info, name, dump)
                    for name, dump in dumps.items())
        self.check_bounds(info, dumps)
        self.check_sums(info["counters"], young)
        self.check_history(dumps)
        return info, young

    @staticmethod
    def count(dumps):
        """How many tables of each level there are, by the dumps."""
        summaries = [dump.summary() for dump in dumps.values()]
        return [{"level": levels[0].level,
                 "tables": sum(level.tables for level in levels)}
                for levels in zip(*summaries, strict=True)]

    @staticmethod
    def check_space(info, name, dump):
        """One address space; returns how many of its leaves are young."""
        slots = SoakSlots(info["slots"], name)
        young = 0
        for entry in dump.entries():
            demand(not entry.problems, name, entry)
            if not entry.leaf:
                continue
            slot = slots.find(entry.gpa)
            demand(slot, f"{name}: no slot for {entry}")
            demand(entry.address == slot["hva"] + entry.gpa - slot["gpa"],
                   f"{name}: {entry} in {slot}")
            young += bool(entry.accessed)
        return young

    @staticmethod
    def check_bounds(info, dumps):
        """Tables are where slots are, and nowhere else."""
        for name, dump in dumps.items():
            slots = SoakSlots(info["slots"], name)
            for level in dump.summary()[1:]:
                most = slots.most_tables(level.height)
                demand(level.tables <= most, f"{name}: {level}, and its slots "
                       f"need no more than {most} tables")

    def check_sums(self, counters, young):
        """What went in must have come out."""
        tally = self.load.tally
        demand(counters["accessed-set"] + counters["inherited"] ==
               counters["cleared"] + counters["zapped"] + young,
               f"{young} leaves are young, and {counters}")
        demand(counters["harvested"] == tally["young_found"],
               "harvests told of", tally["young_found"], counters)
        if not self.load.plain:
            return
        # Where a page has several leaves or addresses, harvests clear each of
        # the leaves and tell of each of the addresses.
        if len(self.query()["roots"]) > 1:
            return
        for kind, counter in (("young", "cleared"), ("dirty",
                                                     "dirty-cleared")):
            told = tally[f"{kind}_cleared"]
            demand(told == counters[counter],
                   f"harvests cleared {told} that were {kind}", counters)

    def check_history(self, dumps):
        """
        What was made old is in the history, and what is young comes into it.

        Aliases are left out: of a page that is at two addresses a harvest may
        tell one, and the history tells both.
        """
        base = RAM_BASE[self.guest.arch]
        check = HistoryCheck(self.guest.qmp, self.load.window,
                             pages_from(base + (1 << 20), base + MEMORY),
                             demand)
        self.load.count(forgotten=check.check())
        before = self.query()["counters"]
        check.take(pages_of({entry.gpa // PAGE for dump in dumps.values()
                             for entry in dump.entries()
                             if entry.leaf and entry.accessed}),
                   self.load.plain)
        # "harvested" is what plain harvests told: reads don't count there.
        after = self.query()["counters"]
        self.load.count(young_cleared=after["cleared"] - before["cleared"])

    def forget(self, start):
        """
        Has all mappings zapped: then there are as many tables as at @start.

        Both formats have to be used for that, each of which zaps what the
        other left.
        """
        for hw_ad in (False, True):
            self.guest.command("qom-set", {"path": "/machine/age",
                                           "property": "hw-ad",
                                           "value": hw_ad})
        self.wait("tables are left", lambda info: table_pages(info) == start)
        info, young = self.check()
        demand(not young, f"{young} leaves are young of none")
        return info
