# SPDX-License-Identifier: GPL-2.0-or-later
"""
What is plugged into the guest of the soak, and what it was asked to let go.

A guest answers when it likes: at once, after whoever asked has stopped
waiting, between two commands, during a reset, or never.  QEMU takes a device
out when the guest lets go of it, and tells of it (DEVICE_DELETED) when the
last user of its memory has gone, which is later.
"""

import json
import time
from dataclasses import dataclass

from ..qemu.patience import PATIENCE
from ..qemu.qmp import QMPCommandError

# Commands to let something go that reach nobody: the guest is at it, or was
# when the machine was reset, or is at something else in that slot.
NOT_ASKED = ("already in the process of unplug", "is already being unplugged",
             "pending unplug", "guest is busy (power indicator blinking)")

DECLINED = ("MEM_UNPLUG_ERROR", "DEVICE_UNPLUG_GUEST_ERROR")

# ACPI's _OST: the guest's answer to a request for ejection
OST = "ACPI_DEVICE_OST"
OST_EJECT = 3
OST_SUCCESS, OST_IN_PROGRESS = 0, 0x84

# How long a guest may take before something is said to stay
UNPLUG_PATIENCE = 20


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

    @property
    def by_acpi(self):
        """Whether the guest is asked by ACPI, and not by the PCI slot."""
        return "bus" not in self.device


def deleted_vcpu(path):
    """
    The name of a vCPU whose local APIC was deleted.

    QEMU keeps what is left of a vCPU, with any accelerator, and never says
    of the vCPU itself that it was deleted.
    """
    parts = path.split("/")
    return parts[-2] if parts[-1] == "lapic" else None


def is_refusal(name, data):
    """Whether an event says that the guest does not let something go."""
    if name != OST:
        return name in DECLINED
    info = data["info"]
    return info["source"] == OST_EJECT and \
        info["status"] not in (OST_SUCCESS, OST_IN_PROGRESS)


class Plugs:
    """
    The devices of one emulator.

    @command carries out a QMP command, @events hands what QEMU has told
    since it was last called to event().
    @plugged is what QEMU has not said to be gone, @pending what the guest may
    let go at any time, as it was asked to.  @asked is what it need not be
    asked for again: ACPI keeps a request until it has an answer, while a slot
    may not have noticed its button.
    """

    def __init__(self, command, events, plugged=None):
        self.command = command
        self.events = events
        self.plugged = dict(plugged or {})
        self.pending = set()
        self.asked = set()
        self.declined = 0

    def plug(self, device, backend=None):
        """Puts something in."""
        if backend:
            self.command("object-add", backend)
        self.command("device_add", device)
        self.plugged[device["id"]] = Plugged(device, backend)

    def there(self):
        """
        The names of what is in the machine now.

        Of what has left it, QEMU may still have to say so.
        """
        listed = {item["name"] for item in
                  self.command("qom-list", {"path": "/machine/peripheral"})}
        return listed & set(self.plugged)

    def unplug(self, name, patience=UNPLUG_PATIENCE):
        """
        Asks the guest to let something go; returns whether it did.

        It may not want to, or take its time, or have missed it the last time.
        """
        deadline = time.monotonic() + patience
        self.events()
        asked = name in self.asked
        while name in self.plugged and (name in self.pending or not asked):
            asked = asked or self._ask(name)
            if time.monotonic() >= deadline:
                break
            time.sleep(0.05)
            self.events()
        return name not in self.plugged

    def _ask(self, name):
        """Asks once; returns whether that has reached anybody."""
        try:
            self.command("device_del", {"id": name})
        except QMPCommandError as e:
            if e.error_class == "DeviceNotFound":
                self.settle()
                return True
            if any(text in e.desc for text in NOT_ASKED):
                return False
            raise
        self.pending.add(name)
        if self.plugged[name].by_acpi:
            self.asked.add(name)
        return True

    def settle(self, patience=PATIENCE):
        """Waits until all that has left the machine was said to be gone."""
        deadline = time.monotonic() + patience
        while True:
            gone = set(self.plugged) - self.there()
            self.events()
            gone &= set(self.plugged)
            if not gone:
                return
            if time.monotonic() > deadline:
                raise SoakError(f"{sorted(gone)} went, and nobody was told")
            time.sleep(0.05)

    def event(self, name, data):
        """Takes one event; returns whether it was about something plugged."""
        device = data.get("device") or data.get("info", {}).get("device") or \
            deleted_vcpu(data.get("path", ""))
        if device not in self.plugged:
            return False
        if name == "DEVICE_DELETED":
            thing = self.plugged.pop(device)
            self._answered(device)
            if thing.backend:
                self.command("object-del", {"id": thing.backend["id"]})
        elif is_refusal(name, data) and device in self.pending:
            self._answered(device)
            self.declined += 1
        return True

    def _answered(self, name):
        self.pending.discard(name)
        self.asked.discard(name)

    def after_reset(self):
        """
        A slot forgets what was asked of it, and so does the guest.

        ACPI's controllers do not: the guest may learn of it when it next
        looks what they want.
        """
        self.asked.clear()
        self.pending = {name for name in self.pending
                        if self.plugged[name].by_acpi}
