# SPDX-License-Identifier: GPL-2.0-or-later
"""
A guest whose QEMU has a history: what is read takes nothing from others.

Each kind of page, and each of the commands that all memory takes, has a number
of its own to ask with next time.
"""

import os
import secrets

from . import runs
from .source import Harvest, QMPSource, SourceError, SourceGone

KIND = "age-history"
ALL = "all"

# What one is called that we make: it tells who has left it, if somebody did.
# In containers others have the same number.
OURS = f"qemu-age-{os.getpid()}-{secrets.token_hex(4)}"


class HistorySource(QMPSource):
    """
    Reads the age-history object of a guest, which is made if there is none.

    Its flush policy is the object's.  One that was made is deleted in the end;
    if we are killed it stays, and the next one to come uses it.  If somebody
    deletes the one that is read, another one is found or made.
    """

    def __init__(self, qmp, name, dirty=False):
        self.history = None
        self.dirty = dirty
        self._made = self._gone = self._replaced = False
        # For each place the number to ask with, and the generation it is of
        self._numbers = {}
        super().__init__(qmp, name)
        try:
            self.history = self._find() or self._make()
        except BaseException:
            self.close()
            raise

    def command(self, name, arguments=None, oob=True):
        try:
            return super().command(name, arguments, oob)
        except SourceGone:
            self._gone = True
            raise

    def close(self):
        if self._made and not self._gone:
            self._made = False
            try:
                self.command("object-del", {"id": self.history}, oob=False)
            except SourceError:
                # It went with its QEMU, or somebody else has deleted it.
                pass
        super().close()

    def harvest(self, flush="request", dirty=False, clear=True):
        harvest = super().harvest(flush, dirty, clear)
        harvest.replaced, self._replaced = self._replaced, False
        return harvest

    def strangers(self):
        """Nobody takes anything from us."""
        return 0

    def _find(self):
        """The id of the history there is, if there is one."""
        for item in self.command("qom-list", {"path": "/objects"}, oob=False):
            if item["type"] == f"child<{KIND}>":
                # It may be ours of before the connection was lost.
                self._made = item["name"] == OURS
                return item["name"]
        self._made = False
        return None

    def _make(self):
        """The id of a new one, or of that of somebody who was quicker."""
        try:
            self.command("object-add", {"qom-type": KIND, "id": OURS,
                                        "dirty": self.dirty}, oob=False)
        except SourceGone:
            raise
        except SourceError:
            found = self._find()
            if not found:
                raise
            return found
        self._made = True
        return OURS

    def _replace(self):
        """Another history for the one that is read; False if it is there."""
        found = self._find()
        if found == self.history:
            return False
        self.history = found or self._make()
        self._numbers.clear()
        self._replaced = True
        return True

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
        arguments = {"format": "runs", "dirty": what == "dirty",
                     "harvest": harvest}
        if ranges:
            arguments["ranges"] = ranges
        answer = self._ask(arguments, since) if since \
            else self._ask_all(arguments)
        if harvest:
            self._numbers[place] = (answer["next"], answer["generation"])
        return answer

    def _ask(self, arguments, since):
        """What was found since a number, or None if it means nothing now."""
        number, generation = since
        try:
            return self._command_read(arguments | {"since": number})
        except SourceGone:
            raise
        except SourceError:
            # Of another generation: all that is known is of this one.  In the
            # same one it is of another history by the same name.
            answer = self._ask_all(arguments)
            self._replaced |= answer["generation"] == generation
            return answer

    def _ask_all(self, arguments):
        """All that the history knows, or one that takes its place."""
        try:
            return self._command_read(arguments)
        except SourceGone:
            raise
        except SourceError:
            if not self._replace():
                raise
            return self._command_read(arguments)

    def _command_read(self, arguments):
        return self.command("age-history-read",
                            arguments | {"history": self.history})

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
