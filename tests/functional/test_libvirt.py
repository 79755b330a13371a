#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Guests of the distribution's libvirt, with the wrapper as their emulator.

Whatever libvirt does with a domain, the accelerator is still age, and harvests
tell what the guest touches.
"""

import json
import random
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree as ET
from pathlib import Path

import common

from agelib.guest.workload import images_present
from agelib.qemu.harvest import Harvester
from agelib.qemu.patience import PATIENCE
from domain import Domain, copy_images, install
from libvirtd import Folder, Libvirtd, missing, processes_in

AREA_PAGES = 4096
HOSTS = {"a": "3f9a2c34-6a4e-4a53-9d2b-0a4f3a0c7e01",
         "b": "3f9a2c34-6a4e-4a53-9d2b-0a4f3a0c7e02"}

ARGS = common.parse_args(__doc__.splitlines()[1])


class LibvirtTest(unittest.TestCase):
    """A folder with the emulator installed, images and two libvirtds."""

    @classmethod
    def setUpClass(cls):
        if missing():
            raise unittest.SkipTest(missing())
        if not images_present(ARGS.arch):
            raise unittest.SkipTest("no guest images: run scripts/build-guest")
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.close)
        cls.emulator = install(cls.folder, ARGS.arch)
        cls.here, cls.there = (Libvirtd(cls.folder, name, uuid)
                               for name, uuid in HOSTS.items())
        cls.domain = Domain(ARGS.arch, cls.folder, cls.here, cls.emulator,
                            copy_images(cls.folder, ARGS.arch))
        cls.addClassCleanup(cls.here.stop)
        cls.here.start()
        if cls.here.confinement():
            raise unittest.SkipTest(
                "AppArmor lets libvirtd start no emulator in /tmp: "
                "apparmor_parser -R /etc/apparmor.d/usr.sbin.libvirtd")


class Life(LibvirtTest):
    """Without a guest that says anything."""

    def test_probe(self):
        """libvirt asks the wrapper what it can do."""
        tree = ET.fromstring(self.here.virsh(
            "domcapabilities", "--emulatorbin", self.emulator, "--arch",
            ARGS.arch, "--virttype", "qemu"))
        self.assertEqual(tree.find("path").text, str(self.emulator))
        self.assertEqual(tree.find("domain").text, "qemu")
        self.assertEqual(tree.find("arch").text, ARGS.arch)
        self.assertGreaterEqual(int(tree.find("vcpu").get("max")), 2)
        modes = {mode.get("name"): mode.get("supported")
                 for mode in tree.findall("cpu/mode")}
        self.assertEqual(modes["maximum"], "yes")

    def test_end(self):
        """From define to undefine; no process is left, and no file."""
        self.domain.define()
        before = processes_in(self.folder.path)
        self.domain.start()
        self.assertEqual(self.domain.state(), "running")
        self.assertGreater(len(processes_in(self.folder.path)), len(before))
        self.domain.stop()
        self.assertEqual(processes_in(self.folder.path), before)
        self.assertEqual(self.here.virsh("list", "--all", "--name"), "")
        left = [path.name for path in self.here.folder.rglob("*")
                if self.domain.name in path.name]
        self.assertEqual(left, [f"{self.domain.name}.log"])
        self.assertFalse(self.domain.socket().exists())


class Running(LibvirtTest):
    """One guest for all tests."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.addClassCleanup(cls.there.stop)
        cls.there.start()
        cls.domain.define()
        cls.addClassCleanup(cls.domain.stop)
        cls.domain.start()
        cls.domain.boot()
        cls.domain.tell("alloc", AREA_PAGES, "small")

    def setUp(self):
        self.rng = random.Random(f"{ARGS.seed} {self.id()}")

    def tearDown(self):
        self.domain.check()

    def monitor(self, command, **arguments):
        """A command by libvirt's own connection."""
        text = json.dumps({"execute": command, "arguments": arguments})
        answer = json.loads(self.domain.virsh("qemu-monitor-command",
                                              self.domain.name, text))
        return answer["return"]

    def check_age(self):
        """The accelerator is age, and a harvest tells what was touched."""
        self.assertTrue(self.monitor("query-age")["enabled"])
        self.assertTrue(self.domain.qmp.oob)
        harvester = Harvester(self.domain.qmp)
        self.domain.tell("reset")
        harvester.clear()
        self.domain.tell("touch", f"random:{self.rng.getrandbits(32)}:500",
                         "store", 2)
        found = harvester.harvest()
        account = self.domain.account()
        self.assertEqual(account.moved, 0)
        self.assertTrue(account.touched)
        self.assertLessEqual(account.touched, found.young)
        self.assertFalse(account.untouched & found.young)

    def check_loaded(self):
        """A guest that came from elsewhere begins anew, and is as it was."""
        self.domain.connect()
        self.assertEqual(self.domain.state(), "paused")
        found = Harvester(self.domain.qmp).harvest(clear=False)
        self.assertGreater(found.generation, 1)
        self.assertFalse(found.young)
        self.domain.virsh("resume", self.domain.name)
        self.check_age()

    def test_bands(self):
        """By libvirt's connection, and by the page's second socket."""
        info = self.monitor("query-age")
        self.assertTrue(info["enabled"])
        self.assertEqual(info["flush"], "request")
        answer = self.monitor("age-test-clear-young", format="count")
        self.assertTrue(sum(part["young-pages"] for part in answer["ranges"]))
        self.check_age()

    def test_record(self):
        """qemu-age by the page's second socket."""
        self.domain.close_qmp()
        try:
            self.check_record(self.domain.socket())
        finally:
            self.domain.open_qmp()

    def test_proxy(self):
        """qemu-age by libvirt's own connection."""
        with self.here.proxy(self.domain.name) as path:
            self.check_record(path)

    def check_record(self, sock):
        """qemu-age, as it is installed, records and reports the guest."""
        tool = self.emulator.parent / "qemu-age"
        with tempfile.TemporaryDirectory(prefix="age-") as folder:
            path = Path(folder) / "record"
            subprocess.run([tool, "record", "-o", path, "--for", "3s",
                            "--interval", "0.5", "--quiet", sock],
                           check=True, timeout=PATIENCE)
            found = json.loads(subprocess.run(
                [tool, "report", path, "--json"], stdout=subprocess.PIPE,
                check=True, timeout=PATIENCE).stdout)
        self.assertEqual(found["guest"], self.domain.name)
        self.assertGreater(found["harvests"], 1)
        self.assertGreater(found["touched"], 0)

    def test_suspend(self):
        """Who does not run touches nothing."""
        self.domain.virsh("suspend", self.domain.name)
        harvester = Harvester(self.domain.qmp)
        harvester.clear()
        self.assertFalse(harvester.harvest().young)
        self.domain.virsh("resume", self.domain.name)
        self.check_age()

    def test_libvirtd_restarts(self):
        """The guest stays, and libvirt finds it again."""
        generation = self.monitor("query-age")["generation"]
        self.here.stop()
        self.here.start()
        self.assertEqual(self.domain.state(), "running")
        self.check_age()
        self.assertEqual(self.monitor("query-age")["generation"], generation)

    def test_save(self):
        """The guest's memory in a file, and back."""
        path = self.folder.make("a", "saved") / "file"
        name = self.domain.name
        self.domain.virsh("save", name, path)
        self.assertEqual(self.domain.state(), "shut off")
        self.domain.virsh("restore", path, "--paused")
        self.check_loaded()

    def test_internal_snapshot(self):
        """The guest's memory in its disk, and back."""
        name = self.domain.name
        self.domain.virsh("snapshot-create-as", name, "one")
        self.check_age()
        self.domain.virsh("snapshot-revert", name, "one", "--paused")
        self.check_loaded()
        self.domain.virsh("snapshot-delete", name, "one")

    def test_external_snapshot(self):
        """The guest's memory in a file of its own."""
        path = self.folder.make("a", "saved") / "memory"
        name = self.domain.name
        self.domain.virsh(
            "snapshot-create-as", name, "two", "--live", "--no-metadata",
            "--memspec", f"file={path},snapshot=external",
            "--diskspec", "vda,snapshot=external")
        self.check_age()
        self.domain.virsh("destroy", name)
        self.domain.virsh("restore", path, "--paused")
        self.check_loaded()

    def test_migration(self):
        """To another host and back, driven by virsh and by libvirtd."""
        self.migrate(self.there)
        self.migrate(self.here, "--p2p")

    def migrate(self, target, *options):
        """The guest goes to another libvirtd, and its second socket too."""
        source = self.domain.libvirtd
        path = target.folder / "domain.xml"
        path.write_text(self.domain.virsh(
            "dumpxml", self.domain.name, "--migratable").replace(
                f"unix:{self.domain.socket()}",
                f"unix:{self.domain.socket(target)}"), "utf-8")
        source.virsh(
            "migrate", "--live", "--unsafe", *options, "--persistent",
            "--undefinesource", "--xml", path, "--persistent-xml", path,
            self.domain.name, target.uri,
            "--migrateuri", f"unix://{target.folder}/migration")
        self.assertEqual(source.virsh("list", "--all", "--name"), "")
        self.domain.libvirtd = target
        self.domain.connect()
        info = self.monitor("query-age")
        self.assertGreater(info["generation"], 1)
        self.check_age()


if __name__ == "__main__":
    common.run_classes([Life, Running], ARGS)
