/*
 * The number of the harvest, and who may still stamp with which
 *
 * A history stamps each page with the number of the harvest that found it
 * young.  Who reads it is given a number to ask with next time, and that must
 * be one behind which nobody can stamp any more: not even a harvester that has
 * read it, has cleared a flag, and was stopped there.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_PT_CLOCK_H
#define ACCEL_AGE_PT_CLOCK_H

#include "qemu/atomic.h"

/**
 * AgeTeller: the place where one harvester says what it stamps with
 *
 * @next: link in the list
 * @taken: somebody uses it
 * @number: what flags that are being cleared will be stamped with; 0 if none
 *     are
 */
typedef struct AgeTeller AgeTeller;
struct AgeTeller {
    AgeTeller *next;
    uint32_t taken;
    uint64_t number;
} __attribute__((aligned(64)));

/**
 * AgeClock: the number
 *
 * @now: what is stamped with
 * @first: the places of all who were ever there at a time; grows only
 */
typedef struct AgeClock {
    uint64_t now;
    AgeTeller *first;
} AgeClock;

/* A clock at @first, which is 1 at least, with nobody there */
void age_clock_init(AgeClock *clock, uint64_t first);

/* Nobody uses it any more. */
void age_clock_destroy(AgeClock *clock);

/**
 * age_clock_join: a place for one who is going to stamp
 * @clock: the clock
 *
 * Returns: a place that is the caller's until age_clock_leave().
 * Context: any thread.  Takes no lock.
 */
AgeTeller *age_clock_join(AgeClock *clock);
void age_clock_leave(AgeTeller *t);

/**
 * age_clock_begin: flags are about to be cleared
 * @clock: the clock
 * @t: the caller's place
 *
 * Whoever reads waits until the matching age_clock_end(), so that no more than
 * a table should be looked at between the two.
 *
 * Returns: the number to stamp with.
 * Context: takes no lock and does not wait.
 */
uint64_t age_clock_begin(AgeClock *clock, AgeTeller *t);

/**
 * age_clock_end: what was cleared is stamped
 * @t: the caller's place
 */
static inline void age_clock_end(AgeTeller *t)
{
    /* Pairs with age_clock_settled(): all stamps are seen by then. */
    qatomic_store_release(&t->number, 0);
}

/**
 * age_clock_tick: from now on, stamp with another number
 * @clock: the clock
 *
 * Returns: the number that was.  Some may stamp with it still.
 * Context: one caller at a time.
 */
uint64_t age_clock_tick(AgeClock *clock);

/**
 * age_clock_settled: how far nobody can stamp any more
 * @clock: the clock
 *
 * Returns: a number.  Whoever stamps with it, or with one before it, has done
 *     so, and the caller sees these stamps.
 * Context: any thread.  Takes no lock and does not wait.
 */
uint64_t age_clock_settled(const AgeClock *clock);

/**
 * age_clock_settle: wait until nobody can stamp with a number any more
 * @clock: the clock
 * @number: the number, from age_clock_tick()
 *
 * Context: any thread that is not between age_clock_begin() and
 *     age_clock_end().  Who is, holds nothing that the caller could hold.
 */
void age_clock_settle(const AgeClock *clock, uint64_t number);

#endif /* ACCEL_AGE_PT_CLOCK_H */
