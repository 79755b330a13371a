/*
 * The harvest of all ranges of a command
 *
 * What is reached once, and that is nearly all, is harvested with the bitmaps
 * of its range where they are.  What is reached several times has bitmaps of
 * its own, for which the bits that ask are put together and from which the
 * answers are handed out.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/rcu.h"
#include "accel/age/pt/format.h"
#include "accel/age/mmu/pieces.h"
#include "harvest-ranges.h"

/**
 * Harvesting: a command under way
 *
 * @ranges: its ranges
 * @mode: how to harvest
 * @young: a fallback found a young page
 */
typedef struct Harvesting {
    HarvestRange *ranges;
    HarvestMode mode;
    bool young;
} Harvesting;

/**
 * Call: a call of the chain
 *
 * @h: the command
 * @piece: what its memory is of
 * @num: how many they are
 * @y: what is asked
 */
typedef struct Call {
    Harvesting *h;
    const AgePiece *piece;
    unsigned num;
    AgeYoung y;
} Call;

/* Answers */

static const AgeAnswerHow how_to_qapi[] = {
    [AGE_HOW_BITMAP] = AGE_ANSWER_HOW_BITMAP,
    [AGE_HOW_CLEAR_YOUNG] = AGE_ANSWER_HOW_CLEAR_YOUNG,
    [AGE_HOW_REFUSED] = AGE_ANSWER_HOW_REFUSED,
};

/* Pieces of a range may be answered differently: tell the worst of it. */
static void add_to_answer(AgeAnswer *answer, AgeHow how, const char *reason,
                          bool young)
{
    answer->how = MAX(answer->how, how_to_qapi[how]);
    answer->has_young |= how == AGE_HOW_CLEAR_YOUNG;
    answer->young |= young;
    if (!answer->reason) {
        answer->reason = g_strdup(reason);
    }
}

/* The answer of a subscriber, or a further part of it */
static void add_answer(HarvestRange *r, const char *name, AgeHow how,
                       const char *reason, bool young)
{
    AgeAnswerList **tail = &r->answers;
    AgeAnswer *answer;

    for (; *tail; tail = &(*tail)->next) {
        answer = (*tail)->value;
        if (g_str_equal(answer->mmu, name)) {
            add_to_answer(answer, how, reason, young);
            return;
        }
    }
    answer = g_new0(AgeAnswer, 1);
    answer->mmu = g_strdup(name);
    answer->how = how_to_qapi[how];
    answer->reason = g_strdup(reason);
    answer->has_young = how == AGE_HOW_CLEAR_YOUNG;
    answer->young = young;
    QAPI_LIST_APPEND(tail, answer);
}

static void harvest_answered(void *opaque, const char *name, AgeHow how,
                             const char *reason, bool young)
{
    Call *c = opaque;

    for (const AgePiece *p = c->piece; p < c->piece + c->num; p++) {
        if (young && c->y.num_parts) {
            add_answer(&c->h->ranges[p->range], name, how, reason,
                       age_piece_young(p, c->y.part, c->y.num_parts));
        } else {
            add_answer(&c->h->ranges[p->range], name, how, reason, young);
        }
    }
}

static void call_chain(Call *c)
{
    c->y.dirty = c->h->mode.dirty;
    c->h->young |= age_test_clear_young(&c->y, c->h->mode.fallback,
                                        harvest_answered, c);
}

/* What is reached once */

static void harvest_alone(Harvesting *h, const AgePiece *piece)
{
    HarvestRange *r = &h->ranges[piece->range];
    Call c = {
        .h = h,
        .piece = piece,
        .num = 1,
        .y.start = piece->start,
        .y.end = piece->end,
        .y.first_bit = piece->first_bit,
        .y.select = r->map.bits,
        .y.young = r->young,
    };

    call_chain(&c);
}

/* What is reached several times */

static uint64_t pages_between(uint64_t start, uint64_t end)
{
    return (end - start) >> AGE_PAGE_SHIFT;
}

/* Ask for what any piece asks for. */
static void gather_select(const Call *c, unsigned long *select)
{
    for (const AgePiece *p = c->piece; p < c->piece + c->num; p++) {
        const HarvestRange *r = &c->h->ranges[p->range];
        uint64_t pos = pages_between(p->end, c->y.end);
        uint64_t pages = pages_between(p->start, p->end);

        if (r->map.bits) {
            age_bits_or_from(select, pos, r->map.bits, p->first_bit, pages);
        } else {
            age_bits_set(select, pos, pages);
        }
    }
}

/* Tell each piece what was found. */
static void hand_out_young(const Call *c)
{
    for (const AgePiece *p = c->piece; p < c->piece + c->num; p++) {
        age_bits_or_from(c->h->ranges[p->range].young, p->first_bit,
                         c->y.young, pages_between(p->end, c->y.end),
                         pages_between(p->start, p->end));
    }
}

static void harvest_shared(Harvesting *h, const AgePiece *piece, unsigned num)
{
    Call c = { .h = h, .piece = piece, .num = num, .y.start = UINT64_MAX };
    g_autofree unsigned long *select = NULL;
    g_autofree unsigned long *young = NULL;
    g_autoptr(GArray) parts = NULL;

    for (unsigned i = 0; i < num; i++) {
        c.y.start = MIN(c.y.start, piece[i].start);
        c.y.end = MAX(c.y.end, piece[i].end);
    }
    if (h->mode.fallback) {
        parts = age_pieces_parts(piece, num);
        c.y.part = (AgePart *)parts->data;
        c.y.num_parts = parts->len;
    }
    select = bitmap_new(pages_between(c.y.start, c.y.end));
    young = bitmap_new(pages_between(c.y.start, c.y.end));
    gather_select(&c, select);
    c.y.select = select;
    c.y.young = young;
    call_chain(&c);
    hand_out_young(&c);
}

static void harvest_reached(void *opaque, const AgePiece *piece, unsigned num)
{
    Harvesting *h = opaque;

    if (num == 1) {
        harvest_alone(h, piece);
    } else {
        harvest_shared(h, piece, num);
    }
}

bool age_harvest_ranges(HarvestRange *ranges, unsigned num, HarvestMode mode)
{
    g_autoptr(GArray) pieces = g_array_new(false, false, sizeof(AgePiece));
    Harvesting h = { .ranges = ranges, .mode = mode };

    for (unsigned i = 0; i < num; i++) {
        ranges[i].young = bitmap_new(ranges[i].map.pages);
    }
    WITH_RCU_READ_LOCK_GUARD() {
        for (unsigned i = 0; i < num; i++) {
            age_range_reach(mode.type, i,
                            qapi_AgeRangeArg_base(ranges[i].map.arg), pieces);
        }
        age_pieces_foreach(pieces, age_block_size(), harvest_reached, &h);
    }
    for (unsigned i = 0; i < num; i++) {
        HarvestRange *r = &ranges[i];

        r->young_count = age_bits_count(r->young, BITS_TO_LONGS(r->map.pages));
    }
    return h.young;
}
