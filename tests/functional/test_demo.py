#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
The demo: short, in a pipe, and interrupted.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import common

from agelib.guest.workload import images_present
from agelib.qemu.emulator import TOP, build_dir
from agelib.qemu.patience import PATIENCE
from agelib.qemu_age import runs
from agelib.qemu_age.recordfile import Reader
from agelib.qemu_age.replay import Replay
from agelib.terminal import WIDTH

ARGS = common.parse_args(__doc__.splitlines()[1])


def start_demo(folder, *options):
    """
    The demo without its wrapper, which would build first.

    Records and libraries are in a folder.
    """
    env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1",
               PYTHONPATH=f"{folder}:{TOP / 'scripts'}")
    return subprocess.Popen(
        [sys.executable, "-m", "agelib.demo", "--arch", ARGS.arch, "--records",
         folder, *options], env=env, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)


def children(pid):
    """The processes that a process has started."""
    try:
        path = Path(f"/proc/{pid}/task/{pid}/children")
        return [int(child) for child in path.read_text("ascii").split()]
    except FileNotFoundError:
        return []


class Demo(unittest.TestCase):
    """One guest, and what is said about it."""

    @classmethod
    def setUpClass(cls):
        if not images_present(ARGS.arch):
            raise unittest.SkipTest("no guest images: run scripts/build-guest")

    def test_piped(self):
        """Recall is whole, nothing is invented, and a pipe gets plain text."""
        with tempfile.TemporaryDirectory(prefix="age-") as folder:
            path = Path(folder) / "demo.json"
            demo = start_demo(folder, "--seconds", "3", "--json", str(path))
            output = demo.communicate(timeout=PATIENCE)[0]
            self.assertEqual(demo.returncode, 0, output)
            report = json.loads(path.read_text("utf-8"))
            self.check_record(Path(folder), report["guests"][0], output)
        for line in output.splitlines():
            self.assertLessEqual(len(line), WIDTH, line)
        self.assertNotIn("\033", output)
        self.check_report(report)

    def check_record(self, folder, guest, output):
        """The record has the harvests that were shown, and no others."""
        path = folder / f"demo-{ARGS.arch}.age"
        self.assertEqual(guest["record"], str(path))
        ticks = list(Replay(Reader(path)))
        self.assertEqual([runs.count(tick.pages()) for tick in ticks[1:]],
                         [harvest["young"] for harvest in guest["harvests"]])
        done = subprocess.run([TOP / "scripts/qemu-age", "report", path, "wss",
                               "--windows", "1s"], stdout=subprocess.PIPE,
                              text=True, check=True, timeout=PATIENCE)
        # A heading, and the line of the window, which the demo shows as well
        self.assertIn(done.stdout.splitlines()[1], output)
        self.assertIn(f"report {path} --help\n", output)
        self.assertRegex(output, r"(?m)^ +1 s [.0-9]{64}$")

    def check_report(self, report):
        """What the other members are worth depends on these."""
        self.assertEqual(report["version"], 1)
        self.assertTrue(report["ok"])
        self.assertEqual(len(report["guests"]), 1)
        guest = report["guests"][0]
        self.assertEqual(guest["arch"], ARGS.arch)
        self.assertEqual(len(guest["harvests"]), 3)
        result = guest["result"]
        self.assertEqual(result["recall"], 1)
        self.assertEqual(result["invented"], 0)
        self.assertGreaterEqual(result["touched"], guest["workload"]["hot"])
        # In how many of the harvests depends on how busy the machine is.
        self.assertGreater(result["shapes"]["hot"]["seen-in"], 0)
        self.assertEqual(result["shapes"]["cold"]["touched"], 0)

    def test_own_images(self):
        """An initrd that has no program of ours yet, and a kernel's options."""
        with tempfile.TemporaryDirectory(prefix="age-") as folder:
            own = Path(folder) / "own"
            own.mkdir()
            # The first archive of ours is that of Debian, as it was packed.
            subprocess.run(
                "zcat 2>/dev/null | (cd own && cpio --quiet -id)",
                stdin=(build_dir() / "guest" / ARGS.arch / "initrd").open("rb"),
                shell=True, cwd=folder, check=False)
            self.assertFalse((own / "age-init").exists())
            initrd = Path(folder) / "initrd"
            with initrd.open("wb") as file:
                subprocess.run("find . | cpio --quiet -o -H newc", stdout=file,
                               shell=True, cwd=own, check=True)
            demo = start_demo(folder, "--seconds", "1", "--initrd", initrd,
                              "--kernel", build_dir() / "guest" / ARGS.arch /
                              "vmlinuz", "--append", "quiet")
            output = demo.communicate(timeout=PATIENCE)[0]
        self.assertEqual(demo.returncode, 0, output)

    def test_bad_images(self):
        """They are told before anything is built or booted, as well."""
        for option in "--kernel", "--initrd":
            demo = start_demo("/", "--only-parse", option, "/none")
            output = demo.communicate(timeout=PATIENCE)[0]
            self.assertEqual(demo.returncode, 2)
            self.assertIn("/none is no file that can be read\n", output)

    def test_no_library(self):
        """The set-up installs numpy; the command line is read before it."""
        with tempfile.TemporaryDirectory(prefix="age-") as folder:
            path = Path(folder) / "numpy.py"
            path.write_text("raise ImportError(name='numpy')\n", "utf-8")
            demo = start_demo(folder, "--only-parse")
            self.assertEqual(demo.communicate(timeout=PATIENCE)[0], "")
            self.assertEqual(demo.returncode, 0)
            demo = start_demo(folder)
            output = demo.communicate(timeout=PATIENCE)[0]
        self.assertEqual(demo.returncode, 1)
        self.assertEqual(output, "demo: the library numpy is missing; this "
                         "installs it: apt install python3-numpy\n")

    def test_bad_folder(self):
        """It is told before anything is built or booted."""
        with tempfile.TemporaryDirectory(prefix="age-") as folder:
            demo = start_demo(folder, "--only-parse", "--records",
                              f"{folder}/none")
            output = demo.communicate(timeout=PATIENCE)[0]
        self.assertEqual(demo.returncode, 2)
        self.assertIn(f"argument --records: {folder}/none is no folder\n",
                      output)

    def test_interrupted(self):
        """Ctrl-C ends the emulator as well."""
        with tempfile.TemporaryDirectory(prefix="age-") as folder:
            self.check_interrupted(start_demo(folder))

    def check_interrupted(self, demo):
        """Of one that has been started."""
        try:
            end = time.monotonic() + PATIENCE
            while not children(demo.pid) and time.monotonic() < end:
                time.sleep(0.05)
            emulators = children(demo.pid)
            self.assertTrue(emulators)
            time.sleep(1)
            demo.send_signal(signal.SIGINT)
            output = demo.communicate(timeout=60)[0]
        finally:
            demo.kill()
            demo.wait()
        self.assertEqual(demo.returncode, 130, output)
        self.assertNotIn("Traceback", output)
        for pid in emulators:
            self.assertFalse(Path(f"/proc/{pid}").exists())


def main():
    """Runs the demo of one architecture."""
    common.run_classes([Demo], ARGS)


if __name__ == "__main__":
    main()
