/*
 * A table for benchmarks, of which all is mapped, and pages in it made young
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <time.h>
#include "bench-pages.h"

uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

void print_row(const char *name, double value)
{
    printf("%s\t%.4f\n", name, value);
    fflush(stdout);
}

void bench_init(Bench *b, const AgeFormat *fmt, uint64_t size)
{
    AgeGeometry geo;

    b->size = size;
    b->pages = size / AGE_PAGE_SIZE;
    b->young = g_new0(unsigned long, b->pages / 64);
    fmt->geometry(MAX(40, 64 - __builtin_clzll(size - 1)), 0, &geo);
    age_pt_init(&b->pt, fmt, &geo, 0);
    for (uint64_t gpa = 0; gpa < size; gpa += REGION) {
        uint64_t leaf = age_make_leaf(fmt, gpa, 0, AGE_LEAF_RW);
        AgePath path;

        age_pt_map(&b->pt, gpa, leaf, 0, &path);
        for (unsigned i = 1; i < AGE_TABLE_ENTRIES; i++) {
            path.entry[0][i] = leaf + i * AGE_PAGE_SIZE;
        }
    }
}

/* Make the first page of a region young, and whatever tells of it. */
static void mark_region(Bench *b, uint64_t gpa, AgePath *path)
{
    age_pt_walk(&b->pt, gpa, path);
    age_pt_mark(&b->pt, path, true);
}

/* Make all entries young, or those of the first @n pages of a region. */
static void make_region_young(Bench *b, uint64_t gpa, unsigned n)
{
    const AgeFormat *fmt = b->pt.fmt;
    AgePath path;

    mark_region(b, gpa, &path);
    for (unsigned i = 1; i < n; i++) {
        path.entry[0][i] |= fmt->accessed;
    }
}

void make_young(Bench *b, unsigned n, unsigned stride)
{
    for (uint64_t gpa = 0; gpa < b->size; gpa += stride * REGION) {
        make_region_young(b, gpa, n);
    }
}

/* Of a thousand pages @permille are young, as far apart as can be. */
static bool spread_has(uint64_t page, unsigned permille)
{
    return (page + 1) * permille / 1000 != page * permille / 1000;
}

uint64_t make_spread(Bench *b, unsigned permille)
{
    uint64_t page = 0;

    for (uint64_t gpa = 0; gpa < b->size; gpa += REGION) {
        uint64_t accessed = b->pt.fmt->accessed;
        AgePath path;

        /* The parents, and the first page, which may have to be old again */
        make_region_young(b, gpa, 1);
        age_pt_walk(&b->pt, gpa, &path);
        for (unsigned i = 0; i < AGE_TABLE_ENTRIES; i++, page++) {
            if (spread_has(page, permille)) {
                path.entry[0][i] |= accessed;
            } else {
                path.entry[0][i] &= ~accessed;
            }
        }
    }
    return page * permille / 1000;
}
