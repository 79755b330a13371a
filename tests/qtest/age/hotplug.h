/*
 * Ways of plugging age-device and of having it go, on all boards
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_AGE_HOTPLUG_H
#define TESTS_AGE_HOTPLUG_H

#include "device.h"

/* A store of 32 bits that a vCPU can do: to memory, or to a port of x86 */
typedef struct AgeStore {
    uint64_t addr;
    uint32_t value;
    bool port;
} AgeStore;

#define AGE_MAX_STORES      4

/**
 * AgeHotplug: one way
 *
 * @name: for names of tests
 * @machine: a machine for it
 * @args: further arguments of QEMU
 * @bus: where the device is plugged
 * @addr: and there
 * @prepare: to be done first
 * @eject: the stores by which a guest lets the device go; returns their number.
 *     They have the device go also if it was not asked to
 * @plug: what the guest does when a new one has come
 */
typedef struct AgeHotplug {
    const char *name;
    const char *machine;
    const char *args;
    const char *bus;
    const char *addr;
    void (*prepare)(AgeDev *d);
    unsigned (*eject)(AgeDev *d, AgeStore *stores);
    void (*plug)(AgeDev *d);
} AgeHotplug;

/* Those of the emulator under test; the last one has no name. */
const AgeHotplug *age_hotplugs(void);

/* That of them which has the device behind a port, without ACPI */
const AgeHotplug *age_hotplug_port(void);

/* Plug it, and give it its addresses. */
void age_hotplug_plug(AgeDev *d, const AgeHotplug *p, bool worker);

/* Do what @p->eject() says, from the test. */
void age_hotplug_eject(AgeDev *d, const AgeHotplug *p);

/* Fail unless there is no device any more, after the event that tells so. */
void age_hotplug_wait_gone(AgeDev *d);

/* Ask the guest for the device, let it go, and wait until it has gone. */
void age_hotplug_unplug(AgeDev *d, const AgeHotplug *p);

/* Where the configuration space of the port is in memory, from prepare() on */
uint64_t age_hotplug_port_config(AgeDev *d);

/* The store to the port that has the device go which is there and is on */
AgeStore age_hotplug_power_off(AgeDev *d);

/* Put code at @addr that does these stores, for %AGE_GUEST_EXEC. */
void age_hotplug_put_code(AgeDev *d, uint64_t addr, const AgeStore *stores,
                          unsigned count);

#endif /* TESTS_AGE_HOTPLUG_H */
