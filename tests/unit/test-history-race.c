/*
 * The history under readers, harvesters, walkers and zaps, all at once
 *
 * Each page has a walker of its own.  When every reader has been told of an
 * access, and has read a few times more, the walker looks how often each was
 * told, and accesses the page again: it must have been once or twice.  If it
 * does not come to that, the access was lost.
 *
 * What is zapped while it was not told to all takes its flag with it.  So some
 * pages are never zapped, and of the others is demanded that nothing is told
 * too often.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "accel/age/pt/bitrange.h"
#include "pt-util.h"

#define PAGE        4096ULL
#define BLOCK       0x200000ULL
#define GIB         0x40000000ULL

/* Six tables, half of them on the far side of 1 GiB; three are zapped. */
#define WINDOW      (GIB - 3 * BLOCK)
#define PAGES       (6 * 512)
#define ZAPPED      (3 * 512)

#define WALKERS     2
#define HARVESTERS  4
#define READERS     4
#define RUN_US      (700 * 1000)

/* Reads until nothing can be told a second time: those under way, one more */
#define SETTLED     3

/**
 * Page: one page, as its walker and the readers see it
 *
 * @told: how often each reader was told
 * @before: the same, when the page was last accessed
 * @reads: how often each reader had read when it was found to be told
 * @zaps: how often the page had been zapped when it was accessed
 * @waiting: it is accessed, and somebody was not told yet
 * @all_told: everybody was
 */
typedef struct Page {
    uint64_t told[READERS];
    uint64_t before[READERS];
    uint64_t reads[READERS];
    uint64_t zaps;
    bool waiting;
    bool all_told;
} Page;

typedef struct Race {
    AgePageTable pt;
    AgeHistory h;
    bool stop;
    bool stop_readers;
    uint64_t zaps;
    uint64_t reads[READERS];
    Page page[PAGES];
} Race;

/* What one thread does */
typedef struct Worker {
    Race *race;
    GThread *thread;
    GRand *rand;
    unsigned index;
    uint64_t done;
} Worker;

static uint64_t below(Worker *w, unsigned n)
{
    return g_rand_int(w->rand) % n;
}

static uint64_t now_ms(void)
{
    return g_get_monotonic_time() / 1000;
}

/* Walkers */

static bool is_zapped(unsigned i)
{
    return i < ZAPPED;
}

/* A walk, which makes the page young */
static void touch(Race *race, unsigned i)
{
    AgePageTable *pt = &race->pt;
    uint64_t gpa = WINDOW + i * PAGE;
    AgePath path;

    reader_lock();
    for (;;) {
        if (age_pt_walk(pt, gpa, &path) ||
            age_pt_map(pt, gpa, age_make_leaf(pt->fmt, frame_of(gpa), 0,
                                              AGE_LEAF_RW), 0, &path)) {
            if (age_pt_mark(pt, &path, false).result == AGE_MARK_DONE) {
                break;
            }
        }
    }
    reader_unlock();
}

static void check_told(const Page *p, bool may_be_lost)
{
    for (unsigned r = 0; r < READERS; r++) {
        uint64_t times = qatomic_read(&p->told[r]) - p->before[r];

        g_assert_cmpuint(times, <=, 2);
        if (!may_be_lost) {
            g_assert_cmpuint(times, >=, 1);
        }
    }
}

static bool all_told(const Page *p)
{
    for (unsigned r = 0; r < READERS; r++) {
        if (qatomic_read(&p->told[r]) == p->before[r]) {
            return false;
        }
    }
    return true;
}

static void note_reads(Race *race, Page *p)
{
    p->all_told = true;
    for (unsigned r = 0; r < READERS; r++) {
        p->reads[r] = qatomic_load_acquire(&race->reads[r]);
    }
}

static bool all_settled(const Race *race, const Page *p)
{
    for (unsigned r = 0; r < READERS; r++) {
        if (qatomic_load_acquire(&race->reads[r]) < p->reads[r] + SETTLED) {
            return false;
        }
    }
    return true;
}

static bool was_zapped(const Race *race, unsigned i)
{
    return is_zapped(i) &&
           qatomic_load_acquire(&race->zaps) != race->page[i].zaps;
}

/* Returns whether the page was accessed. */
static bool visit(Race *race, unsigned i, bool may_touch)
{
    Page *p = &race->page[i];
    bool lost = was_zapped(race, i);

    if (p->waiting && !p->all_told) {
        if (all_told(p) || lost) {
            note_reads(race, p);
        }
        return false;
    }
    if (p->waiting && !all_settled(race, p)) {
        return false;
    }
    if (p->waiting) {
        check_told(p, lost);
    }
    p->waiting = p->all_told = false;
    if (!may_touch) {
        return false;
    }
    for (unsigned r = 0; r < READERS; r++) {
        uint64_t told = qatomic_read(&p->told[r]);

        /* Nobody accessed it since it was looked at. */
        g_assert(lost || told - p->before[r] <= 2);
        p->before[r] = told;
    }
    p->zaps = qatomic_load_acquire(&race->zaps);
    p->waiting = true;
    touch(race, i);
    return true;
}

static void *walker(void *opaque)
{
    Worker *w = opaque;

    reader_register();
    while (!qatomic_read(&w->race->stop)) {
        unsigned i = below(w, PAGES / WALKERS) * WALKERS + w->index;

        /* Every tenth is never accessed at all. */
        w->done += i % 10 && visit(w->race, i, true);
    }
    reader_unregister();
    return NULL;
}

/* Harvesters */

static void harvest(Worker *w, uint64_t start, uint64_t pages,
                    const unsigned long *select)
{
    Race *race = w->race;
    AgeHarvest h = {
        .lsb_gfn = start + pages - 1,
        .select = select,
    };
    AgeStamper st;

    age_stamper_init(&st, &race->h, 0);
    h.stamper = &st;
    reader_lock();
    age_pt_harvest(&race->pt, start * PAGE, (start + pages) * PAGE, &h);
    reader_unlock();
    age_stamper_destroy(&st);
    w->done += h.cleared;
}

static void *harvester(void *opaque)
{
    Worker *w = opaque;
    unsigned long select[PAGES / 64];

    reader_register();
    while (!qatomic_read(&w->race->stop)) {
        uint64_t start = below(w, PAGES);
        uint64_t pages = 1 + below(w, PAGES - start);

        for (unsigned i = 0; i < PAGES / 64; i++) {
            uint64_t high = g_rand_int(w->rand);

            select[i] = high << 32 | g_rand_int(w->rand);
        }
        age_history_pass(&w->race->h, now_ms());
        if (below(w, 2)) {
            harvest(w, WINDOW / PAGE, PAGES, NULL);
        } else {
            harvest(w, WINDOW / PAGE + start, pages, select);
        }
        if (!below(w, 8)) {
            g_usleep(below(w, 1000));
        }
    }
    reader_unregister();
    return NULL;
}

/* Readers */

static void told(void *opaque, uint64_t page, unsigned n, uint64_t bits)
{
    Worker *w = opaque;
    uint64_t first = page - frame_of(WINDOW) / PAGE;

    for (unsigned i = 0; i < n; i++) {
        if ((bits >> (n - 1 - i)) & 1) {
            uint64_t *times = &w->race->page[first + i].told[w->index];

            g_assert_cmpuint(first + i, <, PAGES);
            g_assert_cmpuint((first + i) % 10, !=, 0);
            qatomic_set(times, *times + 1);
            w->done++;
        }
    }
}

/* Returns the number to ask with next time. */
static uint64_t read_once(Worker *w, uint64_t since)
{
    Race *race = w->race;
    uint64_t next;

    age_history_pass(&race->h, now_ms());
    harvest(w, WINDOW / PAGE, PAGES, NULL);
    next = age_history_next(&race->h, now_ms());
    g_assert_cmpuint(next, >, since);
    g_assert_cmpint(age_history_since(&race->h, 0, since,
                                      frame_of(WINDOW) / PAGE, PAGES, told,
                                      w), ==, AGE_SINCE_KNOWN);
    qatomic_store_release(&race->reads[w->index],
                          race->reads[w->index] + 1);
    return next;
}

static void *reader(void *opaque)
{
    Worker *w = opaque;
    uint64_t since = 0;

    reader_register();
    while (!qatomic_read(&w->race->stop_readers)) {
        since = read_once(w, since);
        /* At paces of their own */
        if (w->index) {
            g_usleep(below(w, w->index * 500));
        }
    }
    reader_unregister();
    return NULL;
}

static void *zapper(void *opaque)
{
    Worker *w = opaque;
    Race *race = w->race;

    reader_register();
    while (!qatomic_read(&race->stop)) {
        uint64_t start = below(w, ZAPPED);
        uint64_t pages = 1 + below(w, ZAPPED - start);

        if (below(w, 2)) {
            start &= -512;
            pages = 512;
        }
        /* Whoever accesses it from here on may find it gone. */
        qatomic_inc(&race->zaps);
        age_pt_zap(&race->pt, WINDOW + start * PAGE,
                   WINDOW + (start + pages) * PAGE);
        if (below(w, 2)) {
            age_history_forget(&race->h, frame_of(WINDOW) / PAGE + start,
                               pages, now_ms());
        }
        qatomic_inc(&race->zaps);
        g_usleep(below(w, 20000));
    }
    reader_unregister();
    return NULL;
}

static void start_workers(Race *race, Worker *w, unsigned n, GThreadFunc func)
{
    for (unsigned i = 0; i < n; i++) {
        w[i] = (Worker) {
            .race = race,
            .rand = g_rand_new_with_seed(g_test_rand_int()),
            .index = i,
        };
        w[i].thread = g_thread_new("worker", func, &w[i]);
    }
}

static void join_workers(Worker *w, unsigned n, const char *what)
{
    uint64_t done = 0;

    for (unsigned i = 0; i < n; i++) {
        g_thread_join(w[i].thread);
        g_rand_free(w[i].rand);
        done += w[i].done;
    }
    g_test_message("%s: %" PRIu64, what, done);
}

/* Whether any page waits; if @late, all must have been told of it. */
static bool visit_all(Race *race, bool late)
{
    bool waiting = false;

    for (unsigned i = 0; i < PAGES; i++) {
        const Page *p = &race->page[i];

        visit(race, i, false);
        waiting |= p->waiting;
        g_assert(!late || !p->waiting || p->all_told);
    }
    return waiting;
}

/*
 * Nobody accesses anything any more: all that was is told within some reads of
 * each reader, or was lost.  How far they are is asked before the pages are
 * looked at, as any time may go by between two lines here.
 */
static void wait_for_the_rest(Race *race)
{
    Page end = {};

    note_reads(race, &end);
    while (visit_all(race, all_settled(race, &end))) {
        g_usleep(100);
    }
}

/* The distribution is what the pages have. */
static void check_ages(Race *race)
{
    g_autofree uint32_t *idle = g_new(uint32_t, PAGES);
    uint64_t now = now_ms(), bin[] = { 10, 50, 100, 200 }, pages[5];
    uint64_t want[5] = {};

    age_history_idle_ms(&race->h, 0, frame_of(WINDOW) / PAGE, PAGES, now,
                        idle);
    for (unsigned i = 0; i < PAGES; i++) {
        unsigned b = 0;

        while (b < 4 && bin[b] <= idle[i]) {
            b++;
        }
        want[b] += idle[i] != UINT32_MAX;
    }
    age_history_idle(&race->h, 0, now, bin, 4, pages);
    g_assert_cmpmem(pages, sizeof(pages), want, sizeof(want));
}

static void test_race(const Shape *shape)
{
    g_autofree Race *race = g_new0(Race, 1);
    Worker walkers[WALKERS], harvesters[HARVESTERS], readers[READERS], zap;

    shape_init(&race->pt, shape);
    age_history_init(&race->h, false, 1, now_ms());
    start_workers(race, readers, READERS, reader);
    start_workers(race, harvesters, HARVESTERS, harvester);
    start_workers(race, walkers, WALKERS, walker);
    start_workers(race, &zap, 1, zapper);
    g_usleep(RUN_US);
    qatomic_set(&race->stop, true);
    join_workers(&zap, 1, "zapper");
    join_workers(walkers, WALKERS, "accesses by walkers");
    join_workers(harvesters, HARVESTERS, "cleared by harvesters");
    wait_for_the_rest(race);
    qatomic_set(&race->stop_readers, true);
    join_workers(readers, READERS, "told to readers, or cleared by them");

    check_ages(race);
    age_history_destroy(&race->h);
    shape_destroy(&race->pt);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    reader_register();
    shape_add_tests("/age/history/race", test_race);
    ret = g_test_run();
    reader_unregister();
    return ret;
}
