# SPDX-License-Identifier: GPL-2.0-or-later
"""
A guest whose QEMU has a history: what is read takes nothing from others.

Each kind of page, and each of the commands that all memory takes, has a number
of its own to ask with next time.
"""

from . import runs
from .source import Harvest, QMPSource, SourceError, SourceGone, connect

KIND = "age-history"
OURS = "qemu-age"
ALL = "all"


class HistorySource(QMPSource):
    """
    Reads the age-history object of a guest, which is made if there is none.

    Its flush policy is the object's.  One that was made is deleted in the end;
    if we are killed it stays, and the next one to come uses it.
    """

    def __init__(self, qmp, name, dirty=False):
        self.history = None
        self._made = False
        self._numbers = {}
        super().__init__(qmp, name)
        try:
            self.history = self._find() or self._make(dirty)
        except BaseException:
            self.close()
            raise

    @classmethod
    def open_history(cls, path, dirty):
        """The guest behind a socket."""
        return cls(connect(path), path, dirty)

    def close(self):
        if self._made:
            self._made = False
            try:
                self.command("object-del", {"id": self.history}, oob=False)
            except SourceError:
                # It went with its QEMU, or somebody else has deleted it.
                pass
        super().close()

    def strangers(self):
        """Nobody takes anything from us."""
        return 0

    def _find(self):
        """The id of the history there is, if there is one."""
        for item in self.command("qom-list", {"path": "/objects"}, oob=False):
            if item["type"] == f"child<{KIND}>":
                return item["name"]
        return None

    def _make(self, dirty):
        self.command("object-add", {"qom-type": KIND, "id": OURS,
                                    "dirty": dirty}, oob=False)
        self._made = True
        return OURS

    def _take(self, what, flush, clear):
        answers = [self._read(what, ranges, clear)
                   for ranges in self._commands()]
        results = [result for answer in answers for result in answer["ranges"]]
        self._follow_layout(results)
        found, lost = self._decode_read(results)
        return Harvest(answers[0]["begin-ns"], answers[-1]["end-ns"], found,
                       answers[-1]["generation"], None, lost,
                       any(answer["flush-pending"] for answer in answers),
                       cost_ns=sum(answer["end-ns"] - answer["begin-ns"]
                                   for answer in answers))

    def _read(self, what, ranges, harvest):
        """
        One command, from the number of the last one on.

        What was plugged since then has none: it is asked for with the oldest.
        """
        place = (what, ranges[0]["start"] if ranges else ALL)
        known = [number for (kind, _), number in self._numbers.items()
                 if kind == what]
        since = self._numbers.get(place, min(known, default=None))
        answer = self._ask(what, ranges, harvest, since)
        if harvest:
            self._numbers[place] = answer["next"]
        return answer

    def _ask(self, what, ranges, harvest, since):
        arguments = {"history": self.history, "format": "runs",
                     "dirty": what == "dirty", "harvest": harvest}
        if ranges:
            arguments["ranges"] = ranges
        if since is None:
            return self.command("age-history-read", arguments)
        try:
            return self.command("age-history-read",
                                arguments | {"since": since})
        except SourceGone:
            raise
        except SourceError:
            # Of another generation: all that is known is of this one.
            return self.command("age-history-read", arguments)

    @staticmethod
    def _decode_read(results):
        """The runs of what was found, and of what could not be looked at."""
        found, lost = [], []
        for result in results:
            if result.get("runs") is not None:
                found.append(runs.from_ranges(result["runs"]))
            elif "bitmap" in result:
                found.append(runs.from_bitmap(result["start"], result["end"],
                                              result["bitmap"], False))
            if "reason" in result:
                lost.append(runs.from_ranges([result]))
        return runs.union(found), runs.union(lost)
