/*
 * The harvest of all ranges of a command
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MONITOR_HARVEST_RANGES_H
#define ACCEL_AGE_MONITOR_HARVEST_RANGES_H

#include "harvest-range.h"

/**
 * HarvestMode: how to harvest
 *
 * @type: how the addresses of ranges are meant
 * @dirty: dirty pages, rather than young ones
 * @fallback: fallbacks are allowed
 */
typedef struct HarvestMode {
    AgeAddressType type;
    bool dirty;
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
 * Returns: whether a fallback found a young page.
 * Context: any thread, with or without the BQL.  Takes no lock without
 *     fallback.
 */
bool age_harvest_ranges(HarvestRange *ranges, unsigned num, HarvestMode mode);

#endif /* ACCEL_AGE_MONITOR_HARVEST_RANGES_H */
