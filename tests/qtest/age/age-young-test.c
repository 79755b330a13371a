/*
 * age: what becomes young, and nothing else
 *
 * The guest of these tests accesses its one page of code, its page tables, the
 * mailboxes of its CPUs and the pages that a test names.  So it is known what
 * has to be young, to the page.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "guest.h"
#include "qmp.h"

/* What a guest accesses by itself as long as it is up */
static GArray *own_pages(const AgeGuest *g)
{
    const AgeArch *arch = age_arch();
    GArray *pages = age_pages_new();

    age_pages_add(pages, arch->code, 1, 0);
    if (age_is_x86()) {
        /* The end of the BIOS shows up here as well: it is the same page. */
        age_pages_add(pages, 0xff000, 1, 0);
    }
    age_pages_add(pages, arch->ram + AGE_TABLES_OFFSET, arch->tables,
                  AGE_PAGE);
    age_pages_add(pages, age_guest_mailbox(0), g->cpus, AGE_PAGE);
    return pages;
}

static void test_boot(void)
{
    AgeGuest *g = age_guest_start(NULL);

    age_guest_stop(g);
    age_assert_same_pages(age_all_young_pages(g->qts, "memory", false),
                          own_pages(g));

    /* Testing only has changed nothing. */
    age_assert_same_pages(age_all_young_pages(g->qts, "memory", false),
                          own_pages(g));
    g_array_unref(age_all_young_pages(g->qts, "memory", true));
    age_assert_same_pages(age_all_young_pages(g->qts, "memory", false),
                          age_pages_new());
    age_guest_quit(g);
}

/*
 * Make all old; let the guest do @what to three pages in a row, some that lie
 * apart, and the last one of its memory; and see just those become young.
 */
static void check_recall(AgeGuest *g, unsigned what)
{
    GArray *want = own_pages(g);
    uint64_t row = g->memory + 7 * AGE_PAGE;
    uint64_t apart = g->memory + 3 * AGE_BLOCK;
    uint64_t last = g->end - AGE_PAGE;

    age_flush_all(g->qts);
    age_guest_touch(g, what, row, 3);
    age_guest_send(g, 0, what, apart, 6, 5 * AGE_BLOCK + AGE_PAGE);
    age_guest_wait(g, 0);
    age_guest_touch(g, what, last, 1);

    age_pages_add(want, row, 3, AGE_PAGE);
    age_pages_add(want, apart, 6, 5 * AGE_BLOCK + AGE_PAGE);
    age_pages_add(want, last, 1, 0);
    age_assert_same_pages(age_all_young_pages(g->qts, "memory", false), want);
}

static void put_code(AgeGuest *g)
{
    age_guest_put_code(g, g->memory + 7 * AGE_PAGE, 3);
    for (unsigned i = 0; i < 6; i++) {
        age_guest_put_code(g, g->memory + 3 * AGE_BLOCK +
                           i * (5 * AGE_BLOCK + AGE_PAGE), 1);
    }
    age_guest_put_code(g, g->end - AGE_PAGE, 1);
}

static void test_recall(void)
{
    AgeGuest *g = age_guest_start(NULL);

    check_recall(g, AGE_GUEST_READ);
    check_recall(g, AGE_GUEST_WRITE);
    put_code(g);
    check_recall(g, AGE_GUEST_EXEC);
    /* Pages that are in the TLB, and leaves that are there, make no odds. */
    check_recall(g, AGE_GUEST_READ | AGE_GUEST_WRITE | AGE_GUEST_EXEC);
    check_recall(g, AGE_GUEST_READ);
    age_guest_quit(g);
}

/* The accelerator's "flush" property is what a harvest does by default. */
static void test_flush_property(void)
{
    AgeGuestOptions options = { .accel = ",flush=request" };
    AgeGuest *g = age_guest_start(&options);

    for (unsigned i = 0; i < 10; i++) {
        GArray *want = age_pages_new();

        age_guest_touch(g, AGE_GUEST_READ, g->memory, 20);
        age_pages_add(want, g->memory, 20, AGE_PAGE);
        age_assert_same_pages(age_young_pages(g->qts, g->memory, g->end,
                                              true), want);
        age_wait_flushed(g->qts);
    }
    age_guest_quit(g);
}

/*
 * Without a flush a page that is in a TLB may stay old, as on hardware, until
 * the guest drops its TLB itself.
 */
static void test_guest_flush(void)
{
    AgeGuest *g = age_guest_start(NULL);
    unsigned what = AGE_GUEST_READ | AGE_GUEST_FLUSH;

    for (unsigned i = 0; i < 10; i++) {
        GArray *want = age_pages_new();

        age_guest_touch(g, what, g->memory, 20);
        age_pages_add(want, g->memory, 20, AGE_PAGE);
        age_assert_same_pages(age_young_pages(g->qts, g->memory, g->end,
                                              true), want);
    }
    g_assert_cmpuint(age_counter(g->qts, "flushes"), ==, 0);
    age_guest_quit(g);
}

/*
 * What was made old without a flush is caught up with by the next request, be
 * there anything more to make old or not; and one flush will do.
 */
static void test_late_flush(void)
{
    AgeGuest *g = age_guest_start(NULL);

    age_guest_touch(g, AGE_GUEST_READ, g->memory, 20);
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, true), ==, 20);
    for (unsigned i = 0; i < 3; i++) {
        QList *ranges = qlist_new();

        age_add_clear_range(ranges, g->memory, g->end);
        qobject_unref(age_harvest(g->qts, ranges,
                                  "{ \"flush\": \"request\" }"));
        age_wait_flushed(g->qts);
    }
    age_guest_touch(g, AGE_GUEST_READ, g->memory, 20);
    g_assert_cmpuint(age_counter(g->qts, "flushes"), ==, 1);
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, false), ==, 20);
    age_guest_quit(g);
}

/* A flush that is asked for while vCPUs are stopped comes before they go on. */
static void test_stopped(void)
{
    AgeGuest *g = age_guest_start(NULL);
    GArray *want = age_pages_new();

    age_guest_touch(g, AGE_GUEST_WRITE, g->memory, 20);
    age_guest_stop(g);
    age_flush_all(g->qts);
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, false), ==, 0);
    age_guest_cont(g);
    age_guest_touch(g, AGE_GUEST_READ, g->memory + AGE_PAGE, 18);
    age_pages_add(want, g->memory + AGE_PAGE, 18, AGE_PAGE);
    age_assert_same_pages(age_young_pages(g->qts, g->memory, g->end, true),
                          want);
    age_guest_quit(g);
}

/*
 * Several vCPUs, by threads of their own or by turns: each touches its part,
 * and parts overlap.
 */
static void test_smp(const void *accel)
{
    AgeGuestOptions options = { .accel = accel, .cpus = 4 };
    AgeGuest *g = age_guest_start(&options);

    for (unsigned round = 0; round < 20; round++) {
        GArray *want = own_pages(g);

        age_flush_all(g->qts);
        for (unsigned cpu = 0; cpu < g->cpus; cpu++) {
            uint64_t start = g->memory + (round + cpu * 64) * AGE_PAGE;

            age_guest_send(g, cpu, AGE_GUEST_WRITE, start, 96, AGE_PAGE);
            age_pages_add(want, start, 96, AGE_PAGE);
        }
        for (unsigned cpu = 0; cpu < g->cpus; cpu++) {
            age_guest_wait(g, cpu);
        }
        age_assert_same_pages(age_all_young_pages(g->qts, "memory", false),
                              want);
    }
    age_guest_quit(g);
}

/* query-age-walk */

/* The way to @gpa: each entry is where the address says, and leads on. */
static void check_walk(AgeGuest *g, uint64_t gpa, AgeLeafInfo *leaf)
{
    const AgeArch *arch = age_arch();
    g_autoptr(QList) entries = age_walk(g->qts, "memory", gpa);
    int step = arch->root_level < arch->leaf_level ? 1 : -1;
    int level = arch->root_level;
    unsigned shift = 39;
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(entries, entry) {
        QDict *dict = qobject_to(QDict, entry->value);

        age_parse_entry(dict, leaf);
        g_assert_cmpint(leaf->level, ==, level);
        g_assert_cmpuint(leaf->index, ==, (gpa >> shift) & 511);
        g_assert(qdict_get_bool(dict, "leaf") == (level == arch->leaf_level));
        g_assert(!!(leaf->value & arch->accessed) == leaf->accessed);
        g_assert_cmphex(leaf->value & arch->address, ==, leaf->address);
        level += step;
        shift -= 9;
    }
    g_assert_cmpint(level, ==, arch->leaf_level + step);
}

static void check_flags(AgeGuest *g, uint64_t gpa, bool accessed, bool dirty)
{
    AgeLeafInfo leaf;

    check_walk(g, gpa, &leaf);
    g_assert(leaf.accessed == accessed);
    g_assert(leaf.dirty == dirty);
    g_assert(!!(leaf.value & age_arch()->dirty) == dirty);
    g_assert(leaf.read && leaf.write && leaf.execute);
}

static void test_walk(void)
{
    AgeGuest *g = age_guest_start(NULL);
    uint64_t gpa = g->memory + 3 * AGE_BLOCK + 5 * AGE_PAGE;
    AgeSlotInfo slot;
    AgeLeafInfo leaf;

    /* A neighbour has brought the tables, but nobody was here. */
    age_guest_touch(g, AGE_GUEST_READ, gpa + AGE_PAGE, 1);
    g_assert(!age_leaf(g->qts, "memory", gpa, &leaf));

    age_guest_touch(g, AGE_GUEST_READ, gpa, 1);
    check_walk(g, gpa, &leaf);
    g_assert(age_find_slot(g->qts, "memory", gpa, &slot));
    g_assert_cmphex(leaf.address, ==, slot.hva + (gpa - slot.gpa));

    /* The byte does not matter, only the page. */
    check_walk(g, gpa + AGE_PAGE - 1, &leaf);
    g_assert_cmphex(leaf.address, ==, slot.hva + (gpa - slot.gpa));
    age_guest_quit(g);
}

static void make_old(AgeGuest *g, uint64_t gpa)
{
    g_assert_cmpuint(age_count(g->qts, gpa, gpa + AGE_PAGE, true), ==, 1);
}

/* Loads make it young, stores dirty too; harvests take away young alone. */
static void test_flags(void)
{
    AgeGuest *g = age_guest_start(NULL);
    uint64_t gpa = g->memory + 9 * AGE_PAGE;

    age_guest_touch(g, AGE_GUEST_READ, gpa, 1);
    check_flags(g, gpa, true, false);
    make_old(g, gpa);
    check_flags(g, gpa, false, false);
    age_guest_touch(g, AGE_GUEST_WRITE | AGE_GUEST_FLUSH, gpa, 1);
    check_flags(g, gpa, true, true);
    make_old(g, gpa);
    check_flags(g, gpa, false, true);
    age_guest_touch(g, AGE_GUEST_READ | AGE_GUEST_FLUSH, gpa, 1);
    check_flags(g, gpa, true, true);
    age_guest_quit(g);
}

/* Above all that is in use, there are only the first tables. */
static void test_walk_nothing(void)
{
    AgeGuest *g = age_guest_start(NULL);
    AgeLeafInfo leaf;

    g_assert(!age_leaf(g->qts, "memory", g->end - 1, &leaf));
    age_guest_quit(g);
}

/* Guest page tables are young by being walked, and on x86 dirty as well. */
static void test_page_tables(void)
{
    const AgeArch *arch = age_arch();
    AgeGuest *g = age_guest_start(NULL);
    uint64_t tables = arch->ram + AGE_TABLES_OFFSET;

    for (unsigned i = 0; i < 3; i++) {
        age_flush_all(g->qts);
        age_guest_touch(g, AGE_GUEST_READ, g->memory, 1);
        for (unsigned table = 0; table < arch->tables; table++) {
            check_flags(g, tables + table * AGE_PAGE, true, true);
        }
    }
    age_guest_quit(g);
}

/* Code in read-only memory: its leaf can't be written to, nor be dirty. */
static void test_read_only(void)
{
    AgeGuest *g = age_guest_start(NULL);
    uint64_t gpa = age_arch()->code;
    AgeSlotInfo slot;
    AgeLeafInfo leaf;

    g_assert(age_find_slot(g->qts, "memory", gpa, &slot));
    g_assert(slot.readonly);
    check_walk(g, gpa, &leaf);
    g_assert(leaf.accessed && leaf.read && leaf.execute);
    g_assert(!leaf.write && !leaf.dirty);
    g_assert_cmphex(leaf.address, ==, slot.hva + (gpa - slot.gpa));
    age_guest_quit(g);
}

/*
 * Two ways to one page of the host: young by either, reported and flipped
 * once, and made old by both.  On x86 the end of the BIOS is such a page.
 */
static void test_alias(void)
{
    AgeGuest *g = age_guest_start(NULL);
    uint64_t low = 0xff000, high = age_arch()->code;
    AgeSlotInfo slot;
    AgeLeafInfo leaf;

    age_guest_touch(g, AGE_GUEST_READ, low, 1);
    age_guest_stop(g);
    check_walk(g, low, &leaf);
    g_assert(leaf.accessed);
    g_assert(age_find_slot(g->qts, "memory", high, &slot));
    g_assert_cmphex(leaf.address, ==, slot.hva + (high - slot.gpa));

    g_assert_cmpuint(age_count(g->qts, low, low + AGE_PAGE, false), ==, 1);
    g_assert_cmpuint(age_count(g->qts, high, high + AGE_PAGE, false), ==, 1);
    g_assert_cmpuint(age_count(g->qts, low, low + AGE_PAGE, true), ==, 1);
    check_walk(g, low, &leaf);
    g_assert(!leaf.accessed);
    check_walk(g, high, &leaf);
    g_assert(!leaf.accessed);
    g_assert_cmpuint(age_count(g->qts, high, high + AGE_PAGE, true), ==, 0);
    age_guest_quit(g);
}

/* Nothing is lost: what walkers set is cleared, is zapped, or is still there */
static void test_conservation(void)
{
    AgeGuestOptions options = { .cpus = 2 };
    AgeGuest *g = age_guest_start(&options);
    uint64_t pages = (g->end - g->memory) / AGE_PAGE;

    for (unsigned i = 0; i < 200; i++) {
        uint64_t start = g_test_rand_int_range(0, pages - 256);
        uint64_t stride = g_test_rand_int_range(1, 9);
        uint64_t from = g_test_rand_int_range(0, pages - 512);

        age_guest_send(g, i % 2, AGE_GUEST_WRITE | AGE_GUEST_FLUSH,
                       g->memory + start * AGE_PAGE, 32, stride * AGE_PAGE);
        age_count(g->qts, g->memory + from * AGE_PAGE,
                  g->memory + (from + 512) * AGE_PAGE, i % 4);
        age_guest_wait(g, i % 2);
    }
    age_guest_stop(g);
    age_check_conserved(g->qts);
    age_guest_quit(g);
}

/* What is old as a whole is not looked into: a pass costs what is young. */
static void test_skip(void)
{
    AgeGuest *g = age_guest_start(NULL);
    uint64_t skipped;

    age_guest_send(g, 0, AGE_GUEST_READ, g->memory, 10, AGE_BLOCK);
    age_guest_wait(g, 0);
    age_guest_stop(g);
    skipped = age_counter(g->qts, "skipped-tables");
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, true), ==, 10);
    g_assert_cmpuint(age_counter(g->qts, "skipped-tables"), ==, skipped);
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, true), ==, 0);
    g_assert_cmpuint(age_counter(g->qts, "skipped-tables"), ==, skipped + 10);
    age_guest_quit(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("age/young/boot", test_boot);
    qtest_add_func("age/young/recall", test_recall);
    qtest_add_func("age/young/flush-property", test_flush_property);
    qtest_add_func("age/young/guest-flush", test_guest_flush);
    qtest_add_func("age/young/late-flush", test_late_flush);
    qtest_add_func("age/young/stopped", test_stopped);
    qtest_add_data_func("age/young/smp/multi", ",thread=multi", test_smp);
    qtest_add_data_func("age/young/smp/single", ",thread=single", test_smp);
    qtest_add_func("age/young/walk", test_walk);
    qtest_add_func("age/young/flags", test_flags);
    qtest_add_func("age/young/walk-nothing", test_walk_nothing);
    qtest_add_func("age/young/page-tables", test_page_tables);
    qtest_add_func("age/young/read-only", test_read_only);
    if (age_is_x86()) {
        qtest_add_func("age/young/alias", test_alias);
    }
    qtest_add_func("age/young/skip", test_skip);
    qtest_add_func("age/young/conservation", test_conservation);

    return g_test_run();
}
