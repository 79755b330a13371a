/*
 * Guests that move to another QEMU, for the age tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qobject/qjson.h"
#include "board.h"
#include "check.h"
#include "history.h"
#include "migration.h"
#include "qmp.h"

#define QUIET           AGE_MIGRATION_QUIET
#define QUIET_OFFSET    (40 * MiB)

/* What AGE_GUEST_WRITE stores */
#define WRITTEN         AGE_GUEST_WRITE

uint64_t age_migration_quiet(const AgeGuest *g)
{
    return g->memory + QUIET_OFFSET;
}

/* Sides */

static void start(AgeSide *side, bool incoming, bool unconnected,
                  const char *args)
{
    AgeHarvester *h = age_harvester_new();
    g_autofree char *monitor = age_harvester_args(h);
    g_autofree char *all = g_strdup_printf(
        "%s -object age-history,id=h0,interval=5 %s", monitor, args ?: "");
    AgeGuestOptions options = {
        .machine = age_board_machine(),
        .cpus = 2,
        .args = all,
        .oob = true,
        .incoming = incoming,
        .unconnected = unconnected,
    };

    side->h = h;
    side->g = age_guest_start(&options);
}

static void begin_harvests(AgeSide *side)
{
    AgeGuest *g = side->g;

    side->since = 0;
    side->d = NULL;
    age_assert_same_pages(age_history_read(g, &side->since, NULL),
                          age_pages_new());
    age_harvester_start(side->h, g->memory, g->end,
                        "{ 'flush': 'request' }");
}

void age_side_start(AgeSide *side, bool incoming, const char *args)
{
    start(side, incoming, false, args);
    begin_harvests(side);
}

void age_side_start_incoming(AgeSide *side, const char *args)
{
    start(side, true, true, args);
}

void age_side_connect(AgeSide *side)
{
    age_guest_connect(side->g);
    begin_harvests(side);
}

void age_side_harvested(AgeSide *side)
{
    age_harvester_wait(side->h, qatomic_read(&side->h->passes) + 2);
}

/* Where the device stores to, and how much: see age_dev_go_endless() */
#define DMA_OFFSET      (48 * MiB)
#define DMA_SIZE        (4 * MiB)

static void add_device(AgeSide *side, uint64_t bar)
{
    AgeGuest *g = side->g;

    side->d = g_new0(AgeDev, 1);
    *side->d = (AgeDev) {
        .g = g,
        .qts = g->qts,
        .dev = AGE_DEV_SLOT,
        .bar = bar,
        .memory = g->memory + DMA_OFFSET,
        .end = g->end,
    };
}

void age_side_begin_dma(AgeSide *from)
{
    add_device(from, 0);
    age_dev_enable(from->d);
    age_dev_go_endless(from->d);
    age_dev_wait_bytes(from->d, DMA_SIZE);
}

/* All of it, at least once */
void age_side_go_on_dma(AgeSide *from, AgeSide *to)
{
    add_device(to, from->d->bar);
    age_dev_wait_bytes(to->d, age_dev_get(from->d, AGE_DEVICE_BYTES) +
                              2 * DMA_SIZE);
    age_dev_stop(from->d);
    age_dev_stop(to->d);
}

/* Its number is of a past that was another. */
static void check_refused(AgeSide *side)
{
    g_autoptr(QDict) response = qtest_qmp(
        side->g->qts, "{ 'exec-oob': 'age-history-read', 'arguments': %p }",
        age_history_args(side->g, side->since, NULL));

    g_assert(qdict_haskey(response, "error"));
    side->since = 0;
}

void age_side_end(AgeSide *side, bool loaded, unsigned pages)
{
    AgeGuest *g = side->g;
    GArray *want = age_pages_of(g->memory, pages);

    age_side_harvested(side);
    age_harvester_stop(side->h);
    g_assert_cmpuint(age_generation(g->qts), ==, loaded ? 2 : 1);
    if (loaded) {
        check_refused(side);
    } else {
        age_pages_add(want, age_migration_quiet(g), QUIET, AGE_PAGE);
    }
    if (side->d) {
        age_pages_add(want, side->d->memory, DMA_SIZE / AGE_PAGE, AGE_PAGE);
    }
    age_assert_same_pages(age_history_read(g, &side->since, NULL), want);
    age_history_del(g->qts);
}

void age_side_quit(AgeSide *side)
{
    if (side->h->thread) {
        age_harvester_stop(side->h);
    }
    age_guest_quit(side->g);
    age_harvester_free(side->h);
    g_free(side->d);
}

/* Migration */

static QDict *set_capabilities(QTestState *qts, const char *list)
{
    return qtest_qmp(qts, "{ 'execute': 'migrate-set-capabilities',"
                     " 'arguments': { 'capabilities': %p } }",
                     qobject_from_json(list, &error_abort));
}

bool age_migration_can(QTestState *qts, const char *capabilities)
{
    g_autoptr(QDict) response = set_capabilities(qts, capabilities);

    return qdict_haskey(response, "return");
}

void age_migration_set(QTestState *qts, const char *capabilities)
{
    g_assert(age_migration_can(qts, capabilities));
}

void age_migration_set_parameters(QTestState *qts, const char *parameters)
{
    qtest_qmp_assert_success(
        qts, "{ 'execute': 'migrate-set-parameters', 'arguments': %p }",
        qobject_from_json(parameters, &error_abort));
}

void age_migration_wait(QTestState *qts, const char *want)
{
    int64_t deadline = 0;

    for (;;) {
        g_autoptr(QDict) info = qtest_qmp_assert_success_ref(
            qts, "{ 'execute': 'query-migrate' }");
        const char *status = qdict_get_try_str(info, "status");

        if (status && g_str_equal(status, want)) {
            return;
        }
        g_assert_cmpstr(status, !=, "failed");
        age_poll(&deadline);
    }
}

void age_migration_wait_running(QTestState *qts)
{
    int64_t deadline = 0;

    for (;;) {
        g_autoptr(QDict) info = qtest_qmp_assert_success_ref(
            qts, "{ 'execute': 'query-status' }");

        if (qdict_get_bool(info, "running")) {
            return;
        }
        age_poll(&deadline);
    }
}

char *age_migration_path(const char *what)
{
    return g_strdup_printf("%s/age-migration-%d.%s", g_get_tmp_dir(),
                           getpid(), what);
}

void age_migration_send(AgeGuest *g, const char *uri)
{
    qtest_qmp_assert_success(g->qts, "{ 'execute': 'migrate', 'arguments': {"
                             " 'uri': %s } }", uri);
}

void age_migration_receive(AgeGuest *g, const char *uri)
{
    qtest_qmp_assert_success(g->qts, "{ 'execute': 'migrate-incoming',"
                             " 'arguments': { 'uri': %s,"
                             " 'exit-on-error': false } }", uri);
}

void age_migration_begin(AgeGuest *from, AgeGuest *to)
{
    g_autofree char *path = age_migration_path("socket");
    g_autofree char *uri = g_strdup_printf("unix:%s", path);

    age_migration_receive(to, uri);
    age_migration_send(from, uri);
}

void age_migration_end(AgeGuest *from, AgeGuest *to)
{
    age_migration_wait(from->qts, "completed");
    age_migration_wait(to->qts, "completed");
    age_migration_wait_running(to->qts);
    memcpy(to->seq, from->seq, sizeof(to->seq));
}

/* What the guest does */

void age_migration_begin_work(AgeGuest *g, unsigned pages)
{
    age_guest_touch(g, AGE_GUEST_WRITE, age_migration_quiet(g), QUIET);
    age_guest_send(g, 1, AGE_GUEST_WRITE | AGE_GUEST_FLUSH | AGE_GUEST_REPEAT,
                   g->memory, pages, AGE_PAGE);
}

void age_migration_end_work(AgeGuest *g)
{
    age_guest_send(g, 1, AGE_GUEST_READ, g->memory, 0, 0);
    age_guest_wait(g, 1);
}

void age_migration_check_arrived(AgeGuest *g)
{
    age_guest_wait_round(g, 1);
    for (unsigned i = 0; i < QUIET; i++) {
        uint64_t gpa = age_migration_quiet(g) + i * AGE_PAGE;

        g_assert_cmphex(qtest_readb(g->qts, gpa + AGE_GUEST_BYTE), ==,
                        WRITTEN);
    }
}

/* Nobody is running at first, so that what is made old stays old. */
void age_migration_check_source(AgeGuest *g, unsigned pages)
{
    age_check_tables(g->qts);
    g_assert_cmpuint(age_count(g->qts, age_migration_quiet(g), g->end, false),
                     ==, 0);
    age_count(g->qts, g->memory, g->end, true);
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, false), ==, 0);

    age_guest_cont(g);
    age_guest_wait_round(g, 1);
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, false), ==, pages);
    age_check(g);
}

void age_migration_check_destination(AgeGuest *g, unsigned pages)
{
    age_guest_wait_round(g, 1);
    age_assert_same_pages(age_mapped_pages(g->qts, "memory", g->memory,
                                           g->end),
                          age_pages_of(g->memory, pages));
    age_check(g);
    age_flush_all(g->qts);
    age_guest_wait_round(g, 1);
    age_assert_same_pages(age_young_pages(g->qts, g->memory, g->end, false),
                          age_pages_of(g->memory, pages));

    age_migration_end_work(g);
    age_flush_all(g->qts);
    age_guest_touch(g, AGE_GUEST_READ, age_migration_quiet(g), QUIET);
    age_assert_same_pages(age_young_pages(g->qts, g->memory, g->end, false),
                          age_pages_of(age_migration_quiet(g), QUIET));
    age_check(g);
}
