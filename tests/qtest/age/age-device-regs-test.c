/*
 * age-device: its registers, whatever is written to them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/host-utils.h"
#include "qemu/units.h"
#include "hw/pci/pci_regs.h"
#include "board.h"
#include "device.h"
#include "qmp.h"

/*
 * Accesses of all sizes at all offsets.  The bus makes aligned ones of them, of
 * which those of 4 and 8 bytes reach the register.
 */

#define BEFORE  UINT64_C(0x123456789abcdef0)

/* The bits of a register that an access reaches */
static uint64_t reached(unsigned offset, unsigned size)
{
    uint64_t bits = 0;
    unsigned piece;

    for (; size && offset < 8; offset += piece, size -= piece) {
        piece = MIN(pow2floor(size), offset ? offset & -offset : 8);
        if (piece >= 4) {
            bits |= MAKE_64BIT_MASK(8 * offset, 8 * piece);
        }
    }
    return bits;
}

static void check_write(AgeDev *d, unsigned reg, unsigned offset,
                        unsigned size)
{
    const uint64_t ones = ~0ULL;

    age_dev_set(d, reg, BEFORE);
    qtest_memwrite(d->qts, d->bar + reg + offset, &ones, size);
    g_assert_cmphex(age_dev_get(d, reg), ==, BEFORE | reached(offset, size));
}

static void check_read(AgeDev *d, unsigned reg, unsigned offset, unsigned size)
{
    uint64_t bits = reached(offset, size), got = 0;

    age_dev_set(d, reg, BEFORE);
    qtest_memread(d->qts, d->bar + reg + offset, &got, size);
    g_assert_cmphex(got << 8 * offset & bits, ==, BEFORE & bits);
}

static void check_param(AgeDev *d, unsigned reg)
{
    for (unsigned size = 1; size <= 8; size *= 2) {
        for (unsigned offset = 0; offset < 8; offset++) {
            check_write(d, reg, offset, size);
            check_read(d, reg, offset, size);
        }
    }
    age_dev_set(d, reg, ~0ULL);
    g_assert_cmphex(age_dev_get(d, reg), ==, ~0ULL);
    age_dev_set(d, reg, 0);
    g_assert_cmphex(age_dev_get(d, reg), ==, 0);
}

static void check_constant(AgeDev *d, unsigned reg)
{
    uint64_t value = age_dev_get(d, reg);

    age_dev_set(d, reg, ~value);
    g_assert_cmphex(age_dev_get(d, reg), ==, value);
}

static void check_constants(AgeDev *d)
{
    check_constant(d, AGE_DEVICE_ID);
    check_constant(d, AGE_DEVICE_FEATURES);
    check_constant(d, AGE_DEVICE_STATUS);
    for (unsigned reg = AGE_DEVICE_BYTES; reg < AGE_DEVICE_BAR_SIZE;
         reg += 8) {
        check_constant(d, reg);
    }
}

static void test_registers(const void *args)
{
    AgeDev *d = age_dev_start(args);

    g_assert_cmphex(age_pci_readl(d->qts, d->dev, 0, 0), ==, 0x10f01af4);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_ID), ==, AGE_DEVICE_ID_VALUE);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_FEATURES), ==,
                    AGE_DEVICE_FEATURE_YOUNG | (strstr(args, "worker") ?
                    AGE_DEVICE_FEATURE_WORKER : 0));
    g_assert_cmpuint(age_dev_get(d, AGE_DEVICE_COUNT), ==, 1);
    g_assert_cmpuint(age_dev_get(d, AGE_DEVICE_REPEAT), ==, 1);
    check_constants(d);
    for (unsigned reg = AGE_DEVICE_COMMAND; reg <= AGE_DEVICE_REPEAT;
         reg += 8) {
        check_param(d, reg);
    }
    check_constants(d);
    age_dev_quit(d);
}

/* Nothing but the start bit starts a job, and stopping prevails. */
static void check_control(AgeDev *d)
{
    age_dev_set(d, AGE_DEVICE_CONTROL, 0);
    age_dev_set(d, AGE_DEVICE_CONTROL, ~(AGE_DEVICE_CONTROL_START |
                                         AGE_DEVICE_CONTROL_STOP));
    age_dev_set(d, AGE_DEVICE_CONTROL, ~0ULL);
    qtest_writel(d->qts, d->bar + AGE_DEVICE_CONTROL + 4, ~0U);
    qtest_writew(d->qts, d->bar + AGE_DEVICE_CONTROL,
                 AGE_DEVICE_CONTROL_START);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_STATUS), ==, 0);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_CONTROL), ==, 0);
    qtest_writel(d->qts, d->bar + AGE_DEVICE_CONTROL,
                 AGE_DEVICE_CONTROL_START);
    g_assert_cmphex(age_dev_wait(d), ==, AGE_DEVICE_STATUS_DONE);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_CONTROL), ==, 0);
}

static void check_irq_status(AgeDev *d)
{
    age_dev_set(d, AGE_DEVICE_IRQ_STATUS, 0);
    age_dev_set(d, AGE_DEVICE_IRQ_STATUS, ~AGE_DEVICE_IRQ_DONE);
    qtest_writel(d->qts, d->bar + AGE_DEVICE_IRQ_STATUS + 4, ~0U);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_IRQ_STATUS), ==,
                    AGE_DEVICE_IRQ_DONE);
    qtest_writel(d->qts, d->bar + AGE_DEVICE_IRQ_STATUS, ~0U);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_IRQ_STATUS), ==, 0);
}

static void check_irq_enable(AgeDev *d)
{
    age_dev_set(d, AGE_DEVICE_IRQ_ENABLE, ~0ULL);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_IRQ_ENABLE), ==,
                    AGE_DEVICE_IRQ_ALL);
    qtest_writel(d->qts, d->bar + AGE_DEVICE_IRQ_ENABLE + 4, 0);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_IRQ_ENABLE), ==,
                    AGE_DEVICE_IRQ_ALL);
    qtest_writel(d->qts, d->bar + AGE_DEVICE_IRQ_ENABLE, 0xfffffffd);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_IRQ_ENABLE), ==,
                    AGE_DEVICE_IRQ_DONE);
}

static void test_control(const void *args)
{
    AgeDev *d = age_dev_start(args);

    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, d->memory, 8, 1);
    check_control(d);
    check_irq_status(d);
    check_irq_enable(d);
    age_dev_quit(d);
}

/* While a job is busy, what it does can't be changed. */
static void test_busy(const void *args)
{
    AgeDev *d = age_dev_start(args);

    for (unsigned i = 0; i < 20; i++) {
        age_dev_go_endless(d);
        age_dev_go(d);
        for (unsigned reg = AGE_DEVICE_COMMAND; reg <= AGE_DEVICE_REPEAT;
             reg += 8) {
            check_constant(d, reg);
            qtest_writel(d->qts, d->bar + reg, ~0U);
        }
        g_assert_cmpuint(age_dev_get(d, AGE_DEVICE_LENGTH), ==, 64 * KiB);
        g_assert_cmphex(age_dev_get(d, AGE_DEVICE_STATUS), ==,
                        AGE_DEVICE_STATUS_BUSY);
        age_dev_set(d, AGE_DEVICE_CONTROL, ~0ULL);
        g_assert_cmphex(age_dev_wait(d), ==, AGE_DEVICE_STATUS_STOPPED);
    }
    age_dev_set(d, AGE_DEVICE_CONTROL, AGE_DEVICE_CONTROL_STOP);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_STATUS), ==,
                    AGE_DEVICE_STATUS_STOPPED);
    age_dev_quit(d);
}

/* Anything in any register, at any time; in the end it works as ever. */

static uint64_t hostile_value(AgeDev *d)
{
    const uint64_t values[] = {
        0, 1, 2, 3, 4, 7, 4095, 4096, 64 * KiB + 1, 1ULL << 63, ~0ULL,
        d->memory, d->end - 1, d->bar, d->bar + AGE_DEVICE_CONTROL,
        (uint64_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int(),
    };

    return values[g_test_rand_int_range(0, ARRAY_SIZE(values))];
}

/* Any number of bytes anywhere, up to the end of the page of MSI-X */
static void hostile_bytes(AgeDev *d)
{
    unsigned size = g_test_rand_int_range(1, 20);
    unsigned at = g_test_rand_int_range(0, 2 * AGE_DEVICE_BAR_SIZE - size);
    uint8_t data[20];

    if (g_test_rand_bit()) {
        at %= AGE_DEVICE_REGS_END;
    }
    memset(data, g_test_rand_int_range(0, 256), sizeof(data));
    if (g_test_rand_bit()) {
        qtest_memwrite(d->qts, d->bar + at, data, size);
    } else {
        qtest_memread(d->qts, d->bar + at, data, size);
    }
}

static void hostile_access(AgeDev *d)
{
    unsigned reg = g_test_rand_int_range(0, AGE_DEVICE_REGS_END + 8);

    switch (g_test_rand_int_range(0, 6)) {
    case 0:
        age_dev_set(d, AGE_DEVICE_CONTROL, g_test_rand_int_range(1, 4));
        break;
    case 1:
        qtest_writel(d->qts, d->bar + (reg & ~3), hostile_value(d));
        break;
    case 2:
        age_dev_get(d, reg);
        break;
    case 3:
        hostile_bytes(d);
        break;
    case 4:
        age_pci_writel(d->qts, d->dev, 0, PCI_COMMAND, PCI_COMMAND_MEMORY |
                       (g_test_rand_bit() ? PCI_COMMAND_MASTER : 0));
        break;
    default:
        age_dev_set(d, reg & ~7, hostile_value(d));
        break;
    }
}

static void test_hostile(const void *args)
{
    AgeDev *d = age_dev_start(args);

    for (unsigned i = 0; i < 20000; i++) {
        hostile_access(d);
    }
    age_dev_set(d, AGE_DEVICE_CONTROL, AGE_DEVICE_CONTROL_STOP);
    age_dev_wait(d);
    age_dev_enable(d);
    g_array_unref(age_all_young_pages(d->qts, "memory", true));
    age_dev_check_stride(d, AGE_DEVICE_COMMAND_READ);
    age_dev_quit(d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    age_dev_add_test("registers", test_registers);
    age_dev_add_test("control", test_control);
    age_dev_add_test("busy", test_busy);
    age_dev_add_test("hostile", test_hostile);
    return g_test_run();
}
