# SPDX-License-Identifier: GPL-2.0-or-later
"""
The guest of the soak: Debian on four vCPUs to which things are plugged.

It can be reset, and can move to another emulator with all that is plugged.
"""

import socket
import time

from ..guest.workload import Guest
from ..qemu.emulator import EmulatorError
from ..qemu.patience import PATIENCE
from ..qemu.qmp import QMPCommandError, QMPError
from .plugs import Plugs, SoakError

MEMORY = 768 << 20
CPUS = 4
# TCG has a context for each vCPU that there ever was, and aborts without one.
MOST_CPUS = 32
PORTS = 3
MONITORS = 6
RAM_BASE = {"x86_64": 0, "aarch64": 1 << 30}

# Where PCI's configuration space is: SeaBIOS and virt put it there
ECAM = {"x86_64": 0xb0000000, "aarch64": 0x4010000000}
PCI_COMMAND = 4
PCI_MEMORY_AND_MASTER = 6
PCI_CAPABILITIES = 0x34
PCI_EXPRESS = 0x10

# A BAR that is off: -1, which is unsigned for some
NO_ADDRESS = (-1, 0, (1 << 64) - 1)

# A slot, as PCI Express has it: from its capability on
SLOT_CONTROL = 0x18
INDICATOR, INDICATOR_BLINKS = 3 << 8, 2 << 8
POWER_OFF = 1 << 10

# Before the workload starts: a driver for the balloon, and somebody who puts
# to use what is plugged.
PREPARE = "; ".join((
    "mount -t proc proc /proc", "mount -t sysfs sysfs /sys",
    "modprobe virtio_pci", "modprobe virtio_balloon",
    "echo online_movable > /sys/devices/system/memory/auto_online_blocks",
    "(while :; do for c in /sys/devices/system/cpu/cpu[1-9]*/online; do "
    "read on < $c; test $on = 1 || echo 1 > $c; done; sleep 1; done) "
    "> /dev/null 2>&1 & exec /age-init 2> /dev/null"))

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
               "-object", "age-history,id=h0",
               "-action", "reboot=reset,panic=none"]
    if arch == "x86_64":
        # Linux takes what comes by ACPI one by one.  A DIMM whose pages it
        # does not get free would keep it from all PCI devices meanwhile.
        options += ["-global",
                    "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]
    return options


def slot_is_on(control):
    """Whether a slot's control register has power on, and no blinking."""
    return not control & POWER_OFF and \
        control & INDICATOR != INDICATOR_BLINKS


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
            append=f'rdinit=/bin/sh -- -c "{PREPARE}"',
            devices=ports + ["virtio-balloon-pci,id=balloon0"])
        self.folder = folder
        self.number = number
        self.qtest = None
        self.plugs = Plugs(self.command, self.take_events,
                           origin and origin.plugs.plugged)
        self.cpus_ever = CPUS + sum("core-id" in thing.device
                                    for thing in self.plugged.values())
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

    @property
    def plugged(self):
        """What was plugged, and was not said to be gone."""
        return self.plugs.plugged

    def plug(self, device, backend=None):
        """Puts something in."""
        self.plugs.plug(device, backend)
        self.cpus_ever += "core-id" in device

    def take_events(self):
        """What happened meanwhile, some of which should not have."""
        self.command("query-status")
        events = list(self.qmp.events)
        self.qmp.events.clear()
        for event in events:
            self._event(event["event"], event.get("data", {}))

    def _event(self, name, data):
        if self.plugs.event(name, data):
            return
        if name in ("SHUTDOWN", "GUEST_PANICKED", "GUEST_CRASHLOADED") or \
                (name == "RESET" and data["guest"] and not self.booting):
            raise self.failure(f"the guest ended: {name} {data}")

    # Registers

    def pci_devices(self):
        """All of them, by name."""
        found = {}
        todo = [device for bus in self.command("query-pci")
                for device in bus["devices"]]
        while todo:
            device = todo.pop()
            todo += device.get("pci_bridge", {}).get("devices", [])
            found[device["qdev_id"]] = device
        return found

    def find_pci(self, name):
        """
        Its configuration space and its BAR 0, once the guest turned that on.

        Linux does so at the end of all that it has to write there.  Who turns
        it on before that has it turned off again.
        """
        device = self.pci_devices().get(name)
        bars = [region["address"] for region in device["regions"]
                if region["bar"] == 0] if device else []
        if not bars or bars[0] in NO_ADDRESS:
            return None
        return self.config_space(device), bars[0]

    def config_space(self, device):
        """Where the machine has a device's configuration space."""
        return ECAM[self.arch] + (device["bus"] << 20 | device["slot"] << 15 |
                                  device["function"] << 12)

    def enable_pci(self, config):
        """What a driver would do first."""
        value = self.qtest.command("readw", hex(config + PCI_COMMAND))
        self.qtest.command("writew", hex(config + PCI_COMMAND),
                           hex(value | PCI_MEMORY_AND_MASTER))

    def slot_has_power(self, name):
        """
        Whether the slot of a device is on, and is to stay so.

        The guest turns it on when it has noticed the device, and off when it
        lets go of it; it may never do so, and its indicator blinks meanwhile.
        """
        port = self.pci_devices()[self.plugged[name].device["bus"]]
        control = self.express_register(self.config_space(port), SLOT_CONTROL)
        return slot_is_on(control)

    def express_register(self, config, offset):
        """A register of PCI Express's capability."""
        at = self.qtest.command("readb", hex(config + PCI_CAPABILITIES))
        while at and self.qtest.command("readb",
                                        hex(config + at)) != PCI_EXPRESS:
            at = self.qtest.command("readb", hex(config + at + 1))
        return self.qtest.command("readw", hex(config + at + offset))

    # Reset and migration

    def reset(self, idle=None):
        """Boots anew."""
        self._lines = b""
        self.booting = True
        self.command("system_reset")
        self.boot(idle=idle)
        self.plugs.after_reset()

    def boot(self, timeout=PATIENCE, idle=None):
        """SeaBIOS resets the machine itself once more, after a reset."""
        super().boot(timeout, idle)
        self.take_events()
        self.booting = False

    def move_to(self, other, idle):
        """
        The guest goes on in @other, which has been started for it.

        Not if it has let go of something since then: then it goes on here.
        Returns whether it moved.
        """
        uri = f"unix:{self.folder}/migration-{other.number}"
        self.command("migrate-set-parameters", {
            "max-bandwidth": 10 << 30, "downtime-limit": 20000})
        self.command("migrate-set-capabilities", {"capabilities": [
            {"capability": "pause-before-switchover", "state": True}]})
        other.command("migrate-incoming", {"uri": uri})
        self.command("migrate", {"uri": uri})
        self.wait_migration("pre-switchover", idle)
        # From here on it stands still.
        if self.plugs.there() != set(other.plugged):
            self.command("migrate_cancel")
            self.wait_migration("cancelled", idle)
            return False
        self.command("migrate-continue", {"state": "pre-switchover"})
        for side in (self, other):
            side.wait_migration("completed", idle)
        other.protocol = self.protocol
        other.booting = False
        other.command("cont")
        return True

    def wait_migration(self, wanted, idle):
        """Waits for a state of a migration, at either side."""
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self.command("query-migrate")
            status = answer.get("status")
            if status == wanted:
                return
            if status in ("failed", "cancelled", "completed") or \
                    time.monotonic() > deadline:
                raise self.failure(f"migration: {answer}")
            idle()
            time.sleep(0.05)
