/*
 * Page table: map, walk, mark, remap
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "pt-util.h"

static AgeDecoded decode(const AgePageTable *pt, uint64_t entry, int height)
{
    AgeDecoded d;

    pt->fmt->decode(entry, height, &d);
    return d;
}

/* Addresses worth a look, aligned for a leaf at @height */
#define SAMPLES     6

static uint64_t sample_gpa(const Shape *shape, int height, unsigned i)
{
    uint64_t end = 1ULL << shape->gpa_bits;
    uint64_t size = age_height_size(height);

    switch (i) {
    case 0:
        return 0;
    case 1:
        return end - size;
    case 2:
        return end / 2;
    case 3:
        return end / 2 - size;
    default:
        return rnd_below(end / size) * size;
    }
}

/* Follow a path by hand, with the entries' manual and nothing else. */
static void check_path(const AgePageTable *pt, uint64_t gpa,
                       const AgePath *path)
{
    uint64_t *table = pt->root;
    uint64_t index = gpa >> (12 + 9 * pt->geo.root_height);

    for (int h = pt->geo.root_height; ; h--) {
        AgeDecoded d;

        g_assert_true(path->entry[h] == &table[index]);
        d = decode(pt, table[index], h);
        if (h == path->height) {
            g_assert_cmpint(d.present, ==, d.leaf);
            return;
        }
        g_assert_true(d.present && !d.leaf);
        table = (uint64_t *)(uintptr_t)d.address;
        index = (gpa >> (12 + 9 * (h - 1))) & 511;
    }
}

/* Is there a leaf of @height around @gpa, with the frame of frame_of()? */
static void check_mapped(const AgePageTable *pt, uint64_t gpa, int height)
{
    uint64_t size = 1ULL << (12 + 9 * height);
    uint64_t base = gpa & -size;
    const uint64_t probes[] = { base, base + size - 4096, gpa };

    for (unsigned i = 0; i < G_N_ELEMENTS(probes); i++) {
        AgePath path;
        AgeDecoded d = decode(pt, age_pt_walk(pt, probes[i], &path), height);

        g_assert_cmpint(path.height, ==, height);
        check_path(pt, probes[i], &path);
        g_assert_true(d.present && d.leaf);
        g_assert_cmphex(d.address, ==, frame_of(base));
    }
}

static void test_empty(const Shape *shape)
{
    AgePageTable pt;

    shape_init(&pt, shape);
    for (unsigned i = 0; i < SAMPLES; i++) {
        uint64_t gpa = sample_gpa(shape, 0, i);
        AgePath path;

        g_assert_cmphex(age_pt_walk(&pt, gpa, &path), ==, 0);
        g_assert_cmpint(path.height, ==, shape->root_height);
        check_path(&pt, gpa, &path);
    }
    g_assert_cmpuint(tree_count(&pt).leaves, ==, 0);
    check_tables(&pt);
    shape_destroy(&pt);
}

static void check_map_at(const Shape *shape, int height, uint64_t gpa)
{
    AgePageTable pt;
    TreeCount c;

    shape_init(&pt, shape);
    g_assert_cmphex(map_gpa(&pt, gpa, height), !=, 0);
    check_mapped(&pt, gpa, height);
    c = tree_count(&pt);
    g_assert_cmpuint(c.leaves, ==, 1);
    g_assert_cmpuint(c.young + c.dirty + c.young_tables, ==, 0);
    for (int h = height; h < shape->root_height; h++) {
        g_assert_cmpuint(pt.tables[h], ==, 1);
    }
    check_tables(&pt);
    shape_destroy(&pt);
}

static void test_map(const Shape *shape)
{
    for (int height = 0; height <= shape_max_leaf(shape); height++) {
        for (unsigned i = 0; i < SAMPLES; i++) {
            check_map_at(shape, height, sample_gpa(shape, height, i));
        }
    }
}

/* Is entry @index the only one in use that the root has beyond @seen? */
static void check_root_entry(AgePageTable *pt, unsigned index, unsigned seen)
{
    unsigned used = 0;

    map_gpa(pt, (uint64_t)index << (12 + 9 * pt->geo.root_height), 0);
    for (unsigned i = 0; i < pt->geo.root_tables * 512; i++) {
        used += pt->root[i] != 0;
    }
    g_assert_cmphex(pt->root[index], !=, 0);
    g_assert_cmpuint(used, ==, seen + 1);
}

/* Root tables side by side: the first and last entry of each */
static void test_root_index(const Shape *shape)
{
    unsigned shift = 12 + 9 * shape->root_height;
    unsigned used = shape->gpa_bits > shift ?
                    1u << (shape->gpa_bits - shift) : 1;
    unsigned step = MIN(used, 512);
    AgePageTable pt;
    unsigned seen = 0;

    shape_init(&pt, shape);
    for (unsigned i = 0; i < used; i += step) {
        check_root_entry(&pt, i, seen++);
        if (step > 1) {
            check_root_entry(&pt, i + step - 1, seen++);
        }
    }
    check_tables(&pt);
    shape_destroy(&pt);
}

/* The first who maps wins, whatever the next one wants. */
static void test_map_twice(const Shape *shape)
{
    for (int height = 0; height <= shape_max_leaf(shape); height++) {
        uint64_t gpa = sample_gpa(shape, height, 4);
        uint64_t other, first;
        AgePageTable pt;
        AgePath path;

        shape_init(&pt, shape);
        first = map_gpa(&pt, gpa, height);
        g_assert_cmphex(map_gpa(&pt, gpa, height), ==, first);
        for (int h = 0; h <= shape_max_leaf(shape); h++) {
            other = age_make_leaf(pt.fmt, 1ULL << 40, h, AGE_LEAF_RO);
            g_assert_cmphex(reader_map(&pt, gpa, other, h, &path), ==, first);
            g_assert_cmpint(path.height, ==, height);
        }
        check_mapped(&pt, gpa, height);
        g_assert_cmpuint(tree_count(&pt).leaves, ==, 1);
        check_tables(&pt);
        shape_destroy(&pt);
    }
}

/* A table stands where a block should go: a part of it fills the gap. */
static void test_map_gap(const Shape *shape)
{
    uint64_t gap = 3 * 4096 + 5 * 0x200000;
    AgePageTable pt;

    shape_init(&pt, shape);
    map_gpa(&pt, 0x200000, 0);
    map_gpa(&pt, 0x200000 + 7 * 4096, 1);
    check_mapped(&pt, 0x200000 + 7 * 4096, 0);
    g_assert_cmpuint(tree_count(&pt).leaves, ==, 2);

    map_gpa(&pt, gap, shape_max_leaf(shape));
    check_mapped(&pt, gap, 1);
    g_assert_cmpuint(tree_count(&pt).leaves, ==, 3);
    check_tables(&pt);
    shape_destroy(&pt);
}

/* Check the flags of each entry on the way to @gpa. */
static void check_flags(const AgePageTable *pt, uint64_t gpa, bool accessed,
                        bool dirty)
{
    AgePath path;

    age_pt_walk(pt, gpa, &path);
    for (int h = path.height; h <= pt->geo.root_height; h++) {
        uint64_t entry = *path.entry[h];
        AgeDecoded d = decode(pt, entry, h);

        if (d.leaf) {
            g_assert_cmpint(d.accessed, ==, accessed);
            g_assert_cmpint(d.dirty, ==, dirty && pt->fmt->dirty);
        } else {
            g_assert_cmpint(d.accessed, ==,
                            accessed && pt->fmt->table_accessed);
            /* Nothing but address, constant bits and the flag */
            g_assert_cmphex(entry & ~pt->fmt->table_accessed, ==,
                            d.address | pt->fmt->table);
        }
    }
}

static void check_mark(const AgePageTable *pt, uint64_t gpa, bool write,
                       bool accessed, bool dirty)
{
    AgeMarked m = touch_gpa(pt, gpa, write);

    g_assert_cmpint(m.result, ==, AGE_MARK_DONE);
    g_assert_cmpint(m.accessed, ==, accessed);
    g_assert_cmpint(m.dirty, ==, dirty && pt->fmt->dirty);
}

static void test_mark(const Shape *shape)
{
    for (int height = 0; height <= shape_max_leaf(shape); height++) {
        uint64_t gpa = sample_gpa(shape, height, 4);
        AgePageTable pt;

        shape_init(&pt, shape);
        map_gpa(&pt, gpa, height);
        /* A bystander: the next leaf, or the one before */
        map_gpa(&pt, gpa ^ age_height_size(height), height);
        check_flags(&pt, gpa, false, false);
        check_mark(&pt, gpa, false, true, false);
        check_flags(&pt, gpa, true, false);
        check_mark(&pt, gpa, false, false, false);
        check_mark(&pt, gpa, true, false, true);
        check_flags(&pt, gpa, true, true);
        check_mark(&pt, gpa, true, false, false);
        check_mapped(&pt, gpa, height);
        g_assert_cmpuint(tree_count(&pt).young, ==, 1);
        g_assert_cmpuint(tree_count(&pt).dirty, ==, pt.fmt->dirty != 0);
        shape_destroy(&pt);
    }
}

/* Whatever parents are old, a walk makes them young, the leaf's state apart. */
static void test_mark_parents(const Shape *shape)
{
    uint64_t gpa = sample_gpa(shape, 0, 4);
    AgePageTable pt;
    AgePath path;

    shape_init(&pt, shape);
    map_gpa(&pt, gpa, 0);
    age_pt_walk(&pt, gpa, &path);
    for (unsigned old = 0; old < 1u << (shape->root_height + 1); old++) {
        age_pt_mark(&pt, &path, false);
        for (int h = 0; h <= shape->root_height; h++) {
            if (old & (1u << h)) {
                *path.entry[h] &= ~age_accessed_mask(pt.fmt, h == 0);
            }
        }
        check_mark(&pt, gpa, false, old & 1, false);
        check_flags(&pt, gpa, true, false);
    }
    shape_destroy(&pt);
}

static void test_remap(const Shape *shape)
{
    const AgeFormat *fmt = shape->fmt;
    uint64_t gpa = sample_gpa(shape, 0, 4);
    uint64_t from = age_make_leaf(fmt, 0x1000, 0, AGE_LEAF_RW);
    uint64_t rw = age_make_leaf(fmt, 0x2000, 0, AGE_LEAF_RW);
    uint64_t ro = age_make_leaf(fmt, 0x3000, 0, AGE_LEAF_RO);
    AgePageTable pt;
    AgePath path;

    shape_init(&pt, shape);
    reader_map(&pt, gpa, from, 0, &path);
    /* Somebody else's leaf is left alone. */
    reader_remap(&pt, &path, rw, ro);
    g_assert_cmphex(age_pt_walk(&pt, gpa, &path), ==, from);
    /* Flags are kept, as far as the new leaf can have them. */
    age_pt_mark(&pt, &path, true);
    reader_remap(&pt, &path, from, rw);
    g_assert_cmphex(age_pt_walk(&pt, gpa, &path), ==,
                    rw | fmt->accessed | fmt->dirty);
    reader_remap(&pt, &path, rw, ro);
    g_assert_cmphex(age_pt_walk(&pt, gpa, &path), ==, ro | fmt->accessed);
    /* To nothing: that is a zap, and counted if the leaf was young. */
    reader_remap(&pt, &path, ro, 0);
    g_assert_cmphex(age_pt_walk(&pt, gpa, &path), ==, 0);
    g_assert_cmpuint(pt.zapped, ==, 1);
    reader_map(&pt, gpa, from, 0, &path);
    reader_remap(&pt, &path, from, 0);
    g_assert_cmphex(age_pt_walk(&pt, gpa, &path), ==, 0);
    g_assert_cmpuint(pt.zapped, ==, 1);
    shape_destroy(&pt);
}

/* The block was split meanwhile: its parts are as wrong as it was. */
static void test_remap_split(const Shape *shape)
{
    uint64_t size = age_height_size(1), end = 2 * size;
    uint64_t from = age_make_leaf(shape->fmt, 4 * size, 1, AGE_LEAF_RW);
    uint64_t to = age_make_leaf(shape->fmt, 6 * size, 1, AGE_LEAF_RW);
    AgePageTable pt;
    AgePath path;

    shape_init(&pt, shape);
    reader_map(&pt, size, from, 1, &path);
    age_pt_zap(&pt, end - 4096, end);
    /* What somebody else mapped is left alone. */
    map_gpa(&pt, end - 4096, 0);
    touch_gpa(&pt, size, true);
    reader_remap(&pt, &path, from, to);
    check_mapped(&pt, end - 4096, 0);
    g_assert_cmpuint(tree_count(&pt).leaves, ==, 1);
    g_assert_cmpuint(pt.zapped, ==, 1);
    shape_destroy(&pt);
}

/* What age_pt_map() returned is right for it, flags and all. */
static void test_remap_returned(const Shape *shape)
{
    uint64_t to = age_make_leaf(shape->fmt, 0x5000, 0, AGE_LEAF_RO);
    AgePageTable pt;
    AgePath path;
    uint64_t entry;

    shape_init(&pt, shape);
    map_young(&pt, 0x1000, 0);
    entry = reader_map(&pt, 0x1000, to, 0, &path);
    reader_remap(&pt, &path, entry, to);
    g_assert_cmphex(age_pt_walk(&pt, 0x1000, &path), ==,
                    to | shape->fmt->accessed);
    shape_destroy(&pt);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    reader_register();
    shape_add_tests("/age/ptable/empty", test_empty);
    shape_add_tests("/age/ptable/map", test_map);
    shape_add_tests("/age/ptable/root-index", test_root_index);
    shape_add_tests("/age/ptable/map-twice", test_map_twice);
    shape_add_tests("/age/ptable/map-gap", test_map_gap);
    shape_add_tests("/age/ptable/mark", test_mark);
    shape_add_tests("/age/ptable/mark-parents", test_mark_parents);
    shape_add_tests("/age/ptable/remap", test_remap);
    shape_add_tests("/age/ptable/remap-split", test_remap_split);
    shape_add_tests("/age/ptable/remap-returned", test_remap_returned);
    ret = g_test_run();
    reader_unregister();
    return ret;
}
