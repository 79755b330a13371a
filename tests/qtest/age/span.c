/*
 * A few pages that are young, and what is said of ranges around them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qmp.h"
#include "span.h"

AgeGuest *age_span_start(const char *accel)
{
    AgeGuestOptions options = { .accel = accel };

    return age_guest_start(&options);
}

uint64_t age_span_end(const AgeGuest *g)
{
    return g->memory + SPAN_PAGES * AGE_PAGE;
}

void age_span_touch(AgeGuest *g, unsigned what)
{
    age_guest_touch(g, what, g->memory + SPAN_FIRST * AGE_PAGE,
                    SPAN_TOUCHED);
}

void age_set_bool(AgeGuest *g, const char *property, bool value)
{
    qtest_qmp_assert_success(g->qts, "{ 'execute': 'qom-set', 'arguments': {"
                             " 'path': '/machine/age', 'property': %s,"
                             " 'value': %i } }", property, value);
}

void age_check_error(QTestState *qts, const char *command, QDict *args,
                     const char *want)
{
    g_autoptr(QDict) error = qtest_qmp_assert_failure_ref(
        qts, "{ 'execute': %s, 'arguments': %p }", command, args);

    g_assert_cmpstr(qdict_get_str(error, "class"), ==, "GenericError");
    g_assert_cmpstr(qdict_get_str(error, "desc"), ==, want);
}

void age_check_answers(const QDict *result, const char *want)
{
    g_autoptr(GString) got = g_string_new("");
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(result, "ranges"), entry) {
        QDict *range = qobject_to(QDict, entry->value);

        g_string_append_c(got, qdict_get_bool(range, "young") ? 'y' : '-');
    }
    g_assert_cmpstr(got->str, ==, want);
    g_assert_cmpint(qdict_get_int(result, "begin-ns"), <=,
                    qdict_get_int(result, "end-ns"));
}

void age_check_spans(AgeGuest *g, const char *command, QList *ranges,
                     const char *options, const char *want)
{
    g_autoptr(QDict) result = qtest_qmp_assert_success_ref(
        g->qts, "{ 'execute': %s, 'arguments': %p }", command,
        age_harvest_args(ranges, options));

    age_check_answers(result, want);
}

void age_check_span(AgeGuest *g, const char *command, unsigned from,
                    unsigned to, const char *want)
{
    QList *ranges = qlist_new();

    age_add_clear_range(ranges, g->memory + from * AGE_PAGE,
                        g->memory + to * AGE_PAGE);
    age_check_spans(g, command, ranges, NULL, want);
}
