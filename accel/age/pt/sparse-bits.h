/*
 * A bitmap that costs what is set in it, and next to nothing where nothing is
 *
 * Of the pages of a guest few are young: a bitmap of 4 TiB has 128 MiB of bits,
 * most of them zero.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_PT_SPARSE_BITS_H
#define ACCEL_AGE_PT_SPARSE_BITS_H

#include "bitrange.h"

/* A part is allocated whole: the bits of 16 MiB of memory, in 512 bytes. */
#define AGE_SPARSE_PART     4096
#define AGE_SPARSE_WORDS    (AGE_SPARSE_PART / AGE_WORD_BITS)

/* A group has 64 parts: the bits of 1 GiB. */
#define AGE_SPARSE_GROUP    (AGE_SPARSE_PART * AGE_WORD_BITS)

/**
 * AgeSparseGroup: a part of the bitmap
 *
 * @used: which parts there are
 * @part: these parts
 */
typedef struct AgeSparseGroup {
    uint64_t used;
    unsigned long *part[AGE_WORD_BITS];
} AgeSparseGroup;

/**
 * AgeSparse: the bitmap
 *
 * @bits: how many bits it has
 * @group: its groups, NULL where all is zero
 */
typedef struct AgeSparse {
    uint64_t bits;
    AgeSparseGroup **group;
} AgeSparse;

/**
 * age_sparse_init: make a bitmap of zeroes
 * @s: the bitmap
 * @bits: how many bits it has
 */
void age_sparse_init(AgeSparse *s, uint64_t bits);

/**
 * age_sparse_destroy: free what it has
 * @s: the bitmap; one that is all zero bytes has nothing
 */
void age_sparse_destroy(AgeSparse *s);

/**
 * age_sparse_or: set those bits that are set in another bitmap
 * @s: the bitmap
 * @pos: the first bit
 * @from: the other bitmap
 * @from_pos: its first bit
 * @n: number of bits
 */
void age_sparse_or(AgeSparse *s, uint64_t pos, const unsigned long *from,
                   uint64_t from_pos, uint64_t n);

/**
 * age_sparse_take: the same for a buffer, which has zeroes after it
 * @s: the bitmap
 * @pos: the bit of the buffer's first one, a multiple of %AGE_SPARSE_PART
 * @buf: the buffer, of whole parts
 * @n: number of bits
 */
void age_sparse_take(AgeSparse *s, uint64_t pos, unsigned long *buf,
                     uint64_t n);

/**
 * age_sparse_flip: flip those bits of a map that are set here
 * @s: the bitmap
 * @map: a map of at least as many bits
 */
void age_sparse_flip(const AgeSparse *s, unsigned long *map);

/**
 * age_sparse_count: count what is set
 * @s: the bitmap
 */
AgeBitCount age_sparse_count(const AgeSparse *s);

/**
 * age_sparse_next: find the next bit that is set
 * @s: the bitmap
 * @pos: where to begin
 *
 * Returns: its number, or @s->bits if there is none.
 */
uint64_t age_sparse_next(const AgeSparse *s, uint64_t pos);

/**
 * age_sparse_next_zero: find the next bit that is not set
 * @s: the bitmap
 * @pos: where to begin
 *
 * Returns: its number, or @s->bits if there is none.
 */
uint64_t age_sparse_next_zero(const AgeSparse *s, uint64_t pos);

#endif /* ACCEL_AGE_PT_SPARSE_BITS_H */
