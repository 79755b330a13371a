# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the history of a soak must tell: what was cleared since a number.

While all stands still a window ends and the next one begins.  Within it, it is
known of each plain harvest which pages it made old, and a reader reads at its
own pace.  Sets of pages are integers here, as bitmaps are: the last page comes
first.
"""

import base64

from ..qemu.harvest import PAGE
from ..qemu.qmp import QMPCommandError

# More memory than any guest of the soak has
TOP = 16 << 30 >> 12

# The state of the machine was loaded: numbers of before mean nothing.
REFUSED = "does not know any more"


def place(bits, end):
    """The bits of a range that ends there, among all memory."""
    return bits << (TOP - end // PAGE)


def pages_from(start, end):
    """All pages of a range."""
    return place((1 << ((end - start) // PAGE)) - 1, end)


def pages_of(frames):
    """The pages with these frames."""
    text = bytearray(TOP // 8)
    for frame in frames:
        bit = TOP - 1 - frame
        text[bit // 8] |= 1 << bit % 8
    return int.from_bytes(text, "little")


def show(pages):
    """How many pages, and the first of them."""
    return f"{pages.bit_count()} pages, as {TOP - pages.bit_length():#x}"


def read(qmp, since, harvest):
    """One read: the pages, and the next number."""
    arguments = {"history": "h0", "harvest": harvest}
    if since is not None:
        arguments["since"] = since
    answer = qmp.command("age-history-read", arguments, oob=True)
    pages = 0
    for part in answer["ranges"]:
        bits = int.from_bytes(base64.b64decode(part["bitmap"]), "little")
        pages |= place(bits, part["end"])
    return pages, answer["next"]


class Window:
    """
    What is known of the time since all stood still.

    @since is the number of then.  @cleared are the pages that plain harvests
    made old, as far as they told; @exact says that they told of all.  @told is
    what the reader was told, who asks with @next.
    """

    def __init__(self):
        self.since = self.next = None
        self.cleared = self.told = 0
        self.exact = False

    def begin(self, since):
        """A new one, of which nothing is known yet."""
        self.since = self.next = since
        self.cleared = self.told = 0
        self.exact = since is not None

    def read(self, qmp):
        """The reader's next read; makes no harvest."""
        try:
            pages, self.next = read(qmp, self.next, False)
            self.told |= pages
        except QMPCommandError as e:
            self.refused(e)

    def refused(self, error):
        """Gives up the window if a state was loaded, and that is all."""
        if REFUSED not in error.desc:
            raise error
        self.begin(None)


class HistoryCheck:
    """
    Holds the history of an emulator that stands still against a window.

    @firm are the pages that are at one address only and never go, but for the
    balloon.
    """

    def __init__(self, qmp, window, firm, demand):
        self.qmp = qmp
        self.window = window
        self.firm = firm
        self.demand = demand

    def check(self):
        """
        What was cleared is told; returns how many pages were forgotten.

        Pages that the guest let go since are of those: the history has
        nothing of them, not even an older number.
        """
        w = self.window
        w.read(self.qmp)
        if w.since is None:
            return 0
        try:
            told, _ = read(self.qmp, w.since, False)
        except QMPCommandError as e:
            # The reader may have got its number just after the load.
            w.refused(e)
            return 0
        known, _ = read(self.qmp, None, False)
        self.none(told & ~w.told, "were not told to the reader")
        lost = w.cleared & ~told & self.firm
        self.none(lost & known, "were cleared, and the history has older "
                                "numbers")
        if w.exact:
            self.none((told | w.told) & ~w.cleared, "were told, and not "
                                                    "cleared")
        return lost.bit_count()

    def take(self, young, alone):
        """
        Takes what is young, which must be @young, and begins a new window.

        Unless nobody but the vCPUs is @alone, there may be more.
        """
        _, before = read(self.qmp, None, False)
        pages, since = read(self.qmp, before, True)
        self.none(young & ~pages, "were young and were not told")
        if alone:
            self.none(pages & ~young, "were told and were not young")
        self.window.begin(since)

    def none(self, pages, what):
        """There may be no such page."""
        pages &= self.firm
        self.demand(not pages, f"history: {show(pages)}, {what}")
