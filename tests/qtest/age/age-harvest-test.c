/*
 * age: harvests against a model
 *
 * The guest makes pages young and is stopped, so that the test knows which
 * are.  Then come thousands of random harvests, whose every bit must be what a
 * simple model of the contract says.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "guest.h"
#include "qmp.h"

#define EPOCHS          12
#define CALLS           250
#define MAX_RANGES      4
#define MAX_OVERSHOOT   100

/**
 * Model: which pages of the test's memory are young
 *
 * @g: the guest
 * @pages: number of pages
 * @unit: how many pages are young and old together: those of a leaf
 * @young: one for each unit
 * @clear: the units that some range of a call has cleared
 * @hva: host address of the first page
 * @overshoot: how far behind the last page a range by host addresses may go
 *     without meeting another slot
 */
typedef struct Model {
    AgeGuest *g;
    unsigned pages;
    unsigned unit;
    bool *young;
    bool *clear;
    uint64_t hva;
    unsigned overshoot;
} Model;

/**
 * Range: one of a harvest
 *
 * @start: first address
 * @first: its page
 * @count: number of pages
 * @map: the bitmap, NULL for none; in the end, what should come back
 * @bytes: its size
 * @young: the pages that should be young, one bit each as in @map
 */
typedef struct Range {
    uint64_t start;
    unsigned first;
    unsigned count;
    uint8_t *map;
    size_t bytes;
    uint8_t *young;
} Range;

typedef struct Call {
    unsigned num;
    Range range[MAX_RANGES];
    const char *address;
    const char *format;
} Call;

static bool get_bit(const uint8_t *map, unsigned bit)
{
    return map[bit / 8] & (1 << (bit % 8));
}

static void flip_bit(uint8_t *map, unsigned bit)
{
    map[bit / 8] ^= 1 << (bit % 8);
}

/* The contract */

/* The pages of @r from @from to before @to make a unit. */
static void expect_unit(Model *m, Range *r, unsigned from, unsigned to,
                        const uint8_t *select)
{
    if (!m->young[from / m->unit]) {
        return;
    }
    for (unsigned page = from; page < to; page++) {
        unsigned bit = r->first + r->count - page - 1;

        m->clear[from / m->unit] |= get_bit(select, bit);
        flip_bit(r->map, bit);
        flip_bit(r->young, bit);
    }
}

/* Look at @r in the model, and note what it clears */
static void expect_range(Model *m, Range *r)
{
    unsigned end = MIN(r->first + r->count, m->pages);
    g_autofree uint8_t *select = NULL;
    unsigned to;

    if (!r->map) {
        r->bytes = DIV_ROUND_UP(r->count, 8);
        r->map = g_malloc(r->bytes);
        memset(r->map, 0xff, r->bytes);
    }
    select = g_memdup2(r->map, r->bytes);
    r->young = g_malloc0(r->bytes);
    for (unsigned from = r->first; from < end; from = to) {
        to = MIN(QEMU_ALIGN_DOWN(from, m->unit) + m->unit, end);
        expect_unit(m, r, from, to, select);
    }
}

/*
 * Harvest all ranges from the model.  Where they overlap, each is told the
 * same, and any of them clears.
 */
static void expect_call(Model *m, Call *c)
{
    unsigned units = m->pages / m->unit;

    memset(m->clear, 0, units * sizeof(bool));
    for (unsigned i = 0; i < c->num; i++) {
        expect_range(m, &c->range[i]);
    }
    for (unsigned i = 0; i < units; i++) {
        m->young[i] &= !m->clear[i];
    }
}

static void check_bitmap(const Range *r, const QDict *result)
{
    gsize bytes;
    g_autofree uint8_t *map = g_base64_decode(qdict_get_str(result, "bitmap"),
                                              &bytes);

    g_assert_cmpmem(map, bytes, r->map, r->bytes);
}

/* Runs are as long as can be, and so alternate with what is old. */
static void check_runs(const Range *r, const QDict *result)
{
    const QListEntry *entry = qlist_first(qdict_get_qlist(result, "runs"));
    bool was_young = false;

    for (unsigned page = 0; page <= r->count; page++) {
        bool young = page < r->count &&
                     get_bit(r->young, r->count - page - 1);
        uint64_t address = r->start + page * AGE_PAGE;

        if (young && !was_young) {
            g_assert(entry);
            g_assert_cmphex(age_get_uint(qobject_to(QDict, entry->value),
                                         "start"), ==, address);
        } else if (was_young && !young) {
            g_assert_cmphex(age_get_uint(qobject_to(QDict, entry->value),
                                         "end"), ==, address);
            entry = qlist_next(entry);
        }
        was_young = young;
    }
    g_assert(!entry);
}

static void check_range(const Call *c, const Range *r, const QDict *result)
{
    unsigned young = 0;

    for (unsigned bit = 0; bit < r->count; bit++) {
        young += get_bit(r->young, bit);
    }
    g_assert_cmphex(age_get_uint(result, "start"), ==, r->start);
    g_assert_cmphex(age_get_uint(result, "end"), ==,
                    r->start + r->count * AGE_PAGE);
    g_assert(qdict_get_bool(result, "handled"));
    g_assert(!qdict_haskey(result, "reason"));
    g_assert_cmpint(qdict_get_int(result, "young-pages"), ==, young);
    g_assert(qdict_haskey(result, "bitmap") ==
             g_str_equal(c->format, "bitmap"));
    g_assert(qdict_haskey(result, "runs") == g_str_equal(c->format, "runs"));
    if (qdict_haskey(result, "bitmap")) {
        check_bitmap(r, result);
    } else if (qdict_haskey(result, "runs")) {
        check_runs(r, result);
    }
}

/* Random calls */

static unsigned random_below(unsigned n)
{
    return g_test_rand_int_range(0, n);
}

/* Some few pages, or a word's worth, or several tables' */
static unsigned random_count(const Model *m)
{
    static const unsigned most[] = { 4, 70, 70, 200, 1500 };

    if (random_below(200) == 0) {
        return m->pages;
    }
    return 1 + random_below(most[random_below(G_N_ELEMENTS(most))]);
}

/* All zeroes, all ones, mostly one of them, in clusters, or evenly mixed */
static void random_bits(uint8_t *map, size_t bytes)
{
    unsigned kind = random_below(6);

    for (size_t i = 0; i < bytes; i++) {
        uint8_t any = random_below(256);
        uint8_t few = any & random_below(256) & random_below(256);
        uint8_t block = (i / 8) % 2 ? 0xff : 0;
        const uint8_t choice[] = { 0, 0xff, few, ~few, block, any };

        map[i] = choice[kind];
    }
}

/* Often more bits than pages */
static void random_map(Range *r)
{
    if (random_below(4) == 0) {
        return;
    }
    r->bytes = DIV_ROUND_UP(r->count, 8);
    if (random_below(2)) {
        r->bytes += random_below(20);
    }
    r->map = g_malloc(r->bytes);
    random_bits(r->map, r->bytes);
}

/* Somewhere, or overlapping @other; some go on behind the memory. */
static void random_range(const Model *m, Range *r, const Range *other,
                         bool hva)
{
    unsigned overshoot = hva ? m->overshoot : MAX_OVERSHOOT;

    r->count = random_count(m);
    r->first = random_below(m->pages);
    if (other && random_below(2)) {
        r->first = other->first + random_below(other->count);
        r->first = MIN(r->first, m->pages - 1);
    }
    r->count = MIN(r->count, m->pages + overshoot - r->first);
    r->start = (hva ? m->hva : m->g->memory) + r->first * AGE_PAGE;
    random_map(r);
}

static void random_call(const Model *m, Call *c)
{
    static const char *const formats[] = { "bitmap", "runs", "count" };
    bool hva = random_below(2);

    *c = (Call) {
        .num = random_below(2) ? 1 : 1 + random_below(MAX_RANGES),
        .address = hva ? "hva" : "gpa",
        .format = formats[random_below(G_N_ELEMENTS(formats))],
    };
    for (unsigned i = 0; i < c->num; i++) {
        random_range(m, &c->range[i], i ? &c->range[i - 1] : NULL, hva);
    }
}

static void call_clear(Call *c)
{
    for (unsigned i = 0; i < c->num; i++) {
        g_free(c->range[i].map);
        g_free(c->range[i].young);
    }
}

static QDict *do_call(const Model *m, const Call *c)
{
    QList *ranges = qlist_new();
    g_autofree char *options = g_strdup_printf(
        "{ \"address\": \"%s\", \"format\": \"%s\", \"fallback\": %s,"
        " \"flush\": \"%s\" }", c->address, c->format,
        random_below(2) ? "true" : "false",
        random_below(2) ? "request" : "none");

    for (unsigned i = 0; i < c->num; i++) {
        const Range *r = &c->range[i];

        age_add_range(ranges, r->start, r->start + r->count * AGE_PAGE,
                      r->map, r->bytes);
    }
    return age_harvest(m->g->qts, ranges, options);
}

static void check_call(Model *m)
{
    g_autoptr(QDict) result = NULL;
    const QListEntry *entry;
    Call c;

    random_call(m, &c);
    result = do_call(m, &c);
    g_assert_cmpint(qdict_get_int(result, "young"), ==, 0);
    g_assert_cmpint(qdict_get_int(result, "begin-ns"), <=,
                    qdict_get_int(result, "end-ns"));

    expect_call(m, &c);
    entry = qlist_first(qdict_get_qlist(result, "ranges"));
    for (unsigned i = 0; i < c.num; i++) {
        g_assert(entry);
        check_range(&c, &c.range[i], qobject_to(QDict, entry->value));
        entry = qlist_next(entry);
    }
    g_assert(!entry);
    call_clear(&c);
}

/* The guest */

static void touch_one(Model *m)
{
    static const unsigned strides[] = { 1, 1, 1, 2, 3, 7, 64, 65, 513 };
    unsigned stride = strides[random_below(G_N_ELEMENTS(strides))];
    unsigned first = random_below(m->pages);
    unsigned most = (m->pages - first - 1) / stride + 1;
    unsigned count = 1 + random_below(MIN(most, 150));

    age_guest_send(m->g, 0, random_below(2) ? AGE_GUEST_READ : AGE_GUEST_WRITE,
                   m->g->memory + first * AGE_PAGE, count, stride * AGE_PAGE);
    age_guest_wait(m->g, 0);
    for (unsigned i = 0; i < count; i++) {
        m->young[(first + i * stride) / m->unit] = true;
    }
}

/* Pages that are in the guest's TLB would stay old, so that goes first. */
static void touch_some(Model *m)
{
    age_guest_cont(m->g);
    age_guest_touch(m->g, AGE_GUEST_READ | AGE_GUEST_FLUSH, 0, 0);
    for (unsigned i = 0; i < 25; i++) {
        touch_one(m);
    }
    age_guest_stop(m->g);
}

/* Find where the memory is in QEMU, and how much is free behind it */
static void find_hva(Model *m)
{
    g_autoptr(GArray) slots = age_slots(m->g->qts);
    AgeSlotInfo slot;
    uint64_t end;

    g_assert(age_find_slot(m->g->qts, "memory", m->g->memory, &slot));
    m->hva = slot.hva + (m->g->memory - slot.gpa);
    end = m->hva + m->pages * AGE_PAGE;
    m->overshoot = MAX_OVERSHOOT;
    for (unsigned i = 0; i < slots->len; i++) {
        AgeSlotInfo *other = &g_array_index(slots, AgeSlotInfo, i);

        if (other->hva >= end) {
            m->overshoot = MIN(m->overshoot, (other->hva - end) / AGE_PAGE);
        }
    }
}

static void test_model(const char *accel, unsigned unit)
{
    AgeGuestOptions options = { .accel = accel };
    Model m = { .g = age_guest_start(&options), .unit = unit };

    m.pages = (m.g->end - m.g->memory) / AGE_PAGE;
    m.young = g_new0(bool, m.pages / unit);
    m.clear = g_new0(bool, m.pages / unit);
    find_hva(&m);
    age_guest_stop(m.g);
    for (unsigned i = 0; i < EPOCHS; i++) {
        touch_some(&m);
        for (unsigned k = 0; k < CALLS; k++) {
            check_call(&m);
        }
    }
    g_free(m.young);
    g_free(m.clear);
    age_guest_quit(m.g);
}

static void test_pages(void)
{
    test_model("", 1);
}

/* A young block makes all its pages young, and any of them makes it old. */
static void test_blocks(void)
{
    test_model(",page-size=2m", AGE_BLOCK / AGE_PAGE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("age/harvest/pages", test_pages);
    qtest_add_func("age/harvest/blocks", test_blocks);

    return g_test_run();
}
