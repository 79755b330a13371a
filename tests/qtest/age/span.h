/*
 * A few pages that are young, and what is said of ranges around them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_AGE_SPAN_H
#define TESTS_AGE_SPAN_H

#include "guest.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"

/* Pages of a range from @memory on, and those of it that the guest touches */
#define SPAN_PAGES      20
#define SPAN_FIRST      3
#define SPAN_TOUCHED    8

/* Why harvests are refused with hw-ad=off */
#define AGE_NO_HW   "no hardware sets accessed bits (hw-ad=off)"

/* Start a guest with properties for -accel age, each with a comma first */
AgeGuest *age_span_start(const char *accel);

/* The end of the range */
uint64_t age_span_end(const AgeGuest *g);

/* Have the guest do something to the pages. */
void age_span_touch(AgeGuest *g, unsigned what);

/* Change a property of the accelerator. */
void age_set_bool(AgeGuest *g, const char *property, bool value);

/* The command must fail with this error.  Takes @args. */
void age_check_error(QTestState *qts, const char *command, QDict *args,
                     const char *want);

/*
 * What age-clear-young and age-test-young answer must be @want: a letter a
 * range, y for young and a dash for old.
 */
void age_check_answers(const QDict *result, const char *want);

/* The same of @command for @ranges, which it takes */
void age_check_spans(AgeGuest *g, const char *command, QList *ranges,
                     const char *options, const char *want);

/* The same for [@from, @to), in pages of the test's memory */
void age_check_span(AgeGuest *g, const char *command, unsigned from,
                    unsigned to, const char *want);

#endif /* TESTS_AGE_SPAN_H */
