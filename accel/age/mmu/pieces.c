/*
 * Pieces of host memory that the ranges of a command reach
 *
 * A page may be reached several times: at two guest-physical addresses, in two
 * address spaces, by two ranges.  Whoever clears its flag at one of them finds
 * it clear at the next, and so it is with the pages of a block, which have one
 * flag together.  So all that reach a block are found before it is harvested.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "accel/age/pt/format.h"
#include "pieces.h"

/* Blocks by number, so that the end of the last one needs no 65th bit */
static uint64_t first_block(const AgePiece *p, uint64_t block)
{
    return p->start / block;
}

static uint64_t end_block(const AgePiece *p, uint64_t block)
{
    return (p->end - 1) / block + 1;
}

static int compare_start(gconstpointer a, gconstpointer b)
{
    const AgePiece *pa = a, *pb = b;

    return pa->start < pb->start ? -1 : pa->start > pb->start;
}

/* What @p has of the blocks from number @from to before @to */
static AgePiece cut_piece(const AgePiece *p, uint64_t block, uint64_t from,
                          uint64_t to)
{
    uint64_t start = MAX(p->start, from * block);
    uint64_t last = MIN(p->end - 1, to * block - 1);

    return (AgePiece) {
        .start = start,
        .end = last + 1,
        .range = p->range,
        .first_bit = p->first_bit + ((p->end - 1 - last) >> AGE_PAGE_SHIFT),
    };
}

/* The first block from @at on whose pieces may be others than those of @at */
static uint64_t next_change(const GArray *active, const AgePiece *next,
                            uint64_t block, uint64_t at)
{
    uint64_t to = next ? first_block(next, block) : UINT64_MAX;

    for (unsigned i = 0; i < active->len; i++) {
        to = MIN(to, end_block(&g_array_index(active, AgePiece, i), block));
    }
    if (active->len > 1) {
        to = MIN(to, at + AGE_PIECES_SHARED / block);
    }
    return to;
}

/* Hand out the blocks from @from to before @to, of which all have some */
static void reach_stretch(const GArray *active, GArray *cut, uint64_t block,
                          uint64_t from, uint64_t to, AgeReachedFunc *fn,
                          void *opaque)
{
    g_array_set_size(cut, 0);
    for (unsigned i = 0; i < active->len; i++) {
        AgePiece piece = cut_piece(&g_array_index(active, AgePiece, i), block,
                                   from, to);

        g_array_append_val(cut, piece);
    }
    fn(opaque, (const AgePiece *)cut->data, cut->len);
}

/* Forget the pieces that end with the block before @at */
static void drop_ended(GArray *active, uint64_t block, uint64_t at)
{
    for (unsigned i = active->len; i-- > 0;) {
        if (end_block(&g_array_index(active, AgePiece, i), block) == at) {
            g_array_remove_index_fast(active, i);
        }
    }
}

void age_pieces_foreach(GArray *pieces, uint64_t block, AgeReachedFunc *fn,
                        void *opaque)
{
    g_autoptr(GArray) active = g_array_new(false, false, sizeof(AgePiece));
    g_autoptr(GArray) cut = g_array_new(false, false, sizeof(AgePiece));
    const AgePiece *next = (const AgePiece *)pieces->data;
    const AgePiece *end = next + pieces->len;
    uint64_t at = 0, to;

    block = MAX(block, AGE_PAGE_SIZE);
    g_array_sort(pieces, compare_start);
    while (next < end || active->len) {
        if (!active->len) {
            at = first_block(next, block);
        }
        while (next < end && first_block(next, block) == at) {
            g_array_append_val(active, *next);
            next++;
        }
        to = next_change(active, next < end ? next : NULL, block, at);
        reach_stretch(active, cut, block, at, to, fn, opaque);
        drop_ended(active, block, to);
        at = to;
    }
}

/* The first block from @from on that a piece has; any other if none has one */
static uint64_t window_start(const GArray *pieces, uint64_t block,
                             uint64_t from)
{
    uint64_t first = UINT64_MAX / block;

    for (unsigned i = 0; i < pieces->len; i++) {
        const AgePiece *p = &g_array_index(pieces, AgePiece, i);

        if (end_block(p, block) > from) {
            first = MIN(first, MAX(from, first_block(p, block)));
        }
    }
    return first;
}

uint64_t age_pieces_window(GArray *pieces, uint64_t block, uint64_t from,
                           uint64_t size)
{
    uint64_t first = window_start(pieces, block, from);
    uint64_t to = first + MIN(size / block, UINT64_MAX / block + 1 - first);
    bool more = false;

    for (unsigned i = pieces->len; i-- > 0;) {
        AgePiece *p = &g_array_index(pieces, AgePiece, i);
        bool ended = end_block(p, block) <= from;

        more |= !ended && end_block(p, block) > to;
        if (ended || first_block(p, block) >= to) {
            g_array_remove_index_fast(pieces, i);
        } else {
            *p = cut_piece(p, block, first, to);
        }
    }
    return more ? to : 0;
}

static int compare_address(gconstpointer a, gconstpointer b)
{
    const uint64_t *pa = a, *pb = b;

    return *pa < *pb ? -1 : *pa > *pb;
}

static GArray *sorted_addresses(const AgePiece *piece, unsigned num, bool end)
{
    GArray *list = g_array_sized_new(false, false, sizeof(uint64_t), num);

    for (unsigned i = 0; i < num; i++) {
        g_array_append_val(list, *(end ? &piece[i].end : &piece[i].start));
    }
    g_array_sort(list, compare_address);
    return list;
}

/*
 * Where a piece starts or ends, the part before ends, if any piece is open:
 * more have started by then than have ended.
 */
GArray *age_pieces_parts(const AgePiece *piece, unsigned num)
{
    g_autoptr(GArray) starts = sorted_addresses(piece, num, false);
    g_autoptr(GArray) ends = sorted_addresses(piece, num, true);
    const uint64_t *start = (const uint64_t *)starts->data;
    const uint64_t *end = (const uint64_t *)ends->data;
    GArray *parts = g_array_new(false, false, sizeof(AgePart));
    AgePart part = {};

    for (unsigned s = 0, e = 0; e < num;) {
        part.end = s < num ? MIN(start[s], end[e]) : end[e];
        if (s > e && part.end > part.start) {
            g_array_append_val(parts, part);
        }
        part.start = part.end;
        while (s < num && start[s] == part.end) {
            s++;
        }
        while (e < num && end[e] == part.end) {
            e++;
        }
    }
    return parts;
}

bool age_piece_young(const AgePiece *piece, const AgePart *part, unsigned num)
{
    for (unsigned i = 0; i < num; i++) {
        if (part[i].young && part[i].start >= piece->start &&
            part[i].end <= piece->end) {
            return true;
        }
    }
    return false;
}
