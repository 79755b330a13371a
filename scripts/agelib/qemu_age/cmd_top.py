# SPDX-License-Identifier: GPL-2.0-or-later
"""
Show what guests do with their memory, once a second.

MEM      memory of the guest
YOUNG    what was accessed between the last two harvests
10s ...  working sets: what was accessed within such a time
IDLE>2m  what was accessed once, but not in the last two minutes
DIRTY/s  what is written in a second (--dirty)
PROM/m   pages that came back in the last minute after such two minutes
COST     the time that the last harvest took

"-" is what can't be known yet, or was not asked for.  In a terminal the keys
up, down and Enter show one guest in depth, b goes back, q ends; in a pipe each
guest has a line a second.  Guests may come and go, and folders are watched.
Nobody else may use the socket.  Without --history top takes the accessed bits,
and nobody else should: "!" behind a guest is that somebody does.
"""

import sys
import time

from . import top_text, top_view
from .errors import UserError, say
from .fleet import Fleet
from .live import Guest
from .options import add_harvest_options, add_sockets, source_maker
from .recorder import Pace
from .stop import Stop
from .units import parse_positive_time

# How soon there has to be something to show, in seconds
FIRST_S = 0.3


def add_arguments(parser):
    """The arguments of this sub-command."""
    parser.add_argument("--for", metavar="TIME", dest="duration",
                        type=parse_positive_time,
                        help="end after that time (default: with Ctrl-C)")
    parser.add_argument("--guest", metavar="NAME",
                        help="only this one: in a terminal in depth")
    add_harvest_options(parser, 1, "also how much is written",
                        "ask vCPUs to flush their TLBs (request, the "
                        "default), or leave the guests alone (none)")
    add_sockets(parser)


class Top:
    """
    What is shown, whatever it is shown on.

    @deep is the path of the guest that is shown in depth; others are spared
    the effort.
    """

    def __init__(self, args, say_it=None):
        self.args = args
        self.deep = None
        self.chosen = 0
        self.named = args.guest
        self.rates = top_view.Rates(args.interval)
        self.fleet = Fleet(args.socket, self._make, say_it)
        self.guests = []

    def _make(self, path):
        def view(place, interval):
            return top_view.view(place, interval, self.deep == path)

        return Guest(path, self.args.interval, top_view.key, view,
                     self.args.dirty, self.args.flush, touches=True,
                     make_source=source_maker(self.args))

    def refresh(self):
        """Looks at all guests; the rows are by name."""
        self.fleet.refresh()
        self.guests = sorted(
            ((top_view.row(title, figures, self.rates), figures)
             for title, figures in self.fleet.figures()
             if self.args.guest in (None, title)),
            key=lambda item: item[0].title)
        self.chosen = min(self.chosen, max(len(self.guests) - 1, 0))
        if self.named and self.guests:
            self.deep, self.named = self.guests[0][1].path, None

    def rows(self):
        """The rows of all guests."""
        return [row for row, _ in self.guests]

    def line(self, row):
        """The line of a guest."""
        return top_text.guest_line(row, self.args.interval, self.args.dirty)

    def press(self, key):
        """A key was pressed; returns whether to go on."""
        if key == "down":
            self.chosen = min(self.chosen + 1, max(len(self.guests) - 1, 0))
        elif key == "up":
            self.chosen = max(self.chosen - 1, 0)
        elif key == "enter" and self.guests:
            self.deep = self.guests[self.chosen][1].path
        elif key == "back":
            self.deep = None
        return key != "q"

    def lines(self, height, unicode):
        """(text, style) for each line of a screen."""
        found = [item for item in self.guests if item[1].path == self.deep]
        if found:
            row, figures = found[0]
            lines = list(top_text.detail(figures, row, self.args.interval,
                                         self.args.dirty, unicode))
            styled = [(lines[0], "reverse"), *((line, None) for line
                                               in lines[1:height - 1])]
            return styled + [("b: all guests  q: end", "dim")]
        rows = self.rows()
        first, end = top_text.window(len(rows), self.chosen, height - 3)
        styled = [(top_text.summary(rows), "bold"),
                  (top_text.head(), "reverse")]
        for number in range(first, end):
            style = "bold" if number == self.chosen else None
            styled.append((self.line(rows[number]),
                           "red" if rows[number].error else style))
        more = len(rows) - (end - first)
        keys = "up, down, Enter: in depth  q: end"
        return styled + [(keys + (f"  {more} more" if more else ""), "dim")]


def watch_pipe(top, stop, end):
    """A line a guest at each interval."""
    headed = False
    stop.wait(FIRST_S)
    # From here on, so that each line comes a while after a harvest.
    pace, tick = Pace(top.args.interval), 0
    while not stop.is_set() and time.monotonic() < end:
        top.refresh()
        rows = [row for row in top.rows() if not row.error]
        if rows and not headed:
            print(top_text.head())
            headed = True
        for row in rows:
            print(top.line(row))
        sys.stdout.flush()
        tick = pace.next_tick(tick)
        stop.wait(min(pace.left(tick), max(end - time.monotonic(), 0)))


def watch_terminal(top, stop, end):
    """The whole screen, until somebody has seen enough."""
    # rich may be missing, and a pipe does without.
    # pylint: disable-next=import-outside-toplevel
    from .screen import Keys, Screen
    unicode = "utf" in str(sys.stdout.encoding).lower()
    with Keys() as keys, Screen() as screen:
        wait = FIRST_S
        while not stop.is_set() and time.monotonic() < end:
            top.refresh()
            screen.show(top.lines(screen.height, unicode))
            key = keys.wait(stop, min(wait, max(end - time.monotonic(), 0)))
            wait = min(top.args.interval, 1)
            if not top.press(key):
                return


def run(args):
    """Carries it out."""
    end = time.monotonic() + (args.duration or float("inf"))
    terminal = sys.stdout.isatty()
    top = Top(args, None if terminal else say)
    top.fleet.check()
    with Stop() as stop:
        try:
            top.fleet.refresh()
            (watch_terminal if terminal else watch_pipe)(top, stop, end)
        finally:
            top.fleet.close()
    if args.guest and top.named and not stop.is_set():
        raise UserError(f"no guest is called {args.guest!r}")
    return 0
