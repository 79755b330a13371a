/*
 * Ranges of guest memory in QMP commands
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MONITOR_RANGE_H
#define ACCEL_AGE_MONITOR_RANGE_H

#include "qemu/units.h"
#include "qapi/qapi-types-age.h"
#include "accel/age/mmu/mmu.h"

/*
 * Bounds on a command, so that it ends soon and can't exhaust memory: pages
 * that have a bit each in what is given or answered, and pages that have not
 */
#define AGE_MAX_PAGES           (128 * GiB / AGE_PAGE_SIZE)
#define AGE_MAX_SPARSE_PAGES    (8 * TiB / AGE_PAGE_SIZE)

/**
 * AgeRangeCheck: what came of the ranges of a command so far
 *
 * @type: how their addresses are meant
 * @space: the address space that they are of; NULL for all of them
 * @all: they are all memory, and need not be looked for
 * @max_pages: how many pages they may have in all
 * @way_out: what to do if they have more, for an error
 * @num: how many there were
 * @pages: how many pages they have in all
 */
typedef struct AgeRangeCheck {
    AgeAddressType type;
    const AgeAddressSpace *space;
    bool all;
    uint64_t max_pages;
    const char *way_out;
    unsigned num;
    uint64_t pages;
} AgeRangeCheck;

/**
 * age_range_check: is the next range of a command a good one?
 * @check: what came of those before it
 * @range: the range
 * @errp: set to an error that names the range and what is wrong with it
 *
 * Returns: false on error.
 * Context: any thread.
 */
bool age_range_check(AgeRangeCheck *check, const AgeRange *range,
                     Error **errp);

/**
 * age_range_check_num: were there any?
 * @check: what came of all of them
 * @errp: set if there were none
 *
 * Returns: false on error.
 * Context: any thread.
 */
bool age_range_check_num(const AgeRangeCheck *check, Error **errp);

/**
 * age_range_error: report an error of the range that was checked last
 * @check: what came of it
 * @range: the range
 * @errp: set to an error that names it
 * @fmt: what is wrong with it
 *
 * Context: any thread.
 */
void G_GNUC_PRINTF(4, 5)
age_range_error(const AgeRangeCheck *check, const AgeRange *range,
                Error **errp, const char *fmt, ...);

/**
 * age_range_reach: find the host memory behind a range
 * @type: how its addresses are meant.  A range of host-virtual ones is reached
 *     as a whole, one of guest-physical ones where slots are
 * @space: the address space whose slots count; NULL for all of them
 * @number: number of the range
 * @range: the range, which age_range_check() found good
 * @pieces: array of #AgePiece, to which it is added
 *
 * Context: RCU read-side critical section, in which the result is valid.
 */
void age_range_reach(AgeAddressType type, const AgeAddressSpace *space,
                     unsigned number, const AgeRange *range, GArray *pieces);

#endif /* ACCEL_AGE_MONITOR_RANGE_H */
