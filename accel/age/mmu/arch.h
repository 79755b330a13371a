/*
 * What the architecture of the guest decides, in one table
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MMU_ARCH_H
#define ACCEL_AGE_MMU_ARCH_H

#include "accel/age/pt/format.h"

/* Address spaces of a vCPU: MemTxAttrs.secure tells which one an access uses */
#define AGE_CPU_SPACES  2

/**
 * AgeArch: an architecture of guests
 *
 * @targets: the emulators of it, by target_name(); NULL behind the last
 * @hw_ad: entries whose accessed and dirty flags hardware sets, in tables as
 *     well
 * @no_haft: likewise, but in leaves only; NULL if hardware has no such choice
 * @no_ad: entries whose accessed flags a fault sets
 * @min_levels, @max_levels: how many levels a table may have
 * @space_names: names of a vCPU's address spaces, by MemTxAttrs.secure; NULL
 *     for one that the architecture has not
 * @can_be_protected: there are guests whose memory the host can't get at
 */
typedef struct AgeArch {
    const char *targets[3];
    const AgeFormat *hw_ad;
    const AgeFormat *no_haft;
    const AgeFormat *no_ad;
    unsigned min_levels;
    unsigned max_levels;
    const char *space_names[AGE_CPU_SPACES];
    bool can_be_protected;
} AgeArch;

/**
 * age_arch: the architecture of this emulator's guests
 *
 * Returns: NULL if there is no second stage for it here.
 * Context: any thread.
 */
const AgeArch *age_arch(void);

/**
 * age_arch_format: the format of its tables
 * @arch: the architecture
 * @hw_ad: hardware sets accessed and dirty flags
 * @haft: it does so in tables as well, where there is the choice
 *
 * Context: any thread.
 */
const AgeFormat *age_arch_format(const AgeArch *arch, bool hw_ad, bool haft);

#endif /* ACCEL_AGE_MMU_ARCH_H */
