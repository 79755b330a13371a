# SPDX-License-Identifier: GPL-2.0-or-later
"""
A libvirtd of a test's own: in session mode, in one folder, without systemd.

libvirtd of root is the system's, whatever its environment says.  So if we are
root, ours runs as nobody.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from agelib.qemu.emulator import tail
from agelib.qemu.patience import PATIENCE

INSTALL = ("apt-get install --no-install-recommends libvirt-daemon "
           "libvirt-daemon-driver-qemu libvirt-clients libvirt-clients-qemu")
PROGRAMS = ("libvirtd", "virsh", "virt-qemu-qmp-proxy")

# Its programs are not in the path of everybody.
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
DRIVER = "libvirt/connection-driver/libvirt_driver_qemu.so"

# What QEMU from 11.0 on says to a libvirt from before it.
TOO_OLD = "Parameter 'detach' is unexpected"

# The name of a socket may have 107 characters, of which libvirt needs 60, and
# TMPDIR may be anywhere.
TOP_FOLDER = "/tmp"

# Domains outlive their libvirtd, and must not outlive us.
GUARD = """
import os, pathlib, shutil, signal, sys
sys.stdin.read()
folder = pathlib.Path(sys.argv[1])
for path in folder.glob("*/run/libvirt/qemu/run/*.pid"):
    try:
        pid = int(path.read_text())
        # It may be that of somebody else by now.
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        if bytes(folder) in words:
            os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError):
        pass
shutil.rmtree(folder, ignore_errors=True)
"""


class LibvirtError(Exception):
    """libvirt refused something, or did not start."""


def missing():
    """What to say if there is no libvirt, or nothing."""
    drivers = [*Path("/usr/lib").glob(DRIVER),
               *Path("/usr/lib").glob(f"*/{DRIVER}"),
               *Path("/usr/lib64").glob(DRIVER)]
    if drivers and all(shutil.which(name, path=PATH) for name in PROGRAMS):
        return ""
    return f"libvirt is not there, or not all of it: {INSTALL}"


def ordinary_user():
    """Whom a libvirtd of ours runs as, in the words of Popen."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def processes_in(folder):
    """Command lines of processes which have something to do with a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if path.parent.name != str(os.getpid()) and \
                    any(str(folder).encode() in word for word in words):
                found.append(b" ".join(words).decode("utf-8", "replace"))
    return sorted(found)


def lifeline():
    """Words before a command that is not to outlive us."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


class Folder:
    """
    A folder for libvirtds and their domains.

    A process of its own ends all domains that are left, and removes the folder,
    as soon as we are through or gone.
    """

    def __init__(self):
        self.path = Path(tempfile.mkdtemp(prefix="age-", dir=TOP_FOLDER))
        self.path.chmod(0o755)
        self._guard = subprocess.Popen(
            [sys.executable, "-c", GUARD, self.path], stdin=subprocess.PIPE,
            start_new_session=True)

    def close(self):
        """Nothing is left after this."""
        self._guard.communicate()

    def make(self, *names, mode=0o700):
        """A folder below, which belongs to whom libvirtd runs as."""
        path = self.path
        for name in names:
            path = path / name
            path.mkdir(mode, exist_ok=True)
            self.give(path)
        return path

    @staticmethod
    def give(path):
        """Something becomes libvirtd's."""
        user = ordinary_user()
        if user:
            os.chown(path, user["user"], user["group"])


class Libvirtd:
    """
    One libvirtd; its files are in the folder @name of a Folder.

    As @host_uuid tells them apart, two of them are two hosts to each other.
    """

    def __init__(self, folder, name, host_uuid):
        self.folder = folder.make(name)
        self.places = {place: folder.make(name, place) for place in
                       ("run", "config", "cache", "data", "home")}
        self.socket = self.places["run"] / "libvirt/libvirt-sock"
        self.uri = f"qemu+unix:///session?socket={self.socket}"
        self.log = self.folder / "log"
        self.programs = folder.path / "programs"
        self.process = None
        libvirt = folder.make(name, "config", "libvirt")
        (libvirt / "libvirtd.conf").write_text(
            f'host_uuid = "{host_uuid}"\n', "utf-8")
        # Or a virtlogd would be started, which stays for two minutes.
        (libvirt / "qemu.conf").write_text('stdio_handler = "file"\n', "utf-8")

    def world(self):
        """What its programs know of the world, in the words of Popen."""
        names = {"home": "HOME", "run": "XDG_RUNTIME_DIR",
                 "config": "XDG_CONFIG_HOME", "cache": "XDG_CACHE_HOME",
                 "data": "XDG_DATA_HOME"}
        return {"cwd": "/", "env": {
            "PATH": f"{self.programs}:{PATH}", "LC_ALL": "C.UTF-8",
            **{names[place]: str(path)
               for place, path in self.places.items()}}, **ordinary_user()}

    def start(self):
        """Starts it, and waits until it answers."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                lifeline() + [shutil.which("libvirtd", path=PATH)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, **self.world())
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self.process.poll() is not None or \
                    time.monotonic() > deadline:
                raise LibvirtError("libvirtd does not start" + self.story())
            time.sleep(0.1)

    def confinement(self):
        """The profile of AppArmor that it is under, or nothing."""
        try:
            text = Path(f"/proc/{self.process.pid}/attr/current").read_text(
                "utf-8")
        except OSError:
            return ""
        return text.split()[0] if "(enforce)" in text else ""

    def stop(self):
        """Ends it; its domains go on."""
        process, self.process = self.process, None
        if process:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)

    def virsh(self, *words):
        """What virsh prints; what it does not like is an error."""
        done = self._virsh(*words)
        if TOO_OLD in done.stderr:
            raise unittest.SkipTest("this libvirt gives QEMU's migrate an"
                                    " argument that QEMU 11.0 dropped")
        if done.returncode:
            raise LibvirtError(f"virsh {' '.join(map(str, words))}: "
                               f"{done.stderr.strip()}{self.story()}")
        return done.stdout.strip()

    @contextlib.contextmanager
    def proxy(self, name):
        """A QMP socket of libvirt's own for a domain, as a path."""
        # The proxy asks for it before it greets. If libvirtd has to probe an
        # emulator for that, clients lose patience.
        self.virsh("version")
        path = self.folder / "proxy"
        process = subprocess.Popen(
            lifeline() + ["virt-qemu-qmp-proxy", "--connect", self.uri, name,
                          path], **self.world())
        try:
            deadline = time.monotonic() + PATIENCE
            while not path.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise LibvirtError("no proxy" + self.story())
                time.sleep(0.1)
            yield path
        finally:
            process.kill()
            process.wait()
            path.unlink(missing_ok=True)

    def story(self):
        """The last lines of all logs, for those who look for a fault."""
        logs = [self.log, *(self.places["cache"] / "libvirt/qemu/log").
                glob("*.log")]
        return "".join(
            f"\n  {path.name}:" + tail(path.read_text("utf-8", "replace"), 12)
            for path in logs if path.exists())

    def _virsh(self, *words):
        return subprocess.run(
            ["virsh", "--connect", self.uri, "--quiet", *map(str, words)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, timeout=PATIENCE, **self.world())

    def _answers(self):
        return self.socket.exists() and not self._virsh("list").returncode
