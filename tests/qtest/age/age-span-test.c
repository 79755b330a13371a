/*
 * age: one answer for a range, flushes on request, and the human monitor
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "accel/age/age-version.h"
#include "guest.h"
#include "qmp.h"
#include "span.h"

#define NOT_IN_USE  "the accelerator is not in use; start QEMU with -accel age"

/* age-clear-young and age-test-young */

/* The first has pages 3 and 4 of those that are touched, the third 3 to 8. */
static QList *three_ranges(uint64_t start)
{
    QList *ranges = qlist_new();

    age_add_clear_range(ranges, start, start + 5 * AGE_PAGE);
    age_add_clear_range(ranges, start + 11 * AGE_PAGE, start + AGE_BLOCK);
    age_add_clear_range(ranges, start + 3 * AGE_PAGE, start + 9 * AGE_PAGE);
    return ranges;
}

static void check_three(AgeGuest *g, uint64_t start, const char *options)
{
    static const struct {
        const char *command;
        const char *want;
    } steps[] = {
        { "age-test-young", "y-y" },
        { "age-test-young", "y-y" },
        { "age-clear-young", "y-y" },
        { "age-clear-young", "---" },
        { "age-test-young", "---" },
    };

    age_span_touch(g, AGE_GUEST_READ | AGE_GUEST_FLUSH);
    for (unsigned i = 0; i < G_N_ELEMENTS(steps); i++) {
        age_check_spans(g, steps[i].command, three_ranges(start), options,
                    steps[i].want);
    }
    age_check_span(g, "age-test-young", SPAN_FIRST, 9, "-");
    age_check_span(g, "age-test-young", 9, SPAN_FIRST + SPAN_TOUCHED, "y");
}

static void test_spans(const void *accel)
{
    AgeGuest *g = age_span_start(accel);
    AgeSlotInfo slot;

    g_assert(age_find_slot(g->qts, "memory", g->memory, &slot));
    check_three(g, g->memory, NULL);
    check_three(g, g->memory + slot.hva - slot.gpa, "{ 'address': 'hva' }");
    /* Where ranges overlap, the first has it. */
    age_span_touch(g, AGE_GUEST_READ | AGE_GUEST_FLUSH);
    age_check_span(g, "age-clear-young", SPAN_FIRST, SPAN_FIRST + 1, "y");
    age_check_span(g, "age-clear-young", SPAN_FIRST, SPAN_FIRST + 1, "-");
    age_check_span(g, "age-clear-young", 0, SPAN_PAGES, "y");
    age_check_span(g, "age-clear-young", 0, SPAN_PAGES, "-");
    age_guest_quit(g);
}

static void check_bad_span(AgeGuest *g, uint64_t start, uint64_t end,
                           const char *what)
{
    const char *commands[] = { "age-clear-young", "age-test-young" };
    g_autofree char *want = g_strdup_printf(
        "ranges[1] (0x%" PRIx64 " to 0x%" PRIx64 ") %s", start, end, what);

    for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
        QList *ranges = qlist_new();

        age_add_clear_range(ranges, g->memory, g->end);
        age_add_clear_range(ranges, start, end);
        age_check_error(g->qts, commands[i], age_harvest_args(ranges, NULL),
                        want);
        age_check_error(g->qts, commands[i],
                        age_harvest_args(qlist_new(), NULL),
                        "no ranges given");
    }
    /* The one before it is as it was. */
    age_check_span(g, "age-test-young", SPAN_FIRST, SPAN_FIRST + 1, "y");
}

static void test_bad_spans(void)
{
    AgeGuest *g = age_span_start(NULL);

    age_span_touch(g, AGE_GUEST_READ);
    check_bad_span(g, g->memory + 1, g->end, "is not aligned to 4096");
    check_bad_span(g, g->memory, g->memory,
                   "is empty: its end must be above its start");
    check_bad_span(g, g->end, g->end + AGE_PAGE,
                   "meets no memory of the guest; query-age tells where it is");
    check_bad_span(g, g->memory, g->memory + (AGE_BLOCK << 16), "goes beyond "
                   "the 33554432 pages of one command; use several commands");
    age_guest_quit(g);
}

static void check_oob(AgeGuest *g, const char *command, const char *want)
{
    g_autoptr(QDict) response = qtest_qmp(
        g->qts, "{ 'exec-oob': %s, 'arguments': %p }", command,
        age_harvest_args(three_ranges(g->memory), NULL));

    age_check_answers(qdict_get_qdict(response, "return"), want);
}

static void test_oob(void)
{
    AgeGuestOptions options = { .oob = true };
    AgeGuest *g = age_guest_start(&options);

    age_span_touch(g, AGE_GUEST_READ);
    check_oob(g, "age-test-young", "y-y");
    check_oob(g, "age-clear-young", "y-y");
    check_oob(g, "age-test-young", "---");
    age_guest_quit(g);
}

/* Flushes */

/*
 * Make SPAN_PAGES pages from @first on old, and say how often vCPUs flushed
 * then.
 */
static uint64_t clear_pages(AgeGuest *g, unsigned first, const char *flush)
{
    uint64_t start = g->memory + first * AGE_PAGE;
    QList *ranges = qlist_new();
    QDict *result;

    age_add_clear_range(ranges, start, start + SPAN_PAGES * AGE_PAGE);
    result = age_harvest(g->qts, ranges, flush);
    qobject_unref(result);
    age_wait_flushed(g->qts);
    return age_counter(g->qts, "flushes");
}

/*
 * A request flushes whatever was cleared since the last one: here by harvests
 * that asked for none, of pages that are in the TLB and stay in use, while its
 * own range, from @first on, has nothing young or little.
 */
static void check_flush(AgeGuest *g, unsigned first)
{
    const char *none = "{ 'flush': 'none' }";
    const char *request = "{ 'flush': 'request' }";
    uint64_t flushes = age_counter(g->qts, "flushes");

    g_assert_cmpuint(clear_pages(g, 0, none), ==, flushes);
    age_guest_wait_round(g, 0);
    clear_pages(g, first, request);
    /* A vCPU flushes before it goes on. */
    age_guest_wait_round(g, 0);
    g_assert_cmpuint(age_counter(g->qts, "flushes"), ==, flushes + 1);
    g_assert_cmpuint(age_count(g->qts, g->memory, age_span_end(g), false), ==,
                     SPAN_PAGES);
}

static void test_flush(void)
{
    AgeGuest *g = age_span_start(NULL);
    uint64_t flushes;

    age_guest_send(g, 0, AGE_GUEST_WRITE | AGE_GUEST_REPEAT, g->memory,
                   SPAN_PAGES, AGE_PAGE);
    age_guest_wait_round(g, 0);
    for (unsigned i = 0; i < 5; i++) {
        check_flush(g, 0);
        check_flush(g, 1000);
    }
    /* If nothing was cleared, there is nothing to flush. */
    flushes = age_counter(g->qts, "flushes");
    g_assert_cmpuint(clear_pages(g, 1000, "{ 'flush': 'request' }"), ==,
                     flushes);
    age_guest_quit(g);
}

/* HMP */

static void check_hmp(QTestState *qts, const char *command, const char *want)
{
    g_autofree char *got = qtest_hmp(qts, "%s", command);

    g_assert_cmpstr(got, ==, want);
}

/* With @flags, age_harvest lists @young pages, and then says @text. */
static void check_hmp_harvest(AgeGuest *g, const char *flags, unsigned young,
                              const char *text)
{
    uint64_t first = g->memory + SPAN_FIRST * AGE_PAGE;
    g_autofree char *command = g_strdup_printf(
        "age_harvest %s 0x%" PRIx64 " 0x%" PRIx64, flags, g->memory,
        age_span_end(g));
    g_autofree char *run = g_strdup_printf(
        "  %016" PRIx64 "-%016" PRIx64 "\r\n", first,
        first + young * AGE_PAGE - 1);
    g_autofree char *want = g_strdup_printf(
        "%s%u of %u pages are young\r\n%s", young ? run : "", young,
        SPAN_PAGES, text);

    check_hmp(g->qts, command, want);
}

static void test_hmp_harvest(void)
{
    AgeGuest *g = age_span_start(NULL);

    age_span_touch(g, AGE_GUEST_READ);
    check_hmp_harvest(g, "-t", SPAN_TOUCHED, "");
    check_hmp_harvest(g, "-t -f", SPAN_TOUCHED, "");
    check_hmp_harvest(g, "", SPAN_TOUCHED, "");
    check_hmp_harvest(g, "", 0, "");
    g_assert_cmpuint(age_counter(g->qts, "flushes"), ==, 0);
    check_hmp_harvest(g, "-f", 0, "");
    age_wait_flushed(g->qts);
    age_span_touch(g, AGE_GUEST_READ);
    g_assert_cmpuint(age_counter(g->qts, "flushes"), ==, 1);
    check_hmp_harvest(g, "-f", SPAN_TOUCHED, "");
    age_set_bool(g, "hw-ad", false);
    check_hmp_harvest(g, "", 0, "refused by age: " AGE_NO_HW "\r\n");
    check_hmp(g->qts, "age_harvest 0x1000 0x1000", "Error: ranges[0] (0x1000 "
              "to 0x1000) is empty: its end must be above its start\r\n");
    age_guest_quit(g);
}

/* No more than 32 runs are listed, and a line tells if there are more. */
static void check_hmp_runs(AgeGuest *g, unsigned runs)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    age_flush_all(g->qts);
    age_guest_send(g, 0, AGE_GUEST_READ, g->memory, runs, 2 * AGE_PAGE);
    age_guest_wait(g, 0);
    text = qtest_hmp(g->qts, "age_harvest 0x%" PRIx64 " 0x%" PRIx64,
                     g->memory, g->end);
    lines = g_strsplit(text, "\r\n", 0);
    g_assert_cmpuint(g_strv_length(lines), ==, MIN(runs, 33) + 2);
    g_assert(g_str_equal(lines[MIN(runs, 33) - 1], "  ...") == (runs > 32));
}

static void test_hmp_runs(void)
{
    AgeGuest *g = age_span_start(NULL);

    check_hmp_runs(g, 31);
    check_hmp_runs(g, 32);
    check_hmp_runs(g, 33);
    check_hmp_runs(g, 100);
    age_guest_quit(g);
}

/* The first lines of "info age", and one each of slots and counters */
static void check_hmp_info(AgeGuest *g, const char *hw_ad, const char *refused)
{
    g_autofree char *text = qtest_hmp(g->qts, "info age");
    g_autoptr(QDict) info = age_query(g->qts);
    /* Without hardware that sets flags there is none that does so in tables. */
    g_autofree char *haft = g_strdup_printf("haft: %s\r\n", hw_ad);
    g_autofree char *want = g_strdup_printf(
        "version: " AGE_VERSION "\r\n"
        "format: %s, 4 levels for %" PRIi64 " bits\r\nleaves: 4k at most\r\n"
        "hw-ad: %s\r\n%sflush: none\r\n%sgeneration: 1\r\nslots:\r\n",
        age_arch()->format, qdict_get_int(info, "gpa-bits"), hw_ad,
        age_is_x86() ? "" : haft, refused);
    g_autofree char *counter = g_strdup_printf(
        "  cleared          %" PRIu64 "\r\n", age_counter(g->qts, "cleared"));
    g_autofree char *line = NULL;
    AgeSlotInfo slot;

    g_assert(age_find_slot(g->qts, "memory", age_arch()->code, &slot));
    line = g_strdup_printf("  memory   %016" PRIx64 "-%016" PRIx64 " hva %016"
                           PRIx64 " read-only ", slot.gpa,
                           slot.gpa + slot.size - 1, slot.hva);
    g_assert(g_str_has_prefix(text, want));
    g_assert_nonnull(strstr(text, line));
    g_assert_nonnull(strstr(text, counter));
}

static void test_hmp_info(void)
{
    AgeGuest *g = age_span_start(NULL);

    age_span_touch(g, AGE_GUEST_READ);
    age_guest_stop(g);
    age_flush_all(g->qts);
    check_hmp_info(g, "on", "");
    age_set_bool(g, "hw-ad", false);
    check_hmp_info(g, "off", "harvests are refused: " AGE_NO_HW "\r\n");
    age_guest_quit(g);
}

static void test_hmp_tcg(void)
{
    QTestState *qts = qtest_init("-nodefaults -machine none -accel tcg");

    check_hmp(qts, "info age", "version: " AGE_VERSION "\r\n"
              "the age accelerator is not in use\r\n");
    check_hmp(qts, "age_harvest 0 4096", "Error: " NOT_IN_USE "\r\n");
    check_hmp(qts, "age_harvest -t -f 0 4096", "Error: " NOT_IN_USE "\r\n");
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_data_func("age/span/on", "", test_spans);
    qtest_add_data_func("age/span/off", ",hw-ad=off", test_spans);
    qtest_add_func("age/span/bad", test_bad_spans);
    qtest_add_func("age/span/oob", test_oob);
    qtest_add_func("age/span/flush", test_flush);
    qtest_add_func("age/hmp/harvest", test_hmp_harvest);
    qtest_add_func("age/hmp/runs", test_hmp_runs);
    qtest_add_func("age/hmp/info", test_hmp_info);
    qtest_add_func("age/hmp/tcg", test_hmp_tcg);

    return g_test_run();
}
