# SPDX-License-Identifier: GPL-2.0-or-later
"""
What could go: when to call memory cold, and what it would cost.

The rule is that of software-defined far memory: of the working set, which is
what was touched within two minutes, at most 0.2 % a minute may come back from
where cold memory has gone.
"""

import math
from dataclasses import asdict, dataclass

# The share of the working set that may fault back in a minute
GOAL = 0.002

# The window of the working set that the goal is about, in seconds
WORKING_SET_S = 120

MINUTE_S = 60


@dataclass(frozen=True)
class Threshold:
    """
    What is idle for @ticks or more is taken for cold.

    @rate is how many pages would fault back in a minute, @share the same of the
    working set, @frees how many pages are cold now.
    """

    ticks: int
    seconds: float
    rate: float
    share: float
    frees: int

    def json(self):
        """As an object of JSON."""
        return asdict(self)


def working_set(ages, interval):
    """
    The working set that the goal is about, in pages, and its window in ticks.

    It is of a shorter window where nothing longer has passed.
    """
    window = max(round(WORKING_SET_S / interval), 1)
    window = min(window, ages.windows())
    return (ages.mean_working_set(window), window) if window else (None, 0)


def judge(ages, interval, ticks):
    """
    What a threshold would do.

    A page has to be idle for so long before it can come back, so the rate is
    over what remains of the time.
    """
    minutes = max(ages.tick - ticks, 1) * interval / MINUTE_S
    rate = ages.promotions(ticks) / minutes
    pages, _ = working_set(ages, interval)
    share = rate / pages if pages else 0.0
    return Threshold(ticks, ticks * interval, rate, share, ages.cold(ticks))


def recommend(ages, interval, goal=GOAL):
    """
    The shortest threshold that meets the goal, or None.

    What was seen for less than twice as long as a threshold says too little
    of it, and what comes back in a minute is not told by less than one.
    """
    longest = min(ages.tick // 2, ages.tick - math.ceil(MINUTE_S / interval))
    for ticks in range(1, longest + 1):
        found = judge(ages, interval, ticks)
        if found.share <= goal:
            return found
    return None
