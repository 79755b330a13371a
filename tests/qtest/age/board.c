/*
 * What the age tests do to the hardware of a board, in the guest's place
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "hw/pci/pci_regs.h"
#include "board.h"
#include "guest.h"

/* Where ACPI's memory hotplug registers are: an I/O port, or memory on Arm */
#define X86_HOTPLUG         0x0a00
#define ARM_HOTPLUG         0x09070000
#define HOTPLUG_SLOT        0x00
#define HOTPLUG_FLAGS       0x14
#define HOTPLUG_EJECT       0x08

#define X86_PCI_ADDRESS     0xcf8
#define X86_PCI_DATA        0xcfc
#define ARM_PCI_ECAM        0x3f000000

const char *age_board_machine(void)
{
    return age_is_x86() ? "pc" : "virt,highmem-ecam=off";
}

uint64_t age_board_pci_window(unsigned index)
{
    static const uint64_t x86[] = { 0xe0000000, 0xf0000000 };
    static const uint64_t arm[] = { 0x10000000, 0x20000000 };

    return age_is_x86() ? x86[index] : arm[index];
}

/* On x86: select the register and return the port of its data */
static uint16_t pci_select(QTestState *qts, unsigned devfn, unsigned reg)
{
    qtest_outl(qts, X86_PCI_ADDRESS, 0x80000000 | devfn << 8 | (reg & ~3));
    return X86_PCI_DATA + (reg & 3);
}

/* On Arm: where the register is */
static uint64_t pci_address(unsigned devfn, unsigned reg)
{
    return ARM_PCI_ECAM + (devfn << 12) + reg;
}

void age_pci_writeb(QTestState *qts, unsigned dev, unsigned fn, unsigned reg,
                    uint8_t value)
{
    unsigned devfn = dev << 3 | fn;

    if (age_is_x86()) {
        qtest_outb(qts, pci_select(qts, devfn, reg), value);
    } else {
        qtest_writeb(qts, pci_address(devfn, reg), value);
    }
}

void age_pci_writel(QTestState *qts, unsigned dev, unsigned fn, unsigned reg,
                    uint32_t value)
{
    unsigned devfn = dev << 3 | fn;

    if (age_is_x86()) {
        qtest_outl(qts, pci_select(qts, devfn, reg), value);
    } else {
        qtest_writel(qts, pci_address(devfn, reg), value);
    }
}

uint32_t age_pci_readl(QTestState *qts, unsigned dev, unsigned fn,
                       unsigned reg)
{
    unsigned devfn = dev << 3 | fn;

    return age_is_x86() ? qtest_inl(qts, pci_select(qts, devfn, reg)) :
           qtest_readl(qts, pci_address(devfn, reg));
}

unsigned age_pci_capability(QTestState *qts, unsigned dev, unsigned fn,
                            uint8_t id)
{
    unsigned at = age_pci_readl(qts, dev, fn, PCI_CAPABILITY_LIST) & 0xfc;
    uint32_t head;

    for (; at; at = head >> 8 & 0xfc) {
        head = age_pci_readl(qts, dev, fn, at);
        if ((head & 0xff) == id) {
            return at;
        }
    }
    g_assert_not_reached();
}

void age_plug_dimm(QTestState *qts, unsigned index, const char *size)
{
    g_autofree char *memory = g_strdup_printf("memory%u", index);
    g_autofree char *dimm = g_strdup_printf("dimm%u", index);
    uint64_t bytes;

    g_assert_cmpint(qemu_strtosz(size, NULL, &bytes), ==, 0);
    qtest_qmp_assert_success(qts, "{ 'execute': 'object-add', 'arguments': {"
                             " 'qom-type': 'memory-backend-ram', 'id': %s,"
                             " 'size': %" PRIu64 " } }", memory, bytes);
    qtest_qmp_device_add(qts, "pc-dimm", dimm, "{ 'memdev': %s, 'slot': %u }",
                         memory, index);
}

static void eject(QTestState *qts, unsigned index)
{
    if (age_is_x86()) {
        qtest_outl(qts, X86_HOTPLUG + HOTPLUG_SLOT, index);
        qtest_outb(qts, X86_HOTPLUG + HOTPLUG_FLAGS, HOTPLUG_EJECT);
    } else {
        qtest_writel(qts, ARM_HOTPLUG + HOTPLUG_SLOT, index);
        qtest_writeb(qts, ARM_HOTPLUG + HOTPLUG_FLAGS, HOTPLUG_EJECT);
    }
}

void age_unplug_dimm(QTestState *qts, unsigned index)
{
    g_autofree char *memory = g_strdup_printf("memory%u", index);
    g_autofree char *dimm = g_strdup_printf("dimm%u", index);

    qtest_qmp_device_del_send(qts, dimm);
    eject(qts, index);
    qtest_qmp_eventwait(qts, "DEVICE_DELETED");
    qtest_qmp_assert_success(qts, "{ 'execute': 'object-del',"
                             " 'arguments': { 'id': %s } }", memory);
}

/* System management mode */

#define APM_CONTROL     0xb2

/* Power management of the "pc" machine, and where it lets the port cause SMI */
#define PM_DEV          1
#define PM_FUNCTION     3
#define PM_DEVACTB      0x5b
#define PM_APMC_EN      0x02

/* addr32 movb $1, addr; rsm */
static void put_smm_code(QTestState *qts, uint32_t addr)
{
    uint8_t code[] = { 0x67, 0xc6, 0x05, 0, 0, 0, 0, 1, 0x0f, 0xaa };

    stl_le_p(&code[3], addr);
    qtest_memwrite(qts, AGE_SMM_CODE, code, sizeof(code));
}

void age_store_in_smm(QTestState *qts, uint64_t gpa)
{
    int64_t deadline = 0;

    put_smm_code(qts, gpa + AGE_GUEST_BYTE);
    age_pci_writeb(qts, PM_DEV, PM_FUNCTION, PM_DEVACTB, PM_APMC_EN);
    qtest_outb(qts, APM_CONTROL, 1);
    while (qtest_readb(qts, gpa + AGE_GUEST_BYTE) != 1) {
        age_poll(&deadline);
    }
}
