/*
 * The filter in front of the walk, in every interleaving and on every processor
 * that weak-memory.h can think of
 *
 * What it must never do is hide an access that comes after a harvest: one that
 * begins when its harvester is done, while the leaf is old and stays so.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "accel/age/pt/filter.h"
#include "order-table.h"

/* In which order things are done, of which only the first is right */
typedef enum Variant {
    RIGHT,
    EPOCH_BEFORE_CLEARING,
    EPOCH_READ_AFTER_WALK,
    EPOCH_NOT_ACQUIRED,
} Variant;

/**
 * Stage: a table, and a walker with a filter
 *
 * @table: the table
 * @filter: the walker's
 * @variant: what is tried
 * @real: the harvest is age_pt_harvest(); else an atomic AND
 * @done: the harvester is
 * @hidden: after it was, an access was hidden
 */
typedef struct Stage {
    OrderTable table;
    AgeFilter *filter;
    Variant variant;
    bool real;
    unsigned done;
    bool hidden;
} Stage;

static void setup(void *opaque)
{
    Stage *s = opaque;

    order_table_setup(&s->table);
    s->filter->group[0] = (AgeFilterGroup) {};
    s->done = 0;
    s->hidden = false;
    weak_watch(&s->table.pt.epoch, sizeof(s->table.pt.epoch));
    weak_watch(&s->done, sizeof(s->done));
}

static uint64_t read_epoch(Stage *s)
{
    if (s->variant == EPOCH_NOT_ACQUIRED) {
        return qatomic_read(&s->table.pt.epoch);
    }
    return age_pt_read_epoch(&s->table.pt);
}

/* An access.  Returns whether the filter knew the page. */
static bool fill(Stage *s)
{
    uint64_t epoch = read_epoch(s);
    bool clean;

    if (age_filter_knows(s->filter, epoch, 0, false, &clean)) {
        return true;
    }
    s->table.set += age_pt_mark(&s->table.pt, &s->table.path, false).accessed;
    if (s->variant == EPOCH_READ_AFTER_WALK) {
        epoch = read_epoch(s);
    }
    age_filter_learn(s->filter, epoch, 0, 0, false);
    return false;
}

static void harvest(Stage *s)
{
    uint64_t flag = s->table.pt.fmt->accessed;

    if (s->real) {
        order_table_harvest(&s->table, true);
        return;
    }
    if (s->variant == EPOCH_BEFORE_CLEARING) {
        age_pt_next_epoch(&s->table.pt);
    }
    if (qatomic_fetch_and(s->table.path.entry[0], ~flag) & flag) {
        s->table.cleared++;
    }
    if (s->variant != EPOCH_BEFORE_CLEARING) {
        age_pt_next_epoch(&s->table.pt);
    }
}

static void play(unsigned self, void *opaque)
{
    Stage *s = opaque;

    if (self == 1) {
        harvest(s);
        qatomic_set(&s->done, 1);
        return;
    }
    fill(s);
    if (qatomic_load_acquire(&s->done)) {
        s->hidden = fill(s);
    }
}

static bool check(void *opaque)
{
    Stage *s = opaque;
    bool ignore, young = order_table_young(&s->table, &ignore);

    return order_table_check(&s->table) && (!s->hidden || young);
}

static bool explore(Variant variant, bool real)
{
    g_autofree AgeFilter *filter = g_new0(AgeFilter, 1);
    Stage s = {
        .table.gpa_bits = 30,
        .filter = filter,
        .variant = variant,
        .real = real,
    };
    WeakScene scene = {
        .threads = 2,
        .preemptions = 6,
        .setup = setup,
        .play = play,
        .check = check,
        .opaque = &s,
    };
    unsigned runs, all = 0;
    bool ok = true;

    /* The leaf and its parent: both old, one of them, both young */
    for (s.table.young = 0; s.table.young < 4 && ok; s.table.young++) {
        if (s.table.young != 1) {
            ok = weak_explore(&scene, &runs);
            all += runs;
        }
    }
    g_test_message("%u runs, %s", all, ok ? "all right" : "one is wrong");
    return ok;
}

static void test_harvest(void)
{
    g_assert_true(explore(RIGHT, true));
    g_assert_false(explore(EPOCH_READ_AFTER_WALK, true));
    g_assert_false(explore(EPOCH_NOT_ACQUIRED, true));
}

static void test_order_of_epoch(void)
{
    g_assert_true(explore(RIGHT, false));
    g_assert_false(explore(EPOCH_BEFORE_CLEARING, false));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/age/order/filter/harvest", test_harvest);
    g_test_add_func("/age/order/filter/epoch", test_order_of_epoch);
    return g_test_run();
}
