# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the soak does with age-device: it comes, works and goes.
"""

import time

from ..qemu.harvest import PAGE
from ..qemu.patience import PATIENCE
from .check import demand
from .machine import MEMORY, PORTS, RAM_BASE

DEVICE_ID = 0x141474544

# Registers of age-device, and what is written there
STATUS, REPEAT = 0x18, 0x80
BUSY, ERROR = 1, 4
READ = 1
RANDOM = 2

# For how long a slot may be without power before its device is left alone
POWER_PATIENCE = 20


class DeviceSteps:
    """The steps of a soak with devices, which has a guest and a load."""

    def device(self):
        """An age-device."""
        taken = {self.guest.plugged[name].device["bus"]
                 for name in self.of_kind("dma")}
        free = [f"port{i}" for i in range(PORTS) if f"port{i}" not in taken]
        if not free:
            return None
        name = self.name("dma")
        self.load.plain = False
        self.guest.plug({"driver": "age-device", "id": name,
                         "bus": self.rng.choice(free),
                         "worker": self.rng.random() < 0.5})
        return name

    def unplug_device(self):
        """An age-device less, whatever it is doing."""
        return self.unplug("dma")

    def job(self):
        """Has a device read memory here and there, for ever or not."""
        names = [name for name in self.of_kind("dma")
                 if name not in self.guest.plugs.pending]
        if not names:
            return None
        name = self.rng.choice(names)
        base = self.find_registers(name)
        if base is None:
            return None
        start, size, firm = self.pick_memory()
        repeat = self.rng.choice((0, 0, 1000))
        status = self.start_job(base, (
            (0x30, READ), (0x38, RANDOM), (0x40, start),
            (0x50, self.rng.randint(8, PAGE)),
            (0x58, self.rng.randint(1, 5000)), (0x60, PAGE),
            (0x68, size - PAGE), (0x70, self.rng.getrandbits(64)),
            (REPEAT, repeat), (0x10, 1)))
        if not self.answers(base):
            demand(not self.usable(name), f"{name}: no registers any more")
            return None
        demand(not firm or not status & ERROR, f"{name}: status {status:#x}")
        return f"{name}: {size >> 20} MiB at {start:#x}, {repeat} times"

    def start_job(self, base, registers):
        """Ends what a device does, and begins anew; returns its status."""
        self.write(base, 0x10, 2)
        while self.answers(base) and self.read(base, STATUS) & BUSY:
            self.idle()
        for offset, value in registers:
            self.write(base, offset, value)
        time.sleep(0.2)
        return self.read(base, STATUS)

    def pick_memory(self):
        """Where a device may read, and whether it stays there."""
        dimms = self.of_kind("dimm")
        if not dimms or self.rng.random() < 0.5:
            return RAM_BASE[self.arch] + (1 << 20), MEMORY - (1 << 20), True
        thing = self.guest.plugged[self.rng.choice(dimms)]
        return thing.device["addr"], thing.backend["size"], False

    def usable(self, name):
        """Whether a device is there, and in a slot with power."""
        return name in self.guest.plugs.there() and \
            self.guest.slot_has_power(name)

    def find_registers(self, name, patience=PATIENCE):
        """
        Waits until the guest has made room for a device's registers.

        None if it went, or if the guest does not give it power: then it is
        left alone until it has some, or is unplugged.
        """
        deadline = time.monotonic() + patience
        no_power = time.monotonic() + POWER_PATIENCE
        while True:
            place = self.guest.find_pci(name)
            if place:
                self.guest.enable_pci(place[0])
                if self.answers(place[1]):
                    return place[1]
            if not self.usable(name):
                if name not in self.guest.plugs.there() or \
                        time.monotonic() > no_power:
                    return None
            else:
                demand(time.monotonic() < deadline,
                       f"{name} has no registers: {place}")
            self.idle()
            time.sleep(0.1)

    def answers(self, base):
        """Whether a device has its registers there."""
        return self.read(base, 0) == DEVICE_ID

    def read(self, base, offset):
        """A register."""
        return self.guest.qtest.command("readq", hex(base + offset))

    def write(self, base, offset, value):
        """To a register."""
        self.guest.qtest.command("writeq", hex(base + offset), hex(value))
