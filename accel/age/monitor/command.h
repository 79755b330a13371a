/*
 * What the commands have in common: may they begin, and when did they
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MONITOR_COMMAND_H
#define ACCEL_AGE_MONITOR_COMMAND_H

#include "qapi/qapi-types-age.h"

/**
 * age_check_enabled: is the accelerator in use?
 * @errp: set if it is not
 *
 * Returns: false on error.
 * Context: any thread.
 */
bool age_check_enabled(Error **errp);

/**
 * age_check_unsent: may the client of this command have another answer?
 * @errp: set if too much waits for it to be read
 *
 * A monitor keeps answers until its client reads them, however many they are.
 * An answer of ours can be ten thousand times as long as the question, so
 * whoever does not read is refused.  A command asks before it does anything.
 *
 * Returns: false on error.
 * Context: any thread, in a command of a monitor or not.
 */
bool age_check_unsent(Error **errp);

/**
 * age_parse_flush: what a command is to do about TLBs
 * @has_flush: it was given
 * @flush: what was given, or set to the default
 * @errp: set if that can't be done
 *
 * Returns: false on error.
 * Context: any thread.
 */
bool age_parse_flush(bool has_flush, AgeFlush *flush, Error **errp);

/**
 * age_pass_begin: a command begins to look at flags
 * @pass: its generation and time are filled in
 *
 * Context: any thread, with or without the BQL.
 */
void age_pass_begin(AgePass *pass);

/**
 * age_pass_end: it has looked at all
 * @pass: the rest is filled in
 * @flush: flushes that are due are requested before it ends
 *
 * Context: any thread, with or without the BQL.
 */
void age_pass_end(AgePass *pass, AgeFlush flush);

#endif /* ACCEL_AGE_MONITOR_COMMAND_H */
