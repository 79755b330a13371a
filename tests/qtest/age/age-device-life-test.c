/*
 * age-device: resets, stops and unplugging under load
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qobject/qlist.h"
#include "device.h"
#include "harvester.h"
#include "hotplug.h"
#include "qmp.h"

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
 * The guest stops a job, and the machine stops at the same time: the job has
 * ended or is about to, without an interrupt before the machine goes on.
 */
static void test_stop_both(const void *args)
{
    AgeDev *d = age_dev_start(args);

    age_guest_cont(d->g);
    for (unsigned i = 0; i < 30; i++) {
        uint64_t status, causes;

        age_dev_go_endless(d);
        age_dev_set(d, AGE_DEVICE_CONTROL, AGE_DEVICE_CONTROL_STOP);
        age_guest_stop(d->g);
        status = age_dev_get(d, AGE_DEVICE_STATUS);
        causes = age_dev_get(d, AGE_DEVICE_IRQ_STATUS);
        g_assert_cmphex(status & ~AGE_DEVICE_STATUS_BUSY, ==,
                        AGE_DEVICE_STATUS_STOPPED);
        g_assert_cmphex(causes, ==, status & AGE_DEVICE_STATUS_BUSY ? 0 :
                        AGE_DEVICE_IRQ_DONE);
        age_guest_cont(d->g);
        g_assert_cmphex(age_dev_wait(d), ==, AGE_DEVICE_STATUS_STOPPED);
        g_assert_cmphex(age_dev_get(d, AGE_DEVICE_IRQ_STATUS), ==,
                        AGE_DEVICE_IRQ_DONE);
        age_dev_set(d, AGE_DEVICE_IRQ_STATUS, AGE_DEVICE_IRQ_ALL);
    }
    age_dev_quit(d);
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
static void check_unplug(AgeDev *d, const AgeHotplug *p, AgeHarvester *h)
{
    for (unsigned i = 0; i < 6; i++) {
        age_hotplug_plug(d, p, i % 2);
        g_assert(answers(d));
        age_dev_go_endless(d);
        let_harvest(h);
        age_hotplug_unplug(d, p);
        let_harvest(h);
        g_assert(!answers(d));
    }
}

static void test_unplug(const void *data)
{
    const AgeHotplug *p = data;
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
    age_hotplug_plug(d, p, true);
    age_flush_all(d->qts);
    age_dev_check_stride(d, AGE_DEVICE_COMMAND_COPY);
    age_harvester_free(h);
    age_dev_quit(d);
}

static void add_unplug(const AgeHotplug *p)
{
    g_autofree char *name = g_strdup_printf("age/device/unplug/%s", p->name);

    qtest_add_data_func(name, p, test_unplug);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    age_dev_add_test("reset", test_reset);
    age_dev_add_test("stop", test_stop);
    age_dev_add_test("stop-both", test_stop_both);
    for (const AgeHotplug *p = age_hotplugs(); p->name; p++) {
        add_unplug(p);
    }
    return g_test_run();
}
