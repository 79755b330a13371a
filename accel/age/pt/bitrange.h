/*
 * Up to a word's worth of bits at any offset of a bitmap, and counts of all
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_PT_BITRANGE_H
#define ACCEL_AGE_PT_BITRANGE_H

#define AGE_WORD_BITS   64

/* One word of the bitmaps is 64 entries; entries and words are 64 bits. */
G_STATIC_ASSERT(sizeof(unsigned long) * 8 == AGE_WORD_BITS);

static inline uint64_t age_low_bits(unsigned n)
{
    return n < AGE_WORD_BITS ? (1ULL << n) - 1 : ~0ULL;
}

/* The @n bits (1 to 64) of @map from bit @pos on; reads no word without one */
static inline uint64_t age_bits_get(const unsigned long *map, uint64_t pos,
                                    unsigned n)
{
    const unsigned long *word = map + pos / AGE_WORD_BITS;
    unsigned shift = pos % AGE_WORD_BITS;
    uint64_t bits = word[0] >> shift;

    if (shift + n > AGE_WORD_BITS) {
        bits |= word[1] << (AGE_WORD_BITS - shift);
    }
    return bits & age_low_bits(n);
}

/* Set those of the bits from @pos on that are set in @bits, @n wide */
static inline void age_bits_or(unsigned long *map, uint64_t pos, unsigned n,
                               uint64_t bits)
{
    unsigned long *word = map + pos / AGE_WORD_BITS;
    unsigned shift = pos % AGE_WORD_BITS;

    word[0] |= bits << shift;
    if (shift + n > AGE_WORD_BITS) {
        word[1] |= bits >> (AGE_WORD_BITS - shift);
    }
}

/* Set those of the @n bits (any number) from @pos on that @from has set */
static inline void age_bits_or_from(unsigned long *map, uint64_t pos,
                                    const unsigned long *from,
                                    uint64_t from_pos, uint64_t n)
{
    while (n > 0) {
        unsigned chunk = MIN(n, AGE_WORD_BITS);

        age_bits_or(map, pos, chunk, age_bits_get(from, from_pos, chunk));
        pos += chunk;
        from_pos += chunk;
        n -= chunk;
    }
}

/* Are the @n bits (any number) from @pos on all ones? */
static inline bool age_bits_all(const unsigned long *map, uint64_t pos,
                                uint64_t n)
{
    while (n > 0) {
        unsigned chunk = MIN(n, AGE_WORD_BITS);

        if (age_bits_get(map, pos, chunk) != age_low_bits(chunk)) {
            return false;
        }
        pos += chunk;
        n -= chunk;
    }
    return true;
}

/* Is any of the @n bits from @pos on a one? */
static inline bool age_bits_any(const unsigned long *map, uint64_t pos,
                                uint64_t n)
{
    while (n > 0) {
        unsigned chunk = MIN(n, AGE_WORD_BITS);

        if (age_bits_get(map, pos, chunk)) {
            return true;
        }
        pos += chunk;
        n -= chunk;
    }
    return false;
}

/* Set the @n bits (any number) from @pos on */
static inline void age_bits_set(unsigned long *map, uint64_t pos, uint64_t n)
{
    while (n > 0) {
        unsigned chunk = MIN(n, AGE_WORD_BITS);

        age_bits_or(map, pos, chunk, age_low_bits(chunk));
        pos += chunk;
        n -= chunk;
    }
}

/**
 * AgeBitCount: what is set in a bitmap
 *
 * @ones: how many bits
 * @runs: how many stretches of them without a gap
 */
typedef struct AgeBitCount {
    uint64_t ones;
    uint64_t runs;
} AgeBitCount;

/*
 * Count what is set in @n words.  Most words of most harvests have no young
 * page at all, or nothing else: neither kind counts bits.
 */
static inline AgeBitCount age_bits_count(const unsigned long *map, size_t n)
{
    AgeBitCount count = {};
    uint64_t before = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t word = map[i];

        if (word == ~0ULL) {
            count.ones += AGE_WORD_BITS;
            count.runs += !before;
        } else if (word) {
            count.ones += __builtin_popcountll(word);
            count.runs += __builtin_popcountll(word & ~(word << 1 | before));
        }
        before = word >> (AGE_WORD_BITS - 1);
    }
    return count;
}

#endif /* ACCEL_AGE_PT_BITRANGE_H */
