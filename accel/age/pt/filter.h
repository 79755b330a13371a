/*
 * Filter in front of the walk: pages whose flags are known to be set
 *
 * Nearly every walk finds all that it would set to be set already.  A filter
 * remembers for which pages a walk of its owner has found that, so that the
 * next one need not be made.
 *
 * What it knows is true for one epoch of the page table.  Whoever clears a
 * flag, or takes a leaf away or replaces it, calls age_pt_next_epoch() *after*
 * the last such write and before it says that it is done.  Whoever uses the
 * filter reads the epoch *before* it looks into the filter or begins the walk.
 *
 * So a page that is known in the epoch of now was found set by a walk that
 * began in it, after all that came before had been cleared.  What is being
 * cleared meanwhile may be known still; but then the one who clears it is not
 * done, and finds the page young for every access that the filter hides.  To
 * count the epoch up before clearing would be wrong: a walk may read the new
 * one, find a flag that is about to be cleared, and remember it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_PT_FILTER_H
#define ACCEL_AGE_PT_FILTER_H

#include "ptable.h"

/* 64 pages each; those whose numbers differ by a multiple share a place */
#define AGE_FILTER_GROUPS   2048
#define AGE_FILTER_SHIFT    (AGE_PAGE_SHIFT + 6)

/**
 * AgeFilterGroup: what is known of 64 pages side by side
 *
 * @epoch: when it was true
 * @number: which pages these are: their address, shifted
 * @young: bits of the pages for which a load has nothing to set
 * @dirty: bits of those for which a store hasn't either; they are young, too
 */
typedef struct AgeFilterGroup {
    uint64_t epoch;
    uint64_t number;
    uint64_t young;
    uint64_t dirty;
} AgeFilterGroup;

/**
 * AgeFilter: what one walker knows of one page table
 *
 * One thread at a time may use it.  All zeroes is nothing known, as no table
 * has an epoch of 0.
 */
typedef struct AgeFilter {
    AgeFilterGroup group[AGE_FILTER_GROUPS];
} AgeFilter;

static inline AgeFilterGroup *age_filter_group(AgeFilter *f, uint64_t gpa)
{
    return &f->group[(gpa >> AGE_FILTER_SHIFT) % AGE_FILTER_GROUPS];
}

/**
 * age_filter_all_set: has a walk to @gpa nothing to set, whatever it is for?
 * @f: the filter
 * @epoch: from age_pt_read_epoch()
 * @gpa: guest-physical address
 *
 * Returns: false if it has, or if it is not known.
 */
static inline bool age_filter_all_set(AgeFilter *f, uint64_t epoch,
                                      uint64_t gpa)
{
    const AgeFilterGroup *g = age_filter_group(f, gpa);

    return g->epoch == epoch && g->number == gpa >> AGE_FILTER_SHIFT &&
           ((g->dirty >> ((gpa >> AGE_PAGE_SHIFT) % 64)) & 1);
}

/**
 * age_filter_knows: has a walk to @gpa nothing to set?
 * @f: the filter
 * @epoch: from age_pt_read_epoch()
 * @gpa: guest-physical address
 * @write: it is for a store
 * @clean: set to whether a store must walk after that, if the answer is yes.
 *     That is said of what may not be stored to, as well
 *
 * Returns: false if it is not known.
 */
static inline bool age_filter_knows(AgeFilter *f, uint64_t epoch, uint64_t gpa,
                                    bool write, bool *clean)
{
    const AgeFilterGroup *g = age_filter_group(f, gpa);
    unsigned bit = (gpa >> AGE_PAGE_SHIFT) % 64;

    *clean = !((g->dirty >> bit) & 1);
    return g->epoch == epoch && g->number == gpa >> AGE_FILTER_SHIFT &&
           (((write ? g->dirty : g->young) >> bit) & 1);
}

/**
 * age_filter_learn: remember what a walk found
 * @f: the filter
 * @epoch: from age_pt_read_epoch(), before the walk
 * @gpa: guest-physical address
 * @height: height of the leaf.  A block covers all of the group
 * @dirty: a store has nothing to set either
 *
 * The walk ended with the leaf and its parents seen set.
 */
static inline void age_filter_learn(AgeFilter *f, uint64_t epoch, uint64_t gpa,
                                    int height, bool dirty)
{
    AgeFilterGroup *g = age_filter_group(f, gpa);
    uint64_t number = gpa >> AGE_FILTER_SHIFT;
    uint64_t bits = height ? ~0ULL : 1ULL << ((gpa >> AGE_PAGE_SHIFT) % 64);

    if (g->epoch != epoch || g->number != number) {
        *g = (AgeFilterGroup) { .epoch = epoch, .number = number };
    }
    g->young |= bits;
    g->dirty |= dirty ? bits : 0;
}

#endif /* ACCEL_AGE_PT_FILTER_H */
