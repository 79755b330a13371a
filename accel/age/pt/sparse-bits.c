/*
 * A bitmap that costs what is set in it, and next to nothing where nothing is
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "sparse-bits.h"

static uint64_t num_groups(const AgeSparse *s)
{
    return s->bits / AGE_SPARSE_GROUP + 1;
}

void age_sparse_init(AgeSparse *s, uint64_t bits)
{
    s->bits = bits;
    s->group = g_new0(AgeSparseGroup *, num_groups(s));
}

static void group_free(AgeSparseGroup *group)
{
    for (uint64_t used = group->used; used; used &= used - 1) {
        g_free(group->part[__builtin_ctzll(used)]);
    }
    g_free(group);
}

void age_sparse_destroy(AgeSparse *s)
{
    for (uint64_t i = 0; s->group && i < num_groups(s); i++) {
        if (s->group[i]) {
            group_free(s->group[i]);
        }
    }
    g_free(s->group);
    *s = (AgeSparse) {};
}

/* The part that bit @pos is in, or NULL */
static unsigned long *find_part(const AgeSparse *s, uint64_t pos)
{
    const AgeSparseGroup *group = s->group[pos / AGE_SPARSE_GROUP];
    unsigned part = pos / AGE_SPARSE_PART % AGE_WORD_BITS;

    return group && (group->used >> part & 1) ? group->part[part] : NULL;
}

/* The part that bit @pos is in, made if need be */
static unsigned long *make_part(AgeSparse *s, uint64_t pos)
{
    AgeSparseGroup **group = &s->group[pos / AGE_SPARSE_GROUP];
    unsigned part = pos / AGE_SPARSE_PART % AGE_WORD_BITS;

    if (!*group) {
        *group = g_new(AgeSparseGroup, 1);
        (*group)->used = 0;
    }
    if (!((*group)->used >> part & 1)) {
        (*group)->part[part] = g_new0(unsigned long, AGE_SPARSE_WORDS);
        (*group)->used |= 1ULL << part;
    }
    return (*group)->part[part];
}

static unsigned word_in_part(uint64_t pos)
{
    return pos % AGE_SPARSE_PART / AGE_WORD_BITS;
}

void age_sparse_or(AgeSparse *s, uint64_t pos, const unsigned long *from,
                   uint64_t from_pos, uint64_t n)
{
    while (n > 0) {
        unsigned in_word = pos % AGE_WORD_BITS;
        unsigned chunk = MIN(n, AGE_WORD_BITS - in_word);
        uint64_t bits = age_bits_get(from, from_pos, chunk);

        if (bits) {
            make_part(s, pos)[word_in_part(pos)] |= bits << in_word;
        }
        pos += chunk;
        from_pos += chunk;
        n -= chunk;
    }
}

/* Without a branch in the loop, so that compilers make vectors of it */
static bool part_is_zero(const unsigned long *part)
{
    unsigned long any = 0;

    for (unsigned i = 0; i < AGE_SPARSE_WORDS; i++) {
        any |= part[i];
    }
    return !any;
}

void age_sparse_take(AgeSparse *s, uint64_t pos, unsigned long *buf,
                     uint64_t n)
{
    for (uint64_t done = 0; done < n; done += AGE_SPARSE_PART) {
        unsigned long *from = buf + done / AGE_WORD_BITS;
        unsigned long *to;

        if (part_is_zero(from)) {
            continue;
        }
        to = make_part(s, pos + done);
        for (unsigned i = 0; i < AGE_SPARSE_WORDS; i++) {
            to[i] |= from[i];
            from[i] = 0;
        }
    }
}

/* The first part from that of bit @pos on; sets @pos to its first bit. */
static const unsigned long *next_part(const AgeSparse *s, uint64_t *pos)
{
    uint64_t part = *pos / AGE_SPARSE_PART;

    for (uint64_t i = part / AGE_WORD_BITS; i < num_groups(s); i++) {
        const AgeSparseGroup *group = s->group[i];
        uint64_t used = group ? group->used : 0;

        if (i == part / AGE_WORD_BITS) {
            used &= ~0ULL << part % AGE_WORD_BITS;
        }
        if (used) {
            unsigned first = __builtin_ctzll(used);

            *pos = i * AGE_SPARSE_GROUP + first * AGE_SPARSE_PART;
            return group->part[first];
        }
    }
    return NULL;
}

void age_sparse_flip(const AgeSparse *s, unsigned long *map)
{
    const unsigned long *part;
    uint64_t pos = 0;

    for (; (part = next_part(s, &pos)); pos += AGE_SPARSE_PART) {
        unsigned words = MIN(AGE_SPARSE_WORDS,
                             (s->bits - pos + AGE_WORD_BITS - 1) /
                             AGE_WORD_BITS);

        for (unsigned i = 0; i < words; i++) {
            map[pos / AGE_WORD_BITS + i] ^= part[i];
        }
    }
}

AgeBitCount age_sparse_count(const AgeSparse *s)
{
    AgeBitCount count = {};
    const unsigned long *part;
    uint64_t pos = 0, open_at = 0;

    for (; (part = next_part(s, &pos)); pos += AGE_SPARSE_PART) {
        AgeBitCount here = age_bits_count(part, AGE_SPARSE_WORDS);

        /* A run that goes on from the part before was counted there. */
        count.ones += here.ones;
        count.runs += here.runs - (pos && pos == open_at && (part[0] & 1));
        if (part[AGE_SPARSE_WORDS - 1] >> (AGE_WORD_BITS - 1)) {
            open_at = pos + AGE_SPARSE_PART;
        }
    }
    return count;
}

/* The first bit from @from on that is set in @part ^ @flip */
static unsigned next_in_part(const unsigned long *part, unsigned from,
                             uint64_t flip)
{
    uint64_t mask = ~0ULL << from % AGE_WORD_BITS;

    for (unsigned i = from / AGE_WORD_BITS; i < AGE_SPARSE_WORDS; i++) {
        uint64_t word = (part[i] ^ flip) & mask;

        if (word) {
            return i * AGE_WORD_BITS + __builtin_ctzll(word);
        }
        mask = ~0ULL;
    }
    return AGE_SPARSE_PART;
}

uint64_t age_sparse_next(const AgeSparse *s, uint64_t pos)
{
    uint64_t at = pos;
    const unsigned long *part;

    while (pos < s->bits && (part = next_part(s, &at))) {
        unsigned bit = next_in_part(part, pos > at ? pos - at : 0, 0);

        if (bit < AGE_SPARSE_PART) {
            return at + bit;
        }
        at += AGE_SPARSE_PART;
        pos = at;
    }
    return s->bits;
}

uint64_t age_sparse_next_zero(const AgeSparse *s, uint64_t pos)
{
    while (pos < s->bits) {
        const unsigned long *part = find_part(s, pos);
        unsigned bit;

        if (!part) {
            return pos;
        }
        bit = next_in_part(part, pos % AGE_SPARSE_PART, ~0ULL);
        pos += bit - pos % AGE_SPARSE_PART;
        if (bit < AGE_SPARSE_PART) {
            break;
        }
    }
    return MIN(pos, s->bits);
}
