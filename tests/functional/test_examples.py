#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
The guest of the README, and the examples with it.

The guest is started by the command line that README.md has.  Each example has
to find young pages while the guest is busy, and none while it is stopped.
"""

import re
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import common

from agelib.guest.workload import images_present
from agelib.qemu.emulator import PATIENCE, TOP, build_dir
from agelib.qemu.qmp import QMP
from agelib.version import version

EXAMPLES = TOP / "examples"
RAM_BASE = {"x86_64": 0, "aarch64": 1 << 30}
RAM_SIZE = 1 << 30
PAUSE = "0.5"
BUSY = b"while :; do :; done &\n"
PROMPT = b"~ # "
PAGES = re.compile(r"(\d+) pages of 4 KiB\n\Z")
RUN = re.compile(r"^0x([0-9a-f]+)-0x([0-9a-f]+)$", re.MULTILINE)

ARGS = common.parse_args(__doc__.splitlines()[1])


def readme_command(arch, folder):
    """The command that starts a guest, with its sockets in a folder."""
    text = (TOP / "README.md").read_text("utf-8")
    found = re.search(rf"^    build/qemu-system-{arch} (?:.*\\\n)+.*$", text,
                      re.MULTILINE)
    words = shlex.split(found[0].replace("\\\n", " "))
    return [re.sub("^build/", f"{build_dir()}/", word)
            .replace("unix:/tmp/", f"unix:{folder}/") for word in words]


class ReadmeGuest:
    """That guest, with a shell on its console; for a ``with`` statement."""

    def __init__(self, arch):
        self.folder = tempfile.TemporaryDirectory(prefix="age-")
        self.sockets = [Path(self.folder.name) / f"qmp{i}.sock"
                        for i in (1, 2)]
        self.console = open(Path(self.folder.name) / "console", "w+b")
        self.process = subprocess.Popen(
            readme_command(arch, self.folder.name), stdin=subprocess.PIPE,
            stdout=self.console, stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        self.console.close()
        self.folder.cleanup()

    def said(self):
        """All that came on the console."""
        return (Path(self.folder.name) / "console").read_bytes()

    def boot(self):
        """Waits for the shell."""
        deadline = time.monotonic() + PATIENCE
        while PROMPT not in self.said():
            if self.process.poll() is not None or \
                    time.monotonic() > deadline:
                raise RuntimeError("the guest has no shell:\n" +
                                   self.said()[-2000:].decode("utf-8",
                                                              "replace"))
            time.sleep(0.2)

    def type(self, text):
        """Types at the console."""
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def connect(self):
        """The second socket; the first one is for the examples."""
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(self.sockets[1]))
        qmp = QMP(sock)
        qmp.connect()
        return qmp


@unittest.skipUnless(images_present(ARGS.arch), "no images for the guests")
class ExamplesTest(unittest.TestCase):
    """Busy and stopped, with each example."""

    @classmethod
    def setUpClass(cls):
        cls.guest = ReadmeGuest(ARGS.arch)
        cls.addClassCleanup(cls.guest.__exit__)
        cls.guest.boot()
        cls.guest.type(BUSY)
        cls.qmp = cls.guest.connect()
        cls.addClassCleanup(cls.qmp.close)

    def setUp(self):
        self.qmp.command("cont")

    def run_example(self, *words):
        """What it prints: (pages, runs)."""
        done = subprocess.run(
            list(map(str, words)), text=True, timeout=PATIENCE, check=False,
            stdin=subprocess.DEVNULL, capture_output=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""), words)
        self.assertRegex(done.stdout, PAGES)
        runs = [(int(start, 16), int(end, 16))
                for start, end in RUN.findall(done.stdout)]
        return int(PAGES.search(done.stdout)[1]), runs

    def check_example(self, lists, *words):
        """One example; @lists says whether it lists address ranges."""
        pages, runs = self.run_example(*words)
        self.assertGreater(pages, 0)
        common.comment(f"{Path(words[0]).name}: {pages} pages, "
                       f"{len(runs)} runs")
        if lists:
            self.assertEqual(sum(end - start for start, end in runs),
                             pages << 12)
        self.qmp.command("stop")
        self.assertEqual(self.run_example(*words), (0, []))

    def where(self):
        """The arguments of the examples that are told a range."""
        base = RAM_BASE[ARGS.arch]
        return self.guest.sockets[0], hex(base), hex(base + RAM_SIZE), PAUSE

    def test_python(self):
        self.check_example(True, EXAMPLES / "harvest.py",
                           self.guest.sockets[0], PAUSE)

    def test_c(self):
        self.check_example(True, build_dir() / "examples/harvest-shared",
                           *self.where())

    def test_c_range(self):
        """What is listed is in the range."""
        base = RAM_BASE[ARGS.arch]
        _, runs = self.run_example(build_dir() / "examples/harvest-shared",
                                   *self.where())
        for start, end in runs:
            self.assertTrue(base <= start < end <= base + RAM_SIZE)

    @unittest.skipUnless(shutil.which("socat") or shutil.which("nc"),
                         "neither socat nor nc is installed")
    def test_shell(self):
        self.check_example(False, EXAMPLES / "harvest.sh", *self.where())

    def test_bad_range(self):
        """An error of QEMU's is told, and fails the example."""
        for program in (EXAMPLES / "harvest.sh",
                        build_dir() / "examples/harvest-shared"):
            done = subprocess.run(
                [program, self.guest.sockets[0], hex(1 << 46),
                 hex((1 << 46) + 4096)], text=True, timeout=PATIENCE,
                check=False, capture_output=True)
            self.assertNotEqual(done.returncode, 0, program)
            self.assertIn("no memory", done.stderr)

    def test_no_socket(self):
        """One line tells what is wrong."""
        for program, *where in (
                (EXAMPLES / "harvest.py",),
                (EXAMPLES / "harvest.sh", "0", "0x1000"),
                (build_dir() / "examples/harvest-shared", "0", "0x1000")):
            done = subprocess.run([program, "/no/socket", *where],
                                  text=True, check=False, capture_output=True)
            self.assertNotEqual(done.returncode, 0, program)
            self.assertRegex(done.stderr,
                             rf"\A{program.name}: /no/socket.*\n\Z")

    def test_version(self):
        """The emulator is of the version that the file VERSION has."""
        self.assertEqual(self.qmp.command("query-age")["version"], version())


if __name__ == "__main__":
    common.run_classes([ExamplesTest], ARGS.only)
