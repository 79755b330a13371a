/*
 * Stamps: for each page of the host's memory, when it was last found young
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "stamps.h"

#define GROUP_SHIFT     18
#define GROUP_PAGES     (1ULL << GROUP_SHIFT)

G_STATIC_ASSERT(GROUP_PAGES == (uint64_t)AGE_REGIONS * AGE_REGION_PAGES);

static void group_free(gpointer data)
{
    AgeStampGroup *g = data;

    for (unsigned i = 0; i < AGE_REGIONS; i++) {
        g_free(g->stamp[i]);
    }
    g_free(g);
}

void age_stamps_init(AgeStamps *s)
{
    *s = (AgeStamps) { .groups = g_ptr_array_new_with_free_func(group_free) };
}

void age_stamps_destroy(AgeStamps *s)
{
    g_ptr_array_unref(s->groups);
}

static AgeStampGroup *group_at(const AgeStamps *s, unsigned i)
{
    return g_ptr_array_index(s->groups, i);
}

/* The first group whose number is @number or more; their count if none is */
static unsigned lower_bound(const AgeStamps *s, uint64_t number)
{
    unsigned low = 0, high = s->groups->len;

    while (low < high) {
        unsigned mid = low + (high - low) / 2;

        if (group_at(s, mid)->number >= number) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    return low;
}

/* The group of @page; if there is none, NULL or a new one */
static AgeStampGroup *find_group(AgeStamps *s, uint64_t page, bool make)
{
    uint64_t number = page >> GROUP_SHIFT;
    AgeStampGroup *g;

    if (s->last >= s->groups->len || group_at(s, s->last)->number != number) {
        unsigned i = lower_bound(s, number);

        if (i == s->groups->len || group_at(s, i)->number != number) {
            if (!make) {
                return NULL;
            }
            g = g_new0(AgeStampGroup, 1);
            g->number = number;
            g_ptr_array_insert(s->groups, i, g);
        }
        s->last = i;
    }
    return group_at(s, s->last);
}

static unsigned region_of(uint64_t page)
{
    return (page >> AGE_REGION_SHIFT) % AGE_REGIONS;
}

/* How many of @pages are in the region of @page? */
static unsigned in_region(uint64_t page, uint64_t pages)
{
    return MIN(pages, AGE_REGION_PAGES - page % AGE_REGION_PAGES);
}

/* How many of @pages are in the group of @page? */
static uint64_t in_group(uint64_t page, uint64_t pages)
{
    return MIN(pages, GROUP_PAGES - page % GROUP_PAGES);
}

static void tally_tell(AgeTally *t, unsigned place)
{
    t->had(t->opaque, t->stamp[place], t->pages[place]);
    t->pages[place] = 0;
}

void age_tally_flush(AgeTally *t)
{
    for (unsigned i = 0; i < t->num; i++) {
        tally_tell(t, t->used[i]);
    }
    t->num = 0;
}

/* Most pages that are stamped together were so before. */
static void tally_add(AgeTally *t, uint32_t stamp, unsigned pages)
{
    unsigned place = stamp % AGE_TALLY;

    if (!t->pages[place]) {
        t->used[t->num++] = place;
        t->stamp[place] = stamp;
    } else if (t->stamp[place] != stamp) {
        tally_tell(t, place);
        t->stamp[place] = stamp;
    }
    t->pages[place] += pages;
}

static unsigned eight_equal(const uint32_t *p, uint32_t stamp)
{
    return (p[0] == stamp) << 7 | (p[1] == stamp) << 6 |
           (p[2] == stamp) << 5 | (p[3] == stamp) << 4 |
           (p[4] == stamp) << 3 | (p[5] == stamp) << 2 |
           (p[6] == stamp) << 1 | (p[7] == stamp);
}

/* Which of 64 pages have a stamp?  The last has bit 0. */
static uint64_t which_equal(const uint32_t *p, uint32_t stamp)
{
    uint64_t equal = 0;

    for (unsigned i = 0; i < AGE_WORD_BITS; i += 8) {
        equal = equal << 8 | eight_equal(&p[i], stamp);
    }
    return equal;
}

static void store_stamps(uint32_t *p, uint64_t bits, uint32_t stamp)
{
    if (bits == ~0ULL) {
        for (unsigned i = 0; i < AGE_WORD_BITS; i++) {
            p[i] = stamp;
        }
        return;
    }
    for (; bits; bits &= bits - 1) {
        p[AGE_WORD_BITS - 1 - __builtin_ctzll(bits)] = stamp;
    }
}

static void set_each(uint32_t *p, uint64_t bits, uint32_t stamp, AgeTally *t)
{
    for (; bits; bits &= bits - 1) {
        unsigned i = AGE_WORD_BITS - 1 - __builtin_ctzll(bits);

        if (p[i] < stamp) {
            tally_add(t, p[i], 1);
            p[i] = stamp;
        }
    }
}

/*
 * A look at 64 stamps takes as long as a dozen pages one by one.  So those
 * that had the same are found together, if there are not too many kinds.
 */
static void set_stamps(uint32_t *p, uint64_t bits, uint32_t stamp, AgeTally *t)
{
    unsigned pages = __builtin_popcountll(bits);

    for (unsigned looks = pages / 12; bits && looks > 0; looks--) {
        uint32_t old = p[AGE_WORD_BITS - 1 - __builtin_ctzll(bits)];
        uint64_t same = which_equal(p, old) & bits;

        if (old < stamp) {
            tally_add(t, old, __builtin_popcountll(same));
            store_stamps(p, same, stamp);
        }
        bits &= ~same;
    }
    set_each(p, bits, stamp, t);
}

/* The stamps of a region, which has some from now on */
static uint32_t *need_region(AgeStamps *s, AgeStampGroup *g, unsigned r)
{
    if (!g->stamp[r]) {
        g->stamp[r] = g_new0(uint32_t, AGE_REGION_PAGES);
        s->regions++;
    }
    return g->stamp[r];
}

void age_stamps_set(AgeStamps *s, uint64_t word, uint64_t bits,
                    uint32_t stamp, AgeTally *tally)
{
    uint64_t page = word * AGE_WORD_BITS;
    AgeStampGroup *g = find_group(s, page, true);
    unsigned r = region_of(page);
    uint32_t *p = need_region(s, g, r) + page % AGE_REGION_PAGES;

    set_stamps(p, bits, stamp, tally);
    g->max[r] = MAX(g->max[r], stamp);
    g->newest = MAX(g->newest, stamp);
}

/* See what is left of a region, of which some was forgotten. */
static void update_region(AgeStamps *s, AgeStampGroup *g, unsigned r)
{
    uint32_t max = 0;

    for (unsigned i = 0; i < AGE_REGION_PAGES; i++) {
        max = MAX(max, g->stamp[r][i]);
    }
    g->max[r] = max;
    if (!max) {
        g_clear_pointer(&g->stamp[r], g_free);
        s->regions--;
    }
}

static void forget_in_region(AgeStamps *s, AgeStampGroup *g, uint64_t page,
                             unsigned n, uint32_t limit, AgeStampFunc *had,
                             void *opaque)
{
    unsigned r = region_of(page);
    uint32_t *p = g->stamp[r];

    if (!p) {
        return;
    }
    p += page % AGE_REGION_PAGES;
    for (unsigned i = 0; i < n;) {
        uint32_t stamp = p[i];
        unsigned first = i;

        while (i < n && p[i] == stamp) {
            p[i++] = stamp <= limit ? 0 : stamp;
        }
        if (stamp && stamp <= limit) {
            had(opaque, stamp, i - first);
        }
    }
    update_region(s, g, r);
}

/* Called for the part of a region, with or without stamps, that is meant */
typedef void PartFunc(AgeStamps *s, AgeStampGroup *g, uint64_t page,
                      unsigned n, void *opaque);

/*
 * Tell of all regions of the range that are in a group with anything newer than
 * @since, by ascending page.
 */
static void each_part(AgeStamps *s, uint64_t page, uint64_t pages,
                      uint32_t since, PartFunc *func, void *opaque)
{
    uint64_t end = page + pages;
    unsigned i = lower_bound(s, page >> GROUP_SHIFT);

    for (; i < s->groups->len; i++) {
        AgeStampGroup *g = group_at(s, i);
        uint64_t at = MAX(page, g->number << GROUP_SHIFT);
        uint64_t stop = MIN(end, (g->number + 1) << GROUP_SHIFT);

        if (at >= end) {
            break;
        }
        while (at < stop && g->newest > since) {
            unsigned n = in_region(at, stop - at);

            func(s, g, at, n, opaque);
            at += n;
        }
    }
}

uint64_t age_stamps_next(const AgeStamps *s, uint64_t page)
{
    unsigned i = lower_bound(s, page >> GROUP_SHIFT);

    if (i == s->groups->len) {
        return UINT64_MAX;
    }
    return MAX(page, group_at(s, i)->number << GROUP_SHIFT);
}

/* To forget */

typedef struct Forget {
    uint32_t limit;
    AgeStampFunc *had;
    void *opaque;
} Forget;

static void forget_part(AgeStamps *s, AgeStampGroup *g, uint64_t page,
                        unsigned n, void *opaque)
{
    Forget *f = opaque;

    forget_in_region(s, g, page, n, f->limit, f->had, f->opaque);
}

void age_stamps_forget(AgeStamps *s, uint64_t page, uint64_t pages,
                       uint32_t limit, AgeStampFunc *had, void *opaque)
{
    Forget f = { .limit = limit, .had = had, .opaque = opaque };

    each_part(s, page, pages, 0, forget_part, &f);
}

/* To find */

typedef struct Since {
    uint32_t since;
    AgeStampedFunc *stamped;
    void *opaque;
} Since;

/* As a harvest does it: the last page has bit 0. */
static uint64_t larger_stamps(const uint32_t *p, unsigned n, uint32_t since)
{
    uint64_t bits = 0;

    for (unsigned i = 0; i < n; i++) {
        bits = bits << 1 | (p[i] > since);
    }
    return bits;
}

static void since_part(AgeStamps *s, AgeStampGroup *g, uint64_t page,
                       unsigned n, void *opaque)
{
    Since *f = opaque;
    unsigned r = region_of(page);

    if (g->max[r] <= f->since) {
        return;
    }
    while (n > 0) {
        unsigned at = page % AGE_REGION_PAGES;
        unsigned chunk = MIN(n, AGE_WORD_BITS - at % AGE_WORD_BITS);
        uint64_t bits = larger_stamps(g->stamp[r] + at, chunk, f->since);

        if (bits) {
            f->stamped(f->opaque, page, chunk, bits);
        }
        page += chunk;
        n -= chunk;
    }
}

void age_stamps_since(AgeStamps *s, uint64_t page, uint64_t pages,
                      uint32_t since, AgeStampedFunc *stamped, void *opaque)
{
    Since f = { .since = since, .stamped = stamped, .opaque = opaque };

    each_part(s, page, pages, since, since_part, &f);
}

/* To tell each stamp */

static void each_in_region(const uint32_t *p, unsigned n, AgeStampFunc *has,
                           void *opaque)
{
    for (unsigned i = 0; i < n;) {
        unsigned first = i;

        while (i < n && p[i] == p[first]) {
            i++;
        }
        has(opaque, p[first], i - first);
    }
}

void age_stamps_each(AgeStamps *s, uint64_t page, uint64_t pages,
                     AgeStampFunc *has, void *opaque)
{
    while (pages > 0) {
        const AgeStampGroup *g = find_group(s, page, false);
        uint64_t n = g ? in_region(page, pages) : in_group(page, pages);
        const uint32_t *p = g ? g->stamp[region_of(page)] : NULL;

        if (p) {
            each_in_region(p + page % AGE_REGION_PAGES, n, has, opaque);
        } else {
            has(opaque, 0, n);
        }
        page += n;
        pages -= n;
    }
}

/* To rebase */

static uint32_t rebased(uint32_t stamp, uint32_t delta)
{
    return stamp > delta ? stamp - delta : stamp > 0;
}

static void rebase_region(AgeStampGroup *g, unsigned r, uint32_t delta)
{
    if (!g->stamp[r]) {
        return;
    }
    g->max[r] = rebased(g->max[r], delta);
    for (unsigned i = 0; i < AGE_REGION_PAGES; i++) {
        g->stamp[r][i] = rebased(g->stamp[r][i], delta);
    }
}

void age_stamps_rebase(AgeStamps *s, uint32_t delta)
{
    for (unsigned i = 0; i < s->groups->len; i++) {
        AgeStampGroup *g = group_at(s, i);

        g->newest = rebased(g->newest, delta);
        for (unsigned r = 0; r < AGE_REGIONS; r++) {
            rebase_region(g, r, delta);
        }
    }
}
