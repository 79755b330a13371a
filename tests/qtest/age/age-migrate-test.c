/*
 * age: guests that move to another QEMU, or back to what they were
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "board.h"
#include "check.h"
#include "migration.h"
#include "qmp.h"
#include "snapshot.h"

/* How many pages a vCPU uses all the time */
#define BUSY            100

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

static void test_way(const void *opaque)
{
    const Way *way = opaque;
    AgeGuest *from = start(way->from_tcg, false, way->args);
    AgeGuest *to = start(way->to_tcg, true, way->args);

    age_migration_begin_work(from, BUSY);
    if (!way->from_tcg) {
        age_flush_all(from->qts);
    }
    age_migration_begin(from, to);
    age_migration_end(from, to);
    age_migration_check_arrived(to);
    if (!way->from_tcg) {
        g_assert_cmpuint(age_generation(from->qts), ==, 1);
        age_migration_check_source(from, BUSY);
    }
    if (!way->to_tcg) {
        g_assert_cmpuint(age_generation(to->qts), ==, 2);
        age_migration_check_destination(to, BUSY);
    }
    age_guest_quit(from);
    age_guest_quit(to);
}

/*
 * Other ways to send memory, while all of it is made old, out of band, on both
 * sides: what is young or old has nothing to do with what is sent.
 *
 * @capabilities: of both QEMUs
 * @file: through a file, which arrives after the source is done
 */
typedef struct Stream {
    const char *name;
    const char *capabilities;
    bool file;
} Stream;

#define MULTIFD     AGE_CAPABILITY("multifd")
#define MAPPED_RAM  AGE_CAPABILITY("mapped-ram")

static const Stream streams[] = {
    { "precopy", "[]" },
    { "multifd", "[" MULTIFD "]" },
    { "mapped-ram", "[" MAPPED_RAM "]", true },
    { "multifd-mapped-ram", "[" MAPPED_RAM "," MULTIFD "]", true },
};

static void migrate_by_file(AgeGuest *from, AgeGuest *to)
{
    g_autofree char *path = age_migration_path("file");
    g_autofree char *uri = g_strdup_printf("file:%s", path);

    age_migration_send(from, uri);
    age_migration_wait(from->qts, "completed");
    age_migration_receive(to, uri);
    age_migration_wait(to->qts, "completed");
    unlink(path);
}

static void check_moved(AgeSide *from, AgeSide *to)
{
    age_migration_end(from->g, to->g);
    age_migration_check_arrived(to->g);
    age_side_end(from, false, BUSY);
    age_side_end(to, true, BUSY);
    age_migration_check_source(from->g, BUSY);
    age_migration_check_destination(to->g, BUSY);
}

static void test_stream(const void *opaque)
{
    const Stream *stream = opaque;
    AgeSide from, to;

    age_side_start(&from, false, NULL);
    age_side_start(&to, true, NULL);
    age_migration_set(from.g->qts, stream->capabilities);
    age_migration_set(to.g->qts, stream->capabilities);
    age_migration_begin_work(from.g, BUSY);
    age_side_harvested(&from);
    if (stream->file) {
        migrate_by_file(from.g, to.g);
    } else {
        age_migration_begin(from.g, to.g);
    }
    check_moved(&from, &to);
    age_side_quit(&from);
    age_side_quit(&to);
}

/*
 * Migrations that are held where the guest has stopped, and all but the devices
 * was sent
 *
 * @end: how they end
 * @arrives: the guest goes on over there, not here
 */
typedef struct Held {
    const char *name;
    void (*end)(QTestState *from);
    bool arrives;
} Held;

static void held_continue(QTestState *from)
{
    qtest_qmp_assert_success(from, "{ 'execute': 'migrate-continue',"
                             " 'arguments': { 'state': 'pre-switchover' } }");
}

static void held_cancel(QTestState *from)
{
    qtest_qmp_assert_success(from, "{ 'execute': 'migrate_cancel' }");
}

static const Held held[] = {
    { "continue", held_continue, true },
    { "cancel", held_cancel },
};

static void hold(AgeSide *from, AgeSide *to)
{
    age_side_start(from, false, NULL);
    age_side_start(to, true, NULL);
    age_migration_set(from->g->qts,
                      "[" AGE_CAPABILITY("pause-before-switchover") "]");
    age_migration_begin_work(from->g, BUSY);
    age_migration_begin(from->g, to->g);
    age_migration_wait(from->g->qts, "pre-switchover");
    age_side_harvested(from);
    age_side_harvested(to);
}

/* All is at the source as if nothing had been, and nothing is over there. */
static void check_stayed(AgeSide *from, AgeSide *to)
{
    age_migration_wait(from->g->qts, "cancelled");
    age_migration_wait(to->g->qts, "failed");
    age_migration_wait_running(from->g->qts);
    age_migration_check_arrived(from->g);
    age_side_end(from, false, BUSY);
    age_side_end(to, true, 0);
    age_check(from->g);
}

static void test_held(const void *opaque)
{
    const Held *h = opaque;
    AgeSide from, to;

    hold(&from, &to);
    h->end(from.g->qts);
    if (h->arrives) {
        check_moved(&from, &to);
    } else {
        check_stayed(&from, &to);
    }
    age_side_quit(&from);
    age_side_quit(&to);
}

/*
 * To another QEMU on this host, which takes the guest's memory as it is.  It
 * can't be spoken to before it has got that.
 */

#define SHARED      "-object memory-backend-memfd,id=own,size=64M,share=on" \
                    " -machine memory-backend=own,aux-ram-share=on"

/* Linux lists its sockets; those that listen have this among their flags. */
static bool is_listening(const char *path)
{
    g_autofree char *name = g_strdup_printf(" %s", path);
    g_autofree char *sockets = NULL;
    g_auto(GStrv) lines = NULL;

    g_assert(g_file_get_contents("/proc/net/unix", &sockets, NULL, NULL));
    lines = g_strsplit(sockets, "\n", 0);
    for (unsigned i = 0; lines[i]; i++) {
        if (g_str_has_suffix(lines[i], name) &&
            strstr(lines[i], " 00010000 ")) {
            return true;
        }
    }
    return false;
}

static void wait_listening(const char *path)
{
    int64_t deadline = 0;

    while (!is_listening(path)) {
        age_poll(&deadline);
    }
}

static void transfer(AgeGuest *g, const char *path, const char *cpr_path)
{
    age_migration_set_parameters(g->qts, "{ 'mode': 'cpr-transfer' }");
    qtest_qmp_assert_success(
        g->qts, "{ 'execute': 'migrate', 'arguments': { 'channels': ["
        " { 'channel-type': 'main', 'addr': { 'transport': 'socket',"
        "   'type': 'unix', 'path': %s } },"
        " { 'channel-type': 'cpr', 'addr': { 'transport': 'socket',"
        "   'type': 'unix', 'path': %s } } ] } }", path, cpr_path);
}

static void test_cpr_transfer(void)
{
    g_autofree char *path = age_migration_path("socket");
    g_autofree char *uri = g_strdup_printf("unix:%s", path);
    g_autofree char *cpr_path = age_migration_path("cpr");
    g_autofree char *args = g_strdup_printf(
        SHARED " -incoming cpr,addr.transport=socket,addr.type=unix"
        ",addr.path=%s", cpr_path);
    AgeSide from, to;

    age_side_start(&from, false, SHARED);
    age_side_start_incoming(&to, args);
    age_migration_begin_work(from.g, BUSY);
    wait_listening(cpr_path);
    transfer(from.g, path, cpr_path);
    age_side_connect(&to);
    age_side_harvested(&from);
    age_migration_receive(to.g, uri);
    age_migration_end(from.g, to.g);
    age_migration_check_arrived(to.g);
    age_side_end(&from, false, BUSY);
    age_side_end(&to, true, BUSY);
    age_check_tables(from.g->qts);
    age_migration_check_destination(to.g, BUSY);
    age_side_quit(&from);
    age_side_quit(&to);
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
    age_migration_begin_work(g, BUSY);
    return g;
}

/* Another place for the memory of the VGA, and other things to do */
static void go_elsewhere(AgeGuest *g)
{
    uint64_t gpa = age_board_pci_window(1);

    age_migration_end_work(g);
    map_vga(g, gpa);
    age_guest_touch(g, AGE_GUEST_WRITE, gpa, 2 * VRAM_PAGES);
    age_guest_touch(g, AGE_GUEST_READ | AGE_GUEST_WRITE, age_migration_quiet(g),
                    4 * AGE_MIGRATION_QUIET);
    g_assert_cmpuint(age_count(g->qts, gpa, gpa + 16 * MiB, false), ==,
                     2 * VRAM_PAGES);
}

/* All of it is as if it had not been. */
static void check_back(AgeGuest *g)
{
    uint64_t here = age_board_pci_window(0), there = age_board_pci_window(1);
    AgeSlotInfo slot;

    age_migration_check_arrived(g);
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
                          age_pages_of(here, 2 * VRAM_PAGES));
    age_assert_same_pages(age_young_pages(g->qts, g->memory, g->end, false),
                          age_pages_of(g->memory, BUSY));
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
    for (unsigned i = 0; i < G_N_ELEMENTS(held); i++) {
        g_autofree char *path = g_strdup_printf("age/migrate/held/%s",
                                                held[i].name);

        qtest_add_data_func(path, &held[i], test_held);
    }
    qtest_add_func("age/migrate/cpr-transfer", test_cpr_transfer);
    qtest_add_func("age/migrate/snapshot", test_snapshot);

    return g_test_run();
}
