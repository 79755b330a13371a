#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Firmware under ``-accel age``: it runs to its end while it is harvested.

Firmware does what Linux no longer does: it runs without paging, from ROM and
from flash that changes between memory and device, moves its own code and, on
x86, works in system management mode.

The emulators are those that were built, and once more what scripts/install
makes of them.
"""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import common

from agelib.qemu.emulator import Emulator, build_dir
from agelib.qemu.harvest import Harvester

OVMF = Path("/usr/share/OVMF")
AAVMF = Path("/usr/share/AAVMF")

INSTALL = Path(__file__).resolve().parents[2] / "scripts/install"

ARGS = common.parse_args(__doc__.splitlines()[1])


def first_present(folder, *names):
    """The first of these files that is there."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise unittest.SkipTest(f"none of {', '.join(names)} in {folder}")


def flash_options(code, variables):
    """Two banks of flash: the code, and a copy of the variables."""
    return ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}",
            "-drive", f"if=pflash,unit=1,format=raw,file={variables}"]


class FirmwareTest(unittest.TestCase):
    """What all firmware has to pass."""

    def boot(self, options, *texts):
        """Runs until one of the texts comes, and harvests all the while."""
        with Emulator(ARGS.arch, options, "age") as emulator:
            # Shadowing and flash change the slots as we go: one range has
            # them all, and their holes.
            harvester = Harvester(emulator.qmp, [(0, 4 << 30)])
            found = set()

            def harvest():
                found.update(harvester.harvest().young)

            emulator.expect(*texts, idle=harvest)
            harvest()
        self.assertGreater(len(found), 16)

    def boot_uefi(self, code, variables, options):
        """Boots UEFI to its shell."""
        with tempfile.TemporaryDirectory(prefix="age-") as folder:
            copy = Path(folder) / "vars.fd"
            shutil.copyfile(variables, copy)
            self.boot(options + flash_options(code, copy),
                      "Shell>", "BdsDxe: No bootable option")


class X86Firmware(FirmwareTest):
    """SeaBIOS and OVMF."""

    def test_seabios_q35(self):
        """SeaBIOS on q35 finds nothing to boot."""
        self.boot(["-machine", "q35,graphics=off"], "No bootable device")

    def test_seabios_pc(self):
        """The same on pc, with its older chipset."""
        self.boot(["-machine", "pc,graphics=off"], "No bootable device")

    def test_ovmf(self):
        """OVMF reaches its shell."""
        self.boot_uefi(
            first_present(OVMF, "OVMF_CODE_4M.fd", "OVMF_CODE.fd"),
            first_present(OVMF, "OVMF_VARS_4M.fd", "OVMF_VARS.fd"),
            ["-machine", "q35", "-m", "512M"])

    def test_ovmf_smm(self):
        """The same with variables kept in system management mode."""
        self.boot_uefi(
            first_present(OVMF, "OVMF_CODE_4M.secboot.fd",
                          "OVMF_CODE.secboot.fd"),
            first_present(OVMF, "OVMF_VARS_4M.fd", "OVMF_VARS.fd"),
            ["-machine", "q35,smm=on", "-m", "512M", "-smp", "2", "-global",
             "driver=cfi.pflash01,property=secure,value=on"])


class ArmFirmware(FirmwareTest):
    """AAVMF."""

    def test_aavmf(self):
        """AAVMF reaches its shell."""
        self.boot_uefi(
            first_present(AAVMF, "AAVMF_CODE.no-secboot.fd",
                          "AAVMF_CODE.fd"),
            first_present(AAVMF, "AAVMF_VARS.fd"),
            ["-machine", "virt", "-cpu", "max", "-m", "512M"])


class InstalledMixin:
    """
    Emulators that are installed, and do without the build folder.

    That one stays where it is, but each file that they load is traced.
    """

    @classmethod
    def install(cls):
        """Installs them, and puts links to them in place of what was built."""
        folder = tempfile.TemporaryDirectory(prefix="age-")
        cls.addClassCleanup(folder.cleanup)
        prefix = Path(folder.name) / "prefix"
        cls.built = build_dir()
        cls.trace = Path(folder.name) / "trace"
        subprocess.run([INSTALL, "--build", cls.built, "--prefix", prefix],
                       check=True, stdout=subprocess.DEVNULL,
                       env=os.environ | {"DESTDIR": ""})
        links = Path(folder.name) / "build"
        links.mkdir()
        name = f"qemu-system-{ARGS.arch}"
        (links / name).symlink_to(prefix / f"bin/{name}-age")
        cls.set_environment("AGE_BUILD", str(links))
        cls.set_environment("AGE_QEMU_ARGS", " ".join(
            [os.environ.get("AGE_QEMU_ARGS", ""), "-trace load_file -D",
             shlex.quote(str(cls.trace))]))

    @classmethod
    def set_environment(cls, name, value):
        """Until the end of this class."""
        old = os.environ.get(name)
        if old is None:
            cls.addClassCleanup(os.environ.pop, name)
        else:
            cls.addClassCleanup(os.environ.update, {name: old})
        os.environ[name] = value

    def boot(self, options, *texts):
        """As it does otherwise; then looks where files came from."""
        super().boot(options, *texts)
        found = re.findall(r"load_file name (\S+) location (\S+)",
                           self.trace.read_text("utf-8"))
        self.assertNotEqual(found, [])
        for name, place in found:
            self.assertFalse(Path(place).resolve().is_relative_to(
                self.built.resolve()), f"{name} is {place}")


class X86Installed(InstalledMixin, X86Firmware):
    """SeaBIOS and OVMF by what is installed."""

    @classmethod
    def setUpClass(cls):
        cls.install()

    # The other two differ by hardware, not by files.
    test_seabios_pc = test_ovmf_smm = None


class ArmInstalled(InstalledMixin, FirmwareTest):
    """AAVMF by what is installed, without a path to it."""

    @classmethod
    def setUpClass(cls):
        cls.install()

    def test_efi(self):
        """The emulator knows where Debian has it."""
        first_present(Path("/usr/share/qemu-efi-aarch64"), "QEMU_EFI.fd")
        self.boot(["-machine", "virt", "-cpu", "max", "-m", "512M",
                   "-bios", "QEMU_EFI.fd"],
                  "Shell>", "BdsDxe: No bootable option")


def main():
    """Runs the firmware of one architecture."""
    classes = {"x86_64": [X86Firmware, X86Installed],
               "aarch64": [ArmFirmware, ArmInstalled]}
    common.run_classes(classes[ARGS.arch], ARGS)


if __name__ == "__main__":
    main()
