/*
 * A range of a harvest: its argument taken apart, and its result put together
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MONITOR_HARVEST_RANGE_H
#define ACCEL_AGE_MONITOR_HARVEST_RANGE_H

#include "accel/age/pt/bitrange.h"
#include "ranges.h"

/**
 * HarvestRange: a range of a command on its way from argument to result
 *
 * @arg: the argument
 * @pages: number of pages
 * @map: the bitmap, in the host's byte order and padded to whole words; NULL
 *     if there was none, which is all ones
 * @map_bytes: length of what was given
 * @memory: where the client's memory is, if the bitmap is there
 * @young: bits of the young pages
 * @young_count: how many they are
 * @answers: how each secondary MMU answered
 */
typedef struct HarvestRange {
    const AgeRange *arg;
    uint64_t pages;
    unsigned long *map;
    size_t map_bytes;
    const void *memory;
    unsigned long *young;
    AgeBitCount young_count;
    AgeAnswerList *answers;
} HarvestRange;

/**
 * age_harvest_range_parse: take an argument apart
 * @r: the range, for age_harvest_range_clear() in any case
 * @state: what the ranges before it came to
 * @arg: the argument, which must live as long as @r
 * @errp: set to an error that names the range and what is wrong with it
 *
 * Returns: false on error.
 */
bool age_harvest_range_parse(HarvestRange *r, AgeRanges *state,
                             const AgeRange *arg, Error **errp);

/**
 * age_harvest_range_answer: tell what came of it
 * @r: the range, harvested
 * @format: how to tell of its pages
 * @runs_left: how many runs the command may still list
 * @answer: filled in
 */
void age_harvest_range_answer(HarvestRange *r, AgeResultFormat format,
                              uint64_t *runs_left, AgeRangeAnswer *answer);

/**
 * age_harvest_range_clear: free what it has
 * @r: the range
 */
void age_harvest_range_clear(HarvestRange *r);

#endif /* ACCEL_AGE_MONITOR_HARVEST_RANGE_H */
