/*
 * The harvest of all ranges of a command
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MONITOR_HARVEST_RANGES_H
#define ACCEL_AGE_MONITOR_HARVEST_RANGES_H

#include "harvest-range.h"

#define AGE_HARVEST_WINDOW  (64 * GiB)

/**
 * HarvestMode: how to harvest
 *
 * @type: how the addresses of ranges are meant
 * @space: the address space to harvest; NULL for all of them
 * @dirty: dirty pages, rather than young ones
 * @test: only test what has no bitmap
 * @fallback: fallbacks are allowed
 */
typedef struct HarvestMode {
    AgeAddressType type;
    const AgeAddressSpace *space;
    bool dirty;
    bool test;
    bool fallback;
} HarvestMode;

/**
 * age_harvest_ranges: harvest the ranges of a command
 * @ranges: the ranges, of which @young, @young_count and @answers are filled in
 * @num: how many they are
 * @mode: how to harvest
 *
 * A page that is reached several times, by several ranges or at several
 * addresses, is harvested once: it is cleared if any of the bits asks for that,
 * and young each time if it is young.
 *
 * Each stretch of %AGE_HARVEST_WINDOW bytes of host memory has an RCU read-side
 * critical section of its own, in which it is looked up what the guest's memory
 * is.
 *
 * Returns: whether a fallback found a young page.
 * Context: any thread, with or without the BQL.  Takes no lock without
 *     fallback.
 */
bool age_harvest_ranges(HarvestRange *ranges, unsigned num, HarvestMode mode);

#endif /* ACCEL_AGE_MONITOR_HARVEST_RANGES_H */
