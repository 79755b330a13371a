/*
 * Ranges of guest memory in QMP commands
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_RANGES_H
#define ACCEL_AGE_RANGES_H

#include "qapi/qapi-types-age.h"

/**
 * AgeRanges: what the ranges of a command have been checked against so far
 *
 * @type: how their addresses are meant
 * @num: how many there were
 * @pages: how many pages they have in all
 */
typedef struct AgeRanges {
    AgeAddressType type;
    unsigned num;
    uint64_t pages;
} AgeRanges;

/**
 * age_ranges_init: before the first range of a command
 * @ranges: the state
 * @type: how addresses are meant
 * @errp: set if the accelerator is not in use
 *
 * Returns: false on error.
 */
bool age_ranges_init(AgeRanges *ranges, AgeAddressType type, Error **errp);

/**
 * age_ranges_check: is the next range of a command a good one?
 * @ranges: the state
 * @start: first address
 * @end: the address behind the last
 * @errp: set to an error that names the range and what is wrong with it
 *
 * Returns: false on error.
 * Context: any thread.
 */
bool age_ranges_check(AgeRanges *ranges, uint64_t start, uint64_t end,
                      Error **errp);

/**
 * age_ranges_error: report an error of the range that was checked last
 */
void G_GNUC_PRINTF(5, 6)
age_ranges_error(const AgeRanges *ranges, uint64_t start, uint64_t end,
                 Error **errp, const char *fmt, ...);

/**
 * AgePieceFunc: called for each piece of host-virtual memory in a range
 * @opaque: from the caller
 * @start: first host-virtual address
 * @end: the address behind the last
 * @first_bit: pages of the range that come after the piece
 */
typedef void AgePieceFunc(void *opaque, uint64_t start, uint64_t end,
                          uint64_t first_bit);

/**
 * age_ranges_foreach: find the host memory behind a range
 * @type: how addresses are meant
 * @start: first address
 * @end: the address behind the last
 * @fn: called for each piece.  For host-virtual addresses, that is the whole
 *     range; for guest-physical ones, what the slots of all address spaces have
 *     there, each page once at each guest-physical address
 * @opaque: for @fn
 *
 * Context: any thread.  @fn is called in an RCU read-side critical section.
 */
void age_ranges_foreach(AgeAddressType type, uint64_t start, uint64_t end,
                        AgePieceFunc *fn, void *opaque);

#endif /* ACCEL_AGE_RANGES_H */
