/*
 * Benchmark of the page tables by themselves, without a guest
 *
 * usage: bench-table GIB RUNS
 *
 * Builds a table for GIB of memory, all of it mapped by pages, and prints one
 * line for each run of each row: its name, a tab, and the figure.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "bench-pages.h"

/* Pages of a harvest of 1 MiB */
#define PIECE       256

/* Returns the nanoseconds of one pass; checks the number of young pages. */
static double pass(Bench *b, bool test_only, uint64_t want)
{
    AgeHarvest h = {
        .lsb_gfn = b->pages - 1,
        .test_only = test_only,
        .young = b->young,
    };
    uint64_t begin = now_ns();
    uint64_t found = 0;

    age_pt_harvest(&b->pt, 0, b->size, &h);
    begin = now_ns() - begin;
    for (uint64_t i = 0; i < b->pages / 64; i++) {
        found += __builtin_popcountl(b->young[i]);
    }
    g_assert_cmpuint(found, ==, want);
    memset(b->young, 0, b->pages / 8);
    return begin;
}

static void bench_passes(Bench *b)
{
    uint64_t sparse = (b->size / REGION + 99) / 100;

    make_young(b, AGE_TABLE_ENTRIES, 1);
    print_row("test", pass(b, true, b->pages) / b->pages);
    print_row("test-clear", pass(b, false, b->pages) / b->pages);
    /* The first pass over idle memory finds its parents old already. */
    print_row("idle", pass(b, false, 0) / 1000);
    make_young(b, 1, 100);
    print_row("sparse-1", pass(b, false, sparse) / b->pages);
    make_young(b, AGE_TABLE_ENTRIES, 100);
    print_row("sparse-512", pass(b, false, sparse * 512) / b->pages);
    make_young(b, AGE_TABLE_ENTRIES, 100);
    print_row("sparse-512-test", pass(b, true, sparse * 512) / b->pages);
    /* For what comes next */
    pass(b, false, sparse * 512);
}

/* Returns the nanoseconds of harvests in pieces of @pages, as @ask says. */
static double pass_pieces(Bench *b, AgeHarvest ask, uint64_t pages)
{
    uint64_t size = pages * AGE_PAGE_SIZE, begin = now_ns();

    for (uint64_t gpa = 0; gpa < b->size; gpa += size) {
        ask.lsb_gfn = (gpa + size) / AGE_PAGE_SIZE - 1;
        age_pt_harvest(&b->pt, gpa, gpa + size, &ask);
    }
    return now_ns() - begin;
}

/*
 * Harvests of idle memory that the parents' flags do not help.  The first of
 * each kind finds out that the memory is idle.
 */
static void bench_idle(Bench *b)
{
    const AgeHarvest dirty = { .dirty = true }, clear = {};
    g_autofree unsigned long *some = g_new0(unsigned long, b->pages / 64);
    AgeHarvest sparse = { .select = some };

    make_young(b, AGE_TABLE_ENTRIES, 1);
    pass_pieces(b, dirty, b->pages);
    print_row("idle-dirty", pass_pieces(b, dirty, b->pages) / 1000);
    pass_pieces(b, clear, PIECE);
    print_row("idle-pieces", pass_pieces(b, clear, PIECE) / b->pages * PIECE);
    for (uint64_t i = 0; i < b->pages; i += AGE_TABLE_ENTRIES) {
        some[i / 64] |= 1;
    }
    pass_pieces(b, sparse, b->pages);
    print_row("idle-sparse", pass_pieces(b, sparse, b->pages) / 1000);
    /* For what comes next */
    pass_pieces(b, clear, b->pages);
}

static void bench_spread(Bench *b)
{
    static const unsigned permille[] = { 10, 50, 100, 250, 500, 750, 1000 };

    for (unsigned i = 0; i < G_N_ELEMENTS(permille); i++) {
        g_autofree char *name = g_strdup_printf("spread-%u", permille[i]);
        uint64_t young = make_spread(b, permille[i]);

        print_row(name, pass(b, false, young) / b->pages);
    }
}

/* What memory and processor allow: each entry read, or changed by one atomic */
static void bench_limits(Bench *b)
{
    const AgeFormat *fmt = b->pt.fmt;
    uint64_t begin = now_ns(), sum = 0, all;
    AgePath path;

    for (uint64_t gpa = 0; gpa < b->size; gpa += REGION) {
        age_pt_walk(&b->pt, gpa, &path);
        for (unsigned i = 0; i < AGE_TABLE_ENTRIES; i++) {
            sum += qatomic_read(&path.entry[0][i]);
        }
    }
    all = now_ns() - begin;
    g_assert_cmpuint(sum, !=, 0);
    print_row("limit-read", (double)all / b->pages);

    begin = now_ns();
    for (uint64_t gpa = 0; gpa < b->size; gpa += REGION) {
        age_pt_walk(&b->pt, gpa, &path);
        for (unsigned i = 0; i < AGE_TABLE_ENTRIES; i++) {
            sum += qatomic_fetch_and(&path.entry[0][i], ~fmt->accessed);
        }
    }
    all = now_ns() - begin;
    print_row("limit-atomic", (double)all / b->pages);
}

/*
 * What is done with the BQL held when all mappings go; what was unhooked is
 * freed by another thread.
 */
static void bench_zap(Bench *b)
{
    uint64_t begin = now_ns();

    age_pt_zap(&b->pt, 0, b->size);
    print_row("zap", (now_ns() - begin) / 1000.0);
}

static void bench_memory(Bench *b)
{
    uint64_t tables = 0;

    for (int h = 0; h <= b->pt.geo.root_height; h++) {
        tables += b->pt.tables[h];
    }
    print_row("tables", 100.0 * tables * AGE_PAGE_SIZE / b->size);
}

int main(int argc, char **argv)
{
    Bench b;
    unsigned gib = argc == 3 ? atoi(argv[1]) : 0;
    unsigned runs = argc == 3 ? atoi(argv[2]) : 0;

    if (!gib || !runs) {
        fprintf(stderr, "usage: bench-table GIB RUNS\n");
        return 2;
    }
    /* Nothing is zapped before the end: it may be one critical section. */
    rcu_register_thread();
    rcu_read_lock();
    bench_init(&b, &age_format_ept, gib * GIB);
    for (unsigned i = 0; i < runs; i++) {
        bench_passes(&b);
        bench_idle(&b);
        bench_spread(&b);
        bench_limits(&b);
    }
    bench_memory(&b);
    bench_zap(&b);
    rcu_read_unlock();
    rcu_unregister_thread();
    return 0;
}
