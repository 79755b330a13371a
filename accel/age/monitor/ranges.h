/*
 * Ranges of guest memory in QMP commands
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MONITOR_RANGES_H
#define ACCEL_AGE_MONITOR_RANGES_H

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
 * age_ranges_collect: find the host memory behind a range
 * @pieces: array of #AgePiece, to which it is added: for host-virtual
 *     addresses, the whole range; for guest-physical ones, what the slots of
 *     all address spaces have there, each page once at each guest-physical
 *     address
 * @type: how addresses are meant
 * @range: number of the range
 * @start: first address
 * @end: the address behind the last
 *
 * Context: RCU read-side critical section, in which the result is valid.
 */
void age_ranges_collect(GArray *pieces, AgeAddressType type, unsigned range,
                        uint64_t start, uint64_t end);

#endif /* ACCEL_AGE_MONITOR_RANGES_H */
