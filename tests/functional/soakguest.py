# SPDX-License-Identifier: GPL-2.0-or-later
"""
The guest of the soak: Debian on four vCPUs to which things are plugged.

It can be reset, and can move to another emulator with all that is plugged.
"""

import json
import socket
import time
from dataclasses import dataclass

import common  # noqa: F401  pylint: disable=unused-import

from agelib.emulator import PATIENCE, EmulatorError
from agelib.qmp import QMPCommandError, QMPError
from agelib.workload import Guest

MEMORY = 768 << 20
CPUS = 4
# TCG has a context for each vCPU that there ever was, and aborts without one.
MOST_CPUS = 32
PORTS = 3
MONITORS = 5
RAM_BASE = {"x86_64": 0, "aarch64": 1 << 30}

# Where PCI's configuration space is: SeaBIOS and virt put it there
ECAM = {"x86_64": 0xb0000000, "aarch64": 0x4010000000}
PCI_COMMAND = 4
PCI_MEMORY_AND_MASTER = 6

# Before the workload starts: a driver for the balloon, and somebody who puts
# to use what is plugged.
PREPARE = "; ".join((
    "mount -t proc proc /proc", "mount -t sysfs sysfs /sys",
    "modprobe virtio_pci", "modprobe virtio_balloon",
    "echo online_movable > /sys/devices/system/memory/auto_online_blocks",
    "(while :; do for c in /sys/devices/system/cpu/cpu[1-9]*/online; do "
    "read on < $c; test $on = 1 || echo 1 > $c; done; sleep 1; done) "
    "> /dev/null 2>&1 & exec /age-init 2> /dev/null"))

# QEMU 10.0 looks up the register that a vCPU accesses by its number in the
# memory map, though a thread of another vCPU may have made a new map since the
# TLB was filled (iotlb_to_section() aborts then, under tcg as well).  Without
# that the guest would read the time from a device, all of the time.
CLOCK = {"x86_64": "clocksource=tsc tsc=reliable ", "aarch64": ""}

# What a guest may say when it is asked to let something go, and the commands
# that may then find it on its way out.
DECLINED = ("MEM_UNPLUG_ERROR", "DEVICE_UNPLUG_GUEST_ERROR")
ON_ITS_WAY = ("already in the process of unplug", "is already being unplugged",
              "pending unplug", "guest is busy (power indicator blinking)")


class SoakError(Exception):
    """What should not happen in a soak."""


@dataclass
class Plugged:
    """A device that was plugged, and the memory that it needs."""

    device: dict
    backend: dict = None

    def options(self):
        """The same on a command line."""
        options = ["-device", json.dumps(self.device)]
        if self.backend:
            options = ["-object", json.dumps(self.backend)] + options
        return options


class QTest:
    """Accesses to the memory of the machine, and to its registers."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        self.file = sock.makefile("rw", encoding="ascii")

    def command(self, *words):
        """One command; returns the value that comes back, if any does."""
        self.file.write(" ".join(map(str, words)) + "\n")
        self.file.flush()
        answer = self.file.readline().split()
        if not answer or answer[0] != "OK":
            raise SoakError(f"qtest: {words}: {answer}")
        return int(answer[1], 0) if len(answer) > 1 else None

    def close(self):
        """Closes the connection."""
        self.file.close()
        self.sock.close()


def soak_options(arch):
    """Options for the machine, beyond those of any guest of ours."""
    options = ["-m", f"{MEMORY >> 20}M,slots=8,maxmem=4G", "-S",
               "-action", "reboot=reset,panic=none"]
    if arch == "x86_64":
        # Linux takes what comes by ACPI one by one.  A DIMM whose pages it
        # does not get free would keep it from all PCI devices meanwhile.
        options += ["-global",
                    "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]
    return options


def deleted_vcpu(path):
    """
    The name of a vCPU whose local APIC was deleted.

    QEMU keeps what is left of a vCPU, with any accelerator, and never says
    of the vCPU itself that it was deleted.
    """
    parts = path.split("/")
    return parts[-2] if parts[-1] == "lapic" else None


class SoakGuest(Guest):
    """
    One emulator of the soak, stopped before its first instruction.

    @origin is the one that its guest is going to come from.
    """

    def __init__(self, arch, folder, number=0, origin=None):
        ports = [f"pcie-root-port,id=port{i},chassis={i + 1}"
                 for i in range(PORTS)]
        super().__init__(
            arch, "age,thread=multi,tb-size=128", monitors=MONITORS,
            smp=f"{CPUS},maxcpus={MOST_CPUS}" if arch == "x86_64" else CPUS,
            append=f'{CLOCK[arch]}rdinit=/bin/sh -- -c "{PREPARE}"',
            devices=ports + ["virtio-balloon-pci,id=balloon0"])
        self.folder = folder
        self.number = number
        self.qtest = None
        self.plugged = dict(origin.plugged) if origin else {}
        self.pending = set()
        self.cpus_ever = CPUS + sum("core-id" in thing.device
                                    for thing in self.plugged.values())
        self.declined = 0
        self.booting = True
        self.options += soak_options(arch)
        self.firmware = folder / f"firmware-{number}"
        if arch == "x86_64":
            # Where SeaBIOS says what it does
            self.options += [
                "-chardev", f"file,id=firmware,path={self.firmware}",
                "-device", "isa-debugcon,iobase=0x402,chardev=firmware"]
        if origin:
            self.options += ["-incoming", "defer"]
            for thing in self.plugged.values():
                self.options += thing.options()

    def _channel_options(self, theirs):
        ours, other = socket.socketpair()
        self.qtest = QTest(ours)
        theirs.append(other)
        return super()._channel_options(theirs) + [
            "-chardev", f"socket,id=qtest0,fd={other.fileno()}",
            "-qtest", "chardev:qtest0", "-qtest-log", "none"]

    def stop(self):
        super().stop()
        if self.qtest:
            self.qtest.close()
            self.qtest = None

    def command(self, name, arguments=None, **kwargs):
        """A QMP command; tells of the emulator's end if that is in the way."""
        try:
            return super().command(name, arguments, **kwargs)
        except QMPCommandError:
            raise
        except QMPError as e:
            raise self.failure(f"{name}: {e}") from None

    def resident(self):
        """How much memory of the host the emulator has, in KiB."""
        with open(f"/proc/{self.process_id()}/status", encoding="ascii") as f:
            return int(next(line.split()[1] for line in f
                            if line.startswith("VmRSS")))

    def process_id(self):
        """The emulator's; what started it has become it."""
        self.check()
        return self.process.pid

    def state(self):
        """What the machine is doing, for those who have to find out why."""
        try:
            texts = [str(self.command("query-status"))]
            texts += [self.command("human-monitor-command",
                                   {"command-line": line})
                      for line in ("info cpus", "info registers -a")]
        except (EmulatorError, QMPError) as e:
            texts = [str(e)]
        return "\n".join(texts)

    def firmware_log(self):
        """What firmware said, where it says anything."""
        if not self.firmware.exists():
            return ""
        return self.firmware.read_text("utf-8", "replace")

    # Plugging

    def plug(self, device, backend=None):
        """Puts something in."""
        if backend:
            self.command("object-add", backend)
        self.command("device_add", device)
        self.plugged[device["id"]] = Plugged(device, backend)
        self.cpus_ever += "core-id" in device

    def unplug(self, name, patience=20):
        """
        Asks the guest to let something go; returns whether it did.

        It may not want to, or take its time, or have missed it the last time.
        """
        self.pending.add(name)
        self._ask_for(name)
        deadline = time.monotonic() + patience
        while name in self.pending and time.monotonic() < deadline:
            time.sleep(0.05)
            self.take_events()
        return name not in self.plugged

    def _ask_for(self, name):
        try:
            self.command("device_del", {"id": name})
        except QMPCommandError as e:
            if not any(text in e.desc for text in ON_ITS_WAY):
                raise

    def take_events(self):
        """What happened meanwhile, some of which should not have."""
        self.command("query-status")
        events = list(self.qmp.events)
        self.qmp.events.clear()
        for event in events:
            self._event(event["event"], event.get("data", {}))

    def _event(self, name, data):
        device = data.get("device") or deleted_vcpu(data.get("path", ""))
        if name == "DEVICE_DELETED" and device in self.plugged:
            thing = self.plugged.pop(device)
            self.pending.discard(device)
            if thing.backend:
                self.command("object-del", {"id": thing.backend["id"]})
        elif name in DECLINED and device in self.pending:
            self.pending.discard(device)
            self.declined += 1
        elif name in ("SHUTDOWN", "GUEST_PANICKED", "GUEST_CRASHLOADED") or \
                (name == "RESET" and data["guest"] and not self.booting):
            raise self.failure(f"the guest ended: {name} {data}")

    # Registers

    def find_pci(self, name):
        """Bus, slot and address of BAR 0, once the guest gave it one."""
        todo = [device for bus in self.command("query-pci")
                for device in bus["devices"]]
        while todo:
            device = todo.pop()
            todo += device.get("pci_bridge", {}).get("devices", [])
            bars = [region["address"] for region in device["regions"]
                    if region["bar"] == 0]
            if device["qdev_id"] == name and bars and bars[0] not in \
                    (0, 0xffffffff, (1 << 64) - 1):
                return device["bus"], device["slot"], bars[0]
        return None

    def enable_pci(self, bus, slot):
        """What a driver would do first."""
        command = ECAM[self.arch] + (bus << 20 | slot << 15) + PCI_COMMAND
        value = self.qtest.command("readw", hex(command))
        self.qtest.command("writew", hex(command),
                           hex(value | PCI_MEMORY_AND_MASTER))

    # Reset and migration

    def reset(self, idle=None):
        """Boots anew."""
        self._lines = b""
        self.booting = True
        self.command("system_reset")
        self.boot(idle=idle)

    def boot(self, timeout=PATIENCE, idle=None):
        """SeaBIOS resets the machine itself once more, after a reset."""
        super().boot(timeout, idle)
        self.take_events()
        self.booting = False

    def move_to(self, other, idle):
        """The guest goes on in @other, which has been started for it."""
        uri = f"unix:{self.folder}/migration-{other.number}"
        self.command("migrate-set-parameters", {
            "max-bandwidth": 10 << 30, "downtime-limit": 20000})
        other.command("migrate-incoming", {"uri": uri})
        self.command("migrate", {"uri": uri})
        for side in (self, other):
            side.wait_migrated(idle)
        # The protocol of the workload goes on where it was.
        other.hello, other._number = self.hello, self._number
        other.booting = False
        other.command("cont")

    def wait_migrated(self, idle):
        """Waits for the end of a migration, at either side."""
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self.command("query-migrate")
            status = answer.get("status")
            if status == "completed":
                return
            if status in ("failed", "cancelled") or \
                    time.monotonic() > deadline:
                raise self.failure(f"migration: {answer}")
            idle()
            time.sleep(0.05)
