/*
 * The summary of a table: may anything in it be young, or dirty?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_PT_SUMMARY_H
#define ACCEL_AGE_PT_SUMMARY_H

#include "qemu/atomic.h"
#include "table-pool.h"

/*
 * The accessed flags of parents are the architecture's.  They do not help a
 * harvest of dirty flags, nor one that makes a part of a table old, and some
 * formats have none.  So each table but the root has two words beside it, one
 * for accessed flags and one for dirty ones.  No hardware knows them.
 *
 * A word is a state and a version.  The version goes up whenever the word
 * changes, so that a word which is the same as before has not changed since.
 */

/**
 * AgeSummaryState: what a word says about the flags of a table's leaves and
 * of all that is below it
 *
 * @AGE_SUMMARY_MAYBE: some may be set
 * @AGE_SUMMARY_SCANNING: likewise; a harvester is about to see whether one is
 * @AGE_SUMMARY_NONE: none is set, but by walkers that have not returned yet
 */
typedef enum AgeSummaryState {
    AGE_SUMMARY_MAYBE,
    AGE_SUMMARY_SCANNING,
    AGE_SUMMARY_NONE,
} AgeSummaryState;

#define AGE_SUMMARY_STATE_MASK  3ULL
#define AGE_SUMMARY_VERSION     4ULL

/**
 * age_summary_of: the word of a table
 * @entry: the table, or any entry in it; not the root, which has none
 * @dirty: the one for dirty flags
 */
static inline uint64_t *age_summary_of(const uint64_t *entry, bool dirty)
{
    return &age_table_words(entry)[dirty];
}

static inline AgeSummaryState age_summary_state(uint64_t word)
{
    return word & AGE_SUMMARY_STATE_MASK;
}

/* Is nothing young, or dirty, in the table with this word? */
static inline bool age_summary_is_none(const uint64_t *word)
{
    return age_summary_state(qatomic_read(word)) == AGE_SUMMARY_NONE;
}

static inline bool age_summary_is_maybe(const uint64_t *word)
{
    return age_summary_state(qatomic_read(word)) == AGE_SUMMARY_MAYBE;
}

/* What comes after @word, with @state */
static inline uint64_t age_summary_next(uint64_t word, AgeSummaryState state)
{
    return (word & ~AGE_SUMMARY_STATE_MASK) + AGE_SUMMARY_VERSION + state;
}

/**
 * age_summary_mark: a walker made something in the table young, or dirty, or
 *     found it so
 * @word: of the table
 *
 * Between the look at the flag and this there must be a barrier, see
 * age_pt_mark().
 *
 * Returns: whether the word changed.
 */
static inline bool age_summary_mark(uint64_t *word)
{
    uint64_t old = qatomic_read(word);

    while (age_summary_state(old) != AGE_SUMMARY_MAYBE) {
        uint64_t next = age_summary_next(old, AGE_SUMMARY_MAYBE);
        uint64_t seen = qatomic_cmpxchg(word, old, next);

        if (seen == old) {
            return true;
        }
        old = seen;
    }
    return false;
}

/**
 * age_summary_begin: a harvester is about to look at the whole table
 * @word: of the table
 * @mine: for age_summary_end()
 *
 * Returns: false if there is no point in it, as somebody else changed the word.
 */
static inline bool age_summary_begin(uint64_t *word, uint64_t *mine)
{
    uint64_t old = qatomic_read(word);

    *mine = age_summary_next(old, AGE_SUMMARY_SCANNING);
    if (qatomic_cmpxchg(word, old, *mine) != old) {
        return false;
    }
    /* Pairs with the barriers in age_pt_mark(). */
    smp_mb__after_rmw();
    return true;
}

/**
 * age_summary_end: the harvester has looked at the whole table
 * @word: of the table
 * @mine: from age_summary_begin()
 * @none: it found nothing young, or dirty
 *
 * A walker that came by meanwhile, or another harvester, has changed the word.
 * Then what was seen counts for nothing.
 */
static inline void age_summary_end(uint64_t *word, uint64_t mine, bool none)
{
    qatomic_cmpxchg(word, mine, age_summary_next(mine, none ? AGE_SUMMARY_NONE :
                                                       AGE_SUMMARY_MAYBE));
}

#endif /* ACCEL_AGE_PT_SUMMARY_H */
