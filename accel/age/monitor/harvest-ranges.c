/*
 * The harvest of all ranges of a command
 *
 * What is reached once, and that is nearly all, is harvested stretch by stretch
 * into one buffer, from which its range takes what is young.  What is reached
 * several times has bitmaps of its own, for which the bits that ask are put
 * together and from which the answers are handed out.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/rcu.h"
#include "qemu/units.h"
#include "accel/age/pt/format.h"
#include "accel/age/mmu/pieces.h"
#include "harvest-ranges.h"

/*
 * What is reached once is harvested in stretches of this size at most.  It is
 * the size of the largest block, so that no block is in two of them.
 */
#define STRETCH         (1 * GiB)

/* A stretch may begin with any bit of a part. */
#define BUFFER_WORDS    ((STRETCH / AGE_PAGE_SIZE + AGE_SPARSE_PART) / \
                         AGE_WORD_BITS)

/**
 * Harvesting: a command under way
 *
 * @ranges: its ranges
 * @num: how many they are
 * @mode: how to harvest
 * @block: the largest piece of memory that has one flag for all its pages
 * @buffer: zeroes, into which a stretch is harvested
 * @young: a fallback found a young page
 */
typedef struct Harvesting {
    HarvestRange *ranges;
    unsigned num;
    HarvestMode mode;
    uint64_t block;
    unsigned long *buffer;
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
    c->y.space = c->h->mode.space ? c->h->mode.space->name : NULL;
    c->y.test_only = c->h->mode.test;
    c->h->young |= age_test_clear_young(&c->y, c->h->mode.fallback,
                                        harvest_answered, c);
}

static uint64_t pages_between(uint64_t start, uint64_t end)
{
    return (end - start) >> AGE_PAGE_SHIFT;
}

/* What is reached once */

/* The buffer begins with the part that the bits of the stretch begin in. */
static void harvest_stretch(Harvesting *h, const AgePiece *piece)
{
    HarvestRange *r = &h->ranges[piece->range];
    uint64_t base = ROUND_DOWN(piece->first_bit, AGE_SPARSE_PART);
    uint64_t offset = piece->first_bit - base;
    Call c = {
        .h = h,
        .piece = piece,
        .num = 1,
        .y.start = piece->start,
        .y.end = piece->end,
        .y.first_bit = offset,
        .y.select = r->map.bits ? r->map.bits + base / AGE_WORD_BITS : NULL,
        .y.young = h->buffer,
    };

    call_chain(&c);
    if (c.y.any) {
        age_sparse_take(&r->young, base, h->buffer,
                        offset + pages_between(piece->start, piece->end));
    }
}

/*
 * How much of [@start, @end), of which @start is at @address in its range, to
 * harvest at a time.  It ends where a table of the guest's addresses does, so
 * that parents are made old; but not within a block of any subscriber's.
 */
static uint64_t stretch_size(const Harvesting *h, uint64_t start, uint64_t end,
                             uint64_t address)
{
    uint64_t size = STRETCH - address % STRETCH;
    uint64_t tail = (start + size) % h->block;

    size = size > tail ? size - tail : size - tail + STRETCH;
    return MIN(size, end - start);
}

static void harvest_alone(Harvesting *h, const AgePiece *piece)
{
    const AgeRangeArg *arg = h->ranges[piece->range].map.arg;
    uint64_t behind = arg->end - (piece->first_bit << AGE_PAGE_SHIFT);
    AgePiece part = *piece;

    while (part.start < piece->end) {
        uint64_t left = piece->end - part.start;

        part.end = part.start + stretch_size(h, part.start, piece->end,
                                             behind - left);
        part.first_bit = piece->first_bit + pages_between(part.end, piece->end);
        harvest_stretch(h, &part);
        part.start = part.end;
    }
}

/* What is reached several times */

/* Ask for what any piece asks for. */
static void gather_select(const Call *c, unsigned long *select)
{
    for (const AgePiece *p = c->piece; p < c->piece + c->num; p++) {
        const HarvestRange *r = &c->h->ranges[p->range];
        uint64_t pos = pages_between(p->end, c->y.end);
        uint64_t pages = pages_between(p->start, p->end);

        if (r->map.bits) {
            age_bits_or_from(select, pos, r->map.bits, p->first_bit, pages);
        } else if (!c->h->mode.test) {
            age_bits_set(select, pos, pages);
        }
    }
}

/* Tell each piece what was found. */
static void hand_out_young(const Call *c)
{
    for (const AgePiece *p = c->piece; p < c->piece + c->num; p++) {
        age_sparse_or(&c->h->ranges[p->range].young, p->first_bit,
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
    if (c.y.any) {
        hand_out_young(&c);
    }
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

/*
 * A stretch of host memory, from the block with number @from on.  Returns the
 * block to go on with, or 0 at the end.
 */
static uint64_t harvest_window(Harvesting *h, uint64_t from)
{
    g_autoptr(GArray) pieces = g_array_new(false, false, sizeof(AgePiece));
    uint64_t next;

    RCU_READ_LOCK_GUARD();
    for (unsigned i = 0; i < h->num; i++) {
        age_range_reach(h->mode.type, h->mode.space, i,
                        qapi_AgeRangeArg_base(h->ranges[i].map.arg), pieces);
    }
    next = age_pieces_window(pieces, h->block, from, AGE_HARVEST_WINDOW);
    age_pieces_foreach(pieces, h->block, harvest_reached, h);
    return next;
}

bool age_harvest_ranges(HarvestRange *ranges, unsigned num, HarvestMode mode)
{
    g_autofree unsigned long *buffer = g_new0(unsigned long, BUFFER_WORDS);
    uint64_t from = 0;
    Harvesting h = {
        .ranges = ranges,
        .num = num,
        .mode = mode,
        .block = MAX(age_block_size(), AGE_PAGE_SIZE),
        .buffer = buffer,
    };

    for (unsigned i = 0; i < num; i++) {
        age_sparse_init(&ranges[i].young, ranges[i].map.pages);
    }
    do {
        from = harvest_window(&h, from);
    } while (from);
    for (unsigned i = 0; i < num; i++) {
        ranges[i].young_count = age_sparse_count(&ranges[i].young);
    }
    return h.young;
}
