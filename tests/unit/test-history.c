/*
 * The history, against what all stamps say
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "pt-util.h"

/* Regions on both sides of 1 GiB */
#define GIB_PAGES   (1ULL << 18)
#define FIRST       (5 * GIB_PAGES - 3 * 512 + 7)
#define PAGES       (6 * 512)

#define MAX_BINS    6

/**
 * Model: a history, and what each page should say
 *
 * @h: the history
 * @st: who stamps
 * @ms: the time of now
 * @kind: young or dirty
 * @number: the number of each page; 0 for none
 * @found: the time of the number by which each page was found
 * @times: a hash table from time, as it is kept, to promoted pages
 * @told: pages that were told
 */
typedef struct Model {
    AgeHistory h;
    AgeStamper st;
    uint64_t ms;
    unsigned kind;
    uint64_t number[PAGES];
    uint64_t found[PAGES];
    GHashTable *times;
    bool told[PAGES];
} Model;

static void model_init(Model *m, unsigned kind)
{
    memset(m, 0, sizeof(*m));
    m->ms = 1000;
    m->kind = kind;
    m->times = g_hash_table_new(NULL, NULL);
    age_history_init(&m->h, kind, 1, m->ms);
    age_stamper_init(&m->st, &m->h, kind);
}

static void model_destroy(Model *m)
{
    age_stamper_destroy(&m->st);
    age_history_destroy(&m->h);
    g_hash_table_unref(m->times);
}

static void model_tick(Model *m)
{
    static const unsigned step[] = { 0, 1, 1, 30, 1000, 100000 };

    m->ms += step[rnd_below(G_N_ELEMENTS(step))];
    age_history_tick(&m->h, m->ms);
}

static void count_promoted(Model *m, uint64_t ms)
{
    gpointer key = GSIZE_TO_POINTER(age_ages_kept(ms));
    gsize n = GPOINTER_TO_SIZE(g_hash_table_lookup(m->times, key));

    g_hash_table_insert(m->times, key, GSIZE_TO_POINTER(n + 1));
}

/* A stretch of random pages */
static void random_pages(unsigned *first, unsigned *pages)
{
    *first = rnd_below(PAGES);
    *pages = 1 + rnd_below(rnd_below(4) ? MIN(40, PAGES - *first)
                                        : PAGES - *first);
}

static void model_page_stamped(Model *m, unsigned i, uint64_t number)
{
    if (m->number[i] == number) {
        return;
    }
    if (m->number[i]) {
        count_promoted(m, m->ms - m->found[i]);
    }
    m->number[i] = number;
    m->found[i] = m->ms;
}

static void model_stamp(Model *m)
{
    unsigned stretches = 1 + rnd_below(100);

    age_stamper_begin(&m->st);
    g_assert_cmpuint(m->st.number, ==, m->h.clock.now);
    while (stretches-- > 0) {
        unsigned first, pages;

        random_pages(&first, &pages);
        age_stamper_add(&m->st, FIRST + first, pages);
        for (unsigned i = first; i < first + pages; i++) {
            model_page_stamped(m, i, m->st.number);
        }
    }
    age_stamper_end(&m->st);
}

static void model_forget(Model *m)
{
    unsigned first, pages;

    random_pages(&first, &pages);
    age_history_forget(&m->h, FIRST + first, pages, m->ms);
    memset(&m->number[first], 0, pages * sizeof(m->number[0]));
}

static void told(void *opaque, uint64_t page, unsigned n, uint64_t bits)
{
    Model *m = opaque;

    g_assert_cmphex(bits & ~age_low_bits(n), ==, 0);
    for (unsigned i = 0; i < n; i++) {
        if ((bits >> (n - 1 - i)) & 1) {
            g_assert_cmpuint(page + i - FIRST, <, PAGES);
            g_assert_false(m->told[page + i - FIRST]);
            m->told[page + i - FIRST] = true;
        }
    }
}

/* Read a part of it, since some number. */
static void check_since(Model *m)
{
    uint64_t now = m->h.clock.now;
    uint64_t since = now - 1 - rnd_below(MIN(now - 1, 30) + 1);
    AgeSince known = !since || since >= m->h.oldest ? AGE_SINCE_KNOWN
                                                    : AGE_SINCE_LONG_AGO;
    unsigned first, pages;

    random_pages(&first, &pages);
    memset(m->told, 0, sizeof(m->told));
    g_assert_cmpint(age_history_since(&m->h, m->kind, since, FIRST + first,
                                      pages, told, m), ==, known);
    for (unsigned i = 0; i < PAGES && known == AGE_SINCE_KNOWN; i++) {
        bool want = i >= first && i < first + pages && m->number[i] > since;

        g_assert(m->told[i] == want);
    }
}

/* Bins that ascend, and the bin of a time */
static unsigned random_bins(const Model *m, uint64_t *bin)
{
    unsigned num = rnd_below(MAX_BINS + 1);

    for (unsigned i = 0; i < num; i++) {
        bin[i] = (i ? bin[i - 1] : 0) + rnd_below(m->ms / num);
    }
    return num;
}

static unsigned bin_of(uint64_t ms, const uint64_t *bin, unsigned num)
{
    unsigned i = 0;

    while (i < num && bin[i] <= ms) {
        i++;
    }
    return i;
}

/* The distribution is what each page says of itself. */
static void check_idle(Model *m, bool exact)
{
    uint64_t bin[MAX_BINS], got[MAX_BINS + 1], want[MAX_BINS + 1] = {};
    uint64_t now = m->ms + rnd_below(100), touched = 0;
    unsigned num = random_bins(m, bin);
    g_autofree uint32_t *idle = g_new(uint32_t, PAGES);

    age_history_idle_ms(&m->h, m->kind, FIRST, PAGES, now, idle);
    for (unsigned i = 0; i < PAGES; i++) {
        uint64_t ms = now - m->found[i];

        g_assert((idle[i] == UINT32_MAX) == !m->number[i]);
        if (!m->number[i]) {
            continue;
        }
        touched++;
        if (exact) {
            g_assert_cmpuint(idle[i], ==, ms);
        } else {
            /* What is not kept any more is small against the age. */
            g_assert_cmpuint(idle[i], <=, ms);
        }
        want[bin_of(idle[i], bin, num)]++;
    }
    age_history_idle(&m->h, m->kind, now, bin, num, got);
    g_assert_cmpmem(got, (num + 1) * 8, want, (num + 1) * 8);
    g_assert_cmpuint(age_history_touched(&m->h, m->kind), ==, touched);
}

static void check_promoted(Model *m)
{
    uint64_t bin[MAX_BINS], got[MAX_BINS + 1], want[MAX_BINS + 1] = {};
    unsigned num = random_bins(m, bin);
    GHashTableIter iter;
    gpointer key, value;

    g_hash_table_iter_init(&iter, m->times);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        want[bin_of(GPOINTER_TO_SIZE(key), bin, num)] +=
            GPOINTER_TO_SIZE(value);
    }
    age_history_promoted(&m->h, m->kind, bin, num, got);
    g_assert_cmpmem(got, (num + 1) * 8, want, (num + 1) * 8);
}

static void model_step(Model *m)
{
    switch (rnd_below(8)) {
    case 0:
        model_forget(m);
        break;
    case 1:
    case 2:
        model_stamp(m);
        break;
    default:
        model_tick(m);
    }
}

/* All numbers have a stamp and a bucket of their own. */
static void run_exact(unsigned kind)
{
    g_autofree Model *m = g_new(Model, 1);

    model_init(m, kind);
    for (unsigned i = 0; i < 1000; i++) {
        model_step(m);
        check_since(m);
        check_idle(m, true);
        check_promoted(m);
    }
    model_destroy(m);
}

static void test_exact(void)
{
    run_exact(0);
    run_exact(1);
}

/*
 * Stamps are few, and so are buckets.  Numbers that are too old are refused;
 * what has one is still told from what has one that is younger.
 */
static void run_bounded(uint32_t span, unsigned buckets)
{
    g_autofree Model *m = g_new(Model, 1);

    model_init(m, 0);
    m->h.span = span;
    age_ages_destroy(&m->h.ages);
    age_ages_init(&m->h.ages, buckets, m->h.clock.now, m->ms);
    for (unsigned i = 0; i < 2000; i++) {
        model_step(m);
        g_assert_cmpuint(m->h.clock.now - m->h.base, <=, span);
        g_assert_cmpuint(m->h.ages.num, <=, buckets);
        check_since(m);
        check_idle(m, false);
    }
    g_assert_cmpuint(m->h.base, >, 0);
    model_destroy(m);
}

static void test_bounded(void)
{
    run_bounded(64, AGE_BUCKETS);
    run_bounded(100, 8);
    run_bounded(1000, 32);
}

/* A page is stamped at each number, a second apart: who is off by how much? */
static void run_coarse(unsigned buckets, unsigned numbers, unsigned exact,
                       unsigned parts)
{
    AgeAges a;

    age_ages_init(&a, buckets, 1, 1000);
    for (unsigned i = 1; i <= numbers; i++) {
        age_ages_stamped(&a, 0, 0, i, 1);
        age_ages_tick(&a, i + 1, (i + 1) * 1000);
    }
    for (unsigned i = 1; i <= numbers; i++) {
        uint64_t age = numbers - i;
        uint64_t off = age_ages_time(&a, i) / 1000 - i;

        g_assert_cmpuint(off, <=, age < exact ? 0 : age / parts);
    }
    age_ages_destroy(&a);
}

static void test_coarse(void)
{
    run_coarse(256, 256, 128, 64);
    run_coarse(256, 2560, 60, 24);
    /* A week */
    run_coarse(AGE_BUCKETS, 604800, 900, 200);
}

/* What a time is kept as */
static void test_kept(void)
{
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t ms = rnd_below(1ULL << (1 + rnd_below(44)));
        uint64_t kept = age_ages_kept(ms);

        g_assert_cmpuint(kept, <=, ms);
        g_assert_cmpuint((ms - kept) * 1024, <=, ms);
        g_assert_cmpuint(age_ages_kept(kept), ==, kept);
        if (ms < 2048) {
            g_assert_cmpuint(kept, ==, ms);
        }
    }
    g_assert_cmpuint(age_ages_kept(UINT64_MAX), <, UINT64_MAX);
}

/* What is a number to ask with for the first @pages pages? */
static AgeSince since(Model *m, uint64_t number, uint64_t pages)
{
    return age_history_since(&m->h, 0, number, FIRST, pages, told, m);
}

/* Numbers of before are refused, as are those that were never handed out. */
static void test_generation(void)
{
    g_autofree Model *m = g_new(Model, 1);
    uint64_t before, after;

    model_init(m, 0);
    model_stamp(m);
    before = age_history_next(&m->h, m->ms);
    age_history_new_generation(&m->h, m->ms);
    after = age_history_next(&m->h, m->ms);
    g_assert_cmpuint(age_history_touched(&m->h, 0), ==, 0);
    g_assert_cmpuint(m->h.stamps[0].regions, ==, 0);
    g_assert_cmpint(since(m, before, 1), ==, AGE_SINCE_GENERATION);
    g_assert_cmpint(since(m, after, 1), ==, AGE_SINCE_KNOWN);
    g_assert_cmpint(since(m, after + 1, 1), ==, AGE_SINCE_FUTURE);
    g_assert_cmpint(since(m, 0, PAGES), ==, AGE_SINCE_KNOWN);
    for (unsigned i = 0; i < PAGES; i++) {
        g_assert_false(m->told[i]);
    }
    model_destroy(m);
}

/* Numbers of an earlier history are as those of another generation. */
static void test_first(void)
{
    g_autofree Model *m = g_new(Model, 1);
    uint64_t next;

    model_init(m, 0);
    age_stamper_destroy(&m->st);
    age_history_destroy(&m->h);
    age_history_init(&m->h, false, 1000, m->ms);
    age_stamper_init(&m->st, &m->h, 0);
    g_assert_cmpint(since(m, 999, 1), ==, AGE_SINCE_GENERATION);
    age_stamper_begin(&m->st);
    age_stamper_add(&m->st, FIRST + 1, 1);
    age_stamper_end(&m->st);
    next = age_history_next(&m->h, m->ms);
    g_assert_cmpuint(next, ==, 1000);
    g_assert_cmpint(since(m, 0, 2), ==, AGE_SINCE_KNOWN);
    g_assert_true(m->told[1] && !m->told[0]);
    m->told[1] = false;
    g_assert_cmpint(since(m, next, 2), ==, AGE_SINCE_KNOWN);
    g_assert_false(m->told[1]);
    model_destroy(m);
}

/* 4 TiB of which one page was touched in each TiB */
static void test_large(void)
{
    const uint64_t tib = 1ULL << 28;
    g_autofree Model *m = g_new(Model, 1);
    uint64_t next;

    model_init(m, 0);
    age_stamper_begin(&m->st);
    for (uint64_t i = 0; i < 4; i++) {
        age_stamper_add(&m->st, FIRST + i * tib, 1);
    }
    age_stamper_end(&m->st);
    next = age_history_next(&m->h, m->ms);
    g_assert_cmpuint(m->h.stamps[0].regions, ==, 4);
    g_assert_cmpuint(m->h.stamps[0].groups->len, ==, 4);
    g_assert_cmpint(since(m, 0, 1), ==, AGE_SINCE_KNOWN);
    g_assert_true(m->told[0]);
    g_assert_cmpint(since(m, next, 4 * tib), ==, AGE_SINCE_KNOWN);
    age_history_forget(&m->h, FIRST, 4 * tib, m->ms);
    g_assert_cmpuint(m->h.stamps[0].regions, ==, 0);
    model_destroy(m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/age/history/exact", test_exact);
    g_test_add_func("/age/history/bounded", test_bounded);
    g_test_add_func("/age/history/coarse", test_coarse);
    g_test_add_func("/age/history/kept", test_kept);
    g_test_add_func("/age/history/generation", test_generation);
    g_test_add_func("/age/history/first", test_first);
    g_test_add_func("/age/history/large", test_large);
    return g_test_run();
}
