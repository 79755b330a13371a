/*
 * The history of accesses: many readers that take nothing from each other
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "history.h"

/* The lock is not held for more at a time */
#define CHUNK_PAGES     (1ULL << 18)

/* Of @pages pages which had the stamp @had, all are stamped with @to now. */
static void pages_stamped(void *opaque, uint32_t had, uint64_t pages)
{
    AgeHistory *h = opaque;
    unsigned kind = h->tally_kind;

    h->touched[kind] += had ? 0 : pages;
    age_ages_stamped(&h->ages, kind, had ? h->base + had : 0, h->tally_to,
                     pages);
}

/* To be called with the lock held, before @ages and @touched are looked at */
static AgeAges *counted_ages(AgeHistory *h)
{
    age_tally_flush(&h->tally);
    return &h->ages;
}

/* The tally, for pages of a kind that are stamped with @to */
static AgeTally *tally_for(AgeHistory *h, unsigned kind, uint64_t to)
{
    if (h->tally_kind != kind || h->tally_to != to) {
        age_tally_flush(&h->tally);
        h->tally_kind = kind;
        h->tally_to = to;
    }
    return &h->tally;
}

/*
 * All stamps are in use: make room for half as many again.  What is so long ago
 * that it has to share a stamp shares a time as well.
 */
static void rebase(AgeHistory *h, uint64_t now)
{
    uint64_t base = now - h->span / 2;

    for (unsigned kind = 0; kind < AGE_KINDS; kind++) {
        age_stamps_rebase(&h->stamps[kind], base - h->base);
    }
    age_ages_join(&h->ages, base + 1);
    h->base = base;
    h->oldest = MAX(h->oldest, base + 1);
}

void age_history_init(AgeHistory *h, bool dirty, uint64_t first, uint64_t ms)
{
    *h = (AgeHistory) {
        .dirty = dirty,
        .span = AGE_HISTORY_SPAN,
        .base = first - 1,
        .first = first,
        .oldest = first,
        .ms = ms,
    };
    assert(first > 0);
    qemu_mutex_init(&h->lock);
    age_clock_init(&h->clock, first);
    for (unsigned kind = 0; kind < AGE_KINDS; kind++) {
        age_stamps_init(&h->stamps[kind]);
    }
    age_ages_init(&h->ages, AGE_BUCKETS, h->clock.now, ms);
    h->tally.had = pages_stamped;
    h->tally.opaque = h;
}

void age_history_destroy(AgeHistory *h)
{
    age_ages_destroy(&h->ages);
    for (unsigned kind = 0; kind < AGE_KINDS; kind++) {
        age_stamps_destroy(&h->stamps[kind]);
    }
    age_clock_destroy(&h->clock);
    qemu_mutex_destroy(&h->lock);
}

/* With the lock held */
static uint64_t tick(AgeHistory *h, uint64_t ms)
{
    uint64_t number = age_clock_tick(&h->clock);

    h->ms = MAX(h->ms, ms);
    age_ages_tick(counted_ages(h), number + 1, h->ms);
    if (number + 1 - h->base > h->span) {
        rebase(h, number + 1);
    }
    return number;
}

uint64_t age_history_tick(AgeHistory *h, uint64_t ms)
{
    uint64_t number;

    qemu_mutex_lock(&h->lock);
    number = tick(h, ms);
    qemu_mutex_unlock(&h->lock);
    return number;
}

void age_history_pass(AgeHistory *h, uint64_t ms)
{
    qemu_mutex_lock(&h->lock);
    if (ms > h->ms) {
        tick(h, ms);
    }
    qemu_mutex_unlock(&h->lock);
}

uint64_t age_history_touched(AgeHistory *h, unsigned kind)
{
    uint64_t touched;

    qemu_mutex_lock(&h->lock);
    counted_ages(h);
    touched = h->touched[kind];
    qemu_mutex_unlock(&h->lock);
    return touched;
}

uint64_t age_history_next(AgeHistory *h, uint64_t ms)
{
    uint64_t number = age_history_tick(h, ms);

    age_clock_settle(&h->clock, number);
    return number;
}

/* Stamps */

/* Who has been stamping for so long that its number has none gets the first. */
static uint64_t number_in_use(const AgeHistory *h, uint64_t number)
{
    return MAX(number, h->base + 1);
}

void age_stamper_flush(AgeStamper *st)
{
    AgeHistory *h = st->history;
    AgeTally *tally;
    uint64_t to;

    qemu_mutex_lock(&h->lock);
    to = number_in_use(h, st->number);
    tally = tally_for(h, st->kind, to);
    for (unsigned i = 0; i < st->num; i++) {
        age_stamps_set(&h->stamps[st->kind], st->word[i].number,
                       st->word[i].bits, to - h->base, tally);
    }
    qemu_mutex_unlock(&h->lock);
    st->num = 0;
}

/* Pages of a kind that are forgotten */
typedef struct Forget {
    AgeHistory *h;
    unsigned kind;
} Forget;

static void pages_forgotten(void *opaque, uint32_t had, uint64_t pages)
{
    Forget *f = opaque;

    f->h->touched[f->kind] -= pages;
    age_ages_forgotten(&f->h->ages, f->kind, f->h->base + had, pages);
}

/* With the lock held */
static void forget_chunk(AgeHistory *h, uint64_t page, uint64_t pages,
                         uint64_t number)
{
    counted_ages(h);
    for (unsigned kind = 0; kind < AGE_KINDS; kind++) {
        Forget f = { .h = h, .kind = kind };

        age_stamps_forget(&h->stamps[kind], page, pages,
                          number_in_use(h, number) - h->base,
                          pages_forgotten, &f);
    }
}

/*
 * Forget what was stamped with @number or before, after age_clock_settle().
 * Nobody stamps with these any more, so the lock need not be held all the time.
 */
static void forget(AgeHistory *h, uint64_t page, uint64_t end, uint64_t number)
{
    while (page < end) {
        uint64_t n;

        qemu_mutex_lock(&h->lock);
        page = MIN(age_stamps_next(&h->stamps[0], page),
                   age_stamps_next(&h->stamps[1], page));
        if (page < end) {
            n = MIN(end - page, CHUNK_PAGES - page % CHUNK_PAGES);
            forget_chunk(h, page, n, number);
            page += n;
        }
        qemu_mutex_unlock(&h->lock);
    }
}

/*
 * Who began to clear flags before the zap may have something to stamp still.
 * What was accessed after the zap may be stamped already, with a number that
 * comes later.
 */
void age_history_forget(AgeHistory *h, uint64_t page, uint64_t pages,
                        uint64_t ms)
{
    forget(h, page, page + pages, age_history_next(h, ms));
}

void age_history_new_generation(AgeHistory *h, uint64_t ms)
{
    uint64_t number = age_history_next(h, ms);

    qemu_mutex_lock(&h->lock);
    h->first = h->oldest = number;
    qemu_mutex_unlock(&h->lock);
    forget(h, 0, UINT64_MAX >> AGE_PAGE_SHIFT, number);
}

/* Reading */

/* With the lock held */
static AgeSince what_is(const AgeHistory *h, uint64_t since)
{
    if (since >= h->clock.now) {
        return AGE_SINCE_FUTURE;
    }
    if (since && since < h->first) {
        return AGE_SINCE_GENERATION;
    }
    return since && since < h->oldest ? AGE_SINCE_LONG_AGO : AGE_SINCE_KNOWN;
}

AgeSince age_history_what_is(AgeHistory *h, uint64_t since)
{
    AgeSince what;

    qemu_mutex_lock(&h->lock);
    what = what_is(h, since);
    qemu_mutex_unlock(&h->lock);
    return what;
}

static AgeSince since_in_chunk(AgeHistory *h, unsigned kind, uint64_t since,
                               uint64_t page, uint64_t pages,
                               AgeStampedFunc *stamped, void *opaque)
{
    AgeSince known;

    qemu_mutex_lock(&h->lock);
    known = what_is(h, since);
    if (known == AGE_SINCE_KNOWN) {
        age_stamps_since(&h->stamps[kind], page, pages,
                         since ? since - h->base : 0, stamped, opaque);
    }
    qemu_mutex_unlock(&h->lock);
    return known;
}

AgeSince age_history_since(AgeHistory *h, unsigned kind, uint64_t since,
                           uint64_t page, uint64_t pages,
                           AgeStampedFunc *stamped, void *opaque)
{
    AgeSince known = AGE_SINCE_KNOWN;

    while (pages > 0 && known == AGE_SINCE_KNOWN) {
        uint64_t n = MIN(pages, CHUNK_PAGES - page % CHUNK_PAGES);

        known = since_in_chunk(h, kind, since, page, n, stamped, opaque);
        page += n;
        pages -= n;
    }
    return known;
}

/**
 * Idle: pages whose idle time is told
 *
 * @h: the history
 * @now_ms: the time of now
 * @idle: where the next one goes
 */
typedef struct Idle {
    AgeHistory *h;
    uint64_t now_ms;
    uint32_t *idle;
} Idle;

static void tell_idle(void *opaque, uint32_t stamp, uint64_t pages)
{
    Idle *i = opaque;
    uint32_t idle = UINT32_MAX;

    if (stamp) {
        uint64_t ms = age_ages_time(&i->h->ages, i->h->base + stamp);

        idle = i->now_ms > ms ? MIN(i->now_ms - ms, UINT32_MAX - 1) : 0;
    }
    while (pages-- > 0) {
        *i->idle++ = idle;
    }
}

void age_history_idle_ms(AgeHistory *h, unsigned kind, uint64_t page,
                         uint64_t pages, uint64_t now_ms, uint32_t *idle)
{
    Idle i = { .h = h, .now_ms = now_ms, .idle = idle };

    while (pages > 0) {
        uint64_t n = MIN(pages, CHUNK_PAGES - page % CHUNK_PAGES);

        qemu_mutex_lock(&h->lock);
        age_stamps_each(&h->stamps[kind], page, n, tell_idle, &i);
        qemu_mutex_unlock(&h->lock);
        page += n;
        pages -= n;
    }
}

void age_history_idle(AgeHistory *h, unsigned kind, uint64_t now_ms,
                      const uint64_t *bin, unsigned num, uint64_t *pages)
{
    qemu_mutex_lock(&h->lock);
    age_ages_idle(counted_ages(h), kind, now_ms, bin, num, pages);
    qemu_mutex_unlock(&h->lock);
}

void age_history_promoted(AgeHistory *h, unsigned kind, const uint64_t *bin,
                          unsigned num, uint64_t *pages)
{
    qemu_mutex_lock(&h->lock);
    age_ages_promoted(counted_ages(h), kind, bin, num, pages);
    qemu_mutex_unlock(&h->lock);
}
