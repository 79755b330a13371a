# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the tests of qemu-age share: naive models, and a QEMU that is none.
"""

import base64
import json
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.dont_write_bytecode = True
TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "scripts"), str(TOP / "tests/functional")]

from agelib.qemu_age import runs

PAGE = 4096
PATIENCE_S = 60
GREETING = {"QMP": {"version": {}, "capabilities": ["oob"]}}


def until(found, what):
    """Waits until a function returns something true."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE_S} s: {what}")


def slot(gpa, size, block="ram", space="memory", **more):
    """A slot as query-age tells it."""
    return {"gpa": gpa, "size": size, "address-space": space, "hva": gpa,
            "block": block, "read-only": False, "device": False,
            "leaf-size": "4k"} | more


def frames(array):
    """A set of page frames from runs, without any vector arithmetic."""
    return {frame for start, end in array.tolist()
            for frame in range(start, end)}


def encode(young, start, end, ones=True):
    """The bitmap of a range, as the accelerator would return it."""
    count = (end - start) // PAGE
    value = (1 << count) - 1 if ones else 0
    for frame in young:
        value ^= 1 << (end // PAGE - 1 - frame)
    return base64.b64encode(
        value.to_bytes((count + 7) // 8, "little")).decode()


class FakeGuest:
    """
    Answers as the accelerator would, from sets of young and dirty pages.

    @script maps names of commands to functions of the arguments, which take
    the place of what is here.
    """

    def __init__(self, slots, script=None):
        self.slots = slots
        self.script = script or {}
        self.young, self.dirty = set(), set()
        self.name = None
        self.generation = 1
        self.clock = 10 ** 9
        self.counters = {"harvested": 0, "cleared": 0}
        self.max_runs = 3500
        self.oob = True
        self.requests = []
        self.lock = threading.Lock()

    def answer(self, request):
        """The answer to one request; they come from several clients."""
        with self.lock:
            return self._answer(request)

    def _answer(self, request):
        if "exec-oob" in request and not self.oob:
            return {"error": {
                "class": "GenericError",
                "desc": "QMP input member 'exec-oob' is unexpected"}}
        name = request.get("exec-oob") or request["execute"]
        arguments = request.get("arguments", {})
        self.requests.append((name, arguments))
        if name in self.script:
            return self.script[name](arguments)
        known = {
            "qmp_capabilities": lambda _: {"return": {}},
            "query-name": lambda _: {"return": {"name": self.name}
                                     if self.name else {}},
            "query-age": self.query,
            "age-test-clear-young":
                lambda arguments: self.harvest("young", self.young, arguments),
            "age-test-clear-dirty":
                lambda arguments: self.harvest("dirty", self.dirty, arguments)}
        if name not in known:
            return {"error": {"class": "CommandNotFound", "desc": "no"}}
        return known[name](arguments)

    def query(self, _):
        """query-age."""
        return {"return": {
            "enabled": True, "version": "0.1.0", "format": "ept",
            "slots": self.slots, "generation": self.generation,
            "flush-pending": False, "counters": dict(self.counters)}}

    def harvest(self, what, pages, arguments):
        """A harvest, as runs where they fit."""
        clear = arguments.get("clear", True)
        ranges = []
        for item in arguments.get("ranges") or self.stretches():
            start, end = item["start"], item["end"]
            found = {frame for frame in pages
                     if start <= frame * PAGE < end}
            ranges.append(self.result(what, start, end, found, clear))
            if what == "young":
                self.counters["harvested"] += len(found)
                self.counters["cleared"] += len(found) if clear else 0
            if clear:
                pages -= found
        self.clock += 10 ** 9
        return {"return": {
            "ranges": ranges, "generation": self.generation,
            "begin-ns": self.clock, "end-ns": self.clock + 1000,
            "flush-pending": False}}

    def result(self, what, start, end, found, clear):
        """One range of an answer."""
        result = {"start": start, "end": end, "handled": True, "answers": [],
                  f"{what}-pages": len(found)}
        rows = runs.from_frames(found).tolist()
        if len(rows) <= self.max_runs:
            result["runs"] = [{"start": first * PAGE, "end": last * PAGE}
                              for first, last in rows]
        else:
            result["bitmap"] = encode(found, start, end, clear)
        return result

    def stretches(self):
        """All memory, as the accelerator has it."""
        joined = []
        for start, end in sorted({(item["gpa"], item["gpa"] + item["size"])
                                  for item in self.slots}):
            if joined and joined[-1]["end"] >= start:
                joined[-1]["end"] = max(joined[-1]["end"], end)
            else:
                joined.append({"start": start, "end": end})
        return joined


def talk(client, guest, greeting):
    """Greets a client and answers it until it goes."""
    text = greeting if isinstance(greeting, str) else json.dumps(greeting)
    client.sendall(text.encode() + b"\r\n")
    with client.makefile("r") as lines:
        for line in lines:
            if not guest:
                return
            request = json.loads(line)
            answer = guest.answer(request) | {"id": request["id"]}
            client.sendall(json.dumps(answer).encode() + b"\r\n")


class FakeSocket:
    """
    A socket in the file system with a guest behind it, one client at a time.

    @greeting is sent at once; "" leaves the client waiting.
    """

    def __init__(self, guest=None, greeting=None):
        self.folder = tempfile.TemporaryDirectory(prefix="age-")
        self.path = str(Path(self.folder.name) / "qmp")
        self.guest = guest
        self.greeting = GREETING if greeting is None else greeting
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(1)
        self.client = None
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        """Nobody listens any more."""
        self.listener.close()
        if self.client:
            self.client.close()
        self.folder.cleanup()

    def _serve(self):
        while True:
            try:
                self.client, _ = self.listener.accept()
            except OSError:
                return
            try:
                if self.greeting:
                    talk(self.client, self.guest, self.greeting)
            except OSError:
                # A client may go at any moment; another one may come.
                pass
