/*
 * Harvests pass over tables in which nothing is young, whatever they ask for
 *
 * A table is skipped if AgeHarvest.skipped says so; that nothing was in it
 * is what test-random.c looks at.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "accel/age/pt/harvest.h"
#include "pt-util.h"

#define PAGE        4096ULL
#define BLOCK       0x200000ULL
#define GIB         0x40000000ULL

/* Four tables of pages, each with a few that are mapped */
#define TABLES      4
#define PAGES       (TABLES * 512)
#define WORDS       (PAGES / 64)

typedef struct Fixture {
    AgePageTable pt;
    unsigned long select[WORDS];
    unsigned long young[WORDS];
} Fixture;

static Fixture *fixture_new(const Shape *shape)
{
    Fixture *f = g_new0(Fixture, 1);

    shape_init(&f->pt, shape);
    for (unsigned i = 0; i < PAGES; i += 64) {
        map_gpa(&f->pt, i * PAGE, 0);
        touch_gpa(&f->pt, i * PAGE, true);
    }
    return f;
}

static void fixture_free(Fixture *f)
{
    check_summaries(&f->pt);
    check_tables(&f->pt);
    shape_free(&f->pt);
    g_free(f);
}

/* Harvest @pages from frame @start on, in the way that @ask says. */
static AgeHarvest harvest(Fixture *f, AgeHarvest ask, uint64_t start,
                          uint64_t pages)
{
    ask.lsb_gfn = start + pages - 1;
    ask.young = f->young;
    memset(f->young, 0, sizeof(f->young));
    reader_harvest(&f->pt, start * PAGE, (start + pages) * PAGE, &ask);
    return ask;
}

/* Does one find @cleared pages, and skip @skipped tables? */
static void check(Fixture *f, AgeHarvest ask, uint64_t start, uint64_t pages,
                  uint64_t cleared, uint64_t skipped)
{
    AgeHarvest h = harvest(f, ask, start, pages);

    g_assert_cmpuint(h.cleared, ==, cleared);
    g_assert_cmpuint(h.skipped, ==, skipped);
}

/* Make all old; the tables' words are told by the harvest itself. */
static void age_all(Fixture *f, AgeHarvest ask)
{
    check(f, ask, 0, PAGES, PAGES / 64, 0);
}

/* Only a store brings a table back, and only its own. */
static void test_dirty(const Shape *shape)
{
    const AgeHarvest dirty = { .dirty = true };
    Fixture *f = fixture_new(shape);

    if (shape->fmt->dirty) {
        age_all(f, dirty);
        check(f, dirty, 0, PAGES, 0, TABLES);
        touch_gpa(&f->pt, 512 * PAGE, false);
        check(f, dirty, 0, PAGES, 0, TABLES);
        touch_gpa(&f->pt, 512 * PAGE, true);
        check(f, dirty, 0, PAGES, 1, TABLES - 1);
        check(f, dirty, 0, PAGES, 0, TABLES);
        /* Accessed flags are another matter. */
        age_all(f, (AgeHarvest) {});
        touch_gpa(&f->pt, 64 * PAGE, true);
        check(f, dirty, 0, PAGES, 1, TABLES - 1);
    } else {
        check(f, dirty, 0, PAGES, 0, 0);
    }
    fixture_free(f);
}

/* Pieces that are less than a table: the last of them sees that it is all. */
static void test_pieces(const Shape *shape)
{
    const AgeHarvest clear = {};
    Fixture *f = fixture_new(shape);

    for (unsigned i = 0; i < PAGES; i += 256) {
        check(f, clear, i, 256, 4, 0);
    }
    for (unsigned i = 0; i < PAGES; i += 256) {
        check(f, clear, i, 256, 0, 1);
    }
    touch_gpa(&f->pt, 256 * PAGE, false);
    check(f, clear, 0, 256, 0, 0);
    check(f, clear, 512, 256, 0, 1);
    check(f, clear, 256, 256, 1, 0);
    check(f, clear, 0, 256, 0, 1);
    fixture_free(f);
}

/* What is not selected stays young, and its table is looked at each time. */
static void test_sparse(const Shape *shape)
{
    Fixture *f = fixture_new(shape);
    const AgeHarvest some = { .select = f->select };

    memset(f->select, 0xff, sizeof(f->select));
    f->select[0] = ~1UL;
    age_all(f, some);
    check(f, some, 0, PAGES, 0, TABLES);
    touch_gpa(&f->pt, (PAGES - 64) * PAGE, false);
    /* The page whose bit is 0 is the last one, and not mapped. */
    f->select[0] = 1UL;
    check(f, some, 0, PAGES, 0, TABLES - 1);
    check(f, some, 0, PAGES, 0, TABLES - 1);
    f->select[0] = ~1UL;
    check(f, some, 0, PAGES, 1, TABLES - 1);
    check(f, some, 0, PAGES, 0, TABLES);
    fixture_free(f);
}

/* A harvest that changes nothing learns as much as others. */
static void test_test_only(const Shape *shape)
{
    const AgeHarvest test = { .test_only = true };
    Fixture *f = fixture_new(shape);
    AgeHarvest h;

    h = harvest(f, test, 0, PAGES);
    g_assert_true(h.any);
    g_assert_cmpuint(h.skipped, ==, 0);
    /* In halves, so that no parent becomes old */
    for (unsigned i = 0; i < PAGES; i += 256) {
        harvest(f, (AgeHarvest) {}, i, 256);
    }
    h = harvest(f, test, 0, PAGES);
    g_assert_false(h.any);
    g_assert_cmpuint(h.skipped, ==, TABLES);
    touch_gpa(&f->pt, 0, false);
    h = harvest(f, test, 0, PAGES);
    g_assert_true(h.any);
    g_assert_cmpuint(h.skipped, ==, TABLES - 1);
    fixture_free(f);
}

static bool has_upper(const Shape *shape)
{
    return shape->root_height >= 2;
}

/* A table of tables, and all below it, is skipped at once. */
static void test_upper(const Shape *shape)
{
    const AgeHarvest test = { .test_only = true };
    Fixture *f = g_new0(Fixture, 1);
    AgeHarvest h = { .lsb_gfn = 2 * GIB / PAGE - 1, .test_only = true };

    shape_init(&f->pt, shape);
    for (unsigned i = 0; i < 4; i++) {
        map_gpa(&f->pt, GIB + i * BLOCK, i == 3);
        touch_gpa(&f->pt, GIB + i * BLOCK, false);
        harvest(f, (AgeHarvest) {}, (GIB + i * BLOCK) / PAGE, 256);
    }
    /* Their parents are young, as no table was harvested as a whole. */
    reader_harvest(&f->pt, GIB, 2 * GIB, &h);
    g_assert_cmpuint(h.skipped, ==, 3);
    h.skipped = 0;
    reader_harvest(&f->pt, GIB, 2 * GIB, &h);
    g_assert_cmpuint(h.skipped, ==, 1);
    g_assert_false(h.any);
    h.skipped = 0;
    /* A block that is used is seen, and so is a page. */
    for (unsigned i = 0; i < 2; i++) {
        touch_gpa(&f->pt, GIB + (i ? 3 : 0) * BLOCK, false);
        reader_harvest(&f->pt, GIB, 2 * GIB, &h);
        g_assert_true(h.any);
        h.any = false;
        harvest(f, (AgeHarvest) {}, (GIB + (i ? 3 : 0) * BLOCK) / PAGE, 256);
        reader_harvest(&f->pt, GIB, 2 * GIB, &h);
        g_assert_false(h.any);
        g_assert_false(harvest(f, test, GIB / PAGE, PAGES).any);
    }
    fixture_free(f);
}

/* What is split off a young block is found, though its table was skipped. */
static void test_split(const Shape *shape)
{
    const AgeHarvest clear = {};
    Fixture *f = g_new0(Fixture, 1);

    shape_init(&f->pt, shape);
    map_gpa(&f->pt, 0, 1);
    touch_gpa(&f->pt, 0, false);
    check(f, clear, 0, 256, 1, 0);
    /* Old: its parts are, too. */
    age_pt_zap(&f->pt, 0, PAGE);
    check(f, clear, 0, 512, 0, shape->fmt->table_accessed ? 1 : 0);
    age_pt_zap(&f->pt, 0, BLOCK);
    settle();

    map_gpa(&f->pt, 0, 1);
    touch_gpa(&f->pt, 0, false);
    age_pt_zap(&f->pt, 0, PAGE);
    check(f, clear, 256, 256, 256, 0);
    check(f, clear, 0, 256, 255, 0);
    check(f, clear, 0, 256, 0, 1);
    fixture_free(f);
}

/* A table that took the place of one that was skipped is looked at. */
static void test_zap(const Shape *shape)
{
    const AgeHarvest clear = {};
    Fixture *f = fixture_new(shape);

    age_all(f, clear);
    age_pt_zap(&f->pt, 0, BLOCK);
    settle();
    check(f, clear, 0, 256, 0, 0);
    map_gpa(&f->pt, 5 * PAGE, 0);
    touch_gpa(&f->pt, 5 * PAGE, false);
    check(f, clear, 0, 256, 1, 0);
    check(f, clear, 0, 256, 0, 1);
    /* One page goes, and another one comes. */
    age_pt_zap(&f->pt, 5 * PAGE, 6 * PAGE);
    check(f, clear, 0, 256, 0, 1);
    map_young(&f->pt, 6 * PAGE, 0);
    check(f, clear, 0, 256, 1, 0);
    settle();
    fixture_free(f);
}

/* A leaf that is put right keeps its flags, and is found by them. */
static void test_remap(const Shape *shape)
{
    const AgeFormat *fmt = shape->fmt;
    Fixture *f = fixture_new(shape);
    AgePath path;
    uint64_t leaf;

    age_all(f, (AgeHarvest) {});
    leaf = age_pt_walk(&f->pt, 0, &path);
    touch_gpa(&f->pt, 0, true);
    reader_remap(&f->pt, &path, leaf,
                 age_make_leaf(fmt, 77 * PAGE, 0, AGE_LEAF_RW));
    check(f, (AgeHarvest) {}, 0, 256, 1, 0);
    check(f, (AgeHarvest) {}, 0, 256, 0, 1);
    fixture_free(f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    shape_add_tests("/age/skip/dirty", test_dirty);
    shape_add_tests("/age/skip/pieces", test_pieces);
    shape_add_tests("/age/skip/sparse", test_sparse);
    shape_add_tests("/age/skip/test-only", test_test_only);
    shape_add_tests_if("/age/skip/upper", test_upper, has_upper);
    shape_add_tests("/age/skip/split", test_split);
    shape_add_tests("/age/skip/zap", test_zap);
    shape_add_tests("/age/skip/remap", test_remap);
    return g_test_run();
}
