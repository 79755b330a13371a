/*
 * The order of things: what is mapped, while that changes
 *
 * As in test-order.c, each interleaving is played, and where a barrier is
 * left out some must fail.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/rcu.h"
#include "order-table.h"

/*
 * A walker looks up what to map, and maps it, while that changes: twice, as
 * the second change may split what came too late for the first.
 */
static void setup_map(void *opaque)
{
    OrderTable *s = opaque;
    uint64_t *entry;

    order_table_setup(s);
    entry = s->path.entry[s->leaf];
    *entry = 0;
    s->set = 0;
    s->published = 1;
    weak_watch(&s->published, 8);
    weak_watch(&s->pt.seq, sizeof(s->pt.seq));
}

/* As map_wanted() does */
static void map_published(OrderTable *s)
{
    uint64_t stale = 0, entry;
    AgePath path;

    for (;;) {
        uint64_t seq = age_pt_read_seq(&s->pt);
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
    OrderTable *s = opaque;

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
    OrderTable *s = opaque;
    uint64_t frame = (d->address - gpa) / age_height_size(s->leaf);

    s->found |= d->leaf && (gpa == 0 ? frame != 3 : frame == 1);
}

/* No leaf is left with a frame that it should not have. */
static bool check_map(void *opaque)
{
    OrderTable *s = opaque;

    tree_visit(&s->pt, check_frame, s);
    return order_table_check(s) && !s->found;
}

static bool map_zap(int leaf, unsigned no_mb)
{
    OrderTable s = { .gpa_bits = 30, .leaf = leaf };
    WeakScene scene = {
        .threads = 2,
        .preemptions = 3,
        .no_mb = no_mb,
        .setup = setup_map,
        .play = play_map,
        .check = check_map,
    };

    return order_table_explore(&scene, &s, 0);
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
 * A walker takes out a block that it should not have mapped, and maps a page
 * there, in a table, while the block is zapped.
 */
static void play_take_out(unsigned self, void *opaque)
{
    OrderTable *s = opaque;
    AgePath path = s->path;
    uint64_t page = age_make_leaf(s->pt.fmt, PAGE, 0, AGE_LEAF_RW);

    if (self == 1) {
        age_pt_zap(&s->pt, 0, BLOCK);
        return;
    }
    age_pt_remap(&s->pt, &path, *path.entry[1], 0);
    age_pt_map(&s->pt, 0, page, 0, &path);
    s->set += age_pt_mark(&s->pt, &path, false).accessed;
}

static bool check_take_out(void *opaque)
{
    OrderTable *s = opaque;

    rcu_barrier();
    return tree_count(&s->pt).tables[0] == s->pt.tables[0] &&
           order_table_check(s);
}

static void test_take_out(void)
{
    OrderTable s = { .gpa_bits = 39, .leaf = 1 };
    WeakScene scene = {
        .threads = 2,
        .preemptions = 20,
        .play = play_take_out,
        .check = check_take_out,
    };

    g_assert_true(order_table_explore(&scene, &s, 0));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/age/order/map-zap", test_map_zap);
    g_test_add_func("/age/order/take-out", test_take_out);
    return g_test_run();
}
