/*
 * age: postcopy migration
 *
 * The guest goes on over there while most of its memory is still here.  Who
 * accesses memory that has not come waits for it, be it for long; who harvests
 * waits for nothing.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration.h"
#include "qmp.h"

/* So many pages that they don't come in the time that a test takes */
#define PAGES       8000

#define POSTCOPY    AGE_CAPABILITY("postcopy-ram")
#define PREEMPT     AGE_CAPABILITY("postcopy-preempt")

/**
 * Postcopy: a way to do it
 *
 * @name: for the test
 * @capabilities: of both QEMUs
 * @device: an age-device that stores to memory all the time, or NULL
 * @broken: the connection breaks, and is made anew
 */
typedef struct Postcopy {
    const char *name;
    const char *capabilities;
    const char *device;
    bool broken;
} Postcopy;

static const Postcopy postcopies[] = {
    { "plain", "[" POSTCOPY "]", AGE_DEV },
    { "preempt", "[" POSTCOPY "," PREEMPT "]" },
    /* Were it not for the worker, the main loop would be lost too early. */
    { "broken", "[" POSTCOPY "]", AGE_DEV_WORKER, true },
};

static bool start_sides(AgeSide *from, AgeSide *to, const Postcopy *p)
{
    bool can;

    age_side_start(from, false, p->device);
    age_side_start(to, true, p->device);
    can = age_migration_can(to->g->qts, p->capabilities) &&
          age_migration_can(from->g->qts, p->capabilities);
    if (!can) {
        g_test_skip("the host does not permit userfaultfd");
    }
    return can;
}

static void harvested(AgeSide *from, AgeSide *to)
{
    age_side_harvested(from);
    age_side_harvested(to);
}

/*
 * More is written than goes through, so that before the switch it would never
 * end; and after it what nobody asks for comes page by page, for minutes.
 */
static void begin(AgeSide *from, AgeSide *to, const Postcopy *p)
{
    age_migration_begin_work(from->g, PAGES);
    age_guest_wait_round(from->g, 1);
    if (p->device) {
        age_side_begin_dma(from);
    }
    age_migration_set_parameters(from->g->qts, "{ 'max-bandwidth': 200000,"
                                 " 'max-postcopy-bandwidth': 1000,"
                                 " 'downtime-limit': 1 }");
    age_migration_begin(from->g, to->g);
    age_migration_wait(from->g->qts, "active");
    harvested(from, to);
    qtest_qmp_assert_success(from->g->qts,
                             "{ 'execute': 'migrate-start-postcopy' }");
    age_migration_wait(from->g->qts, "postcopy-active");
    age_migration_wait_running(to->g->qts);
    harvested(from, to);
}

static void end(AgeSide *from, AgeSide *to, const Postcopy *p)
{
    age_migration_set_parameters(from->g->qts,
                                 "{ 'max-postcopy-bandwidth': 0 }");
    age_migration_end(from->g, to->g);
    if (p->device) {
        age_side_go_on_dma(from, to);
    }
}

/* Have the main loop of @g read memory that is not there, with the BQL held. */
static void block_main_loop(AgeGuest *g)
{
    qtest_qmp_send(g->qts, "{ 'execute': 'pmemsave', 'arguments': {"
                   " 'val': %" PRId64 ", 'size': 4096,"
                   " 'filename': '/dev/null' } }",
                   (int64_t)age_migration_quiet(g));
}

static void check_response(QDict *response)
{
    g_assert(qdict_haskey(response, "return"));
    qobject_unref(response);
}

static void break_and_mend(AgeSide *from, AgeSide *to)
{
    g_autofree char *path = age_migration_path("recover");
    g_autofree char *uri = g_strdup_printf("unix:%s", path);

    check_response(qtest_qmp(from->g->qts, "{ 'exec-oob': 'migrate-pause' }"));
    age_migration_wait(from->g->qts, "postcopy-paused");
    age_migration_wait(to->g->qts, "postcopy-paused");
    block_main_loop(to->g);
    harvested(from, to);
    check_response(qtest_qmp(to->g->qts, "{ 'exec-oob': 'migrate-recover',"
                             " 'arguments': { 'uri': %s } }", uri));
    harvested(from, to);
    qtest_qmp_assert_success(from->g->qts, "{ 'execute': 'migrate',"
                             " 'arguments': { 'uri': %s, 'resume': true } }",
                             uri);
    check_response(qtest_qmp_receive(to->g->qts));
}

static void test_postcopy(const void *opaque)
{
    const Postcopy *p = opaque;
    AgeSide from, to;

    if (start_sides(&from, &to, p)) {
        begin(&from, &to, p);
        if (p->broken) {
            break_and_mend(&from, &to);
        }
        end(&from, &to, p);
        age_migration_check_arrived(to.g);
        age_side_end(&from, false, PAGES);
        age_side_end(&to, true, PAGES);
        age_migration_check_source(from.g, PAGES);
        age_migration_check_destination(to.g, PAGES);
    }
    age_side_quit(&from);
    age_side_quit(&to);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (unsigned i = 0; i < G_N_ELEMENTS(postcopies); i++) {
        g_autofree char *path = g_strdup_printf("age/postcopy/%s",
                                                postcopies[i].name);

        qtest_add_data_func(path, &postcopies[i], test_postcopy);
    }
    return g_test_run();
}
