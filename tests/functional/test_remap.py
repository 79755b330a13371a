#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
A memory map that changes while processors use devices.

A vCPU that switches a PCI device's memory off and on makes new memory maps;
what the TLBs of the others have of devices must not come to mean another one
meanwhile.  If it does, reads come from the wrong device, and the end of a
timer's interrupt is told to one that does not care: that timer has run for the
last time.  See docs/devel/age-mends.rst.
"""

import unittest

import common

from agelib.guest.workload import Guest, images_present
from agelib.qemu.emulator import build_dir
from widen import Widen

CPUS = 4
TOGGLES = 50

# A guest that has lost an interrupt may not answer any more.
LIMIT = 300

# How much later than usual each vCPU hears of a new map
LATE_US = 300

# Interrupts are ended, and on x86 the time is read, by accesses to devices.
MACHINES = {"x86_64": ("q35", "clocksource=hpet"),
            "aarch64": ("virt,gic-version=2", "")}

ARGS = common.parse_args(__doc__.splitlines()[1])


class RemapTest(unittest.TestCase):
    """One guest for each accelerator."""

    @classmethod
    def setUpClass(cls):
        if not images_present(ARGS.arch):
            raise unittest.SkipTest("no guest images: run scripts/build-guest")
        mends = build_dir() / ".setup-mends"
        if mends.exists() and mends.read_text("ascii").strip() == "no":
            raise unittest.SkipTest("set up with --without-mends")

    def check(self, accel):
        """A storm, in a guest whose vCPUs hear of new maps late."""
        machine, append = MACHINES[ARGS.arch]
        guest = Guest(ARGS.arch, accel, program="remap", machine=machine,
                      smp=CPUS, append=append, devices=("edu",) * 3)
        with Widen() as widen:
            guest.environment = widen.environment
            with guest:
                guest.boot()
                self.assert_timers_run(guest)
                widen.set(wake_us=LATE_US)
                self.storm(guest)
                widen.set()
                self.assert_timers_run(guest)

    def storm(self, guest):
        """No read of a device is answered by another one."""
        answer = guest.tell("storm", TOGGLES, timeout=LIMIT)
        common.comment(f"{guest.accel}: {answer}")
        self.assertEqual(answer["wrong"], "0",
                         "reads of a device that another one answered")

    def assert_timers_run(self, guest):
        """Each processor, busy for two seconds, has been interrupted."""
        timers = guest.tell("timers", timeout=LIMIT)
        self.assertEqual(len(timers), CPUS)
        for cpu, count in timers.items():
            self.assertGreater(int(count), 0, f"the timer of {cpu} is dead: "
                               f"{timers}")

    def test_age(self):
        """The mend is there whatever the accelerator beside TCG does."""
        self.check("age,thread=multi")

    def test_tcg(self):
        """It is a fault of QEMU's own."""
        self.check("tcg,thread=multi")


if __name__ == "__main__":
    common.run_classes([RemapTest], ARGS)
