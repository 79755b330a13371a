/*
 * Memory for table pages
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_PT_TABLE_POOL_H
#define ACCEL_AGE_PT_TABLE_POOL_H

#include "format.h"

/* Pages of a chunk, a power of two; the sanitizers' tests have less. */
#ifndef AGE_CHUNK_PAGES
#define AGE_CHUNK_PAGES 256u
#endif

#define AGE_CHUNK_SIZE  (AGE_CHUNK_PAGES * AGE_PAGE_SIZE)

/**
 * AgeChunk: memory of tables, aligned to its size
 *
 * So the way from a table to what stands beside it is a matter of a mask.
 *
 * @words: two for each table, by the number of its page; see summary.h.  They
 *     fill the first page of a chunk, so the first two stand for nothing
 * @table: the tables
 */
typedef struct AgeChunk {
    union {
        uint64_t words[AGE_CHUNK_PAGES][2];
        uint64_t page[AGE_TABLE_ENTRIES];
    };
    uint64_t table[AGE_CHUNK_PAGES - 1][AGE_TABLE_ENTRIES];
} AgeChunk;

/**
 * age_table_words: the two words beside a table
 * @entry: the table, or any entry in it; not a root, which has none
 */
static inline uint64_t *age_table_words(const uint64_t *entry)
{
    uintptr_t page = (uintptr_t)entry / AGE_PAGE_SIZE;
    AgeChunk *chunk = (AgeChunk *)((uintptr_t)entry & -AGE_CHUNK_SIZE);

    return chunk->words[page % AGE_CHUNK_PAGES];
}

/**
 * age_table_alloc: a zeroed table
 *
 * Returns: memory of one page, aligned to its size, in an #AgeChunk; the words
 *     beside it are zero as well.
 */
uint64_t *age_table_alloc(void);

/**
 * age_table_free: give a table back
 * @table: from age_table_alloc(); nobody may look at it any more
 */
void age_table_free(uint64_t *table);

/**
 * age_root_alloc: zeroed tables side by side
 * @tables: how many, a power of two
 *
 * Returns: memory aligned to its size, as a concatenated root must be.  It is
 *     freed by age_root_free().
 */
uint64_t *age_root_alloc(unsigned tables);
void age_root_free(uint64_t *root);

#endif /* ACCEL_AGE_PT_TABLE_POOL_H */
