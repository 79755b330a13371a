/*
 * Threads in lockstep: the order of child and parent
 *
 * A walker sets the leaf and then its parents; a harvester clears a parent
 * and then looks below.  Likewise with the words of tables, which are all there
 * is for dirty flags, and for a harvest of less than a table.  Both meet at one
 * page, round after round, from whatever state flags and words may be in.
 * Whoever comes first, the access is reported or the leaf is still young, never
 * both or neither; and a young leaf is never left below an old parent, nor in a
 * table whose word says that there is none.
 *
 * test-order.c goes through the interleavings one by one; this test meets
 * those that the machine at hand really has.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "accel/age/pt/harvest.h"
#include "pt-util.h"

#define PAGE        4096ULL
#define RUN_US      (150 * 1000)
#define WALKERS     2

typedef struct Litmus Litmus;

/* A walker, and what it did in this round */
typedef struct Player {
    Litmus *litmus;
    GThread *thread;
    GRand *rand;
    bool harvests;
    bool set;
    bool found;
} Player;

/**
 * Litmus: the state of the game
 *
 * @pt, @gpa: the table, and the one page that is in it
 * @players: how many walkers play
 * @dirty: they store, and dirty flags are harvested
 * @part: harvests are of less than a table
 * @round: number of the round that may begin
 * @done: how many walkers are done with it
 * @wait: about how long the harvester waits, to meet the walkers midway
 */
typedef struct Litmus {
    AgePageTable pt;
    uint64_t gpa;
    Player player[WALKERS];
    unsigned players;
    bool dirty;
    bool part;
    unsigned round;
    unsigned done;
    unsigned wait;
    bool stop;
} Litmus;

/* Wait for @var to be @value; there may be fewer processors than threads. */
static void await(unsigned *var, unsigned value)
{
    for (unsigned spins = 0; qatomic_load_acquire(var) != value; spins++) {
        if (spins > 3000) {
            g_thread_yield();
        }
    }
}

/* A moment of random length */
static void dawdle(GRand *rand, unsigned *var, unsigned max)
{
    for (unsigned n = g_rand_int(rand) % max; n > 0; n--) {
        qatomic_read(var);
    }
}

/* Test and clear the page's table, or a part of it; was it young? */
static bool harvest(Litmus *l)
{
    unsigned long young[8] = {};
    uint64_t pages = l->part ? 64 : 512;
    uint64_t first = l->gpa / PAGE & -pages;
    uint64_t bit = first + pages - 1 - l->gpa / PAGE;
    AgeHarvest h = {
        .lsb_gfn = first + pages - 1,
        .dirty = l->dirty,
        .young = young,
    };

    reader_lock();
    age_pt_harvest(&l->pt, first * PAGE, (first + pages) * PAGE, &h);
    reader_unlock();
    g_assert_cmpuint(h.cleared, ==, (young[bit / 64] >> (bit % 64)) & 1);
    return h.cleared;
}

static void *player(void *opaque)
{
    Player *p = opaque;
    Litmus *l = p->litmus;

    reader_register();
    for (unsigned round = 1; ; round++) {
        AgeMarked m;

        await(&l->round, round);
        if (qatomic_read(&l->stop)) {
            break;
        }
        dawdle(p->rand, &l->round, 256);
        reader_lock();
        m = touch_gpa(&l->pt, l->gpa, l->dirty);
        p->set = l->dirty ? m.dirty : m.accessed;
        reader_unlock();
        /* This walk is over, so the page must be found. */
        p->found = p->harvests && harvest(l);
        qatomic_add(&l->done, 1);
    }
    reader_unregister();
    return NULL;
}

/* The leaf is old; its parents, and the words, are one or the other. */
static void set_scene(Litmus *l)
{
    uint64_t flag = l->pt.fmt->table_accessed;
    uint64_t parents = rnd_below(4) ? ~0ULL : rnd_below(16);
    AgePath path;

    age_pt_walk(&l->pt, l->gpa, &path);
    *path.entry[0] = age_leaf_make_harvested(l->pt.fmt, *path.entry[0],
                                             l->dirty);
    if (rnd_below(2)) {
        harvest(l);
    }
    for (int h = 1; h <= l->pt.geo.root_height; h++) {
        *path.entry[h] &= ~flag;
        *path.entry[h] |= (parents >> h) & 1 ? flag : 0;
    }
}

static bool leaf_young(Litmus *l)
{
    uint64_t flag = l->pt.fmt->table_accessed;
    AgePath path;
    bool young = age_pt_walk(&l->pt, l->gpa, &path) &
                 age_leaf_flag(l->pt.fmt, l->dirty);

    check_summaries(&l->pt);
    for (int h = 1; young && !l->dirty && h <= l->pt.geo.root_height; h++) {
        g_assert_cmphex(*path.entry[h] & flag, ==, flag);
    }
    return young;
}

/* Come earlier if the walkers were first, and later if they were not. */
static void adjust(Litmus *l, bool late)
{
    unsigned step = l->wait / 32 + 1;

    l->wait = late ? MAX(l->wait - step, 16) : MIN(l->wait + step, 1 << 14);
}

/* One round.  Returns whether this thread's harvest found the page. */
static bool play(Litmus *l, GRand *rand)
{
    unsigned found, set = 0;
    bool ours;

    set_scene(l);
    qatomic_set(&l->done, 0);
    qatomic_inc(&l->round);
    dawdle(rand, &l->round, l->wait);
    ours = harvest(l);
    await(&l->done, l->players);
    adjust(l, ours);

    found = ours;
    for (unsigned i = 0; i < l->players; i++) {
        set += l->player[i].set;
        found += l->player[i].found;
        g_assert_true(!l->player[i].harvests || found);
    }
    g_assert_cmpuint(set, ==, found + leaf_young(l));
    return ours;
}

static void start_players(Litmus *l)
{
    for (unsigned i = 0; i < l->players; i++) {
        l->player[i] = (Player) {
            .litmus = l,
            .rand = g_rand_new_with_seed(g_test_rand_int()),
            /* With two, the last one checks what it did. */
            .harvests = i > 0,
        };
        l->player[i].thread = g_thread_new("player", player, &l->player[i]);
    }
}

static void stop_players(Litmus *l)
{
    qatomic_set(&l->stop, true);
    qatomic_inc(&l->round);
    for (unsigned i = 0; i < l->players; i++) {
        g_thread_join(l->player[i].thread);
        g_rand_free(l->player[i].rand);
    }
}

static void run_litmus(const Shape *shape, unsigned players, bool dirty,
                       bool part)
{
    int64_t end = g_get_monotonic_time() + RUN_US;
    GRand *rand = g_rand_new_with_seed(g_test_rand_int());
    Litmus l = {
        .players = players,
        .dirty = dirty,
        .part = part,
        .gpa = rnd_below(64) * PAGE,
        .wait = 256,
    };
    unsigned found = 0;

    shape_init(&l.pt, shape);
    map_gpa(&l.pt, l.gpa, 0);
    start_players(&l);
    while (g_get_monotonic_time() < end) {
        for (unsigned i = 0; i < 16; i++) {
            found += play(&l, rand);
        }
    }
    stop_players(&l);
    g_test_message("%u rounds, the harvester found it in %u", l.round, found);
    g_rand_free(rand);
    shape_free(&l.pt);
}

static void test_one_walker(const Shape *shape)
{
    run_litmus(shape, 1, false, false);
}

/*
 * The second walker may find the leaf young already, before the first has
 * come to its parents.  It must look after them all the same, or it would
 * return with its access hidden.
 */
static void test_two_walkers(const Shape *shape)
{
    run_litmus(shape, 2, false, false);
}

static void test_part(const Shape *shape)
{
    run_litmus(shape, 2, false, true);
}

static bool has_dirty(const Shape *shape)
{
    return shape->fmt->dirty;
}

static void test_dirty(const Shape *shape)
{
    run_litmus(shape, 2, true, g_test_rand_bit());
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    reader_register();
    shape_add_tests("/age/litmus/one-walker", test_one_walker);
    shape_add_tests("/age/litmus/two-walkers", test_two_walkers);
    shape_add_tests("/age/litmus/part", test_part);
    shape_add_tests_if("/age/litmus/dirty", test_dirty, has_dirty);
    ret = g_test_run();
    reader_unregister();
    return ret;
}
