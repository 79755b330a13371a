/*
 * age: what the commands refuse, how they say so, and that it costs nothing
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qobject/qnum.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qobject/qjson.h"
#include "accel/age/age-version.h"
#include "guest.h"
#include "qmp.h"

/* The pages that tests make young, and see still young after each error */
#define YOUNG_PAGES     5

static AgeGuest *start_with_young_pages(void)
{
    AgeGuest *g = age_guest_start(NULL);

    age_guest_touch(g, AGE_GUEST_WRITE, g->memory, YOUNG_PAGES);
    age_guest_stop(g);
    return g;
}

/* Not one bit was consumed, nor is a flush under way. */
static void check_nothing_consumed(AgeGuest *g)
{
    g_autoptr(QDict) info = age_query(g->qts);
    GArray *want = age_pages_new();

    g_assert(!qdict_get_bool(info, "flush-pending"));
    g_assert_cmpuint(age_counter(g->qts, "cleared"), ==, 0);
    g_assert_cmpuint(age_counter(g->qts, "flushes"), ==, 0);
    age_pages_add(want, g->memory, YOUNG_PAGES, AGE_PAGE);
    age_assert_same_pages(age_young_pages(g->qts, g->memory, g->end, false),
                          want);
}

static void check_error(QTestState *qts, const char *command, QDict *args,
                        const char *want)
{
    g_autoptr(QDict) error = qtest_qmp_assert_failure_ref(
        qts, "{ 'execute': %s, 'arguments': %p }", command, args);

    g_assert_cmpstr(qdict_get_str(error, "class"), ==, "GenericError");
    g_assert_cmpstr(qdict_get_str(error, "desc"), ==, want);
}

/* Bad ranges */

typedef struct BadRange {
    const char *name;
    /* Relative to the first young page */
    int64_t start;
    int64_t end;
    const char *bitmap;
    const char *want;
} BadRange;

#define UNALIGNED   "is not aligned to 4096"
#define EMPTY       "is empty: its end must be above its start"
#define NOT_BASE64  "has a bitmap that is not base64"
#define NO_MEMORY   "meets no memory of the guest; query-age tells where it is"
#define TOO_MANY    "goes beyond the 33554432 pages of one command; use " \
                    "several commands, or format runs or count"

static const BadRange bad_ranges[] = {
    { "unaligned-start", 1, 4096, NULL, UNALIGNED },
    { "unaligned-end", 0, 4095, NULL, UNALIGNED },
    { "unaligned-both", 2048, 6144, NULL, UNALIGNED },
    { "unaligned-by-512", 0, 4608, NULL, UNALIGNED },
    { "empty", 0, 0, NULL, EMPTY },
    { "backwards", 8192, 0, NULL, EMPTY },
    { "no-memory", 64 * GiB, 64 * GiB + 4096, NULL, NO_MEMORY },
    { "just-behind-memory", 60 * MiB, 60 * MiB + 4096, NULL, NO_MEMORY },
    { "too-many", 0, 128 * GiB + 4096, NULL, TOO_MANY },
    { "no-bits", 0, 4096, "", "has a bitmap of 0 bits for 1 pages" },
    { "few-bits", 0, 9 * 4096, "/w==", "has a bitmap of 8 bits for 9 pages" },
    { "few-bits-3", 0, 25 * 4096, "////",
      "has a bitmap of 24 bits for 25 pages" },
    { "bad-character", 0, 4096, "A-==", NOT_BASE64 },
    { "bad-character-2", 0, 4096, "AA*=", NOT_BASE64 },
    { "blank", 0, 4096, "AA ==", NOT_BASE64 },
    { "not-ascii", 0, 4096, "\u00e4\u00e4", NOT_BASE64 },
    { "no-padding", 0, 4096, "/w", NOT_BASE64 },
    { "little-padding", 0, 4096, "/w=", NOT_BASE64 },
    { "much-padding", 0, 4096, "/w===", NOT_BASE64 },
    { "three-paddings", 0, 4096, "/===", NOT_BASE64 },
    { "only-padding", 0, 4096, "====", NOT_BASE64 },
    { "padding-inside", 0, 4096, "/w==/w==", NOT_BASE64 },
    { "odd-rest", 0, 4096, "////A", NOT_BASE64 },
};

static void check_bad_range(AgeGuest *g, const BadRange *bad, QList *ranges)
{
    unsigned index = qlist_size(ranges);
    uint64_t start = g->memory + bad->start, end = g->memory + bad->end;
    g_autofree char *want = g_strdup_printf(
        "ranges[%u] (0x%" PRIx64 " to 0x%" PRIx64 ") %s",
        index, start, end, bad->want);
    QDict *args;

    if (bad->bitmap) {
        qlist_append(ranges, qdict_from_jsonf_nofail(
            "{ 'start': %" PRIu64 ", 'end': %" PRIu64 ", 'bitmap': %s }",
            start, end, bad->bitmap));
    } else {
        age_add_clear_range(ranges, start, end);
    }
    /* What comes behind it makes no odds. */
    age_add_clear_range(ranges, g->memory, g->end);
    args = age_harvest_args(ranges, "{ \"flush\": \"request\" }");
    check_error(g->qts, "age-test-clear-young", args, want);
    check_nothing_consumed(g);
}

/* Alone, and behind ranges with which nothing is wrong */
static void test_bad_range(const void *opaque)
{
    AgeGuest *g = start_with_young_pages();
    QList *ranges = qlist_new();

    check_bad_range(g, opaque, qlist_new());
    age_add_clear_range(ranges, g->memory, g->memory + 2 * AGE_PAGE);
    age_add_test_range(ranges, g->memory, g->end);
    check_bad_range(g, opaque, ranges);
    age_guest_quit(g);
}

/* The pages of all ranges count together, up to exactly what is allowed. */
static void test_most_pages(void)
{
    AgeGuest *g = start_with_young_pages();
    QList *ranges = qlist_new();
    g_autoptr(QDict) result = NULL;
    g_autofree char *want = NULL;

    age_add_clear_range(ranges, 0, 64 * GiB);
    age_add_clear_range(ranges, 0, 64 * GiB);
    age_add_clear_range(ranges, g->memory, g->memory + AGE_PAGE);
    want = g_strdup_printf("ranges[2] (0x%" PRIx64 " to 0x%" PRIx64 ") "
                           TOO_MANY, g->memory, g->memory + AGE_PAGE);
    check_error(g->qts, "age-test-clear-young",
                age_harvest_args(ranges, NULL), want);
    check_nothing_consumed(g);

    ranges = qlist_new();
    age_add_clear_range(ranges, 0, 64 * GiB);
    age_add_clear_range(ranges, 0, 64 * GiB);
    result = age_harvest(g->qts, ranges, "{ \"format\": \"count\" }");
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, false), ==, 0);
    age_guest_quit(g);
}

static void test_most_ranges(void)
{
    AgeGuest *g = start_with_young_pages();
    QList *ranges = qlist_new();

    for (unsigned i = 0; i < 4097; i++) {
        age_add_clear_range(ranges, g->memory, g->memory + AGE_PAGE);
    }
    check_error(g->qts, "age-test-clear-young",
                age_harvest_args(ranges, NULL),
                "more than 4096 ranges; use several commands");
    check_nothing_consumed(g);
    age_guest_quit(g);
}

/* "info age" knows all counters that query-age has. */
static void test_info_counters(void)
{
    AgeGuest *g = start_with_young_pages();
    g_autofree char *text = qtest_hmp(g->qts, "info age");
    g_autoptr(QDict) info = age_query(g->qts);
    QDict *counters = qdict_get_qdict(info, "counters");

    for (const QDictEntry *e = qdict_first(counters); e;
         e = qdict_next(counters, e)) {
        g_autofree char *name = g_strdup_printf("\n  %s ", qdict_entry_key(e));

        g_assert_nonnull(strstr(text, name));
    }
    g_assert_nonnull(strstr(text, " levels for "));
    g_assert_nonnull(strstr(text, "hw-ad: on\r\n"));
    g_assert(age_is_x86() == !strstr(text, "haft: on\r\n"));
    age_guest_quit(g);
}

/* Without vCPUs there are no tables, so no levels either. */
static void test_info_none(void)
{
    QTestState *qts = qtest_init("-machine none -accel age");
    g_autofree char *text = qtest_hmp(qts, "info age");

    g_assert(g_str_has_prefix(text, "version: " AGE_VERSION "\r\nformat: "));
    g_assert_nonnull(strstr(text, age_is_x86() ? "format: ept\r\n"
                                               : "format: stage2\r\n"));
    g_assert_null(strstr(text, "level"));
    g_assert_nonnull(strstr(text, "tables: none\r\n"));
    qtest_quit(qts);
}

/* Beyond what it lists as runs, a command returns bitmaps instead. */
#define MOST_RUNS   3500

static void check_format(const QDict *result, unsigned index, bool runs)
{
    const QListEntry *entry = qlist_first(qdict_get_qlist(result, "ranges"));
    QDict *range;

    while (index--) {
        entry = qlist_next(entry);
    }
    range = qobject_to(QDict, entry->value);
    g_assert(qdict_haskey(range, "runs") == runs);
    g_assert(qdict_haskey(range, "bitmap") == !runs);
}

/* Test what has @runs runs, each of a page. */
static void add_runs(QList *ranges, const AgeGuest *g, unsigned runs)
{
    age_add_test_range(ranges, g->memory, g->memory + runs * 2 * AGE_PAGE);
}

static void test_most_runs(void)
{
    AgeGuest *g = age_guest_start(NULL);
    QList *ranges = qlist_new();
    g_autoptr(QDict) result = NULL;

    age_guest_send(g, 0, AGE_GUEST_READ, g->memory, MOST_RUNS + 100,
                   2 * AGE_PAGE);
    age_guest_wait(g, 0);
    add_runs(ranges, g, 100);
    add_runs(ranges, g, MOST_RUNS + 100);
    add_runs(ranges, g, MOST_RUNS - 100);
    add_runs(ranges, g, 1);
    result = age_harvest(g->qts, ranges, "{ \"format\": \"runs\" }");
    check_format(result, 0, true);
    check_format(result, 1, false);
    check_format(result, 2, true);
    check_format(result, 3, false);
    age_guest_quit(g);
}

/* Arguments that no value of the schema fits */

typedef struct BadArgs {
    const char *name;
    const char *json;
    const char *want;
} BadArgs;

#define RANGE   "\"ranges\": [ { \"start\": 0, \"end\": 4096 } ]"

static const BadArgs bad_args[] = {
    { "no-range", "{ \"ranges\": [] }", "no ranges given" },
    { "no-list", "{ \"ranges\": { \"start\": 0, \"end\": 4096 } }",
      "Invalid parameter type for 'ranges', expected: array" },
    { "no-object", "{ \"ranges\": [ 4096 ] }",
      "Invalid parameter type for 'ranges[0]', expected: object" },
    { "no-start", "{ \"ranges\": [ { \"end\": 4096 } ] }",
      "Parameter 'ranges[0].start' is missing" },
    { "no-end", "{ \"ranges\": [ { \"start\": 0, \"end\": 4096 },"
      " { \"start\": 4096 } ] }", "Parameter 'ranges[1].end' is missing" },
    { "string", "{ \"ranges\": [ { \"start\": \"0\", \"end\": 4096 } ] }",
      "Parameter 'ranges[0].start' expects uint64" },
    { "fraction", "{ \"ranges\": [ { \"start\": 0, \"end\": 4096.5 } ] }",
      "Parameter 'ranges[0].end' expects uint64" },
    { "too-big", "{ \"ranges\": [ { \"start\": 0,"
      " \"end\": 18446744073709551616 } ] }",
      "Parameter 'ranges[0].end' expects uint64" },
    { "bitmap-number", "{ \"ranges\": [ { \"start\": 0, \"end\": 4096,"
      " \"bitmap\": 1 } ] }",
      "Invalid parameter type for 'ranges[0].bitmap', expected: string" },
    { "unknown-member", "{ \"ranges\": [ { \"start\": 0, \"end\": 4096,"
      " \"colour\": 1 } ] }", "Parameter 'ranges[0].colour' is unexpected" },
    { "unknown-argument", "{ " RANGE ", \"colour\": 1 }",
      "Parameter 'colour' is unexpected" },
    { "address", "{ " RANGE ", \"address\": \"gva\" }",
      "Parameter 'address' does not accept value 'gva'" },
    { "flush", "{ " RANGE ", \"flush\": true }",
      "Invalid parameter type for 'flush', expected: string" },
    { "flush-value", "{ " RANGE ", \"flush\": \"maybe\" }",
      "Parameter 'flush' does not accept value 'maybe'" },
    { "format", "{ " RANGE ", \"format\": \"hex\" }",
      "Parameter 'format' does not accept value 'hex'" },
    { "fallback", "{ " RANGE ", \"fallback\": 1 }",
      "Invalid parameter type for 'fallback', expected: boolean" },
    /* QAPI takes a negative number for one that is 2^64 greater. */
    { "last-page", "{ \"ranges\": [ { \"start\": 18446744073709543424,"
      " \"end\": 18446744073709547520 } ] }",
      "ranges[0] (0xffffffffffffe000 to 0xfffffffffffff000) " NO_MEMORY },
    { "negative", "{ \"ranges\": [ { \"start\": -8192, \"end\": -4096 } ] }",
      "ranges[0] (0xffffffffffffe000 to 0xfffffffffffff000) " NO_MEMORY },
    { "negative-end", "{ \"ranges\": [ { \"start\": 0, \"end\": -4096 } ] }",
      "ranges[0] (0x0 to 0xfffffffffffff000) " TOO_MANY },
};

static void test_bad_args(void)
{
    AgeGuest *g = start_with_young_pages();

    for (unsigned i = 0; i < G_N_ELEMENTS(bad_args); i++) {
        QObject *args = qobject_from_json(bad_args[i].json, &error_abort);

        g_test_message("%s", bad_args[i].name);
        check_error(g->qts, "age-test-clear-young", qobject_to(QDict, args),
                    bad_args[i].want);
        check_nothing_consumed(g);
    }
    age_guest_quit(g);
}

static const BadArgs bad_walks[] = {
    { "no-gpa", "{}", "Parameter 'gpa' is missing" },
    { "string", "{ \"gpa\": \"0\" }",
      "Parameter 'gpa' expects uint64" },
};

static void check_reach(QTestState *qts, uint64_t gpa, unsigned bits)
{
    g_autofree char *want = g_strdup_printf(
        "guest-physical address 0x%" PRIx64 " is beyond the %u bits that the"
        " page tables translate", gpa, bits);
    QDict *args = qdict_new();

    qdict_put(args, "gpa", qnum_from_uint(gpa));
    check_error(qts, "query-age-walk", args, want);
}

/* The tables reach as far as the CPU's physical addresses do. */
static void test_reach(void)
{
    AgeGuest *g = age_guest_start(NULL);
    g_autoptr(QDict) info = age_query(g->qts);
    unsigned bits = qdict_get_int(info, "gpa-bits");
    AgeLeafInfo leaf;

    g_assert(!age_leaf(g->qts, "memory", (1ULL << bits) - 1, &leaf));
    check_reach(g->qts, 1ULL << bits, bits);
    check_reach(g->qts, 0xfffffffffffff000, bits);
    age_guest_quit(g);
}

static void test_bad_walks(void)
{
    AgeGuest *g = age_guest_start(NULL);

    for (unsigned i = 0; i < G_N_ELEMENTS(bad_walks); i++) {
        QObject *args = qobject_from_json(bad_walks[i].json, &error_abort);

        g_test_message("%s", bad_walks[i].name);
        check_error(g->qts, "query-age-walk", qobject_to(QDict, args),
                    bad_walks[i].want);
    }
    age_guest_quit(g);
}

/* What is in order, though it looks odd */
static void test_odd(void)
{
    AgeGuest *g = start_with_young_pages();
    QList *ranges = qlist_new();
    g_autoptr(QDict) result = NULL;

    /* The same page twice; more bits than it needs, and a line feed */
    qlist_append(ranges, qdict_from_jsonf_nofail(
        "{ 'start': %" PRIu64 ", 'end': %" PRIu64 ", 'bitmap': %s }",
        g->memory, g->memory + AGE_PAGE, "/w==\n"));
    age_add_clear_range(ranges, g->memory, g->memory + AGE_PAGE);
    result = age_harvest(g->qts, ranges, "{ \"format\": \"count\" }");
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, false), ==,
                     YOUNG_PAGES - 1);
    age_guest_quit(g);
}

/* Without the accelerator */

static void check_not_in_use(QTestState *qts)
{
    const char *want = "the accelerator is not in use; start QEMU with"
                       " -accel age";
    g_autoptr(QDict) info = age_query(qts);
    QList *ranges = qlist_new();

    g_assert_cmpint(qdict_size(info), ==, 2);
    g_assert(!qdict_get_bool(info, "enabled"));
    g_assert_cmpstr(qdict_get_str(info, "version"), ==, AGE_VERSION);

    age_add_clear_range(ranges, 0, AGE_PAGE);
    check_error(qts, "age-test-clear-young", age_harvest_args(ranges, NULL),
                want);
    check_error(qts, "query-age-walk",
                qdict_from_jsonf_nofail("{ 'gpa': 0 }"), want);
}

static void test_other_accel(const void *accel)
{
    QTestState *qts = qtest_initf("-nodefaults -machine none %s",
                                  (const char *)accel);

    check_not_in_use(qts);
    qtest_quit(qts);
}

/* A machine with nothing in it */
static void test_no_machine(void)
{
    QTestState *qts = qtest_init("-nodefaults -machine none -accel age");
    g_autoptr(QDict) info = age_query(qts);
    QList *ranges = qlist_new();

    g_assert(qdict_get_bool(info, "enabled"));
    g_assert_cmpstr(qdict_get_str(info, "version"), ==, AGE_VERSION);
    g_assert_cmpstr(qdict_get_str(info, "format"), ==, age_arch()->format);
    g_assert(qlist_empty(qdict_get_qlist(info, "slots")));
    age_add_clear_range(ranges, 0, AGE_PAGE);
    check_error(qts, "age-test-clear-young", age_harvest_args(ranges, NULL),
                "ranges[0] (0x0 to 0x1000) " NO_MEMORY);
    check_error(qts, "query-age-walk",
                qdict_from_jsonf_nofail("{ 'gpa': 0 }"),
                "there is no address space 'memory'; there are none, as no"
                " virtual CPU has come yet");
    qtest_quit(qts);
}

/* A flush would change the run that is recorded. */
static void test_record(void)
{
    AgeGuestOptions options = {
        .args = "-icount shift=3,rr=record,rrfile=/dev/null",
    };
    AgeGuest *g = age_guest_start(&options);
    QList *ranges = qlist_new();

    age_guest_touch(g, AGE_GUEST_WRITE, g->memory, YOUNG_PAGES);
    age_add_clear_range(ranges, g->memory, g->end);
    check_error(g->qts, "age-test-clear-young",
                age_harvest_args(ranges, "{ \"flush\": \"request\" }"),
                "TLBs can't be flushed under record/replay; use"
                " \"flush\": \"none\"");
    check_nothing_consumed(g);
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, true), ==,
                     YOUNG_PAGES);
    age_guest_quit(g);
}

static void add_bad_ranges(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(bad_ranges); i++) {
        g_autofree char *path = g_strdup_printf("age/qmp/bad-range/%s",
                                                bad_ranges[i].name);

        qtest_add_data_func(path, &bad_ranges[i], test_bad_range);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    add_bad_ranges();
    qtest_add_func("age/qmp/most-pages", test_most_pages);
    qtest_add_func("age/qmp/most-ranges", test_most_ranges);
    qtest_add_func("age/qmp/most-runs", test_most_runs);
    qtest_add_func("age/qmp/info-counters", test_info_counters);
    qtest_add_func("age/qmp/info-none", test_info_none);
    qtest_add_func("age/qmp/bad-args", test_bad_args);
    qtest_add_func("age/qmp/bad-walks", test_bad_walks);
    qtest_add_func("age/qmp/reach", test_reach);
    qtest_add_func("age/qmp/odd", test_odd);
    qtest_add_data_func("age/qmp/not-in-use/tcg", "-accel tcg",
                        test_other_accel);
    qtest_add_data_func("age/qmp/not-in-use/qtest", "", test_other_accel);
    qtest_add_func("age/qmp/no-machine", test_no_machine);
    qtest_add_func("age/qmp/record", test_record);

    return g_test_run();
}
