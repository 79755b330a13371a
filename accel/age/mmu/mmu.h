/*
 * A second-stage MMU: address spaces, each with its slots and its page table
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MMU_MMU_H
#define ACCEL_AGE_MMU_MMU_H

#include "system/age.h"
#include "accel/age/pt/ptable.h"
#include "accel/age/pt/reaper.h"
#include "mmu-lock.h"
#include "slots.h"

typedef struct AgeMMU AgeMMU;

/* Two for each kind of CPU, if a machine has CPUs that see different memory */
#define AGE_MAX_SPACES  4

/**
 * AgeAddressSpace: one root
 *
 * @mmu: what it belongs to
 * @name: "memory", "smm", "secure" or the like
 * @mem: what backs it
 * @pt: its page table, filled on demand
 */
typedef struct AgeAddressSpace {
    AgeMMU *mmu;
    char *name;
    AgeMemory mem;
    AgePageTable pt;
} AgeAddressSpace;

/**
 * AgeMMU: a secondary MMU in the sense of the notifier chain
 *
 * @rcu, @reap: free it once nobody uses it any more
 * @notifier: its subscription
 * @zap_lock: held to take mappings away, as age_pt_zap() demands.  Mostly that
 *     happens with the BQL held, but not if memory is discarded by migration
 * @lock: the MMU lock, in Linux's sense.  Whoever handles a fault holds it for
 *     reading, the slow ways of aging (clear_young() and test_young()) hold it
 *     for writing.  A harvest and a walk without a fault do without.  It is
 *     here so that the two ways can be compared; nothing else depends on it
 * @fmt: format of its tables, as of now; read it by age_mmu_format()
 * @refusal: why harvests are refused, a static string; NULL if they are not
 * @flush: request that whoever walks flushes its TLB; may be NULL
 * @flush_later: likewise, once for all that comes soon; NULL if @flush is
 * @unflushed: flags were cleared or leaves zapped that TLBs may still have, and
 *     no flush was requested since
 * @geo: shape of its tables; set before the first of its address spaces
 * @leaf_height: height of the tallest leaf it installs
 * @all_memory: what none of its address spaces has any more is not the guest's
 * @space: its address spaces; grows only
 * @num_spaces: how many of @space are valid
 * @cleared: leaves turned from young to old
 * @dirty_cleared: leaves turned from dirty to clean
 * @skipped: tables that a harvest passed over
 * @freed: see age_mmu_cleanup()
 */
struct AgeMMU {
    struct rcu_head rcu;
    AgeReap reap;
    AgeNotifier notifier;
    GMutex zap_lock;
    AgeMMULock lock;
    const AgeFormat *fmt;
    const char *refusal;
    void (*flush)(void);
    void (*flush_later)(void);
    bool unflushed;
    AgeGeometry geo;
    int leaf_height;
    bool all_memory;
    AgeAddressSpace *space[AGE_MAX_SPACES];
    unsigned num_spaces;
    uint64_t cleared;
    uint64_t dirty_cleared;
    uint64_t skipped;
    void (*freed)(AgeMMU *mmu);
};

/**
 * age_mmu_format: the format of its tables, as of now
 * @mmu: the MMU
 */
static inline const AgeFormat *age_mmu_format(const AgeMMU *mmu)
{
    return qatomic_read(&mmu->fmt);
}

/**
 * age_mmu_init: an MMU without address spaces, subscribed to the chain
 * @mmu: with @fmt, @flush, @leaf_height and @all_memory filled in
 * @name: how answers call it
 * @errp: set if they call another MMU so
 *
 * Returns: whether it was subscribed; if not, there is nothing to clean up.
 * Context: BQL held.
 */
bool age_mmu_init(AgeMMU *mmu, const char *name, Error **errp);

/**
 * age_mmu_add_space: give an MMU one more root
 * @mmu: the MMU, with @geo filled in
 * @name: name of the space, which it takes over
 * @as: what it is to follow; it must live as long as the MMU
 *
 * Returns: the space, or NULL if the MMU has all it can have.
 * Context: BQL held.
 */
AgeAddressSpace *age_mmu_add_space(AgeMMU *mmu, char *name,
                                   AddressSpace *as);

/**
 * age_mmu_set_format: go to another format of the same architecture
 * @mmu: the MMU, of which all mappings are zapped
 * @fmt: the format, with or without hardware that sets accessed flags
 *
 * Context: BQL held; the MMU may be in use.
 */
void age_mmu_set_format(AgeMMU *mmu, const AgeFormat *fmt);

/**
 * age_mmu_cleanup: end an MMU
 * @mmu: the MMU, which is no longer used for walks.  Harvests may be under way
 * @freed: called with @mmu when nothing uses it any more, with the BQL held
 *
 * Context: BQL held.  Does not wait.
 */
void age_mmu_cleanup(AgeMMU *mmu, void (*freed)(AgeMMU *mmu));

/**
 * age_mmu_num_spaces: how many address spaces may be looked at
 * @mmu: the MMU
 *
 * Context: any.
 */
unsigned age_mmu_num_spaces(const AgeMMU *mmu);

#endif /* ACCEL_AGE_MMU_MMU_H */
