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
 * @fills: accesses that it was asked to translate, if whoever asks counts them
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
 * @epoch: the epochs of their page tables
 * @stats: what it did
 * @filter: what it knows of their page tables
 */
typedef struct AgeWalker {
    AgeAddressSpace *space[AGE_CPU_SPACES];
    const uint64_t *epoch[AGE_CPU_SPACES];
    AgeWalkStats stats;
    AgeFilter filter[AGE_CPU_SPACES];
} AgeWalker;

/**
 * age_walker_init: a walker with empty filters
 * @w: the walker, all zeroes but for @space
 */
void age_walker_init(AgeWalker *w);

/**
 * age_walk_all_set: can age_walk() be left out?
 * @w: who translates
 * @index: which of the address spaces of @w it uses
 * @gpa: guest-physical address
 *
 * Returns: whether age_walk() would do nothing and return false, for any kind
 *     of access.  It does not count this one.
 * Context: one thread at a time for each walker.
 */
static inline bool age_walk_all_set(AgeWalker *w, unsigned index, hwaddr gpa)
{
    /* Pairs with age_pt_next_epoch(), as in age_pt_read_epoch(). */
    uint64_t epoch = qatomic_load_acquire(w->epoch[index]);

    return age_filter_all_set(&w->filter[index], epoch, gpa);
}

/**
 * age_walk: translate one access, as hardware would
 * @w: who translates
 * @index: which of the address spaces of @w it uses
 * @gpa: guest-physical address
 * @write: it is a store
 *
 * Does nothing in an address space that @w can't use.  Sets the accessed flags
 * of the leaf and of its parents, and the dirty flag of the leaf for a store.
 * If there is no leaf but memory behind @gpa, that is an EPT violation or a
 * stage-2 translation fault, and a leaf is installed first.
 *
 * Returns: whether a store must walk again, if the translation is kept: the
 *     leaf is clean, or permits no stores for now.
 * Context: RCU read-side critical section; one thread at a time for each
 *     walker.  Takes no lock but for a fault: then the MMU lock for reading,
 *     and that of the pool of tables.
 */
bool age_walk(AgeWalker *w, unsigned index, hwaddr gpa, bool write);

#endif /* ACCEL_AGE_MMU_WALKER_H */
