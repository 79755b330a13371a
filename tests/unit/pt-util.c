/*
 * What the unit tests of the page table share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "pt-util.h"

static const Shape shapes[] = {
    { "ept-36", &age_format_ept, 36, 3, 1 },
    { "ept-48", &age_format_ept, 48, 3, 1 },
    { "ept-57", &age_format_ept, 57, 4, 1 },
    { "stage2-32", &age_format_stage2, 32, 1, 4 },
    { "stage2-34", &age_format_stage2, 34, 1, 16 },
    { "stage2-36", &age_format_stage2, 36, 2, 1 },
    { "stage2-40", &age_format_stage2, 40, 2, 2 },
    { "stage2-43", &age_format_stage2, 43, 2, 16 },
    { "stage2-48", &age_format_stage2, 48, 3, 1 },
    { "stage2-no-haft-40", &age_format_stage2_no_haft, 40, 2, 2 },
    { "ept-no-ad-48", &age_format_ept_no_ad, 48, 3, 1 },
    { "stage2-no-ad-40", &age_format_stage2_no_ad, 40, 2, 2 },
};

void shape_add_tests_if(const char *prefix, ShapeTest *func,
                        bool (*suits)(const Shape *shape))
{
    for (unsigned i = 0; i < G_N_ELEMENTS(shapes); i++) {
        g_autofree char *path = g_strdup_printf("%s/%s", prefix,
                                                shapes[i].name);

        if (!suits || suits(&shapes[i])) {
            g_test_add_data_func(path, &shapes[i], (GTestDataFunc)func);
        }
    }
}

void shape_add_tests(const char *prefix, ShapeTest *func)
{
    shape_add_tests_if(prefix, func, NULL);
}

int shape_max_leaf(const Shape *shape)
{
    return MIN(shape->root_height, AGE_MAX_LEAF_HEIGHT);
}

void shape_init(AgePageTable *pt, const Shape *shape)
{
    AgeGeometry geo;

    g_assert_true(shape->fmt->geometry(shape->gpa_bits, 0, &geo));
    g_assert_cmpint(geo.root_height, ==, shape->root_height);
    g_assert_cmpuint(geo.root_tables, ==, shape->root_tables);
    age_pt_init(pt, shape->fmt, &geo, shape_max_leaf(shape));
}

#ifdef AGE_TEST_TSAN
char tsan_rcu;

/*
 * liburcu hands its own memory from thread to thread, by means that
 * ThreadSanitizer does not see into.
 */
const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:liburcu\n";
}
#endif

/* The reaper has come to the gate.  It does one thing after the other. */
static void gate_reached(AgeReap *reap)
{
    Gate *gate = container_of(reap, Gate, reap);

    qemu_mutex_lock(&gate->lock);
    gate->reached = true;
    qemu_cond_signal(&gate->changed);
    while (!gate->open) {
        qemu_cond_wait(&gate->changed, &gate->lock);
    }
    gate->passed = true;
    qemu_cond_signal(&gate->changed);
    qemu_mutex_unlock(&gate->lock);
}

static void gate_wait(Gate *gate, const bool *until)
{
    qemu_mutex_lock(&gate->lock);
    while (!*until) {
        qemu_cond_wait(&gate->changed, &gate->lock);
    }
    qemu_mutex_unlock(&gate->lock);
}

void gate_close(Gate *gate)
{
    *gate = (Gate) {};
    qemu_mutex_init(&gate->lock);
    qemu_cond_init(&gate->changed);
    age_reap(&gate->reap, gate_reached);
    gate_wait(gate, &gate->reached);
}

void gate_open(Gate *gate)
{
    qemu_mutex_lock(&gate->lock);
    gate->open = true;
    qemu_cond_signal(&gate->changed);
    qemu_mutex_unlock(&gate->lock);
    gate_wait(gate, &gate->passed);
}

void run_callbacks(void)
{
    rcu_barrier();
    tsan_acquire_rcu();
}

void settle(void)
{
    Gate gate;

    run_callbacks();
    gate_close(&gate);
    gate_open(&gate);
}

void shape_free(AgePageTable *pt)
{
    age_pt_destroy(pt);
    for (int h = 0; h <= AGE_MAX_HEIGHT; h++) {
        g_assert_cmpuint(pt->tables[h], ==, 0);
    }
}

void shape_destroy(AgePageTable *pt)
{
    settle();
    shape_free(pt);
}

void reader_register(void)
{
    rcu_register_thread();
}

void reader_unregister(void)
{
    rcu_unregister_thread();
}

void reader_lock(void)
{
    rcu_read_lock();
}

void reader_unlock(void)
{
    tsan_release_rcu();
    rcu_read_unlock();
}

uint64_t reader_map(AgePageTable *pt, uint64_t gpa, uint64_t leaf, int height,
                    AgePath *path)
{
    uint64_t entry;

    reader_lock();
    entry = age_pt_map(pt, gpa, leaf, height, path);
    reader_unlock();
    return entry;
}

void reader_remap(AgePageTable *pt, const AgePath *path, uint64_t from,
                  uint64_t to)
{
    reader_lock();
    age_pt_remap(pt, path, from, to);
    reader_unlock();
}

void reader_harvest(AgePageTable *pt, uint64_t start, uint64_t end,
                    AgeHarvest *h)
{
    reader_lock();
    age_pt_harvest(pt, start, end, h);
    reader_unlock();
}

uint64_t rnd_below(uint64_t n)
{
    uint64_t high = (uint32_t)g_test_rand_int();

    return ((high << 32) | (uint32_t)g_test_rand_int()) % n;
}

uint64_t frame_of(uint64_t gpa)
{
    uint64_t top = 1ULL << 46;

    return top | (gpa & (top - 1));
}

uint64_t map_gpa(AgePageTable *pt, uint64_t gpa, int height)
{
    uint64_t frame = frame_of(gpa) & -age_height_size(height);
    uint64_t leaf = age_make_leaf(pt->fmt, frame, height, AGE_LEAF_RW);
    AgePath path;

    return reader_map(pt, gpa, leaf, height, &path);
}

AgeMarked touch_gpa(const AgePageTable *pt, uint64_t gpa, bool write)
{
    AgePath path;

    g_assert_cmphex(age_pt_walk(pt, gpa, &path), !=, 0);
    return age_pt_mark(pt, &path, write);
}

void map_young(AgePageTable *pt, uint64_t gpa, int height)
{
    g_assert_cmphex(map_gpa(pt, gpa, height), !=, 0);
    g_assert_true(touch_gpa(pt, gpa, false).accessed);
}

static void visit_table(const AgeFormat *fmt, uint64_t *table,
                        unsigned entries, int height, uint64_t gpa,
                        TreeVisit *visit, void *opaque)
{
    for (unsigned i = 0; i < entries; i++) {
        uint64_t first = gpa + ((uint64_t)i << (12 + 9 * height));
        AgeDecoded d;

        if (table[i] == 0) {
            continue;
        }
        fmt->decode(table[i], height, &d);
        /* If aging takes permissions away, hardware sees nothing there. */
        g_assert_true(d.present || (d.leaf && !fmt->hw_ad));
        visit(&table[i], height, first, &d, opaque);
        if (!d.leaf) {
            visit_table(fmt, (uint64_t *)(uintptr_t)d.address, 512,
                        height - 1, first, visit, opaque);
        }
    }
}

void tree_visit(const AgePageTable *pt, TreeVisit *visit, void *opaque)
{
    visit_table(pt->fmt, pt->root, pt->geo.root_tables * 512,
                pt->geo.root_height, 0, visit, opaque);
}

static void count_entry(uint64_t *ptr, int height, uint64_t gpa,
                        const AgeDecoded *d, void *opaque)
{
    TreeCount *c = opaque;

    if (d->leaf) {
        c->leaves++;
        c->young += d->accessed;
        c->dirty += d->dirty;
    } else {
        c->tables[height - 1]++;
        c->young_tables += d->accessed;
    }
}

TreeCount tree_count(const AgePageTable *pt)
{
    TreeCount c = {};

    c.tables[pt->geo.root_height] = pt->geo.root_tables;
    tree_visit(pt, count_entry, &c);
    return c;
}

static void check_leaf_summaries(uint64_t *ptr, int height, uint64_t gpa,
                                 const AgeDecoded *d, void *opaque)
{
    const AgePageTable *pt = opaque;
    AgePath path;

    if (!d->leaf) {
        return;
    }
    age_pt_walk(pt, gpa, &path);
    for (int h = height; h < pt->geo.root_height; h++) {
        const uint64_t *entry = path.entry[h];

        g_assert_false(d->accessed &&
                       age_summary_is_none(age_summary_of(entry, false)));
        g_assert_false(d->dirty && pt->fmt->dirty &&
                       age_summary_is_none(age_summary_of(entry, true)));
    }
}

void check_summaries(const AgePageTable *pt)
{
    tree_visit(pt, check_leaf_summaries, (void *)pt);
}

void check_tables(const AgePageTable *pt)
{
    TreeCount c = tree_count(pt);

    for (int h = 0; h <= AGE_MAX_HEIGHT; h++) {
        g_assert_cmpuint(pt->tables[h], ==, c.tables[h]);
    }
}
