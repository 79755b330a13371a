# SPDX-License-Identifier: GPL-2.0-or-later
"""
A domain of libvirt with the program of the other functional tests in it.

Its XML is the one that docs/system/age-libvirt.rst has; only files, and what
the kernel is told, are others.
"""

import os
import re
import select
import shutil
import socket
import subprocess
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

from agelib.guest.workload import Guest, linux_options
from agelib.qemu.emulator import TOP, Emulator, EmulatorError, build_dir
from agelib.qemu.patience import PATIENCE
from agelib.qemu.qmp import QMP
from libvirtd import LibvirtError

PAGE = TOP / "docs/system/age-libvirt.rst"
QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
ET.register_namespace("qemu", QEMU)

BLOCK = re.compile(r"^  <domain .*?^  </domain>$", re.MULTILINE | re.DOTALL)
DISK_SIZE = 1 << 20


def page_xml(arch):
    """What the page has for an architecture."""
    found = [block for block in BLOCK.findall(PAGE.read_text("utf-8"))
             if f"arch='{arch}'" in block]
    if len(found) != 1:
        raise LibvirtError(f"{PAGE.name} has {len(found)} domains of {arch}")
    return ET.fromstring(found[0])


def install(folder, arch):
    """
    Installs what is built; returns the emulator for libvirt.

    libvirt also looks for QEMU's own in the path; some of its programs do
    nothing if there is none.
    """
    prefix = folder.path / "prefix"
    subprocess.run([TOP / "scripts/install", "--prefix", prefix, "--build",
                    build_dir()], stdout=subprocess.DEVNULL, check=True,
                   env={**os.environ, "DESTDIR": ""}, umask=0o022)
    programs = folder.path / "programs"
    programs.mkdir()
    for path in (prefix / "bin").glob("qemu-system-*-age"):
        (programs / path.name.removesuffix("-age")).symlink_to(path)
    return prefix / f"bin/qemu-system-{arch}-age"


def copy_images(folder, arch):
    """Images where libvirtd can read them, whoever may read the build."""
    images = folder.path / "images"
    images.mkdir()
    for name in "vmlinuz", "initrd":
        shutil.copyfile(build_dir() / "guest" / arch / name, images / name)
        (images / name).chmod(0o644)
    return images


def make_disk(arch, path):
    """An empty disk that can hold snapshots: qemu-img is not there."""
    with Emulator(arch, ["-machine", "none"]) as emulator:
        for number, options in enumerate((
                {"driver": "file", "filename": str(path), "size": 0},
                {"driver": "qcow2", "size": DISK_SIZE,
                 "file": {"driver": "file", "filename": str(path)}})):
            job = f"job{number}"
            emulator.command("blockdev-create", {"job-id": job,
                                                 "options": options})
            wait_for_job(emulator, job)


def wait_for_job(emulator, name):
    """A job of QEMU's to its end."""
    deadline = time.monotonic() + PATIENCE
    while True:
        job = next(job for job in emulator.command("query-jobs")
                   if job["id"] == name)
        if job["status"] == "concluded":
            break
        if time.monotonic() > deadline:
            raise EmulatorError(f"{name} hangs: {job}")
        time.sleep(0.02)
    if "error" in job:
        raise EmulatorError(f"{name}: {job['error']}")
    emulator.command("job-dismiss", {"id": name})


class Terminal:
    """A pseudo terminal that can be used as a socket is."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        self.timeout = None

    def settimeout(self, seconds):
        """As of a socket."""
        self.timeout = seconds

    def recv(self, size):
        """As of a socket."""
        self._wait([self.fd], [])
        return os.read(self.fd, size)

    def sendall(self, data):
        """As of a socket."""
        while data:
            self._wait([], [self.fd])
            data = data[os.write(self.fd, data):]

    def close(self):
        """As of a socket."""
        os.close(self.fd)

    def _wait(self, readable, writable):
        if not any(select.select(readable, writable, [], self.timeout)):
            raise socket.timeout("nothing comes or goes")


class Domain(Guest):
    """
    The domain of one architecture, wherever it runs.

    It is defined at @libvirtd, which is another one after a migration.
    """

    def __init__(self, arch, folder, libvirtd, emulator, images):
        super().__init__(arch)
        self.folder = folder
        self.libvirtd = libvirtd
        self.files = {"emulator": emulator, "images": images,
                      "disk": libvirtd.folder / "disk.qcow2"}
        self.name = ""

    def socket(self, libvirtd=None):
        """Where QEMU listens for a second client of QMP."""
        return (libvirtd or self.libvirtd).folder / "qmp"

    def xml(self):
        """The page's domain, with files of our own."""
        tree = page_xml(self.arch)
        options = linux_options(self.arch)
        append = options[options.index("-append") + 1]
        for place, text in (
                ("os/kernel", self.files["images"] / "vmlinuz"),
                ("os/initrd", self.files["images"] / "initrd"),
                ("os/cmdline", append),
                ("devices/emulator", self.files["emulator"])):
            tree.find(place).text = str(text)
        tree.find("devices/disk/source").set("file", str(self.files["disk"]))
        argument = tree.findall(f"{{{QEMU}}}commandline/{{{QEMU}}}arg")[1]
        argument.set("value", re.sub("unix:[^,]*", f"unix:{self.socket()}",
                                     argument.get("value")))
        self.name = tree.find("name").text
        return ET.tostring(tree, "unicode")

    def define(self):
        """Tells libvirtd of it."""
        make_disk(self.arch, self.files["disk"])
        self.folder.give(self.files["disk"])
        path = self.libvirtd.folder / "domain.xml"
        path.write_text(self.xml(), "utf-8")
        self.virsh("define", path)

    def virsh(self, command, *words):
        """A command of virsh for which no domain is named."""
        return self.libvirtd.virsh(command, *words)

    def state(self):
        """Running, paused or shut off."""
        return self.virsh("domstate", self.name)

    def connect(self):
        """Opens the console, and the second socket of QMP."""
        self.disconnect()
        tree = ET.fromstring(self.virsh("dumpxml", self.name))
        self.serial = Terminal(
            tree.find("devices/serial/source").get("path"))
        self.open_qmp()

    def open_qmp(self):
        """The second socket of QMP."""
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(self.socket()))
        self.qmps = [QMP(sock)]
        self.qmp.connect()

    def close_qmp(self):
        """Leaves the socket to somebody else."""
        for qmp in self.qmps:
            qmp.close()
        self.qmps = []

    def disconnect(self):
        """Closes what is open."""
        self.close_qmp()
        if self.serial:
            self.serial.close()
        self.serial = None

    def start(self):
        """Starts it, not without somebody who listens to its first words."""
        self.virsh("start", self.name, "--paused")
        self.connect()
        self.virsh("resume", self.name)

    def stop(self):
        """Ends it, and takes it from libvirtd."""
        self.disconnect()
        if self.state() != "shut off":
            self.virsh("destroy", self.name)
        self.virsh("undefine", self.name, "--snapshots-metadata")

    def check(self):
        """Raises an error that says all there is to say if it has ended."""
        if self.state() not in ("running", "paused"):
            raise self.failure("the domain has ended")

    def failure(self, what):
        """An error for @what, with all that logs have."""
        return EmulatorError(f"{what}{self._last_words()}"
                             f"{self.libvirtd.story()}")

    def read_memory(self, address, size):
        """Guest-physical memory, by a file which QEMU may write."""
        with tempfile.TemporaryDirectory(
                dir=self.libvirtd.folder) as folder:
            self.folder.give(folder)
            path = Path(folder) / "memory"
            self.command("pmemsave", {"val": address, "size": size,
                                      "filename": str(path)})
            return path.read_bytes()
