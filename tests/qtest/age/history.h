/*
 * The history, for the age tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_AGE_HISTORY_H
#define TESTS_AGE_HISTORY_H

#include "guest.h"
#include "qobject/qdict.h"

/* Add the history h0; @options are JSON members, or NULL.  Delete it */
void age_history_add(QTestState *qts, const char *options);
void age_history_del(QTestState *qts);

/**
 * age_history_args: arguments of age-history-read
 * @g: the guest
 * @since: the number; 0 for none
 * @options: JSON members, or NULL
 *
 * Returns: arguments that ask for what is all the test's.
 */
QDict *age_history_args(AgeGuest *g, uint64_t since, const char *options);

/**
 * age_history_read: read, out of band
 * @g: the guest, with out-of-band commands
 * @since: the number to ask with, 0 for none; set to the next one
 * @options: JSON members, or NULL
 *
 * Returns: when no flush is pending, the pages of the test's that were told.
 */
GArray *age_history_read(AgeGuest *g, uint64_t *since, const char *options);

/* Fail unless a read tells of @count pages from @start on, and no others. */
void age_history_expect(AgeGuest *g, uint64_t *since, uint64_t start,
                        uint64_t count);

/* query-age-history; @options are JSON members, or NULL */
QDict *age_history_query(QTestState *qts, const char *options);

/* The sum of @member over all bins of a list that it returns */
uint64_t age_history_sum(const QDict *info, const char *list,
                         const char *member);

#endif /* TESTS_AGE_HISTORY_H */
