/*
 * Ways of plugging age-device and of having it go, on all boards
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "hw/pci/pci_regs.h"
#include "board.h"
#include "hotplug.h"

/* The host bridge's register that puts configuration space in memory */
#define Q35_PCIEXBAR        0x60
#define Q35_ECAM            0xb0000000ULL
#define ARM_ECAM            0x3f000000ULL

#define ROOT_PORT   "-device pcie-root-port,id=rp0,addr=4,chassis=1"

/* A port that has a slot */

static uint64_t ecam(void)
{
    return age_is_x86() ? Q35_ECAM : ARM_ECAM;
}

uint64_t age_hotplug_port_config(AgeDev *d)
{
    return ecam() + (AGE_DEV_SLOT << 15);
}

static unsigned slot_control(AgeDev *d)
{
    return age_pci_capability(d->qts, AGE_DEV_SLOT, 0, PCI_CAP_ID_EXP) +
           PCI_EXP_SLTCTL;
}

/* Set up the root port, with its slot's power on. */
static void prepare_port(AgeDev *d)
{
    uint32_t window = age_board_pci_window(d->window) >> 16;

    if (age_is_x86()) {
        age_pci_writel(d->qts, 0, 0, Q35_PCIEXBAR, Q35_ECAM | 1);
    }
    age_pci_writel(d->qts, AGE_DEV_SLOT, 0, PCI_PRIMARY_BUS, 0x00010100);
    age_pci_writel(d->qts, AGE_DEV_SLOT, 0, PCI_MEMORY_BASE,
                   window << 16 | window);
    age_pci_writel(d->qts, AGE_DEV_SLOT, 0, PCI_COMMAND,
                   PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    d->dev = AGE_PCI_DEV(1, 0);
}

AgeStore age_hotplug_power_off(AgeDev *d)
{
    return (AgeStore) {
        .addr = age_hotplug_port_config(d) + slot_control(d),
        .value = PCI_EXP_SLTCTL_PWR_OFF | PCI_EXP_SLTCTL_PWR_IND_OFF,
    };
}

/* Its power goes off if it was on. */
static unsigned eject_port(AgeDev *d, AgeStore *stores)
{
    stores[1] = age_hotplug_power_off(d);
    stores[0] = stores[1];
    stores[0].value = PCI_EXP_SLTCTL_PWR_IND_ON;
    return 2;
}

static void plug_port(AgeDev *d)
{
    age_pci_writel(d->qts, AGE_DEV_SLOT, 0, slot_control(d),
                   PCI_EXP_SLTCTL_PWR_IND_ON);
}

/* With ACPI, devices are ejected by registers of the board. */

static unsigned eject_acpi(AgeStore *stores, uint16_t port, unsigned dev)
{
    stores[0] = (AgeStore) {
        .addr = port + AGE_BOARD_EJECT_BUS,
        .port = true,
    };
    stores[1] = (AgeStore) {
        .addr = port + AGE_BOARD_EJECT_DEV,
        .value = 1 << dev,
        .port = true,
    };
    return 2;
}

static unsigned eject_pc(AgeDev *d, AgeStore *stores)
{
    return eject_acpi(stores, AGE_BOARD_PC_EJECT, AGE_DEV_SLOT);
}

static unsigned eject_q35(AgeDev *d, AgeStore *stores)
{
    return eject_acpi(stores, AGE_BOARD_Q35_EJECT, 0);
}

static void nothing(AgeDev *d)
{
}

/* All of them */

static const AgeHotplug hotplugs_x86[] = {
    { "q35-native", "q35", ROOT_PORT " -global ICH9-LPC."
      "acpi-pci-hotplug-with-bridge-support=off", "rp0", "0", prepare_port,
      eject_port, plug_port },
    { "pc", "pc", "", "pci.0", "4", nothing, eject_pc, nothing },
    { "q35-acpi", "q35", ROOT_PORT, "rp0", "0", prepare_port, eject_q35,
      nothing },
    { },
};

static const AgeHotplug hotplugs_arm[] = {
    { "virt", "virt,highmem-ecam=off", ROOT_PORT, "rp0", "0", prepare_port,
      eject_port, plug_port },
    { },
};

const AgeHotplug *age_hotplugs(void)
{
    return age_is_x86() ? hotplugs_x86 : hotplugs_arm;
}

const AgeHotplug *age_hotplug_port(void)
{
    return &age_hotplugs()[0];
}

void age_hotplug_plug(AgeDev *d, const AgeHotplug *p, bool worker)
{
    qtest_qmp_device_add(d->qts, "age-device", "dma0",
                         "{ 'bus': %s, 'addr': %s, 'worker': %i }", p->bus,
                         p->addr, worker);
    p->plug(d);
    age_dev_enable(d);
}

void age_hotplug_eject(AgeDev *d, const AgeHotplug *p)
{
    AgeStore stores[AGE_MAX_STORES];
    unsigned count = p->eject(d, stores);

    for (unsigned i = 0; i < count; i++) {
        if (stores[i].port) {
            qtest_outl(d->qts, stores[i].addr, stores[i].value);
        } else {
            qtest_writel(d->qts, stores[i].addr, stores[i].value);
        }
    }
}

void age_hotplug_wait_gone(AgeDev *d)
{
    qtest_qmp_eventwait(d->qts, "DEVICE_DELETED");
    g_assert_cmphex(age_pci_readl(d->qts, d->dev, 0, 0), ==, ~0U);
}

void age_hotplug_unplug(AgeDev *d, const AgeHotplug *p)
{
    qtest_qmp_device_del_send(d->qts, "dma0");
    age_hotplug_eject(d, p);
    age_hotplug_wait_gone(d);
}

/* Code that uses no register of the guest's own */

static void put(GByteArray *code, uint64_t bytes, unsigned count)
{
    uint8_t le[8];

    stq_le_p(le, bytes);
    g_byte_array_append(code, le, count);
}

/* A port needs %eax and %edx, which %r9 and %r10 keep meanwhile. */
static void put_x86(GByteArray *code, const AgeStore *s)
{
    if (s->port) {
        put(code, 0xd28941c18949, 6);   /* mov %rax, %r9; mov %edx, %r10d */
        put(code, 0xba, 1);             /* mov $addr, %edx */
        put(code, s->addr, 4);
        put(code, 0xb8, 1);             /* mov $value, %eax */
        put(code, s->value, 4);
        put(code, 0xef, 1);             /* out %eax, %dx */
        put(code, 0xd28944c8894c, 6);   /* mov %r9, %rax; mov %r10d, %edx */
    } else {
        put(code, 0xb849, 2);           /* movabs $addr, %r8 */
        put(code, s->addr, 8);
        put(code, 0x00c741, 3);         /* movl $value, (%r8) */
        put(code, s->value, 4);
    }
}

/* @op of 16 bits @imm for the lower or the upper half of register @reg */
static void put_move(GByteArray *code, uint32_t op, unsigned reg, bool upper,
                     uint32_t imm)
{
    put(code, op | upper << 21 | (upper ? imm >> 16 : imm & 0xffff) << 5 | reg,
        4);
}

static void put_arm(GByteArray *code, const AgeStore *s)
{
    g_assert(!s->port && s->addr == (uint32_t)s->addr);
    put_move(code, 0xd2800000, 12, false, s->addr);     /* movz x12 */
    put_move(code, 0xf2800000, 12, true, s->addr);      /* movk x12 */
    put_move(code, 0x52800000, 13, false, s->value);    /* movz w13 */
    put_move(code, 0x72800000, 13, true, s->value);     /* movk w13 */
    put(code, 0xb900018d, 4);                           /* str w13, [x12] */
}

void age_hotplug_put_code(AgeDev *d, uint64_t addr, const AgeStore *stores,
                          unsigned count)
{
    g_autoptr(GByteArray) code = g_byte_array_new();

    for (unsigned i = 0; i < count; i++) {
        if (age_is_x86()) {
            put_x86(code, &stores[i]);
        } else {
            put_arm(code, &stores[i]);
        }
    }
    put(code, age_arch()->ret, 4);
    qtest_memwrite(d->qts, addr, code->data, code->len);
}
