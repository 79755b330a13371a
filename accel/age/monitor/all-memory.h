/*
 * All memory of the guest as the ranges of a command
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MONITOR_ALL_MEMORY_H
#define ACCEL_AGE_MONITOR_ALL_MEMORY_H

#include "qapi/qapi-types-age.h"
#include "accel/age/mmu/mmu.h"

/**
 * age_all_memory: the ranges that slots cover
 * @type: how addresses are meant: where the guest has the memory, or QEMU
 * @space: the address space whose slots count; NULL for all of them
 *
 * Slots side by side are one range, whatever backs them.
 *
 * Returns: the ranges by ascending address, without bitmaps, for the caller to
 *     free.  NULL if there is no memory.
 * Context: any thread, with or without the BQL.
 */
AgeRangeArgList *age_all_memory(AgeAddressType type,
                                const AgeAddressSpace *space);

#endif /* ACCEL_AGE_MONITOR_ALL_MEMORY_H */
