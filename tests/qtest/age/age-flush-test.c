/*
 * age: requests that vCPUs flush their TLBs, and who owes one
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "guest.h"
#include "qmp.h"

#define NUM_PAGES   16
#define ROUNDS      50
#define CPUS        4

/* How long a thread that is about to sleep hesitates, in microseconds */
#define HESITATE_US 300

static QDict *clear_oob(AgeGuest *g)
{
    QList *ranges = qlist_new();
    QDict *args;

    age_add_clear_range(ranges, g->memory, g->memory + NUM_PAGES * AGE_PAGE);
    args = age_harvest_args(ranges, "{ \"flush\": \"request\" }");
    return qtest_qmp_assert_success_ref(g->qts,
        "{ 'exec-oob': 'age-test-clear-young', 'arguments': %p }", args);
}

/* Whether a flush is pending, when a request for one has just been made */
static bool request(AgeGuest *g)
{
    g_autoptr(QDict) result = clear_oob(g);
    QDict *range = qobject_to(QDict, qlist_peek(qdict_get_qlist(result,
                                                                "ranges")));

    /* Otherwise nothing would have been requested. */
    g_assert_cmpint(qdict_get_int(range, "young-pages"), ==, NUM_PAGES);
    return qdict_get_bool(result, "flush-pending");
}

static AgeGuest *start(unsigned cpus)
{
    AgeGuestOptions options = { .cpus = cpus, .oob = true };

    return age_guest_start(&options);
}

static void check_seen(AgeGuest *g)
{
    age_guest_touch(g, AGE_GUEST_READ, g->memory, NUM_PAGES);
    g_assert_cmpuint(age_count(g->qts, g->memory,
                               g->memory + NUM_PAGES * AGE_PAGE, false), ==,
                     NUM_PAGES);
}

/*
 * A vCPU that is stopped can't use what it has in its TLB.  It owes nobody a
 * flush, and does it before it goes on.
 */
static void test_stopped(void)
{
    AgeGuest *g = start(CPUS);

    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t flushes;

        age_guest_touch(g, AGE_GUEST_READ, g->memory, NUM_PAGES);
        age_guest_stop(g);
        flushes = age_counter(g->qts, "flushes");
        g_assert(!request(g));
        g_assert_cmpuint(age_counter(g->qts, "flushes"), ==, flushes);
        age_guest_cont(g);
        check_seen(g);
    }
    age_guest_quit(g);
}

/* A request while vCPUs run and go to sleep is done, whatever they do. */
static void check_running(AgeGuest *g)
{
    for (unsigned cpu = 1; cpu < CPUS; cpu++) {
        age_guest_send(g, cpu, AGE_GUEST_READ | AGE_GUEST_REPEAT,
                       g->memory + cpu * AGE_BLOCK, 8, AGE_PAGE);
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        age_guest_touch(g, AGE_GUEST_READ, g->memory, NUM_PAGES);
        request(g);
        if (i % 2) {
            age_guest_stop(g);
        }
        age_wait_flushed(g->qts);
        if (i % 2) {
            age_guest_cont(g);
        }
        check_seen(g);
    }
}

static void test_running(void)
{
    AgeGuest *g = start(CPUS);

    check_running(g);
    age_guest_quit(g);
}

/*
 * With threads that hesitate before they sleep: a vCPU that is woken up without
 * the lock under which it looked for work would sleep on.
 */
static void hesitant(void (*test)(void))
{
    const char *library = g_getenv("AGE_PRELOAD_WIDEN");
    const uint32_t us[2] = { HESITATE_US, 0 };
    g_autofree char *file = NULL;
    int fd;

    if (!library) {
        g_test_skip("no library to preload: run by scripts/check");
        return;
    }
    fd = g_file_open_tmp("age-widen-XXXXXX", &file, NULL);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, us, sizeof(us)), ==, sizeof(us));
    close(fd);
    g_setenv("AGE_WIDEN_FILE", file, true);
    g_setenv("LD_PRELOAD", library, true);
    test();
    g_unsetenv("LD_PRELOAD");
    g_unsetenv("AGE_WIDEN_FILE");
    unlink(file);
}

static void test_hesitant_stopped(void)
{
    hesitant(test_stopped);
}

static void test_hesitant_running(void)
{
    hesitant(test_running);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("age/flush/stopped", test_stopped);
    qtest_add_func("age/flush/running", test_running);
    qtest_add_func("age/flush/hesitant/stopped", test_hesitant_stopped);
    qtest_add_func("age/flush/hesitant/running", test_hesitant_running);
    return g_test_run();
}
