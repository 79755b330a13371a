/*
 * Work that takes as long as there is memory, away from those who wait
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_PT_REAPER_H
#define ACCEL_AGE_PT_REAPER_H

typedef struct AgeReap AgeReap;

/**
 * AgeReap: a piece of work, embedded in what it is about
 *
 * @link: place in the queue
 * @func: what to do
 */
struct AgeReap {
    GList link;
    void (*func)(AgeReap *reap);
};

/**
 * age_reap: have something done by the reaper's thread
 * @reap: the work; it is the callee's from now on
 * @func: called once with @reap, after all that was asked for before
 *
 * RCU callbacks run with the BQL held, each batch in one go.  What they have
 * to do for every table of a tree is done here instead: @func runs without the
 * BQL, and the guest and the main loop go on meanwhile, however large the
 * tree is.
 *
 * Context: any thread.  Does not wait.  @func is not in an RCU read-side
 *     critical section and can't enter one.
 */
void age_reap(AgeReap *reap, void (*func)(AgeReap *reap));

#endif /* ACCEL_AGE_PT_REAPER_H */
