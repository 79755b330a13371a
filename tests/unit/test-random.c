/*
 * Page table: random operations against a naive model
 *
 * The model is a hash table from the first address of each leaf to what is
 * known of it.  Zap goes through all of it and splits one leaf at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "pt-util.h"

#define PAGE        4096ULL
#define BLOCK       0x200000ULL
#define GIB         0x40000000ULL

/* All happens in these 24 MiB, 4 of them on the far side of 2 GiB. */
#define WINDOW      (2 * GIB - 10 * BLOCK)
#define WINDOW_END  (2 * GIB + 2 * BLOCK)
#define WINDOW_PAGES    ((WINDOW_END - WINDOW) / PAGE)
#define WINDOW_WORDS    (WINDOW_PAGES / 64)

typedef struct ModelLeaf {
    uint64_t gpa;
    uint64_t frame;
    int height;
    bool writable;
    bool accessed;
    bool dirty;
} ModelLeaf;

typedef struct Model {
    AgePageTable pt;
    GHashTable *leaves;
    uint64_t set;
    uint64_t cleared;
    uint64_t zapped;
    uint64_t inherited;
    uint64_t skipped;
} Model;

static uint64_t leaf_size(int height)
{
    return 1ULL << (12 + 9 * height);
}

static ModelLeaf *model_find(Model *m, uint64_t gpa)
{
    for (int h = 0; h <= 2; h++) {
        uint64_t base = gpa & -leaf_size(h);
        ModelLeaf *leaf = g_hash_table_lookup(m->leaves, &base);

        if (leaf && leaf->height >= h) {
            return leaf;
        }
    }
    return NULL;
}

static void model_add(Model *m, ModelLeaf leaf)
{
    ModelLeaf *copy = g_new(ModelLeaf, 1);

    *copy = leaf;
    g_assert_true(g_hash_table_insert(m->leaves, &copy->gpa, copy));
}

/* Does [@start, @end) cut @leaf, without covering all of it? */
static bool cuts(const ModelLeaf *leaf, uint64_t start, uint64_t end)
{
    uint64_t leaf_end = leaf->gpa + leaf_size(leaf->height);

    return leaf->gpa < end && leaf_end > start &&
           (leaf->gpa < start || leaf_end > end);
}

static void model_split(Model *m, ModelLeaf leaf)
{
    uint64_t size = leaf_size(leaf.height - 1);

    g_hash_table_remove(m->leaves, &leaf.gpa);
    leaf.height--;
    for (unsigned i = 0; i < 512; i++) {
        model_add(m, leaf);
        leaf.gpa += size;
        leaf.frame += size;
    }
    m->inherited += leaf.accessed ? 511 : 0;
}

/* Find a leaf that [@start, @end) cuts; there are two at most. */
static bool model_find_cut(Model *m, uint64_t start, uint64_t end,
                           ModelLeaf *found)
{
    const uint64_t probes[] = { start, end - PAGE };

    for (unsigned i = 0; i < G_N_ELEMENTS(probes); i++) {
        ModelLeaf *leaf = model_find(m, probes[i]);

        if (leaf && cuts(leaf, start, end)) {
            *found = *leaf;
            return true;
        }
    }
    return false;
}

static void model_zap(Model *m, uint64_t start, uint64_t end)
{
    GHashTableIter iter;
    ModelLeaf found;
    void *value;

    while (model_find_cut(m, start, end, &found)) {
        model_split(m, found);
    }
    g_hash_table_iter_init(&iter, m->leaves);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        ModelLeaf *leaf = value;

        if (leaf->gpa >= start && leaf->gpa < end) {
            m->zapped += leaf->accessed;
            g_hash_table_iter_remove(&iter);
        }
    }
}

static uint64_t random_gpa(void)
{
    return WINDOW + rnd_below((WINDOW_END - WINDOW) / PAGE) * PAGE;
}

static void do_map(Model *m)
{
    uint64_t gpa = random_gpa();
    int height = rnd_below(4) ? 0 : rnd_below(m->pt.leaf_height + 1);
    bool writable = rnd_below(3);
    uint64_t base = gpa & -leaf_size(height);
    /* A frame that nobody else has, so that a mix-up is seen */
    uint64_t frame = (1 + rnd_below(1000)) << 36 | base;
    uint64_t leaf = age_make_leaf(m->pt.fmt, frame, height,
                                  writable ? AGE_LEAF_RW : AGE_LEAF_RO);
    ModelLeaf *old = model_find(m, gpa);
    AgePath path;
    uint64_t before = age_pt_walk(&m->pt, gpa, &path);
    /* Where a table stands already, a block can't. */
    int want = MIN(height, path.height);
    uint64_t entry = reader_map(&m->pt, gpa, leaf, height, &path);

    g_assert_cmpint(before != 0, ==, old != NULL);
    if (old) {
        g_assert_cmphex(entry, ==, before);
        return;
    }
    g_assert_cmphex(entry, !=, 0);
    g_assert_cmpint(path.height, ==, want);
    base = gpa & -leaf_size(want);
    model_add(m, (ModelLeaf) {
        .gpa = base,
        .frame = frame + (base & (leaf_size(height) - 1)),
        .height = want,
        .writable = writable,
    });
}

static void do_mark(Model *m)
{
    uint64_t gpa = random_gpa();
    ModelLeaf *leaf = model_find(m, gpa);
    bool write = leaf && leaf->writable && rnd_below(2);
    AgeMarked marked;

    if (!leaf) {
        return;
    }
    marked = touch_gpa(&m->pt, gpa, write);
    g_assert_cmpint(marked.result, ==, AGE_MARK_DONE);
    g_assert_cmpint(marked.accessed, ==, !leaf->accessed);
    g_assert_cmpint(marked.dirty, ==,
                    write && !leaf->dirty && m->pt.fmt->dirty);
    m->set += !leaf->accessed;
    leaf->accessed = true;
    leaf->dirty |= write;
}

static void do_zap(Model *m)
{
    static const uint64_t sizes[] = { 1, 7, 100, 512, 1000, 4000 };
    uint64_t pages = sizes[rnd_below(G_N_ELEMENTS(sizes))];
    uint64_t start = random_gpa();
    uint64_t end = start + (1 + rnd_below(pages)) * PAGE;
    uint64_t seq = age_pt_read_seq(&m->pt);

    if (!rnd_below(3)) {
        start &= -BLOCK;
        end = (end + BLOCK - 1) & -BLOCK;
    }
    if (!rnd_below(60)) {
        start = rnd_below(2) * GIB;
        end = start + (1 + rnd_below(2)) * GIB;
    }
    age_pt_zap(&m->pt, start, end);
    model_zap(m, start, end);
    g_assert_cmpuint(age_pt_read_seq(&m->pt), !=, seq);
}

/**
 * Request: a harvest, and what the model says of it
 *
 * @start, @end: frames
 * @h: what is passed
 * @select: its bitmap, if it has one, and @young its answer
 * @want: what the answer should be
 * @cleared: leaves that should turn old, or clean
 */
typedef struct Request {
    uint64_t start;
    uint64_t end;
    AgeHarvest h;
    unsigned long select[WINDOW_WORDS];
    unsigned long young[WINDOW_WORDS];
    unsigned long want[WINDOW_WORDS];
    uint64_t cleared;
} Request;

/* Ranges are as often a whole table as a piece of one. */
static void request_init(Request *r)
{
    uint64_t pages = rnd_below(2) ? 512 : 1 + rnd_below(WINDOW_PAGES);
    unsigned chosen = rnd_below(40);

    *r = (Request) {
        .start = random_gpa() / PAGE,
        .h = { .dirty = rnd_below(2), .test_only = rnd_below(3) == 0 },
    };
    r->start = pages == 512 ? r->start & -512ULL : r->start;
    r->end = MIN(r->start + pages, WINDOW_END / PAGE);
    r->h.lsb_gfn = r->end - 1;
    r->h.young = r->young;
    if (rnd_below(2)) {
        r->h.select = r->select;
        for (unsigned i = 0; i < chosen; i++) {
            uint64_t bit = rnd_below(r->end - r->start);

            r->select[bit / 64] |= 1UL << (bit % 64);
        }
    }
}

static bool request_selects(const Request *r, uint64_t bit)
{
    return r->h.select ? (r->select[bit / 64] >> (bit % 64)) & 1
                       : !r->h.test_only;
}

/* Leaves are cleared once all pages were looked at: a block has many. */
static void model_clear(Model *m, Request *r, ModelLeaf *leaf)
{
    r->cleared++;
    if (r->h.dirty) {
        leaf->dirty = false;
        return;
    }
    m->cleared++;
    leaf->accessed = false;
    /* Without hardware flags, aging takes W away. */
    leaf->dirty &= !m->pt.fmt->track;
}

static void model_harvest(Model *m, Request *r)
{
    g_autoptr(GHashTable) clear = g_hash_table_new(NULL, NULL);
    GHashTableIter iter;
    void *leaf;

    for (uint64_t gfn = r->start; gfn < r->end; gfn++) {
        uint64_t bit = r->h.lsb_gfn - gfn;
        ModelLeaf *at = model_find(m, gfn * PAGE);

        if (!at || !(r->h.dirty ? at->dirty && m->pt.fmt->dirty
                                : at->accessed)) {
            continue;
        }
        r->want[bit / 64] |= 1UL << (bit % 64);
        if (request_selects(r, bit)) {
            g_hash_table_add(clear, at);
        }
    }
    g_hash_table_iter_init(&iter, clear);
    while (g_hash_table_iter_next(&iter, &leaf, NULL)) {
        model_clear(m, r, leaf);
    }
}

/* A table that was passed over, though something in it is young, is seen. */
static void do_harvest(Model *m)
{
    g_autofree Request *r = g_new(Request, 1);

    request_init(r);
    model_harvest(m, r);
    reader_harvest(&m->pt, r->start * PAGE, r->end * PAGE, &r->h);
    g_assert_cmpmem(r->young, sizeof(r->young), r->want, sizeof(r->want));
    g_assert_cmpuint(r->h.cleared, ==, r->cleared);
    m->skipped += r->h.skipped;
}

static void check_leaf(uint64_t *ptr, int height, uint64_t gpa,
                       const AgeDecoded *d, void *opaque)
{
    Model *m = opaque;
    ModelLeaf *leaf;

    if (!d->leaf) {
        return;
    }
    leaf = g_hash_table_lookup(m->leaves, &gpa);
    g_assert_nonnull(leaf);
    g_assert_cmpint(height, ==, leaf->height);
    g_assert_cmphex(d->address, ==, leaf->frame);
    /* Without hardware flags, W may only come with the first store. */
    g_assert_cmpint(d->write, ==,
                    m->pt.fmt->track ? leaf->dirty : leaf->writable);
    g_assert_cmpint(d->accessed, ==, leaf->accessed);
    g_assert_cmpint(d->dirty, ==, leaf->dirty && m->pt.fmt->dirty);
}

/* The tree and the model hold the same leaves, and nothing got lost. */
static void check_all(Model *m)
{
    TreeCount c = tree_count(&m->pt);

    tree_visit(&m->pt, check_leaf, m);
    g_assert_cmpuint(c.leaves, ==, g_hash_table_size(m->leaves));
    g_assert_cmpuint(m->pt.inherited, ==, m->inherited);
    g_assert_cmpuint(m->set + m->inherited, ==,
                     c.young + m->zapped + m->cleared);
    check_summaries(&m->pt);
}

static void test_random(const Shape *shape)
{
    Model m = {
        .leaves = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL,
                                        g_free),
    };

    shape_init(&m.pt, shape);
    for (unsigned i = 0; i < 3000; i++) {
        unsigned what = rnd_below(100);

        if (what < 45) {
            do_map(&m);
        } else if (what < 75) {
            do_mark(&m);
        } else if (what < 92) {
            do_harvest(&m);
        } else {
            do_zap(&m);
        }
        if (i % 100 == 99) {
            check_all(&m);
        }
    }
    /* Else the harvests had nothing to be wrong about. */
    g_assert_cmpuint(m.skipped, >, 0);
    settle();
    g_assert_cmpuint(m.pt.zapped, ==, m.zapped);
    check_tables(&m.pt);
    shape_free(&m.pt);
    g_hash_table_unref(m.leaves);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    reader_register();
    shape_add_tests("/age/random", test_random);
    ret = g_test_run();
    reader_unregister();
    return ret;
}
