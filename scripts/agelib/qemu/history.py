# SPDX-License-Identifier: GPL-2.0-or-later
"""
The history: what was accessed since a number, and how long pages were idle.
"""

import array
import sys
import tempfile
from dataclasses import dataclass

from .harvest import PAGE, Slots, decode_bitmap

NEVER = 0xffffffff
NS_IN_MS = 1000000


@dataclass
class Read:
    """
    One answer: the page frames of @young, and when it was made, in ms.

    @since is the number that was asked with, or None.
    """

    young: set
    since: int
    next: int
    generation: int
    begin_ms: int


class HistoryReader:
    """One who reads a history over a QMP connection, at a pace of its own."""

    def __init__(self, qmp, history="h0", since=None):
        self.qmp = qmp
        self.history = history
        self.since = since

    def arguments(self):
        """What the next command is to be sent with."""
        arguments = {"history": self.history, "format": "bitmap"}
        if self.since is not None:
            arguments["since"] = self.since
        return arguments

    def read(self, **more):
        """What was accessed since the last read, which is used up now."""
        answer = self.qmp.command("age-history-read",
                                  self.arguments() | more, oob=True)
        young = set()
        for part in answer["ranges"]:
            young |= decode_bitmap(part["start"], part["end"],
                                   part["bitmap"], ones=False)
        since, self.since = self.since, answer["next"]
        return Read(young, since, answer["next"], answer["generation"],
                    answer["begin-ns"] // NS_IN_MS)


class AgesMemory:
    """
    Memory of ours that an emulator writes idle times to.

    connect() comes before any other method.
    """

    def __init__(self, pages):
        self.pages = pages
        self.file = tempfile.NamedTemporaryFile(prefix="age-ages-")
        self.file.truncate(4 * pages)
        self.qmp = None

    def connect(self, qmp):
        """
        Makes it known.

        Not on the command line: the machine's memory would come after it, and
        QEMU 10.0 then looks at the wrong block when it clears the dirty bits of
        a migration, under any accelerator by TCG, and aborts.
        """
        self.qmp = qmp
        qmp.command("object-add", {
            "qom-type": "memory-backend-file", "id": "ages", "share": True,
            "size": 4 * self.pages, "mem-path": self.file.name})
        qmp.command("age-share-memory", {"memory": "ages"})

    def close(self):
        """Of the file nothing is left."""
        self.file.close()

    def read(self, start, pages, history="h0"):
        """When that was, in ms, and the idle times of some pages."""
        answer = self.qmp.command("age-history-ages", {
            "history": history, "memory": "ages",
            "range": {"start": start, "end": start + pages * PAGE}}, oob=True)
        ages = array.array("I")
        with open(self.file.name, "rb") as file:
            ages.frombytes(file.read(4 * pages))
        if sys.byteorder == "big":
            ages.byteswap()
        return answer["begin-ns"] // NS_IN_MS, ages

    def times(self, slots):
        """
        When each page of the slots was last found young, in ms.

        By address in the host, since a page may be at several of the
        guest's; 0 is never.
        """
        found = {}
        for slot in slots:
            for start in range(0, slot["size"], self.pages * PAGE):
                count = min(slot["size"] - start, self.pages * PAGE) // PAGE
                now, ages = self.read(slot["gpa"] + start, count)
                first = (slot["hva"] + start) // PAGE
                for page, age in enumerate(ages, first):
                    found[page] = 0 if age == NEVER else now - age
        return found


def query_history(qmp, bins, history="h0"):
    """query-age-history, with bounds in ms."""
    return qmp.command("query-age-history", {"history": history,
                                             "bins": bins}, oob=True)


def at_least(info, what, unit):
    """For each bound of an answer, the sum of all bins from there on."""
    sums, total = {}, 0
    for part in reversed(info[what]):
        total += part[unit]
        sums[part["from-ms"]] = total
    return sums


def host_pages(frames, slots):
    """The pages of the host that have the memory of page frames."""
    normal = Slots(slots, "memory")
    pages = set()
    for frame in frames:
        slot = normal.find(frame * PAGE)
        if slot:
            pages.add((slot["hva"] - slot["gpa"]) // PAGE + frame)
    return pages
