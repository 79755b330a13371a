# SPDX-License-Identifier: GPL-2.0-or-later
"""
A running guest, behind the path of a QMP socket, that can be harvested.

``Source`` is what the sub-commands see.  ``QMPSource`` takes the accessed bits
themselves: what it makes old, nobody else is told of.
"""

import errno
import os
import socket
import stat
from dataclasses import dataclass, field

import numpy as np

from ..qemu.qmp import QMP, QMPCommandError, QMPError
from . import runs
from .errors import UserError
from .layout import Layout
from .runs import PAGE

# QEMU answers at once unless it is stopped or swapped out.
CONNECT_S = 5
ANSWER_S = 60

# libvirt's virt-qemu-qmp-proxy offers it, and QEMU behind it does not know.
NO_OOB = "'exec-oob' is unexpected"

# More pages than this in one command may not come as a bitmap, and then runs
# beyond the bound of the command are lost.
COMMAND_PAGES = 1 << 25


class SourceError(UserError):
    """A guest can't be harvested."""


class SourceGone(SourceError):
    """It could be, but its QEMU does not answer any more."""


@dataclass
class Harvest:
    """
    What one harvest found.

    @begin_ns and @end_ns are the host's CLOCK_MONOTONIC; what was found had
    happened by some time between the two.  @cost_ns is what it took in the
    accelerator, which is less if several commands were needed.  @young and,
    where it was asked for, @dirty are runs of page frames; @lost are those that
    could not be looked at.  @generation changes when the guest becomes another
    one (loadvm, incoming migration).  @events are names of QMP events since the
    last harvest.  @replaced is whether it is of another history than the last,
    so that something may be missing.
    """

    begin_ns: int
    end_ns: int
    young: np.ndarray
    generation: int = 1
    dirty: np.ndarray = None
    lost: np.ndarray = field(default_factory=lambda: runs.EMPTY)
    flush_pending: bool = False
    events: list = field(default_factory=list)
    cost_ns: int = None
    replaced: bool = False

    def __post_init__(self):
        if self.cost_ns is None:
            self.cost_ns = self.end_ns - self.begin_ns


class Source:
    """
    A guest that can be harvested; one that is closed can't be used again.

    @name is where to find it, @title what people call it, @info the last
    answer of query-age.
    """

    name = title = ""
    info = None

    def layout(self):
        """The memory of the guest as it is now."""
        raise NotImplementedError

    def harvest(self, flush="request", dirty=False, clear=True):
        """What was accessed since the last harvest that cleared."""
        raise NotImplementedError

    def strangers(self):
        """How many pages were made old by someone else since last asked."""
        return 0

    def close(self):
        """Lets the guest alone."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def open_socket(path, timeout):
    """A connection to a socket in the file system."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        sock.connect(path)
    except OSError as e:
        sock.close()
        raise SourceError(f"{path}: {why_no_socket(path, e)}") from None
    return sock


def is_other_file(path):
    """Whether something is there that is no socket."""
    try:
        return not stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def why_no_socket(path, error):
    """One line for a connect() that failed."""
    if error.errno == errno.ENOENT:
        return ("no such socket; start QEMU with "
                "-qmp unix:PATH,server=on,wait=off")
    if error.errno == errno.ECONNREFUSED:
        if not is_other_file(path):
            return "nobody listens there any more: its QEMU has ended"
        return "this is no socket"
    if isinstance(error, socket.timeout) or error.errno == errno.EAGAIN:
        return ("QEMU does not accept us: another client has this socket, and "
                "QEMU serves one at a time; add a second -qmp for this one")
    return os.strerror(error.errno) if error.errno else str(error)


def greet(qmp, path, timeout):
    """Negotiates; tells apart who might be at the other end."""
    try:
        qmp.connect(timeout)
    except QMPError as e:
        text = str(e)
        if "does not answer" in text:
            text = (f"no greeting within {timeout:g} s: another client has "
                    "this socket, and QEMU serves one at a time; add a second "
                    "-qmp for this one")
        elif "no JSON" in text or "no QMP greeting" in text:
            text = ("this is no QMP socket; one is made by "
                    "-qmp unix:PATH,server=on,wait=off")
        raise SourceError(f"{path}: {text}") from None


def connect(path, timeout=CONNECT_S):
    """A QMP client that is ready for commands."""
    qmp = QMP(open_socket(str(path), timeout))
    try:
        greet(qmp, path, timeout)
    except BaseException:
        qmp.close()
        raise
    return qmp


class QMPSource(Source):
    """
    A guest behind a QMP client, whose bits are taken.

    @name is what errors call it.
    """

    def __init__(self, qmp, name):
        self.name = str(name)
        self.qmp = qmp
        self._layout = None
        self._counters = None
        self._mine = [0, 0]
        try:
            self.query()
            self.title = self._title()
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, path, timeout=CONNECT_S):
        """The guest behind a socket."""
        return cls(connect(path, timeout), path)

    def close(self):
        self.qmp.close()

    def query(self):
        """query-age, which has to say that there is something to harvest."""
        try:
            info = self.command("query-age")
        except SourceError as e:
            if getattr(e.__cause__, "error_class", "") == "CommandNotFound":
                raise SourceError(f"{self.name}: this QEMU was built without "
                                  "age") from None
            raise
        if not info["enabled"]:
            raise SourceError(f"{self.name}: this QEMU runs without "
                              "-accel age")
        self.info = info
        self._layout = Layout.from_slots(info["slots"])
        return info

    def _title(self):
        """What -name says or, without it, the name of the socket."""
        try:
            found = self.command("query-name", oob=False).get("name")
        except SourceGone:
            raise
        except SourceError:
            found = None
        return found or os.path.basename(self.name)

    def command(self, name, arguments=None, oob=True):
        """A command, out of band where the socket has that."""
        try:
            return self.qmp.command(name, arguments, oob=oob and self.qmp.oob,
                                    timeout=ANSWER_S)
        except QMPCommandError as e:
            if self.qmp.oob and NO_OOB in e.desc:
                self.qmp.oob = False
                return self.command(name, arguments)
            raise SourceError(f"{self.name}: {e}") from e
        except QMPError as e:
            raise SourceGone(f"{self.name}: {e}") from e

    def layout(self):
        return self._layout

    def harvest(self, flush="request", dirty=False, clear=True):
        harvest = self._take("young", flush, clear)
        if dirty:
            other = self._take("dirty", flush, clear)
            harvest.dirty = other.young
            harvest.lost = runs.union([harvest.lost, other.lost])
            harvest.end_ns = other.end_ns
            harvest.cost_ns += other.cost_ns
            harvest.flush_pending = other.flush_pending
        harvest.events = [event["event"] for event in self.qmp.events]
        self.qmp.events.clear()
        return harvest

    def strangers(self):
        """
        Told by the counters of query-age: @harvested counts every page that
        is reported, @cleared every leaf that is made old.  Who only tests
        moves the first of them alone, and takes nothing from us.
        """
        mine, self._mine = self._mine, [0, 0]
        before = self._counters
        counters = self.query()["counters"]
        self._counters = [counters["harvested"], counters["cleared"]]
        if not before:
            return 0
        more = [now - old - own for now, old, own
                in zip(self._counters, before, mine)]
        return max(min(more), 0)

    def _take(self, what, flush, clear):
        """One harvest of young or of dirty pages, of all memory."""
        parts, results = [], []
        for ranges in self._commands():
            arguments = {"format": "runs", "clear": clear,
                         "flush": flush if clear else "none"}
            if ranges:
                arguments["ranges"] = ranges
            answer = self.command(f"age-test-clear-{what}", arguments)
            parts.append(answer)
            results += answer["ranges"]
        self._follow_layout(results)
        if what == "young":
            self._count(results, clear)
        found, lost = self._decode(results, f"{what}-pages", clear)
        return Harvest(parts[0]["begin-ns"], parts[-1]["end-ns"], found,
                       parts[-1]["generation"], None, lost,
                       any(part["flush-pending"] for part in parts),
                       cost_ns=sum(part["end-ns"] - part["begin-ns"]
                                   for part in parts))

    def _commands(self):
        """The ranges of each command; None is all memory, in one."""
        if self._layout.pages <= COMMAND_PAGES:
            return [None]
        pieces = [{"start": first * PAGE,
                   "end": min(first + COMMAND_PAGES, end) * PAGE}
                  for start, end in self._layout.stretches.tolist()
                  for first in range(start, end, COMMAND_PAGES)]
        return [[piece] for piece in pieces]

    def _follow_layout(self, results):
        """Memory was plugged, unplugged or moved: the answer shows it."""
        there = runs.union([runs.from_ranges(results)])
        if not np.array_equal(there, self._layout.stretches):
            self.query()

    def _count(self, results, clear):
        pages = sum(result["young-pages"] for result in results)
        self._mine[0] += pages
        self._mine[1] += pages if clear else 0

    @staticmethod
    def _decode(results, pages, clear):
        """The runs of what was found, and of what could not be looked at."""
        found, lost = [], []
        for result in results:
            start, end = result["start"], result["end"]
            if result.get("runs") is not None:
                found.append(runs.from_ranges(result["runs"]))
            elif "bitmap" in result:
                found.append(runs.from_bitmap(start, end, result["bitmap"],
                                              clear))
            if not result["handled"] or (
                    result[pages] and not ("runs" in result
                                           or "bitmap" in result)):
                lost.append(np.array([[start // PAGE, end // PAGE]]))
        return runs.union(found), runs.union(lost)
