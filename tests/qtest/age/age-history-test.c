/*
 * age: the history, from which any number of clients read
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qobject/qstring.h"
#include "board.h"
#include "device.h"
#include "history.h"
#include "qmp.h"
#include "snapshot.h"

static AgeGuest *start(const char *history)
{
    AgeGuestOptions options = { .oob = true };
    AgeGuest *g = age_guest_start(&options);

    age_history_add(g->qts, history);
    return g;
}

static void touch(AgeGuest *g, uint64_t first, uint64_t count)
{
    age_guest_touch(g, AGE_GUEST_READ, g->memory + first * AGE_PAGE, count);
}

static void expect(AgeGuest *g, uint64_t *since, uint64_t first, uint64_t count)
{
    age_history_expect(g, since, g->memory + first * AGE_PAGE, count);
}

/* Two at their own pace, and one that has lost an answer */
static void test_readers(void)
{
    AgeGuest *g = start(NULL);
    uint64_t fast = 0, slow = 0, again;

    touch(g, 0, 10);
    expect(g, &fast, 0, 10);
    expect(g, &slow, 0, 10);
    touch(g, 600, 3);
    again = fast;
    expect(g, &fast, 600, 3);
    expect(g, &again, 600, 3);
    expect(g, &fast, 0, 0);
    touch(g, 603, 4);
    expect(g, &fast, 603, 4);
    expect(g, &slow, 600, 7);
    expect(g, &slow, 0, 0);
    age_guest_quit(g);
}

/* What any other command makes old is told all the same. */
static void test_others(void)
{
    AgeGuest *g = start(NULL);
    uint64_t since = 0;

    expect(g, &since, 0, 0);
    touch(g, 7, 5);
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, true), ==, 5);
    age_flush_all(g->qts);
    touch(g, 12, 2);
    qtest_qmp_assert_success(
        g->qts, "{ 'execute': 'age-clear-young', 'arguments': {"
        " 'ranges': [ { 'start': %u, 'end': %u } ] } }",
        (unsigned)g->memory, (unsigned)g->end);
    expect(g, &since, 7, 7);
    age_guest_quit(g);
}

/* What was only tested was not found: it is young still. */
static void test_no_harvest(void)
{
    AgeGuest *g = start(NULL);
    uint64_t since = 0;

    expect(g, &since, 0, 0);
    touch(g, 3, 2);
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, false), ==, 2);
    g_array_unref(age_history_read(g, &since, "{ 'harvest': false }"));
    expect(g, &since, 3, 2);
    age_guest_quit(g);
}

static void test_dirty(void)
{
    AgeGuest *g = start("{ 'dirty': true }");
    GArray *want = age_pages_new();
    uint64_t since = 0, stores = 0;

    touch(g, 0, 4);
    age_guest_touch(g, AGE_GUEST_WRITE, g->memory + 9 * AGE_PAGE, 2);
    age_pages_add(want, g->memory + 9 * AGE_PAGE, 2, AGE_PAGE);
    age_assert_same_pages(age_history_read(g, &stores, "{ 'dirty': true }"),
                          want);
    g_array_unref(age_history_read(g, &since, NULL));
    touch(g, 0, 4);
    age_guest_touch(g, AGE_GUEST_WRITE, g->memory + 2 * AGE_PAGE, 1);
    want = age_pages_new();
    age_pages_add(want, g->memory + 2 * AGE_PAGE, 1, AGE_PAGE);
    age_assert_same_pages(age_history_read(g, &stores, "{ 'dirty': true }"),
                          want);
    expect(g, &since, 0, 4);
    age_guest_quit(g);
}

/* Whatever the format, it is the same pages. */
static void test_formats(void)
{
    AgeGuest *g = start(NULL);
    GArray *want = age_pages_new();
    uint64_t since = 0;
    g_autoptr(QDict) count = NULL;
    QObject *range;

    touch(g, 5, 70);
    age_pages_add(want, g->memory + 5 * AGE_PAGE, 70, AGE_PAGE);
    age_assert_same_pages(age_history_read(g, &since,
                                           "{ 'format': 'bitmap' }"), want);
    count = qtest_qmp_assert_success_ref(
        g->qts, "{ 'execute': 'age-history-read', 'arguments': %p }",
        age_history_args(g, 0, "{ 'format': 'count', 'harvest': false }"));
    range = qlist_peek(qdict_get_qlist(count, "ranges"));
    g_assert_cmpint(qdict_get_int(qobject_to(QDict, range), "pages"), ==, 70);
    g_assert_false(qdict_haskey(qobject_to(QDict, range), "bitmap"));
    g_assert_false(qdict_haskey(qobject_to(QDict, range), "runs"));
    age_guest_quit(g);
}

/* A device's walks are accesses as well. */
static void test_device(void)
{
    AgeGuestOptions options = {
        .machine = age_board_machine(),
        .args = AGE_DEV,
        .oob = true,
    };
    AgeDev d = { .g = age_guest_start(&options) };
    uint64_t since = 0;

    d.qts = d.g->qts;
    d.dev = AGE_DEV_SLOT;
    age_dev_enable(&d);
    age_history_add(d.qts, NULL);
    expect(d.g, &since, 0, 0);
    age_dev_setup(&d, AGE_DEVICE_COMMAND_WRITE,
                  d.g->memory + 40 * AGE_PAGE, AGE_PAGE, 8);
    age_dev_do(&d);
    expect(d.g, &since, 40, 8);
    age_guest_quit(d.g);
}

/* A pass of the history's own; how many there were */
static uint64_t wait_pass(AgeGuest *g, uint64_t harvests)
{
    int64_t deadline = 0;

    for (;;) {
        g_autoptr(QDict) info = age_history_query(g->qts, NULL);
        uint64_t now = qdict_get_int(info, "harvests");

        if (now > harvests) {
            return now;
        }
        age_poll(&deadline);
    }
}

/* What the event of a pass says, the guest uses 100 pages all the time */
static void test_events(void)
{
    AgeGuest *g = start("{ 'interval': 20, 'events': true }");
    uint64_t want = 100 * AGE_PAGE, found = 0, last = 0;

    age_guest_send(g, 0, AGE_GUEST_READ | AGE_GUEST_REPEAT, g->memory, 100,
                   AGE_PAGE);
    age_guest_wait_round(g, 0);
    /* On a busy host the guest may not have run between two passes. */
    while (found < want) {
        g_autoptr(QDict) event = qtest_qmp_eventwait_ref(g->qts,
                                                         "AGE_HISTORY_PASS");
        QDict *data = qdict_get_qdict(event, "data");

        g_assert_cmpstr(qdict_get_str(data, "id"), ==, "h0");
        g_assert_cmpint(qdict_get_int(data, "generation"), ==, 1);
        g_assert_cmpint(qdict_get_int(data, "next"), >, last);
        g_assert_cmpint(qdict_get_int(data, "pass-ns"), >, 0);
        found = qdict_get_int(data, "working-set");
        last = qdict_get_int(data, "next");
    }
    age_guest_quit(g);
}

/* It harvests by itself, also while the guest is stopped, until it goes. */
static void test_interval(void)
{
    AgeGuest *g = start("{ 'interval': 5 }");
    uint64_t since = 0, harvests = wait_pass(g, 0);

    expect(g, &since, 0, 0);
    touch(g, 20, 6);
    harvests = wait_pass(g, wait_pass(g, harvests));
    age_guest_stop(g);
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, false), ==, 0);
    wait_pass(g, wait_pass(g, harvests));
    age_guest_cont(g);
    expect(g, &since, 20, 6);
    age_history_del(g->qts);
    touch(g, 30, 3);
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, false), ==, 3);
    age_guest_quit(g);
}

/* Of what was before nothing is told, and no number of then is taken. */
static void test_generation(void)
{
    AgeGuest *g = start(NULL);
    uint32_t seq[AGE_MAX_CPUS];
    uint64_t since = 0;
    g_autoptr(QDict) error = NULL;
    g_autofree char *want = NULL;

    age_snapshot_add_disk(g->qts);
    memcpy(seq, g->seq, sizeof(seq));
    age_snapshot_save(g->qts);
    touch(g, 0, 9);
    expect(g, &since, 0, 9);
    age_snapshot_load(g->qts);
    memcpy(g->seq, seq, sizeof(seq));
    error = qtest_qmp_assert_failure_ref(
        g->qts, "{ 'exec-oob': 'age-history-read', 'arguments': %p }",
        age_history_args(g, since, NULL));
    want = g_strdup_printf("history 'h0' does not know any more what was "
                           "accessed since %" PRIu64 ", as a state of the "
                           "machine, or the history itself, is newer; read "
                           "without \"since\", and go on with \"next\" of that "
                           "answer", since);
    g_assert_cmpstr(qdict_get_str(error, "desc"), ==, want);
    since = 0;
    expect(g, &since, 0, 0);
    touch(g, 4, 2);
    expect(g, &since, 4, 2);
    age_guest_quit(g);
}

/* A reset changes nothing. */
static void test_reset(void)
{
    AgeGuest *g = start(NULL);
    uint64_t since = 0;

    expect(g, &since, 0, 0);
    touch(g, 4, 2);
    age_guest_reset(g);
    age_guest_wait_ready(g, 0);
    touch(g, 6, 2);
    expect(g, &since, 4, 4);
    age_guest_quit(g);
}

/* What was plugged, touched and unplugged is told of no more. */
static void test_unplug(void)
{
    AgeGuestOptions options = {
        .machine = age_board_machine(),
        .memory = AGE_BOARD_MEMORY,
        .oob = true,
    };
    AgeGuest *g = age_guest_start(&options);
    g_autoptr(QDict) before = NULL;
    g_autoptr(QDict) after = NULL;
    uint64_t since = 0;

    age_history_add(g->qts, NULL);
    expect(g, &since, 0, 0);
    before = age_history_query(g->qts, NULL);
    age_plug_dimm(g->qts, 0, "8M");
    touch(g, 1, 1);
    expect(g, &since, 1, 1);
    age_unplug_dimm(g->qts, 0);
    after = age_history_query(g->qts, NULL);
    g_assert_cmpint(qdict_get_int(after, "untouched") +
                    age_history_sum(after, "idle", "bytes"), ==,
                    qdict_get_int(before, "untouched") +
                    age_history_sum(before, "idle", "bytes"));
    age_guest_quit(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/age/history/readers", test_readers);
    qtest_add_func("/age/history/others", test_others);
    qtest_add_func("/age/history/no-harvest", test_no_harvest);
    qtest_add_func("/age/history/dirty", test_dirty);
    qtest_add_func("/age/history/formats", test_formats);
    qtest_add_func("/age/history/device", test_device);
    qtest_add_func("/age/history/events", test_events);
    qtest_add_func("/age/history/interval", test_interval);
    qtest_add_func("/age/history/generation", test_generation);
    qtest_add_func("/age/history/reset", test_reset);
    qtest_add_func("/age/history/unplug", test_unplug);
    return g_test_run();
}
