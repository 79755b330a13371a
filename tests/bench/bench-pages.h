/*
 * A table for benchmarks, of which all is mapped, and pages in it made young
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_BENCH_BENCH_PAGES_H
#define TESTS_BENCH_BENCH_PAGES_H

#include <stdio.h>
#include "accel/age/pt/bitrange.h"
#include "accel/age/pt/harvest.h"

#define GIB         (1ULL << 30)
#define REGION      (1ULL << 21)

/**
 * Bench: a table
 *
 * @pt: the table
 * @size: bytes that are mapped, from 0 on
 * @pages: the same, in pages
 * @young: bits for a harvest of it
 */
typedef struct Bench {
    AgePageTable pt;
    uint64_t size;
    uint64_t pages;
    unsigned long *young;
} Bench;

uint64_t now_ns(void);

void print_row(const char *name, double value);

/* Map all pages.  The walker maps one of each table, and the rest is copied. */
void bench_init(Bench *b, const AgeFormat *fmt, uint64_t size);

/* In each @stride-th region, make the first @n pages young. */
void make_young(Bench *b, unsigned n, unsigned stride);

/*
 * Of a thousand pages make @permille young, as far apart as can be, and the
 * others old.  Returns how many are young.
 */
uint64_t make_spread(Bench *b, unsigned permille);

#endif /* TESTS_BENCH_BENCH_PAGES_H */
