/*
 * age: what trace events say of each call of the chain
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "device.h"
#include "qmp.h"
#include "span.h"

/* All events of the chain */
#define EVENTS      "-d trace:age_hva,trace:age_hva_done,trace:age_refused," \
                    "trace:age_clear_young,trace:age_clear_flush_young," \
                    "trace:age_test_young"

/**
 * Traced: a guest whose events go to a file
 *
 * @g: the guest, with pages that are young
 * @path: the file
 * @seen: how much of it was looked at
 * @start, @end: the pages, as addresses in QEMU
 */
typedef struct Traced {
    AgeGuest *g;
    char *path;
    size_t seen;
    uint64_t start;
    uint64_t end;
} Traced;

static void start(Traced *t, const char *accel, const char *args)
{
    g_autofree char *all = NULL;
    AgeGuestOptions options = { .accel = accel };
    AgeSlotInfo slot;

    t->seen = 0;
    t->path = g_strdup_printf("%s/age-trace-%d", g_get_tmp_dir(), getpid());
    all = g_strdup_printf("%s -D %s " EVENTS, args, t->path);
    options.args = all;
    t->g = age_guest_start(&options);
    g_assert(age_find_slot(t->g->qts, "memory", t->g->memory, &slot));
    t->start = t->g->memory + slot.hva - slot.gpa;
    t->end = t->start + SPAN_PAGES * AGE_PAGE;
}

static void quit(Traced *t)
{
    age_guest_quit(t->g);
    unlink(t->path);
    g_free(t->path);
}

/* What was written since the last time must be @want. */
static void check_events(Traced *t, const char *want)
{
    g_autofree char *text = NULL;
    GError *err = NULL;
    gsize size;

    g_file_get_contents(t->path, &text, &size, &err);
    g_assert_no_error(err);
    g_assert_cmpstr(text + t->seen, ==, want);
    t->seen = size;
}

static void run(Traced *t, const char *command, const char *options)
{
    QList *ranges = qlist_new();
    g_autoptr(QDict) result = NULL;

    age_add_clear_range(ranges, t->g->memory, age_span_end(t->g));
    result = qtest_qmp_assert_success_ref(
        t->g->qts, "{ 'execute': %s, 'arguments': %p }", command,
        age_harvest_args(ranges, options));
}

/* A line with the range in it: "event hva start ... end ...", and @more */
static char *line(const Traced *t, const char *event, const char *more)
{
    return g_strdup_printf("%s hva start 0x%" PRIx64 " end 0x%" PRIx64 "%s\n",
                           event, t->start, t->end, more);
}

/* A harvest: the call, then who refused, then what came of it */
static void check_harvest(Traced *t, const char *options,
                          const char *refused, unsigned cleared, bool young)
{
    g_autofree char *begin = line(t, "age_hva", "");
    g_autofree char *result = g_strdup_printf(" cleared %u young %d", cleared,
                                              young);
    g_autofree char *end = line(t, "age_hva_done", result);
    g_autofree char *want = g_strdup_printf("%s%s%s", begin, refused, end);

    run(t, "age-test-clear-young", options);
    check_events(t, want);
}

static void test_harvest(void)
{
    Traced t;

    start(&t, NULL, "");
    check_harvest(&t, NULL, "", 0, false);
    age_span_touch(t.g, AGE_GUEST_READ | AGE_GUEST_FLUSH);
    check_harvest(&t, NULL, "", SPAN_TOUCHED, false);
    check_harvest(&t, NULL, "", 0, false);
    quit(&t);
}

static void test_refused(void)
{
    const char *why = "age_refused mmu age: " AGE_NO_HW "\n";
    Traced t;

    start(&t, ",hw-ad=off", "");
    age_span_touch(t.g, AGE_GUEST_READ | AGE_GUEST_FLUSH);
    check_harvest(&t, NULL, why, 0, false);
    /* The fallback is of the subscriber, not a call of the chain. */
    check_harvest(&t, "{ 'fallback': true }", why, 0, true);
    check_harvest(&t, "{ 'fallback': true }", why, 0, false);
    quit(&t);
}

/* One of two refuses, by its own name. */
static void test_device(void)
{
    Traced t;

    start(&t, NULL, AGE_DEV ",test-clear-young=off");
    age_span_touch(t.g, AGE_GUEST_READ | AGE_GUEST_FLUSH);
    check_harvest(&t, NULL, "age_refused mmu dma0: it can't tell for single "
                  "pages (test-clear-young=off)\n", SPAN_TOUCHED, false);
    quit(&t);
}

static void check_span_event(Traced *t, const char *command,
                             const char *options, const char *event,
                             bool young)
{
    g_autofree char *want = line(t, event, young ? " young 1" : " young 0");

    run(t, command, options);
    check_events(t, want);
}

/* Which call a command makes */
static void test_span(void)
{
    const char *request = "{ 'flush': 'request' }";
    Traced t;

    start(&t, NULL, "");
    for (unsigned i = 0; i < 2; i++) {
        age_span_touch(t.g, AGE_GUEST_READ | AGE_GUEST_FLUSH);
        check_span_event(&t, "age-test-young", NULL, "age_test_young", true);
        check_span_event(&t, "age-clear-young", NULL, "age_clear_young",
                         true);
        check_span_event(&t, "age-clear-young", NULL, "age_clear_young",
                         false);
        check_span_event(&t, "age-test-young", NULL, "age_test_young", false);
        age_span_touch(t.g, AGE_GUEST_READ | AGE_GUEST_FLUSH);
        check_span_event(&t, "age-clear-young", request,
                         "age_clear_flush_young", true);
        check_span_event(&t, "age-clear-young", request,
                         "age_clear_flush_young", false);
    }
    quit(&t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

#ifdef CONFIG_TRACE_LOG
    qtest_add_func("age/trace/harvest", test_harvest);
    qtest_add_func("age/trace/refused", test_refused);
    qtest_add_func("age/trace/device", test_device);
    qtest_add_func("age/trace/span", test_span);
#endif
    return g_test_run();
}
