/*
 * The commands of the accelerator, for its tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qobject/qjson.h"
#include "qobject/qnum.h"
#include "guest.h"
#include "qmp.h"

uint64_t age_get_uint(const QDict *dict, const char *key)
{
    return qnum_get_uint(qobject_to(QNum, qdict_get(dict, key)));
}

/* Harvests */

void age_add_range(QList *ranges, uint64_t start, uint64_t end,
                   const uint8_t *map, size_t bytes)
{
    QDict *range = qdict_new();

    qdict_put_obj(range, "start", QOBJECT(qnum_from_uint(start)));
    qdict_put_obj(range, "end", QOBJECT(qnum_from_uint(end)));
    if (map) {
        g_autofree char *text = g_base64_encode(map, bytes);

        qdict_put_str(range, "bitmap", text);
    }
    qlist_append(ranges, range);
}

void age_add_test_range(QList *ranges, uint64_t start, uint64_t end)
{
    size_t bytes = DIV_ROUND_UP((end - start) / AGE_PAGE, 8);
    g_autofree uint8_t *zeroes = g_malloc0(bytes);

    age_add_range(ranges, start, end, zeroes, bytes);
}

void age_add_clear_range(QList *ranges, uint64_t start, uint64_t end)
{
    age_add_range(ranges, start, end, NULL, 0);
}

QDict *age_harvest_args(QList *ranges, const char *options)
{
    QObject *args = qobject_from_json(options ?: "{}", &error_abort);

    qdict_put(qobject_to(QDict, args), "ranges", ranges);
    return qobject_to(QDict, args);
}

QDict *age_harvest(QTestState *qts, QList *ranges, const char *options)
{
    return qtest_qmp_assert_success_ref(
        qts, "{ 'execute': 'age-test-clear-young', 'arguments': %p }",
        age_harvest_args(ranges, options));
}

static QDict *first_range(const QDict *result)
{
    return qobject_to(QDict, qlist_peek(qdict_get_qlist(result, "ranges")));
}

static QDict *harvest_one(QTestState *qts, uint64_t start, uint64_t end,
                          bool clear, const char *options)
{
    QList *ranges = qlist_new();

    if (clear) {
        age_add_clear_range(ranges, start, end);
    } else {
        age_add_test_range(ranges, start, end);
    }
    return age_harvest(qts, ranges, options);
}

uint64_t age_count(QTestState *qts, uint64_t start, uint64_t end, bool clear)
{
    g_autoptr(QDict) result = harvest_one(qts, start, end, clear,
                                          "{ 'format': 'count' }");

    return age_get_uint(first_range(result), "young-pages");
}

void age_wait_flushed(QTestState *qts)
{
    int64_t deadline = 0;

    for (;;) {
        g_autoptr(QDict) info = age_query(qts);

        if (!qdict_get_bool(info, "flush-pending")) {
            return;
        }
        age_poll(&deadline);
    }
}

void age_flush_all(QTestState *qts)
{
    g_autoptr(GArray) slots = age_slots(qts);
    QList *ranges = qlist_new();
    QDict *result;

    for (unsigned i = 0; i < slots->len; i++) {
        AgeSlotInfo *slot = &g_array_index(slots, AgeSlotInfo, i);

        age_add_clear_range(ranges, slot->gpa, slot->gpa + slot->size);
    }
    result = age_harvest(qts, ranges,
                         "{ 'format': 'count', 'flush': 'request' }");
    qobject_unref(result);
    age_wait_flushed(qts);
}

/* query-age */

QDict *age_query(QTestState *qts)
{
    return qtest_qmp_assert_success_ref(qts, "{ 'execute': 'query-age' }");
}

uint64_t age_generation(QTestState *qts)
{
    g_autoptr(QDict) info = age_query(qts);

    return age_get_uint(info, "generation");
}

uint64_t age_counter(QTestState *qts, const char *name)
{
    g_autoptr(QDict) info = age_query(qts);

    return age_get_uint(qdict_get_qdict(info, "counters"), name);
}

uint64_t age_num_tables(QTestState *qts, int level)
{
    g_autoptr(QDict) info = age_query(qts);
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(info, "tables"), entry) {
        QDict *tables = qobject_to(QDict, entry->value);

        if (qdict_get_int(tables, "level") == level) {
            return age_get_uint(tables, "tables");
        }
    }
    g_assert_not_reached();
}

GArray *age_slots(QTestState *qts)
{
    GArray *slots = g_array_new(false, true, sizeof(AgeSlotInfo));
    g_autoptr(QDict) info = age_query(qts);
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(info, "slots"), entry) {
        QDict *dict = qobject_to(QDict, entry->value);
        AgeSlotInfo slot = {
            .gpa = age_get_uint(dict, "gpa"),
            .size = age_get_uint(dict, "size"),
            .hva = age_get_uint(dict, "hva"),
            .readonly = qdict_get_bool(dict, "read-only"),
        };

        g_strlcpy(slot.space, qdict_get_str(dict, "address-space"),
                  sizeof(slot.space));
        g_array_append_val(slots, slot);
    }
    return slots;
}

bool age_find_slot(QTestState *qts, const char *space, uint64_t gpa,
                   AgeSlotInfo *slot)
{
    g_autoptr(GArray) slots = age_slots(qts);

    for (unsigned i = 0; i < slots->len; i++) {
        *slot = g_array_index(slots, AgeSlotInfo, i);
        if (g_str_equal(slot->space, space) &&
            slot->gpa <= gpa && gpa - slot->gpa < slot->size) {
            return true;
        }
    }
    return false;
}

/* query-age-walk */

QList *age_walk(QTestState *qts, const char *space, uint64_t gpa)
{
    g_autoptr(QDict) walk = qtest_qmp_assert_success_ref(
        qts, "{ 'execute': 'query-age-walk', 'arguments': {"
        " 'gpa': %" PRIu64 ", 'address-space': %s } }", gpa, space);

    return qobject_ref(qdict_get_qlist(walk, "entries"));
}

void age_parse_entry(const QDict *entry, AgeLeafInfo *info)
{
    *info = (AgeLeafInfo) {
        .level = qdict_get_int(entry, "level"),
        .index = qdict_get_int(entry, "index"),
        .value = age_get_uint(entry, "value"),
        .address = age_get_uint(entry, "address"),
        .read = qdict_get_bool(entry, "read"),
        .write = qdict_get_bool(entry, "write"),
        .execute = qdict_get_bool(entry, "execute"),
        .accessed = qdict_get_bool(entry, "accessed"),
        .dirty = qdict_get_bool(entry, "dirty"),
    };
}

bool age_leaf(QTestState *qts, const char *space, uint64_t gpa,
              AgeLeafInfo *leaf)
{
    g_autoptr(QList) entries = age_walk(qts, space, gpa);
    const QListEntry *entry;
    QDict *last = NULL;

    QLIST_FOREACH_ENTRY(entries, entry) {
        last = qobject_to(QDict, entry->value);
    }
    if (!last || !qdict_get_bool(last, "leaf")) {
        return false;
    }
    age_parse_entry(last, leaf);
    return true;
}

/* Sets of pages */

GArray *age_pages_new(void)
{
    return g_array_new(false, false, sizeof(uint64_t));
}

static int compare_pages(gconstpointer a, gconstpointer b)
{
    uint64_t pa = *(const uint64_t *)a, pb = *(const uint64_t *)b;

    return pa < pb ? -1 : pa > pb;
}

/* Sort it, and keep one of each */
static void tidy_pages(GArray *pages)
{
    uint64_t *page = (uint64_t *)pages->data;
    unsigned kept = 0;

    g_array_sort(pages, compare_pages);
    for (unsigned i = 0; i < pages->len; i++) {
        if (i == 0 || page[i] != page[i - 1]) {
            page[kept++] = page[i];
        }
    }
    g_array_set_size(pages, kept);
}

void age_pages_add(GArray *pages, uint64_t start, uint64_t count,
                   uint64_t stride)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t page = QEMU_ALIGN_DOWN(start + i * stride, AGE_PAGE);

        g_array_append_val(pages, page);
    }
    tidy_pages(pages);
}

GArray *age_pages_of(uint64_t start, uint64_t count)
{
    GArray *pages = age_pages_new();

    age_pages_add(pages, start, count, AGE_PAGE);
    return pages;
}

static void add_runs(GArray *pages, const QDict *range)
{
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(range, "runs"), entry) {
        QDict *run = qobject_to(QDict, entry->value);
        uint64_t end = age_get_uint(run, "end");

        for (uint64_t page = age_get_uint(run, "start"); page < end;
             page += AGE_PAGE) {
            g_array_append_val(pages, page);
        }
    }
}

static void add_bits(GArray *pages, const QDict *range, bool clear)
{
    gsize size;
    g_autofree uint8_t *map = g_base64_decode(qdict_get_str(range, "bitmap"),
                                              &size);
    uint64_t start = age_get_uint(range, "start");
    uint64_t end = age_get_uint(range, "end");

    for (uint64_t page = start; page < end; page += AGE_PAGE) {
        uint64_t bit = (end - page) / AGE_PAGE - 1;

        if ((map[bit / 8] >> bit % 8 & 1) != clear) {
            g_array_append_val(pages, page);
        }
    }
}

void age_add_told_pages(GArray *pages, const QDict *range, bool clear)
{
    if (qdict_haskey(range, "runs")) {
        add_runs(pages, range);
    } else {
        add_bits(pages, range, clear);
    }
    tidy_pages(pages);
}

GArray *age_young_pages(QTestState *qts, uint64_t start, uint64_t end,
                        bool clear)
{
    g_autoptr(QDict) result = harvest_one(qts, start, end, clear,
                                          "{ 'format': 'runs' }");
    QDict *range = first_range(result);
    GArray *pages = age_pages_new();

    age_add_told_pages(pages, range, clear);
    g_assert_cmpuint(pages->len, ==, age_get_uint(range, "young-pages"));
    return pages;
}

GArray *age_all_young_pages(QTestState *qts, const char *space, bool clear)
{
    g_autoptr(GArray) slots = age_slots(qts);
    GArray *pages = age_pages_new();

    for (unsigned i = 0; i < slots->len; i++) {
        AgeSlotInfo *slot = &g_array_index(slots, AgeSlotInfo, i);

        if (g_str_equal(slot->space, space)) {
            g_autoptr(GArray) young = age_young_pages(
                qts, slot->gpa, slot->gpa + slot->size, clear);

            g_array_append_vals(pages, young->data, young->len);
        }
    }
    tidy_pages(pages);
    return pages;
}

static char *describe_pages(const GArray *pages)
{
    GString *text = g_string_new("");

    for (unsigned i = 0; i < pages->len; i++) {
        g_string_append_printf(text, " %" PRIx64,
                               g_array_index(pages, uint64_t, i));
    }
    return g_string_free(text, false);
}

void age_assert_same_pages(GArray *got, GArray *want)
{
    g_autofree char *got_text = describe_pages(got);
    g_autofree char *want_text = describe_pages(want);

    g_assert_cmpstr(got_text, ==, want_text);
    g_array_unref(got);
    g_array_unref(want);
}

uint64_t age_leaf_size(const AgeLeafInfo *leaf)
{
    unsigned height = ABS(leaf->level - age_arch()->leaf_level);

    return AGE_PAGE << (9 * height);
}

/* In @space: the young leaves of the pages of @young that it has */
static uint64_t count_leaves(QTestState *qts, const char *space,
                             const GArray *young)
{
    uint64_t count = 0, counted_to = 0;

    for (unsigned i = 0; i < young->len; i++) {
        uint64_t page = g_array_index(young, uint64_t, i);
        AgeLeafInfo leaf;

        if (page < counted_to || !age_leaf(qts, space, page, &leaf)) {
            continue;
        }
        count += leaf.accessed;
        counted_to = ROUND_DOWN(page, age_leaf_size(&leaf)) +
                     age_leaf_size(&leaf);
    }
    return count;
}

uint64_t age_count_young_leaves(QTestState *qts)
{
    static const char *const spaces[] = { "memory", "smm", "secure" };
    uint64_t count = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(spaces); i++) {
        g_autoptr(GArray) young = age_all_young_pages(qts, spaces[i], false);

        count += count_leaves(qts, spaces[i], young);
    }
    return count;
}

void age_check_left(QTestState *qts, uint64_t left)
{
    uint64_t due = age_counter(qts, "accessed-set") +
                   age_counter(qts, "inherited") -
                   age_counter(qts, "cleared") - left;
    int64_t deadline = 0;

    while (age_counter(qts, "zapped") < due) {
        age_poll(&deadline);
    }
    g_assert_cmpuint(age_counter(qts, "zapped"), ==, due);
}

void age_check_conserved(QTestState *qts)
{
    age_check_left(qts, age_count_young_leaves(qts));
}
