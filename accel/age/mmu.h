/*
 * A second-stage MMU: address spaces, each with its slots and its page table
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MMU_H
#define ACCEL_AGE_MMU_H

#include "ptable.h"
#include "slots.h"
#include "system/age.h"

/* On x86 the normal and the SMM space, on Arm the non-secure and the secure */
#define AGE_MAX_SPACES  4

/**
 * AgeAddressSpace: one root
 *
 * @name: "memory", "smm", "secure" or the like
 * @mem: what backs it
 * @pt: its page table, filled on demand
 */
typedef struct AgeAddressSpace {
    const char *name;
    AgeMemory mem;
    AgePageTable pt;
} AgeAddressSpace;

/**
 * AgeMMU: a secondary MMU in the sense of the notifier chain
 *
 * @notifier: its subscription
 * @fmt: format of its tables
 * @gpa_bits: guest-physical addresses it translates
 * @leaf_height: height of the tallest leaf it installs
 * @geo: shape of its tables
 * @space: its address spaces; grows only
 * @num_spaces: how many of @space are valid
 * @cleared: leaves turned from young to old
 * @skipped: tables that a harvest passed over
 */
typedef struct AgeMMU {
    AgeNotifier notifier;
    const AgeFormat *fmt;
    unsigned gpa_bits;
    int leaf_height;
    AgeGeometry geo;
    AgeAddressSpace *space[AGE_MAX_SPACES];
    unsigned num_spaces;
    uint64_t cleared;
    uint64_t skipped;
} AgeMMU;

/**
 * age_mmu_init: an MMU without address spaces, subscribed to the chain
 * @mmu: with @fmt, @gpa_bits and @leaf_height filled in
 * @name: how results call it
 *
 * Returns: false if the format cannot translate that many bits.
 * Context: BQL held.
 */
bool age_mmu_init(AgeMMU *mmu, const char *name);

/**
 * age_mmu_add_space: give an MMU one more root
 * @mmu: the MMU
 * @name: name of the space, which is not copied
 * @as: what it is to follow; it must live as long as the MMU
 *
 * Returns: the space, or NULL if the MMU has all it can have.
 * Context: BQL held.
 */
AgeAddressSpace *age_mmu_add_space(AgeMMU *mmu, const char *name,
                                   AddressSpace *as);

/**
 * age_mmu_num_spaces: how many address spaces may be looked at
 * @mmu: the MMU
 *
 * Context: any.
 */
unsigned age_mmu_num_spaces(const AgeMMU *mmu);

#endif /* ACCEL_AGE_MMU_H */
