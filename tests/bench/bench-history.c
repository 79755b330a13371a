/*
 * Benchmark of the history: what it adds to a harvest, and what reads cost
 *
 * usage: bench-history GIB RUNS
 *
 * Harvests a table for GIB of memory with and without the history, one after
 * the other, and prints one line for each run of each row: its name, a tab, and
 * the figure.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "bench-pages.h"

/* How to make pages young, and how many are then */
typedef uint64_t MakeYoung(Bench *b, unsigned n);

typedef struct BenchHistory {
    Bench table;
    AgeHistory h;
    AgeStamper st;
    uint64_t ms;
} BenchHistory;

static uint64_t make_sparse(Bench *b, unsigned n)
{
    make_young(b, n, 100);
    return (b->size / REGION + 99) / 100 * n;
}

static uint64_t make_dense(Bench *b, unsigned n)
{
    make_young(b, n, 1);
    return b->size / REGION * n;
}

/* Returns the nanoseconds of one pass; checks the number of young pages. */
static double pass(BenchHistory *b, bool history, uint64_t want)
{
    AgeHarvest h = {
        .lsb_gfn = b->table.pages - 1,
        .young = b->table.young,
        .stamper = history ? &b->st : NULL,
    };
    uint64_t begin = now_ns();

    if (history) {
        age_history_pass(&b->h, b->ms++);
    }
    age_pt_harvest(&b->table.pt, 0, b->table.size, &h);
    begin = now_ns() - begin;
    g_assert_cmpuint(h.cleared, ==, want);
    return begin;
}

/* Without, with, and with for each without; all per page that is mapped */
static void bench_pair(BenchHistory *b, const char *name, MakeYoung *make,
                       unsigned n)
{
    g_autofree char *with = g_strdup_printf("%s-history", name);
    g_autofree char *ratio = g_strdup_printf("%s-ratio", name);
    double base, history;

    base = pass(b, false, make(&b->table, n));
    history = pass(b, true, make(&b->table, n));
    print_row(name, base / b->table.pages);
    print_row(with, history / b->table.pages);
    print_row(ratio, history / base);
}

static void bench_passes(BenchHistory *b)
{
    static const unsigned permille[] = { 10, 100, 500, 900 };

    bench_pair(b, "dense", make_dense, AGE_TABLE_ENTRIES);
    bench_pair(b, "sparse-1", make_sparse, 1);
    bench_pair(b, "sparse-512", make_sparse, AGE_TABLE_ENTRIES);
    for (unsigned i = 0; i < G_N_ELEMENTS(permille); i++) {
        g_autofree char *name = g_strdup_printf("spread-%u", permille[i]);

        bench_pair(b, name, make_spread, permille[i]);
    }
    /* Now what is stamped has all kinds of stamps. */
    bench_pair(b, "mixed", make_dense, AGE_TABLE_ENTRIES);
}

static void count_told(void *opaque, uint64_t page, unsigned n, uint64_t bits)
{
    uint64_t *told = opaque;

    *told += __builtin_popcountll(bits);
}

/* Returns the number to ask with next time. */
static uint64_t bench_read(BenchHistory *b, const char *name, uint64_t since,
                           uint64_t want)
{
    uint64_t begin = now_ns(), told = 0, next;

    next = age_history_next(&b->h, b->ms++);
    age_history_since(&b->h, 0, since, 0, b->table.pages, count_told, &told);
    print_row(name, (now_ns() - begin) / 1000.0);
    g_assert_cmpuint(told, ==, want);
    return next;
}

static void bench_reads(BenchHistory *b)
{
    uint64_t next = age_history_next(&b->h, b->ms++);
    uint64_t bin[63], pages[64], begin;

    next = bench_read(b, "read-idle", next, 0);
    pass(b, true, make_sparse(&b->table, AGE_TABLE_ENTRIES));
    next = bench_read(b, "read-sparse", next,
                      make_sparse(&b->table, AGE_TABLE_ENTRIES));
    pass(b, true, make_dense(&b->table, AGE_TABLE_ENTRIES));
    bench_read(b, "read-all", next, b->table.pages);

    for (unsigned i = 0; i < G_N_ELEMENTS(bin); i++) {
        bin[i] = 1ULL << (i / 2);
    }
    begin = now_ns();
    age_history_idle(&b->h, 0, b->ms, bin, G_N_ELEMENTS(bin), pages);
    age_history_promoted(&b->h, 0, bin, G_N_ELEMENTS(bin), pages);
    print_row("query", (now_ns() - begin) / 1000.0);
}

int main(int argc, char **argv)
{
    unsigned gib = argc == 3 ? atoi(argv[1]) : 0;
    unsigned runs = argc == 3 ? atoi(argv[2]) : 0;
    BenchHistory b = {};

    if (!gib || !runs) {
        fprintf(stderr, "usage: bench-history GIB RUNS\n");
        return 2;
    }
    rcu_register_thread();
    rcu_read_lock();
    bench_init(&b.table, &age_format_ept, gib * GIB);
    age_history_init(&b.h, false, 1, b.ms);
    age_stamper_init(&b.st, &b.h, 0);
    /* Memory for all stamps is there. */
    pass(&b, true, make_dense(&b.table, AGE_TABLE_ENTRIES));
    for (unsigned i = 0; i < runs; i++) {
        bench_passes(&b);
        bench_reads(&b);
    }
    age_stamper_destroy(&b.st);
    age_history_destroy(&b.h);
    rcu_read_unlock();
    rcu_unregister_thread();
    return 0;
}
