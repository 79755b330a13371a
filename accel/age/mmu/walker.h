/*
 * The "hardware" page table walker
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MMU_WALKER_H
#define ACCEL_AGE_MMU_WALKER_H

#include "arch.h"
#include "accel/age/pt/filter.h"
#include "mmu.h"

/**
 * AgeWalkStats: what a walker did; written by its own thread only
 *
 * @fills: accesses that it was asked to translate
 * @violations: leaves that it had to install
 * @accessed: leaves that it made young
 * @dirty: leaves that it made dirty
 * @unmapped: accesses to what no slot backs: MMIO
 * @denied: stores to read-only memory
 * @retries: walks that were begun again as the topology changed
 */
typedef struct AgeWalkStats {
    uint64_t fills;
    uint64_t violations;
    uint64_t accessed;
    uint64_t dirty;
    uint64_t unmapped;
    uint64_t denied;
    uint64_t retries;
} AgeWalkStats;

/**
 * AgeWalker: what translates: a vCPU or a device's DMA engine
 *
 * @space: the address spaces that it can use; NULL for one that it can't
 * @stats: what it did
 * @filter: what it knows of their page tables
 */
typedef struct AgeWalker {
    AgeAddressSpace *space[AGE_CPU_SPACES];
    AgeWalkStats stats;
    AgeFilter filter[AGE_CPU_SPACES];
} AgeWalker;

/**
 * age_walker_init: a walker with empty filters
 * @w: the walker, all zeroes but for @space
 */
void age_walker_init(AgeWalker *w);

/**
 * age_walk_known: an access for which there may be nothing to do
 * @w: who translates
 * @index: which of the address spaces of @w it uses
 * @gpa: guest-physical address
 * @write: it is a store
 * @clean: set to what age_walk() returns, if that is known
 *
 * Returns: false if it is not; then age_walk_tables() comes next.
 * Context: one thread at a time for each walker.
 */
static inline bool age_walk_known(AgeWalker *w, unsigned index, hwaddr gpa,
                                  bool write, bool *clean)
{
    qatomic_set(&w->stats.fills, w->stats.fills + 1);
    return age_filter_knows(&w->filter[index], gpa, write, clean);
}

/**
 * age_walk_tables: the rest of age_walk(), if age_walk_known() does not know
 */
bool age_walk_tables(AgeWalker *w, unsigned index, hwaddr gpa, bool write);

/**
 * age_walk: translate one access, as hardware would
 * @w: who translates
 * @index: which of the address spaces of @w it uses, which is not NULL
 * @gpa: guest-physical address
 * @write: it is a store
 *
 * Sets the accessed flags of the leaf and of its parents, and the dirty flag
 * of the leaf for a store.  If there is no leaf but memory behind @gpa, that
 * is an EPT violation or a stage-2 translation fault, and a leaf is installed
 * first.
 *
 * Returns: whether a store must walk again, if the translation is kept: the
 *     leaf is clean, or permits no stores for now.
 * Context: RCU read-side critical section; one thread at a time for each
 *     walker.  Takes no lock but for a fault: then the MMU lock for reading,
 *     and that of the pool of tables.
 */
static inline bool age_walk(AgeWalker *w, unsigned index, hwaddr gpa,
                            bool write)
{
    bool clean;

    if (age_walk_known(w, index, gpa, write, &clean)) {
        return clean;
    }
    return age_walk_tables(w, index, gpa, write);
}

#endif /* ACCEL_AGE_MMU_WALKER_H */
