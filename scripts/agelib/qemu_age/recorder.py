# SPDX-License-Identifier: GPL-2.0-or-later
"""
The loop that harvests a guest at a pace and keeps what it finds.
"""

import time

from .source import SourceError, SourceGone
from .trouble import Lookout, Told

# What QMP tells of a guest that matters for what its memory does
GUEST_EVENTS = {"RESET", "STOP", "RESUME", "SUSPEND", "WAKEUP", "POWERDOWN",
                "SHUTDOWN", "GUEST_PANICKED", "MIGRATION"}


class Pace:
    """
    Ticks at an even pace, whatever the harvests take.

    A tick that has passed before it could begin is missed: the next one is on
    time again.
    """

    def __init__(self, interval, clock=time.monotonic):
        self.interval = interval
        self.clock = clock
        self.begin = clock()

    def next_tick(self, tick):
        """The tick after @tick that is still to come, or is now."""
        passed = (self.clock() - self.begin) / self.interval
        return max(tick + 1, int(passed))

    def left(self, tick):
        """Seconds until a tick begins."""
        return max(self.begin + tick * self.interval - self.clock(), 0)


class Recorder:
    """
    Harvests a source and hands on what it finds.

    @keep has the methods of ``recordfile.Writer``; @say takes a line for the
    user, who is told of each kind of trouble once.
    """

    def __init__(self, source, keep, interval, flush="request", dirty=False,
                 say=None):
        self.source = source
        self.keep = keep
        self.interval = interval
        self.flush = flush
        self.dirty = dirty
        self.tick = -1
        self.harvests = 0
        self._layout = None
        self._generation = None
        self._lookout = Lookout(interval)
        self._told = Told(source.name, say or (lambda _: None))

    def run(self, stop, duration=None, begun=lambda: None):
        """
        Records until @stop is set, @duration seconds are over, or the guest is.

        @begun is called after the first harvest, which makes everything old.
        Returns why it ended.
        """
        why = self._harvest(0)
        if why:
            return self._end(why)
        begun()
        pace = Pace(self.interval)
        while True:
            tick = pace.next_tick(self.tick)
            if duration is not None and tick * self.interval > duration:
                return self._end("time")
            if stop.wait(pace.left(tick)):
                return self._end("asked")
            why = self._harvest(tick)
            if why:
                return self._end(why)

    def _end(self, why):
        self.keep.end(why)
        return why

    def _harvest(self, tick):
        """One tick; returns why there can be no other, or None."""
        if tick > self.tick + 1:
            self._event(tick, "missed", ticks=tick - self.tick - 1)
        self.tick = tick
        try:
            harvest = self.source.harvest(self.flush, self.dirty)
            if self._lookout.due(tick):
                self._look_for_strangers(tick)
        except SourceGone as e:
            return f"gone: {e}"
        except SourceError as e:
            if tick == 0:
                return f"refused: {e}"
            text = str(e).removeprefix(f"{self.source.name}: ")
            self._event(tick, "refused", why=text)
            return None
        self._keep(tick, harvest)
        return None

    def _keep(self, tick, harvest):
        """Writes down a harvest, and before it what has changed."""
        if self.source.layout() != self._layout:
            self._layout = self.source.layout()
            self.keep.layout(self._layout)
        if self._generation not in (None, harvest.generation):
            self._event(tick, "generation")
        self._generation = harvest.generation
        if harvest.replaced:
            self._event(tick, "history")
        for name in harvest.events:
            if name in GUEST_EVENTS:
                self.keep.event(tick, name.lower())
        if harvest.lost.size:
            self._event(tick, "lost")
        self.keep.harvest(tick, harvest)
        self.harvests += 1

    def _look_for_strangers(self, tick):
        pages = self.source.strangers()
        if pages:
            self._event(tick, "stranger", pages=pages)

    def _event(self, tick, name, **more):
        self.keep.event(tick, name, **more)
        self._told.tell(name, f"harvest refused: {more['why']}"
                        if "why" in more else None)
