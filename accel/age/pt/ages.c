/*
 * Ages: how many pages have been idle for how long, and were when touched again
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "ages.h"

/*
 * Times are kept in steps of 1 ms up to 2^11 ms, and then in 2^10 steps for
 * each power of two, up to 2^44 ms, which is 557 years.
 */
#define STEP_BITS       10
#define STEPS           (1u << STEP_BITS)
#define MAX_MS          ((1ULL << 44) - 1)
#define TIMES           ((44 - STEP_BITS + 1) * STEPS)

/* How many low bits of @ms are not kept? */
static unsigned dropped_bits(uint64_t ms)
{
    return ms < 2 * STEPS ? 0 : 63 - __builtin_clzll(ms) - STEP_BITS;
}

static unsigned index_of_time(uint64_t ms)
{
    unsigned drop;

    ms = MIN(ms, MAX_MS);
    drop = dropped_bits(ms);
    return drop * STEPS + (ms >> drop);
}

static uint64_t time_of_index(unsigned i)
{
    unsigned drop = i < 2 * STEPS ? 0 : i / STEPS - 1;

    return (uint64_t)(i - drop * STEPS) << drop;
}

uint64_t age_ages_kept(uint64_t ms)
{
    return time_of_index(index_of_time(ms));
}

void age_ages_init(AgeAges *a, unsigned max, uint64_t number, uint64_t ms)
{
    assert(max >= 8);
    *a = (AgeAges) { .bucket = g_new(AgeBucket, max), .num = 1, .max = max,
                      .start_ms = ms };
    a->bucket[0] = (AgeBucket) { .first = number, .ms = ms };
    for (unsigned kind = 0; kind < AGE_KINDS; kind++) {
        a->promoted[kind] = g_new0(uint64_t, TIMES);
    }
}

void age_ages_destroy(AgeAges *a)
{
    for (unsigned kind = 0; kind < AGE_KINDS; kind++) {
        g_free(a->promoted[kind]);
    }
    g_free(a->bucket);
}

static bool is_empty(const AgeBucket *b)
{
    return !b->pages[0] && !b->pages[1];
}

/* Add to @to, whose number is smaller, what @from has. */
static void join_buckets(AgeBucket *to, const AgeBucket *from)
{
    /* That nothing was there is no reason to make what comes younger. */
    if (!is_empty(from)) {
        to->ms = from->ms;
    }
    for (unsigned kind = 0; kind < AGE_KINDS; kind++) {
        to->pages[kind] += from->pages[kind];
    }
}

/*
 * Join what is close to each other, as seen from now: by no more than 1 of
 * @parts of its age.
 */
static void join_close(AgeAges *a, uint64_t parts)
{
    AgeBucket *b = a->bucket;
    uint64_t now = b[a->num - 1].ms, before = a->start_ms;
    unsigned n = 0;

    for (unsigned i = 1; i < a->num; i++) {
        if ((b[i].ms - before) * parts <= now - b[i].ms) {
            join_buckets(&b[n], &b[i]);
        } else {
            before = b[n].ms;
            b[++n] = b[i];
        }
    }
    a->num = n + 1;
    a->last = 0;
}

/* As little as will do for a while */
static void make_room(AgeAges *a)
{
    uint64_t parts = a->max;

    while (a->num > a->max - a->max / 8) {
        join_close(a, parts);
        parts = parts * 7 / 8;
    }
}

/*
 * An empty bucket is used again: those who still stamp with its number do so
 * now.
 */
void age_ages_tick(AgeAges *a, uint64_t number, uint64_t ms)
{
    AgeBucket *now = &a->bucket[a->num - 1];

    assert(number > now->first);
    ms = MAX(ms, now->ms);
    if (is_empty(now)) {
        now->ms = ms;
        return;
    }
    if (now->ms == ms) {
        return;
    }
    if (a->num == a->max) {
        make_room(a);
    }
    a->bucket[a->num++] = (AgeBucket) { .first = number, .ms = ms };
}

static bool bucket_has(const AgeAges *a, unsigned i, uint64_t number)
{
    return a->bucket[i].first <= number &&
           (i + 1 == a->num || number < a->bucket[i + 1].first);
}

/* Most of what is touched was touched lately, or with what was before it. */
static AgeBucket *find_bucket(AgeAges *a, uint64_t number)
{
    unsigned low = 0, high = a->num - 1;

    if (number >= a->bucket[high].first) {
        return &a->bucket[high];
    }
    if (a->last < a->num && bucket_has(a, a->last, number)) {
        return &a->bucket[a->last];
    }
    /* What @low has begins at @number or before, what @high has behind it. */
    while (high - low > 1) {
        unsigned mid = low + (high - low) / 2;

        if (a->bucket[mid].first <= number) {
            low = mid;
        } else {
            high = mid;
        }
    }
    a->last = low;
    return &a->bucket[low];
}

uint64_t age_ages_time(AgeAges *a, uint64_t number)
{
    return find_bucket(a, number)->ms;
}

void age_ages_stamped(AgeAges *a, unsigned kind, uint64_t from, uint64_t to,
                      uint64_t pages)
{
    AgeBucket *b = find_bucket(a, to);

    b->pages[kind] += pages;
    if (from) {
        AgeBucket *before = find_bucket(a, from);

        before->pages[kind] -= pages;
        a->promoted[kind][index_of_time(b->ms - before->ms)] += pages;
    }
}

void age_ages_forgotten(AgeAges *a, unsigned kind, uint64_t from,
                        uint64_t pages)
{
    find_bucket(a, from)->pages[kind] -= pages;
}

/* The number of bounds that are @ms or less */
static unsigned bin_of(uint64_t ms, const uint64_t *bin, unsigned num)
{
    unsigned low = 0, high = num;

    while (low < high) {
        unsigned mid = low + (high - low) / 2;

        if (bin[mid] <= ms) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

void age_ages_idle(const AgeAges *a, unsigned kind, uint64_t now_ms,
                   const uint64_t *bin, unsigned num, uint64_t *pages)
{
    memset(pages, 0, (num + 1) * sizeof(*pages));
    for (unsigned i = 0; i < a->num; i++) {
        const AgeBucket *b = &a->bucket[i];
        uint64_t idle = now_ms > b->ms ? now_ms - b->ms : 0;

        pages[bin_of(idle, bin, num)] += b->pages[kind];
    }
}

void age_ages_promoted(const AgeAges *a, unsigned kind, const uint64_t *bin,
                       unsigned num, uint64_t *pages)
{
    memset(pages, 0, (num + 1) * sizeof(*pages));
    for (unsigned i = 0; i < TIMES; i++) {
        uint64_t n = a->promoted[kind][i];

        if (n) {
            pages[bin_of(time_of_index(i), bin, num)] += n;
        }
    }
}

void age_ages_join(AgeAges *a, uint64_t number)
{
    AgeBucket b = a->bucket[0];
    unsigned n = find_bucket(a, number) - a->bucket + 1;

    for (unsigned i = 1; i < n; i++) {
        join_buckets(&b, &a->bucket[i]);
    }
    a->bucket[0] = b;
    memmove(&a->bucket[1], &a->bucket[n],
            (a->num - n) * sizeof(AgeBucket));
    a->num -= n - 1;
    a->last = 0;
}
