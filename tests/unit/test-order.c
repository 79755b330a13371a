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
#include "order-table.h"

/* A walker and a harvester */

static void play_walk_harvest(unsigned self, void *opaque)
{
    OrderTable *s = opaque;

    if (self == 0) {
        s->set += age_pt_mark(&s->pt, &s->path, false).accessed;
    } else {
        order_table_harvest(s, true);
    }
}

static bool walk_harvest(unsigned gpa_bits, unsigned no_mb)
{
    OrderTable s = { .gpa_bits = gpa_bits };
    WeakScene scene = {
        .threads = 2,
        .preemptions = 20,
        .no_mb = no_mb,
        .play = play_walk_harvest,
    };

    return order_table_explore(&scene, &s, gpa_bits == 30 ? 2 : 6);
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
    OrderTable *s = opaque;

    if (self == 2) {
        order_table_harvest(s, true);
        return;
    }
    s->set += age_pt_mark(&s->pt, &s->path, false).accessed;
    if (self == 1) {
        s->found = order_table_harvest(s, false);
    }
}

static bool check_second_walker(void *opaque)
{
    OrderTable *s = opaque;

    return order_table_check(s) && (s->found || s->cleared);
}

static bool second_walker(unsigned no_mb, unsigned no_rmb)
{
    OrderTable s = { .gpa_bits = 30 };
    WeakScene scene = {
        .threads = 3,
        .preemptions = 4,
        .no_mb = no_mb,
        .no_rmb = no_rmb,
        .play = play_second_walker,
        .check = check_second_walker,
    };

    return order_table_explore(&scene, &s, 2);
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
    OrderTable *s = opaque;
    AgePath path = s->path;
    AgeMarked m;

    if (self == 1) {
        age_pt_zap(&s->pt, BLOCK - PAGE, BLOCK);
        return;
    }
    if (self == 2) {
        order_table_harvest(s, true);
        return;
    }
    m = age_pt_mark(&s->pt, &path, false);
    while (m.result == AGE_MARK_AGAIN) {
        age_pt_walk(&s->pt, 0, &path);
        m = age_pt_mark(&s->pt, &path, false);
    }
    s->set += m.accessed;
}

static bool check_split(void *opaque)
{
    OrderTable *s = opaque;
    bool ignore, young = order_table_young(s, &ignore);

    return order_table_check(s) && (young || s->cleared);
}

static void test_split(void)
{
    OrderTable s = { .gpa_bits = 39, .leaf = 1 };
    WeakScene scene = {
        .threads = 3,
        .preemptions = 3,
        .play = play_split,
        .check = check_split,
    };

    /* A young leaf has young parents. */
    g_assert_true(order_table_explore(&scene, &s, 4));
    g_assert_true(order_table_explore(&scene, &s, 6));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/age/order/walk-harvest", test_walk_harvest);
    g_test_add_func("/age/order/second-walker", test_second_walker);
    g_test_add_func("/age/order/split", test_split);
    return g_test_run();
}
