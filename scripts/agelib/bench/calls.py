# SPDX-License-Identifier: GPL-2.0-or-later
"""
Benchmarks of single calls over QMP on a large guest.

No guest runs.  The DMA of ``age-device`` makes memory young; its registers are
written through QEMU's test protocol.  It only reads, so that the host lends
one page of zeroes for all of the guest's memory.  Times are those of the
client, from sending the request to the end of the answer's line.
"""

import json
import mmap
import os
import socket
import tempfile
import time

from ..qemu.emulator import Emulator, EmulatorError
from ..qemu.harvest import PAGE, encode_bitmap, ram_ranges
from ..qemu.patience import PATIENCE
from .figures import BenchError, need_memory, single

GIB = 1 << 30
REGION = 2 << 20

# Of q35: the ports of PCI configuration space; and a free place for the BAR,
# below which no memory is
PCI_ADDRESS, PCI_DATA = 0xcf8, 0xcfc
PCI_ENABLE = 1 << 31
SLOT = 4
COMMAND, BAR0 = 0x04, 0x10
MEMORY_AND_MASTER = 6
PLACE = 0xe0000000

# docs/specs/age-device.rst
REGISTERS = {"CONTROL": 0x10, "STATUS": 0x18, "COMMAND": 0x30,
             "PATTERN": 0x38, "SOURCE": 0x40, "LENGTH": 0x50, "COUNT": 0x58,
             "STRIDE": 0x60}
READ, STRIDE, START = 1, 1, 1
BUSY, DONE = 1, 2


class Machine(Emulator):
    """A machine that does not run, with a device that does."""

    def __init__(self, gib, bits):
        self.bits = os.path.join(bits, "bits")
        size = gib * GIB // PAGE // 8 + PAGE
        super().__init__("x86_64", [
            "-S", "-m", f"{gib}G", "-qtest-log", "/dev/null",
            "-object", f"memory-backend-ram,id=ram,size={gib}G,reserve=off",
            "-machine", "q35,memory-backend=ram",
            "-object", f"memory-backend-file,id=bits,size={size},share=on,"
                       f"mem-path={self.bits}",
            "-device", f"age-device,id=dma0,addr={SLOT:#x},worker=on"])
        self.wire = None
        self.shared = None

    def stop(self):
        super().stop()
        if self.wire:
            self.wire.close()
        if self.shared:
            self.shared.close()
        self.wire = self.shared = None

    def _channel_options(self, theirs):
        options = super()._channel_options(theirs)
        ours, other = socket.socketpair()
        self.wire = ours.makefile("rw", encoding="ascii", newline="\n")
        ours.close()
        theirs.append(other)
        return options + ["-chardev", f"socket,id=qtest,fd={other.fileno()}",
                          "-qtest", "chardev:qtest"]

    def _connect(self):
        super()._connect()
        for reg, value in (BAR0, PLACE), (COMMAND, MEMORY_AND_MASTER):
            self._qtest("outl", PCI_ADDRESS, PCI_ENABLE | SLOT << 11 | reg)
            self._qtest("outl", PCI_DATA, value)
        self.command("age-share-memory", {"memory": "bits"})
        with open(self.bits, "r+b") as file:
            self.shared = mmap.mmap(file.fileno(), 0)

    def _qtest(self, name, *numbers):
        self.wire.write(" ".join([name, *map(hex, numbers)]) + "\n")
        self.wire.flush()
        answer = self.wire.readline().split()
        if not answer or answer[0] != "OK":
            raise EmulatorError(f"qtest: {name}: {answer}")
        return int(answer[1], 16) if len(answer) > 1 else None

    def _write(self, name, value):
        self._qtest("writeq", PLACE + REGISTERS[name], value)

    def touch(self, start, end, stride=PAGE):
        """Makes pages young; how many."""
        count = -(-(end - start) // stride)
        for name, value in (("COMMAND", READ), ("PATTERN", STRIDE),
                            ("SOURCE", start), ("LENGTH", 8),
                            ("COUNT", count), ("STRIDE", stride),
                            ("CONTROL", START)):
            self._write(name, value)
        deadline = time.monotonic() + PATIENCE
        status = BUSY
        while status & BUSY and time.monotonic() < deadline:
            time.sleep(0.01)
            status = self._qtest("readq", PLACE + REGISTERS["STATUS"])
        if status != DONE:
            raise BenchError(f"age-device: status {status:#x}")
        return count


def timed_call(qmp, question, result_format):
    """
    A harvest out of band: seconds, and its answer.

    Making the request and taking the answer apart is not part of it.  There
    are no blanks in the request, since QEMU reads it byte by byte.
    """
    qmp.last_id += 1
    request = json.dumps({
        "exec-oob": "age-test-clear-young", "id": qmp.last_id,
        "arguments": question | {"flush": "none", "format": result_format}},
        separators=(",", ":")).encode() + b"\n"
    answer = bytearray()
    qmp.sock.settimeout(PATIENCE)
    begin = time.monotonic()
    qmp.sock.sendall(request)
    while not answer.endswith(b"\n"):
        data = qmp.sock.recv(1 << 20)
        if not data:
            raise BenchError("QMP connection closed")
        answer += data
    seconds = time.monotonic() - begin
    message = json.loads(answer)
    if message.get("id") != qmp.last_id or "return" not in message:
        raise BenchError(f"unexpected answer {str(message)[:200]}")
    return seconds, message["return"]


class Calls:
    """All calls on one machine."""

    def __init__(self, machine):
        self.machine = machine
        slots = machine.command("query-age")["slots"]
        # Without what firmware has below 1 MiB and 4 GiB: these are the same
        # pages of the host, so that each would be found once and not twice.
        self.ranges = ram_ranges([slot for slot in slots
                                  if slot["size"] >= GIB // 2])
        self.pages = sum(end - start for start, end in self.ranges) // PAGE

    def touch(self, stride=PAGE):
        """Makes pages of all memory young; how many."""
        return sum(self.machine.touch(start, end, stride)
                   for start, end in self.ranges)

    def call(self, question, result_format, want):
        """Seconds of a call, which must find so many young pages."""
        seconds, answer = timed_call(self.machine.qmp, question, result_format)
        found = sum(result["young-pages"] for result in answer["ranges"])
        if found != want:
            raise BenchError(f"{found} young pages, and not {want}")
        return seconds

    def plain(self):
        """Ranges without bitmaps: test and clear."""
        return {"ranges": [{"start": start, "end": end}
                           for start, end in self.ranges]}

    def tested(self):
        """The same: test."""
        return self.plain() | {"clear": False}

    def encoded(self):
        """Ranges with bitmaps in the request: test."""
        return {"ranges": [{"start": start, "end": end,
                            "bitmap": encode_bitmap(start, end, ones=False)}
                           for start, end in self.ranges]}

    def in_memory(self):
        """Ranges with bitmaps in shared memory: test."""
        ranges, offset = [], 0
        for start, end in self.ranges:
            ranges.append({"start": start, "end": end, "memory": "bits",
                           "offset": offset})
            size = (end - start) // PAGE // 8
            self.machine.shared[offset:offset + size] = bytes(size)
            offset += -(-size // 8) * 8
        return {"ranges": ranges}

    def check_shared(self):
        """The client finds in its memory what was found."""
        bits = int.from_bytes(self.machine.shared[:], "little").bit_count()
        if bits != self.pages:
            raise BenchError(f"{bits} bits in memory, and not {self.pages}")


def dense(calls, runs):
    """All pages are young, before each of the calls."""
    found = {"base64": [], "memory": [], "tested": [], "bitmap": [],
             "count": []}
    for _ in range(runs):
        calls.touch()
        found["base64"].append(
            calls.call(calls.encoded(), "bitmap", calls.pages))
        found["memory"].append(
            calls.call(calls.in_memory(), "count", calls.pages))
        calls.check_shared()
        found["tested"].append(
            calls.call(calls.tested(), "bitmap", calls.pages))
        for result_format in "bitmap", "count":
            found[result_format].append(
                calls.call(calls.plain(), result_format, calls.touch()))
    return found


def sparse(calls, runs):
    """One page in each hundredth region is young."""
    found = {"runs": [], "count": [], "all-runs": [], "all-count": []}
    for _ in range(runs):
        for name, values in found.items():
            # Without ranges, all memory is meant.
            question = {} if name.startswith("all-") else calls.plain()
            young = calls.touch(100 * REGION)
            values.append(calls.call(question, name.removeprefix("all-"),
                                     young))
    return found


def call_row(args):
    """The row "call"."""
    gib = args.sizes["call"]
    need_memory(gib * GIB // 256 + 2 * GIB, f"a machine of {gib} GiB")

    def line(what, goal, values):
        return single("call", f"{gib} GiB: {what}", "ms",
                      [value * 1e3 for value in values], goal)

    with tempfile.TemporaryDirectory(prefix="age-", dir="/dev/shm") as bits, \
            Machine(gib, bits) as machine:
        args.progress(f"calls on {gib} GiB")
        calls = Calls(machine)
        found = dense(calls, args.runs)
        yield line("dense, test, base64 both ways", 150, found["base64"])
        yield line("dense, test, shared memory", 25, found["memory"])
        yield line("dense, test, base64 back", 30, found["tested"])
        yield line("dense, clear, base64 back", None, found["bitmap"])
        yield line("dense, clear, count", None, found["count"])
        found = sparse(calls, args.runs)
        yield line("sparse, clear, runs", 1.2, found["runs"])
        yield line("sparse, clear, count", 1, found["count"])
        yield line("sparse, clear, runs, no ranges", 1.2, found["all-runs"])
        yield line("sparse, clear, count, no ranges", 1, found["all-count"])
