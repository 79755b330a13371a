/*
 * age: harvests of two MMUs, the accelerator and a device, against a model
 *
 * The device can or can't answer for single pages; the guest is stopped.  Every
 * bit and every answer must be what a simple model of the contract says.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "board.h"
#include "device.h"
#include "qmp.h"

#define DIMM_SIZE       (8 * MiB)
/* RAM and DIMMs; another one is unplugged, which makes a hole. */
#define REGIONS         4
#define HOLE            2

#define EPOCHS          40
#define CALLS           250
#define MAX_RANGES      4
#define MAX_PAGES       6000
/* Pages before the place that a range is meant for: more than the hole has */
#define MAX_BEFORE      2500
#define MAX_STEPS       30

enum { CPU, DMA, MMUS };

/* What is young, and what the call at hand clears */
typedef struct Page {
    bool young[MMUS];
    bool clear[MMUS];
} Page;

typedef struct Region {
    uint64_t gpa, hva, size;
    Page *page;
} Region;

typedef enum How { BITMAP, CLEAR_YOUNG, REFUSED, HOWS } How;

static const char *const how_names[] = { "bitmap", "clear-young", "refused" };

/* What is young where; @seen counts pages, by answer and by who used them. */
typedef struct Model {
    AgeGuest *g;
    AgeDev *d;
    Region region[REGIONS];
    unsigned num;
    GArray *slots;
    bool on;
    uint64_t seen[HOWS][1 << MMUS];
} Model;

/*
 * One of a harvest.  @place is in it and has memory; @map ends as what should
 * come back, and @young are the @count pages flipped in it; @taken is whether
 * a fallback should have found any.
 */
typedef struct Range {
    uint64_t start, place;
    unsigned count, young;
    uint8_t *map;
    size_t bytes;
    bool taken;
} Range;

typedef struct Call {
    unsigned num;
    Range range[MAX_RANGES];
    bool hva, fallback, bitmap;
    How how;
} Call;

static unsigned random_below(unsigned n)
{
    return g_test_rand_int_range(0, n);
}

/* Returns NULL where no memory of the test is */
static Page *find_page(const Model *m, bool hva, uint64_t address)
{
    for (unsigned i = 0; i < m->num; i++) {
        const Region *r = &m->region[i];
        uint64_t offset = address - (hva ? r->hva : r->gpa);

        if (offset < r->size) {
            return &r->page[offset / AGE_PAGE];
        }
    }
    return NULL;
}

/* The contract */

static void expect_page(Model *m, Call *c, Range *r, unsigned bit, Page *p)
{
    bool clear = r->map[bit / 8] >> (bit % 8) & 1;
    bool young = p->young[CPU];

    m->seen[c->how][p->young[CPU] << CPU | p->young[DMA] << DMA]++;
    if (c->how == BITMAP) {
        young |= p->young[DMA];
    } else if (c->how == CLEAR_YOUNG) {
        r->taken |= p->young[DMA];
    }
    p->clear[CPU] |= clear;
    p->clear[DMA] |= c->how == CLEAR_YOUNG || (c->how == BITMAP && clear);
    if (young) {
        r->map[bit / 8] ^= 1 << (bit % 8);
        r->young++;
    }
}

/* Look at @r in the model, and note what it clears */
static void expect_range(Model *m, Call *c, Range *r)
{
    if (!r->map) {
        r->bytes = DIV_ROUND_UP(r->count, 8);
        r->map = g_malloc(r->bytes);
        memset(r->map, 0xff, r->bytes);
    }
    for (unsigned i = 0; i < r->count; i++) {
        Page *p = find_page(m, c->hva, r->start + i * AGE_PAGE);

        if (p) {
            expect_page(m, c, r, r->count - i - 1, p);
        }
    }
}

static void clear_pages(Region *r)
{
    for (unsigned i = 0; i < r->size / AGE_PAGE; i++) {
        for (unsigned mmu = 0; mmu < MMUS; mmu++) {
            r->page[i].young[mmu] &= !r->page[i].clear[mmu];
            r->page[i].clear[mmu] = false;
        }
    }
}

/*
 * Harvest all ranges from the model.  Where they overlap, each is told the
 * same, and any of them clears.
 */
static void expect_call(Model *m, Call *c)
{
    for (unsigned i = 0; i < c->num; i++) {
        expect_range(m, c, &c->range[i]);
    }
    for (unsigned i = 0; i < m->num; i++) {
        clear_pages(&m->region[i]);
    }
}

static void check_answers(const Call *c, const Range *r, const QDict *result)
{
    QList *answers = qdict_get_qlist(result, "answers");
    const QListEntry *entry;
    unsigned seen = 0;

    QLIST_FOREACH_ENTRY(answers, entry) {
        QDict *answer = qobject_to(QDict, entry->value);
        bool dma = g_str_equal(qdict_get_str(answer, "mmu"), "dma0");
        How how = dma ? c->how : BITMAP;

        g_assert(dma || g_str_equal(qdict_get_str(answer, "mmu"), "age"));
        g_assert_cmpstr(qdict_get_str(answer, "how"), ==, how_names[how]);
        g_assert(qdict_haskey(answer, "reason") == (how != BITMAP));
        g_assert(qdict_haskey(answer, "young") == (how == CLEAR_YOUNG));
        if (how == CLEAR_YOUNG) {
            g_assert(qdict_get_bool(answer, "young") == r->taken);
        }
        seen |= 1 << dma;
    }
    g_assert_cmpuint(qlist_size(answers), ==, MMUS);
    g_assert_cmphex(seen, ==, (1 << MMUS) - 1);
}

static void check_range(const Call *c, const Range *r, const QDict *result)
{
    g_autofree uint8_t *map = NULL;
    gsize bytes;

    g_assert_cmphex(age_get_uint(result, "start"), ==, r->start);
    g_assert_cmphex(age_get_uint(result, "end"), ==,
                    r->start + r->count * AGE_PAGE);
    g_assert(qdict_get_bool(result, "handled") == (c->how == BITMAP));
    g_assert(qdict_haskey(result, "reason") == (c->how != BITMAP));
    g_assert_cmpuint(age_get_uint(result, "young-pages"), ==, r->young);
    check_answers(c, r, result);
    if (c->bitmap) {
        map = g_base64_decode(qdict_get_str(result, "bitmap"), &bytes);
        g_assert_cmpmem(map, bytes, r->map, r->bytes);
    }
}

/* Random calls */

/*
 * How far a range from @start on may go, not to meet what is no memory of the
 * test: who knows what is young there.
 */
static uint64_t find_limit(const Model *m, bool hva, uint64_t start)
{
    uint64_t limit = start + MAX_PAGES * AGE_PAGE;

    for (unsigned i = 0; i < m->slots->len; i++) {
        AgeSlotInfo *slot = &g_array_index(m->slots, AgeSlotInfo, i);
        uint64_t at = hva ? slot->hva : slot->gpa;

        if (at <= start && start - at < slot->size) {
            limit = find_page(m, hva, start) ? limit : start;
        } else if (at > start && !find_page(m, hva, at)) {
            limit = MIN(limit, at);
        }
    }
    return limit;
}

/* All zeroes, all ones, mostly one of them, or evenly mixed; or none */
static void random_map(Range *r)
{
    unsigned kind = random_below(6);

    r->bytes = DIV_ROUND_UP(r->count, 8) + random_below(2) * random_below(20);
    r->map = kind ? g_malloc(r->bytes) : NULL;
    for (size_t i = 0; kind && i < r->bytes; i++) {
        uint8_t any = random_below(256);
        uint8_t few = any & random_below(256) & random_below(256);
        const uint8_t choice[] = { 0, 0xff, few, ~few, any };

        r->map[i] = choice[kind - 1];
    }
}

/* Ranges may begin and end anywhere, but meet memory at some place. */
static void random_range(const Model *m, Range *r, const Range *other,
                         bool hva)
{
    static const unsigned most[] = { 4, 70, 70, 200, 1500, 5000 };
    const Region *region = &m->region[random_below(m->num)];
    unsigned before = random_below(3) ? 0 : random_below(MAX_BEFORE);

    r->place = other && random_below(2) ? other->place :
               (hva ? region->hva : region->gpa) +
               random_below(region->size / AGE_PAGE) * AGE_PAGE;
    if (before * AGE_PAGE > r->place ||
        find_limit(m, hva, r->place - before * AGE_PAGE) <= r->place) {
        before = 0;
    }
    r->start = r->place - before * AGE_PAGE;
    r->count = before + 1 +
               random_below(most[random_below(G_N_ELEMENTS(most))]);
    r->count = MIN(r->count, (find_limit(m, hva, r->start) - r->start) /
                             AGE_PAGE);
    random_map(r);
}

static QDict *do_call(const Model *m, const Call *c)
{
    QList *ranges = qlist_new();
    g_autofree char *options = g_strdup_printf(
        "{ 'address': '%s', 'format': '%s', 'fallback': %s, 'flush': '%s' }",
        c->hva ? "hva" : "gpa", c->bitmap ? "bitmap" : "count",
        c->fallback ? "true" : "false", random_below(2) ? "request" : "none");

    for (unsigned i = 0; i < c->num; i++) {
        const Range *r = &c->range[i];

        age_add_range(ranges, r->start, r->start + r->count * AGE_PAGE,
                      r->map, r->bytes);
    }
    return age_harvest(m->g->qts, ranges, options);
}

static void check_call(Model *m)
{
    Call c = {
        .num = random_below(2) ? 1 : 1 + random_below(MAX_RANGES),
        .hva = random_below(2),
        .fallback = random_below(2),
        .bitmap = random_below(4),
    };
    g_autoptr(QDict) result = NULL;
    const QListEntry *entry;
    bool taken = false;

    c.how = m->on ? BITMAP : c.fallback ? CLEAR_YOUNG : REFUSED;
    for (unsigned i = 0; i < c.num; i++) {
        random_range(m, &c.range[i], i ? &c.range[i - 1] : NULL, c.hva);
    }
    result = do_call(m, &c);
    expect_call(m, &c);
    entry = qlist_first(qdict_get_qlist(result, "ranges"));
    for (unsigned i = 0; i < c.num; i++, entry = qlist_next(entry)) {
        check_range(&c, &c.range[i], qobject_to(QDict, entry->value));
        taken |= c.range[i].taken;
        g_free(c.range[i].map);
    }
    g_assert(!entry);
    g_assert_cmpint(qdict_get_int(result, "young"), ==, taken);
    g_assert_cmpint(qdict_get_bool(result, "fallback-young"), ==, taken);
}

static void mark(Model *m, unsigned mmu, uint64_t address, uint64_t length)
{
    for (uint64_t at = QEMU_ALIGN_DOWN(address, AGE_PAGE);
         at < address + length; at += AGE_PAGE) {
        find_page(m, false, at)->young[mmu] = true;
    }
}

/* Have the device do something to @count places, and to none besides */
static void touch_by_device(Model *m, uint64_t start, unsigned count,
                            uint64_t stride)
{
    uint64_t length = 1 + random_below(AGE_PAGE);
    uint64_t address = start + random_below(AGE_PAGE);
    bool random = random_below(2);
    uint64_t seed = random_below(INT_MAX);
    /* From the command's register on, up to that of the seed */
    const uint64_t job[] = {
        1 + random_below(AGE_DEVICE_COMMAND_FILL),
        random ? AGE_DEVICE_PATTERN_RANDOM : AGE_DEVICE_PATTERN_STRIDE,
        address, address, length, count, stride, count * stride, seed,
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(job); i++) {
        age_dev_set(m->d, AGE_DEVICE_COMMAND + 8 * i, job[i]);
    }
    age_dev_do(m->d);
    for (unsigned i = 0; i < count; i++) {
        uint64_t step = random ? age_device_random(seed, i) % count : i;

        mark(m, DMA, address + step * stride, length);
    }
}

/* Random places, for the MMUs whose bits are in @mmus */
static void touch(Model *m, unsigned mmus)
{
    static const unsigned strides[] = { 1, 1, 1, 2, 3, 7, 64, 65 };
    unsigned stride = strides[random_below(G_N_ELEMENTS(strides))];
    unsigned count = 1 + random_below(MAX_STEPS);
    const Region *r = &m->region[random_below(m->num)];
    /* Steps of the device may end in one page more. */
    unsigned last = r->size / AGE_PAGE - (count - 1) * stride - 2;
    uint64_t start = r->gpa + random_below(last + 1) * AGE_PAGE;

    if (mmus & 1 << CPU) {
        age_guest_send(m->g, 0, 1 + random_below(AGE_GUEST_WRITE), start,
                       count, stride * AGE_PAGE);
        age_guest_wait(m->g, 0);
        for (unsigned i = 0; i < count; i++) {
            mark(m, CPU, start + i * stride * AGE_PAGE, AGE_PAGE);
        }
    }
    if (mmus & 1 << DMA) {
        touch_by_device(m, start, count, stride * AGE_PAGE);
    }
}

static void toggle(Model *m)
{
    m->on = !m->on;
    age_dev_set_young(m->d, m->on);
}

static void find_regions(Model *m)
{
    m->slots = age_slots(m->g->qts);
    for (unsigned i = 0; i < m->slots->len; i++) {
        AgeSlotInfo *slot = &g_array_index(m->slots, AgeSlotInfo, i);
        uint64_t gpa = MAX(slot->gpa, m->g->memory);
        Region *r = &m->region[m->num];

        if (g_str_equal(slot->space, "memory") &&
            (slot->size == DIMM_SIZE || slot->gpa + slot->size == m->g->end)) {
            g_assert_cmpuint(m->num++, <, REGIONS);
            r->gpa = gpa;
            r->hva = slot->hva + (gpa - slot->gpa);
            r->size = slot->size - (gpa - slot->gpa);
            r->page = g_new0(Page, r->size / AGE_PAGE);
        }
    }
    g_assert_cmpuint(m->num, ==, REGIONS);
    /* Two slots side by side, a hole, and one more */
    g_assert_cmphex(m->region[2].gpa, ==, m->region[1].gpa + DIMM_SIZE);
    g_assert_cmphex(m->region[3].gpa, ==, m->region[2].gpa + 2 * DIMM_SIZE);
}

static void start(Model *m, const char *args)
{
    g_autofree char *all = g_strdup_printf("%s -m " AGE_BOARD_MEMORY, args);

    m->d = age_dev_start(all);
    m->g = m->d->g;
    m->on = true;
    for (unsigned i = 0; i < REGIONS; i++) {
        age_plug_dimm(m->g->qts, i, "8M");
    }
    age_unplug_dimm(m->g->qts, HOLE);
    find_regions(m);
}

static void test_chain(const void *args)
{
    bool all = !strstr(args, "worker") || g_test_thorough();
    Model m = {};

    start(&m, args);
    for (unsigned i = 0; i < (all ? EPOCHS : EPOCHS / 5); i++) {
        /* Pages that are in the TLB would stay old, so that goes first. */
        age_guest_cont(m.g);
        age_guest_touch(m.g, AGE_GUEST_READ | AGE_GUEST_FLUSH, 0, 0);
        for (unsigned k = 0; k < 60; k++) {
            touch(&m, 1 + random_below((1 << MMUS) - 1));
        }
        age_guest_stop(m.g);
        for (unsigned k = 0; k < CALLS; k++) {
            if (random_below(6) == 0) {
                toggle(&m);
            }
            if (random_below(6) == 0) {
                touch(&m, 1 << DMA);
            }
            check_call(&m);
        }
    }
    for (unsigned i = 0; i < HOWS << MMUS; i++) {
        g_assert_cmpuint(m.seen[i >> MMUS][i % (1 << MMUS)], >, 0);
    }
    for (unsigned i = 0; i < m.num; i++) {
        g_free(m.region[i].page);
    }
    g_array_unref(m.slots);
    age_dev_quit(m.d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_data_func("age/chain/slices", AGE_DEV, test_chain);
    qtest_add_data_func("age/chain/worker", AGE_DEV_WORKER, test_chain);
    return g_test_run();
}
