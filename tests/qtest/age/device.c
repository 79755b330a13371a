/*
 * What the tests of age-device do to it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "hw/pci/pci_regs.h"
#include "board.h"
#include "device.h"
#include "qmp.h"

/* Life */

AgeDev *age_dev_start_with(const AgeGuestOptions *options)
{
    AgeDev *d = g_new0(AgeDev, 1);

    d->g = age_guest_start(options);
    d->qts = d->g->qts;
    d->dev = AGE_DEV_SLOT;
    d->memory = d->g->memory;
    d->end = d->g->end;
    age_guest_stop(d->g);
    age_flush_all(d->qts);
    return d;
}

AgeDev *age_dev_start_on(const char *machine, const char *args)
{
    AgeGuestOptions options = { .machine = machine, .args = args };

    return age_dev_start_with(&options);
}

AgeDev *age_dev_start(const char *args)
{
    AgeDev *d = age_dev_start_on(age_board_machine(), args);

    age_dev_enable(d);
    return d;
}

void age_dev_enable(AgeDev *d)
{
    uint64_t window = age_board_pci_window(d->window);

    age_pci_writel(d->qts, d->dev, 0, PCI_BASE_ADDRESS_0, window);
    age_pci_writel(d->qts, d->dev, 0, PCI_BASE_ADDRESS_1, window + 0x1000);
    age_pci_writel(d->qts, d->dev, 0, PCI_COMMAND,
                   PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    d->bar = window;
}

void age_dev_quit(AgeDev *d)
{
    age_guest_quit(d->g);
    g_free(d);
}

/* Registers */

uint64_t age_dev_get(AgeDev *d, unsigned reg)
{
    return qtest_readq(d->qts, d->bar + reg);
}

void age_dev_set(AgeDev *d, unsigned reg, uint64_t value)
{
    qtest_writeq(d->qts, d->bar + reg, value);
}

/* Jobs */

void age_dev_setup(AgeDev *d, unsigned command, uint64_t addr,
                   uint64_t length, uint64_t count)
{
    age_dev_set(d, AGE_DEVICE_COMMAND, command);
    age_dev_set(d, AGE_DEVICE_PATTERN, AGE_DEVICE_PATTERN_SEQUENTIAL);
    age_dev_set(d, AGE_DEVICE_SOURCE, addr);
    age_dev_set(d, AGE_DEVICE_DESTINATION, addr);
    age_dev_set(d, AGE_DEVICE_LENGTH, length);
    age_dev_set(d, AGE_DEVICE_COUNT, count);
    age_dev_set(d, AGE_DEVICE_REPEAT, 1);
}

void age_dev_go(AgeDev *d)
{
    age_dev_set(d, AGE_DEVICE_CONTROL, AGE_DEVICE_CONTROL_START);
}

void age_dev_go_endless(AgeDev *d)
{
    age_dev_setup(d, AGE_DEVICE_COMMAND_WRITE, d->memory, 64 * KiB, 64);
    age_dev_set(d, AGE_DEVICE_REPEAT, 0);
    age_dev_go(d);
    age_dev_wait_bytes(d, 1);
}

void age_dev_wait_bytes(AgeDev *d, uint64_t bytes)
{
    int64_t deadline = 0;

    while (age_dev_get(d, AGE_DEVICE_BYTES) < bytes) {
        age_poll(&deadline);
    }
}

uint64_t age_dev_wait(AgeDev *d)
{
    int64_t deadline = 0;

    while (age_dev_get(d, AGE_DEVICE_STATUS) & AGE_DEVICE_STATUS_BUSY) {
        age_poll(&deadline);
    }
    return age_dev_get(d, AGE_DEVICE_STATUS);
}

void age_dev_stop(AgeDev *d)
{
    age_dev_set(d, AGE_DEVICE_CONTROL, AGE_DEVICE_CONTROL_STOP);
    g_assert_cmphex(age_dev_wait(d), ==, AGE_DEVICE_STATUS_STOPPED);
}

void age_dev_do(AgeDev *d)
{
    age_dev_go(d);
    g_assert_cmphex(age_dev_wait(d), ==, AGE_DEVICE_STATUS_DONE);
}

void age_dev_fail(AgeDev *d, uint64_t code)
{
    age_dev_set(d, AGE_DEVICE_IRQ_STATUS, AGE_DEVICE_IRQ_ALL);
    age_dev_go(d);
    g_assert_cmphex(age_dev_wait(d), ==, AGE_DEVICE_STATUS_ERROR |
                    code << AGE_DEVICE_STATUS_CODE);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_IRQ_STATUS), ==,
                    AGE_DEVICE_IRQ_ERROR);
}

/* Interrupts */

/* In BAR 1: a table with one entry, and bits in its second half */
#define MSIX_TABLE      0x1000
#define MSIX_PENDING    0x1800

bool age_dev_intx(AgeDev *d)
{
    return age_pci_readl(d->qts, d->dev, 0, PCI_COMMAND) >> 16 &
           PCI_STATUS_INTERRUPT;
}

void age_dev_mask_msix(AgeDev *d, bool masked)
{
    qtest_writel(d->qts, d->bar + MSIX_TABLE + PCI_MSIX_ENTRY_VECTOR_CTRL,
                 masked ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0);
}

void age_dev_enable_msix(AgeDev *d, bool on)
{
    unsigned cap = age_pci_capability(d->qts, d->dev, 0, PCI_CAP_ID_MSIX);

    age_pci_writel(d->qts, d->dev, 0, cap, on ? PCI_MSIX_FLAGS_ENABLE << 16
                                              : 0);
}

void age_dev_use_msix(AgeDev *d, uint64_t addr, uint32_t data, bool masked)
{
    uint64_t table = d->bar + MSIX_TABLE;

    qtest_writel(d->qts, table + PCI_MSIX_ENTRY_LOWER_ADDR, addr);
    qtest_writel(d->qts, table + PCI_MSIX_ENTRY_UPPER_ADDR, addr >> 32);
    qtest_writel(d->qts, table + PCI_MSIX_ENTRY_DATA, data);
    age_dev_mask_msix(d, masked);
    age_dev_enable_msix(d, true);
}

bool age_dev_msix_pending(AgeDev *d)
{
    return qtest_readl(d->qts, d->bar + MSIX_PENDING) & 1;
}

/* Memory */

void age_dev_check_young(AgeDev *d, GArray *want)
{
    age_assert_same_pages(age_all_young_pages(d->qts, "memory", true), want);
}

void age_dev_check_stride(AgeDev *d, unsigned command)
{
    uint64_t base = d->memory + 5 * AGE_PAGE;
    GArray *want = age_pages_new();

    age_dev_setup(d, command, base, 8, 100);
    age_dev_set(d, AGE_DEVICE_PATTERN, AGE_DEVICE_PATTERN_STRIDE);
    age_dev_set(d, AGE_DEVICE_STRIDE, 3 * AGE_PAGE);
    age_dev_do(d);
    age_pages_add(want, base, 100, 3 * AGE_PAGE);
    age_dev_check_young(d, want);
}

void age_dev_set_young(AgeDev *d, bool on)
{
    qtest_qmp_assert_success(d->qts, "{ 'execute': 'qom-set', 'arguments': {"
                             " 'path': 'dma0', 'value': %i,"
                             " 'property': 'test-clear-young' } }", on);
}

void age_dev_add_test(const char *name, GTestDataFunc func)
{
    g_autofree char *slices = g_strdup_printf("age/device/%s", name);
    g_autofree char *worker = g_strdup_printf("age/device/worker/%s", name);

    qtest_add_data_func(slices, AGE_DEV, func);
    qtest_add_data_func(worker, AGE_DEV_WORKER, func);
}
