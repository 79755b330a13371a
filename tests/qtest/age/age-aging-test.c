/*
 * age: aging without the hardware's help, and one answer for a range
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qobject/qbool.h"
#include "qobject/qjson.h"
#include "qobject/qstring.h"
#include "guest.h"
#include "qmp.h"
#include "span.h"

#define PROTECTED   "the guest is protected (protected=on)"
#define ONLY_ARM    "only Arm guests can be protected"

/* Properties, which are at /machine/age */

static void check_refused_property(AgeGuest *g, const char *property,
                                   QObject *value, const char *want)
{
    age_check_error(g->qts, "qom-set", qdict_from_jsonf_nofail(
        "{ 'path': '/machine/age', 'property': %s, 'value': %p }",
        property, value), want);
}

/* What query-age says: @reason is NULL if harvests are answered. */
static void check_info(AgeGuest *g, bool hw_ad, const char *reason)
{
    g_autoptr(QDict) info = age_query(g->qts);

    g_assert(qdict_get_bool(info, "hw-ad") == hw_ad);
    g_assert(qdict_get_bool(info, "test-clear-young") == !reason);
    g_assert_cmpstr(qdict_get_try_str(info, "reason"), ==, reason);
}

static void clear_and_flush(AgeGuest *g)
{
    QList *ranges = qlist_new();
    g_autoptr(QDict) result = NULL;

    age_add_clear_range(ranges, g->memory, g->end);
    result = qtest_qmp_assert_success_ref(
        g->qts, "{ 'execute': 'age-clear-young', 'arguments': %p }",
        age_harvest_args(ranges, "{ 'flush': 'request' }"));
    age_wait_flushed(g->qts);
}

/*
 * Harvests.  Of the pages, the first 8 are only tested, and so 5 of those that
 * the guest touches; the last 4 bits are no page's.
 */
static const uint8_t sent[] = { 0xff, 0x0f, 0xa0 };
#define TESTED      8

static QDict *harvest(AgeGuest *g, bool fallback)
{
    QList *ranges = qlist_new();

    age_add_range(ranges, g->memory, age_span_end(g), sent, sizeof(sent));
    return age_harvest(g->qts, ranges, fallback ? "{ 'fallback': true }"
                                                : NULL);
}

static QDict *first_of(const QDict *dict, const char *key)
{
    return qobject_to(QDict, qlist_peek(qdict_get_qlist(dict, key)));
}

static void check_bitmap(const QDict *range, bool young)
{
    g_autofree uint8_t *map = NULL;
    uint8_t want[sizeof(sent)];
    gsize bytes;

    memcpy(want, sent, sizeof(sent));
    for (unsigned i = 0; young && i < SPAN_TOUCHED; i++) {
        unsigned bit = SPAN_PAGES - (SPAN_FIRST + i) - 1;

        want[bit / 8] ^= 1 << (bit % 8);
    }
    map = g_base64_decode(qdict_get_str(range, "bitmap"), &bytes);
    g_assert_cmpmem(map, bytes, want, sizeof(want));
    g_assert_cmpint(qdict_get_int(range, "young-pages"), ==,
                    young ? SPAN_TOUCHED : 0);
}

/* The pages were answered for one by one, whether or not @fallback */
static void check_handled(AgeGuest *g, bool fallback)
{
    g_autoptr(QDict) result = harvest(g, fallback);
    QDict *range = first_of(result, "ranges");
    QDict *answer = first_of(range, "answers");

    g_assert_cmpint(qdict_get_int(result, "young"), ==, 0);
    g_assert(qdict_get_bool(range, "handled"));
    g_assert(!qdict_haskey(range, "reason"));
    g_assert_cmpint(qlist_size(qdict_get_qlist(range, "answers")), ==, 1);
    g_assert_cmpstr(qdict_get_str(answer, "mmu"), ==, "age");
    g_assert_cmpstr(qdict_get_str(answer, "how"), ==, "bitmap");
    g_assert(!qdict_haskey(answer, "reason"));
    g_assert(!qdict_haskey(answer, "young"));
    check_bitmap(range, true);
    age_check_span(g, "age-test-young", SPAN_FIRST, TESTED, "y");
    age_check_span(g, "age-test-young", TESTED, SPAN_PAGES, "-");
}

/* They were not.  With @fallback, the answer for all must be @young. */
static void check_not_handled(AgeGuest *g, bool fallback, bool young,
                              const char *reason)
{
    g_autoptr(QDict) result = harvest(g, fallback);
    g_autofree char *long_reason = g_strdup_printf("age: %s", reason);
    QDict *range = first_of(result, "ranges");
    QDict *answer = first_of(range, "answers");

    g_assert_cmpint(qdict_get_int(result, "young"), ==, young);
    g_assert_cmpint(qdict_get_bool(result, "fallback-young"), ==, young);
    g_assert(!qdict_get_bool(range, "handled"));
    g_assert_cmpstr(qdict_get_str(range, "reason"), ==, long_reason);
    g_assert_cmpint(qlist_size(qdict_get_qlist(range, "answers")), ==, 1);
    g_assert_cmpstr(qdict_get_str(answer, "mmu"), ==, "age");
    g_assert_cmpstr(qdict_get_str(answer, "how"), ==,
                    fallback ? "clear-young" : "refused");
    g_assert_cmpstr(qdict_get_str(answer, "reason"), ==, reason);
    g_assert(qdict_haskey(answer, "young") == fallback);
    g_assert(qdict_get_try_bool(answer, "young", false) == young);
    check_bitmap(range, false);
}

/* Refused, nothing is consumed; with a fallback, all of the range is. */
static void check_refuses(AgeGuest *g, const char *reason)
{
    unsigned last = SPAN_FIRST + SPAN_TOUCHED - 1;

    age_guest_touch(g, AGE_GUEST_READ | AGE_GUEST_FLUSH, age_span_end(g), 1);
    age_span_touch(g, AGE_GUEST_WRITE | AGE_GUEST_FLUSH);
    for (unsigned i = 0; i < 2; i++) {
        check_not_handled(g, false, false, reason);
        age_check_span(g, "age-test-young", SPAN_FIRST, SPAN_FIRST + 1, "y");
        age_check_span(g, "age-test-young", last, last + 1, "y");
    }
    check_not_handled(g, true, true, reason);
    age_check_span(g, "age-test-young", 0, SPAN_PAGES, "-");
    check_not_handled(g, true, false, reason);
    /* The page behind it is as it was. */
    age_check_span(g, "age-test-young", SPAN_PAGES, SPAN_PAGES + 1, "y");
}

static void check_recall(AgeGuest *g, bool fallback)
{
    clear_and_flush(g);
    age_span_touch(g, AGE_GUEST_READ);
    check_handled(g, fallback);
}

static void check_switch(AgeGuest *g)
{
    check_info(g, false, AGE_NO_HW);
    check_refuses(g, AGE_NO_HW);
    /* To switch to what it is already changes nothing. */
    age_set_bool(g, "hw-ad", false);
    age_check_span(g, "age-test-young", SPAN_PAGES, SPAN_PAGES + 1, "y");
    age_set_bool(g, "hw-ad", true);
    check_info(g, true, NULL);
    check_recall(g, false);
}

static void test_switch(const void *accel)
{
    AgeGuest *g = age_span_start(accel);

    for (unsigned i = 0; i < 3; i++) {
        age_set_bool(g, "hw-ad", false);
        check_switch(g);
    }
    age_guest_stop(g);
    age_check_conserved(g->qts);
    age_guest_quit(g);
}

/* Pages that are in a TLB as all entries go: a flush is due after that. */
static void test_switch_flush(void)
{
    AgeGuest *g = age_span_start(NULL);

    age_span_touch(g, AGE_GUEST_WRITE);
    age_set_bool(g, "hw-ad", false);
    clear_and_flush(g);
    age_span_touch(g, AGE_GUEST_WRITE);
    age_check_span(g, "age-test-young", SPAN_FIRST, SPAN_FIRST + 1, "y");
    age_set_bool(g, "hw-ad", true);
    check_recall(g, false);
    age_guest_quit(g);
}

/* To and fro while vCPUs walk and while there are harvests: nothing is lost. */
static void test_switch_running(void)
{
    AgeGuestOptions options = { .cpus = 2 };
    AgeGuest *g = age_guest_start(&options);

    for (unsigned cpu = 0; cpu < g->cpus; cpu++) {
        age_guest_send(g, cpu, AGE_GUEST_WRITE | AGE_GUEST_FLUSH |
                       AGE_GUEST_REPEAT, g->memory, 300, 3 * AGE_PAGE);
    }
    for (unsigned i = 0; i < 200; i++) {
        age_set_bool(g, "hw-ad", i % 2);
        qobject_unref(harvest(g, i % 3 == 0));
    }
    for (unsigned cpu = 0; cpu < g->cpus; cpu++) {
        age_guest_wait_round(g, cpu);
    }
    age_guest_stop(g);
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, false), ==, 300);
    age_check_conserved(g->qts);
    age_guest_quit(g);
}

/* What is in a leaf.  @write: on x86, whether a store was seen since */
static void check_leaf(AgeGuest *g, uint64_t gpa, bool young, bool write)
{
    bool permits = young || !age_is_x86();
    AgeLeafInfo leaf;

    g_assert(age_leaf(g->qts, "memory", gpa, &leaf));
    g_assert(leaf.accessed == young);
    g_assert(!!(leaf.value & age_arch()->accessed) == young);
    g_assert(leaf.read == permits);
    g_assert(leaf.execute == permits);
    g_assert(leaf.write == (write || !age_is_x86()));
    g_assert(!leaf.dirty);
}

/* An old page faults when it is used, for a store once more. */
static void check_fault(AgeGuest *g, unsigned what, uint64_t gpa, bool write)
{
    uint64_t violations = age_counter(g->qts, "violations");

    age_guest_touch(g, what, gpa, 1);
    check_leaf(g, gpa, true, write);
    g_assert_cmpuint(age_counter(g->qts, "violations"), >, violations);
}

/* A page that is in the TLB for a load may be stored to without a walk. */
static void test_walk(void)
{
    AgeGuest *g = age_span_start(",hw-ad=off");
    uint64_t gpa = g->memory + SPAN_FIRST * AGE_PAGE;

    for (unsigned i = 0; i < 3; i++) {
        check_fault(g, AGE_GUEST_READ, gpa, false);
        if (age_is_x86()) {
            check_fault(g, AGE_GUEST_WRITE | AGE_GUEST_FLUSH, gpa, true);
        }
        clear_and_flush(g);
        check_leaf(g, gpa, false, false);
        check_fault(g, AGE_GUEST_WRITE, gpa, true);
        clear_and_flush(g);
        check_leaf(g, gpa, false, false);
    }
    age_guest_quit(g);
}

static void test_protected_arm(void)
{
    AgeGuest *g = age_span_start(",protected=on");

    for (unsigned i = 0; i < 2; i++) {
        check_info(g, true, PROTECTED);
        check_refuses(g, PROTECTED);
        age_set_bool(g, "protected", false);
        check_info(g, true, NULL);
        check_recall(g, false);
        age_set_bool(g, "protected", true);
    }
    /* There are two reasons now, and one is left. */
    age_set_bool(g, "hw-ad", false);
    check_info(g, false, PROTECTED);
    age_set_bool(g, "protected", false);
    check_info(g, false, AGE_NO_HW);
    age_guest_quit(g);
}

static void check_refused_option(void)
{
    g_autofree char *line = g_strdup_printf(
        "%s -nodefaults -display none -machine none -accel age,protected=on",
        getenv("QTEST_QEMU_BINARY"));
    g_autofree char *out = NULL, *messages = NULL;
    GError *err = NULL;
    int status;

    g_spawn_command_line_sync(line, &out, &messages, &status, &err);
    g_assert_no_error(err);
    g_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    g_assert_cmpstr(out, ==, "");
    g_assert(g_str_has_suffix(messages, ": " ONLY_ARM "\n"));
    g_assert(strchr(messages, '\n') == messages + strlen(messages) - 1);
}

static void test_protected_x86(void)
{
    AgeGuest *g = age_span_start(",protected=off");

    check_refused_option();
    check_refused_property(g, "protected", QOBJECT(qbool_from_bool(true)),
                           ONLY_ARM);
    age_set_bool(g, "protected", false);
    check_info(g, true, NULL);
    check_recall(g, false);
    age_guest_quit(g);
}

/* A fallback that is not needed makes no odds, nor does a wrong property. */
static void test_unneeded(void)
{
    AgeGuest *g = age_span_start(NULL);
    g_autoptr(QDict) info = NULL;

    check_refused_property(g, "page-size", QOBJECT(qstring_from_str("2m")),
                           "page-size can't be changed after the start");
    info = age_query(g->qts);
    g_assert_cmpstr(qdict_get_str(info, "page-size"), ==, "4k");
    check_recall(g, true);
    age_guest_quit(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_data_func("age/aging/switch/from-on", "", test_switch);
    qtest_add_data_func("age/aging/switch/from-off", ",hw-ad=off",
                        test_switch);
    qtest_add_func("age/aging/switch/flush", test_switch_flush);
    qtest_add_func("age/aging/switch/running", test_switch_running);
    qtest_add_func("age/aging/walk", test_walk);
    qtest_add_func("age/aging/protected",
                   age_is_x86() ? test_protected_x86 : test_protected_arm);
    qtest_add_func("age/aging/unneeded", test_unneeded);

    return g_test_run();
}
