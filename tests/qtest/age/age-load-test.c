/*
 * age: loads of a machine's state
 *
 * Of what happened before a load nothing is left, for vCPUs or devices, and
 * every answer tells that there was one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "board.h"
#include "check.h"
#include "device.h"
#include "qmp.h"
#include "snapshot.h"
#include "span.h"

#define PAST_PAGES  1000

static QDict *run(AgeGuest *g, const char *command, bool test,
                  const char *options)
{
    QList *ranges = qlist_new();

    if (test) {
        age_add_test_range(ranges, g->memory, g->end);
    } else {
        age_add_clear_range(ranges, g->memory, g->end);
    }
    return qtest_qmp_assert_success_ref(
        g->qts, "{ 'execute': %s, 'arguments': %p }", command,
        age_harvest_args(ranges, options));
}

/* A harvest that tests tells of a generation, and of so many pages. */
static void check_harvest(AgeGuest *g, const char *command,
                          const char *member, uint64_t want, unsigned pages)
{
    g_autoptr(QDict) result = run(g, command, true, "{ 'format': 'count' }");
    QObject *first = qlist_peek(qdict_get_qlist(result, "ranges"));

    g_assert_cmpuint(qdict_get_int(result, "generation"), ==, want);
    g_assert_cmpuint(qdict_get_int(qobject_to(QDict, first), member), ==,
                     pages);
}

static void check_span(AgeGuest *g, const char *command, uint64_t want,
                       bool young)
{
    g_autoptr(QDict) result = run(g, command, false, NULL);

    g_assert_cmpuint(qdict_get_int(result, "generation"), ==, want);
    age_check_answers(result, young ? "y" : "-");
}

/* Every command tells @want, and of young and dirty pages if there are any. */
static void check_generation(AgeGuest *g, uint64_t want, bool any)
{
    unsigned pages = any ? PAST_PAGES : 0;

    g_assert_cmpuint(age_generation(g->qts), ==, want);
    check_harvest(g, "age-test-clear-young", "young-pages", want, pages);
    check_harvest(g, "age-test-clear-dirty", "dirty-pages", want, pages);
    check_span(g, "age-test-young", want, any);
    check_span(g, "age-clear-young", want, any);
}

/* Half of them by the CPU, half by the device */
static void store_pages(AgeDev *d)
{
    unsigned half = PAST_PAGES / 2;

    age_guest_touch(d->g, AGE_GUEST_WRITE, d->g->memory, half);
    age_dev_setup(d, AGE_DEVICE_COMMAND_WRITE, d->g->memory + half * AGE_PAGE,
                  AGE_PAGE, half);
    age_dev_do(d);
}

/* A snapshot that is not there */
static void check_no_load(AgeGuest *g)
{
    age_snapshot_begin(g->qts, "snapshot-load", "never");
    age_snapshot_end_failed(g->qts);
    age_guest_cont(g);
}

static AgeGuest *start(AgeDev *d)
{
    AgeGuestOptions options = {
        .machine = age_board_machine(),
        .args = AGE_DEV,
        .oob = true,
    };

    d->g = age_guest_start(&options);
    d->qts = d->g->qts;
    d->dev = AGE_DEV_SLOT;
    age_snapshot_add_disk(d->qts);
    age_dev_enable(d);
    return d->g;
}

/* The snapshot is of a machine that runs, which so runs when it is loaded. */
static void test_past(void)
{
    AgeDev d = {};
    AgeGuest *g = start(&d);
    uint32_t seq[AGE_MAX_CPUS];

    memcpy(seq, g->seq, sizeof(seq));
    age_snapshot_save(g->qts);
    for (unsigned i = 1; i < 4; i++) {
        store_pages(&d);
        check_no_load(g);
        check_generation(g, i, true);
        /* What was old is in the TLB now, and has become another page. */
        store_pages(&d);
        age_snapshot_load(g->qts);
        memcpy(g->seq, seq, sizeof(seq));
        check_generation(g, i + 1, false);
        age_wait_flushed(g->qts);
        age_check(g);
    }
    age_guest_quit(g);
}

/* The generation and the number of young pages that an answer tells */
static uint64_t harvest_oob(AgeGuest *g, bool clear, uint64_t *young)
{
    QList *ranges = qlist_new();
    g_autoptr(QDict) response = NULL;
    QDict *result, *range;

    if (clear) {
        age_add_clear_range(ranges, g->memory, g->end);
    } else {
        age_add_test_range(ranges, g->memory, g->end);
    }
    response = qtest_qmp(g->qts, "{ 'exec-oob': 'age-test-clear-young',"
                         " 'arguments': %p }",
                         age_harvest_args(ranges, "{ 'format': 'count' }"));
    result = qdict_get_qdict(response, "return");
    range = qobject_to(QDict, qlist_peek(qdict_get_qlist(result, "ranges")));
    *young = qdict_get_int(range, "young-pages");
    return qdict_get_int(result, "generation");
}

/*
 * Harvests that are answered while the main loop does nothing but load: they
 * tell of the past with its own number, but never with the new one.
 */
static void harvest_meanwhile(AgeGuest *g, uint64_t before, bool clear)
{
    uint64_t generation, young;
    int64_t deadline = 0;

    for (;;) {
        generation = harvest_oob(g, clear, &young);
        if (generation != before) {
            break;
        }
        g_assert_cmpuint(young, <=, PAST_PAGES);
        age_poll(&deadline);
    }
    g_assert_cmpuint(generation, ==, before + 1);
    g_assert_cmpuint(young, ==, 0);
}

static void test_meanwhile(void)
{
    AgeDev d = {};
    AgeGuest *g = start(&d);
    uint32_t seq[AGE_MAX_CPUS];

    memcpy(seq, g->seq, sizeof(seq));
    age_snapshot_save(g->qts);
    for (unsigned i = 1; i < 6; i++) {
        store_pages(&d);
        age_snapshot_begin(g->qts, "snapshot-load", "then");
        harvest_meanwhile(g, i, i % 2);
        age_snapshot_end(g->qts);
        memcpy(g->seq, seq, sizeof(seq));
        check_generation(g, i + 1, false);
        age_check(g);
    }
    age_guest_quit(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("age/load/past", test_past);
    qtest_add_func("age/load/meanwhile", test_meanwhile);
    return g_test_run();
}
