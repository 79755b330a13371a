/*
 * age-device: jobs that make no sense, or can't be done
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "hw/pci/pci_regs.h"
#include "board.h"
#include "device.h"
#include "qmp.h"

static void test_invalid(const void *args)
{
    AgeDev *d = age_dev_start(args);
    uint64_t base = d->memory;

    age_dev_fail(d, AGE_DEVICE_CODE_INVALID);
    age_dev_setup(d, AGE_DEVICE_COMMAND_FILL + 1, base, 8, 1);
    age_dev_fail(d, AGE_DEVICE_CODE_INVALID);
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, base, 0, 1);
    age_dev_fail(d, AGE_DEVICE_CODE_INVALID);
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, base, 8, 1);
    age_dev_set(d, AGE_DEVICE_PATTERN, ~0ULL);
    age_dev_fail(d, AGE_DEVICE_CODE_INVALID);
    age_dev_set(d, AGE_DEVICE_PATTERN, AGE_DEVICE_PATTERN_RANDOM);
    age_dev_fail(d, AGE_DEVICE_CODE_INVALID);
    age_dev_set(d, AGE_DEVICE_STRIDE, 4096);
    age_dev_set(d, AGE_DEVICE_WINDOW, 4095);
    age_dev_fail(d, AGE_DEVICE_CODE_INVALID);
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, base, ~0ULL, 0);
    age_dev_set(d, AGE_DEVICE_REPEAT, 0);
    age_dev_do(d);
    g_assert_cmpuint(age_dev_get(d, AGE_DEVICE_BYTES), ==, 0);
    age_dev_quit(d);
}

static void test_range(const void *args)
{
    AgeDev *d = age_dev_start(args);

    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, d->memory, ~0ULL, ~0ULL);
    age_dev_fail(d, AGE_DEVICE_CODE_WRAP);
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, ~0ULL, 2, 1);
    age_dev_fail(d, AGE_DEVICE_CODE_WRAP);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_ERROR_ADDRESS), ==, ~0ULL);
    age_dev_setup(d, AGE_DEVICE_COMMAND_COPY, d->memory, 2, 1);
    age_dev_set(d, AGE_DEVICE_DESTINATION, ~0ULL);
    age_dev_fail(d, AGE_DEVICE_CODE_WRAP);
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, ~0ULL, 1, 1);
    age_dev_fail(d, AGE_DEVICE_CODE_DMA);
    age_dev_quit(d);
}

static void test_end_of_memory(const void *args)
{
    AgeDev *d = age_dev_start(args);

    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, d->memory, 1ULL << 62, 1);
    age_dev_fail(d, AGE_DEVICE_CODE_DMA);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_BYTES), ==, d->end - d->memory);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_ERROR_ADDRESS), ==, d->end);
    /* From one end of addresses to the other, step by step */
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, d->memory, 1, 3);
    age_dev_set(d, AGE_DEVICE_PATTERN, AGE_DEVICE_PATTERN_STRIDE);
    age_dev_set(d, AGE_DEVICE_STRIDE, 1ULL << 63);
    age_dev_fail(d, AGE_DEVICE_CODE_DMA);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_STEPS), ==, 1);
    age_dev_quit(d);
}

/*
 * Addresses that no memory has, up to the last one.  Nothing becomes young by
 * them, beyond what page tables can translate either.
 */
static void check_no_memory(AgeDev *d, uint64_t addr, uint64_t length)
{
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, addr, length, 1);
    age_dev_fail(d, AGE_DEVICE_CODE_DMA);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_ERROR_ADDRESS), ==, addr);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_BYTES), ==, 0);
    age_dev_setup(d, AGE_DEVICE_COMMAND_COPY, d->memory, length, 1);
    age_dev_set(d, AGE_DEVICE_DESTINATION, addr);
    age_dev_fail(d, AGE_DEVICE_CODE_DMA);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_ERROR_ADDRESS), ==, addr);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_BYTES), ==, 0);
}

static void test_no_memory(const void *args)
{
    AgeDev *d = age_dev_start(args);

    for (unsigned bit = 40; bit < 64; bit++) {
        check_no_memory(d, 1ULL << bit, 1);
        check_no_memory(d, (1ULL << bit) - 1, 2);
        check_no_memory(d, (1ULL << bit) - 4096, 64 * KiB);
        check_no_memory(d, -(1ULL << bit), 4096);
    }
    check_no_memory(d, -4096ULL, 4096);
    check_no_memory(d, -1ULL, 1);
    /* The pages that copies read, and no others */
    g_assert_cmpuint(age_count(d->qts, d->memory, d->end, true), ==, 16);
    age_dev_check_young(d, age_pages_new());
    age_dev_quit(d);
}

/* The place of each random step follows from the seed, wherever that is. */
static void check_random(AgeDev *d, uint64_t stride, uint64_t window,
                         uint64_t seed)
{
    uint64_t places = window / stride;
    uint64_t want = age_device_random(seed, 0) % places * stride;

    /* From the end of memory on, so that only small offsets have any */
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, d->end, 1, 1);
    age_dev_set(d, AGE_DEVICE_PATTERN, AGE_DEVICE_PATTERN_RANDOM);
    age_dev_set(d, AGE_DEVICE_STRIDE, stride);
    age_dev_set(d, AGE_DEVICE_WINDOW, window);
    age_dev_set(d, AGE_DEVICE_SEED, seed);
    age_dev_fail(d, AGE_DEVICE_CODE_DMA);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_ERROR_ADDRESS), ==,
                    d->end + want);
}

static void test_windows(const void *args)
{
    AgeDev *d = age_dev_start(args);

    check_random(d, 1, 1, 0);
    check_random(d, 4096, 4096, ~0ULL);
    check_random(d, ~0ULL, ~0ULL, 1);
    check_random(d, 1ULL << 62, ~0ULL, 5);
    check_random(d, 4097, 1ULL << 60, 3);
    age_dev_quit(d);
}

/* Numbers of steps that no job comes to the end of: it can be stopped. */
static void check_long(AgeDev *d, uint64_t count, uint64_t repeat)
{
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, d->memory, 1, count);
    age_dev_set(d, AGE_DEVICE_PATTERN, AGE_DEVICE_PATTERN_STRIDE);
    age_dev_set(d, AGE_DEVICE_STRIDE, 0);
    age_dev_set(d, AGE_DEVICE_REPEAT, repeat);
    age_dev_go(d);
    age_dev_wait_bytes(d, 1);
    age_dev_stop(d);
    g_assert_cmpuint(age_dev_get(d, AGE_DEVICE_STEPS), ==,
                     age_dev_get(d, AGE_DEVICE_BYTES));
}

static void test_long(const void *args)
{
    AgeDev *d = age_dev_start(args);

    check_long(d, ~0ULL, 1);
    check_long(d, 1ULL << 63, 0);
    check_long(d, 1, ~0ULL);
    check_long(d, 2, 0);
    check_long(d, ~0ULL, ~0ULL);
    age_dev_quit(d);
}

static void test_own_bar(const void *args)
{
    AgeDev *d = age_dev_start(args);

    for (unsigned c = AGE_DEVICE_COMMAND_READ; c <= AGE_DEVICE_COMMAND_FILL;
         c++) {
        age_dev_setup(d, c, d->bar, 0x1000, 1);
        age_dev_set(d, AGE_DEVICE_FILL, ~0ULL);
        age_dev_fail(d, AGE_DEVICE_CODE_DMA);
        g_assert_cmpuint(age_dev_get(d, AGE_DEVICE_COMMAND), ==, c);
        age_dev_setup(d, c, d->bar + AGE_DEVICE_CONTROL, 8, ~0ULL);
        age_dev_fail(d, AGE_DEVICE_CODE_DMA);
    }
    age_dev_quit(d);
}

/* The page at @addr is not accessed in this way, and does not become young. */
static void check_forbidden(AgeDev *d, unsigned command, uint64_t addr)
{
    uint64_t before = qtest_readq(d->qts, addr);

    age_dev_setup(d, command, addr, AGE_PAGE, 1);
    age_dev_set(d, AGE_DEVICE_FILL, ~before);
    age_dev_fail(d, AGE_DEVICE_CODE_DMA);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_ERROR_ADDRESS), ==, addr);
    g_assert_cmphex(qtest_readq(d->qts, addr), ==, before);
    age_dev_check_young(d, age_pages_new());
}

/* i440FX: which accesses to 16 KiB from 0xc0000 on, and behind, reach memory */
#define I440FX_PAM1         0x5a
#define PAM_READ            0x11
#define PAM_READ_WRITE      0x33
#define PAM1_ADDRESS        0xc0000

static void check_shadow(AgeDev *d)
{
    GArray *want = age_pages_new();

    age_pci_writeb(d->qts, 0, 0, I440FX_PAM1, PAM_READ_WRITE);
    qtest_writeq(d->qts, PAM1_ADDRESS, 0x1234);
    age_pci_writeb(d->qts, 0, 0, I440FX_PAM1, PAM_READ);
    check_forbidden(d, AGE_DEVICE_COMMAND_WRITE, PAM1_ADDRESS);
    check_forbidden(d, AGE_DEVICE_COMMAND_FILL, PAM1_ADDRESS);
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, PAM1_ADDRESS, 8, 1);
    age_dev_do(d);
    age_pages_add(want, PAM1_ADDRESS, 1, 0);
    age_dev_check_young(d, want);
}

/* What can't be written; and what is read by code of a device's */
static void test_read_only(const void *args)
{
    AgeDev *d = age_dev_start(args);

    check_forbidden(d, AGE_DEVICE_COMMAND_WRITE, age_arch()->code);
    check_forbidden(d, AGE_DEVICE_COMMAND_FILL, age_arch()->code);
    if (age_is_x86()) {
        check_shadow(d);
    } else {
        /* Flash */
        check_forbidden(d, AGE_DEVICE_COMMAND_READ, age_arch()->code);
    }
    age_dev_quit(d);
}

static void test_no_master(const void *args)
{
    AgeDev *d = age_dev_start(args);

    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, d->memory, 64, 1);
    age_pci_writel(d->qts, d->dev, 0, PCI_COMMAND, PCI_COMMAND_MEMORY);
    age_dev_fail(d, AGE_DEVICE_CODE_DMA);
    age_dev_check_young(d, age_pages_new());
    age_dev_enable(d);
    age_dev_do(d);
    /* The end comes in the middle of a job, too. */
    age_dev_go_endless(d);
    age_pci_writel(d->qts, d->dev, 0, PCI_COMMAND, PCI_COMMAND_MEMORY);
    g_assert_cmphex(age_dev_wait(d), ==, AGE_DEVICE_STATUS_ERROR |
                    AGE_DEVICE_CODE_DMA << AGE_DEVICE_STATUS_CODE);
    age_dev_quit(d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    age_dev_add_test("invalid", test_invalid);
    age_dev_add_test("range", test_range);
    age_dev_add_test("end-of-memory", test_end_of_memory);
    age_dev_add_test("no-memory", test_no_memory);
    age_dev_add_test("windows", test_windows);
    age_dev_add_test("long", test_long);
    age_dev_add_test("own-bar", test_own_bar);
    age_dev_add_test("read-only", test_read_only);
    age_dev_add_test("no-master", test_no_master);
    return g_test_run();
}
