# SPDX-License-Identifier: GPL-2.0-or-later
"""
Figures of benchmarks, and how pairs of them are measured.
"""

import statistics
import time
from dataclasses import dataclass, field


class BenchError(Exception):
    """Something that was measured is not what it should be."""


class Skip(Exception):
    """This can't be measured here."""


@dataclass
class Figure:
    """What the runs of one thing came to."""

    values: list

    @property
    def median(self):
        """The value in the middle."""
        return statistics.median(self.values)

    def json(self):
        """For machines."""
        return {"median": self.median, "min": min(self.values),
                "max": max(self.values), "runs": len(self.values),
                "values": list(self.values)}


@dataclass
class Result:
    """
    One line of the report, which has one or several figures.

    @figures are by name.  A pair has "base", "candidate", "ratio" and, where
    it was taken, "cpu-ratio"; other results have "value".  A @goal is an
    upper bound of the ratio, or of the value.
    """

    row: str
    name: str
    unit: str
    figures: dict
    goal: float = None
    skipped: str = None
    about: dict = field(default_factory=dict)

    @property
    def judged(self):
        """The figure that the goal is about."""
        return self.figures.get("ratio") or self.figures["value"]

    def json(self):
        """For machines."""
        answer = {"row": self.row, "name": self.name, "unit": self.unit}
        if self.skipped:
            answer["skipped"] = self.skipped
        if self.goal is not None:
            answer["goal"] = self.goal
        if self.about:
            answer["about"] = self.about
        answer["figures"] = {name: figure.json()
                             for name, figure in self.figures.items()}
        return answer


def single(row, name, unit, values, goal=None, about=None):
    """A result with one figure."""
    return Result(row, name, unit, {"value": Figure(list(values))}, goal,
                  about=about or {})


def skipped(row, name, reason):
    """A result that is none."""
    return Result(row, name, "", {}, skipped=reason)


@dataclass
class Sample:
    """Seconds of one run: what the clock says, and processor time."""

    wall: float
    cpu: float = None


class Pair:
    """Base and candidate, which are measured in turn."""

    def __init__(self):
        self.base = []
        self.candidate = []

    def add(self, base, candidate):
        """One run of both."""
        self.base.append(base)
        self.candidate.append(candidate)

    def result(self, row, name, goal=None, unit="s", about=None):
        """The result; each candidate is compared to its neighbour."""
        pairs = list(zip(self.base, self.candidate, strict=True))
        figures = {
            "base": Figure([a.wall for a, _ in pairs]),
            "candidate": Figure([b.wall for _, b in pairs]),
            "ratio": Figure([b.wall / a.wall for a, b in pairs])}
        if all(a.cpu and b.cpu for a, b in pairs):
            figures["cpu-ratio"] = Figure([b.cpu / a.cpu for a, b in pairs])
        return Result(row, name, unit, figures, goal, about=about or {})


def cpu_seconds(pid):
    """
    The processor time that a process has used.

    It counts in nanoseconds, where /proc has hundredths of a second.  The
    number of the clock is that of clock_getcpuclockid().
    """
    return time.clock_gettime_ns(~pid << 3 | 2) / 1e9


class Stopwatch:
    """Takes the time of a process, in a ``with`` statement."""

    def __init__(self, pid=None):
        self.pid = pid
        self.sample = None
        self._cpu = self._wall = 0

    def __enter__(self):
        self._cpu = cpu_seconds(self.pid) if self.pid else 0
        self._wall = time.monotonic()
        return self

    def __exit__(self, *_):
        wall = time.monotonic() - self._wall
        cpu = cpu_seconds(self.pid) - self._cpu if self.pid else None
        self.sample = Sample(wall, cpu)


def memory_available():
    """Bytes of memory that programs could still take."""
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    raise BenchError("/proc/meminfo does not say how much memory there is")


def need_memory(size, what):
    """Skips what would need more memory than there is."""
    there = memory_available()
    if there < size:
        raise Skip(f"{what} takes {size / 2**30:.1f} GiB of memory, and "
                   f"{there / 2**30:.1f} GiB are available")
