/*
 * Threads: walkers, harvesters and a zapper in one table
 *
 * While they run, nothing can be said about any one page.  Afterwards each
 * accessed flag that was set must have gone exactly one way:
 *
 *     set by walkers + inherited by splits
 *         = cleared by harvesters + zapped + still there
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "accel/age/pt/harvest.h"
#include "pt-util.h"

#define PAGE        4096ULL
#define BLOCK       0x200000ULL
#define GIB         0x40000000ULL

/* Six tables of pages, half of them on the far side of 1 GiB */
#define WINDOW      (GIB - 3 * BLOCK)
#define PAGES       (6 * 512)

#define WALKERS     2
#define HARVESTERS  2
#define RUN_US      (120 * 1000)

typedef struct Race {
    AgePageTable pt;
    bool blocks;
    bool stop;
} Race;

/* What one thread did; read by the others after it was joined */
typedef struct Worker {
    Race *race;
    GThread *thread;
    GRand *rand;
    uint64_t rounds;
    uint64_t flags;
} Worker;

static uint64_t below(Worker *w, unsigned n)
{
    return g_rand_int(w->rand) % n;
}

static bool running(Worker *w)
{
    w->rounds++;
    return !qatomic_read(&w->race->stop);
}

/* The walk that a "hardware" walker does; false if it must begin again */
static bool walk_once(Worker *w, uint64_t gpa)
{
    AgePageTable *pt = &w->race->pt;
    AgePath path;
    AgeMarked m;

    if (!age_pt_walk(pt, gpa, &path)) {
        int height = w->race->blocks ? below(w, 2) : 0;
        uint64_t base = gpa & -age_height_size(height);
        uint64_t leaf = age_make_leaf(pt->fmt, frame_of(base), height,
                                      AGE_LEAF_RW);

        if (!age_pt_map(pt, gpa, leaf, height, &path)) {
            return false;
        }
    }
    m = age_pt_mark(pt, &path, below(w, 2));
    w->flags += m.accessed;
    return m.result == AGE_MARK_DONE;
}

/* Once in a while a leaf turns out to be wrong. */
static void remap_once(Worker *w, uint64_t gpa)
{
    AgePageTable *pt = &w->race->pt;
    AgePath path;
    uint64_t entry = age_pt_walk(pt, gpa, &path);
    uint64_t same = age_leaf_mapping(pt->fmt, entry);

    if (entry) {
        age_pt_remap(pt, &path, entry, below(w, 2) ? same : 0);
    }
}

static void *walker(void *opaque)
{
    Worker *w = opaque;

    reader_register();
    while (running(w)) {
        uint64_t gpa = WINDOW + below(w, PAGES) * PAGE;

        reader_lock();
        while (!walk_once(w, gpa)) {
            continue;
        }
        if (!below(w, 64)) {
            remap_once(w, gpa);
        }
        reader_unlock();
    }
    reader_unregister();
    return NULL;
}

static void random_select(Worker *w, unsigned long *select, unsigned words)
{
    unsigned what = below(w, 4);

    for (unsigned i = 0; i < words; i++) {
        uint64_t high = g_rand_int(w->rand);

        select[i] = what == 0 ? 0 : what == 1 ? ~0UL :
                    (high << 32) | g_rand_int(w->rand);
    }
}

static void harvest_once(Worker *w)
{
    unsigned long select[PAGES / 64], young[PAGES / 64] = {};
    AgeHarvest h = { .young = young, .dirty = below(w, 4) == 0 };
    uint64_t start = WINDOW / PAGE, pages = PAGES;
    uint64_t reported = 0, found = 0;

    if (below(w, 2)) {
        start += below(w, PAGES);
        pages = 1 + below(w, WINDOW / PAGE + PAGES - start);
    }
    h.lsb_gfn = start + pages - 1;
    if (below(w, 4)) {
        random_select(w, select, PAGES / 64);
        h.select = select;
    }
    reader_lock();
    age_pt_harvest(&w->race->pt, start * PAGE, (start + pages) * PAGE, &h);
    reader_unlock();

    for (unsigned i = 0; i < PAGES / 64; i++) {
        found |= young[i];
        reported += __builtin_popcountll(young[i] &
                                         (h.select ? select[i] : ~0UL));
    }
    g_assert_cmpint(h.any, ==, found != 0);
    /* Of a page that should be cleared, what is told is what was cleared. */
    if (!w->race->blocks) {
        g_assert_cmpuint(reported, ==, h.cleared);
    }
    w->flags += h.dirty ? 0 : h.cleared;
}

static void *harvester(void *opaque)
{
    Worker *w = opaque;

    reader_register();
    while (running(w)) {
        harvest_once(w);
    }
    reader_unregister();
    return NULL;
}

static void *zapper(void *opaque)
{
    Worker *w = opaque;

    reader_register();
    while (running(w)) {
        uint64_t start = WINDOW + below(w, PAGES) * PAGE;
        uint64_t end = start + (1 + below(w, 700)) * PAGE;

        if (below(w, 2)) {
            start &= -BLOCK;
            end = (end + BLOCK - 1) & -BLOCK;
        }
        age_pt_zap(&w->race->pt, start, end);
        g_usleep(below(w, 200));
    }
    reader_unregister();
    return NULL;
}

static void start_workers(Race *race, Worker *w, unsigned n,
                          GThreadFunc func)
{
    for (unsigned i = 0; i < n; i++) {
        w[i] = (Worker) {
            .race = race,
            .rand = g_rand_new_with_seed(g_test_rand_int()),
        };
        w[i].thread = g_thread_new("worker", func, &w[i]);
    }
}

static uint64_t join_workers(Worker *w, unsigned n, const char *what)
{
    uint64_t flags = 0, rounds = 0;

    for (unsigned i = 0; i < n; i++) {
        g_thread_join(w[i].thread);
        g_rand_free(w[i].rand);
        flags += w[i].flags;
        rounds += w[i].rounds;
    }
    g_test_message("%s: %" PRIu64 " rounds, %" PRIu64 " flags", what, rounds,
                   flags);
    return flags;
}

/*
 * When all is quiet, no young leaf is hidden below an old parent; or, see
 * check_summaries(), in a table whose word says that there is none.
 */
static void check_parents(uint64_t *ptr, int height, uint64_t gpa,
                          const AgeDecoded *d, void *opaque)
{
    const AgePageTable *pt = opaque;
    uint64_t flag = pt->fmt->table_accessed;
    AgePath path;

    if (!d->leaf || !d->accessed) {
        return;
    }
    age_pt_walk(pt, gpa, &path);
    for (int h = path.height + 1; h <= pt->geo.root_height; h++) {
        g_assert_cmphex(*path.entry[h] & flag, ==, flag);
    }
}

static void run_race(const Shape *shape, bool blocks)
{
    Race race = { .blocks = blocks };
    Worker walkers[WALKERS], harvesters[HARVESTERS], zap;
    uint64_t set, cleared;
    TreeCount c;

    shape_init(&race.pt, shape);
    start_workers(&race, walkers, WALKERS, walker);
    start_workers(&race, harvesters, HARVESTERS, harvester);
    start_workers(&race, &zap, 1, zapper);
    g_usleep(RUN_US);
    qatomic_set(&race.stop, true);
    set = join_workers(walkers, WALKERS, "walkers");
    cleared = join_workers(harvesters, HARVESTERS, "harvesters");
    join_workers(&zap, 1, "zapper");

    settle();
    c = tree_count(&race.pt);
    g_test_message("inherited %" PRIu64 ", zapped %" PRIu64 ", left %" PRIu64,
                   race.pt.inherited, race.pt.zapped, c.young);
    g_assert_cmpuint(set + race.pt.inherited, ==,
                     cleared + race.pt.zapped + c.young);
    tree_visit(&race.pt, check_parents, &race.pt);
    check_summaries(&race.pt);
    check_tables(&race.pt);
    shape_free(&race.pt);
}

static void test_pages(const Shape *shape)
{
    run_race(shape, false);
}

static void test_blocks(const Shape *shape)
{
    run_race(shape, true);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    reader_register();
    shape_add_tests("/age/race/pages", test_pages);
    shape_add_tests("/age/race/blocks", test_blocks);
    ret = g_test_run();
    reader_unregister();
    return ret;
}
