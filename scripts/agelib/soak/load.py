# SPDX-License-Identifier: GPL-2.0-or-later
"""
Those who harvest in the soak, all at once, each in a thread of its own.

One is in band, the others out of band; they have masks and flushes of their
own, and one reads the history.  What each was told is added up, for check.py to
hold against the counters and the history.
"""

import base64
import random
import threading
import time
from collections import Counter

from ..qemu.harvest import PAGE
from ..qemu.qmp import QMPCommandError
from .history import Window, place

# Memory may have gone since the slots were asked for.
GONE = "meets no memory"

PACE = 0.1


class Load:
    """
    All who harvest one emulator.

    @tally has what they did and were told; @plain says that only the vCPUs'
    MMU answered so far, page by page, so that nothing else was cleared.
    @window has the pages, for the history.
    """

    def __init__(self, guest, seed):
        self.guest = guest
        self.tally = Counter()
        self.plain = True
        self.window = Window()
        self.error = None
        self._tally_lock = threading.Lock()
        self._locks = []
        self._threads = []
        self._end = threading.Event()
        kinds = (self.clear_all, self.test_some, self.clear_some, self.look,
                 self.read)
        for number, kind in enumerate(kinds, 1):
            rng = random.Random(f"{seed} {guest.number} {number}")
            self._locks.append(threading.Lock())
            self._threads.append(threading.Thread(
                target=self._run, daemon=True,
                args=(kind, guest.qmps[number], rng, self._locks[-1])))

    def start(self):
        """They begin."""
        for thread in self._threads:
            thread.start()

    def stop(self):
        """They end."""
        self._end.set()
        for thread in self._threads:
            thread.join()

    def __enter__(self):
        """Within, none of them has a command under way."""
        for lock in self._locks:
            lock.acquire()
        return self

    def __exit__(self, *_):
        for lock in self._locks:
            lock.release()

    def check(self):
        """Raises what one of them died of."""
        if self.error:
            raise self.error

    def _run(self, kind, qmp, rng, lock):
        try:
            while not self._end.is_set():
                with lock:
                    kind(qmp, rng)
                    qmp.events.clear()
                time.sleep(rng.random() * PACE)
        # Whatever it is, check() raises it in the thread that steps.
        except Exception as e:  # pylint: disable=broad-exception-caught
            self.error = self.error or e

    def count(self, **what):
        """Adds to the tally."""
        with self._tally_lock:
            self.tally.update(what)

    def cleared(self, pages):
        """Adds pages that a harvest made old."""
        with self._tally_lock:
            self.window.cleared |= pages

    # The kinds

    def clear_all(self, qmp, rng):
        """In band: makes everything old, in some format."""
        answer = self._harvest(qmp, "young", False, {
            "ranges": [{"start": start, "end": end}
                       for start, end in whole_memory(qmp, False)],
            "flush": "request", "fallback": rng.random() < 0.2,
            "format": rng.choice(("bitmap", "bitmap", "runs"))})
        if answer and not all(part["handled"] for part in answer["ranges"]):
            self.plain = False
            # The fallback does not tell which pages were young.
            self.window.exact = False

    def test_some(self, qmp, rng):
        """Out of band: looks at some pages, and changes nothing."""
        start, end = some_memory(qmp, rng)
        size = ((end - start) // PAGE + 7) // 8
        self._harvest(qmp, rng.choice(("young", "dirty")), True, {
            "ranges": [{"start": start, "end": end,
                        "bitmap": base64.b64encode(bytes(size)).decode()}],
            "format": rng.choice(("bitmap", "count")), "flush": "none"})

    def clear_some(self, qmp, rng):
        """Out of band: makes half of some pages old, or clean."""
        start, end = some_memory(qmp, rng)
        mask = rng.randbytes(((end - start) // PAGE + 7) // 8)
        self._harvest(qmp, rng.choice(("young", "young", "dirty")), True, {
            "ranges": [{"start": start, "end": end,
                        "bitmap": base64.b64encode(mask).decode()}],
            "format": "bitmap", "flush": rng.choice(("none", "request"))})

    def look(self, qmp, rng):
        """Out of band: walks to some places, and asks for what there is."""
        info = qmp.command("query-age", oob=True)
        for _ in range(8):
            slot = rng.choice(info["slots"])
            gpa = slot["gpa"] + rng.randrange(slot["size"])
            walk = qmp.command("query-age-walk", {
                "gpa": gpa, "address-space": slot["address-space"]}, oob=True)
            self.count(walks=1, entries=len(walk["entries"]))
        self.count(queries=1)

    def read(self, qmp, _):
        """
        Out of band: reads the history.

        A harvest of its own would not tell what it found.
        """
        self.window.read(qmp)
        self.count(reads=1)

    def _harvest(self, qmp, what, oob, arguments):
        """One harvest; adds up what it tells.  None if the memory has gone."""
        try:
            answer = qmp.command(f"age-test-clear-{what}", arguments, oob=oob)
        except QMPCommandError as e:
            if GONE not in e.desc:
                raise
            self.count(gone=1)
            return None
        for asked, part in zip(arguments["ranges"], answer["ranges"]):
            found, cleared = part_pages(asked, part, part[f"{what}-pages"])
            self.count(**{f"{what}_harvests": 1, f"{what}_found": found,
                          f"{what}_cleared": cleared.bit_count()})
            if what == "young":
                self.cleared(place(cleared, asked["end"]))
        self.count(pending=answer["flush-pending"])
        return answer


def whole_memory(qmp, oob):
    """The memory of the normal address space, neighbours in one."""
    ranges = []
    for slot in sorted(qmp.command("query-age", oob=oob)["slots"],
                       key=lambda slot: slot["gpa"]):
        if slot["address-space"] != "memory":
            continue
        start, end = slot["gpa"], slot["gpa"] + slot["size"]
        if ranges and ranges[-1][1] == start:
            start = ranges.pop()[0]
        ranges.append((start, end))
    return ranges


def some_memory(qmp, rng):
    """Some pages that lie side by side."""
    start, end = rng.choice(whole_memory(qmp, True))
    first, last = sorted(rng.randrange((end - start) // PAGE)
                         for _ in range(2))
    return start + first * PAGE, start + (last + 1) * PAGE


def part_pages(asked, part, count):
    """How many pages a range had, and the bits of those that it cleared."""
    pages = (asked["end"] - asked["start"]) // PAGE
    sent = int.from_bytes(base64.b64decode(asked["bitmap"]), "little") \
        if "bitmap" in asked else (1 << pages) - 1
    if "runs" in part:
        flipped = run_bits(part["runs"], asked["end"])
    elif "bitmap" in part:
        got = int.from_bytes(base64.b64decode(part["bitmap"]), "little")
        flipped = (sent ^ got) & ((1 << pages) - 1)
    else:
        # Only who clears nothing asks for no more than the count.
        return count, 0
    found = flipped.bit_count()
    if found != count:
        raise ValueError(f"{found} pages are shown, {count} counted: "
                         f"{part['start']:#x}-{part['end']:#x}")
    return found, flipped & sent


def run_bits(runs, end):
    """The bits of a range that ends there."""
    bits = 0
    for run in runs:
        length = (run["end"] - run["start"]) // PAGE
        bits |= ((1 << length) - 1) << ((end - run["end"]) // PAGE)
    return bits
