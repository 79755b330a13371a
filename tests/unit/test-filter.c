/*
 * The filter in front of the walk
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "accel/age/pt/filter.h"
#include "pt-util.h"

#define PAGE        4096ULL
#define GROUP       (64 * PAGE)
#define RUN_US      (300 * 1000)

/* An access, as the walker makes it.  Returns whether the page was known. */
static bool fill(AgeFilter *f, const AgePageTable *pt, uint64_t gpa, bool write)
{
    AgeMarked m;
    AgePath path;
    uint64_t epoch = age_pt_read_epoch(pt);
    bool clean, known = age_filter_knows(f, epoch, gpa, write, &clean);

    /* What all accesses have done, a load and a store have. */
    g_assert_cmpint(age_filter_all_set(f, epoch, gpa), ==,
                    age_filter_knows(f, epoch, gpa, true, &clean));
    if (known) {
        return true;
    }
    g_assert_cmphex(age_pt_walk(pt, gpa, &path), !=, 0);
    m = age_pt_mark(pt, &path, write);
    if (m.result == AGE_MARK_DONE) {
        age_filter_learn(f, epoch, gpa, path.height,
                         age_leaf_is_dirty(pt->fmt, m.leaf));
    }
    return false;
}

/* Clear or test the accessed or dirty flags of the region of @gpa. */
static unsigned harvest(AgePageTable *pt, uint64_t gpa, bool dirty, bool test)
{
    uint64_t first = gpa / PAGE & -512ULL;
    AgeHarvest h = {
        .lsb_gfn = first + 511,
        .dirty = dirty,
        .test_only = test,
    };

    reader_harvest(pt, first * PAGE, (first + 512) * PAGE, &h);
    return h.cleared;
}

/* What was walked once is known, each page and kind of access for itself. */
static void test_learn(const Shape *shape)
{
    bool hw = shape->fmt->dirty;
    AgePageTable pt;
    AgeFilter *f;

    shape_init(&pt, shape);
    f = g_new0(AgeFilter, 1);
    reader_lock();
    for (uint64_t gpa = 0; gpa < 4 * PAGE; gpa += PAGE) {
        map_gpa(&pt, gpa, 0);
    }
    g_assert_false(fill(f, &pt, 0, false));
    g_assert_true(fill(f, &pt, 0, false));
    g_assert_false(fill(f, &pt, PAGE, false));
    g_assert_false(fill(f, &pt, 2 * PAGE, true));
    g_assert_true(fill(f, &pt, 2 * PAGE, true));
    g_assert_true(fill(f, &pt, 2 * PAGE, false));
    /* Where nothing sets dirty flags, a load may do for the store. */
    g_assert_true(!hw || !fill(f, &pt, 0, true));
    g_assert_false(fill(f, &pt, 3 * PAGE, false));
    reader_unlock();
    g_free(f);
    shape_free(&pt);
}

/* Groups that share a place put each other out, and are told apart. */
static void test_place(const Shape *shape)
{
    uint64_t other = GROUP * AGE_FILTER_GROUPS;
    AgePageTable pt;
    AgeFilter *f;

    shape_init(&pt, shape);
    f = g_new0(AgeFilter, 1);
    reader_lock();
    map_gpa(&pt, PAGE, 0);
    map_gpa(&pt, other + PAGE, 0);
    g_assert_false(fill(f, &pt, PAGE, false));
    g_assert_false(fill(f, &pt, other + PAGE, false));
    g_assert_true(fill(f, &pt, other + PAGE, false));
    g_assert_false(fill(f, &pt, PAGE, false));
    reader_unlock();
    g_free(f);
    shape_free(&pt);
}

/* Memory that may not be written never is known for stores. */
static void test_read_only(const Shape *shape)
{
    uint64_t leaf = age_make_leaf(shape->fmt, PAGE, 0, AGE_LEAF_RO);
    AgePageTable pt;
    AgeFilter *f;
    AgePath path;

    shape_init(&pt, shape);
    f = g_new0(AgeFilter, 1);
    reader_map(&pt, 0, leaf, 0, &path);
    reader_lock();
    g_assert_false(fill(f, &pt, 0, false));
    g_assert_true(fill(f, &pt, 0, false));
    g_assert_false(fill(f, &pt, 0, true));
    g_assert_false(fill(f, &pt, 0, true));
    reader_unlock();
    g_free(f);
    shape_free(&pt);
}

/* A block is known by groups. */
static void test_block(const Shape *shape)
{
    AgePageTable pt;
    AgeFilter *f;

    shape_init(&pt, shape);
    f = g_new0(AgeFilter, 1);
    reader_lock();
    map_gpa(&pt, 0, 1);
    g_assert_false(fill(f, &pt, 0, true));
    g_assert_true(fill(f, &pt, 63 * PAGE, true));
    g_assert_false(fill(f, &pt, 64 * PAGE, false));
    g_assert_true(fill(f, &pt, 127 * PAGE, true));
    reader_unlock();
    g_free(f);
    shape_free(&pt);
}

/* Whatever takes a flag or a leaf away ends all that is known. */
static void test_epoch(const Shape *shape)
{
    const AgeFormat *fmt = shape->fmt;
    AgePageTable pt;
    AgeFilter *f;
    AgePath path;

    shape_init(&pt, shape);
    f = g_new0(AgeFilter, 1);
    map_gpa(&pt, 0, 0);
    g_assert_false(fill(f, &pt, 0, true));
    g_assert_cmpuint(harvest(&pt, 0, false, true), ==, 0);
    g_assert_true(fill(f, &pt, 0, true));
    g_assert_cmpuint(harvest(&pt, 0, false, false), ==, 1);
    g_assert_false(fill(f, &pt, 0, true));
    if (fmt->dirty) {
        g_assert_cmpuint(harvest(&pt, 0, true, false), ==, 1);
        g_assert_false(fill(f, &pt, 0, false));
        g_assert_false(fill(f, &pt, 0, true));
    }
    /* Nothing is young, so that nothing changes. */
    harvest(&pt, 1 << 30, false, false);
    g_assert_true(fill(f, &pt, 0, true));

    age_pt_walk(&pt, 0, &path);
    reader_remap(&pt, &path, *path.entry[0],
                 age_make_leaf(fmt, 7 * PAGE, 0, AGE_LEAF_RW));
    g_assert_false(fill(f, &pt, 0, false));
    g_assert_true(fill(f, &pt, 0, false));
    age_pt_zap(&pt, PAGE, 2 * PAGE);
    g_assert_true(fill(f, &pt, 0, false));
    age_pt_zap(&pt, 0, PAGE);
    map_gpa(&pt, 0, 0);
    g_assert_false(fill(f, &pt, 0, false));
    settle();
    g_free(f);
    shape_free(&pt);
}

/**
 * Race: a walker that does nothing but use one page
 *
 * @pt: the table
 * @fills: accesses that are over
 * @stop: that is enough
 */
typedef struct Race {
    AgePageTable pt;
    unsigned fills;
    bool stop;
} Race;

static void *walker(void *opaque)
{
    Race *r = opaque;
    AgeFilter *f = g_new0(AgeFilter, 1);

    reader_register();
    while (!qatomic_read(&r->stop)) {
        reader_lock();
        for (unsigned i = 0; i < 64; i++) {
            fill(f, &r->pt, 0, false);
            qatomic_inc(&r->fills);
        }
        reader_unlock();
        g_thread_yield();
    }
    reader_unregister();
    g_free(f);
    return NULL;
}

/* Wait for an access that is yet to begin, and to be over. */
static void await_fill(Race *r)
{
    unsigned begin = qatomic_read(&r->fills);

    while (qatomic_read(&r->fills) - begin < 2) {
        g_thread_yield();
    }
}

/* Each access after a harvest is found by the next, whoever was in between. */
static void test_race(const Shape *shape)
{
    int64_t end = g_get_monotonic_time() + RUN_US;
    unsigned rounds = 0;
    Race r = {};
    GThread *thread;

    shape_init(&r.pt, shape);
    map_gpa(&r.pt, 0, 0);
    thread = g_thread_new("walker", walker, &r);
    while (g_get_monotonic_time() < end) {
        await_fill(&r);
        g_assert_cmpuint(harvest(&r.pt, 0, false, false), ==, 1);
        rounds++;
    }
    qatomic_set(&r.stop, true);
    g_thread_join(thread);
    g_test_message("%u harvests, %u accesses", rounds, r.fills);
    shape_free(&r.pt);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    reader_register();
    shape_add_tests("/age/filter/learn", test_learn);
    shape_add_tests("/age/filter/place", test_place);
    shape_add_tests("/age/filter/read-only", test_read_only);
    shape_add_tests("/age/filter/block", test_block);
    shape_add_tests("/age/filter/epoch", test_epoch);
    shape_add_tests("/age/filter/race", test_race);
    ret = g_test_run();
    reader_unregister();
    return ret;
}
