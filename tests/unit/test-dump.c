/*
 * Page table: a copy piece by piece, with changes between the pieces
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "accel/age/pt/dump.h"
#include "pt-util.h"

#define PAGE    4096ULL
#define BLOCK   0x200000ULL
#define GIB     0x40000000ULL

/* All shapes have as much. */
#define WINDOW  (4 * GIB)

/**
 * Copy: a copy, and what it has so far
 *
 * @dump: how far it is
 * @tables: the complete tables by their address, of #AgeDumpTable
 * @leaves: of what hangs together, filled in by copy_check()
 * @reached: how many of @tables hang together
 */
typedef struct Copy {
    AgeDump dump;
    GHashTable *tables;
    GHashTable *leaves;
    unsigned reached;
} Copy;

static void copy_start(Copy *c, const AgePageTable *pt)
{
    age_dump_init(&c->dump, pt);
    c->tables = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL,
                                      g_free);
    c->leaves = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
                                      g_free);
    c->reached = 0;
}

static void copy_free(Copy *c)
{
    age_dump_clear(&c->dump);
    g_hash_table_unref(c->tables);
    g_hash_table_unref(c->leaves);
}

static void add_table(Copy *c, const AgeDumpTable *table)
{
    AgeDumpTable *copy = g_new(AgeDumpTable, 1);

    copy->address = GUINT64_FROM_LE(table->address);
    for (unsigned i = 0; i < AGE_TABLE_ENTRIES; i++) {
        copy->entry[i] = GUINT64_FROM_LE(table->entry[i]);
    }
    /* No two have the same address. */
    g_assert_true(g_hash_table_insert(c->tables, &copy->address, copy));
}

/* One piece; false if it was the last one */
static bool copy_piece(Copy *c, unsigned tables)
{
    unsigned roots = c->dump.pt->geo.root_tables;
    bool more;

    reader_lock();
    more = age_dump_piece(&c->dump, tables);
    reader_unlock();
    for (unsigned i = 0; i < c->dump.done->len; i++) {
        add_table(c, &g_array_index(c->dump.done, AgeDumpTable, i));
    }
    for (unsigned i = 0; !more && i < roots; i++) {
        add_table(c, &c->dump.root[i]);
    }
    return more;
}

static void copy_rest(Copy *c)
{
    while (copy_piece(c, 1)) {
        continue;
    }
}

/* What is below the table with @address, which covers @base on */
static void check_below(Copy *c, uint64_t address, int height, uint64_t base)
{
    const AgeDumpTable *table = g_hash_table_lookup(c->tables, &address);

    g_assert_nonnull(table);
    c->reached++;
    for (unsigned i = 0; i < AGE_TABLE_ENTRIES; i++) {
        uint64_t gpa = base + i * age_height_size(height);
        AgeDecoded d;

        if (!table->entry[i]) {
            continue;
        }
        c->dump.fmt->decode(table->entry[i], height, &d);
        if (d.leaf) {
            g_hash_table_insert(c->leaves, g_memdup2(&gpa, sizeof(gpa)),
                                g_memdup2(&table->entry[i], sizeof(uint64_t)));
        } else {
            check_below(c, d.address, height - 1, gpa);
        }
    }
}

/* From the root, each table is reached once, and none is left. */
static void copy_check(Copy *c)
{
    const AgeGeometry *geo = &c->dump.pt->geo;

    for (unsigned i = 0; i < geo->root_tables; i++) {
        uint64_t *table = c->dump.pt->root + i * AGE_TABLE_ENTRIES;

        check_below(c, (uintptr_t)table, geo->root_height,
                    i * age_height_size(geo->root_height + 1));
    }
    g_assert_cmpuint(c->reached, ==, g_hash_table_size(c->tables));
    g_assert_cmpuint(c->reached, ==, c->dump.num);
}

static uint64_t copied_leaf(const Copy *c, uint64_t gpa)
{
    const uint64_t *leaf = g_hash_table_lookup(c->leaves, &gpa);

    return leaf ? *leaf : 0;
}

/* A leaf of the table is in the copy, and a table has its own address there. */
static void compare_entry(uint64_t *ptr, int height, uint64_t gpa,
                          const AgeDecoded *d, void *opaque)
{
    const Copy *c = opaque;

    if (d->leaf) {
        g_assert_cmphex(copied_leaf(c, gpa), ==, *ptr);
    } else {
        g_assert_nonnull(g_hash_table_lookup(c->tables, &d->address));
    }
}

/* The copy is the table: nothing has changed meanwhile. */
static void check_exact(Copy *c, const AgePageTable *pt)
{
    copy_check(c);
    tree_visit(pt, compare_entry, c);
    g_assert_cmpuint(g_hash_table_size(c->leaves), ==, tree_count(pt).leaves);
    g_assert_cmpuint(c->dump.spare, ==, 0);
}

static void map_random(AgePageTable *pt, const Shape *shape, uint64_t end,
                       unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t gpa = rnd_below(end / PAGE) * PAGE;

        map_gpa(pt, gpa, rnd_below(shape_max_leaf(shape) + 1));
        touch_gpa(pt, gpa, i % 2);
    }
}

static void test_exact(const Shape *shape)
{
    uint64_t end = 1ULL << shape->gpa_bits;
    AgePageTable pt;

    shape_init(&pt, shape);
    for (unsigned i = 0; i < 5; i++) {
        Copy c;

        copy_start(&c, &pt);
        copy_rest(&c);
        check_exact(&c, &pt);
        copy_free(&c);
        map_random(&pt, shape, i % 2 ? end : MIN(end, 600 * GIB), 60);
        map_gpa(&pt, end - PAGE, 0);
    }
    shape_destroy(&pt);
}

/* However many tables there are, a piece is of so many. */
static void test_bound(const Shape *shape)
{
    AgePageTable pt;
    Copy c;
    bool more;

    shape_init(&pt, shape);
    for (uint64_t gpa = 0; gpa < WINDOW; gpa += BLOCK) {
        map_young(&pt, gpa, 0);
    }
    copy_start(&c, &pt);
    do {
        more = copy_piece(&c, 64);
        g_assert_cmpuint(c.dump.done->len, <=, 64 + AGE_DUMP_EXCESS);
    } while (more);
    check_exact(&c, &pt);
    copy_free(&c);
    shape_destroy(&pt);
}

/* Is any of the tables on the way to @gpa one that was copied before? */
static bool any_copied(const Copy *c, AgePageTable *pt, uint64_t gpa)
{
    bool any = false;
    AgePath path;

    age_pt_walk(pt, gpa, &path);
    for (int h = 0; h < pt->geo.root_height; h++) {
        uint64_t table = (uintptr_t)path.entry[h] & -PAGE;

        any |= g_hash_table_lookup(c->tables, &table) != NULL;
    }
    return any;
}

/* Copied tables go, and their memory serves again before the copy is done. */
static void test_again(const Shape *shape)
{
    AgePageTable pt;
    bool again;
    Copy c;

    shape_init(&pt, shape);
    map_young(&pt, 0, 0);
    map_young(&pt, BLOCK, 0);
    copy_start(&c, &pt);
    g_assert_true(copy_piece(&c, 1));
    age_pt_zap(&pt, 0, WINDOW);
    settle();
    map_gpa(&pt, 3 * GIB, 0);
    again = any_copied(&c, &pt, 3 * GIB);
    copy_rest(&c);
    copy_check(&c);
    g_assert_cmpint(c.dump.spare > 0, ==, again);
    g_assert_cmphex(copied_leaf(&c, 0), !=, 0);
    g_assert_cmphex(copied_leaf(&c, BLOCK), !=, 0);
    g_assert_cmphex(copied_leaf(&c, 3 * GIB), !=, 0);
    copy_free(&c);
    shape_destroy(&pt);
}

/* The tables that the copy is in go: what was copied of them stays. */
static void test_gone(const Shape *shape)
{
    AgePageTable pt;
    Copy c;

    shape_init(&pt, shape);
    for (unsigned i = 0; i < 4; i++) {
        map_young(&pt, i * GIB, 0);
    }
    copy_start(&c, &pt);
    g_assert_true(copy_piece(&c, 1));
    age_pt_zap(&pt, 0, 1ULL << shape->gpa_bits);
    age_pt_zap(&pt, 0, age_height_size(shape->root_height));
    settle();
    copy_rest(&c);
    copy_check(&c);
    g_assert_cmpuint(g_hash_table_size(c.leaves), ==, 1);
    g_assert_cmphex(copied_leaf(&c, 0), !=, 0);
    copy_free(&c);
    shape_destroy(&pt);
}

/* Anything may happen between pieces, but not to what is kept. */
static void test_random(const Shape *shape)
{
    uint64_t kept = WINDOW - PAGE;
    AgePageTable pt;

    shape_init(&pt, shape);
    map_young(&pt, kept, 0);
    for (unsigned i = 0; i < 20; i++) {
        Copy c;

        copy_start(&c, &pt);
        do {
            uint64_t start = rnd_below(WINDOW / BLOCK - 1) * BLOCK;
            uint64_t end = start + (BLOCK << rnd_below(12));

            age_pt_zap(&pt, start, MIN(end, WINDOW - BLOCK));
            map_random(&pt, shape, WINDOW - GIB, rnd_below(10));
            if (i % 4 == 0) {
                settle();
            }
        } while (copy_piece(&c, 1));
        copy_check(&c);
        g_assert_cmphex(copied_leaf(&c, kept), !=, 0);
        copy_free(&c);
    }
    shape_destroy(&pt);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    reader_register();
    shape_add_tests("/age/dump/exact", test_exact);
    shape_add_tests("/age/dump/bound", test_bound);
    shape_add_tests("/age/dump/again", test_again);
    shape_add_tests("/age/dump/gone", test_gone);
    shape_add_tests("/age/dump/random", test_random);
    ret = g_test_run();
    reader_unregister();
    return ret;
}
