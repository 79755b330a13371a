# SPDX-License-Identifier: GPL-2.0-or-later
"""
The program in the guest: its commands, and the account it keeps.

``scripts/guest/console.h`` describes the protocol, ``area.h`` the account.
"""

import array
import binascii
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ..qemu.emulator import TOP, EmulatorError, Emulator, build_dir
from ..qemu.harvest import HarvestError
from ..qemu.patience import PATIENCE
from ..qemu.qmp import QMPError

PAGE = 4096

ENTRY_PFN_MASK = (1 << 48) - 1
ENTRY_TOUCHED = 1 << 63
ENTRY_SHAPE_SHIFT = 56
SHAPES = ("none", "hot", "warm", "cold")

INDEX_MAGIC = int.from_bytes(b"ageindex", "little")

# Machine, processor and console of each architecture's usual guest
GUESTS = {
    "x86_64": ("q35", "max", "ttyS0"),
    "aarch64": ("virt", "max", "ttyAMA0"),
}

# Kernel and initrd, as build-guest calls them
IMAGES = ("vmlinuz", "initrd")

# On a busy host x86's kernel may panic when it counts how many ticks come
# within a time.
KERNEL_OPTIONS = {"x86_64": "no_timer_check", "aarch64": ""}

# What people call the architectures
TITLES = {"x86_64": "x86-64", "aarch64": "arm64"}

ANSWER = re.compile(rb"@(\d+) (ok|err) (.*) #([0-9a-f]{4})$")
PANIC = b"Kernel panic"


class WorkloadError(Exception):
    """The program refused a command, or its account makes no sense."""


# What can go wrong with a guest that is harvested, and says what it was
GUEST_FAILURES = (EmulatorError, WorkloadError, HarvestError, QMPError)


def linux_options(arch, machine=None, cpu=None, smp=2, memory=512,
                  append="", program="workload", devices=(),
                  images=(None, None)):
    """
    The emulator's options for a guest with a program of ours in it.

    What is not given is as usual; @append is for the kernel, @devices are
    those that are added, @images are kernel and initrd.
    """
    usual_machine, usual_cpu, console = GUESTS[arch]
    kernel, initrd = (image or build_dir() / "guest" / arch / name
                      for image, name in zip(images, IMAGES))
    return [
        "-machine", machine or usual_machine, "-cpu", cpu or usual_cpu,
        "-smp", smp, "-m", f"{memory}M",
        "-kernel", kernel, "-initrd", initrd,
        # At level 0 the kernel would not even say that it panics.
        "-append", f"console={console} quiet loglevel=1 panic=-1 "
                   f"mitigations=off {KERNEL_OPTIONS[arch]} rdinit=/age-init "
                   f"age_program={program} {append}",
        *(word for device in devices for word in ("-device", device))]


def images_present(arch):
    """Whether the kernel and the initrd have been built."""
    folder = build_dir() / "guest" / arch
    return all((folder / name).exists() for name in IMAGES)


def own_initrd(arch, path):
    """Puts our programs behind an initrd of the user's; returns the result."""
    folder = build_dir() / "own-guest"
    done = subprocess.run(
        [TOP / "scripts/build-guest", "--initrd", path, "--output", folder,
         arch], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        check=False)
    if done.returncode:
        raise WorkloadError(done.stderr.strip() or "build-guest failed")
    return folder / arch / "initrd"


def other_kernel(name):
    """A kernel of no usual guest, which scripts/setup has fetched if asked."""
    return build_dir() / "kernels" / name


def no_kernel(path):
    """What to say if it has not."""
    return f"no kernel {path.name}: run scripts/setup --test-guests"


@dataclass
class Account:
    """
    What the guest says of its area, in page frames of the guest.

    @moved counts the pages that have another frame than the last time; an
    account with such pages cannot be held against a harvest.
    """

    touched: set
    untouched: set
    shapes: dict
    moved: int


class Guest(Emulator):
    """
    An emulator with a Debian kernel and a program of ours in it.

    @options are for linux_options(), @more are the emulator's own.
    """

    def __init__(self, arch, accel="age", monitors=1, program="workload",
                 more=(), **options):
        options = linux_options(arch, program=program, **options)
        super().__init__(arch, options + list(more), accel, monitors)
        self.program = program
        self.hello = None
        self._lines = b""
        self._number = 0
        self._request = None

    def boot(self, timeout=PATIENCE, idle=None):
        """Waits until the program says hello; @idle is called meanwhile."""
        self.hello = self._wait(0, timeout, idle)
        if self.hello.get(self.program) != "1":
            raise WorkloadError(f"the guest is another one: {self.hello}")

    def tell(self, *words, timeout=PATIENCE):
        """Has the program carry out a command; returns its answer."""
        self.begin(*words)
        return self.finish(timeout)

    @property
    def protocol(self):
        """Where the talk with the program is; moves along with the guest."""
        return self.hello, self._number

    @protocol.setter
    def protocol(self, where):
        self.hello, self._number = where

    def begin(self, *words):
        """Sends a command and does not wait for it."""
        self._number += 1
        body = " ".join([f"!{self._number}", *map(str, words)]).encode()
        crc = binascii.crc_hqx(body, 0)
        self._request = b"\n%s #%04x\n" % (body, crc)
        self.write_serial(self._request)

    def repeat(self):
        """Sends the last command once more; it is carried out only once."""
        self.write_serial(self._request)

    def finish(self, timeout=PATIENCE, idle=None):
        """Waits for the command that was begun; returns its answer."""
        return self._wait(self._number, timeout, idle)

    def account(self):
        """The account of the touches since the last ``reset``."""
        answer = self.tell("report")
        pages = int(answer["pages"])
        entries = array.array("Q")
        for pfn, count in runs(self._index(int(answer["index"]))):
            entries.frombytes(self.read_memory(pfn * PAGE, count * PAGE))
        entries = little_endian(entries)[:pages]
        if len(entries) != pages or \
                sum(entries) % (1 << 64) != int(answer["sum"]):
            raise WorkloadError("the account in memory is not the one "
                                "that was announced")
        return decode_account(entries, int(answer["moved"]))

    def read_memory(self, address, size):
        """Guest-physical memory; reading it leaves no accessed bit."""
        with tempfile.TemporaryDirectory(prefix="age-") as folder:
            path = Path(folder) / "memory"
            self.command("pmemsave", {"val": address, "size": size,
                                      "filename": str(path)})
            return path.read_bytes()

    def _index(self, pfn):
        """The frames of the account's own pages, in order."""
        frames = []
        while pfn:
            page = array.array("Q")
            page.frombytes(self.read_memory(pfn * PAGE, PAGE))
            page = little_endian(page)
            if page[0] != INDEX_MAGIC:
                raise WorkloadError(f"frame {pfn:#x} is no index page")
            frames += [frame for frame in page[1:-1] if frame]
            pfn = page[-1]
        return frames

    def _wait(self, number, timeout, idle):
        """
        The answer with this number.

        The kernel may have spoilt a line on its way, whichever way it went,
        so the request is repeated now and then.
        """
        deadline = time.monotonic() + timeout
        pause = 5
        again = time.monotonic() + pause
        while True:
            answer = self._parse(number)
            if answer is not None:
                return answer
            if time.monotonic() > deadline:
                raise self.failure("the guest does not answer")
            if number and time.monotonic() > again:
                self.repeat()
                pause *= 2
                again = time.monotonic() + pause
            if idle:
                idle()
            self._lines += self.read_serial(0.1)

    def _parse(self, number):
        """Takes whole lines until one is the answer."""
        while b"\n" in self._lines:
            line, self._lines = self._lines.split(b"\n", 1)
            if PANIC in line:
                self._panic()
            match = ANSWER.search(line.rstrip(b"\r"))
            if not match or int(match[1]) != number:
                continue
            body = match[0][:-len(b" #xxxx")]
            if binascii.crc_hqx(body, 0) != int(match[4], 16):
                continue
            return self._result(match[2], match[3].decode())
        return None

    def _panic(self):
        """Lets the kernel finish its message before it becomes an error."""
        try:
            end = time.monotonic() + 2
            while time.monotonic() < end:
                self.read_serial(0.1)
        except EmulatorError:
            pass
        raise self.failure("the guest's kernel panicked")

    def _result(self, status, text):
        if status != b"ok":
            raise WorkloadError(f"{self.program} says: {text}")
        return dict(word.split("=", 1) for word in text.split())


def little_endian(values):
    """An array as read from a guest, which is little-endian here."""
    if sys.byteorder == "big":
        values.byteswap()
    return values


def runs(frames):
    """Merges frames that follow each other into (first, count)."""
    merged = []
    for frame in frames:
        if merged and sum(merged[-1]) == frame:
            merged[-1] = (merged[-1][0], merged[-1][1] + 1)
        else:
            merged.append((frame, 1))
    return merged


def decode_account(entries, moved):
    """Turns the entries of the account into sets."""
    account = Account(set(), set(), {name: set() for name in SHAPES}, moved)
    for entry in entries:
        pfn = entry & ENTRY_PFN_MASK
        (account.touched if entry & ENTRY_TOUCHED
         else account.untouched).add(pfn)
        shape = (entry >> ENTRY_SHAPE_SHIFT) % len(SHAPES)
        account.shapes[SHAPES[shape]].add(pfn)
    return account
