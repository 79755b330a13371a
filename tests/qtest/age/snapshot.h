/*
 * Snapshots of a guest, for the age tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_AGE_SNAPSHOT_H
#define TESTS_AGE_SNAPSHOT_H

#include "libqtest.h"

/* Add a disk for nothing but snapshots. */
void age_snapshot_add_disk(QTestState *qts);

/* Save a snapshot, and load it */
void age_snapshot_save(QTestState *qts);
void age_snapshot_load(QTestState *qts);

/* Begin a job of snapshot-save or snapshot-load; wait until it is done */
void age_snapshot_begin(QTestState *qts, const char *command, const char *tag);
void age_snapshot_end(QTestState *qts);

/* The same for one that must fail.  A load leaves the machine stopped then. */
void age_snapshot_end_failed(QTestState *qts);

#endif /* TESTS_AGE_SNAPSHOT_H */
