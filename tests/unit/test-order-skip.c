/*
 * The order of things: the words that tell of tables in which nothing is young
 *
 * As in test-order.c, each interleaving is played, and where a barrier is left
 * out, or the version of a word, some must fail.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "order-table.h"

/**
 * Skip: a table, and how it is played with
 *
 * @s: the table.  Its format has no accessed flags in tables, or dirty flags
 *     are harvested: there is nothing but the words
 * @clear: the harvesters make the page old, rather than test it
 * @none: at first all words say that nothing is young
 * @no_version: the words have no version
 */
typedef struct Skip {
    OrderTable s;
    bool clear;
    bool none;
    bool no_version;
} Skip;

/* Watch the leaf, and the words of the tables above it. */
static void setup_words(void *opaque)
{
    Skip *k = opaque;
    OrderTable *s = &k->s;

    order_table_init(s);
    weak_watch(s->path.entry[s->leaf], 8);
    for (int h = s->leaf; h < s->pt.geo.root_height; h++) {
        uint64_t *word = age_summary_of(s->path.entry[h], s->dirty);

        *word = k->none ? AGE_SUMMARY_NONE : AGE_SUMMARY_MAYBE;
        weak_watch_bits(word, 8, k->no_version ? AGE_SUMMARY_STATE_MASK
                                               : ~0ULL);
    }
}

/* A walk and what is set by it; the block may be split meanwhile. */
static void walk(Skip *k)
{
    OrderTable *s = &k->s;
    AgePath path = s->path;
    AgeMarked m = age_pt_mark(&s->pt, &path, s->dirty);

    while (m.result == AGE_MARK_AGAIN) {
        age_pt_walk(&s->pt, 0, &path);
        m = age_pt_mark(&s->pt, &path, s->dirty);
    }
    s->set += s->dirty ? m.dirty : m.accessed;
}

/*
 * Whoever walked must find the page, unless it was reported: no matter what
 * others have not done yet.
 */
static void walk_and_find(Skip *k)
{
    walk(k);
    k->s.found = order_table_harvest(&k->s, false);
}

/* Is the page young, or dirty, with a word above it that says no? */
static bool is_hidden(OrderTable *s)
{
    AgePath path;
    uint64_t leaf = age_pt_walk(&s->pt, 0, &path);

    if (!(leaf & age_leaf_flag(s->pt.fmt, s->dirty))) {
        return false;
    }
    for (int h = path.height; h < s->pt.geo.root_height; h++) {
        if (age_summary_is_none(age_summary_of(path.entry[h], s->dirty))) {
            return true;
        }
    }
    return false;
}

static bool check_words(void *opaque)
{
    Skip *k = opaque;
    OrderTable *s = &k->s;
    TreeCount c = tree_count(&s->pt);
    bool ok = !is_hidden(s) && (s->found || s->cleared);

    ok = ok && s->set + s->pt.inherited ==
               s->cleared + s->pt.zapped + (s->dirty ? c.dirty : c.young);
    rcu_barrier();
    age_pt_destroy(&s->pt);
    return ok;
}

/* Play it from words of both kinds. */
static bool explore(Skip *k, WeakScene *scene)
{
    unsigned total = 0, runs;
    bool ok = true;

    scene->setup = setup_words;
    scene->check = check_words;
    scene->opaque = k;
    for (unsigned i = 0; ok && i < 2; i++) {
        k->none = i;
        ok = weak_explore(scene, &runs);
        total += runs;
    }
    g_test_message("%u runs, %s", total, ok ? "all right" : "one is wrong");
    return ok;
}

static Skip skip_accessed(unsigned gpa_bits, bool clear)
{
    return (Skip) {
        .s = { .fmt = &age_format_stage2_no_haft, .gpa_bits = gpa_bits },
        .clear = clear,
    };
}

static Skip skip_dirty(unsigned gpa_bits, bool clear)
{
    return (Skip) {
        .s = { .gpa_bits = gpa_bits, .dirty = true },
        .clear = clear,
    };
}

/*
 * How often players may be stopped.  Where there are more places, or more
 * players, or more is done, one time less: each takes ten times as long.
 */
static unsigned stops(const Skip *k, unsigned players)
{
    return 6 - players - (k->s.gpa_bits > 30 ? players - 1 : 0) - k->clear;
}

/* A walker and a harvester */

static void play_walk_harvest(unsigned self, void *opaque)
{
    Skip *k = opaque;

    if (self == 0) {
        walk_and_find(k);
    } else {
        order_table_harvest(&k->s, k->clear);
    }
}

static bool walk_harvest(Skip k, unsigned no_mb)
{
    WeakScene scene = {
        .threads = 2,
        .preemptions = stops(&k, 2),
        .no_mb = no_mb,
        .play = play_walk_harvest,
    };

    return explore(&k, &scene);
}

static void test_walk_harvest(void)
{
    for (unsigned clear = 0; clear < 2; clear++) {
        g_assert_true(walk_harvest(skip_accessed(30, clear), 0));
        g_assert_true(walk_harvest(skip_accessed(39, clear), 0));
        g_assert_true(walk_harvest(skip_dirty(30, clear), 0));
        g_assert_true(walk_harvest(skip_dirty(39, clear), 0));
        /* Without the walker's barriers, and without the harvester's */
        g_assert_false(walk_harvest(skip_accessed(30, clear), 1 << 0));
        g_assert_false(walk_harvest(skip_accessed(30, clear), 1 << 1));
        g_assert_false(walk_harvest(skip_dirty(39, clear), 1 << 0));
        g_assert_false(walk_harvest(skip_dirty(39, clear), 1 << 1));
    }
}

/*
 * Two walkers and a harvester.  The second walker may find the leaf young
 * before the first has come to the words.
 */
static void play_second_walker(unsigned self, void *opaque)
{
    Skip *k = opaque;

    if (self == 0) {
        walk(k);
    } else if (self == 1) {
        walk_and_find(k);
    } else {
        order_table_harvest(&k->s, k->clear);
    }
}

/*
 * The second walker only loads.  If it finds the leaf dirty, its TLB lets its
 * stores go by without a walk: what it then stores must be found by whoever
 * looks, though the first walker has not come to the words.
 */
static void load_and_store(Skip *k)
{
    OrderTable *s = &k->s;
    uint64_t leaf = qatomic_read(s->path.entry[s->leaf]);

    if (!age_pt_is_marked(&s->pt, &s->path, leaf, false)) {
        leaf = age_pt_mark(&s->pt, &s->path, false).leaf;
    }
    k->s.found = age_leaf_is_clean(s->pt.fmt, leaf) ||
                 order_table_harvest(s, false);
}

static void play_load(unsigned self, void *opaque)
{
    Skip *k = opaque;

    if (self == 0) {
        walk(k);
    } else if (self == 1) {
        load_and_store(k);
    } else {
        order_table_harvest(&k->s, k->clear);
    }
}

static void test_load(void)
{
    for (unsigned clear = 0; clear < 2; clear++) {
        Skip k = skip_dirty(30, clear);
        WeakScene scene = {
            .threads = 3,
            .preemptions = stops(&k, 3),
            .play = play_load,
        };

        g_assert_true(explore(&k, &scene));
    }
}

static bool second_walker(Skip k, unsigned no_mb, unsigned no_rmb)
{
    WeakScene scene = {
        .threads = 3,
        .preemptions = stops(&k, 3),
        .no_mb = no_mb,
        .no_rmb = no_rmb,
        .play = play_second_walker,
    };

    return explore(&k, &scene);
}

static void test_second_walker(void)
{
    for (unsigned clear = 0; clear < 2; clear++) {
        g_assert_true(second_walker(skip_accessed(30, clear), 0, 0));
        g_assert_true(second_walker(skip_dirty(30, clear), 0, 0));
    }
    g_assert_true(second_walker(skip_accessed(39, false), 0, 0));
    /* Without the harvester's barrier, and without the second walker's */
    g_assert_false(second_walker(skip_accessed(30, false), 1 << 2, 0));
    g_assert_false(second_walker(skip_accessed(30, false), 0, 1 << 1));
    g_assert_false(second_walker(skip_dirty(30, false), 0, 1 << 1));
}

/*
 * A walker and two harvesters.  Without versions, one of these would take the
 * other's word for its own, though the walker came by in between.
 */
static void play_two_harvesters(unsigned self, void *opaque)
{
    Skip *k = opaque;

    if (self == 0) {
        walk_and_find(k);
    } else {
        order_table_harvest(&k->s, k->clear);
    }
}

static bool two_harvesters(Skip k, bool no_version)
{
    WeakScene scene = {
        .threads = 3,
        .preemptions = k.clear ? 1 : 2,
        .play = play_two_harvesters,
    };

    k.no_version = no_version;
    return explore(&k, &scene);
}

static void test_two_harvesters(void)
{
    for (unsigned clear = 0; clear < 2; clear++) {
        g_assert_true(two_harvesters(skip_accessed(30, clear), false));
        g_assert_true(two_harvesters(skip_dirty(30, clear), false));
    }
    g_assert_false(two_harvesters(skip_accessed(30, false), true));
    g_assert_false(two_harvesters(skip_dirty(30, false), true));
}

/* A block is split under a walker and a harvester. */
static void play_split(unsigned self, void *opaque)
{
    Skip *k = opaque;

    if (self == 0) {
        walk_and_find(k);
    } else if (self == 1) {
        age_pt_zap(&k->s.pt, BLOCK - PAGE, BLOCK);
    } else {
        order_table_harvest(&k->s, k->clear);
    }
}

static void test_split(void)
{
    WeakScene scene = {
        .threads = 3,
        .preemptions = 2,
        .play = play_split,
    };

    for (unsigned clear = 0; clear < 2; clear++) {
        Skip k = skip_accessed(39, clear);

        k.s.leaf = 1;
        g_assert_true(explore(&k, &scene));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/age/order-skip/walk-harvest", test_walk_harvest);
    g_test_add_func("/age/order-skip/second-walker", test_second_walker);
    g_test_add_func("/age/order-skip/load", test_load);
    g_test_add_func("/age/order-skip/two-harvesters", test_two_harvesters);
    g_test_add_func("/age/order-skip/split", test_split);
    return g_test_run();
}
