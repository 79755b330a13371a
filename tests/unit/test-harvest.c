/*
 * Harvest: the contract, against a loop over a flat array of pages
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "accel/age/pt/harvest.h"
#include "pt-util.h"

#define PAGE        4096ULL
#define BLOCK       0x200000ULL
#define GIB         0x40000000ULL

/* Memory is mapped in these 16 MiB, half of them beyond 2 GiB. */
#define WINDOW      ((2 * GIB - 4 * BLOCK) / PAGE)
#define REGIONS     8u
#define PAGES       (REGIONS * 512)

/* Ranges may be anywhere in this, but must be below 2^32. */
#define MAX_GFN     (4 * GIB / PAGE)

/**
 * Model: what the table should hold
 *
 * @leaf: for each page of the window the first page of its leaf, which is
 *     the page itself or that of a block; -1 if there is none
 * @young: for the first page of each leaf
 * @set, @cleared: what was set and cleared since the beginning
 */
typedef struct Model {
    AgePageTable pt;
    int leaf[PAGES];
    bool young[PAGES];
    uint64_t set;
    uint64_t cleared;
} Model;

/**
 * Request: a harvest, with the expected outcome
 *
 * @start, @end: frames
 * @h: what is passed; bitmaps have exactly as many words as they need
 * @want: what @h.young should be afterwards
 * @any, @cleared, @skipped: what else should be in @h
 * @tables: the accessed flag that each table entry should have, in the order
 *     of a visit
 * @reached: for the visit: by height, is the harvest in this entry?
 */
typedef struct Request {
    uint64_t start;
    uint64_t end;
    AgeHarvest h;
    unsigned long *want;
    bool any;
    uint64_t cleared;
    uint64_t skipped;
    GByteArray *tables;
    bool reached[AGE_MAX_HEIGHT + 2];
    const AgePageTable *pt;
} Request;

static bool get_bit(const unsigned long *map, uint64_t bit)
{
    return (map[bit / 64] >> (bit % 64)) & 1;
}

static bool selected(const Request *r, uint64_t gfn)
{
    if (!r->h.select) {
        return !r->h.test_only;
    }
    return get_bit(r->h.select, r->h.lsb_gfn - gfn);
}

/* Fill the table */

static void add_leaf(Model *m, unsigned page, int height, bool young)
{
    uint64_t gpa = (WINDOW + page) * PAGE;

    g_assert_cmphex(map_gpa(&m->pt, gpa, height), !=, 0);
    for (unsigned i = 0; i < (height ? 512 : 1); i++) {
        m->leaf[page + i] = page;
    }
    m->young[page] = young;
    if (young) {
        m->set += touch_gpa(&m->pt, gpa, false).accessed;
    }
}

static void fill_region(Model *m, unsigned first)
{
    static const unsigned percent[] = { 0, 1, 20, 50, 99, 100 };
    unsigned mapped = percent[rnd_below(G_N_ELEMENTS(percent))];
    unsigned young = percent[rnd_below(G_N_ELEMENTS(percent))];

    if (!rnd_below(4)) {
        add_leaf(m, first, 1, rnd_below(2));
        return;
    }
    for (unsigned i = 0; i < 512; i++) {
        if (rnd_below(100) < mapped) {
            add_leaf(m, first + i, 0, rnd_below(100) < young);
        }
    }
}

static void model_init(Model *m, const Shape *shape)
{
    shape_init(&m->pt, shape);
    m->set = m->cleared = 0;
    for (unsigned i = 0; i < PAGES; i++) {
        m->leaf[i] = -1;
        m->young[i] = false;
    }
    for (unsigned i = 0; i < REGIONS; i++) {
        fill_region(m, i * 512);
    }
}

/* Walkers come by again. */
static void model_touch(Model *m)
{
    for (unsigned i = 0; i < 200; i++) {
        unsigned page = rnd_below(PAGES);
        int leaf = m->leaf[page];

        if (leaf >= 0) {
            m->young[leaf] = true;
            m->set += touch_gpa(&m->pt, (WINDOW + page) * PAGE,
                                rnd_below(2)).accessed;
        }
    }
}

/* Make up a request */

static void random_range(Request *r)
{
    switch (rnd_below(8)) {
    case 0: /* a single page */
        r->start = WINDOW + rnd_below(PAGES);
        r->end = r->start + 1;
        break;
    case 1: /* all of some tables */
        r->start = WINDOW + rnd_below(REGIONS) * 512;
        r->end = r->start + (1 + rnd_below(REGIONS)) * 512;
        break;
    case 2: /* all of some tables of tables */
        if (rnd_below(4) == 0) {
            r->start = rnd_below(3) * (GIB / PAGE);
            r->end = r->start + (1 + rnd_below(2)) * (GIB / PAGE);
            break;
        }
        /* fall through */
    case 3: /* within a word or two */
        r->start = WINDOW + rnd_below(PAGES);
        r->end = r->start + 1 + rnd_below(130);
        break;
    default:
        r->start = WINDOW - 100 + rnd_below(PAGES + 100);
        r->end = r->start + 1 + rnd_below(PAGES);
    }
    r->end = MIN(r->end, MAX_GFN);
}

static unsigned long *random_map(uint64_t words)
{
    unsigned long *map = g_new(unsigned long, words);

    for (uint64_t i = 0; i < words; i++) {
        uint64_t high = (uint32_t)g_test_rand_int();

        map[i] = (high << 32) | (uint32_t)g_test_rand_int();
    }
    return map;
}

static unsigned long *random_select(uint64_t bits)
{
    uint64_t words = (bits + 63) / 64;
    unsigned long *map = random_map(words);
    unsigned what = rnd_below(6);

    if (what == 0) {
        g_free(map);
        return NULL;
    }
    if (what <= 3) {
        memset(map, what == 1 ? 0 : 0xff, words * 8);
    }
    if (what == 3) {
        uint64_t bit = rnd_below(bits);

        map[bit / 64] ^= 1UL << (bit % 64);
    }
    return map;
}

/* The range need not end at lsb_gfn: the bitmap may be of a larger one. */
static void request_init(Request *r, const AgePageTable *pt)
{
    uint64_t bits;

    *r = (Request) { .pt = pt, .tables = g_byte_array_new() };
    random_range(r);
    r->h.lsb_gfn = r->end - 1 + rnd_below(2) * rnd_below(200);
    bits = r->h.lsb_gfn - r->start + 1;
    r->h.select = random_select(bits);
    r->h.test_only = rnd_below(2);
    r->h.young = random_map((bits + 63) / 64);
    r->want = g_memdup2(r->h.young, (bits + 63) / 64 * 8);
}

static void request_free(Request *r)
{
    g_free((void *)r->h.select);
    g_free(r->h.young);
    g_free(r->want);
    g_byte_array_unref(r->tables);
}

/* Work out what should come of it, page by page */

static void expect_pages(Model *m, Request *r)
{
    g_autofree bool *clear = g_new0(bool, PAGES);

    for (uint64_t gfn = r->start; gfn < r->end; gfn++) {
        uint64_t bit = r->h.lsb_gfn - gfn;
        int leaf = gfn >= WINDOW && gfn < WINDOW + PAGES ?
                   m->leaf[gfn - WINDOW] : -1;

        if (leaf >= 0 && m->young[leaf]) {
            r->want[bit / 64] |= 1UL << (bit % 64);
            r->any = true;
            clear[leaf] |= selected(r, gfn);
        }
    }
    for (unsigned i = 0; i < PAGES; i++) {
        if (clear[i]) {
            m->young[i] = false;
            r->cleared++;
        }
    }
}

/* Is all from @gfn on, @n pages, in the range and selected? */
static bool asked_to_clear(const Request *r, uint64_t gfn, uint64_t n)
{
    if (gfn < r->start || gfn + n > r->end) {
        return false;
    }
    for (uint64_t i = 0; i < n; i++) {
        if (!selected(r, gfn + i)) {
            return false;
        }
    }
    return true;
}

/*
 * Does the word of this table say that nothing in it is young?  Whether it may
 * say so is what the bitmaps show.
 */
static bool says_none(const AgeDecoded *d)
{
    const uint64_t *table = (uint64_t *)(uintptr_t)d->address;

    return age_summary_is_none(age_summary_of(table, false));
}

static void expect_table(uint64_t *ptr, int height, uint64_t gpa,
                         const AgeDecoded *d, void *opaque)
{
    Request *r = opaque;
    uint64_t gfn = gpa / PAGE, n = 1ULL << (9 * height);
    bool top = height == r->pt->geo.root_height;
    uint8_t accessed = d->accessed;
    bool met;

    if (d->leaf) {
        return;
    }
    met = gfn < r->end && gfn + n > r->start &&
          (top || r->reached[height + 1]);
    r->reached[height] = met;
    if (met) {
        bool haft = r->pt->fmt->table_accessed;

        if (haft && accessed && asked_to_clear(r, gfn, n)) {
            accessed = false;
        } else if ((haft && !accessed) || says_none(d)) {
            r->reached[height] = false;
            r->skipped++;
        }
    }
    g_byte_array_append(r->tables, &accessed, 1);
}

static void check_table(uint64_t *ptr, int height, uint64_t gpa,
                        const AgeDecoded *d, void *opaque)
{
    Request *r = opaque;

    if (!d->leaf) {
        g_assert_cmpint(d->accessed, ==, r->tables->data[0]);
        g_byte_array_remove_index(r->tables, 0);
    }
}

/* Look at it */

static void check_young(Model *m)
{
    for (unsigned i = 0; i < PAGES; i++) {
        AgePath path;
        uint64_t entry;

        if (m->leaf[i] == (int)i) {
            entry = age_pt_walk(&m->pt, (WINDOW + i) * PAGE, &path);
            g_assert_cmpint((entry & m->pt.fmt->accessed) != 0, ==,
                            m->young[i]);
        }
    }
}

static void check_request(Model *m)
{
    uint64_t words;
    Request r;

    request_init(&r, &m->pt);
    words = (r.h.lsb_gfn - r.start) / 64 + 1;
    expect_pages(m, &r);
    tree_visit(&m->pt, expect_table, &r);

    reader_harvest(&m->pt, r.start * PAGE, r.end * PAGE, &r.h);
    g_assert_cmpmem(r.h.young, words * 8, r.want, words * 8);
    g_assert_cmpint(r.h.any, ==, r.any);
    g_assert_cmpuint(r.h.cleared, ==, r.cleared);
    g_assert_cmpuint(r.h.skipped, ==, r.skipped);
    tree_visit(&m->pt, check_table, &r);
    check_young(m);
    check_summaries(&m->pt);
    m->cleared += r.cleared;

    /* Once more: nothing is left of what was selected. */
    memset(r.h.young, 0, words * 8);
    reader_harvest(&m->pt, r.start * PAGE, r.end * PAGE, &r.h);
    g_assert_cmpuint(r.h.cleared, ==, r.cleared);
    for (uint64_t gfn = r.start; gfn < r.end; gfn++) {
        g_assert_false(get_bit(r.h.young, r.h.lsb_gfn - gfn) &&
                       selected(&r, gfn));
    }
    request_free(&r);
}

static void check_random_table(const Shape *shape)
{
    Model *m = g_new(Model, 1);
    TreeCount c;

    model_init(m, shape);
    for (unsigned i = 0; i < 25; i++) {
        check_request(m);
        if (rnd_below(2)) {
            model_touch(m);
        }
    }
    /* Nothing lost, nothing made up */
    c = tree_count(&m->pt);
    g_assert_cmpuint(m->set, ==, m->cleared + c.young);
    shape_free(&m->pt);
    g_assert_cmpuint(m->pt.zapped, ==, c.young);
    g_free(m);
}

static void test_random(const Shape *shape)
{
    for (unsigned i = 0; i < 12; i++) {
        check_random_table(shape);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    shape_add_tests("/age/harvest/random", test_random);
    return g_test_run();
}
