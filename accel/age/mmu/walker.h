/*
 * The "hardware" page table walker
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MMU_WALKER_H
#define ACCEL_AGE_MMU_WALKER_H

#include "arch.h"
#include "mmu.h"

/* Paths that a walker remembers, one for each 2 MiB region that maps to it */
#define AGE_WALK_CACHE_SIZE 16

/**
 * AgeWalkCacheSlot: a walk that is remembered
 *
 * @seq: what age_pt_read_seq() said before it
 * @region: number of the 2 MiB region, plus one; 0 if there is none
 * @path: its path, down to height 0; which page of the region was last
 *     looked for only shows in @path.entry[0]
 */
typedef struct AgeWalkCacheSlot {
    uint64_t seq;
    uint64_t region;
    AgePath path;
} AgeWalkCacheSlot;

/* The last walks, like the paging-structure caches of hardware */
typedef struct AgeWalkCache {
    AgeWalkCacheSlot slot[AGE_WALK_CACHE_SIZE];
} AgeWalkCache;

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
 * @cache: its caches, one for each of them
 * @stats: what it did
 */
typedef struct AgeWalker {
    AgeAddressSpace *space[AGE_CPU_SPACES];
    AgeWalkCache cache[AGE_CPU_SPACES];
    AgeWalkStats stats;
} AgeWalker;

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
bool age_walk(AgeWalker *w, unsigned index, hwaddr gpa, bool write);

#endif /* ACCEL_AGE_MMU_WALKER_H */
