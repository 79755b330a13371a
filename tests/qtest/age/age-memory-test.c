/*
 * age: harvests that name no ranges, and mean all memory of the guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qobject/qjson.h"
#include "guest.h"
#include "qmp.h"

#define YOUNG       "age-test-clear-young"
#define DIRTY       "age-test-clear-dirty"

static QDict *harvest(AgeGuest *g, const char *command, const char *options)
{
    return qtest_qmp_assert_success_ref(
        g->qts, "{ 'execute': %s, 'arguments': %p }", command,
        qobject_to(QDict, qobject_from_json(options, &error_abort)));
}

static void check_refused(AgeGuest *g, const char *options, const char *want)
{
    g_autoptr(QDict) error = qtest_qmp_assert_failure_ref(
        g->qts, "{ 'execute': %s, 'arguments': %p }", YOUNG,
        qobject_to(QDict, qobject_from_json(options, &error_abort)));

    g_assert_cmpstr(qdict_get_str(error, "desc"), ==, want);
}

/* The pages of all ranges together */
static uint64_t sum_pages(const QDict *result, const char *key)
{
    const QListEntry *entry;
    uint64_t sum = 0;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(result, "ranges"), entry) {
        sum += age_get_uint(qobject_to(QDict, entry->value), key);
    }
    return sum;
}

static GArray *told_pages(const QDict *result, bool clear)
{
    GArray *pages = age_pages_new();
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(result, "ranges"), entry) {
        age_add_told_pages(pages, qobject_to(QDict, entry->value), clear);
    }
    return pages;
}

/* The young pages of all slots, asked for one by one */
static GArray *slot_pages(AgeGuest *g)
{
    g_autoptr(GArray) slots = age_slots(g->qts);
    GArray *pages = age_pages_new();

    for (unsigned i = 0; i < slots->len; i++) {
        AgeSlotInfo *slot = &g_array_index(slots, AgeSlotInfo, i);
        g_autoptr(GArray) young = age_young_pages(
            g->qts, slot->gpa, slot->gpa + slot->size, false);

        g_array_append_vals(pages, young->data, young->len);
    }
    /* Sorted, and each once: spaces have most memory in common. */
    age_pages_add(pages, 0, 0, 0);
    return pages;
}

static bool has_slot(const AgeSlotInfo *slot, uint64_t gpa, bool hva)
{
    uint64_t start = hva ? slot->hva : slot->gpa;

    return gpa >= start && gpa - start < slot->size;
}

static bool in_slots(const GArray *slots, uint64_t address, bool hva)
{
    for (unsigned i = 0; i < slots->len; i++) {
        if (has_slot(&g_array_index(slots, AgeSlotInfo, i), address, hva)) {
            return true;
        }
    }
    return false;
}

/* Ascending, apart from each other, and as long as slots go on */
static void check_ranges(AgeGuest *g, const QDict *result, bool hva)
{
    g_autoptr(GArray) slots = age_slots(g->qts);
    const QListEntry *entry;
    uint64_t last = 0, size = 0;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(result, "ranges"), entry) {
        QDict *range = qobject_to(QDict, entry->value);
        uint64_t start = age_get_uint(range, "start");
        uint64_t end = age_get_uint(range, "end");

        g_assert_true(!last || start > last);
        g_assert_true(in_slots(slots, start, hva));
        g_assert_true(in_slots(slots, end - 1, hva));
        g_assert_false(start && in_slots(slots, start - 1, hva));
        g_assert_false(in_slots(slots, end, hva));
        last = end;
        size += end - start;
    }
    for (unsigned i = 0; i < slots->len; i++) {
        g_assert_cmpuint(size, >=,
                         g_array_index(slots, AgeSlotInfo, i).size);
    }
}

static AgeGuest *start_with_young_pages(void)
{
    AgeGuest *g = age_guest_start(NULL);

    age_guest_touch(g, AGE_GUEST_WRITE, g->memory, 5);
    age_guest_send(g, 0, AGE_GUEST_READ, g->memory + AGE_BLOCK, 50,
                   3 * AGE_PAGE);
    age_guest_wait(g, 0);
    age_guest_stop(g);
    return g;
}

/* All memory is what the slots have, in each format. */
static void test_union(void)
{
    AgeGuest *g = start_with_young_pages();
    g_autoptr(QDict) runs = harvest(g, YOUNG,
        "{ \"clear\": false, \"format\": \"runs\" }");
    g_autoptr(QDict) bits = harvest(g, YOUNG, "{ \"clear\": false }");
    g_autoptr(QDict) count = harvest(g, YOUNG,
        "{ \"clear\": false, \"format\": \"count\" }");
    GArray *pages = told_pages(runs, false);

    check_ranges(g, runs, false);
    check_ranges(g, bits, false);
    g_assert_cmpuint(pages->len, >, 55);
    g_assert_cmpuint(sum_pages(count, "young-pages"), ==, pages->len);
    age_assert_same_pages(g_array_ref(pages), slot_pages(g));
    age_assert_same_pages(told_pages(bits, false), pages);
    age_guest_quit(g);
}

/* What is made old is just what was told. */
static void test_clear(void)
{
    AgeGuest *g = start_with_young_pages();
    GArray *want = slot_pages(g);
    g_autoptr(QDict) bits = harvest(g, YOUNG, "{}");

    age_assert_same_pages(told_pages(bits, true), want);
    age_assert_same_pages(slot_pages(g), age_pages_new());
    age_check_conserved(g->qts);
    age_guest_quit(g);
}

/* "clear": false leaves all as it is, and has ones for what is young. */
static void test_only_test(void)
{
    AgeGuest *g = start_with_young_pages();
    uint64_t cleared = age_counter(g->qts, "cleared");

    for (unsigned i = 0; i < 3; i++) {
        GArray *want = slot_pages(g);
        g_autoptr(QDict) bits = harvest(g, YOUNG, "{ \"clear\": false }");

        age_assert_same_pages(told_pages(bits, false), want);
    }
    g_assert_cmpuint(age_counter(g->qts, "cleared"), ==, cleared);
    check_refused(g, "{ \"clear\": false, \"fallback\": true }",
                  "a fallback makes pages old; leave out either \"fallback\""
                  " or \"clear\": false");
    age_guest_quit(g);
}

/* A range with a bitmap does what that says. */
static void test_mixed(void)
{
    AgeGuest *g = start_with_young_pages();
    const uint8_t one = 1;
    QList *ranges = qlist_new();
    g_autoptr(QDict) result = NULL;
    const QListEntry *entry;
    GArray *left = age_pages_new();

    age_add_range(ranges, g->memory, g->memory + 2 * AGE_PAGE, &one, 1);
    age_add_clear_range(ranges, g->memory + 2 * AGE_PAGE,
                        g->memory + 6 * AGE_PAGE);
    result = age_harvest(g->qts, ranges, "{ \"clear\": false }");
    entry = qlist_first(qdict_get_qlist(result, "ranges"));
    g_assert_cmpstr(qdict_get_str(qobject_to(QDict, entry->value), "bitmap"),
                    ==, "Ag==");
    entry = qlist_next(entry);
    g_assert_cmpstr(qdict_get_str(qobject_to(QDict, entry->value), "bitmap"),
                    ==, "Dg==");
    age_pages_add(left, g->memory, 1, 0);
    age_pages_add(left, g->memory + 2 * AGE_PAGE, 3, AGE_PAGE);
    age_assert_same_pages(age_young_pages(g->qts, g->memory,
                                          g->memory + 6 * AGE_PAGE, false),
                          left);
    age_guest_quit(g);
}

static void test_dirty(void)
{
    AgeGuest *g = start_with_young_pages();
    g_autoptr(QDict) look = harvest(g, DIRTY, "{ \"clear\": false }");
    g_autoptr(QDict) take = harvest(g, DIRTY, "{ \"format\": \"runs\" }");
    g_autoptr(QDict) none = harvest(g, DIRTY, "{ \"format\": \"count\" }");

    g_assert_cmpuint(sum_pages(look, "dirty-pages"), >=, 5);
    age_assert_same_pages(told_pages(look, false), told_pages(take, true));
    g_assert_cmpuint(sum_pages(none, "dirty-pages"), ==, 0);
    age_guest_quit(g);
}

/* By host addresses: where QEMU has what slots have */
static void test_hva(void)
{
    AgeGuest *g = start_with_young_pages();
    g_autoptr(QDict) result = harvest(g, YOUNG,
        "{ \"address\": \"hva\", \"clear\": false, \"format\": \"runs\" }");
    g_autoptr(GArray) pages = told_pages(result, false);
    g_autoptr(GArray) want = slot_pages(g);
    AgeSlotInfo slot;
    bool found = false;

    check_ranges(g, result, true);
    /* What the guest has twice is there once. */
    g_assert_cmpuint(pages->len, >, 55);
    g_assert_cmpuint(pages->len, <=, want->len);
    g_assert_true(age_find_slot(g->qts, "memory", g->memory, &slot));
    for (unsigned i = 0; i < pages->len; i++) {
        found |= g_array_index(pages, uint64_t, i) ==
                 slot.hva + (g->memory - slot.gpa);
    }
    g_assert_true(found);
    age_guest_quit(g);
}

static void test_oob(void)
{
    AgeGuestOptions options = { .oob = true };
    AgeGuest *g = age_guest_start(&options);
    g_autoptr(QDict) response = qtest_qmp(g->qts,
        "{ 'exec-oob': 'age-test-clear-young',"
        " 'arguments': { 'format': 'count', 'clear': false } }");

    g_assert_cmpuint(sum_pages(qdict_get_qdict(response, "return"),
                               "young-pages"), >, 0);
    age_guest_quit(g);
}

static void test_no_memory(void)
{
    AgeGuest g = { .qts = qtest_init("-nodefaults -machine none -accel age") };

    check_refused(&g, "{}", "the guest has no memory");
    qtest_quit(g.qts);
}

/* A guest with more memory than bitmaps may have pages, of which it uses few */

#define BIG         "200G"
#define MOST_RUNS   3500

static AgeGuest *start_big(void)
{
    AgeGuestOptions options = {
        .memory = BIG,
        .args = "-object memory-backend-ram,id=big,size=" BIG ",reserve=off "
                "-machine memory-backend=big",
    };

    return age_guest_start(&options);
}

/* Have @num pages be young, with a gap behind each, and no other page. */
static void touch_apart(AgeGuest *g, unsigned num)
{
    age_flush_all(g->qts);
    age_guest_send(g, 0, AGE_GUEST_READ, g->memory, num, 2 * AGE_PAGE);
    age_guest_wait(g, 0);
    age_guest_stop(g);
}

static uint64_t count_all(AgeGuest *g)
{
    g_autoptr(QDict) count = harvest(g, YOUNG,
        "{ \"clear\": false, \"format\": \"count\" }");

    return sum_pages(count, "young-pages");
}

static void test_big(void)
{
    AgeGuest *g = start_big();
    g_autoptr(QDict) runs = NULL;
    QList *ranges = qlist_new();
    g_autoptr(QDict) one = NULL;
    uint64_t young;

    touch_apart(g, 1000);
    young = count_all(g);
    g_assert_cmpuint(young, >=, 1000);
    age_add_clear_range(ranges, 0, 512 * GiB);
    one = age_harvest(g->qts, ranges,
                      "{ \"clear\": false, \"format\": \"count\" }");
    g_assert_cmpuint(sum_pages(one, "young-pages"), ==, young);
    runs = harvest(g, YOUNG, "{ \"format\": \"runs\" }");
    check_ranges(g, runs, false);
    g_assert_cmpuint(sum_pages(runs, "young-pages"), ==, young);
    g_assert_cmpuint(count_all(g), ==, 0);
    age_check_left(g->qts, 0);
    age_guest_quit(g);
}

/* What can't be told is not consumed. */
static void test_big_refused(void)
{
    const char *many = "more than 3500 runs in more than 33554432 pages; use"
                       " several commands with ranges, or format count";
    AgeGuest *g = start_big();
    g_autoptr(QDict) error = NULL;
    uint64_t young, cleared;

    touch_apart(g, MOST_RUNS + 1);
    young = count_all(g);
    cleared = age_counter(g->qts, "cleared");
    error = qtest_qmp_assert_failure_ref(g->qts,
        "{ 'execute': 'age-test-clear-young' }");
    g_assert_true(g_str_has_suffix(qdict_get_str(error, "desc"),
        "goes beyond the 33554432 pages of one command; use several commands,"
        " or format runs or count"));
    check_refused(g, "{ \"format\": \"runs\" }", many);
    check_refused(g, "{ \"format\": \"runs\", \"clear\": false }", many);
    g_assert_cmpuint(age_counter(g->qts, "cleared"), ==, cleared);
    g_assert_cmpuint(count_all(g), ==, young);
    age_guest_quit(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("age/memory/union", test_union);
    qtest_add_func("age/memory/clear", test_clear);
    qtest_add_func("age/memory/only-test", test_only_test);
    qtest_add_func("age/memory/mixed", test_mixed);
    qtest_add_func("age/memory/dirty", test_dirty);
    qtest_add_func("age/memory/hva", test_hva);
    qtest_add_func("age/memory/oob", test_oob);
    qtest_add_func("age/memory/no-memory", test_no_memory);
    qtest_add_func("age/memory/big", test_big);
    qtest_add_func("age/memory/big-refused", test_big_refused);

    return g_test_run();
}
