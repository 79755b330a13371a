/*
 * What a harvest stamps: which pages, with which number
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

typedef struct Stage {
    AgePageTable pt;
    AgeHistory h;
    AgeStamper st;
    uint64_t told;
    uint64_t first;
    uint64_t last;
} Stage;

static void stage_init(Stage *s, const Shape *shape)
{
    *s = (Stage) {};
    shape_init(&s->pt, shape);
    age_history_init(&s->h, true, 1, 0);
    age_stamper_init(&s->st, &s->h, 0);
}

static void stage_destroy(Stage *s)
{
    age_stamper_destroy(&s->st);
    age_history_destroy(&s->h);
    shape_destroy(&s->pt);
}

static void harvest(Stage *s, uint64_t start, uint64_t end,
                    const unsigned long *select)
{
    AgeHarvest h = {
        .lsb_gfn = end / PAGE - 1,
        .select = select,
        .stamper = &s->st,
    };

    reader_harvest(&s->pt, start, end, &h);
}

static void told(void *opaque, uint64_t page, unsigned n, uint64_t bits)
{
    Stage *s = opaque;

    if (!s->told) {
        s->first = page + n - 1 - (63 - __builtin_clzll(bits));
    }
    s->told += __builtin_popcountll(bits);
    s->last = page + n - 1 - __builtin_ctzll(bits);
}

/* Read all since a number; the answer is in @s. */
static void read_since(Stage *s, unsigned kind, uint64_t since)
{
    s->told = 0;
    g_assert_cmpint(age_history_since(&s->h, kind, since, 0, 1ULL << 40, told,
                                      s), ==, AGE_SINCE_KNOWN);
}

/* A page is stamped by the frame in its leaf, and only if it was cleared. */
static void test_pages(const Shape *shape)
{
    /* Of eight pages the first and the last; the last has bit 0. */
    unsigned long select[1] = { 0x81 };
    uint64_t next;
    Stage s;

    stage_init(&s, shape);
    for (unsigned i = 0; i < 8; i++) {
        map_young(&s.pt, BLOCK + i * PAGE, 0);
    }
    harvest(&s, BLOCK, BLOCK + 8 * PAGE, select);
    next = age_history_next(&s.h, 1);
    read_since(&s, 0, 0);
    g_assert_cmpuint(s.told, ==, 2);
    g_assert_cmphex(s.first, ==, frame_of(BLOCK) / PAGE);
    g_assert_cmphex(s.last, ==, frame_of(BLOCK) / PAGE + 7);

    harvest(&s, BLOCK, BLOCK + 8 * PAGE, NULL);
    read_since(&s, 0, next);
    g_assert_cmpuint(s.told, ==, 6);
    read_since(&s, 1, 0);
    g_assert_cmpuint(s.told, ==, 0);
    stage_destroy(&s);
}

/* Stores are remembered by themselves. */
static void test_dirty(const Shape *shape)
{
    AgeHarvest h = { .lsb_gfn = 1, .dirty = true };
    AgeStamper st;
    Stage s;

    stage_init(&s, shape);
    map_young(&s.pt, 0, 0);
    map_young(&s.pt, PAGE, 0);
    touch_gpa(&s.pt, PAGE, true);
    age_stamper_init(&st, &s.h, 1);
    h.stamper = &st;
    reader_harvest(&s.pt, 0, 2 * PAGE, &h);
    age_stamper_destroy(&st);
    read_since(&s, 0, 0);
    g_assert_cmpuint(s.told, ==, 0);
    read_since(&s, 1, 0);
    g_assert_cmpuint(s.told, ==, shape->fmt->dirty != 0);
    stage_destroy(&s);
}

/*
 * Each table's stamps may be told while the harvest goes on.  So filters forget
 * after each table that had any, and a flush is due; but not for nothing.
 */
static void test_told(const Shape *shape)
{
    bool unflushed = false;
    AgeHarvest h = { .lsb_gfn = 3 * BLOCK / PAGE - 1, .unflushed = &unflushed };
    uint64_t epoch;
    Stage s;

    stage_init(&s, shape);
    h.stamper = &s.st;
    for (unsigned i = 0; i < 3; i++) {
        map_young(&s.pt, i * BLOCK, 0);
    }
    epoch = age_pt_read_epoch(&s.pt);
    reader_harvest(&s.pt, 0, 3 * BLOCK, &h);
    g_assert_cmpuint(h.cleared, ==, 3);
    g_assert_cmpuint(age_pt_read_epoch(&s.pt), >=, epoch + 3);
    g_assert_true(unflushed);

    unflushed = false;
    reader_harvest(&s.pt, 0, 3 * BLOCK, &h);
    g_assert_false(unflushed);
    stage_destroy(&s);
}

/* Of a block all pages are stamped, whatever the range has of it. */
static void test_blocks(const Shape *shape)
{
    Stage s;

    stage_init(&s, shape);
    for (int height = 1; height <= shape_max_leaf(shape); height++) {
        uint64_t size = age_height_size(height);
        uint64_t since = age_history_next(&s.h, height);

        map_young(&s.pt, size, height);
        harvest(&s, size + 5 * PAGE, size + 6 * PAGE, NULL);
        read_since(&s, 0, since);
        g_assert_cmpuint(s.told, ==, size / PAGE);
        g_assert_cmphex(s.first, ==, frame_of(size) / PAGE);
        /* It is old now. */
        since = age_history_next(&s.h, height);
        harvest(&s, size, 2 * size, NULL);
        read_since(&s, 0, since);
        g_assert_cmpuint(s.told, ==, 0);
    }
    stage_destroy(&s);
}

static void *harvest_two(void *opaque)
{
    Stage *s = opaque;

    reader_register();
    harvest(s, GIB, GIB + 2 * BLOCK, NULL);
    reader_unregister();
    return NULL;
}

/*
 * A harvester is stopped in the first of two tables, and meanwhile both are
 * unhooked.  What it finds young in the second was accessed before that, and
 * must not be stamped behind it.
 */
static void test_unhooked(void)
{
    static const Shape shape = { "", &age_format_ept, 48, 3, 1 };
    GThread *thread;
    uint64_t number;
    AgePath path;
    Stage s;

    stage_init(&s, &shape);
    map_young(&s.pt, GIB, 0);
    map_young(&s.pt, GIB + BLOCK, 0);
    age_pt_walk(&s.pt, GIB, &path);

    qemu_mutex_lock(&s.h.lock);
    thread = g_thread_new("harvester", harvest_two, &s);
    while (qatomic_read(path.entry[0]) & shape.fmt->accessed) {
        g_thread_yield();
    }
    age_pt_zap(&s.pt, GIB, 2 * GIB);
    number = age_clock_tick(&s.h.clock);
    qemu_mutex_unlock(&s.h.lock);
    g_thread_join(thread);

    read_since(&s, 0, 0);
    g_assert_cmpuint(s.told, ==, 1);
    read_since(&s, 0, number);
    g_assert_cmpuint(s.told, ==, 0);
    stage_destroy(&s);
}

/* A place at the clock is used again, and there is one for each at a time. */
static void test_places(void)
{
    static const Shape shape = { "", &age_format_ept, 48, 3, 1 };
    AgeTeller *t[5];
    Stage s;

    stage_init(&s, &shape);
    for (unsigned i = 0; i < 5; i++) {
        t[i] = age_clock_join(&s.h.clock);
        for (unsigned k = 0; k < i; k++) {
            g_assert_true(t[i] != t[k]);
        }
    }
    age_clock_leave(t[2]);
    g_assert_true(age_clock_join(&s.h.clock) == t[2]);
    /* Who stamps bounds the number. */
    g_assert_cmpuint(age_clock_begin(&s.h.clock, t[2]), ==, 1);
    age_history_tick(&s.h, 0);
    age_history_tick(&s.h, 0);
    g_assert_cmpuint(age_clock_settled(&s.h.clock), ==, 0);
    age_clock_end(t[2]);
    g_assert_cmpuint(age_clock_settled(&s.h.clock), ==, 2);
    for (unsigned i = 0; i < 5; i++) {
        age_clock_leave(t[i]);
    }
    stage_destroy(&s);
}

#ifdef AGE_TEST_TSAN
#define ONLY_RACES  true
#else
#define ONLY_RACES  false
#endif

/* Of one thread each: to ThreadSanitizer they tell nothing, and take long. */
static void add_single_threaded(void)
{
    shape_add_tests("/age/history/pages", test_pages);
    shape_add_tests("/age/history/dirty", test_dirty);
    shape_add_tests("/age/history/told", test_told);
    shape_add_tests("/age/history/blocks", test_blocks);
    g_test_add_func("/age/history/places", test_places);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    reader_register();
    if (!ONLY_RACES) {
        add_single_threaded();
    }
    g_test_add_func("/age/history/unhooked", test_unhooked);
    ret = g_test_run();
    reader_unregister();
    return ret;
}
