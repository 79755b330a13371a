/*
 * What commands that tell of pages have in common: their ranges
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MONITOR_HARVEST_COMMAND_H
#define ACCEL_AGE_MONITOR_HARVEST_COMMAND_H

#include "harvest-ranges.h"

/*
 * Runs that one command lists.  It is the guest who chooses how many there are,
 * and until it has become text each is a dictionary, with a hash table of 4 KiB
 * whatever is in it: 16 MB for as many as this.
 */
#define AGE_MAX_RUNS    3500

/**
 * HarvestCommand: a command that tells of pages
 *
 * @all: the ranges that it made itself
 * @ranges: of #HarvestRange
 * @pages: how many pages they have
 * @mode: how to harvest them
 * @flush: what to do about TLBs
 * @format: how to tell of pages
 */
typedef struct HarvestCommand {
    AgeRangeArgList *all;
    GArray *ranges;
    uint64_t pages;
    HarvestMode mode;
    AgeFlush flush;
    AgeResultFormat format;
} HarvestCommand;

/**
 * age_command_parse: take the ranges of a command apart
 * @c: the command, with @mode (but its space) and @format filled in; for
 *     age_command_clear() in any case
 * @has_ranges: ranges were given
 * @list: the ranges.  If none were given, those of all memory are meant
 * @space: name of an address space; NULL for all
 * @errp: set to an error that names what is wrong
 *
 * Nothing is harvested.
 *
 * Returns: false on error.
 * Context: any thread, with or without the BQL.
 */
bool age_command_parse(HarvestCommand *c, bool has_ranges,
                       const AgeRangeArgList *list, const char *space,
                       Error **errp);

/* The @i-th of its ranges */
HarvestRange *age_command_range(const HarvestCommand *c, unsigned i);

/**
 * age_command_harvest: harvest its ranges as its mode says
 * @c: the command
 *
 * Returns: whether a fallback found a young page.
 * Context: any thread, with or without the BQL.
 */
bool age_command_harvest(HarvestCommand *c);

/* Are runs asked for, while bitmaps in their place would be too long? */
bool age_command_only_runs(const HarvestCommand *c);

/**
 * age_command_check_runs: can all runs be listed?
 * @c: the command, with what was found in its ranges
 * @errp: set if there are too many, and bitmaps would be too long
 *
 * Returns: false on error.
 * Context: any thread.
 */
bool age_command_check_runs(const HarvestCommand *c, Error **errp);

/**
 * age_command_clear: free what it has
 * @c: the command
 */
void age_command_clear(HarvestCommand *c);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HarvestCommand, age_command_clear)

#endif /* ACCEL_AGE_MONITOR_HARVEST_COMMAND_H */
