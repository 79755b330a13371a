# SPDX-License-Identifier: GPL-2.0-or-later
"""
What happens to harvests that people should know of.

Who records a guest and who shows it say the same, and each thing once.
"""

TEXTS = {
    "missed": "the harvests can't keep up: ticks are missing",
    "generation": "the guest's state was loaded: ages begin anew",
    "lost": "some memory can't be harvested",
    "stranger": "somebody else makes pages old as well: what they take is "
                "missing here; --history takes nothing from each other",
    "history": "the history was deleted, and another one is read: what was "
               "accessed meanwhile may be missing",
}

# How often it is looked whether somebody else makes pages old: the shorter of
# the two
LOOK_TICKS = 10
LOOK_S = 10


class Lookout:
    """When to look for strangers, by ticks, of which some may be missed."""

    def __init__(self, interval):
        self.every = min(LOOK_TICKS, max(round(LOOK_S / interval), 1))
        self._next = 0

    def due(self, tick):
        """Whether to look at this tick."""
        if tick < self._next:
            return False
        self._next = tick + self.every
        return True


class Told:
    """
    Trouble of each kind, told once.

    @name is what it happens to, @say takes a line.
    """

    def __init__(self, name, say):
        self.name, self.say = name, say
        self._known = set()

    def tell(self, kind, text=None):
        """It happened, with that text or the usual one."""
        if kind not in self._known:
            self._known.add(kind)
            self.say(f"{self.name}: {text or TEXTS[kind]}")
