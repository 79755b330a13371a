/*
 * What pieces of memory are handed out together, against a model by pages
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "accel/age/pt/format.h"
#include "accel/age/mmu/pieces.h"

#define PAGES       64
#define MAX_PIECES  8
#define BASE        0x7f0000000000ULL

/**
 * Model: what was asked for, and what was handed out
 *
 * @piece: what was asked for, each as a range of its own
 * @num: how many they are
 * @block: pages of a block
 * @times: how often each page was handed out for each of them
 * @call: the number of the call in which a block came
 * @calls: how many there were
 */
typedef struct Model {
    AgePiece piece[MAX_PIECES];
    unsigned num;
    unsigned block;
    unsigned times[MAX_PIECES][PAGES];
    unsigned call[PAGES];
    unsigned calls;
} Model;

static unsigned page_of(uint64_t address)
{
    return (address - BASE) / AGE_PAGE_SIZE;
}

static bool has_page(const AgePiece *p, unsigned page)
{
    return page >= page_of(p->start) && page < page_of(p->end);
}

/* How many of the pieces have some of the block of @page? */
static unsigned reach_block(const Model *m, unsigned page)
{
    unsigned first = page - page % m->block, reach = 0;

    for (unsigned i = 0; i < m->num; i++) {
        reach += page_of(m->piece[i].start) < first + m->block &&
                 page_of(m->piece[i].end) > first;
    }
    return reach;
}

/* A piece of a call: its pages have the bits that they have in the whole. */
static void check_piece(Model *m, const AgePiece *p, unsigned num)
{
    const AgePiece *whole = &m->piece[p->range];

    g_assert_cmphex(p->start, <, p->end);
    g_assert_cmphex(p->start, >=, whole->start);
    g_assert_cmphex(p->end, <=, whole->end);
    g_assert_cmpuint(p->first_bit - whole->first_bit, ==,
                     page_of(whole->end) - page_of(p->end));
    for (unsigned page = page_of(p->start); page < page_of(p->end); page++) {
        unsigned *call = &m->call[page / m->block];

        m->times[p->range][page]++;
        g_assert_cmpuint(reach_block(m, page), ==, num);
        /* All of a block in one call */
        g_assert(!*call || *call == m->calls);
        *call = m->calls;
    }
}

/* Each page once, with nothing of which only a part is in some piece */
static void check_parts(const AgePiece *piece, unsigned num)
{
    g_autoptr(GArray) parts = age_pieces_parts(piece, num);
    unsigned times[PAGES] = {};
    uint64_t end = 0;

    for (unsigned i = 0; i < parts->len; i++) {
        AgePart *part = &g_array_index(parts, AgePart, i);

        g_assert_false(part->young);
        g_assert_cmphex(part->start, <, part->end);
        g_assert_cmphex(part->start, >=, end);
        end = part->end;
        for (unsigned k = page_of(part->start); k < page_of(end); k++) {
            times[k]++;
        }
        part->young = true;
        for (unsigned k = 0; k < num; k++) {
            bool has = has_page(&piece[k], page_of(part->start));

            g_assert(has_page(&piece[k], page_of(end) - 1) == has);
            g_assert(age_piece_young(&piece[k], part, 1) == has);
        }
        part->young = false;
    }
    for (unsigned page = 0; page < PAGES; page++) {
        bool any = false;

        for (unsigned k = 0; k < num; k++) {
            any |= has_page(&piece[k], page);
        }
        g_assert_cmpuint(times[page], ==, any);
    }
}

static void reached(void *opaque, const AgePiece *piece, unsigned num)
{
    Model *m = opaque;

    m->calls++;
    for (unsigned i = 0; i < num; i++) {
        check_piece(m, &piece[i], num);
    }
    check_parts(piece, num);
}

/* As few calls as the pieces that change from block to block permit */
static unsigned count_changes(const Model *m)
{
    uint64_t before = 0;
    unsigned changes = 0;

    for (unsigned page = 0; page < PAGES; page += m->block) {
        uint64_t now = 0;

        for (unsigned i = 0; i < m->num; i++) {
            bool reach = page_of(m->piece[i].start) < page + m->block &&
                         page_of(m->piece[i].end) > page;

            now |= (uint64_t)reach << i;
        }
        changes += now && now != before;
        before = now;
    }
    return changes;
}

static void random_piece(AgePiece *p, unsigned range)
{
    unsigned from = g_test_rand_int_range(0, PAGES);
    unsigned to = g_test_rand_int_range(from, PAGES) + 1;

    *p = (AgePiece) {
        .start = BASE + from * AGE_PAGE_SIZE,
        .end = BASE + to * AGE_PAGE_SIZE,
        .range = range,
        .first_bit = g_test_rand_int_range(0, 1000),
    };
}

static void random_model(Model *m)
{
    *m = (Model) {
        .block = 1 << g_test_rand_int_range(0, 6),
        .num = g_test_rand_int_range(0, 1 + MAX_PIECES),
    };
    for (unsigned i = 0; i < m->num; i++) {
        random_piece(&m->piece[i], i);
    }
}

static GArray *model_pieces(const Model *m)
{
    GArray *pieces = g_array_new(false, false, sizeof(AgePiece));

    g_array_append_vals(pieces, m->piece, m->num);
    return pieces;
}

/* Each page was handed out once for each piece that has it. */
static void check_times(const Model *m)
{
    for (unsigned i = 0; i < m->num; i++) {
        for (unsigned page = 0; page < PAGES; page++) {
            g_assert_cmpuint(m->times[i][page], ==,
                             has_page(&m->piece[i], page));
        }
    }
}

static void test_random(void)
{
    for (unsigned i = 0; i < 20000; i++) {
        g_autoptr(GArray) pieces = NULL;
        Model m;

        random_model(&m);
        pieces = model_pieces(&m);
        age_pieces_foreach(pieces, m.block == 1 ? 0 : m.block * AGE_PAGE_SIZE,
                           reached, &m);
        check_times(&m);
        g_assert_cmpuint(m.calls, ==, count_changes(&m));
    }
}

/* The same window by window, with all pieces found anew for each. */
static void test_windows(void)
{
    for (unsigned i = 0; i < 20000; i++) {
        unsigned blocks = g_test_rand_int_range(1, PAGES);
        uint64_t from = 0;
        Model m;

        random_model(&m);
        do {
            g_autoptr(GArray) pieces = model_pieces(&m);
            uint64_t block = m.block * AGE_PAGE_SIZE;

            from = age_pieces_window(pieces, block, from, blocks * block);
            g_assert(pieces->len || !m.num);
            age_pieces_foreach(pieces, block, reached, &m);
        } while (from);
        check_times(&m);
    }
}

/* Large ones: alone they come whole, together by stretches. */

typedef struct Sum {
    uint64_t alone;
    uint64_t shared;
    unsigned calls;
} Sum;

static void add_up(void *opaque, const AgePiece *piece, unsigned num)
{
    Sum *sum = opaque;
    uint64_t size = piece->end - piece->start;

    sum->calls++;
    if (num == 1) {
        sum->alone += size;
        return;
    }
    g_assert_cmpuint(size, <=, AGE_PIECES_SHARED);
    sum->shared += size;
}

static void check_large(uint64_t block)
{
    static const AgePiece list[] = {
        { BASE, BASE + (100ULL << 30), 0, 0 },
        { BASE + (40ULL << 30), BASE + (50ULL << 30), 1, 0 },
    };
    g_autoptr(GArray) pieces = g_array_new(false, false, sizeof(AgePiece));
    Sum sum = {};

    g_array_append_vals(pieces, list, 2);
    age_pieces_foreach(pieces, block, add_up, &sum);
    g_assert_cmpuint(sum.alone, ==, 90ULL << 30);
    g_assert_cmpuint(sum.shared, ==, 10ULL << 30);
    g_assert_cmpuint(sum.calls, ==, 12);
}

static void test_large(void)
{
    check_large(0);
    check_large(2ULL << 20);
    check_large(1ULL << 30);
}

/* The last block of all: its end is not a number of 64 bits. */
static void test_last(void)
{
    static const AgePiece list[] = {
        { -3 * AGE_PAGE_SIZE, -AGE_PAGE_SIZE, 0, 0 },
        { -2 * AGE_PAGE_SIZE, -AGE_PAGE_SIZE, 1, 0 },
    };
    g_autoptr(GArray) pieces = g_array_new(false, false, sizeof(AgePiece));
    Sum sum = {};

    g_array_append_vals(pieces, list, 2);
    g_assert_cmpuint(age_pieces_window(pieces, AGE_PAGE_SIZE, 0,
                                       AGE_PAGE_SIZE), ==, -2 * AGE_PAGE_SIZE /
                     AGE_PAGE_SIZE);
    g_array_set_size(pieces, 0);
    g_array_append_vals(pieces, list, 2);
    g_assert_cmpuint(age_pieces_window(pieces, 1ULL << 30, 0, 64ULL << 30), ==,
                     0);
    age_pieces_foreach(pieces, 1ULL << 30, add_up, &sum);
    g_assert_cmpuint(sum.calls, ==, 1);
    g_assert_cmpuint(sum.shared, ==, 2 * AGE_PAGE_SIZE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/age/pieces/random", test_random);
    g_test_add_func("/age/pieces/windows", test_windows);
    g_test_add_func("/age/pieces/large", test_large);
    g_test_add_func("/age/pieces/last", test_last);
    return g_test_run();
}
