/*
 * Sparse bitmaps, against plain ones
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "accel/age/pt/sparse-bits.h"

/* Two groups and a bit, so that there are parts and groups without any bit */
#define BITS    (2 * AGE_SPARSE_GROUP + 5 * AGE_SPARSE_PART + 77)
#define WORDS   (BITS / AGE_WORD_BITS + 1)

/**
 * Pair: the same bits twice
 *
 * @s: as a sparse bitmap
 * @map: as a plain one
 */
typedef struct Pair {
    AgeSparse s;
    unsigned long *map;
} Pair;

static void pair_init(Pair *p)
{
    age_sparse_init(&p->s, BITS);
    p->map = g_new0(unsigned long, WORDS);
}

static void pair_destroy(Pair *p)
{
    age_sparse_destroy(&p->s);
    g_free(p->map);
}

/* Set @n bits from @pos on, by way of a map in which they begin elsewhere. */
static void pair_set(Pair *p, uint64_t pos, uint64_t n)
{
    unsigned shift = g_test_rand_int_range(0, 130);
    g_autofree unsigned long *from = g_new0(unsigned long,
                                            (n + shift) / AGE_WORD_BITS + 1);

    age_bits_set(from, shift, n);
    age_bits_set(p->map, pos, n);
    age_sparse_or(&p->s, pos, from, shift, n);
}

static uint64_t next_plain(const unsigned long *map, uint64_t pos, bool want)
{
    for (; pos < BITS; pos++) {
        uint64_t word = map[pos / AGE_WORD_BITS];

        if (pos % AGE_WORD_BITS == 0 && word == (want ? 0 : ~0ULL)) {
            pos += AGE_WORD_BITS - 1;
        } else if ((word >> pos % AGE_WORD_BITS & 1) == want) {
            break;
        }
    }
    return MIN(pos, BITS);
}

/* All ways to read it say the same. */
static void check_pair(const Pair *p)
{
    g_autofree unsigned long *flipped = g_new0(unsigned long, WORDS);
    AgeBitCount got = age_sparse_count(&p->s);
    AgeBitCount want = age_bits_count(p->map, WORDS);
    uint64_t pos = 0;

    g_assert_cmpuint(got.ones, ==, want.ones);
    g_assert_cmpuint(got.runs, ==, want.runs);
    age_sparse_flip(&p->s, flipped);
    g_assert(!memcmp(flipped, p->map, WORDS * sizeof(*flipped)));
    while (pos < BITS) {
        uint64_t next = next_plain(p->map, pos, true);

        g_assert_cmpuint(age_sparse_next(&p->s, pos), ==, next);
        pos = next_plain(p->map, next, false);
        g_assert_cmpuint(age_sparse_next_zero(&p->s, next), ==, pos);
    }
    g_assert_cmpuint(age_sparse_next(&p->s, BITS), ==, BITS);
    g_assert_cmpuint(age_sparse_next_zero(&p->s, BITS), ==, BITS);
}

static void test_empty(void)
{
    AgeSparse none = {};
    Pair p;

    age_sparse_destroy(&none);
    pair_init(&p);
    check_pair(&p);
    g_assert_cmpuint(age_sparse_next(&p.s, 0), ==, BITS);
    g_assert_cmpuint(age_sparse_next_zero(&p.s, 0), ==, 0);
    for (unsigned i = 0; i < 3; i++) {
        g_assert_null(p.s.group[i]);
    }
    pair_destroy(&p);
}

/* Runs that end with a part or a group, begin with one, or go across it */
static void test_edges(void)
{
    static const uint64_t edges[] = {
        0, AGE_SPARSE_PART, 2 * AGE_SPARSE_PART, AGE_SPARSE_GROUP,
        2 * AGE_SPARSE_GROUP, BITS,
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(edges); i++) {
        for (unsigned before = 0; before < 4; before++) {
            uint64_t start = edges[i] - MIN(edges[i], before);
            uint64_t end = MIN(edges[i] + i % 3, BITS);
            Pair p;

            pair_init(&p);
            pair_set(&p, start, end - start);
            check_pair(&p);
            pair_destroy(&p);
        }
    }
}

static void test_full(void)
{
    Pair p;

    pair_init(&p);
    pair_set(&p, 0, BITS);
    check_pair(&p);
    g_assert_cmpuint(age_sparse_next_zero(&p.s, 0), ==, BITS);
    pair_destroy(&p);
}

static void test_random(void)
{
    for (unsigned i = 0; i < 40; i++) {
        unsigned runs = g_test_rand_int_range(1, 60);
        Pair p;

        pair_init(&p);
        while (runs--) {
            uint64_t pos = g_test_rand_int_range(0, BITS);
            uint64_t n = g_test_rand_int_range(0, 3 * AGE_SPARSE_PART) >>
                         g_test_rand_int_range(0, 15);

            pair_set(&p, pos, MIN(n, BITS - pos));
            check_pair(&p);
        }
        pair_destroy(&p);
    }
}

/* What is taken from a buffer adds up, and leaves the buffer empty. */
static void test_take(void)
{
    g_autofree unsigned long *buf = g_new0(unsigned long,
                                           8 * AGE_SPARSE_WORDS);
    Pair p;

    pair_init(&p);
    for (unsigned i = 0; i < 100; i++) {
        uint64_t base = AGE_SPARSE_PART * g_test_rand_int_range(0, 120);
        uint64_t pos = g_test_rand_int_range(0, 5 * AGE_SPARSE_PART);
        uint64_t n = g_test_rand_int_range(0, 2 * AGE_SPARSE_PART);

        age_bits_set(buf, pos, n);
        age_bits_set(p.map, base + pos, n);
        age_sparse_take(&p.s, base, buf, pos + n);
        g_assert(!age_bits_any(buf, 0, 8 * AGE_SPARSE_PART));
        check_pair(&p);
    }
    pair_destroy(&p);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/age/sparse/empty", test_empty);
    g_test_add_func("/age/sparse/edges", test_edges);
    g_test_add_func("/age/sparse/full", test_full);
    g_test_add_func("/age/sparse/random", test_random);
    g_test_add_func("/age/sparse/take", test_take);
    return g_test_run();
}
