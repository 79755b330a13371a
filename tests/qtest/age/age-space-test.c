/*
 * age: harvests of one address space
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qobject/qjson.h"
#include "qobject/qnum.h"
#include "board.h"
#include "device.h"
#include "guest.h"
#include "qmp.h"

static QDict *first_range(const QDict *result)
{
    return qobject_to(QDict, qlist_peek(qdict_get_qlist(result, "ranges")));
}

/* The young pages of [@start, @end) that @space knows of */
static uint64_t count_in(QTestState *qts, const char *space, uint64_t start,
                         uint64_t end, bool clear)
{
    g_autofree char *options = g_strdup_printf(
        "{ \"address-space\": \"%s\", \"clear\": %s, \"format\": \"count\" }",
        space, clear ? "true" : "false");
    QList *ranges = qlist_new();
    g_autoptr(QDict) result = NULL;

    age_add_clear_range(ranges, start, end);
    result = age_harvest(qts, ranges, options);
    return qdict_get_int(first_range(result), "young-pages");
}

/*
 * Four pages from @start on: @other used the first two, @space the third and
 * the second.  Each space is told of its own, and loses no other's.
 */
static void check_spaces(AgeGuest *g, const char *space, uint64_t space_pages,
                         const char *other, uint64_t other_pages)
{
    uint64_t end = g->memory + 4 * AGE_PAGE;
    uint64_t all = age_count(g->qts, g->memory, end, false);

    g_assert_cmpuint(count_in(g->qts, space, g->memory, end, false), ==,
                     space_pages);
    g_assert_cmpuint(count_in(g->qts, other, g->memory, end, false), ==,
                     other_pages);
    g_assert_cmpuint(count_in(g->qts, space, g->memory, end, true), ==,
                     space_pages);
    g_assert_cmpuint(count_in(g->qts, space, g->memory, end, false), ==, 0);
    g_assert_cmpuint(count_in(g->qts, other, g->memory, end, false), ==,
                     other_pages);
    g_assert_cmpuint(age_count(g->qts, g->memory, end, false), <=, all);
    g_assert_cmpuint(age_count(g->qts, g->memory, end, true), ==,
                     other_pages);
    g_assert_cmpuint(count_in(g->qts, other, g->memory, end, false), ==, 0);
}

/* x86: system management mode has a space of its own. */
static void test_smm(void)
{
    AgeGuestOptions options = { .machine = "pc" };
    AgeGuest *g = age_guest_start(&options);

    age_guest_touch(g, AGE_GUEST_READ, g->memory, 2);
    age_store_in_smm(g->qts, g->memory + AGE_PAGE);
    age_store_in_smm(g->qts, g->memory + 2 * AGE_PAGE);
    age_guest_stop(g);
    check_spaces(g, "smm", 2, "memory", 2);
    age_check_conserved(g->qts);
    age_guest_quit(g);
}

/* Arm: a CPU with EL3 begins in the secure state. */
static void test_secure(void)
{
    AgeGuestOptions options = { .machine = "virt,secure=on" };
    AgeGuest *g = age_guest_start(&options);

    age_guest_touch(g, AGE_GUEST_WRITE, g->memory, 3);
    age_guest_stop(g);
    check_spaces(g, "memory", 0, "secure", 3);
    age_check_conserved(g->qts);
    age_guest_quit(g);
}

/* All memory of a space is what its slots have. */
static void test_all(void)
{
    AgeGuest *g = age_guest_start(NULL);
    g_autoptr(GArray) slots = age_slots(g->qts);
    g_autoptr(QDict) result = NULL;
    uint64_t want = 0, got = 0;
    const QListEntry *entry;

    result = qtest_qmp_assert_success_ref(g->qts,
        "{ 'execute': 'age-test-clear-young', 'arguments': {"
        " 'address-space': 'memory', 'format': 'count' } }");
    for (unsigned i = 0; i < slots->len; i++) {
        AgeSlotInfo *slot = &g_array_index(slots, AgeSlotInfo, i);

        want += g_str_equal(slot->space, "memory") ? slot->size : 0;
    }
    QLIST_FOREACH_ENTRY(qdict_get_qlist(result, "ranges"), entry) {
        QDict *range = qobject_to(QDict, entry->value);

        got += qdict_get_int(range, "end") - qdict_get_int(range, "start");
    }
    g_assert_cmpuint(got, ==, want);
    age_guest_quit(g);
}

/* Only vCPUs have the spaces: what a device did is not told, and stays. */
static void test_device(void)
{
    AgeDev *d = age_dev_start(AGE_DEV);
    g_autoptr(QDict) result = NULL;
    QList *ranges = qlist_new();

    age_dev_setup(d, AGE_DEVICE_COMMAND_WRITE, d->memory, AGE_PAGE, 3);
    age_dev_do(d);
    g_assert_cmpuint(count_in(d->qts, "memory", d->memory, d->end, true), ==,
                     0);
    age_add_clear_range(ranges, d->memory, d->end);
    result = age_harvest(d->qts, ranges, "{ \"address-space\": \"memory\" }");
    g_assert_cmpuint(qlist_size(qdict_get_qlist(first_range(result),
                                                "answers")), ==, 1);
    g_assert_cmpuint(age_count(d->qts, d->memory, d->end, true), ==, 3);
    age_dev_quit(d);
}

/* The names that errors list */
static char *list_spaces(QTestState *qts)
{
    g_autoptr(QDict) info = age_query(qts);
    GString *names = g_string_new("");
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(info, "roots"), entry) {
        g_string_append_printf(names, "%s%s", names->len ? ", " : "",
                               qdict_get_str(qobject_to(QDict, entry->value),
                                             "address-space"));
    }
    return g_string_free(names, false);
}

static void check_unknown(QTestState *qts, const char *command,
                          const char *args, const char *space)
{
    g_autofree char *names = list_spaces(qts);
    g_autofree char *want = g_strdup_printf(
        "there is no address space '%s'; there are: %s", space, names);
    QDict *dict = qobject_to(QDict, qobject_from_json(args, &error_abort));
    g_autoptr(QDict) error = NULL;

    qdict_put_str(dict, "address-space", space);
    error = qtest_qmp_assert_failure_ref(
        qts, "{ 'execute': %s, 'arguments': %p }", command, dict);
    g_assert_cmpstr(qdict_get_str(error, "desc"), ==, want);
}

static void test_unknown(void)
{
    AgeGuest *g = age_guest_start(NULL);
    g_autoptr(QDict) error = NULL;

    check_unknown(g->qts, "age-test-clear-young", "{}", "moon");
    check_unknown(g->qts, "age-test-clear-dirty", "{}", "moon");
    check_unknown(g->qts, "age-test-clear-young", "{}", "dma");
    check_unknown(g->qts, "query-age-walk", "{ \"gpa\": 0 }", "moon");
    check_unknown(g->qts, "query-age-walk", "{ \"gpa\": 0 }", "");
    error = qtest_qmp_assert_failure_ref(g->qts,
        "{ 'execute': 'age-test-clear-young', 'arguments': {"
        " 'address-space': 'memory', 'fallback': true } }");
    g_assert_cmpstr(qdict_get_str(error, "desc"), ==,
                    "a fallback knows no address spaces; leave out either"
                    " \"fallback\" or \"address-space\"");
    g_assert_cmpuint(age_counter(g->qts, "cleared"), ==, 0);
    age_guest_quit(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    if (age_is_x86()) {
        qtest_add_func("age/space/smm", test_smm);
    } else {
        qtest_add_func("age/space/secure", test_secure);
    }
    qtest_add_func("age/space/all", test_all);
    qtest_add_func("age/space/device", test_device);
    qtest_add_func("age/space/unknown", test_unknown);

    return g_test_run();
}
