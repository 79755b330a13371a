# SPDX-License-Identifier: GPL-2.0-or-later
"""
A guest that is made up, and whose QEMU can keep a history.
"""

from fakes import FakeGuest

# The first number of each history is larger than all before.
STEP = 1000


def refusal(text):
    """An error as QEMU tells it."""
    return {"error": {"class": "GenericError", "desc": text}}


class HistoryGuest(FakeGuest):
    """
    Answers as FakeGuest, and what a reader of histories asks.

    @history is the id of the one there is, or None; @stamps the number under
    which each page was last found, for each kind.
    """

    def __init__(self, slots, history=None, dirty=True):
        super().__init__(slots, {
            "qom-list": self.objects, "object-add": self.add,
            "object-del": self.delete, "age-history-read": self.read})
        self.history = None
        self.keeps_dirty = dirty
        self.stamps = {}
        self.number = self.first = 0
        if history:
            self.begin(history)

    def begin(self, name):
        """A history that knows nothing yet."""
        self.history = name
        self.number = self.first = (self.number // STEP + 1) * STEP
        self.stamps = {"young": {}, "dirty": {}}

    def load(self):
        """The state of the guest is loaded."""
        self.generation += 1
        if self.history:
            self.begin(self.history)

    def calls(self, name):
        """The arguments of all commands of a name."""
        return [arguments for called, arguments in list(self.requests)
                if called == name]

    def objects(self, _):
        """qom-list of /objects."""
        found = [{"name": "m0", "type": "child<memory-backend-ram>"}]
        if self.history:
            found.append({"name": self.history, "type": "child<age-history>"})
        return {"return": found}

    def add(self, arguments):
        """object-add: one at a time."""
        if self.history:
            return refusal(f"there is a history already, '{self.history}'")
        self.begin(arguments["id"])
        self.keeps_dirty = arguments["dirty"]
        return {"return": {}}

    def delete(self, arguments):
        """object-del."""
        if arguments["id"] != self.history:
            return refusal(f"object '{arguments['id']}' not found")
        self.history = None
        return {"return": {}}

    def harvest(self, what, pages, arguments):
        """Whoever harvests, the history is told of it."""
        before = set(pages)
        answer = super().harvest(what, pages, arguments)
        self._stamp(what, before - pages)
        return answer

    def _stamp(self, what, found):
        if self.history:
            self.number += 1
            self.stamps[what] |= dict.fromkeys(found, self.number)

    def read(self, arguments):
        """age-history-read."""
        what = "dirty" if arguments.get("dirty") else "young"
        since = arguments.get("since", 0)
        if arguments["history"] != self.history:
            return refusal(f"there is no history '{arguments['history']}'")
        if what == "dirty" and not self.keeps_dirty:
            return refusal("it does not remember stores")
        if since and not self.first <= since <= self.number:
            return refusal(f"it does not know any more since {since}")
        if arguments.get("harvest", True):
            self.harvest(what, getattr(self, what), {
                "ranges": arguments.get("ranges")})
        answer = self._found(what, since, arguments.get("ranges"))
        self.clock += 10 ** 9
        return {"return": answer | {
            "next": self.number, "generation": self.generation,
            "begin-ns": self.clock, "end-ns": self.clock + 1000,
            "flush-pending": False}}

    def _found(self, what, since, ranges):
        results = []
        for item in ranges or self.stretches():
            first, end = item["start"] // 4096, item["end"] // 4096
            found = {page for page, number in self.stamps[what].items()
                     if number > since and first <= page < end}
            result = self.result(what, item["start"], item["end"], found,
                                 False)
            results.append({"pages": len(found)} | {
                key: result[key] for key in result
                if key in ("start", "end", "runs", "bitmap")})
        return {"ranges": results}
