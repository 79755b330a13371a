/*
 * A range of a harvest, from its argument to what was found
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MONITOR_HARVEST_RANGE_H
#define ACCEL_AGE_MONITOR_HARVEST_RANGE_H

#include "accel/age/pt/sparse-bits.h"
#include "harvest-map.h"

/**
 * HarvestRange: a range of a command on its way from argument to result
 *
 * @map: what to do with its pages
 * @young: bits of the young pages
 * @young_count: how many they are
 * @answers: how each secondary MMU answered
 */
typedef struct HarvestRange {
    HarvestMap map;
    AgeSparse young;
    AgeBitCount young_count;
    AgeAnswerList *answers;
} HarvestRange;

/**
 * age_harvest_range_parse: take an argument apart
 * @r: the range, for age_harvest_range_clear() in any case
 * @check: what came of the ranges before it
 * @arg: the argument, which must live as long as @r
 * @test: only test it, if it has no bitmap
 * @errp: set to an error that names the range and what is wrong with it
 *
 * Returns: false on error.
 * Context: any thread, with or without the BQL.
 */
bool age_harvest_range_parse(HarvestRange *r, AgeRangeCheck *check,
                             const AgeRangeArg *arg, bool test, Error **errp);

/**
 * age_harvest_range_forget: undo a harvest of which nothing shall be told
 * @r: the range, with nothing found in it after this
 */
void age_harvest_range_forget(HarvestRange *r);

/**
 * age_harvest_range_answer: tell what came of it
 * @r: the range, harvested
 * @format: how to tell of its pages
 * @bitmaps: the command has so few pages that what can't be told otherwise may
 *     be told by a bitmap
 * @runs_left: how many runs the command may still list
 *
 * Returns: a result without counts, which the caller frees.
 * Context: any thread, with or without the BQL.
 */
AgeRangeResult *age_harvest_range_answer(HarvestRange *r,
                                         AgeResultFormat format, bool bitmaps,
                                         uint64_t *runs_left);

/**
 * age_harvest_range_clear: free what it has
 * @r: the range
 */
void age_harvest_range_clear(HarvestRange *r);

#endif /* ACCEL_AGE_MONITOR_HARVEST_RANGE_H */
