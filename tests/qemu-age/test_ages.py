#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
The arithmetic of ages, against models that do it page by page.
"""

import random
import unittest

from fakes import PAGE, frames, slot

import common

from agelib.qemu_age import runs, threshold
from agelib.qemu_age.ages import Ages
from agelib.qemu_age.cells import Cells
from agelib.qemu_age.layout import Layout

SLOTS = [slot(0, 40 * PAGE), slot(100 * PAGE, 60 * PAGE)]
FRAMES = [*range(40), *range(100, 160)]


class Model:
    """A history, as a list of sets, and answers from nothing else."""

    def __init__(self):
        self.history = []

    def last(self, frame, tick):
        """When a page was last young, or None."""
        return next((t for t in range(tick, -1, -1)
                     if frame in self.history[t]), None)

    def window(self, tick, ticks):
        """The working set: all that was young in the last @ticks."""
        return set().union(*self.history[max(tick + 1 - ticks, 0):tick + 1])

    def promotions(self, age):
        """Touches after exactly so many ticks of idleness."""
        total = 0
        for tick in range(1, len(self.history)):
            for frame in self.history[tick]:
                last = self.last(frame, tick - 1)
                total += last is not None and tick - last - 1 == age
        return total

    def ages(self):
        """The idle age of each page that was touched."""
        now = len(self.history) - 1
        last = [self.last(frame, now) for frame in FRAMES]
        return sorted(now - tick for tick in last if tick is not None)


def random_history(rng, ticks):
    """Hot pages, warm ones, and whole pieces of memory now and then."""
    hot = set(rng.sample(FRAMES, 8))
    for _ in range(ticks):
        young = {frame for frame in hot if rng.random() < 0.8}
        if rng.random() < 0.3:
            first = rng.choice(FRAMES)
            young |= {frame for frame in FRAMES if first <= frame < first + 9}
        yield young | set(rng.sample(FRAMES, rng.randrange(3)))


def play(history, exact, depth=100):
    """Ages with a cell a page, or with as few as do."""
    layout = Layout.from_slots(SLOTS)
    sets = [runs.from_frames(young) for young in history]
    cells = Cells(layout) if exact else Cells.of_runs(layout, sets)
    ages = Ages(cells, depth, touches=True)
    for young in sets:
        ages.advance(young)
    return ages


class Arithmetic(unittest.TestCase):
    """Every answer, for random histories."""

    def setUp(self):
        rng = random.Random(4)
        self.cases = []
        for ticks in (1, 2, 3, 7, 40, 41):
            for exact in (True, False):
                model = Model()
                model.history = list(random_history(rng, ticks))
                self.cases.append((model, play(model.history, exact)))

    def test_working_sets(self):
        for model, ages in self.cases:
            now = len(model.history) - 1
            for window in range(1, now + 3):
                self.assertEqual(ages.working_set(window),
                                 len(model.window(now, window)))
            self.assertEqual(ages.windows(), now)

    def test_means(self):
        """Over the ticks whose window does not reach back to tick 0."""
        for model, ages in self.cases:
            now = len(model.history) - 1
            for window in range(1, now + 1):
                sizes = [len(model.window(tick, window))
                         for tick in range(window, now + 1)]
                self.assertAlmostEqual(ages.mean_working_set(window),
                                       sum(sizes) / len(sizes))
            self.assertIsNone(ages.mean_working_set(now + 1))

    def test_promotions(self):
        for model, ages in self.cases:
            for age in range(len(model.history)):
                self.assertEqual(ages.promoted[age], model.promotions(age))
            ever = set().union(*model.history)
            self.assertEqual(ages.first, len(ever))
            self.assertEqual(ages.touched(), len(ever))

    def test_idle(self):
        for model, ages in self.cases:
            wanted = model.ages()
            spread = [age for age, pages in enumerate(ages.idle_pages())
                      for _ in range(pages)]
            self.assertEqual(spread, wanted)
            bins = [0, 1, 3, 20]
            counts = [sum(low <= age < high for age in wanted)
                      for low, high in zip(bins, bins[1:] + [10 ** 9])]
            self.assertEqual(ages.idle_bins(bins).tolist(), counts)

    def test_percentiles(self):
        for model, ages in self.cases:
            wanted = model.ages()
            for percent, age in enumerate(ages.percentiles()):
                below = sum(other <= age for other in wanted)
                self.assertGreaterEqual(below * 100, percent * len(wanted))
                fewer = sum(other < age for other in wanted)
                self.assertTrue(fewer * 100 < percent * len(wanted)
                                or age == wanted[0])

    def test_identity(self):
        """Denning's identity holds to the page, with its ends."""
        for model, ages in self.cases:
            for window in range(1, len(model.history) + 2):
                left, right = ages.identity(window)
                self.assertEqual(left, right)
                naive = sum(len(model.window(tick, window + 1)) -
                            len(model.window(tick, window))
                            for tick in range(len(model.history)))
                self.assertEqual(left, naive)

    def test_cells(self):
        """What each cell says holds for each of its pages."""
        for model, ages in self.cases:
            now = len(model.history) - 1
            for age in range(-1, now + 1):
                found = frames(ages.cells.frames(ages.idle_cells() == age))
                last = None if age < 0 else now - age
                self.assertEqual(found, {frame for frame in FRAMES if
                                         model.last(frame, now) == last})
            for times in range(now + 2):
                found = frames(ages.cells.frames(ages.touches == times))
                self.assertEqual(found, {
                    frame for frame in FRAMES
                    if sum(frame in young for young in model.history)
                    == times})

    def test_few_cells(self):
        """Pages of one history share a cell."""
        ages = play([{1, 2, 3}, {3, 4, 5}], False)
        self.assertEqual(ages.cells.sizes().tolist(), [1, 2, 1, 2, 34, 60])

    def test_depth(self):
        """Ages beyond the longest window count as before, in all but sums."""
        history = list(random_history(random.Random(5), 60))
        deep, shallow = play(history, True), play(history, True, depth=10)
        self.assertEqual(deep.promoted.tolist(), shallow.promoted.tolist())
        for window in range(1, 11):
            self.assertEqual(deep.identity(window), shallow.identity(window))
            self.assertEqual(deep.mean_working_set(window),
                             shallow.mean_working_set(window))
        with self.assertRaises(ValueError):
            shallow.identity(11)


class Changes(unittest.TestCase):
    """What happens when memory becomes another."""

    def test_forget(self):
        """Nothing is told of before, and the identity holds over it."""
        rng = random.Random(6)
        ages = Ages(Cells(Layout.from_slots(SLOTS)), 100)
        for tick, young in enumerate(random_history(rng, 50)):
            if tick in (17, 30):
                ages.forget()
                self.assertEqual(ages.touched(), 0)
            ages.advance(runs.from_frames(young))
        for window in range(1, 50):
            self.assertEqual(*ages.identity(window))
        self.assertLessEqual(ages.windows(), 50 - 30)

    def test_missed(self):
        """A tick without a harvest is in no mean, and ages everything."""
        ages = play([{1}, {1, 2}], True)
        ages.advance(runs.EMPTY, sampled=False)
        self.assertEqual(ages.idle_pages().tolist(), [0, 2, 0])
        self.assertEqual(ages.mean_working_set(1), 2)
        for window in range(1, 4):
            self.assertEqual(*ages.identity(window))

    def test_rebase(self):
        """What both layouts have keeps its age, at its new place."""
        ages = play([{0, 20, 110}, {1, 110}, {35}], True)
        layout = Layout.from_slots([slot(15 * PAGE, 20 * PAGE),
                                    slot(90 * PAGE, 30 * PAGE)])
        ages.rebase(layout)
        idle = ages.idle_cells()
        self.assertEqual({age: frames(ages.cells.frames(idle == age))
                          for age in (0, 1, 2)},
                         {0: set(), 1: {110}, 2: {20}})
        self.assertEqual(frames(ages.cells.frames(ages.touches == 2)), {110})
        self.assertEqual(ages.touched(), 2)
        ages.advance(runs.from_frames({20, 95}))
        self.assertEqual(ages.promoted[2], 1)
        for window in range(1, 5):
            self.assertEqual(*ages.identity(window))


class Thresholds(unittest.TestCase):
    """When memory is cold."""

    def test_smallest(self):
        """No shorter threshold meets the goal."""
        rng = random.Random(7)
        for _ in range(20):
            ages = play(list(random_history(rng, 50)), True)
            for goal in (0.002, 0.5, 3):
                found = threshold.recommend(ages, 10, goal)
                shares = {ticks: threshold.judge(ages, 10, ticks).share
                          for ticks in range(1, 25)}
                good = [ticks for ticks, share in shares.items()
                        if share <= goal]
                self.assertEqual(found.ticks if found else None,
                                 min(good, default=None))

    def test_judge(self):
        """
        One page comes back after three idle ticks of a minute.

        It can be seen in the six ticks less the threshold.
        """
        hot = set(range(10))
        ages = play([hot, hot | {20}, hot, hot, hot, hot | {20}, hot], True)
        self.assertEqual(threshold.working_set(ages, 60), (10.6, 2))
        for ticks, rate, frees in ((3, 1 / 3, 0), (4, 0, 0), (1, 1 / 5, 1)):
            found = threshold.judge(ages, 60, ticks)
            self.assertAlmostEqual(found.rate, rate)
            self.assertAlmostEqual(found.share, rate / 10.6)
            self.assertEqual(found.frees, frees)
        self.assertIsNone(threshold.recommend(ages, 60))
        for _ in range(2):
            ages.advance(runs.from_frames(hot))
        self.assertEqual(threshold.recommend(ages, 60).ticks, 4)

    def test_too_short(self):
        """Nobody comes back, but less than a minute remains to tell."""
        hot = set(range(10))
        for ticks, wanted in ((61, 1), (60, None)):
            ages = play([hot] * (ticks + 1), True)
            found = threshold.recommend(ages, 1)
            self.assertEqual(found and found.ticks, wanted)

    def test_nothing(self):
        """One harvest says nothing of thresholds."""
        self.assertIsNone(threshold.recommend(play([{1}], True), 1))


def main():
    """Runs everything."""
    common.run_classes([Arithmetic, Changes, Thresholds])


if __name__ == "__main__":
    main()
