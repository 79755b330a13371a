# SPDX-License-Identifier: GPL-2.0-or-later
"""
The record of a guest: gzip members one after the other, a line of JSON each.

docs/interop/age-record.rst is the description of the format.  A member is
written at once and never touched again, so whatever ends the writer, all
that came before the last member is there, and ``zcat`` shows it.
"""

import json
import os
import time
import zlib
from dataclasses import dataclass, field

from . import runs
from .errors import UserError
from .layout import Layout
from .source import Harvest

VERSION = 1

# How often what was written is to have reached the disk, in seconds
SYNC_S = 10

# What a reader takes from the file at once.  zlib copies what it has not used.
CHUNK = 1 << 14

# A gzip member with a window of 32 KiB
GZIP = 16 + zlib.MAX_WBITS

# What a line may be, but the first
KINDS = ("layout", "harvest", "event", "end")

# A line of more is none: 64 GiB in which every other page is young has less.
MAX_LINE = 1 << 28


class RecordError(UserError):
    """A file is no record, or can't be written."""


def pack(value):
    """One gzip member with one line."""
    packer = zlib.compressobj(6, zlib.DEFLATED, GZIP)
    line = json.dumps(value, separators=(",", ":")).encode() + b"\n"
    return packer.compress(line) + packer.flush()


@dataclass
class Header:
    """
    What a record begins with.

    @name is the guest's, @interval in seconds.  If it was recorded @from_start,
    the guest had done nothing before tick 0.  @wall_ns and @monotonic_ns are
    one moment by both clocks.
    """

    name: str
    interval: float
    flush: str = "request"
    dirty: bool = False
    from_start: bool = False
    accelerator: str = ""
    format: str = ""
    wall_ns: int = field(default_factory=time.time_ns)
    monotonic_ns: int = field(default_factory=time.monotonic_ns)

    def json(self):
        """The first line of a record."""
        return {"age-record": VERSION, "name": self.name,
                "page-size": runs.PAGE, "interval-ms": self.interval * 1000,
                "flush": self.flush, "dirty": self.dirty,
                "from-start": self.from_start,
                "accelerator": self.accelerator, "format": self.format,
                "wall-ns": self.wall_ns, "monotonic-ns": self.monotonic_ns}

    @classmethod
    def from_json(cls, line):
        """The inverse of json()."""
        if line.get("age-record") != VERSION:
            raise RecordError(f"it is of version {line.get('age-record')!r}, "
                              f"and this qemu-age reads {VERSION}")
        return cls(line["name"], line["interval-ms"] / 1000, line["flush"],
                   line["dirty"], line["from-start"], line["accelerator"],
                   line["format"], line["wall-ns"], line["monotonic-ns"])


@dataclass
class Entry:
    """
    One line of a record but the first.

    @kind is "layout", "harvest", "event" or "end"; what is of another kind, "",
    is to be passed over.
    """

    kind: str
    line: dict

    @property
    def tick(self):
        """The tick that a harvest or an event is of."""
        return self.line["tick"]

    def layout(self):
        """The memory that a line of the kind "layout" tells."""
        return Layout.from_json(self.line["parts"])

    def harvest(self):
        """The harvest that a line of that kind tells."""
        line = self.line
        dirty = line.get("dirty")
        try:
            return Harvest(
                line["begin-ns"], line["end-ns"],
                runs.from_deltas(line["young"]), line["generation"],
                None if dirty is None else runs.from_deltas(dirty),
                runs.from_deltas(line.get("lost", [])),
                line.get("flush-pending", False),
                cost_ns=line.get("cost-ns"))
        except (KeyError, runs.RunsError) as e:
            raise RecordError(f"a harvest makes no sense: {e}") from None


class Writer:
    """Appends to a record; each call is on its way to the disk at return."""

    def __init__(self, path, header):
        self.path = path
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL
                                 | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            raise RecordError(f"{path}: there is a file of this name; records "
                              "are not overwritten") from None
        except OSError as e:
            raise RecordError(f"{path}: {os.strerror(e.errno)}") from None
        self.bytes = 0
        self._synced = time.monotonic()
        self._put(header.json())

    def layout(self, layout):
        """From here on, the guest has this memory."""
        self._put({"layout": 1, "parts": layout.json()})

    def harvest(self, tick, harvest):
        """One harvest, the one of this tick."""
        line = {"harvest": 1, "tick": tick, "generation": harvest.generation,
                "begin-ns": harvest.begin_ns, "end-ns": harvest.end_ns,
                "cost-ns": harvest.cost_ns,
                "young": runs.to_deltas(harvest.young)}
        if harvest.dirty is not None:
            line["dirty"] = runs.to_deltas(harvest.dirty)
        if harvest.lost.size:
            line["lost"] = runs.to_deltas(harvest.lost)
        if harvest.flush_pending:
            line["flush-pending"] = True
        self._put(line)

    def event(self, tick, name, **more):
        """Something that a reader has to know of this tick."""
        self._put({"event": name, "tick": tick} | more)

    def end(self, why):
        """Nothing comes any more, and that is as it should be."""
        self._put({"end": why})

    def close(self):
        """Closes the file; may be called twice."""
        if self._file is not None:
            os.fsync(self._file)
            os.close(self._file)
            self._file = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _put(self, line):
        data = pack(line)
        try:
            while data:
                written = os.write(self._file, data)
                self.bytes += written
                data = data[written:]
            if time.monotonic() > self._synced + SYNC_S:
                os.fdatasync(self._file)
                self._synced = time.monotonic()
        except OSError as e:
            raise RecordError(f"{self.path}: {os.strerror(e.errno)}") from None


class Lines:
    """
    The lines of a record, as far as they can be read.

    @broken tells afterwards why there are no more, or is None if the file ends
    where a line does; @good how many bytes of it could be read.
    """

    def __init__(self, path):
        self.path = path
        self.broken = None
        self.good = 0

    def __iter__(self):
        try:
            with open(self.path, "rb") as file:
                yield from self._members(file)
        except OSError as e:
            raise RecordError(
                f"{self.path}: {os.strerror(e.errno)}") from None

    def _members(self, file):
        self.broken, self.good = None, 0
        data = file.read(CHUNK)
        while data:
            try:
                member, rest = self._member(file, data)
                line = json.loads(member)
            except (zlib.error, ValueError, EOFError) as e:
                self.broken = str(e)
                return
            self.good = file.tell() - len(rest)
            yield line
            data = rest or file.read(CHUNK)

    @staticmethod
    def _member(file, data):
        """One member, and what was read behind it."""
        unpacker = zlib.decompressobj(GZIP)
        parts, size = [], 0
        while True:
            parts.append(unpacker.decompress(data, MAX_LINE - size + 1))
            size += len(parts[-1])
            if size > MAX_LINE:
                raise ValueError("a line is too long")
            if unpacker.eof:
                return b"".join(parts), unpacker.unused_data
            data = file.read(CHUNK)
            if not data:
                raise EOFError("its last line is cut off")


class Reader:
    """
    A record, to be read as often as is needed.

    Iterating gives entries.  @header is there from the beginning; @broken
    tells, after the entries have been read, why there are no more (None: they
    are complete), and @ended why the writer stopped (None: it did not say).
    """

    def __init__(self, path):
        self.path = path
        self._lines = Lines(path)
        self.ended = None
        first = next(iter(self._lines), None)
        if not isinstance(first, dict) or "age-record" not in first:
            raise RecordError(f"{path}: this is no record of qemu-age")
        try:
            self.header = Header.from_json(first)
        except RecordError as e:
            raise RecordError(f"{path}: {e}") from None
        except (KeyError, TypeError) as e:
            raise RecordError(f"{path}: its header lacks {e}") from None

    @property
    def broken(self):
        """Why there is no more to read."""
        return self._lines.broken

    @property
    def good(self):
        """How many bytes of the file could be read."""
        return self._lines.good

    def __iter__(self):
        lines = iter(self._lines)
        next(lines, None)
        for line in lines:
            kind = next((kind for kind in KINDS if isinstance(line, dict)
                         and kind in line), "")
            if kind == "end":
                self.ended = line["end"]
            yield Entry(kind, line)

    def wall_ns(self, monotonic_ns):
        """The time of day at a moment of the host's monotonic clock."""
        return self.header.wall_ns + monotonic_ns - self.header.monotonic_ns
