/*
 * Stamping: what a harvester tells the history
 *
 * Pages are collected while flags are cleared, and stamped together: the lock
 * is taken once for a table.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_PT_STAMPER_H
#define ACCEL_AGE_PT_STAMPER_H

#include "history.h"

static inline void age_stamper_init(AgeStamper *st, AgeHistory *h,
                                    unsigned kind)
{
    st->history = h;
    st->teller = age_clock_join(&h->clock);
    st->kind = kind;
    st->num = 0;
}

static inline void age_stamper_destroy(AgeStamper *st)
{
    age_clock_leave(st->teller);
}

/**
 * age_stamper_begin: flags are about to be cleared
 * @st: who does that
 *
 * No entry that leads to them may have been read before, or it must be looked
 * whether it is still so.
 */
static inline void age_stamper_begin(AgeStamper *st)
{
    st->number = age_clock_begin(&st->history->clock, st->teller);
}

/* Flags of some of 64 pages were cleared. */
static inline void age_stamper_add_word(AgeStamper *st, uint64_t number,
                                        uint64_t bits)
{
    if (st->num == AGE_STAMPER_WORDS) {
        age_stamper_flush(st);
    }
    st->word[st->num++] = (AgeStampWord) { .number = number, .bits = bits };
}

/*
 * Flags of some of @n pages, up to 64, from @page on were cleared.  The last
 * has bit 0.
 */
static inline void age_stamper_add_bits(AgeStamper *st, uint64_t page,
                                        unsigned n, uint64_t bits)
{
    uint64_t number = page / AGE_WORD_BITS;
    unsigned skip = page % AGE_WORD_BITS;

    /* The first page has the highest bit. */
    bits <<= AGE_WORD_BITS - n;
    if (bits >> skip) {
        age_stamper_add_word(st, number, bits >> skip);
    }
    if (skip && bits << (AGE_WORD_BITS - skip)) {
        age_stamper_add_word(st, number + 1, bits << (AGE_WORD_BITS - skip));
    }
}

/* Flags of @pages pages from @page on were cleared. */
static inline void age_stamper_add(AgeStamper *st, uint64_t page,
                                   uint64_t pages)
{
    while (pages > 0) {
        unsigned n = MIN(pages, AGE_WORD_BITS - page % AGE_WORD_BITS);

        age_stamper_add_bits(st, page, n, age_low_bits(n));
        page += n;
        pages -= n;
    }
}

/* No more flags are cleared for now; what was is stamped. */
static inline void age_stamper_end(AgeStamper *st)
{
    if (st->num) {
        age_stamper_flush(st);
    }
    age_clock_end(st->teller);
}

#endif /* ACCEL_AGE_PT_STAMPER_H */
