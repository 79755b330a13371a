/*
 * The bitmap of a range that is harvested, as the client has it and as words
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MONITOR_HARVEST_MAP_H
#define ACCEL_AGE_MONITOR_HARVEST_MAP_H

#include "accel/age/pt/sparse-bits.h"
#include "range.h"

/**
 * HarvestMap: what a client wants done with each page of a range
 *
 * @arg: the range, which must live as long as this
 * @pages: its number of pages
 * @test: without a bitmap, what is meant is all zeroes, rather than all ones
 * @bits: 1 clears the page's flag, 0 only tests it; in the host's byte order
 *     and padded to whole words.  NULL if no bitmap was given
 * @bytes: length of what was given
 * @memory: where the client's memory is, if the bitmap is there
 */
typedef struct HarvestMap {
    const AgeRangeArg *arg;
    uint64_t pages;
    bool test;
    unsigned long *bits;
    size_t bytes;
    const void *memory;
} HarvestMap;

/**
 * age_harvest_map_parse: read the bitmap of a range
 * @map: with @arg, @pages and @test filled in; for age_harvest_map_clear() in
 *     any case
 * @check: what came of the range, for errors
 * @errp: set to an error that names the range and what is wrong with it
 *
 * Returns: false on error.
 * Context: any thread, with or without the BQL.
 */
bool age_harvest_map_parse(HarvestMap *map, const AgeRangeCheck *check,
                           Error **errp);

/**
 * age_harvest_map_text: the bitmap for the answer
 * @map: the bitmap, whose @bits are the answer's after this
 * @young: bits of the pages that count, which are flipped
 *
 * Returns: text that the caller frees.
 * Context: any thread, with or without the BQL.
 */
char *age_harvest_map_text(HarvestMap *map, const AgeSparse *young);

/**
 * age_harvest_map_to_memory: put the bitmap back into the client's memory
 * @map: the bitmap, with @memory; its @bits are the answer's after this
 * @young: bits of the pages that count, which are flipped
 *
 * The memory may have gone since the bitmap was read, or be another one of the
 * same name.
 *
 * Returns: false if it has, with nothing done.
 * Context: any thread, with or without the BQL.
 */
bool age_harvest_map_to_memory(HarvestMap *map, const AgeSparse *young);

/**
 * age_harvest_map_clear: free what it has
 * @map: the bitmap
 */
void age_harvest_map_clear(HarvestMap *map);

#endif /* ACCEL_AGE_MONITOR_HARVEST_MAP_H */
