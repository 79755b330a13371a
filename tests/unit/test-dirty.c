/*
 * Dirty flags: set by stores, harvested like accessed flags but apart from them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "accel/age/pt/harvest.h"
#include "pt-util.h"

#define PAGE        4096ULL
#define BLOCK       0x200000ULL
#define PAGES       512

/* Map the page at @gpa, or the block, and use it as hardware does. */
static AgeMarked use(AgePageTable *pt, uint64_t gpa, int height, bool write)
{
    AgePath path;

    map_gpa(pt, gpa, height);
    age_pt_walk(pt, gpa, &path);
    return age_pt_mark(pt, &path, write);
}

/* Harvest the first block: what @select says, or all; dirty flags or not */
static AgeHarvest harvest(AgePageTable *pt, const unsigned long *select,
                          bool dirty, unsigned long *young)
{
    AgeHarvest h = {
        .lsb_gfn = PAGES - 1,
        .dirty = dirty,
        .select = select,
        .young = young,
    };

    memset(young, 0, PAGES / 8);
    reader_harvest(pt, 0, BLOCK, &h);
    return h;
}

static unsigned count(const unsigned long *bits)
{
    unsigned n = 0;

    for (unsigned i = 0; i < PAGES / 64; i++) {
        n += __builtin_popcountl(bits[i]);
    }
    return n;
}

static bool bit_of(const unsigned long *bits, unsigned page)
{
    unsigned bit = PAGES - 1 - page;

    return bits[bit / 64] >> (bit % 64) & 1;
}

static bool still_clean(const Shape *shape, AgeMarked m)
{
    return age_leaf_is_clean(shape->fmt, m.leaf);
}

/* A load leaves a leaf clean and says so; a store makes it dirty, once. */
static void test_mark(const Shape *shape)
{
    bool hw = shape->fmt->hw_ad;
    AgePageTable pt;
    AgeMarked m;

    shape_init(&pt, shape);
    m = use(&pt, 0, 0, false);
    g_assert_true(m.result == AGE_MARK_DONE && m.accessed && !m.dirty);
    /* Without hardware, x86 has to give W back, and Arm never takes it. */
    g_assert_cmpint(still_clean(shape, m), ==, hw || shape->fmt->track);
    m = use(&pt, 0, 0, true);
    g_assert_cmpint(m.result, ==, AGE_MARK_DONE);
    g_assert_true(!m.accessed && !still_clean(shape, m));
    g_assert_cmpint(m.dirty, ==, hw);
    m = use(&pt, 0, 0, true);
    g_assert_cmpint(m.result, ==, AGE_MARK_DONE);
    g_assert_true(!m.accessed && !m.dirty && !still_clean(shape, m));
    m = use(&pt, 0, 0, false);
    g_assert_cmpint(m.result, ==, AGE_MARK_DONE);
    g_assert_true(!m.accessed && !m.dirty && !still_clean(shape, m));
    shape_free(&pt);
}

/* Read-only memory is never clean: no store is to come. */
static void test_read_only(const Shape *shape)
{
    const AgeFormat *fmt = shape->fmt;
    AgePageTable pt;
    AgePath path;
    AgeMarked m;

    shape_init(&pt, shape);
    reader_map(&pt, 0, age_make_leaf(fmt, PAGE, 0, AGE_LEAF_RO), 0, &path);
    m = age_pt_mark(&pt, &path, false);
    g_assert_cmpint(m.result, ==, AGE_MARK_DONE);
    g_assert_true(m.accessed && !still_clean(shape, m));
    m = age_pt_mark(&pt, &path, true);
    g_assert_cmpint(m.result, ==, AGE_MARK_AGAIN);
    shape_free(&pt);
}

/* Every third page is stored to, the others are loaded from. */
static void test_harvest(const Shape *shape)
{
    unsigned long select[PAGES / 64], young[PAGES / 64];
    bool hw = shape->fmt->hw_ad;
    AgePageTable pt;
    AgeHarvest h;

    shape_init(&pt, shape);
    for (unsigned i = 0; i < PAGES; i++) {
        use(&pt, i * PAGE, 0, i % 3 == 0);
    }
    /* Clean the upper half of them, that is the lower half of the bits. */
    memset(select, 0, sizeof(select));
    memset(select, 0xff, sizeof(select) / 2);
    h = harvest(&pt, select, true, young);
    g_assert_cmpuint(count(young), ==, hw ? 171 : 0);
    g_assert_cmpuint(h.cleared, ==, hw ? 85 : 0);
    g_assert_cmpint(h.any, ==, hw);
    for (unsigned i = 0; i < PAGES; i++) {
        g_assert_cmpint(bit_of(young, i), ==, hw && i % 3 == 0);
    }
    h = harvest(&pt, NULL, true, young);
    g_assert_cmpuint(count(young), ==, hw ? 86 : 0);
    h = harvest(&pt, NULL, true, young);
    g_assert_cmpuint(count(young), ==, 0);

    /* They are as young as they were, and one store makes one dirty again. */
    g_assert_cmpint(use(&pt, 3 * PAGE, 0, true).dirty, ==, hw);
    harvest(&pt, NULL, false, young);
    g_assert_cmpuint(count(young), ==, PAGES);
    harvest(&pt, NULL, true, young);
    g_assert_cmpuint(count(young), ==, hw ? 1 : 0);
    check_tables(&pt);
    shape_free(&pt);
}

/* Old parents do not hide dirty pages. */
static void test_old_and_dirty(const Shape *shape)
{
    unsigned long young[PAGES / 64];
    AgePageTable pt;
    AgeHarvest h;

    shape_init(&pt, shape);
    use(&pt, 7 * PAGE, 0, true);
    harvest(&pt, NULL, false, young);
    harvest(&pt, NULL, false, young);
    h = harvest(&pt, NULL, true, young);
    g_assert_cmpuint(count(young), ==, shape->fmt->hw_ad);
    g_assert_cmpuint(h.skipped, ==, 0);
    shape_free(&pt);
}

static void test_block(const Shape *shape)
{
    unsigned long young[PAGES / 64];
    bool hw = shape->fmt->hw_ad;
    AgePageTable pt;
    AgeHarvest h;

    shape_init(&pt, shape);
    use(&pt, 0, 1, false);
    harvest(&pt, NULL, true, young);
    g_assert_cmpuint(count(young), ==, 0);
    use(&pt, 9 * PAGE, 1, true);
    /* What is split off a dirty block is dirty. */
    age_pt_zap(&pt, 0, PAGE);
    h = harvest(&pt, NULL, true, young);
    g_assert_cmpuint(count(young), ==, hw ? PAGES - 1 : 0);
    g_assert_cmpuint(h.cleared, ==, hw ? PAGES - 1 : 0);
    settle();
    age_pt_zap(&pt, 0, BLOCK);
    settle();

    use(&pt, 0, 1, true);
    h = harvest(&pt, NULL, true, young);
    g_assert_cmpuint(count(young), ==, hw ? PAGES : 0);
    g_assert_cmpuint(h.cleared, ==, hw);
    g_assert_cmpint(still_clean(shape, use(&pt, 0, 1, false)), ==, hw);
    shape_free(&pt);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    shape_add_tests("/age/dirty/mark", test_mark);
    shape_add_tests("/age/dirty/read-only", test_read_only);
    shape_add_tests("/age/dirty/harvest", test_harvest);
    shape_add_tests("/age/dirty/old", test_old_and_dirty);
    shape_add_tests("/age/dirty/block", test_block);
    return g_test_run();
}
