# SPDX-License-Identifier: GPL-2.0-or-later
"""
The figures of guests as metrics of Prometheus.

They are made when a guest is harvested; a scrape only writes them down.
"""

from dataclasses import dataclass

import numpy as np
from prometheus_client.core import (
    CounterMetricFamily, GaugeHistogramMetricFamily, GaugeMetricFamily,
    HistogramMetricFamily)

from .live import at_most
from .runs import PAGE

# The edges of histograms, in seconds
EDGES = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)

# The windows of working sets, and what they are called
WINDOWS = {"10s": 10, "1m": 60, "2m": 120, "10m": 600, "1h": 3600}

PLACE_LABELS = ["guest", "node"]


@dataclass
class NodeView:
    """One NUMA node of a guest, in bytes; histograms as [(edge, count)]."""

    memory: int
    touched: int
    young: int
    dirtied: int
    first: int
    sets: dict
    idle: list
    idle_sum: float
    again: list
    again_sum: float


def cumulative(counts, interval, unit):
    """A histogram of counts by idle age, as Prometheus has them."""
    edges = [edge for edge in EDGES if edge >= interval]
    found = [(f"{edge:.1f}",
              at_most(counts, int(edge / interval + 1e-6)) * unit)
             for edge in edges]
    return found + [("+Inf", int(counts.sum()) * unit)]


def weighted(counts, interval):
    """The sum of all idle ages, in seconds."""
    return float(counts @ np.arange(len(counts))) * interval


def view(place, interval):
    """What is told of a node."""
    ages = place.ages
    idle = ages.idle_pages()
    sets = {name: ages.working_set(max(round(seconds / interval), 1)) * PAGE
            for name, seconds in WINDOWS.items() if seconds >= interval}
    return NodeView(
        ages.cells.layout.pages * PAGE, ages.touched() * PAGE,
        place.young * PAGE, place.dirtied * PAGE, ages.first, sets,
        cumulative(idle, interval, PAGE), weighted(idle, interval) * PAGE,
        cumulative(ages.promoted, interval, 1),
        weighted(ages.promoted, interval))


def node_name(key):
    """The label of a node; memory that is of none has an empty one."""
    return "" if key is None else str(key)


class Collector:
    """All metrics of a fleet."""

    def __init__(self, fleet, dirty=False):
        self.fleet = fleet
        self.dirty = dirty

    def describe(self):
        """Nothing can be told before there are guests."""
        return []

    def collect(self):
        """All metrics, each with all guests."""
        figures = self.fleet.figures()
        up = GaugeMetricFamily(
            "age_guest_up", "Whether the guest could be harvested when last "
            "tried.", labels=["guest", "socket"])
        for title, item in figures:
            up.add_metric([title, item.path], item.up)
        yield up
        live = [(title, item) for title, item in figures if item.up]
        yield from self._sums(live)
        places = [([title, node_name(key)], place) for title, item in live
                  for key, place in item.places.items()]
        yield from self._gauges(places)
        yield from self._histograms(places)

    @staticmethod
    def _sums(live):
        """Counters of the harvests themselves."""
        for name, text, value in (
                ("harvests", "Harvests that were taken.",
                 lambda sums: sums.harvests),
                ("harvests_missed", "Harvests that could not be taken in "
                 "time.", lambda sums: sums.missed),
                ("harvests_failed", "Harvests that were refused.",
                 lambda sums: sums.failures),
                ("harvest_seconds", "Time that the accelerator spent on "
                 "harvests.", lambda sums: sums.cost_ns / 1e9),
                ("state_loads", "How often the state of the guest was loaded "
                 "and its ages began anew.", lambda sums: sums.loads),
                ("stolen_pages", "Pages that somebody else made old.",
                 lambda sums: sums.stolen)):
            family = CounterMetricFamily(f"age_{name}", text,
                                         labels=["guest"])
            for title, item in live:
                family.add_metric([title], value(item.sums))
            yield family
        lost = GaugeMetricFamily(
            "age_lost_bytes", "Memory that the last harvest could not look "
            "at.", labels=["guest"])
        for title, item in live:
            lost.add_metric([title], item.sums.lost * PAGE)
        yield lost

    def _gauges(self, places):
        for name, text, value in (
                ("memory", "Memory of the guest.", lambda it: it.memory),
                ("touched", "Memory that was ever accessed.",
                 lambda it: it.touched),
                ("young", "Memory that was accessed between the last two "
                 "harvests.", lambda it: it.young)):
            family = GaugeMetricFamily(f"age_{name}_bytes", text,
                                       labels=PLACE_LABELS)
            for labels, place in places:
                family.add_metric(labels, value(place))
            yield family
        sets = GaugeMetricFamily(
            "age_working_set_bytes", "Memory that was accessed within the "
            "window.", labels=[*PLACE_LABELS, "window"])
        for labels, place in places:
            for window, size in place.sets.items():
                sets.add_metric([*labels, window], size)
        yield sets
        yield from self._counters(places)

    def _counters(self, places):
        first = CounterMetricFamily(
            "age_first_touched_pages", "Pages that were accessed for the "
            "first time.", labels=PLACE_LABELS)
        dirtied = CounterMetricFamily(
            "age_dirtied_bytes", "Memory that harvests found written.",
            labels=PLACE_LABELS)
        for labels, place in places:
            first.add_metric(labels, place.first)
            dirtied.add_metric(labels, place.dirtied)
        yield first
        if self.dirty:
            yield dirtied

    @staticmethod
    def _histograms(places):
        idle = GaugeHistogramMetricFamily(
            "age_idle_seconds", "Bytes of memory that was ever accessed, by "
            "how long it has been idle.", labels=PLACE_LABELS)
        again = HistogramMetricFamily(
            "age_reaccess_idle_seconds", "Pages that were accessed again, by "
            "how long they had been idle.", labels=PLACE_LABELS)
        for labels, place in places:
            idle.add_metric(labels, place.idle, place.idle_sum)
            again.add_metric(labels, place.again, place.again_sum)
        yield idle
        yield again
