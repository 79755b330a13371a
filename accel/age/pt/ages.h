/*
 * Ages: how many pages have been idle for how long, and were when touched again
 *
 * A page that is stamped goes from the bucket of its old number to that of the
 * new one.  So the distribution is known without a look at the pages, for any
 * bins that are asked for, and it is exactly the one that the pages have.
 *
 * What is kept is bounded.  Numbers of the same millisecond share a bucket.
 * When there are no more buckets, those are joined that are close to each other
 * as seen from now.  A page then seems to have been idle for less than it was,
 * by a time that is small against its age.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_PT_AGES_H
#define ACCEL_AGE_PT_AGES_H

/* Of accesses, and of stores: as with all that is told of both */
#define AGE_KINDS       2

/* Of numbers a second apart, 15 minutes are exact, and a week is to 0.5 % */
#define AGE_BUCKETS     4096

/**
 * AgeBucket: pages whose stamps are of the same time
 *
 * @first: the first number that belongs here; the next bucket has the end
 * @ms: the time
 * @pages: how many, for each kind
 */
typedef struct AgeBucket {
    uint64_t first;
    uint64_t ms;
    uint64_t pages[AGE_KINDS];
} AgeBucket;

/**
 * AgeAges: the distribution
 *
 * Whoever uses it holds a lock.  @bucket is by ascending number.
 *
 * @bucket: the buckets; the last one is that of the number of now
 * @num: how many there are
 * @max: how many there may be
 * @last: where the last look-up ended
 * @start_ms: when it began
 * @promoted: for each kind, pages by how long they had been idle when they were
 *     touched again; these only grow
 */
typedef struct AgeAges {
    AgeBucket *bucket;
    unsigned num;
    unsigned max;
    unsigned last;
    uint64_t start_ms;
    uint64_t *promoted[AGE_KINDS];
} AgeAges;

/**
 * age_ages_init: no page was ever stamped
 * @a: the distribution
 * @max: buckets that there may be, 8 at least
 * @number: the number of now
 * @ms: the time of now
 */
void age_ages_init(AgeAges *a, unsigned max, uint64_t number, uint64_t ms);
void age_ages_destroy(AgeAges *a);

/**
 * age_ages_tick: there is a new number
 * @a: the distribution
 * @number: the number, larger than all before
 * @ms: the time, not before that of any other number
 */
void age_ages_tick(AgeAges *a, uint64_t number, uint64_t ms);

/**
 * age_ages_time: when pages with a stamp were found young
 * @a: the distribution
 * @number: the stamp's number, not larger than that of now
 */
uint64_t age_ages_time(AgeAges *a, uint64_t number);

/**
 * age_ages_stamped: pages were stamped
 * @a: the distribution
 * @kind: 0, or 1 for dirty
 * @from: the number that they had; 0 for none
 * @to: the number that they have, which is larger
 * @pages: how many
 */
void age_ages_stamped(AgeAges *a, unsigned kind, uint64_t from, uint64_t to,
                      uint64_t pages);

/* Pages were forgotten that had the number @from. */
void age_ages_forgotten(AgeAges *a, unsigned kind, uint64_t from,
                        uint64_t pages);

/**
 * age_ages_idle: pages by idle time
 * @a: the distribution
 * @kind: 0, or 1 for dirty
 * @now_ms: the time of now
 * @bin: bounds between the bins, in milliseconds, ascending
 * @num: how many they are
 * @pages: set to the pages in each of @num + 1 bins; the first has those below
 *     @bin[0], the last those of @bin[@num - 1] or more
 */
void age_ages_idle(const AgeAges *a, unsigned kind, uint64_t now_ms,
                   const uint64_t *bin, unsigned num, uint64_t *pages);

/**
 * age_ages_promoted: pages touched again, by how long they had been idle
 * @a: the distribution
 * @kind: 0, or 1 for dirty
 * @bin, @num, @pages: as for age_ages_idle()
 *
 * What is kept of a time is age_ages_kept() of it.
 */
void age_ages_promoted(const AgeAges *a, unsigned kind, const uint64_t *bin,
                       unsigned num, uint64_t *pages);

/* @ms, rounded down as it is kept: by less than 1 part in 1024 */
uint64_t age_ages_kept(uint64_t ms);

/* Join all buckets up to that of @number. */
void age_ages_join(AgeAges *a, uint64_t number);

#endif /* ACCEL_AGE_PT_AGES_H */
