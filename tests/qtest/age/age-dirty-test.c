/*
 * age: dirty bits
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "guest.h"
#include "qmp.h"

/* age-test-clear-dirty for @ranges, which it takes */
static QDict *test_clear_dirty(QTestState *qts, QList *ranges,
                               const char *options)
{
    QDict *args = age_harvest_args(ranges, options);

    return qtest_qmp_assert_success_ref(
        qts, "{ 'execute': 'age-test-clear-dirty', 'arguments': %p }", args);
}

/* What is said of the first range */
static QDict *first_range(QDict *result)
{
    const QListEntry *e = qlist_first(qdict_get_qlist(result, "ranges"));

    return qobject_to(QDict, qlist_entry_obj(e));
}

/* The number of dirty pages of [@start, @end); makes them clean if @clear */
static uint64_t count_dirty(QTestState *qts, uint64_t start, uint64_t end,
                            bool clear, const char *options)
{
    g_autoptr(QDict) result = NULL;
    QList *ranges = qlist_new();

    if (clear) {
        age_add_clear_range(ranges, start, end);
    } else {
        age_add_test_range(ranges, start, end);
    }
    result = test_clear_dirty(qts, ranges, options);
    g_assert(qdict_get_bool(first_range(result), "handled"));
    return qdict_get_int(first_range(result), "dirty-pages");
}

static uint64_t dirty_of(AgeGuest *g, uint64_t gpa)
{
    return count_dirty(g->qts, gpa, gpa + AGE_PAGE, false,
                       "{ \"format\": \"count\" }");
}

/* Make everything clean, in the TLBs as well. */
static void clean_all(AgeGuest *g)
{
    count_dirty(g->qts, g->memory, g->end, true,
                "{ \"flush\": \"request\", \"format\": \"count\" }");
    age_wait_flushed(g->qts);
}

/* Stores, and nothing else, make a page dirty. */
static void test_stores(void)
{
    AgeGuest *g = age_guest_start(NULL);
    uint64_t gpa = g->memory;

    age_guest_put_code(g, gpa + 40 * AGE_PAGE, 5);
    age_guest_touch(g, AGE_GUEST_READ, gpa, 10);
    age_guest_touch(g, AGE_GUEST_WRITE, gpa + 20 * AGE_PAGE, 7);
    age_guest_touch(g, AGE_GUEST_EXEC, gpa + 40 * AGE_PAGE, 5);
    g_assert_cmpuint(count_dirty(g->qts, gpa, g->end, false, NULL), ==, 7);
    g_assert_cmpuint(count_dirty(g->qts, gpa + 22 * AGE_PAGE,
                                 gpa + 24 * AGE_PAGE, true, NULL), ==, 2);
    g_assert_cmpuint(count_dirty(g->qts, gpa, g->end, false, NULL), ==, 5);
    /* All are as young as they were. */
    g_assert_cmpuint(age_count(g->qts, gpa, g->end, false), ==, 22);
    g_assert_cmpuint(age_counter(g->qts, "dirty-cleared"), ==, 2);
    age_guest_quit(g);
}

/*
 * A translation that a load brought into the TLB of a clean page lets no store
 * by.  The store brings one that does: it costs one more fill, and no more.
 */
static void test_load_first(void)
{
    AgeGuest *g = age_guest_start(NULL);
    uint64_t gpa = g->memory + 3 * AGE_PAGE;
    uint64_t fills, set;

    for (unsigned i = 0; i < 3; i++) {
        clean_all(g);
        age_guest_touch(g, AGE_GUEST_READ, gpa, 1);
        age_guest_touch(g, AGE_GUEST_READ, gpa, 1);
        g_assert_cmpuint(dirty_of(g, gpa), ==, 0);
        fills = age_counter(g->qts, "fills");
        set = age_counter(g->qts, "dirty-set");
        age_guest_touch(g, AGE_GUEST_WRITE, gpa, 1);
        g_assert_cmpuint(dirty_of(g, gpa), ==, 1);
        age_guest_touch(g, AGE_GUEST_WRITE, gpa, 1);
        age_guest_touch(g, AGE_GUEST_READ, gpa, 1);
        g_assert_cmpuint(age_counter(g->qts, "fills"), ==, fills + 1);
        g_assert_cmpuint(age_counter(g->qts, "dirty-set"), ==, set + 1);
    }
    age_guest_quit(g);
}

/* A dirty page needs no fill for a store after a load. */
static void test_dirty_already(void)
{
    AgeGuest *g = age_guest_start(NULL);
    uint64_t gpa = g->memory + 3 * AGE_PAGE;
    uint64_t fills;

    age_guest_touch(g, AGE_GUEST_WRITE, gpa, 1);
    age_guest_touch(g, AGE_GUEST_READ | AGE_GUEST_FLUSH, gpa, 1);
    fills = age_counter(g->qts, "fills");
    age_guest_touch(g, AGE_GUEST_WRITE, gpa, 1);
    g_assert_cmpuint(age_counter(g->qts, "fills"), ==, fills);
    age_guest_quit(g);
}

/* A page that is made clean is dirty again after a flush and a store only. */
static void test_flush(void)
{
    AgeGuest *g = age_guest_start(NULL);
    uint64_t gpa = g->memory + 3 * AGE_PAGE;

    age_guest_touch(g, AGE_GUEST_WRITE, gpa, 1);
    g_assert_cmpuint(count_dirty(g->qts, gpa, gpa + AGE_PAGE, true, NULL), ==,
                     1);
    age_guest_touch(g, AGE_GUEST_WRITE, gpa, 1);
    g_assert_cmpuint(dirty_of(g, gpa), ==, 0);
    count_dirty(g->qts, gpa, gpa + AGE_PAGE, true,
                "{ \"flush\": \"request\" }");
    age_wait_flushed(g->qts);
    age_guest_touch(g, AGE_GUEST_READ, gpa, 1);
    g_assert_cmpuint(dirty_of(g, gpa), ==, 0);
    age_guest_touch(g, AGE_GUEST_WRITE, gpa, 1);
    g_assert_cmpuint(dirty_of(g, gpa), ==, 1);
    age_guest_quit(g);
}

/* The bitmap says which pages to clean, and comes back flipped. */
static void test_bitmap(void)
{
    AgeGuest *g = age_guest_start(NULL);
    uint64_t gpa = g->memory;
    /* Of the pages 7 to 0 of a range, in that order */
    const uint8_t map = 0xa5;
    g_autoptr(QDict) result = NULL;
    g_autofree guchar *got = NULL;
    QList *ranges = qlist_new();
    size_t bytes;

    /* Pages 0, 1, 2 and 3 are bits 7, 6, 5 and 4. */
    age_guest_touch(g, AGE_GUEST_WRITE, gpa, 4);
    age_guest_touch(g, AGE_GUEST_READ, gpa + 4 * AGE_PAGE, 4);
    age_add_range(ranges, gpa, gpa + 8 * AGE_PAGE, &map, 1);
    result = test_clear_dirty(g->qts, ranges, NULL);
    got = g_base64_decode(qdict_get_str(first_range(result), "bitmap"),
                          &bytes);
    g_assert_cmpuint(bytes, ==, 1);
    g_assert_cmphex(got[0], ==, 0xa5 ^ 0xf0);
    g_assert_cmpuint(dirty_of(g, gpa), ==, 0);
    g_assert_cmpuint(dirty_of(g, gpa + AGE_PAGE), ==, 1);
    g_assert_cmpuint(dirty_of(g, gpa + 2 * AGE_PAGE), ==, 0);
    g_assert_cmpuint(dirty_of(g, gpa + 3 * AGE_PAGE), ==, 1);
    age_guest_quit(g);
}

static void test_block(void)
{
    AgeGuestOptions options = { .accel = ",page-size=2m" };
    AgeGuest *g = age_guest_start(&options);
    uint64_t gpa = g->memory + 4 * AGE_BLOCK;
    AgeLeafInfo leaf;
    uint64_t size;

    age_guest_touch(g, AGE_GUEST_READ, gpa, 1);
    g_assert(age_leaf(g->qts, "memory", gpa, &leaf));
    size = age_leaf_size(&leaf);
    g_assert_cmpuint(count_dirty(g->qts, gpa, gpa + size, false, NULL), ==, 0);
    age_guest_touch(g, AGE_GUEST_WRITE, gpa, 1);
    g_assert_cmpuint(count_dirty(g->qts, gpa, gpa + size, true, NULL), ==,
                     size / AGE_PAGE);
    g_assert_cmpuint(count_dirty(g->qts, gpa, gpa + size, false, NULL), ==, 0);
    age_guest_quit(g);
}

/* Without hardware that sets them there are none, and it says so. */
static void test_refused(void)
{
    AgeGuestOptions options = { .accel = ",hw-ad=off" };
    AgeGuest *g = age_guest_start(&options);
    g_autoptr(QDict) result = NULL;
    QList *ranges = qlist_new();
    QDict *range;

    age_guest_touch(g, AGE_GUEST_WRITE, g->memory, 4);
    age_add_clear_range(ranges, g->memory, g->end);
    result = test_clear_dirty(g->qts, ranges, NULL);
    range = first_range(result);
    g_assert(!qdict_get_bool(range, "handled"));
    g_assert_cmpstr(qdict_get_str(range, "reason"), ==,
                    "age: no hardware sets accessed bits (hw-ad=off)");
    g_assert_cmpint(qdict_get_int(range, "dirty-pages"), ==, 0);
    /* Nothing was made old on the way. */
    g_assert_cmpuint(age_counter(g->qts, "cleared"), ==, 0);
    age_guest_quit(g);
}

/*
 * There, on x86, a load gives R and X back, and only a store gives W back: so
 * the entry that a load leaves in the TLB must not let stores by.
 */
static void test_write_tracked(void)
{
    AgeGuestOptions options = { .accel = ",hw-ad=off" };
    AgeGuest *g = age_guest_start(&options);
    uint64_t gpa = g->memory + 3 * AGE_PAGE;
    AgeLeafInfo leaf;

    age_guest_touch(g, AGE_GUEST_READ, gpa, 1);
    g_assert(age_leaf(g->qts, "memory", gpa, &leaf));
    g_assert(leaf.read && leaf.write == !age_is_x86());
    age_guest_touch(g, AGE_GUEST_WRITE, gpa, 1);
    g_assert(age_leaf(g->qts, "memory", gpa, &leaf));
    g_assert(leaf.read && leaf.write);
    age_guest_quit(g);
}

static uint64_t entry_of(AgeGuest *g, uint64_t gpa)
{
    AgeLeafInfo leaf;

    g_assert(age_leaf(g->qts, "memory", gpa, &leaf));
    return leaf.value;
}

/* The flag is where the manual has it: EPT bit 9, S2AP[1] in stage 2. */
static void test_entry(void)
{
    AgeGuest *g = age_guest_start(NULL);
    uint64_t flag = age_is_x86() ? 1ULL << 9 : 1ULL << 7;
    uint64_t gpa = g->memory + 3 * AGE_PAGE;

    age_guest_touch(g, AGE_GUEST_READ, gpa, 1);
    g_assert_cmphex(entry_of(g, gpa) & flag, ==, 0);
    age_guest_touch(g, AGE_GUEST_WRITE, gpa, 1);
    g_assert_cmphex(entry_of(g, gpa) & flag, ==, flag);
    if (!age_is_x86()) {
        g_assert_cmphex(entry_of(g, gpa) & (1ULL << 51), ==, 1ULL << 51);
    }
    age_guest_quit(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("age/dirty/stores", test_stores);
    qtest_add_func("age/dirty/load-first", test_load_first);
    qtest_add_func("age/dirty/dirty-already", test_dirty_already);
    qtest_add_func("age/dirty/flush", test_flush);
    qtest_add_func("age/dirty/bitmap", test_bitmap);
    qtest_add_func("age/dirty/block", test_block);
    qtest_add_func("age/dirty/refused", test_refused);
    qtest_add_func("age/dirty/write-tracked", test_write_tracked);
    qtest_add_func("age/dirty/entry", test_entry);

    return g_test_run();
}
