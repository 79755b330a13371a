/*
 * Bit ranges, against loops that go bit by bit
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "accel/age/pt/bitrange.h"

#define MAX_POS     130
#define MAX_LEN     200

/* A map of exactly as many words as @bits need, for AddressSanitizer */
static unsigned long *new_map(unsigned bits)
{
    return g_new0(unsigned long, (bits + 63) / 64);
}

static bool get_bit(const unsigned long *map, unsigned bit)
{
    return (map[bit / 64] >> (bit % 64)) & 1;
}

static void put_bit(unsigned long *map, unsigned bit, bool value)
{
    map[bit / 64] &= ~(1UL << (bit % 64));
    map[bit / 64] |= (unsigned long)value << (bit % 64);
}

static uint64_t rnd64(void)
{
    uint64_t high = (uint32_t)g_test_rand_int();

    return (high << 32) | (uint32_t)g_test_rand_int();
}

static void fill_random(unsigned long *map, unsigned bits)
{
    for (unsigned i = 0; i < (bits + 63) / 64; i++) {
        map[i] = rnd64();
    }
}

/* Run @check at every position and length. */
static void each_range(unsigned max_len,
                       void (*check)(unsigned long *map, unsigned pos,
                                     unsigned n))
{
    for (unsigned pos = 0; pos <= MAX_POS; pos++) {
        for (unsigned n = 1; n <= max_len; n++) {
            unsigned long *map = new_map(pos + n);

            fill_random(map, pos + n);
            check(map, pos, n);
            g_free(map);
        }
    }
}

static void check_get(unsigned long *map, unsigned pos, unsigned n)
{
    uint64_t want = 0;

    for (unsigned i = 0; i < n; i++) {
        want |= (uint64_t)get_bit(map, pos + i) << i;
    }
    g_assert_cmphex(age_bits_get(map, pos, n), ==, want);
}

static void test_get(void)
{
    each_range(64, check_get);
}

static void check_or(unsigned long *map, unsigned pos, unsigned n)
{
    unsigned long *want = new_map(pos + n);
    size_t size = (pos + n + 63) / 64 * 8;
    uint64_t bits = rnd64();

    if (n < 64) {
        bits %= 1ULL << n;
    }
    memcpy(want, map, size);
    for (unsigned i = 0; i < n; i++) {
        if ((bits >> i) & 1) {
            put_bit(want, pos + i, true);
        }
    }
    age_bits_or(map, pos, n, bits);
    g_assert_cmpmem(map, size, want, size);
    g_free(want);
}

static void test_or(void)
{
    each_range(64, check_or);
}

static void check_set(unsigned long *map, unsigned pos, unsigned n)
{
    unsigned long *want = new_map(pos + n);
    size_t size = (pos + n + 63) / 64 * 8;

    memcpy(want, map, size);
    for (unsigned i = 0; i < n; i++) {
        put_bit(want, pos + i, true);
    }
    age_bits_set(map, pos, n);
    g_assert_cmpmem(map, size, want, size);
    g_free(want);
}

static void test_set(void)
{
    each_range(MAX_LEN, check_set);
}

/* From a map of as many bits, at every offset of a word */
static void check_or_from(unsigned long *map, unsigned pos, unsigned n)
{
    unsigned from_pos = rnd64() % 64;
    unsigned long *from = new_map(from_pos + n);
    unsigned long *want = new_map(pos + n);
    size_t size = (pos + n + 63) / 64 * 8;

    fill_random(from, from_pos + n);
    memcpy(want, map, size);
    for (unsigned i = 0; i < n; i++) {
        if (get_bit(from, from_pos + i)) {
            put_bit(want, pos + i, true);
        }
    }
    age_bits_or_from(map, pos, from, from_pos, n);
    g_assert_cmpmem(map, size, want, size);
    g_free(from);
    g_free(want);
}

static void test_or_from(void)
{
    each_range(MAX_LEN, check_or_from);
}

/* All ones in the range, then all but one; outside it is random. */
static void check_all(unsigned long *map, unsigned pos, unsigned n)
{
    unsigned hole = pos + rnd64() % n;

    for (unsigned i = 0; i < n; i++) {
        put_bit(map, pos + i, true);
    }
    g_assert_true(age_bits_all(map, pos, n));
    put_bit(map, hole, false);
    g_assert_false(age_bits_all(map, pos, n));
}

static void test_all(void)
{
    each_range(MAX_LEN, check_all);
}

/* All zeroes in the range, then all but one; outside it is random. */
static void check_any(unsigned long *map, unsigned pos, unsigned n)
{
    unsigned one = pos + rnd64() % n;

    for (unsigned i = 0; i < n; i++) {
        put_bit(map, pos + i, false);
    }
    g_assert_false(age_bits_any(map, pos, n));
    put_bit(map, one, true);
    g_assert_true(age_bits_any(map, pos, n));
}

static void test_any(void)
{
    each_range(MAX_LEN, check_any);
}

static void test_low_bits(void)
{
    g_assert_cmphex(age_low_bits(0), ==, 0);
    g_assert_cmphex(age_low_bits(1), ==, 1);
    g_assert_cmphex(age_low_bits(9), ==, 0x1ff);
    g_assert_cmphex(age_low_bits(63), ==, 0x7fffffffffffffffULL);
    g_assert_cmphex(age_low_bits(64), ==, 0xffffffffffffffffULL);
}

/* Ranges of no bits are looked at nowhere. */
static void test_empty(void)
{
    unsigned long map = rnd64();
    unsigned long before = map;

    g_assert_true(age_bits_all(&map, 17, 0));
    g_assert_false(age_bits_any(&map, 17, 0));
    age_bits_set(&map, 17, 0);
    g_assert_cmphex(map, ==, before);
}

/* Words of all kinds, next to each other in all ways */
static unsigned long some_word(void)
{
    switch (g_test_rand_int_range(0, 5)) {
    case 0:
        return 0;
    case 1:
        return ~0UL;
    case 2:
        return 1UL << g_test_rand_int_range(0, 64);
    case 3:
        return ~0UL << g_test_rand_int_range(0, 64);
    default:
        return rnd64();
    }
}

static void check_count(const unsigned long *map, size_t words)
{
    AgeBitCount count = age_bits_count(map, words);
    uint64_t ones = 0, runs = 0;
    bool before = false;

    for (size_t bit = 0; bit < words * 64; bit++) {
        bool set = get_bit(map, bit);

        ones += set;
        runs += set && !before;
        before = set;
    }
    g_assert_cmpuint(count.ones, ==, ones);
    g_assert_cmpuint(count.runs, ==, runs);
}

static void test_count(void)
{
    for (unsigned i = 0; i < 10000; i++) {
        size_t words = g_test_rand_int_range(0, 9);
        g_autofree unsigned long *map = g_new(unsigned long, words);

        for (size_t j = 0; j < words; j++) {
            map[j] = some_word();
        }
        check_count(map, words);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/age/bitrange/low-bits", test_low_bits);
    g_test_add_func("/age/bitrange/get", test_get);
    g_test_add_func("/age/bitrange/or", test_or);
    g_test_add_func("/age/bitrange/set", test_set);
    g_test_add_func("/age/bitrange/or-from", test_or_from);
    g_test_add_func("/age/bitrange/all", test_all);
    g_test_add_func("/age/bitrange/any", test_any);
    g_test_add_func("/age/bitrange/empty", test_empty);
    g_test_add_func("/age/bitrange/count", test_count);
    return g_test_run();
}
