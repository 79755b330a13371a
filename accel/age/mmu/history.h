/*
 * The history that harvests stamp, if there is one
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MMU_HISTORY_H
#define ACCEL_AGE_MMU_HISTORY_H

#include "accel/age/pt/stamper.h"

/**
 * age_history_attach: have all harvests stamp
 * @h: the history.  There is none yet: another one would cost every harvest as
 *     much again, and any number of readers can share one
 *
 * Context: BQL held.  Harvests may be under way; they stamp or not.
 */
void age_history_attach(AgeHistory *h);

/**
 * age_history_detach: no more
 *
 * What was attached may be destroyed a grace period later.
 *
 * Context: BQL held.  Does not wait.
 */
void age_history_detach(void);

/**
 * age_history_current: what is attached
 *
 * Returns: NULL if nothing is.
 * Context: RCU read-side critical section, in which the result is valid.
 */
AgeHistory *age_history_current(void);

/* The time of now, as all histories have it: CLOCK_MONOTONIC, in ms */
uint64_t age_history_now_ms(void);

/**
 * age_history_join: begin to stamp
 * @st: who does
 * @dirty: flags of stores are going to be cleared
 *
 * Returns: @st, or NULL if there is nothing to stamp.
 * Context: RCU read-side critical section, in which age_stamper_destroy() of
 *     what is returned must come.
 */
AgeStamper *age_history_join(AgeStamper *st, bool dirty);

/**
 * age_history_gone: memory of the host is another now, or not the guest's
 * @start: first host-virtual address, page aligned
 * @end: the address behind the last
 *
 * No table of the caller maps it any more.  Several MMUs may do so: then the
 * last of them forgets what the others found meanwhile.
 *
 * Context: any thread that is not harvesting.
 */
void age_history_gone(uint64_t start, uint64_t end);

/* A state was loaded: no number of before can be asked with any more. */
void age_history_loaded(void);

#endif /* ACCEL_AGE_MMU_HISTORY_H */
