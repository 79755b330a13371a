/*
 * age-device: resets, stops and unplugging under load
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qobject/qlist.h"
#include "hw/pci/pci_regs.h"
#include "age/board.h"
#include "age/device.h"
#include "age/harvester.h"
#include "age/qmp.h"

static void test_reset(const void *args)
{
    AgeDev *d = age_dev_start(args);

    age_dev_set(d, AGE_DEVICE_IRQ_ENABLE, AGE_DEVICE_IRQ_ALL);
    age_dev_go_endless(d);
    age_guest_reset(d->g);
    age_dev_enable(d);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_STATUS), ==, 0);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_BYTES), ==, 0);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_IRQ_ENABLE), ==, 0);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_COMMAND), ==, 0);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_REPEAT), ==, 1);
    age_dev_go_endless(d);
    age_dev_quit(d);
}

/* A machine that is stopped has its jobs rest. */
static void test_stop(const void *args)
{
    AgeDev *d = age_dev_start(args);
    uint64_t bytes;

    age_guest_cont(d->g);
    age_dev_go_endless(d);
    for (unsigned i = 0; i < 5; i++) {
        age_guest_stop(d->g);
        bytes = age_dev_get(d, AGE_DEVICE_BYTES);
        g_assert_cmphex(age_dev_get(d, AGE_DEVICE_STATUS), ==,
                        AGE_DEVICE_STATUS_BUSY);
        g_usleep(1000);
        g_assert_cmpuint(age_dev_get(d, AGE_DEVICE_BYTES), ==, bytes);
        age_guest_cont(d->g);
        age_dev_wait_bytes(d, bytes + 1);
    }
    age_guest_stop(d->g);
    age_dev_set(d, AGE_DEVICE_CONTROL, AGE_DEVICE_CONTROL_STOP);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_STATUS), ==,
                    AGE_DEVICE_STATUS_STOPPED);
    age_dev_quit(d);
}

/*
 * Unplugging.  @bus is where it is plugged; @prepare is done first, @unplug to
 * have it go after it was asked for, and @plug when a new one has come.
 */
typedef struct Hotplug {
    const char *name;
    const char *machine;
    const char *args;
    const char *bus;
    void (*prepare)(AgeDev *d);
    void (*unplug)(AgeDev *d);
    void (*plug)(AgeDev *d);
} Hotplug;

/* Where the configuration space is in memory, of the host bridge */
#define Q35_PCIEXBAR        0x60

#define ROOT_PORT   "-device pcie-root-port,id=rp0,addr=4,chassis=1"

/* Set up the root port, with its slot's power on. */
static void prepare_port(AgeDev *d)
{
    uint32_t window = age_board_pci_window(0) >> 16;

    age_pci_writel(d->qts, AGE_DEV_SLOT, 0, PCI_PRIMARY_BUS, 0x00010100);
    age_pci_writel(d->qts, AGE_DEV_SLOT, 0, PCI_MEMORY_BASE,
                   window << 16 | window);
    age_pci_writel(d->qts, AGE_DEV_SLOT, 0, PCI_COMMAND,
                   PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    d->dev = AGE_PCI_DEV(1, 0);
}

/* What a guest does about the port's slot when a device comes and goes */
static void set_port(AgeDev *d, uint16_t control)
{
    unsigned cap = age_pci_capability(d->qts, AGE_DEV_SLOT, 0,
                                      PCI_CAP_ID_EXP);

    age_pci_writel(d->qts, AGE_DEV_SLOT, 0, cap + PCI_EXP_SLTCTL, control);
}

static void unplug_port(AgeDev *d)
{
    set_port(d, PCI_EXP_SLTCTL_PWR_OFF | PCI_EXP_SLTCTL_PWR_IND_OFF);
}

static void plug_port(AgeDev *d)
{
    set_port(d, PCI_EXP_SLTCTL_PWR_IND_ON);
}

/* With ACPI, devices are ejected by registers of the board. */
static void unplug_pc(AgeDev *d)
{
    age_pci_eject(d->qts, AGE_BOARD_PC_EJECT, AGE_DEV_SLOT);
}

static void unplug_q35(AgeDev *d)
{
    age_pci_eject(d->qts, AGE_BOARD_Q35_EJECT, 0);
}

static void nothing(AgeDev *d)
{
}

static const Hotplug hotplugs_x86[] = {
    { "pc", "pc", "", "pci.0", nothing, unplug_pc, nothing },
    { "q35-acpi", "q35", ROOT_PORT, "rp0", prepare_port, unplug_q35,
      nothing },
    { "q35-native", "q35", ROOT_PORT " -global ICH9-LPC."
      "acpi-pci-hotplug-with-bridge-support=off", "rp0", prepare_port,
      unplug_port, plug_port },
};

static const Hotplug hotplugs_arm[] = {
    { "virt", "virt,highmem-ecam=off", ROOT_PORT, "rp0", prepare_port,
      unplug_port, plug_port },
};

static void plug(AgeDev *d, const Hotplug *p, bool worker)
{
    qtest_qmp_device_add(d->qts, "age-device", "dma0",
                         "{ 'bus': %s, 'addr': %s, 'worker': %i }", p->bus,
                         p->prepare == nothing ? "4" : "0", worker);
    p->plug(d);
    age_dev_enable(d);
}

static void unplug(AgeDev *d, const Hotplug *p)
{
    qtest_qmp_device_del_send(d->qts, "dma0");
    p->unplug(d);
    qtest_qmp_eventwait(d->qts, "DEVICE_DELETED");
    g_assert_cmphex(age_pci_readl(d->qts, d->dev, 0, 0), ==, ~0U);
}

/* Is its MMU on the chain? */
static bool answers(AgeDev *d)
{
    g_autoptr(QDict) result = NULL;
    QList *ranges = qlist_new(), *all;
    QDict *range;

    age_add_test_range(ranges, d->memory, d->end);
    result = age_harvest(d->qts, ranges, NULL);
    range = qobject_to(QDict, qlist_peek(qdict_get_qlist(result, "ranges")));
    all = qdict_get_qlist(range, "answers");
    return qlist_size(all) == 2;
}

/* The harvester has done some passes that began after now. */
static void let_harvest(AgeHarvester *h)
{
    age_harvester_wait(h, qatomic_read(&h->passes) + 3);
}

/* DMA goes on, the vCPU uses the same memory, and all of it is harvested. */
static void check_unplug(AgeDev *d, const Hotplug *p, AgeHarvester *h)
{
    for (unsigned i = 0; i < 6; i++) {
        plug(d, p, i % 2);
        g_assert(answers(d));
        age_dev_go_endless(d);
        let_harvest(h);
        unplug(d, p);
        let_harvest(h);
        g_assert(!answers(d));
    }
}

static void test_unplug(const void *data)
{
    const Hotplug *p = data;
    AgeHarvester *h = age_harvester_new();
    g_autofree char *monitor = age_harvester_args(h);
    g_autofree char *args = g_strdup_printf("%s %s", p->args, monitor);
    AgeDev *d = age_dev_start_on(p->machine, args);

    p->prepare(d);
    age_guest_cont(d->g);
    age_guest_send(d->g, 0, AGE_GUEST_WRITE | AGE_GUEST_REPEAT, d->memory,
                   300, AGE_PAGE);
    /* Unless kicked, a vCPU does not let go what it sees of the old memory. */
    age_harvester_start(h, d->memory, d->end, "{ 'flush': 'request' }");
    check_unplug(d, p, h);
    age_harvester_stop(h);
    /* Another one does its work as ever. */
    age_guest_stop(d->g);
    plug(d, p, true);
    age_flush_all(d->qts);
    age_dev_check_stride(d, AGE_DEVICE_COMMAND_COPY);
    age_harvester_free(h);
    age_dev_quit(d);
}

/* Where the configuration space of the port is in memory */
static uint64_t port_in_memory(AgeDev *d)
{
    uint64_t ecam = 0x3f000000;

    if (age_is_x86()) {
        ecam = 0xb0000000;
        age_pci_writel(d->qts, 0, 0, Q35_PCIEXBAR, ecam | 1);
    }
    return ecam + (AGE_DEV_SLOT << 15);
}

/* Have the interrupt of the device turn off the power of its slot. */
static void aim_at_port(AgeDev *d)
{
    unsigned exp = age_pci_capability(d->qts, AGE_DEV_SLOT, 0,
                                      PCI_CAP_ID_EXP);
    unsigned msix = age_pci_capability(d->qts, d->dev, 0, PCI_CAP_ID_MSIX);
    uint64_t table = d->bar + AGE_DEVICE_BAR_SIZE;

    qtest_writeq(d->qts, table + PCI_MSIX_ENTRY_LOWER_ADDR,
                 port_in_memory(d) + exp + PCI_EXP_SLTCTL);
    qtest_writel(d->qts, table + PCI_MSIX_ENTRY_DATA,
                 PCI_EXP_SLTCTL_PWR_OFF | PCI_EXP_SLTCTL_PWR_IND_OFF);
    qtest_writel(d->qts, table + PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
    age_pci_writel(d->qts, d->dev, 0, msix, PCI_MSIX_FLAGS_ENABLE << 16);
    age_dev_set(d, AGE_DEVICE_IRQ_ENABLE, AGE_DEVICE_IRQ_ALL);
}

/* The end of a job is the end of the device. */
static void test_unplugs_itself(const void *data)
{
    const Hotplug *p = data;
    AgeDev *d = age_dev_start_on(p->machine, p->args);

    p->prepare(d);
    for (unsigned i = 0; i < 4; i++) {
        plug(d, p, i % 2);
        aim_at_port(d);
        age_dev_setup(d, AGE_DEVICE_COMMAND_READ, d->memory, 8, 1);
        age_dev_go(d);
        qtest_qmp_eventwait(d->qts, "DEVICE_DELETED");
        g_assert_cmphex(age_pci_readl(d->qts, d->dev, 0, 0), ==, ~0U);
    }
    age_dev_quit(d);
}

static void add_unplug(const Hotplug *p)
{
    g_autofree char *name = g_strdup_printf("age/device/unplug/%s", p->name);

    qtest_add_data_func(name, p, test_unplug);
}

int main(int argc, char **argv)
{
    const Hotplug *hotplugs;
    unsigned count;

    g_test_init(&argc, &argv, NULL);

    hotplugs = age_is_x86() ? hotplugs_x86 : hotplugs_arm;
    count = age_is_x86() ? ARRAY_SIZE(hotplugs_x86) :
            ARRAY_SIZE(hotplugs_arm);
    age_dev_add_test("reset", test_reset);
    age_dev_add_test("stop", test_stop);
    for (unsigned i = 0; i < count; i++) {
        add_unplug(&hotplugs[i]);
    }
    qtest_add_data_func("age/device/unplugs-itself", &hotplugs[count - 1],
                        test_unplugs_itself);
    return g_test_run();
}
