/*
 * age: guests that move to another QEMU, or back to what they were
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
#include "guest.h"
#include "harvester.h"
#include "qmp.h"
#include "snapshot.h"

/* What a vCPU has to do all the time, and what nobody does any more */
#define BUSY            100
#define VERY_BUSY       8000
#define QUIET           50
#define QUIET_OFFSET    (40 * MiB)

/* What AGE_GUEST_WRITE stores */
#define WRITTEN         AGE_GUEST_WRITE

/**
 * Way: from where to where
 *
 * @name: for the test
 * @from_tcg: from -accel tcg
 * @to_tcg: to -accel tcg
 * @args: further arguments of both QEMUs, or NULL
 */
typedef struct Way {
    const char *name;
    bool from_tcg;
    bool to_tcg;
    const char *args;
} Way;

static const Way ways[] = {
    { "age-to-age" },
    { "tcg-to-age", true, false },
    { "age-to-tcg", false, true },
    /* The guest's memory is not the first block of RAM. */
    { "second-block", .args = "-object memory-backend-ram,id=own,size=1M" },
};

static AgeGuest *start(bool tcg, bool incoming, const char *args)
{
    AgeGuestOptions options = {
        .cpus = 2,
        .args = args,
        .tcg = tcg,
        .incoming = incoming,
    };

    return age_guest_start(&options);
}

static uint64_t quiet(const AgeGuest *g)
{
    return g->memory + QUIET_OFFSET;
}

static void begin_work(AgeGuest *g, unsigned pages)
{
    age_guest_touch(g, AGE_GUEST_WRITE, quiet(g), QUIET);
    age_guest_send(g, 1, AGE_GUEST_WRITE | AGE_GUEST_FLUSH | AGE_GUEST_REPEAT,
                   g->memory, pages, AGE_PAGE);
}

static void end_work(AgeGuest *g)
{
    age_guest_send(g, 1, AGE_GUEST_READ, g->memory, 0, 0);
    age_guest_wait(g, 1);
}

static void wait_status(QTestState *qts, const char *want)
{
    int64_t deadline = 0;

    for (;;) {
        g_autoptr(QDict) info = qtest_qmp_assert_success_ref(
            qts, "{ 'execute': 'query-migrate' }");
        const char *status = qdict_get_try_str(info, "status");

        g_assert_cmpstr(status, !=, "failed");
        if (status && g_str_equal(status, want)) {
            return;
        }
        age_poll(&deadline);
    }
}

static void wait_running(QTestState *qts)
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

/* @command is "migrate" or "migrate-incoming" */
static void migrate(AgeGuest *g, const char *command, const char *uri)
{
    qtest_qmp_assert_success(
        g->qts, "{ 'execute': %s, 'arguments': { 'uri': %s } }", command, uri);
}

static void begin_migration(AgeGuest *from, AgeGuest *to)
{
    g_autofree char *uri = g_strdup_printf("unix:%s/age-migrate-%d",
                                           g_get_tmp_dir(), getpid());

    migrate(to, "migrate-incoming", uri);
    migrate(from, "migrate", uri);
}

static void end_migration(AgeGuest *from, AgeGuest *to)
{
    wait_status(from->qts, "completed");
    wait_status(to->qts, "completed");
    wait_running(to->qts);
    memcpy(to->seq, from->seq, sizeof(to->seq));
}

static GArray *pages_of(uint64_t start, unsigned count)
{
    GArray *pages = age_pages_new();

    age_pages_add(pages, start, count, AGE_PAGE);
    return pages;
}

/*
 * That memory was read to be sent made nothing young.  Nobody is running, so
 * that what is made old stays old; and the guest can go on here, too.
 */
static void check_source(AgeGuest *g, unsigned pages)
{
    age_check_tables(g->qts);
    g_assert_cmpuint(age_count(g->qts, quiet(g), g->end, false), ==, 0);
    age_count(g->qts, g->memory, g->end, true);
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, false), ==, 0);

    age_guest_cont(g);
    age_guest_wait_round(g, 1);
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, false), ==, pages);
    age_check(g);
}

/* Only what was used here is mapped here, by the frames of here. */
static void check_destination(AgeGuest *g, unsigned pages)
{
    age_guest_wait_round(g, 1);
    age_assert_same_pages(age_mapped_pages(g->qts, "memory", g->memory,
                                           g->end),
                          pages_of(g->memory, pages));
    age_check(g);
    age_flush_all(g->qts);
    age_guest_wait_round(g, 1);
    age_assert_same_pages(age_young_pages(g->qts, g->memory, g->end, false),
                          pages_of(g->memory, pages));

    end_work(g);
    age_flush_all(g->qts);
    age_guest_touch(g, AGE_GUEST_READ, quiet(g), QUIET);
    age_assert_same_pages(age_young_pages(g->qts, g->memory, g->end, false),
                          pages_of(quiet(g), QUIET));
    age_check(g);
}

static void check_arrived(AgeGuest *g)
{
    age_guest_wait_round(g, 1);
    for (unsigned i = 0; i < QUIET; i++) {
        uint64_t gpa = quiet(g) + i * AGE_PAGE;

        g_assert_cmphex(qtest_readb(g->qts, gpa + AGE_GUEST_BYTE), ==,
                        WRITTEN);
    }
}

static void test_way(const void *opaque)
{
    const Way *way = opaque;
    AgeGuest *from = start(way->from_tcg, false, way->args);
    AgeGuest *to = start(way->to_tcg, true, way->args);

    begin_work(from, BUSY);
    if (!way->from_tcg) {
        age_flush_all(from->qts);
    }
    begin_migration(from, to);
    end_migration(from, to);
    check_arrived(to);
    if (!way->from_tcg) {
        g_assert_cmpuint(age_generation(from->qts), ==, 1);
        check_source(from, BUSY);
    }
    if (!way->to_tcg) {
        g_assert_cmpuint(age_generation(to->qts), ==, 2);
        check_destination(to, BUSY);
    }
    age_guest_quit(from);
    age_guest_quit(to);
}

/*
 * Other ways to send memory, while all of it is made old, out of band, on both
 * sides: what is young or old has nothing to do with what is sent.
 *
 * @capabilities: of both QEMUs, a JSON list as migrate-set-capabilities has it
 * @file: through a file, which arrives after the source is done
 */
typedef struct Stream {
    const char *name;
    const char *capabilities;
    bool file;
} Stream;

#define MULTIFD     "{ 'capability': 'multifd', 'state': true }"
#define MAPPED_RAM  "{ 'capability': 'mapped-ram', 'state': true }"

static const Stream streams[] = {
    { "precopy", "[]" },
    { "multifd", "[" MULTIFD "]" },
    { "mapped-ram", "[" MAPPED_RAM "]", true },
    { "multifd-mapped-ram", "[" MAPPED_RAM "," MULTIFD "]", true },
};

static void set_capabilities(QTestState *qts, const char *list)
{
    qtest_qmp_assert_success(
        qts, "{ 'execute': 'migrate-set-capabilities', 'arguments': {"
        " 'capabilities': %p } }", qobject_from_json(list, &error_abort));
}

static void migrate_by_file(AgeGuest *from, AgeGuest *to)
{
    g_autofree char *path = g_strdup_printf("%s/age-migrate-%d.file",
                                            g_get_tmp_dir(), getpid());
    g_autofree char *uri = g_strdup_printf("file:%s", path);

    migrate(from, "migrate", uri);
    wait_status(from->qts, "completed");
    migrate(to, "migrate-incoming", uri);
    end_migration(from, to);
    unlink(path);
}

static AgeGuest *start_harvested(AgeHarvester *h, bool incoming)
{
    g_autofree char *args = age_harvester_args(h);
    AgeGuest *g = start(false, incoming, args);

    age_harvester_start(h, g->memory, g->end, NULL);
    return g;
}

static void test_stream(const void *opaque)
{
    const Stream *stream = opaque;
    AgeHarvester *here = age_harvester_new(), *there = age_harvester_new();
    AgeGuest *from = start_harvested(here, false);
    AgeGuest *to = start_harvested(there, true);

    set_capabilities(from->qts, stream->capabilities);
    set_capabilities(to->qts, stream->capabilities);
    begin_work(from, BUSY);
    age_harvester_wait(here, qatomic_read(&here->passes) + 2);
    if (stream->file) {
        migrate_by_file(from, to);
    } else {
        begin_migration(from, to);
        end_migration(from, to);
    }
    age_harvester_wait(there, qatomic_read(&there->passes) + 2);
    age_harvester_stop(here);
    age_harvester_stop(there);

    check_arrived(to);
    check_source(from, BUSY);
    check_destination(to, BUSY);
    age_guest_quit(from);
    age_guest_quit(to);
    age_harvester_free(here);
    age_harvester_free(there);
}

/*
 * Postcopy: the guest goes on over there while most of its memory is still
 * here.  What was sent and became stale is discarded there.
 */
static bool enable_postcopy(QTestState *qts)
{
    g_autoptr(QDict) response = qtest_qmp(qts,
        "{ 'execute': 'migrate-set-capabilities', 'arguments': {"
        " 'capabilities': [ { 'capability': 'postcopy-ram',"
        " 'state': true } ] } }");

    return qdict_haskey(response, "return");
}

/* What was sent when the guest was over there already */
static uint64_t postcopy_bytes(QTestState *qts)
{
    g_autoptr(QDict) info = qtest_qmp_assert_success_ref(
        qts, "{ 'execute': 'query-migrate' }");

    return qdict_get_int(qdict_get_qdict(info, "ram"), "postcopy-bytes");
}

static void test_postcopy(void)
{
    AgeGuest *from = start(false, false, NULL);
    AgeGuest *to = start(false, true, NULL);

    if (!enable_postcopy(to->qts) || !enable_postcopy(from->qts)) {
        g_test_skip("the host does not permit userfaultfd");
        age_guest_quit(from);
        age_guest_quit(to);
        return;
    }
    begin_work(from, VERY_BUSY);
    age_guest_wait_round(from, 1);
    /* More is written than goes through, so that it would never end. */
    qtest_qmp_assert_success(from->qts, "{ 'execute':"
                             " 'migrate-set-parameters', 'arguments': {"
                             " 'max-bandwidth': 1000000,"
                             " 'downtime-limit': 1 } }");
    begin_migration(from, to);
    wait_status(from->qts, "active");
    age_guest_wait_round(from, 1);
    qtest_qmp_assert_success(from->qts,
                             "{ 'execute': 'migrate-start-postcopy' }");
    end_migration(from, to);
    g_assert_cmpuint(postcopy_bytes(from->qts), >, 0);
    check_arrived(to);
    age_check_tables(from->qts);
    check_destination(to, VERY_BUSY);
    age_guest_quit(from);
    age_guest_quit(to);
}

/* Snapshots */

#define VGA_DEV         4
#define PCI_COMMAND     0x04
#define PCI_BAR_0       0x10
#define PCI_MEMORY_ON   0x02
#define VRAM_PAGES      20

static void map_vga(AgeGuest *g, uint64_t gpa)
{
    age_pci_writel(g->qts, VGA_DEV, 0, PCI_BAR_0, gpa);
    age_pci_writeb(g->qts, VGA_DEV, 0, PCI_COMMAND, PCI_MEMORY_ON);
}

static AgeGuest *start_for_snapshots(void)
{
    AgeGuestOptions options = {
        .machine = age_board_machine(),
        .cpus = 2,
        .args = "-device VGA,addr=4.0,romfile=",
    };
    AgeGuest *g = age_guest_start(&options);

    age_snapshot_add_disk(g->qts);
    map_vga(g, age_board_pci_window(0));
    age_guest_touch(g, AGE_GUEST_WRITE, age_board_pci_window(0), VRAM_PAGES);
    begin_work(g, BUSY);
    return g;
}

/* Another place for the memory of the VGA, and other things to do */
static void go_elsewhere(AgeGuest *g)
{
    uint64_t gpa = age_board_pci_window(1);

    end_work(g);
    map_vga(g, gpa);
    age_guest_touch(g, AGE_GUEST_WRITE, gpa, 2 * VRAM_PAGES);
    age_guest_touch(g, AGE_GUEST_READ | AGE_GUEST_WRITE, quiet(g), 4 * QUIET);
    g_assert_cmpuint(age_count(g->qts, gpa, gpa + 16 * MiB, false), ==,
                     2 * VRAM_PAGES);
}

/* All of it is as if it had not been. */
static void check_back(AgeGuest *g)
{
    uint64_t here = age_board_pci_window(0), there = age_board_pci_window(1);
    AgeSlotInfo slot;

    check_arrived(g);
    g_assert(!age_find_slot(g->qts, "memory", there, &slot));
    g_assert(age_find_slot(g->qts, "memory", here, &slot));
    age_assert_same_pages(age_mapped_pages(g->qts, "memory", there,
                                           there + 16 * MiB),
                          age_pages_new());
    age_check(g);

    age_flush_all(g->qts);
    age_guest_touch(g, AGE_GUEST_READ, here, 2 * VRAM_PAGES);
    age_guest_wait_round(g, 1);
    age_assert_same_pages(age_young_pages(g->qts, here, here + 16 * MiB,
                                          false),
                          pages_of(here, 2 * VRAM_PAGES));
    age_assert_same_pages(age_young_pages(g->qts, g->memory, g->end, false),
                          pages_of(g->memory, BUSY));
    age_check(g);
}

static void test_snapshot(void)
{
    AgeGuest *g = start_for_snapshots();
    uint32_t seq[AGE_MAX_CPUS];

    memcpy(seq, g->seq, sizeof(seq));
    age_snapshot_save(g->qts);
    age_check(g);
    for (unsigned i = 0; i < 3; i++) {
        go_elsewhere(g);
        age_snapshot_load(g->qts);
        memcpy(g->seq, seq, sizeof(seq));
        check_back(g);
    }
    age_guest_quit(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (unsigned i = 0; i < G_N_ELEMENTS(ways); i++) {
        g_autofree char *path = g_strdup_printf("age/migrate/%s",
                                                ways[i].name);

        qtest_add_data_func(path, &ways[i], test_way);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(streams); i++) {
        g_autofree char *path = g_strdup_printf("age/migrate/harvested/%s",
                                                streams[i].name);

        qtest_add_data_func(path, &streams[i], test_stream);
    }
    qtest_add_func("age/migrate/postcopy", test_postcopy);
    qtest_add_func("age/migrate/snapshot", test_snapshot);

    return g_test_run();
}
