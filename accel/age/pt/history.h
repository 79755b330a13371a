/*
 * The history of accesses: many readers that take nothing from each other
 *
 * Whoever clears accessed flags stamps the pages with the number of now.  A
 * reader asks for what was stamped later than a number, as often as it wants,
 * and is given the number to ask with next time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_PT_HISTORY_H
#define ACCEL_AGE_PT_HISTORY_H

#include "qemu/thread.h"
#include "ages.h"
#include "clock.h"
#include "stamps.h"

/* So many numbers have a stamp of their own, half of them at any time. */
#define AGE_HISTORY_SPAN    0xffffffffu

/**
 * AgeSince: what a number is that a reader asks with
 *
 * @AGE_SINCE_KNOWN: what was stamped later is known
 * @AGE_SINCE_FUTURE: it was not handed out yet
 * @AGE_SINCE_GENERATION: it is of another generation, or another history
 * @AGE_SINCE_LONG_AGO: so many came after it that it shares a stamp
 */
typedef enum AgeSince {
    AGE_SINCE_KNOWN,
    AGE_SINCE_FUTURE,
    AGE_SINCE_GENERATION,
    AGE_SINCE_LONG_AGO,
} AgeSince;

/**
 * AgeHistory: what is remembered
 *
 * @lock: protects all but @clock.  Held for the stamps of a table, or to read
 *     those of 1 GiB, and never by who walks
 * @clock: the number; who goes on with it holds @lock
 * @dirty: whether stores are remembered as well
 * @stamps: of accesses, and of stores.  A stamp is a number less @base
 * @tally: pages that were stamped, and are not in @ages and @touched yet
 * @tally_kind, @tally_to: of which kind, and with which number
 * @ages: how many pages have which
 * @base: see @stamps
 * @span: the stamps there may be, at most %AGE_HISTORY_SPAN
 * @first: the number with which the generation began
 * @oldest: a number before this one tells too little to ask with
 * @ms: the time of the last tick
 * @touched: pages that have a stamp, for each kind
 */
typedef struct AgeHistory {
    QemuMutex lock;
    AgeClock clock;
    bool dirty;
    AgeStamps stamps[AGE_KINDS];
    AgeTally tally;
    unsigned tally_kind;
    uint64_t tally_to;
    AgeAges ages;
    uint64_t base;
    uint32_t span;
    uint64_t first;
    uint64_t oldest;
    uint64_t ms;
    uint64_t touched[AGE_KINDS];
} AgeHistory;

/* Words that are collected at most: those of 4096 pages */
#define AGE_STAMPER_WORDS   64

/**
 * AgeStampWord: some of 64 pages
 *
 * @number: number of the first page, divided by 64
 * @bits: which; the last has bit 0
 */
typedef struct AgeStampWord {
    uint64_t number;
    uint64_t bits;
} AgeStampWord;

/**
 * AgeStamper: a harvest that stamps
 *
 * One thread uses it.
 *
 * @history: where to
 * @teller: its place at the clock
 * @kind: 0, or 1 for dirty
 * @number: what it stamps with, from age_stamper_begin() to age_stamper_end()
 * @num: words that are collected
 * @word: these
 */
typedef struct AgeStamper {
    AgeHistory *history;
    AgeTeller *teller;
    unsigned kind;
    uint64_t number;
    unsigned num;
    AgeStampWord word[AGE_STAMPER_WORDS];
} AgeStamper;

/**
 * age_history_init: nothing was ever touched
 * @h: the history
 * @dirty: remember stores as well
 * @first: its first number, 1 at least.  Numbers of an earlier history are
 *     refused if they are smaller
 * @ms: the time of now, in milliseconds
 */
void age_history_init(AgeHistory *h, bool dirty, uint64_t first, uint64_t ms);

/* Nobody uses it any more. */
void age_history_destroy(AgeHistory *h);

/**
 * age_history_tick: go on to another number
 * @h: the history
 * @ms: the time of now, in milliseconds
 *
 * Returns: the number that was.
 * Context: any thread.
 */
uint64_t age_history_tick(AgeHistory *h, uint64_t ms);

/**
 * age_history_pass: a harvest begins, whose time should be known
 * @h: the history
 * @ms: the time of now, in milliseconds
 *
 * Those of the same millisecond share a number.
 */
void age_history_pass(AgeHistory *h, uint64_t ms);

/**
 * age_history_next: the number for a reader to ask with next time
 * @h: the history
 * @ms: the time of now, in milliseconds
 *
 * To be called when the reader's own harvest is done, and before it looks at
 * the first stamp.  Waits for who is stamping a table just now.
 *
 * Returns: a number with which, or with one before it, nobody can stamp any
 *     more.
 * Context: any thread that is not stamping.
 */
uint64_t age_history_next(AgeHistory *h, uint64_t ms);

/**
 * age_history_what_is: what is a number that a reader asks with?
 * @h: the history
 * @since: the number; 0 is always known
 *
 * Context: any thread.
 */
AgeSince age_history_what_is(AgeHistory *h, uint64_t since);

/**
 * age_history_since: pages that were stamped later than a number
 * @h: the history
 * @kind: 0, or 1 for dirty
 * @since: the number; 0 for pages that were ever stamped
 * @page: the first page
 * @pages: how many
 * @stamped: told of them, by ascending page, with @h->lock held
 * @opaque: for @stamped
 *
 * Returns: what @since is; unless it is known, not all was told.
 * Context: any thread.
 */
AgeSince age_history_since(AgeHistory *h, unsigned kind, uint64_t since,
                       uint64_t page, uint64_t pages,
                       AgeStampedFunc *stamped, void *opaque);

/**
 * age_history_idle_ms: for each page, how long it has been idle
 * @h: the history
 * @kind: 0, or 1 for dirty
 * @page: the first page
 * @pages: how many
 * @now_ms: the time of now
 * @idle: set to the milliseconds of each page; %UINT32_MAX for never touched,
 *     and one less for so long that there is no number for it
 */
void age_history_idle_ms(AgeHistory *h, unsigned kind, uint64_t page,
                         uint64_t pages, uint64_t now_ms, uint32_t *idle);

/**
 * age_history_forget: memory is another now, or gone
 * @h: the history
 * @page: the first page
 * @pages: how many
 * @ms: the time of now, in milliseconds
 *
 * Its pages were zapped from all tables.  Waits for who is stamping a table
 * just now.
 *
 * Context: any thread that is not stamping.
 */
void age_history_forget(AgeHistory *h, uint64_t page, uint64_t pages,
                        uint64_t ms);

/**
 * age_history_new_generation: all memory is another now
 * @h: the history
 * @ms: the time of now, in milliseconds
 *
 * As age_history_forget(); no number that was handed out can be asked with
 * any more.
 */
void age_history_new_generation(AgeHistory *h, uint64_t ms);

/* Stamp what was collected; see stamper.h. */
void age_stamper_flush(AgeStamper *st);

/* How many pages have a stamp? */
uint64_t age_history_touched(AgeHistory *h, unsigned kind);

/* age_ages_idle() and age_ages_promoted(), with the lock held for them */
void age_history_idle(AgeHistory *h, unsigned kind, uint64_t now_ms,
                      const uint64_t *bin, unsigned num, uint64_t *pages);
void age_history_promoted(AgeHistory *h, unsigned kind, const uint64_t *bin,
                          unsigned num, uint64_t *pages);

#endif /* ACCEL_AGE_PT_HISTORY_H */
