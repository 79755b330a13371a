#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
The soak's idea of what a guest does with what is plugged, without a guest.

What a guest does is right whenever it comes: before it was asked, after
whoever asked has stopped waiting, or never.
"""

import random
import unittest
import unittest.mock
from types import SimpleNamespace

import common

from agelib.qemu.qmp import QMPCommandError
from agelib.soak.device import DEVICE_ID, STATUS, DeviceSteps
from agelib.soak.machine import SoakGuest, slot_is_on
from agelib.soak.plugs import Plugs, SoakError
from agelib.soak.run import Soak


def refuse(desc, error_class="GenericError"):
    """An error as QEMU returns it."""
    raise QMPCommandError("device_del", {"class": error_class, "desc": desc})


class FakeMachine:
    """
    A machine in which things come and go.

    @plan has, for each look at its events, what happens just before.
    """

    def __init__(self, *plan):
        self.plan = list(plan)
        self.devices = set()
        self.queue = []
        self.log = []
        self.refusal = None
        self.plugs = Plugs(self.command, self.events)

    def command(self, name, arguments=None):
        """A QMP command."""
        if name == "qom-list":
            return [{"name": name, "type": "child<x>"}
                    for name in sorted(self.devices | {"port0"})]
        device = arguments.get("id")
        self.log.append((name, device))
        if name == "device_add":
            self.devices.add(device)
        elif name == "device_del":
            if device not in self.devices:
                refuse(f"Device '{device}' not found", "DeviceNotFound")
            if self.refusal:
                refuse(self.refusal)
        return {}

    def events(self):
        """What was told since the last time."""
        if self.plan:
            self.plan.pop(0)(self)
        queue, self.queue = self.queue, []
        for name, data in queue:
            self.plugs.event(name, data)

    def times(self, command):
        """How often a command came."""
        return [name for name, _ in self.log].count(command)

    # What may happen

    def nothing(self):
        """Not yet."""

    def leave(self, name="dma1"):
        """It has left, and nobody was told."""
        self.devices.discard(name)

    def tell(self, name="dma1"):
        """Everybody is told."""
        self.queue.append(("DEVICE_DELETED", {"device": name}))

    def go(self, name="dma1"):
        """Both."""
        self.leave(name)
        self.tell(name)

    def decline(self, status=1):
        """The guest does not let the memory go."""
        self.queue.append(("ACPI_DEVICE_OST", {"info": {
            "device": "dimm1", "slot": "0", "slot-type": "DIMM",
            "source": 3, "status": status}}))

    def hear(self):
        """Requests come through."""
        self.refusal = None


class Unplug(unittest.TestCase):
    """Something is to go."""

    def machine(self, *plan):
        """A machine with a device and a DIMM in it."""
        patch = unittest.mock.patch("time.sleep")
        patch.start()
        self.addCleanup(patch.stop)
        machine = FakeMachine()
        machine.plugs.plug({"driver": "age-device", "id": "dma1",
                            "bus": "port0"})
        machine.plugs.plug({"driver": "pc-dimm", "id": "dimm1"},
                           {"id": "memory-dimm1"})
        machine.plan = list(plan)
        return machine

    @staticmethod
    def unplug(machine, name="dma1", patience=20):
        """Asks for it."""
        return machine.plugs.unplug(name, patience)

    def test_at_once(self):
        """It goes as soon as it is asked for."""
        machine = self.machine(FakeMachine.nothing, FakeMachine.go)
        self.assertTrue(self.unplug(machine))
        self.assertFalse(machine.plugs.pending)

    def test_went_before(self):
        """It went after somebody had stopped waiting: no need to ask."""
        machine = self.machine()
        self.assertFalse(self.unplug(machine, patience=0))
        self.assertEqual(machine.plugs.pending, {"dma1"})
        machine.plan = [FakeMachine.go]
        self.assertTrue(self.unplug(machine))
        self.assertEqual(machine.times("device_del"), 1)

    def test_went_meanwhile(self):
        """It goes between a look at the events and the command."""
        machine = self.machine()
        self.assertFalse(self.unplug(machine, patience=0))
        machine.go()
        machine.queue, told = [], machine.queue
        machine.plan = [FakeMachine.nothing,
                        lambda machine: machine.queue.extend(told)]
        self.assertTrue(self.unplug(machine))

    def test_told_late(self):
        """It has left, and QEMU takes its time to say so."""
        machine = self.machine(*[FakeMachine.nothing] * 5, FakeMachine.tell)
        machine.leave()
        self.assertTrue(self.unplug(machine, patience=0))

    def test_never_told(self):
        """It has left, and QEMU never says so: that is an error."""
        machine = self.machine()
        machine.leave()
        with self.assertRaisesRegex(SoakError, "dma1.*nobody was told"):
            machine.plugs.settle(0)

    def test_busy(self):
        """A request that reached nobody is made again."""
        machine = self.machine(*[FakeMachine.nothing] * 3, FakeMachine.hear,
                               FakeMachine.nothing, FakeMachine.go)
        machine.refusal = "guest is busy (power indicator blinking)"
        self.assertTrue(self.unplug(machine))
        self.assertGreater(machine.times("device_del"), 1)

    def test_not_asked(self):
        """Who could not be asked is not waited for later."""
        machine = self.machine()
        machine.refusal = "Device dma1 is already in the process of unplug"
        self.assertFalse(self.unplug(machine, patience=0))
        self.assertFalse(machine.plugs.pending)

    def test_other_errors(self):
        """An error that nobody expects is one."""
        machine = self.machine()
        machine.refusal = "out of order"
        with self.assertRaisesRegex(QMPCommandError, "out of order"):
            self.unplug(machine)

    def test_backend(self):
        """The memory of a DIMM goes with it, whoever sees that it went."""
        machine = self.machine(FakeMachine.nothing)
        self.assertFalse(self.unplug(machine, "dimm1", patience=0))
        machine.go("dimm1")
        machine.events()
        self.assertEqual(machine.log[-1], ("object-del", "memory-dimm1"))
        self.assertEqual(list(machine.plugs.plugged), ["dma1"])

    def test_declined(self):
        """The guest says no; being at it is no answer."""
        machine = self.machine(
            FakeMachine.nothing, lambda machine: machine.decline(0x84),
            FakeMachine.nothing, FakeMachine.decline)
        self.assertFalse(self.unplug(machine, "dimm1"))
        self.assertFalse(machine.plan)
        self.assertFalse(machine.plugs.pending)
        self.assertEqual(machine.plugs.declined, 1)

    def test_asked_once(self):
        """ACPI keeps a request; a second one would have its own answer."""
        machine = self.machine()
        for _ in range(2):
            self.assertFalse(self.unplug(machine, "dimm1", patience=0))
        self.assertEqual(machine.times("device_del"), 1)

    def test_reset(self):
        """A slot forgets what it was asked, ACPI does not."""
        machine = self.machine()
        for name in ("dma1", "dimm1"):
            self.assertFalse(self.unplug(machine, name, patience=0))
        machine.plugs.after_reset()
        self.assertEqual(machine.plugs.pending, {"dimm1"})
        self.assertFalse(self.unplug(machine, "dimm1", patience=0))
        self.assertEqual(machine.times("device_del"), 3)

    def test_reset_too_late(self):
        """It had left before the reset, and QEMU says so after it."""
        machine = self.machine()
        self.assertFalse(self.unplug(machine, patience=0))
        machine.leave()
        machine.plugs.after_reset()
        self.assertEqual(machine.plugs.there(), {"dimm1"})
        machine.plan = [FakeMachine.nothing, FakeMachine.tell]
        machine.plugs.settle()
        self.assertEqual(list(machine.plugs.plugged), ["dimm1"])


class FakeSoak(DeviceSteps):
    """A soak with one device, in a slot that has power or not."""

    arch = "x86_64"

    def __init__(self, *power, there=True, bar=True):
        self.power = list(power)
        self.there = there
        self.bar = bar
        self.rng = random.Random(1)
        self.idles = 0
        self.ends_at = None
        self.guest = SimpleNamespace(
            plugs=SimpleNamespace(
                pending=set(), there=lambda: {"dma1"} if self.there else set()),
            slot_has_power=lambda name: self.power.pop(0)
            if len(self.power) > 1 else self.power[0],
            find_pci=lambda name: (0xb0100000, 0xfe000000)
            if self.bar and self.there else None,
            enable_pci=lambda config: None)

    def of_kind(self, kind):
        """What is plugged, as far as is known."""
        return ["dma1"] if kind == "dma" else []

    def idle(self):
        """Some time goes by."""
        self.idles += 1

    def read(self, base, offset):
        """All ones where nothing answers."""
        if self.ends_at == offset:
            self.there = False
        if not self.there:
            return (1 << 64) - 1
        return DEVICE_ID if offset == 0 else 0

    def write(self, base, offset, value):
        """To a register, if there is one."""


class Slots(unittest.TestCase):
    """Devices whose slot has power, or has none."""

    def setUp(self):
        for what in ("time.sleep", "agelib.soak.device.POWER_PATIENCE"):
            patch = unittest.mock.patch(what, 0 if "POWER" in what else
                                        unittest.mock.DEFAULT)
            patch.start()
            self.addCleanup(patch.stop)

    def test_control(self):
        """The register of a slot: power is off in bit 10, 10b blinks."""
        self.assertTrue(slot_is_on(0x01f1))
        self.assertFalse(slot_is_on(0x07f1))
        self.assertFalse(slot_is_on(0x02f1))
        self.assertFalse(slot_is_on(0x06f1))

    def test_power(self):
        """With power there are registers."""
        self.assertEqual(FakeSoak(True).find_registers("dma1"), 0xfe000000)
        self.assertIn("dma1: ", FakeSoak(True).job())

    def test_no_power(self):
        """Without, it is left alone."""
        soak = FakeSoak(False, bar=False)
        self.assertIsNone(soak.find_registers("dma1"))
        self.assertIsNone(soak.job())

    def test_power_comes(self):
        """It is used as soon as the guest has turned the slot on."""
        with unittest.mock.patch("agelib.soak.device.POWER_PATIENCE", 600):
            soak = FakeSoak(False, False, True, bar=False)
            soak.idle = lambda: setattr(soak, "bar", len(soak.power) == 1)
            self.assertEqual(soak.find_registers("dma1"), 0xfe000000)

    def test_no_registers(self):
        """With power and without registers is wrong."""
        with self.assertRaisesRegex(SoakError, "dma1 has no registers"):
            FakeSoak(True, bar=False).find_registers("dma1", 0)

    def test_went(self):
        """What went has no registers, and that is right."""
        self.assertIsNone(FakeSoak(True, there=False).job())

    def test_goes_at_work(self):
        """It goes while it is told what to do."""
        soak = FakeSoak(True)
        soak.ends_at = STATUS
        self.assertIsNone(soak.job())
        self.assertFalse(soak.there)

    def test_stays_without_registers(self):
        """Its registers go though it is there: that is wrong."""
        soak = FakeSoak(True)
        soak.answers = lambda base, seen=[]: not seen and not seen.append(1)
        with self.assertRaisesRegex(SoakError, "no registers any more"):
            soak.job()


class FakeGuest(SoakGuest):
    """A guest that moves; of QEMU there is only what it says."""

    arch = "x86_64"

    def __init__(self, *states, there=(), plugged=()):
        # That would want an emulator.
        # pylint: disable=super-init-not-called
        self.states = list(states)
        self.log = []
        self.folder, self.number, self._number = "/x", 0, 0
        self.hello = self.booting = None
        self.plugs = SimpleNamespace(there=lambda: set(there),
                                     plugged=dict.fromkeys(plugged))

    def command(self, name, arguments=None, **_):
        if name == "query-migrate":
            return {"status": self.states.pop(0)}
        self.log.append(name)
        return {}

    def failure(self, what):
        return SoakError(what)


class Bars(unittest.TestCase):
    """Where a device has its registers."""

    @staticmethod
    def find(address, name="dma1"):
        """What is found of a device behind a port, with this address."""
        guest = FakeGuest()
        device = {"qdev_id": "dma1", "bus": 1, "slot": 0, "function": 0,
                  "regions": [{"bar": 0, "address": address},
                              {"bar": 1, "address": 0x1000}]}
        port = {"qdev_id": "port0", "bus": 0, "slot": 1, "function": 0,
                "regions": [], "pci_bridge": {"devices": [device]}}
        guest.command = lambda name: [{"bus": 0, "devices": [port]}]
        return guest.find_pci(name)

    def test_found(self):
        """An address, and the configuration space by bus and slot."""
        self.assertEqual(self.find(0xfe000000), (0xb0100000, 0xfe000000))

    def test_off(self):
        """A BAR that the guest has not turned on yet has no address."""
        for address in (-1, 0, (1 << 64) - 1):
            self.assertIsNone(self.find(address))

    def test_gone(self):
        """No device, no registers."""
        self.assertIsNone(self.find(0xfe000000, "dma2"))


class Migration(unittest.TestCase):
    """The guest moves with what it has, or not at all."""

    def setUp(self):
        patch = unittest.mock.patch("time.sleep")
        patch.start()
        self.addCleanup(patch.stop)

    def test_moves(self):
        """Nothing changed meanwhile."""
        source = FakeGuest("setup", "active", "pre-switchover", "device",
                           "completed", there=["dma1"])
        target = FakeGuest("active", "completed", plugged=["dma1"])
        self.assertTrue(source.move_to(target, lambda: None))
        self.assertEqual(target.log[-1], "cont")

    def test_stays(self):
        """It let go of a device after the other side was started."""
        source = FakeGuest("active", "pre-switchover", "cancelling",
                           "cancelled")
        target = FakeGuest(plugged=["dma1"])
        self.assertFalse(source.move_to(target, lambda: None))
        self.assertEqual(source.log[-1], "migrate_cancel")
        self.assertNotIn("cont", target.log)

    def test_fails(self):
        """A migration that fails by itself is wrong."""
        with self.assertRaisesRegex(SoakError, "failed"):
            FakeGuest("active", "failed").move_to(FakeGuest(), lambda: None)


class Recall(unittest.TestCase):
    """The guest lets go of memory just when it is to be harvested."""

    def recall(self, desc):
        """A recall whose harvest ends with this error."""
        def find():
            raise QMPCommandError("age-test-clear-young", {"desc": desc})

        soak = Soak("x86_64", 1)
        soak.guest = unittest.mock.MagicMock()
        soak.load = unittest.mock.MagicMock()
        soak.touch_and_find = find
        return soak.recall(), soak.guest.tell.call_args_list

    def test_memory_goes(self):
        """That is told, and the guest works on."""
        result, told = self.recall("range 1: 0x1-0x2 meets no memory")
        self.assertEqual(result, "memory went")
        self.assertEqual([call.args[0] for call in told], ["stop", "run"])

    def test_other_errors(self):
        """No other error is right."""
        with self.assertRaisesRegex(QMPCommandError, "hm"):
            self.recall("hm")


def main():
    """Runs everything."""
    common.run_classes([Unplug, Slots, Bars, Migration, Recall])


if __name__ == "__main__":
    main()
