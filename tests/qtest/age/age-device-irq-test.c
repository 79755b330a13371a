/*
 * age-device: its interrupts
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "device.h"

/* A job that ends in the way that belongs to @cause */
static void do_job(AgeDev *d, uint64_t cause)
{
    bool good = cause == AGE_DEVICE_IRQ_DONE;

    age_dev_setup(d, good ? AGE_DEVICE_COMMAND_READ : 0, d->memory, 64, 1);
    age_dev_go(d);
    g_assert_cmphex(age_dev_wait(d) & ~0xff00, ==, good ?
                    AGE_DEVICE_STATUS_DONE : AGE_DEVICE_STATUS_ERROR);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_IRQ_STATUS) & cause, ==, cause);
}

/* The line is up while a cause and its enable bit are both set. */
static void check_line(AgeDev *d)
{
    for (uint64_t enable = 0; enable <= AGE_DEVICE_IRQ_ALL; enable++) {
        uint64_t status = age_dev_get(d, AGE_DEVICE_IRQ_STATUS);

        age_dev_set(d, AGE_DEVICE_IRQ_ENABLE, enable);
        g_assert(age_dev_intx(d) == !!(status & enable));
    }
}

static void test_intx(const void *args)
{
    AgeDev *d = age_dev_start(args);

    for (uint64_t c = AGE_DEVICE_IRQ_DONE; c <= AGE_DEVICE_IRQ_ERROR; c *= 2) {
        uint64_t other = AGE_DEVICE_IRQ_ALL & ~c;

        age_dev_set(d, AGE_DEVICE_IRQ_ENABLE, other);
        do_job(d, c);
        g_assert(!age_dev_intx(d));
        check_line(d);
        age_dev_set(d, AGE_DEVICE_IRQ_STATUS, other);
        g_assert(age_dev_intx(d));
        age_dev_set(d, AGE_DEVICE_IRQ_STATUS, c);
        g_assert(!age_dev_intx(d));
        do_job(d, c);
        g_assert(age_dev_intx(d));
        /* Another one on top of it, and each goes by itself. */
        do_job(d, other);
        age_dev_set(d, AGE_DEVICE_IRQ_STATUS, c);
        g_assert(age_dev_intx(d));
        check_line(d);
        age_dev_set(d, AGE_DEVICE_IRQ_STATUS, other);
        g_assert(!age_dev_intx(d));
    }
    age_dev_quit(d);
}

/* A job that is stopped was done, as far as interrupts go. */
static void test_stopped(const void *args)
{
    AgeDev *d = age_dev_start(args);

    age_dev_set(d, AGE_DEVICE_IRQ_ENABLE, AGE_DEVICE_IRQ_DONE);
    age_dev_go_endless(d);
    g_assert(!age_dev_intx(d));
    age_dev_stop(d);
    g_assert(age_dev_intx(d));
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_IRQ_STATUS), ==,
                    AGE_DEVICE_IRQ_DONE);
    age_dev_quit(d);
}

/* A message is a write, here to memory, where it can be seen. */

#define MESSAGE     0x600df00d

static uint64_t message_place(AgeDev *d)
{
    return d->memory + 64 * AGE_PAGE;
}

static void wait_message(AgeDev *d)
{
    int64_t deadline = 0;

    while (qtest_readl(d->qts, message_place(d)) != MESSAGE) {
        age_poll(&deadline);
    }
    qtest_writel(d->qts, message_place(d), 0);
}

static void test_msix(const void *args)
{
    AgeDev *d = age_dev_start(args);

    age_dev_use_msix(d, message_place(d), MESSAGE, false);
    for (uint64_t c = AGE_DEVICE_IRQ_DONE; c <= AGE_DEVICE_IRQ_ERROR; c *= 2) {
        age_dev_set(d, AGE_DEVICE_IRQ_ENABLE, AGE_DEVICE_IRQ_ALL & ~c);
        do_job(d, c);
        g_assert_cmphex(qtest_readl(d->qts, message_place(d)), ==, 0);
        /* Each end of a job sends one, also if the bit was set before. */
        for (unsigned i = 0; i < 3; i++) {
            age_dev_set(d, AGE_DEVICE_IRQ_ENABLE, c);
            do_job(d, c);
            wait_message(d);
        }
        g_assert(!age_dev_intx(d));
        age_dev_set(d, AGE_DEVICE_IRQ_STATUS, AGE_DEVICE_IRQ_ALL);
    }
    age_dev_quit(d);
}

/* A vector that is masked keeps its message. */
static void test_msix_masked(const void *args)
{
    AgeDev *d = age_dev_start(args);

    age_dev_use_msix(d, message_place(d), MESSAGE, true);
    age_dev_set(d, AGE_DEVICE_IRQ_ENABLE, AGE_DEVICE_IRQ_ALL);
    g_assert(!age_dev_msix_pending(d));
    do_job(d, AGE_DEVICE_IRQ_DONE);
    g_assert(age_dev_msix_pending(d));
    g_assert_cmphex(qtest_readl(d->qts, message_place(d)), ==, 0);
    age_dev_mask_msix(d, false);
    wait_message(d);
    g_assert(!age_dev_msix_pending(d));
    age_dev_quit(d);
}

/* What waits is told by the pin whenever MSI-X is off. */
static void test_msix_off(const void *args)
{
    AgeDev *d = age_dev_start(args);

    age_dev_use_msix(d, message_place(d), MESSAGE, false);
    age_dev_set(d, AGE_DEVICE_IRQ_ENABLE, AGE_DEVICE_IRQ_ALL);
    do_job(d, AGE_DEVICE_IRQ_DONE);
    wait_message(d);
    for (unsigned i = 0; i < 3; i++) {
        g_assert(!age_dev_intx(d));
        age_dev_enable_msix(d, false);
        g_assert(age_dev_intx(d));
        age_dev_enable_msix(d, true);
    }
    age_dev_enable_msix(d, false);
    age_dev_set(d, AGE_DEVICE_IRQ_STATUS, AGE_DEVICE_IRQ_ALL);
    g_assert(!age_dev_intx(d));
    age_dev_quit(d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    age_dev_add_test("intx", test_intx);
    age_dev_add_test("intx-stopped", test_stopped);
    age_dev_add_test("msix", test_msix);
    age_dev_add_test("msix-masked", test_msix_masked);
    age_dev_add_test("msix-off", test_msix_off);
    return g_test_run();
}
