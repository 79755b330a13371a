# SPDX-License-Identifier: GPL-2.0-or-later
"""
The demo's harvests as a record of qemu-age, and what that says of them.
"""

import os

from ..qemu.emulator import TOP
from ..qemu_age import heatmap, heatmap_text, report_text, runs
from ..qemu_age.layout import Layout
from ..qemu_age.recordfile import Header, Reader, Writer
from ..qemu_age.replay import Replay
from ..qemu_age.report_ages import Series, window_rows
from ..qemu_age.source import Harvest

# Seconds, as many as there are ticks
WINDOWS = (1, 5, 10, 60)

# Fields of the heat map; its times stand before each line.
ROWS = 6
COLUMNS = 64


def short(path):
    """A path from here, or the whole one if that is shorter."""
    return min(os.path.relpath(path), str(path), key=len)


class Record:
    """A record of one guest, with a tick for each harvest."""

    def __init__(self, path, arch, flush, info):
        self.path = path
        path.unlink(missing_ok=True)
        self._writer = Writer(path, Header(
            arch, 1, flush, accelerator=info["version"],
            format=info.get("format", "")))
        # The demo harvests this address space alone.
        self._writer.layout(Layout.from_slots(
            [slot for slot in info["slots"]
             if slot["address-space"] == "memory"]))

    def add(self, tick, harvest):
        """A harvest that has been made; nothing is harvested again."""
        self._writer.harvest(tick, Harvest(
            harvest.begin_ns, harvest.begin_ns + harvest.cost_ns,
            runs.from_frames(harvest.young), harvest.generation,
            flush_pending=harvest.flush_pending))

    def end(self):
        """The last one was there."""
        self._writer.end("time")
        self._writer.close()

    def close(self):
        """Closes the file, whether it is complete or not."""
        self._writer.close()

    def lines(self, colour):
        """Working sets and the heat map, as "qemu-age report" has them."""
        replay = Replay(Reader(self.path))
        series = Series([window for window in WINDOWS
                         if window <= replay.ticks])
        rows = window_rows(replay, series, replay.ages(each=series))
        yield "working sets: what was touched within a window of time"
        yield ""
        yield from report_text.window_table(rows, replay.pages * runs.PAGE)
        yield ""
        found = heatmap.draw(replay, ROWS, COLUMNS)
        yield from heatmap_text.lines(found, colour=colour)
        yield ""
        yield "more of this guest:"
        yield f"  {self.command()}"

    def command(self):
        """How to see more."""
        return (f"{short(TOP / 'scripts/qemu-age')} report "
                f"{short(self.path)} --help")
