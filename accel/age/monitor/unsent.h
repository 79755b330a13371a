/*
 * What a client has asked for and not read
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MONITOR_UNSENT_H
#define ACCEL_AGE_MONITOR_UNSENT_H

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

#endif /* ACCEL_AGE_MONITOR_UNSENT_H */
