/*
 * age: out-of-band commands, and several clients at the same time
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "guest.h"
#include "harvester.h"
#include "qmp.h"

/**
 * Blocker: a main loop that is stuck, with QEMU's big lock held
 *
 * As in qmp-test: a block device reads its configuration from a named pipe, to
 * which nobody writes.  When the pipe can be opened for writing, the main loop
 * is there, and it stays there until the pipe is closed.
 *
 * @dir: directory of the pipe
 * @path: the pipe
 * @fd: our end
 */
typedef struct Blocker {
    char *dir;
    char *path;
    int fd;
} Blocker;

static void block(Blocker *b, QTestState *qts)
{
    GError *err = NULL;
    int64_t deadline = 0;

    b->dir = g_dir_make_tmp("age-oob-XXXXXX", &err);
    g_assert_no_error(err);
    b->path = g_strdup_printf("%s/fifo", b->dir);
    g_assert_cmpint(mkfifo(b->path, 0600), ==, 0);
    qtest_qmp_send(qts, "{ 'execute': 'blockdev-add', 'id': 'blocked',"
                   " 'arguments': { 'driver': 'blkdebug',"
                   " 'node-name': 'blocked', 'config': %s,"
                   " 'image': { 'driver': 'null-co' } } }", b->path);
    while ((b->fd = open(b->path, O_WRONLY | O_NONBLOCK)) < 0) {
        age_poll(&deadline);
    }
}

static void check_id(const QDict *response, const char *id)
{
    g_assert_cmpstr(qdict_get_str(response, "id"), ==, id);
    g_assert(qdict_haskey(response, "return"));
}

static void unblock(Blocker *b, QTestState *qts)
{
    g_autoptr(QDict) response = NULL;

    close(b->fd);
    response = qtest_qmp_receive(qts);
    check_id(response, "blocked");
    qtest_qmp_assert_success(qts, "{ 'execute': 'blockdev-del',"
                             " 'arguments': { 'node-name': 'blocked' } }");
    unlink(b->path);
    rmdir(b->dir);
    g_free(b->path);
    g_free(b->dir);
}

/* What an out-of-band command returns, which must overtake the blocked one */
static QDict *oob(QTestState *qts, const char *command, QDict *args)
{
    g_autoptr(QDict) response = NULL;

    qtest_qmp_send(qts, "{ 'exec-oob': %s, 'id': 'overtakes',"
                   " 'arguments': %p }", command, args);
    response = qtest_qmp_receive(qts);
    check_id(response, "overtakes");
    return qobject_ref(qdict_get_qdict(response, "return"));
}

static bool oob_flush_pending(QTestState *qts)
{
    g_autoptr(QDict) info = oob(qts, "query-age", qdict_new());

    return qdict_get_bool(info, "flush-pending");
}

static QDict *oob_walk(QTestState *qts, uint64_t gpa)
{
    QDict *args = qdict_new();

    qdict_put_int(args, "gpa", gpa);
    return oob(qts, "query-age-walk", args);
}

/* Clear all, and take note of what was young */
static void oob_harvest(QTestState *qts, AgeTally *t, const char *options)
{
    g_autoptr(QDict) result = oob(qts, "age-test-clear-young",
                                  age_tally_args(t, options));

    age_tally_add(t, result);
}

static void check_young(const AgeTally *t, uint64_t gpa, bool young)
{
    g_assert((t->times[(gpa - t->start) / AGE_PAGE] > 0) == young);
}

static AgeGuest *start_oob(const char *memory)
{
    AgeGuestOptions options = { .memory = memory, .oob = true };

    return age_guest_start(&options);
}

/* A guest at rest: all commands answer, and are right. */
static void test_blocked(void)
{
    AgeGuest *g = start_oob("512M");
    g_autoptr(QDict) walk = NULL;
    AgeTally t;
    Blocker b;

    age_tally_init(&t, g->memory, g->memory + 256 * MiB);
    age_guest_send(g, 0, AGE_GUEST_WRITE, g->memory, 256, 256 * AGE_PAGE);
    age_guest_wait(g, 0);
    age_guest_stop(g);

    block(&b, g->qts);
    g_assert(!oob_flush_pending(g->qts));
    walk = oob_walk(g->qts, g->memory);
    g_assert(!qlist_empty(qdict_get_qlist(walk, "entries")));
    oob_harvest(g->qts, &t, NULL);
    unblock(&b, g->qts);

    g_assert_cmpuint(t.young, ==, 256);
    for (unsigned i = 0; i < 256; i++) {
        check_young(&t, g->memory + i * 256 * AGE_PAGE, true);
    }
    age_tally_clear(&t);
    age_guest_quit(g);
}

/* A guest that runs goes on, and what it accesses is seen, again and again. */
static void test_blocked_running(void)
{
    AgeGuest *g = start_oob(NULL);
    int64_t deadline = 0;
    AgeTally t;
    Blocker b;

    age_tally_init(&t, g->memory, g->end);
    age_guest_send(g, 0, AGE_GUEST_WRITE | AGE_GUEST_FLUSH | AGE_GUEST_REPEAT,
                   g->memory, 50, 3 * AGE_PAGE);
    /* To begin with it, an x86 vCPU needs the lock. */
    age_guest_wait_round(g, 0);
    block(&b, g->qts);
    /* One pass may find what was young before; more than two can't. */
    while (t.times[0] < 5 || t.times[49 * 3] < 5) {
        oob_harvest(g->qts, &t, NULL);
        age_poll(&deadline);
    }
    unblock(&b, g->qts);
    for (unsigned i = 0; i < 50 * 3; i++) {
        check_young(&t, g->memory + i * AGE_PAGE, i % 3 == 0);
    }
    age_tally_clear(&t);
    age_guest_quit(g);
}

static void clear_and_flush(AgeGuest *g, uint64_t start, uint64_t pages)
{
    QList *ranges = qlist_new();
    g_autoptr(QDict) result = NULL;

    age_add_clear_range(ranges, start, start + pages * AGE_PAGE);
    result = oob(g->qts, "age-test-clear-young",
                 age_harvest_args(ranges, "{ \"flush\": \"request\" }"));
}

/*
 * A vCPU that executes guest code flushes, or leaves it, without the lock that
 * the main loop has.  Its flush is no longer pending then: it comes before the
 * vCPU goes on.
 */
static void test_flush(void)
{
    AgeGuest *g = start_oob(NULL);
    int64_t deadline = 0;
    Blocker b;

    age_guest_touch(g, AGE_GUEST_WRITE, g->memory, 10);
    block(&b, g->qts);
    g_assert(!oob_flush_pending(g->qts));
    for (unsigned i = 0; i < 10; i++) {
        clear_and_flush(g, g->memory + i * AGE_PAGE, 1);
        while (oob_flush_pending(g->qts)) {
            age_poll(&deadline);
        }
    }
    unblock(&b, g->qts);

    age_wait_flushed(g->qts);
    age_guest_touch(g, AGE_GUEST_READ, g->memory, 10);
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, false), ==, 10);
    age_guest_quit(g);
}

/* Errors come out of band as well. */
static void test_error(void)
{
    AgeGuest *g = start_oob(NULL);
    g_autoptr(QDict) response = NULL;
    Blocker b;

    block(&b, g->qts);
    qtest_qmp_send(g->qts, "{ 'exec-oob': 'age-test-clear-young',"
                   " 'id': 'wrong', 'arguments': { 'ranges': [] } }");
    response = qtest_qmp_receive(g->qts);
    g_assert_cmpstr(qdict_get_str(response, "id"), ==, "wrong");
    g_assert(qdict_haskey(response, "error"));
    unblock(&b, g->qts);
    age_guest_quit(g);
}

/*
 * Two clients, one in the main thread and one out of band, while two vCPUs
 * access @pages each, of which half are the other's as well.
 */
#define PAGES   200

typedef struct Clients {
    const char *options;
    unsigned what;
} Clients;

static void in_band_harvest(QTestState *qts, AgeTally *t, const char *options)
{
    g_autoptr(QDict) result = qtest_qmp_assert_success_ref(
        qts, "{ 'execute': 'age-test-clear-young', 'arguments': %p }",
        age_tally_args(t, options));

    age_tally_add(t, result);
}

static void run_clients(AgeGuest *g, AgeTally *t, AgeHarvester *h,
                        const Clients *c)
{
    int64_t deadline = 0;

    for (unsigned cpu = 0; cpu < 2; cpu++) {
        age_guest_send(g, cpu, c->what | AGE_GUEST_REPEAT,
                       g->memory + cpu * PAGES / 2 * AGE_PAGE, PAGES,
                       AGE_PAGE);
    }
    age_harvester_start(h, t->start, t->end, c->options);
    while (t->passes < 100 || t->young < 10 * PAGES) {
        in_band_harvest(g->qts, t, c->options);
        age_poll(&deadline);
    }
    age_harvester_wait(h, 100);

    /* Go on without end by one last round, and see what is left. */
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        age_guest_send(g, cpu, AGE_GUEST_FLUSH, 0, 0, 0);
        age_guest_wait(g, cpu);
    }
    age_harvester_stop(h);
    age_guest_stop(g);
    in_band_harvest(g->qts, t, NULL);
}

/*
 * Each access to a page that was old was reported once, to either: all that
 * was cleared was reported, all that was set was cleared or is left.
 */
static void check_clients(AgeGuest *g, AgeTally *t, AgeHarvester *h)
{
    uint64_t cleared = age_counter(g->qts, "cleared");

    g_assert_cmpuint(t->young + h->tally.young, ==, cleared);
    g_assert_cmpuint(age_counter(g->qts, "harvested"), ==, cleared);
    age_check_conserved(g->qts);
    for (unsigned i = 0; i < (t->end - t->start) / AGE_PAGE; i++) {
        g_assert((t->times[i] || h->tally.times[i]) == (i < PAGES * 3 / 2));
    }
}

static void test_two_clients(const void *opaque)
{
    AgeHarvester *h = age_harvester_new();
    g_autofree char *args = age_harvester_args(h);
    AgeGuestOptions options = { .cpus = 2, .args = args };
    AgeGuest *g = age_guest_start(&options);
    AgeTally t;

    age_tally_init(&t, g->memory, g->end);
    run_clients(g, &t, h, opaque);
    check_clients(g, &t, h);
    age_tally_clear(&t);
    age_harvester_free(h);
    age_guest_quit(g);
}

static const Clients guest_flushes = {
    .what = AGE_GUEST_WRITE | AGE_GUEST_FLUSH,
};

static const Clients clients_flush = {
    .options = "{ \"flush\": \"request\" }",
    .what = AGE_GUEST_WRITE,
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("age/oob/blocked", test_blocked);
    qtest_add_func("age/oob/blocked-running", test_blocked_running);
    qtest_add_func("age/oob/flush", test_flush);
    qtest_add_func("age/oob/error", test_error);
    qtest_add_data_func("age/oob/two-clients/guest-flushes", &guest_flushes,
                        test_two_clients);
    qtest_add_data_func("age/oob/two-clients/clients-flush", &clients_flush,
                        test_two_clients);

    return g_test_run();
}
