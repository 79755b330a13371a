/*
 * Harvests that a history makes by itself
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MONITOR_HISTORY_THREAD_H
#define ACCEL_AGE_MONITOR_HISTORY_THREAD_H

#include "history-state.h"

/**
 * age_history_harvested: a harvest for a history is done
 * @s: the history
 * @begin_ns: when it began, by get_clock()
 *
 * Keeps count.
 *
 * Context: any thread, with or without the BQL.
 */
void age_history_harvested(HistoryState *s, uint64_t begin_ns);

/**
 * age_history_start: begin with passes
 * @s: the history, with an interval, attached
 *
 * Context: BQL held.
 */
void age_history_start(HistoryState *s);

/**
 * age_history_stop: end with passes
 * @s: the history, with an interval
 *
 * Waits until a pass under way has come to the next stretch of memory.
 *
 * Context: BQL held, which the thread never takes.
 */
void age_history_stop(HistoryState *s);

#endif /* ACCEL_AGE_MONITOR_HISTORY_THREAD_H */
