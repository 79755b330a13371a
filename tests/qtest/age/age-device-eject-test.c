/*
 * age-device: unplugged by several at once, and by itself
 *
 * A guest ejects a device by a store.  Nothing keeps it from doing so on two
 * vCPUs, or while the bus of the device is reset, and the store may as well be
 * the message of an interrupt.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "hw/pci/pci_regs.h"
#include "board.h"
#include "hotplug.h"

#define ROUNDS          40

/* How often a vCPU ejects in a round */
#define TIMES           20

static AgeDev *start(const AgeHotplug *p, const char *args)
{
    g_autofree char *all = g_strdup_printf("%s %s", p->args, args);
    AgeGuestOptions options = {
        .machine = p->machine,
        .cpus = 2,
        .args = all,
    };

    return age_dev_start_with(&options);
}

/* Have a vCPU do what is at @code. */
static void go(AgeDev *d, unsigned cpu, uint64_t code)
{
    age_guest_send(d->g, cpu, AGE_GUEST_EXEC, code, TIMES, 0);
}

/* Whether there was still a device is known from an event. */
static void device_del(AgeDev *d)
{
    qobject_unref(qtest_qmp(d->qts, "{ 'execute': 'device_del',"
                            " 'arguments': { 'id': 'dma0' } }"));
}

/*
 * Two vCPUs and the test have the device go at the same time, with a job in
 * hands that does not end by itself.  The last of them to come finds nothing.
 */
static void check_ejects(AgeDev *d, const AgeHotplug *p, uint64_t code[2])
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        age_hotplug_plug(d, p, i % 4 != 3);
        age_dev_go_endless(d);
        go(d, 0, code[0]);
        go(d, 1, code[1]);
        age_guest_cont(d->g);
        if (i % 2) {
            device_del(d);
        }
        age_hotplug_eject(d, p);
        age_guest_wait(d->g, 0);
        age_guest_wait(d->g, 1);
        /* One that runs may hold on to what it sees of the old memory. */
        age_guest_stop(d->g);
        age_hotplug_wait_gone(d);
    }
}

static void test_ejects(const void *data)
{
    const AgeHotplug *p = data;
    AgeDev *d = start(p, "");
    uint64_t code[2] = { d->end - AGE_PAGE, d->end - AGE_PAGE };
    AgeStore stores[AGE_MAX_STORES];

    p->prepare(d);
    age_hotplug_put_code(d, code[0], stores, p->eject(d, stores));
    check_ejects(d, p, code);
    age_dev_quit(d);
}

/* One of the vCPUs resets the bus of the device rather than eject it. */
static void test_bus_reset(const void *data)
{
    const AgeHotplug *p = data;
    AgeDev *d = start(p, "");
    uint64_t code[2] = { d->end - AGE_PAGE, d->end - 2 * AGE_PAGE };
    AgeStore stores[AGE_MAX_STORES], reset[2];

    p->prepare(d);
    age_hotplug_put_code(d, code[0], stores, p->eject(d, stores));
    reset[0] = (AgeStore) {
        .addr = age_hotplug_port_config(d) + PCI_INTERRUPT_LINE,
        .value = PCI_BRIDGE_CTL_BUS_RESET << 16,
    };
    reset[1] = reset[0];
    reset[1].value = 0;
    age_hotplug_put_code(d, code[1], reset, 2);
    check_ejects(d, p, code);
    age_dev_quit(d);
}

/* Have the end of a job turn off the power of the device's slot. */
static void aim_at_port(AgeDev *d)
{
    AgeStore off = age_hotplug_power_off(d);

    age_dev_use_msix(d, off.addr, off.value, false);
    age_dev_set(d, AGE_DEVICE_IRQ_ENABLE, AGE_DEVICE_IRQ_ALL);
}

/*
 * The end of a job is the end of the device, also if that has its registers in
 * no address space any more, which would keep it.
 */
static void test_unplugs_itself(const void *data)
{
    const AgeHotplug *p = data;
    AgeDev *d = age_dev_start_on(p->machine, p->args);

    p->prepare(d);
    for (unsigned i = 0; i < 8; i++) {
        age_hotplug_plug(d, p, i % 2);
        aim_at_port(d);
        age_dev_setup(d, AGE_DEVICE_COMMAND_READ, d->memory, 8,
                      i < 4 ? 1 : 10000);
        age_dev_go(d);
        if (i >= 4) {
            age_pci_writel(d->qts, d->dev, 0, PCI_COMMAND, PCI_COMMAND_MASTER);
        }
        age_hotplug_wait_gone(d);
    }
    age_dev_quit(d);
}

static void add(const char *name, const AgeHotplug *p, GTestDataFunc func)
{
    g_autofree char *path = g_strdup_printf("age/device/%s", name);

    qtest_add_data_func(path, p, func);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (const AgeHotplug *p = age_hotplugs(); p->name; p++) {
        g_autofree char *name = g_strdup_printf("ejects/%s", p->name);

        add(name, p, test_ejects);
    }
    add("bus-reset", age_hotplug_port(), test_bus_reset);
    add("unplugs-itself", age_hotplug_port(), test_unplugs_itself);
    return g_test_run();
}
