/*
 * Harvest: the rules one by one, with numbers written out
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "accel/age/pt/harvest.h"
#include "pt-util.h"

#define PAGE        4096ULL
#define BLOCK       0x200000ULL
#define GIB         0x40000000ULL

/* Frames and bits of the largest range here: a bit more than 1 GiB */
#define MAX_WORDS   4100

typedef struct Fixture {
    AgePageTable pt;
    AgeHarvest h;
    unsigned long select[MAX_WORDS];
    unsigned long young[MAX_WORDS];
} Fixture;

static Fixture *fixture_new(const Shape *shape)
{
    Fixture *f = g_new0(Fixture, 1);

    shape_init(&f->pt, shape);
    f->h.select = f->select;
    f->h.young = f->young;
    return f;
}

static void fixture_free(Fixture *f)
{
    shape_free(&f->pt);
    g_free(f);
}

/* Harvest frames @start to @end, the last of which is bit 0. */
static void harvest(Fixture *f, uint64_t start, uint64_t end)
{
    f->h.lsb_gfn = end - 1;
    f->h.cleared = f->h.skipped = 0;
    f->h.any = false;
    memset(f->young, 0, sizeof(f->young));
    reader_harvest(&f->pt, start * PAGE, end * PAGE, &f->h);
}

static void select_all(Fixture *f, bool all)
{
    memset(f->select, all ? 0xff : 0, sizeof(f->select));
}

static uint64_t count_young(const Fixture *f)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < MAX_WORDS; i++) {
        n += __builtin_popcountll(f->young[i]);
    }
    return n;
}

static bool accessed_at(const AgePageTable *pt, uint64_t gpa, int height)
{
    AgePath path;
    AgeDecoded d;

    age_pt_walk(pt, gpa, &path);
    pt->fmt->decode(*path.entry[height], height, &d);
    return d.accessed;
}

/* The bit of an address is (end - address) / page - 1. */
static void test_bit_numbers(const Shape *shape)
{
    Fixture *f = fixture_new(shape);

    map_young(&f->pt, 0x10000, 0);
    map_young(&f->pt, 0x13000, 0);
    map_young(&f->pt, 0x52000, 0);
    f->h.select = NULL;
    harvest(f, 0x10, 0x53);
    g_assert_cmphex(f->young[0], ==, 0x8000000000000001ULL);
    g_assert_cmphex(f->young[1], ==, 0x4);
    g_assert_cmpuint(f->h.cleared, ==, 3);
    fixture_free(f);
}

/* Test and clear in one call, page by page; flipping is select ^ young. */
static void test_mix(const Shape *shape)
{
    Fixture *f = fixture_new(shape);

    for (unsigned i = 0; i < 4; i++) {
        map_young(&f->pt, i * PAGE, 0);
    }
    map_gpa(&f->pt, 4 * PAGE, 0);
    f->select[0] = 0x2b;                /* frames 0, 2, 4 and 5 of 0 to 5 */
    harvest(f, 0, 6);
    g_assert_cmphex(f->young[0], ==, 0x3c);
    g_assert_cmphex(f->young[0] ^ f->select[0], ==, 0x17);
    g_assert_cmpuint(f->h.cleared, ==, 2);
    for (unsigned i = 0; i < 5; i++) {
        g_assert_cmpint(accessed_at(&f->pt, i * PAGE, 0), ==,
                        i == 1 || i == 3);
    }
    fixture_free(f);
}

/* Dirty flags are none of harvest's business. */
static void test_dirty_stays(const Shape *shape)
{
    Fixture *f = fixture_new(shape);

    map_gpa(&f->pt, 0, 0);
    map_gpa(&f->pt, BLOCK, 1);
    touch_gpa(&f->pt, 0, true);
    touch_gpa(&f->pt, BLOCK, true);
    select_all(f, true);
    harvest(f, 0, 1024);
    g_assert_cmpuint(f->h.cleared, ==, 2);
    g_assert_cmpuint(count_young(f), ==, 513);
    g_assert_cmpuint(tree_count(&f->pt).dirty, ==,
                     shape->fmt->dirty ? 2 : 0);
    g_assert_cmpuint(tree_count(&f->pt).young, ==, 0);
    fixture_free(f);
}

/*
 * A young block of @height at @base: only the range's bits are set, and it
 * is cleared if any bit in the range asks for that.
 */
static void check_block(const Shape *shape, int height, uint64_t base)
{
    uint64_t first = base / PAGE, n = 1ULL << (9 * height);
    Fixture *f = fixture_new(shape);

    map_young(&f->pt, base, height);
    /* Only test, in the middle: the block sticks out on both sides. */
    harvest(f, first + 100, first + 300);
    g_assert_cmpuint(count_young(f), ==, 200);
    g_assert_cmphex(f->young[3], ==, 0xff);
    g_assert_cmpuint(f->h.cleared, ==, 0);
    /* One bit that asks, but for a page before the range */
    f->select[4] = 1;
    harvest(f, first + n - 256, first + n);
    g_assert_cmpuint(count_young(f), ==, 256);
    g_assert_cmpuint(f->h.cleared, ==, 0);
    g_assert_true(accessed_at(&f->pt, base, height));
    /* The same bit, of a page in the range, the last one */
    harvest(f, first + n - 257, first + n);
    g_assert_cmpuint(count_young(f), ==, 257);
    g_assert_cmpuint(f->h.cleared, ==, 1);
    g_assert_false(accessed_at(&f->pt, base, height));
    /* The whole, with a bit before and behind */
    touch_gpa(&f->pt, base + PAGE, false);
    select_all(f, true);
    harvest(f, first - 1, first + n + 1);
    g_assert_cmpuint(count_young(f), ==, n);
    g_assert_cmphex(f->young[0] & 1, ==, 0);
    g_assert_cmpuint(f->h.cleared, ==, 1);
    harvest(f, first - 1, first + n + 1);
    g_assert_cmpuint(count_young(f) + f->h.cleared, ==, 0);
    fixture_free(f);
}

static void test_block(const Shape *shape)
{
    check_block(shape, 1, BLOCK);
    check_block(shape, 1, 3 * GIB - BLOCK);
    if (shape_max_leaf(shape) == 2) {
        check_block(shape, 2, GIB);
    }
}

/* What is below an old parent is not looked at, whatever it is. */
static void test_skip(const Shape *shape)
{
    uint64_t flag = shape->fmt->table_accessed;
    Fixture *f = fixture_new(shape);
    AgePath path;

    select_all(f, true);
    for (int h = 1; h <= shape->root_height; h++) {
        map_gpa(&f->pt, 5 * PAGE, 0);
        touch_gpa(&f->pt, 5 * PAGE, false);
        age_pt_walk(&f->pt, 5 * PAGE, &path);
        *path.entry[h] &= ~flag;
        harvest(f, 0, 512);
        g_assert_cmpuint(f->h.skipped, ==, flag ? 1 : 0);
        g_assert_cmpuint(f->h.cleared, ==, flag ? 0 : 1);
        g_assert_cmpuint(count_young(f), ==, flag ? 0 : 1);
        g_assert_cmpint(accessed_at(&f->pt, 5 * PAGE, 0), ==, flag != 0);
    }
    fixture_free(f);
}

/*
 * A parent becomes old if all that it covers is in the range and selected,
 * be the pages there or not; then the next harvest passes over it.
 */
static void test_parent_rule(const Shape *shape)
{
    Fixture *f = fixture_new(shape);
    bool haft = shape->fmt->table_accessed;

    map_young(&f->pt, BLOCK + 7 * PAGE, 0);
    select_all(f, true);
    harvest(f, 512 + 1, 1024);
    g_assert_cmpint(accessed_at(&f->pt, BLOCK, 1), ==, haft);
    harvest(f, 512, 1023);
    g_assert_cmpint(accessed_at(&f->pt, BLOCK, 1), ==, haft);
    for (unsigned bit = 0; bit < 512; bit += 73) {
        f->select[bit / 64] ^= 1UL << (bit % 64);
        harvest(f, 512, 1024);
        g_assert_cmpint(accessed_at(&f->pt, BLOCK, 1), ==, haft);
        f->select[bit / 64] ^= 1UL << (bit % 64);
    }
    harvest(f, 512, 1024);
    g_assert_false(accessed_at(&f->pt, BLOCK, 1));
    /* Where parents have no flag, the word of the table tells already. */
    g_assert_cmpuint(f->h.skipped, ==, !haft);
    harvest(f, 512, 1024);
    g_assert_cmpuint(f->h.skipped, ==, 1);
    fixture_free(f);
}

/* The same one level up, where the range is that of a table of tables */
static void test_grandparent_rule(const Shape *shape)
{
    uint64_t pages = GIB / PAGE;
    bool haft = shape->fmt->table_accessed;
    Fixture *f;

    if (shape->root_height < 2) {
        return;
    }
    f = fixture_new(shape);
    map_young(&f->pt, GIB + 7 * PAGE, 0);
    map_young(&f->pt, GIB + 9 * BLOCK, 0);
    select_all(f, true);
    f->select[1000] = ~1UL;
    harvest(f, pages, 2 * pages);
    g_assert_cmpuint(f->h.cleared, ==, 2);
    g_assert_cmpint(accessed_at(&f->pt, GIB, 2), ==, haft);
    g_assert_false(accessed_at(&f->pt, GIB + 9 * BLOCK, 1));
    f->select[1000] = ~0UL;
    harvest(f, pages, 2 * pages);
    g_assert_cmpuint(f->h.skipped, ==, haft ? 2 : 1);
    g_assert_false(accessed_at(&f->pt, GIB, 2));
    harvest(f, pages, 2 * pages);
    g_assert_cmpuint(f->h.skipped, ==, 1);
    fixture_free(f);
}

/* What a leaf permits, as "rwx" */
static void check_permits(Fixture *f, uint64_t gpa, const char *want)
{
    char permits[4] = "";
    AgePath path;
    uint64_t leaf = age_pt_walk(&f->pt, gpa, &path);
    AgeDecoded d;

    f->pt.fmt->decode(leaf, path.height, &d);
    g_strlcat(permits, d.read ? "r" : "", sizeof(permits));
    g_strlcat(permits, d.write ? "w" : "", sizeof(permits));
    g_strlcat(permits, d.execute ? "x" : "", sizeof(permits));
    g_assert_cmpstr(permits, ==, want);
}

/*
 * Where no hardware sets the flag of an EPT entry, aging takes what it
 * permits, and the next access brings it back: W if that is a store.
 */
static void test_permissions(const Shape *shape)
{
    bool track = shape->fmt->track;

    for (int height = 0; height <= 1; height++) {
        Fixture *f = fixture_new(shape);

        map_young(&f->pt, BLOCK, height);
        check_permits(f, BLOCK, track ? "rx" : "rwx");
        touch_gpa(&f->pt, BLOCK, true);
        check_permits(f, BLOCK, "rwx");
        select_all(f, true);
        harvest(f, 512, 1024);
        g_assert_cmpuint(f->h.cleared, ==, 1);
        check_permits(f, BLOCK, track ? "" : "rwx");
        touch_gpa(&f->pt, BLOCK, false);
        check_permits(f, BLOCK, track ? "rx" : "rwx");
        fixture_free(f);
    }
}

/* Only to test, only to know whether there is any */
static void test_any(const Shape *shape)
{
    Fixture *f = fixture_new(shape);

    f->h.select = NULL;
    f->h.young = NULL;
    map_gpa(&f->pt, 3 * PAGE, 0);
    map_gpa(&f->pt, BLOCK, 1);
    harvest(f, 0, 1024);
    g_assert_false(f->h.any);
    for (unsigned i = 0; i < 2; i++) {
        touch_gpa(&f->pt, i ? BLOCK : 3 * PAGE, false);
        f->h.test_only = true;
        harvest(f, 0, 1024);
        g_assert_true(f->h.any);
        g_assert_cmpuint(f->h.cleared, ==, 0);
        f->h.test_only = false;
        harvest(f, 0, 1024);
        g_assert_true(f->h.any);
        g_assert_cmpuint(f->h.cleared, ==, 1);
        harvest(f, 0, 1024);
        g_assert_false(f->h.any);
        g_assert_cmpuint(f->h.cleared, ==, 0);
    }
    fixture_free(f);
}

/* The last page of the address space, and the first */
static void test_ends(const Shape *shape)
{
    uint64_t frames = 1ULL << (shape->gpa_bits - 12);
    Fixture *f = fixture_new(shape);

    map_young(&f->pt, 0, 0);
    map_young(&f->pt, (frames - 1) * PAGE, 0);
    select_all(f, true);
    harvest(f, 0, 64);
    g_assert_cmphex(f->young[0], ==, 1ULL << 63);
    harvest(f, frames - 64, frames);
    g_assert_cmphex(f->young[0], ==, 1);
    g_assert_cmpuint(tree_count(&f->pt).young, ==, 0);
    fixture_free(f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    shape_add_tests("/age/harvest/bit-numbers", test_bit_numbers);
    shape_add_tests("/age/harvest/mix", test_mix);
    shape_add_tests("/age/harvest/dirty-stays", test_dirty_stays);
    shape_add_tests("/age/harvest/block", test_block);
    shape_add_tests("/age/harvest/skip", test_skip);
    shape_add_tests("/age/harvest/parent-rule", test_parent_rule);
    shape_add_tests("/age/harvest/grandparent-rule", test_grandparent_rule);
    shape_add_tests("/age/harvest/permissions", test_permissions);
    shape_add_tests("/age/harvest/any", test_any);
    shape_add_tests("/age/harvest/ends", test_ends);
    return g_test_run();
}
