/*
 * Page table: zap, split, and what somebody still holds while that happens
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "pt-util.h"

#define PAGE    4096ULL
#define BLOCK   0x200000ULL             /* 2 MiB: a table of pages */
#define GIB     0x40000000ULL

static AgeDecoded leaf_at(const AgePageTable *pt, uint64_t gpa, int *height)
{
    AgePath path;
    uint64_t entry = age_pt_walk(pt, gpa, &path);
    AgeDecoded d;

    pt->fmt->decode(entry, path.height, &d);
    *height = path.height;
    return d;
}

static bool is_mapped(const AgePageTable *pt, uint64_t gpa)
{
    int height;

    return leaf_at(pt, gpa, &height).present;
}

/* The counts that age_pt_zap() keeps, once all is freed */
static void check_counts(const AgePageTable *pt, uint64_t zapped,
                         uint64_t inherited)
{
    settle();
    g_assert_cmpuint(pt->zapped, ==, zapped);
    g_assert_cmpuint(pt->inherited, ==, inherited);
    check_tables(pt);
}

static void test_nothing(const Shape *shape)
{
    uint64_t end = 1ULL << shape->gpa_bits;
    AgePageTable pt;

    shape_init(&pt, shape);
    age_pt_zap(&pt, 0, end);
    age_pt_zap(&pt, end - PAGE, end);
    map_young(&pt, BLOCK, 0);
    /* All around the one page */
    age_pt_zap(&pt, 0, BLOCK);
    age_pt_zap(&pt, BLOCK + PAGE, end);
    g_assert_true(is_mapped(&pt, BLOCK));
    check_counts(&pt, 0, 0);
    shape_destroy(&pt);
    g_assert_cmpuint(pt.zapped, ==, 1);
}

static void test_page(const Shape *shape)
{
    AgePageTable pt;

    shape_init(&pt, shape);
    map_young(&pt, BLOCK, 0);
    map_young(&pt, BLOCK + PAGE, 0);
    map_gpa(&pt, BLOCK + 2 * PAGE, 0);
    map_gpa(&pt, BLOCK + 3 * PAGE, 0);
    age_pt_zap(&pt, BLOCK + PAGE, BLOCK + 3 * PAGE);
    g_assert_true(is_mapped(&pt, BLOCK));
    g_assert_false(is_mapped(&pt, BLOCK + PAGE));
    g_assert_false(is_mapped(&pt, BLOCK + 2 * PAGE));
    g_assert_true(is_mapped(&pt, BLOCK + 3 * PAGE));
    /* One of the two was young.  The table stays, for the others. */
    check_counts(&pt, 1, 0);
    g_assert_cmpuint(pt.tables[0], ==, 1);
    shape_destroy(&pt);
}

/* A range that covers a table whole unhooks it, those at its ends stay. */
static void test_table(const Shape *shape)
{
    AgePageTable pt;

    shape_init(&pt, shape);
    for (unsigned i = 0; i < 4; i++) {
        map_young(&pt, i * BLOCK + 5 * PAGE, 0);
        map_gpa(&pt, i * BLOCK + 6 * PAGE, 0);
    }
    age_pt_zap(&pt, 6 * PAGE, 3 * BLOCK + 6 * PAGE);
    check_counts(&pt, 3, 0);
    g_assert_cmpuint(pt.tables[0], ==, 2);
    g_assert_cmpuint(tree_count(&pt).leaves, ==, 2);
    g_assert_true(is_mapped(&pt, 5 * PAGE));
    g_assert_true(is_mapped(&pt, 3 * BLOCK + 6 * PAGE));
    shape_destroy(&pt);
}

/* Zap all: what is left is the root. */
static void test_all(const Shape *shape)
{
    uint64_t end = 1ULL << shape->gpa_bits;
    uint64_t young = 0;
    AgePageTable pt;

    shape_init(&pt, shape);
    for (unsigned i = 0; i < 200; i++) {
        int height = rnd_below(shape_max_leaf(shape) + 1);
        uint64_t gpa = rnd_below(end);

        map_gpa(&pt, gpa, height);
        young += touch_gpa(&pt, gpa, true).accessed;
    }
    /* A table goes if all that it could map goes, backed or not. */
    age_pt_zap(&pt, 0, MAX(end, age_height_size(shape->root_height)));
    g_assert_cmpuint(tree_count(&pt).leaves, ==, 0);
    check_counts(&pt, young, 0);
    for (int h = 0; h < shape->root_height; h++) {
        g_assert_cmpuint(pt.tables[h], ==, 0);
    }
    g_assert_cmpuint(pt.tables[shape->root_height], ==, shape->root_tables);
    shape_destroy(&pt);
}

/* Of the block around @start, the part from @start to @end was zapped. */
static void check_parts(const AgePageTable *pt, uint64_t start, uint64_t end,
                        int height, bool accessed, bool dirty)
{
    uint64_t size = age_height_size(height);
    uint64_t base = start & -size;
    /* 509 is prime to the number of pages, and steps over all of a table. */
    uint64_t step = height == 1 ? PAGE : 509 * PAGE;

    for (uint64_t gpa = base; gpa < base + size; gpa += step) {
        int h;
        AgeDecoded d = leaf_at(pt, gpa, &h);

        if (gpa >= start && gpa < end) {
            g_assert_false(d.present);
            continue;
        }
        g_assert_true(d.present && d.leaf && d.read);
        g_assert_true(d.write || (!dirty && pt->fmt->track));
        g_assert_cmpint(d.accessed, ==, accessed);
        g_assert_cmpint(d.dirty, ==, dirty && pt->fmt->dirty);
        g_assert_cmphex(d.address, ==,
                        frame_of(gpa & -age_height_size(h)));
    }
}

/* Parents of a young leaf are young, also when it was born by a split. */
static void check_young_parents(uint64_t *ptr, int height, uint64_t gpa,
                                const AgeDecoded *d, void *opaque)
{
    const AgePageTable *pt = opaque;
    AgePath path;

    if (!d->leaf || !d->accessed || !pt->fmt->table_accessed) {
        return;
    }
    age_pt_walk(pt, gpa, &path);
    for (int h = path.height + 1; h <= pt->geo.root_height; h++) {
        g_assert_true(*path.entry[h] & pt->fmt->table_accessed);
    }
}

/* Zap @start to @end of the block of @height there. */
static void check_split(AgePageTable *pt, int height, uint64_t start,
                        uint64_t end, bool accessed, bool dirty)
{
    TreeCount c;

    map_gpa(pt, start, height);
    if (accessed) {
        touch_gpa(pt, start, dirty);
    }
    age_pt_zap(pt, start, end);
    check_parts(pt, start, end, height, accessed, dirty);
    tree_visit(pt, check_young_parents, pt);
    c = tree_count(pt);
    g_assert_cmpuint(c.young, ==, accessed ? c.leaves : 0);
    g_assert_cmpuint(c.dirty, ==, dirty && pt->fmt->dirty ? c.leaves : 0);
    /* Each split makes 512 of 1. */
    g_assert_cmpuint(pt->inherited, ==,
                     accessed ? 511 * (c.tables[0] + (height == 2)) : 0);
}

typedef struct SplitCase {
    int height;
    uint64_t start;
    uint64_t end;
} SplitCase;

static void test_split(const Shape *shape)
{
    static const SplitCase cases[] = {
        { 1, BLOCK, BLOCK + PAGE },
        { 1, 2 * BLOCK - PAGE, 2 * BLOCK },
        { 1, BLOCK + 3 * PAGE, BLOCK + 99 * PAGE },
        { 2, GIB + 7 * PAGE, GIB + 8 * PAGE },
        { 2, GIB, GIB + 3 * BLOCK },
        { 2, GIB + 3 * PAGE, 2 * GIB - 9 * PAGE },
    };
    AgePageTable pt[G_N_ELEMENTS(cases) * 3];
    unsigned n = shape_max_leaf(shape) < 2 ? 3 : G_N_ELEMENTS(cases);

    for (unsigned i = 0; i < n * 3; i++) {
        const SplitCase *c = &cases[i / 3];

        shape_init(&pt[i], shape);
        check_split(&pt[i], c->height, c->start, c->end, i % 3 > 0,
                    i % 3 > 1);
    }
    settle();
    for (unsigned i = 0; i < n * 3; i++) {
        check_tables(&pt[i]);
        shape_free(&pt[i]);
        g_assert_cmpuint(pt[i].zapped, ==,
                         i % 3 > 0 ? 1 + pt[i].inherited : 0);
    }
}

/* A zap that ends in one block and began in another splits both. */
static void test_split_both_ends(const Shape *shape)
{
    AgePageTable pt;

    shape_init(&pt, shape);
    for (unsigned i = 0; i < 3; i++) {
        map_young(&pt, i * BLOCK, 1);
    }
    age_pt_zap(&pt, PAGE, 2 * BLOCK + PAGE);
    g_assert_true(is_mapped(&pt, 0));
    g_assert_true(is_mapped(&pt, 2 * BLOCK + PAGE));
    g_assert_cmpuint(tree_count(&pt).leaves, ==, 512);
    g_assert_cmpuint(tree_count(&pt).young, ==, 512);
    check_counts(&pt, 511 + 1 + 1, 2 * 511);
    shape_destroy(&pt);
}

/* Whoever remembers the sequence number sees that something went. */
static void test_seq(const Shape *shape)
{
    AgePageTable pt;
    uint64_t seq;

    shape_init(&pt, shape);
    seq = age_pt_read_seq(&pt);
    map_young(&pt, 0, 0);
    map_young(&pt, BLOCK, 1);
    g_assert_cmpuint(age_pt_read_seq(&pt), ==, seq);
    for (unsigned i = 0; i < 4; i++) {
        age_pt_zap(&pt, BLOCK, BLOCK + PAGE);
        g_assert_cmpuint(age_pt_read_seq(&pt), !=, seq);
        seq = age_pt_read_seq(&pt);
    }
    shape_destroy(&pt);
}

/* What is set in an unhooked table is counted when the table is freed. */
static void test_unhooked(const Shape *shape)
{
    AgePageTable pt;
    AgePath path;
    AgeMarked m;

    shape_init(&pt, shape);
    map_gpa(&pt, BLOCK, 0);
    reader_lock();
    age_pt_walk(&pt, BLOCK, &path);
    age_pt_zap(&pt, BLOCK, 2 * BLOCK);
    g_assert_false(is_mapped(&pt, BLOCK));
    m = age_pt_mark(&pt, &path, true);
    g_assert_true(m.result == AGE_MARK_DONE && m.accessed);
    g_assert_cmpint(m.dirty, ==, pt.fmt->dirty != 0);
    g_assert_cmpuint(pt.tables[0], ==, 1);
    reader_unlock();
    check_counts(&pt, 1, 0);
    g_assert_cmpuint(pt.tables[0], ==, 0);
    shape_destroy(&pt);
}

/*
 * RCU callbacks hold QEMU's main loop up, so what they do must not grow with
 * the memory: however many tables a zap unhooked, they look into none of them.
 */
static void test_callbacks(const Shape *shape)
{
    AgePageTable pt;
    Gate gate;

    shape_init(&pt, shape);
    gate_close(&gate);
    for (unsigned i = 0; i < 256; i++) {
        map_young(&pt, i * BLOCK, 0);
    }
    age_pt_zap(&pt, 0, 256 * BLOCK);
    run_callbacks();
    g_assert_cmpuint(tree_count(&pt).leaves, ==, 0);
    g_assert_cmpuint(pt.tables[0], ==, 256);
    g_assert_cmpuint(pt.zapped, ==, 0);
    gate_open(&gate);
    check_counts(&pt, 256, 0);
    g_assert_cmpuint(pt.tables[0], ==, 0);
    shape_destroy(&pt);
}

/* The leaf is gone from its table: nothing to mark, and nothing is marked. */
static void test_stale_leaf(const Shape *shape)
{
    AgePageTable pt;
    AgePath path;

    shape_init(&pt, shape);
    map_gpa(&pt, BLOCK, 0);
    age_pt_walk(&pt, BLOCK, &path);
    age_pt_zap(&pt, BLOCK, BLOCK + PAGE);
    g_assert_cmpint(age_pt_mark(&pt, &path, true).result, ==,
                    AGE_MARK_AGAIN);
    g_assert_cmphex(*path.entry[0], ==, 0);
    g_assert_cmpuint(tree_count(&pt).young_tables, ==, 0);
    shape_destroy(&pt);
}

/*
 * The block was split after the walk that ended at it: where it was is a
 * table, and the leaf that should be marked is below.  The walker must learn
 * that, or the access is lost; and it must not count a leaf.
 */
static void test_stale_block(const Shape *shape)
{
    for (unsigned young = 0; young < 2; young++) {
        AgePageTable pt;
        AgePath path;
        uint64_t before;

        shape_init(&pt, shape);
        map_gpa(&pt, BLOCK, 1);
        if (young) {
            touch_gpa(&pt, BLOCK, false);
        }
        age_pt_walk(&pt, BLOCK, &path);
        age_pt_zap(&pt, 2 * BLOCK - PAGE, 2 * BLOCK);
        before = *path.entry[1];
        g_assert_cmpint(age_pt_mark(&pt, &path, true).result, ==,
                    AGE_MARK_AGAIN);
        g_assert_cmphex(*path.entry[1], ==, before);
        shape_destroy(&pt);
    }
}

/*
 * The table was zapped after the walk through it, and a block stands where
 * it hung: that block was not accessed.
 */
static void test_stale_parent(const Shape *shape)
{
    AgePageTable pt;
    AgePath path;
    int height;

    shape_init(&pt, shape);
    map_gpa(&pt, BLOCK, 0);
    reader_lock();
    age_pt_walk(&pt, BLOCK, &path);
    age_pt_zap(&pt, BLOCK, 2 * BLOCK);
    map_gpa(&pt, BLOCK, 1);
    g_assert_true(age_pt_mark(&pt, &path, true).accessed);
    reader_unlock();
    g_assert_false(leaf_at(&pt, BLOCK, &height).accessed);
    g_assert_cmpint(height, ==, 1);
    check_counts(&pt, 1, 0);
    shape_destroy(&pt);
}

/* A store that comes late finds a leaf that may not be written. */
static void test_stale_writable(const Shape *shape)
{
    uint64_t ro = age_make_leaf(shape->fmt, 0x1000, 0, AGE_LEAF_RO);
    AgePageTable pt;
    AgePath path;

    shape_init(&pt, shape);
    map_gpa(&pt, BLOCK, 0);
    age_pt_walk(&pt, BLOCK, &path);
    age_pt_zap(&pt, BLOCK, BLOCK + PAGE);
    reader_map(&pt, BLOCK, ro, 0, &path);
    g_assert_cmpint(age_pt_mark(&pt, &path, true).result, ==,
                    AGE_MARK_AGAIN);
    g_assert_cmphex(*path.entry[0], ==, ro);
    shape_destroy(&pt);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    reader_register();
    shape_add_tests("/age/zap/nothing", test_nothing);
    shape_add_tests("/age/zap/page", test_page);
    shape_add_tests("/age/zap/table", test_table);
    shape_add_tests("/age/zap/all", test_all);
    shape_add_tests("/age/zap/split", test_split);
    shape_add_tests("/age/zap/split-both-ends", test_split_both_ends);
    shape_add_tests("/age/zap/seq", test_seq);
    shape_add_tests("/age/zap/unhooked", test_unhooked);
    shape_add_tests("/age/zap/callbacks", test_callbacks);
    shape_add_tests("/age/zap/stale-leaf", test_stale_leaf);
    shape_add_tests("/age/zap/stale-block", test_stale_block);
    shape_add_tests("/age/zap/stale-parent", test_stale_parent);
    shape_add_tests("/age/zap/stale-writable", test_stale_writable);
    ret = g_test_run();
    reader_unregister();
    return ret;
}
