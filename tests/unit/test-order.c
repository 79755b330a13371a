/*
 * The order of things, in every interleaving and on every processor that
 * weak-memory.h can think of
 *
 * Each scene is played once more without the barriers, where it must fail:
 * that shows that they are needed, and that the scene would notice.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/rcu.h"
#include "harvest.h"
#include "pt-util.h"

#define PAGE        4096ULL
#define BLOCK       0x200000ULL
#define GIB         0x40000000ULL

/* Some set of entries on a path, as bits by height */
typedef unsigned Heights;

/**
 * Stage: a small table, and what the players did to it
 *
 * @gpa_bits: stage 2 with 30 bits has two levels, with 39 bits three
 * @leaf: height of the only leaf
 * @young: which entries on the way are young at first
 * @path: the way to the leaf, as a walker remembers it
 * @set, @cleared: leaves that walkers made young and harvesters old
 * @found: the harvest of a walker that is done saw the page
 * @published: the frame that should be mapped, in the unit of the leaf
 */
typedef struct Stage {
    unsigned gpa_bits;
    int leaf;
    Heights young;
    AgePageTable pt;
    AgePath path;
    unsigned set;
    unsigned cleared;
    bool found;
    uint64_t published;
} Stage;

static unsigned long bitmap[GIB / PAGE / 64];

static void setup(void *opaque)
{
    Stage *s = opaque;
    const AgeFormat *fmt = &age_format_stage2;
    int top;

    s->set = s->cleared = 0;
    s->found = false;
    age_pt_init(&s->pt, fmt, s->gpa_bits, s->leaf);
    map_gpa(&s->pt, 0, s->leaf);
    age_pt_walk(&s->pt, 0, &s->path);
    top = s->pt.geo.root_height;
    for (int h = s->leaf; h <= top; h++) {
        if (s->young & (1u << h)) {
            *s->path.entry[h] |= fmt->accessed;
            s->set += h == s->leaf;
        }
        weak_watch(s->path.entry[h], 8);
    }
}

static void harvest_all(Stage *s, bool clear)
{
    static const unsigned long no_bits[GIB / PAGE / 64];
    uint64_t size = age_height_size(s->pt.geo.root_height);
    AgeHarvest h = {
        .lsb_gfn = size / PAGE - 1,
        .select = clear ? NULL : no_bits,
        .young = bitmap,
    };

    age_pt_harvest(&s->pt, 0, size, &h);
    s->cleared += h.cleared;
}

/* The page at 0 is young; if so, are all of its parents? */
static bool page_young(Stage *s, bool *parents_young)
{
    uint64_t flag = s->pt.fmt->accessed;
    bool young;
    AgePath path;

    *parents_young = true;
    young = age_pt_walk(&s->pt, 0, &path) & flag;
    for (int h = path.height + 1; h <= s->pt.geo.root_height; h++) {
        *parents_young &= (*path.entry[h] & flag) != 0;
    }
    return young;
}

/* All that was set went one way, and none of it is hidden. */
static bool check(void *opaque)
{
    Stage *s = opaque;
    bool parents_young, ok;
    TreeCount c;

    rcu_barrier();
    ok = !page_young(s, &parents_young) || parents_young;
    c = tree_count(&s->pt);
    ok = ok && s->set + s->pt.inherited ==
               s->cleared + s->pt.zapped + c.young;
    age_pt_destroy(&s->pt);
    return ok;
}

/* Play @scene in all ways, from every state that the flags may be in. */
static bool explore(WeakScene *scene, Stage *s, Heights states)
{
    unsigned total = 0, runs;
    bool ok = true;

    scene->setup = scene->setup ? scene->setup : setup;
    scene->check = scene->check ? scene->check : check;
    scene->opaque = s;
    /* Count through the subsets of @states. */
    s->young = 0;
    do {
        ok = weak_explore(scene, &runs);
        total += runs;
        s->young = (s->young - states) & states;
    } while (ok && s->young);
    g_test_message("%u runs, %s", total, ok ? "all right" : "one is wrong");
    return ok;
}

/* A walker and a harvester */

static void play_walk_harvest(unsigned self, void *opaque)
{
    Stage *s = opaque;

    if (self == 0) {
        s->set += age_pt_mark(&s->pt, &s->path, false).accessed;
    } else {
        harvest_all(s, true);
    }
}

static bool walk_harvest(unsigned gpa_bits, unsigned no_mb)
{
    Stage s = { .gpa_bits = gpa_bits };
    WeakScene scene = {
        .threads = 2,
        .preemptions = 5,
        .no_mb = no_mb,
        .play = play_walk_harvest,
    };

    return explore(&scene, &s, gpa_bits == 30 ? 2 : 6);
}

static void test_walk_harvest(void)
{
    g_assert_true(walk_harvest(30, 0));
    g_assert_true(walk_harvest(39, 0));
    /* Without the walker's barriers, and without the harvester's */
    g_assert_false(walk_harvest(30, 1 << 0));
    g_assert_false(walk_harvest(30, 1 << 1));
}

/*
 * Two walkers and a harvester.  The second walker may find the leaf young
 * before the first has come to its parents.  When it is done, the page must
 * be found by whoever looks then, unless it was reported.
 */
static void play_second_walker(unsigned self, void *opaque)
{
    Stage *s = opaque;

    if (self == 2) {
        harvest_all(s, true);
        return;
    }
    s->set += age_pt_mark(&s->pt, &s->path, false).accessed;
    if (self == 1) {
        memset(bitmap, 0, sizeof(bitmap[0]) * 8);
        harvest_all(s, false);
        s->found = bitmap[7] >> 63;
    }
}

static bool check_second_walker(void *opaque)
{
    Stage *s = opaque;

    return check(s) && (s->found || s->cleared);
}

static bool second_walker(unsigned no_mb, unsigned no_rmb)
{
    Stage s = { .gpa_bits = 30 };
    WeakScene scene = {
        .threads = 3,
        .preemptions = 4,
        .no_mb = no_mb,
        .no_rmb = no_rmb,
        .play = play_second_walker,
        .check = check_second_walker,
    };

    return explore(&scene, &s, 2);
}

static void test_second_walker(void)
{
    g_assert_true(second_walker(0, 0));
    /* Without the harvester's barrier, and without the second walker's */
    g_assert_false(second_walker(1 << 2, 0));
    g_assert_false(second_walker(0, 1 << 1));
}

/* A block is split under a walker and a harvester. */
static void play_split(unsigned self, void *opaque)
{
    Stage *s = opaque;
    AgePath path = s->path;
    AgeMarked m;

    if (self == 1) {
        age_pt_zap(&s->pt, BLOCK - PAGE, BLOCK);
        return;
    }
    if (self == 2) {
        harvest_all(s, true);
        return;
    }
    while (!(m = age_pt_mark(&s->pt, &path, false)).present) {
        age_pt_walk(&s->pt, 0, &path);
    }
    s->set += m.accessed;
}

static bool check_split(void *opaque)
{
    Stage *s = opaque;
    bool ignore, young = page_young(s, &ignore);

    return check(s) && (young || s->cleared);
}

static void test_split(void)
{
    Stage s = { .gpa_bits = 39, .leaf = 1 };
    WeakScene scene = {
        .threads = 3,
        .preemptions = 3,
        .play = play_split,
        .check = check_split,
    };

    /* A young leaf has young parents. */
    g_assert_true(explore(&scene, &s, 4));
    g_assert_true(explore(&scene, &s, 6));
}

/*
 * A walker looks up what to map, and maps it, while that changes: twice, as
 * the second change may split what came too late for the first.
 */
static void setup_map(void *opaque)
{
    Stage *s = opaque;
    uint64_t *entry;

    setup(s);
    entry = s->path.entry[s->leaf];
    *entry = 0;
    s->set = 0;
    s->published = 1;
    weak_watch(&s->published, 8);
    weak_watch(&s->pt.seq, 4);
}

/* As map_wanted() does */
static void map_published(Stage *s)
{
    uint64_t stale = 0, entry;
    AgePath path;

    for (;;) {
        unsigned seq = age_pt_read_seq(&s->pt);
        uint64_t frame = qatomic_read(&s->published) *
                         age_height_size(s->leaf);
        uint64_t leaf = age_make_leaf(s->pt.fmt, frame, s->leaf, AGE_LEAF_RW);

        if (stale) {
            age_pt_remap(&s->pt, &path, stale,
                         path.height == s->leaf ? leaf : 0);
        }
        entry = age_pt_map(&s->pt, 0, leaf, s->leaf, &path);
        /* Pairs with the first barrier in age_pt_zap(). */
        smp_mb__after_rmw();
        if (age_pt_read_seq(&s->pt) == seq) {
            return;
        }
        stale = entry;
    }
}

static void play_map(unsigned self, void *opaque)
{
    Stage *s = opaque;

    if (self == 0) {
        map_published(s);
        return;
    }
    qatomic_set(&s->published, 2);
    age_pt_zap(&s->pt, 0, age_height_size(s->leaf));
    qatomic_set(&s->published, 3);
    /* Of a block, only a part changes the second time. */
    age_pt_zap(&s->pt, 0, PAGE);
}

static void check_frame(uint64_t *ptr, int height, uint64_t gpa,
                        const AgeDecoded *d, void *opaque)
{
    Stage *s = opaque;
    uint64_t frame = (d->address - gpa) / age_height_size(s->leaf);

    s->found |= d->leaf && (gpa == 0 ? frame != 3 : frame == 1);
}

/* No leaf is left with a frame that it should not have. */
static bool check_map(void *opaque)
{
    Stage *s = opaque;

    tree_visit(&s->pt, check_frame, s);
    return check(s) && !s->found;
}

static bool map_zap(int leaf, unsigned no_mb)
{
    Stage s = { .gpa_bits = 30, .leaf = leaf };
    WeakScene scene = {
        .threads = 2,
        .preemptions = 3,
        .no_mb = no_mb,
        .setup = setup_map,
        .play = play_map,
        .check = check_map,
    };

    return explore(&scene, &s, 0);
}

static void test_map_zap(void)
{
    g_assert_true(map_zap(0, 0));
    g_assert_true(map_zap(1, 0));
    /* Without the walker's barrier, and without the zapper's */
    g_assert_false(map_zap(0, 1 << 0));
    g_assert_false(map_zap(0, 1 << 1));
}

/*
 * A walker remembers the way to a table from one critical section to the
 * next.  If the table may have been freed between the two, the sequence
 * number must have changed.
 */
static void play_remember(unsigned self, void *opaque)
{
    Stage *s = opaque;
    AgePath path;
    unsigned seq;

    if (self == 1) {
        age_pt_zap(&s->pt, 0, BLOCK);
        return;
    }
    seq = age_pt_read_seq(&s->pt);
    age_pt_walk(&s->pt, 0, &path);
    /* Here one section ends, and the next one begins. */
    qatomic_read(&s->published);
    if (path.height == 0 && weak_garbage()) {
        /* The grace period is a barrier for whoever comes after it. */
        smp_mb();
        s->found = age_pt_read_seq(&s->pt) == seq;
    }
}

static void setup_remember(void *opaque)
{
    Stage *s = opaque;

    setup(s);
    weak_watch(&s->published, 8);
    weak_watch(&s->pt.seq, 4);
}

static bool check_remember(void *opaque)
{
    Stage *s = opaque;

    return check(s) && !s->found;
}

static void test_remember(void)
{
    Stage s = { .gpa_bits = 30 };
    WeakScene scene = {
        .threads = 2,
        .preemptions = 10,
        .setup = setup_remember,
        .play = play_remember,
        .check = check_remember,
    };

    g_assert_true(explore(&scene, &s, 0));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/age/order/walk-harvest", test_walk_harvest);
    g_test_add_func("/age/order/second-walker", test_second_walker);
    g_test_add_func("/age/order/split", test_split);
    g_test_add_func("/age/order/map-zap", test_map_zap);
    g_test_add_func("/age/order/remember", test_remember);
    return g_test_run();
}
