/*
 * The history, for the age tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qobject/qjson.h"
#include "qobject/qnum.h"
#include "history.h"
#include "qmp.h"

/* Add what @options has to @args. */
static void add_options(QDict *args, const char *options)
{
    g_autoptr(QDict) more = NULL;

    if (!options) {
        return;
    }
    more = qobject_to(QDict, qobject_from_json(options, &error_abort));
    for (const QDictEntry *e = qdict_first(more); e; e = qdict_next(more, e)) {
        qdict_put_obj(args, qdict_entry_key(e),
                      qobject_ref(qdict_entry_value(e)));
    }
}

void age_history_add(QTestState *qts, const char *options)
{
    QDict *args = qdict_from_jsonf_nofail("{ 'qom-type': 'age-history',"
                                          " 'id': 'h0' }");

    add_options(args, options);
    qtest_qmp_assert_success(qts, "{ 'execute': 'object-add',"
                             " 'arguments': %p }", args);
}

void age_history_del(QTestState *qts)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'object-del',"
                             " 'arguments': { 'id': 'h0' } }");
}

QDict *age_history_args(AgeGuest *g, uint64_t since, const char *options)
{
    QDict *args = qdict_from_jsonf_nofail("{ 'history': 'h0' }");
    QList *ranges = qlist_new();
    QDict *range = qdict_new();

    qdict_put(range, "start", qnum_from_uint(g->memory));
    qdict_put(range, "end", qnum_from_uint(g->end));
    qlist_append(ranges, range);
    qdict_put(args, "ranges", ranges);
    qdict_put_str(args, "format", "runs");
    if (since) {
        qdict_put(args, "since", qnum_from_uint(since));
    }
    add_options(args, options);
    return args;
}

GArray *age_history_read(AgeGuest *g, uint64_t *since, const char *options)
{
    GArray *pages = age_pages_new();
    g_autoptr(QDict) result = qtest_qmp_assert_success_ref(
        g->qts, "{ 'exec-oob': 'age-history-read', 'arguments': %p }",
        age_history_args(g, *since, options));
    QObject *first = qlist_peek(qdict_get_qlist(result, "ranges"));
    uint64_t next = qdict_get_int(result, "next");

    g_assert_cmpuint(next, >, *since);
    *since = next;
    age_add_told_pages(pages, qobject_to(QDict, first), false);
    g_assert_cmpuint(qdict_get_int(qobject_to(QDict, first), "pages"), ==,
                     pages->len);
    age_wait_flushed(g->qts);
    return pages;
}

void age_history_expect(AgeGuest *g, uint64_t *since, uint64_t start,
                        uint64_t count)
{
    GArray *want = age_pages_new();

    age_pages_add(want, start, count, AGE_PAGE);
    age_assert_same_pages(age_history_read(g, since, NULL), want);
}

QDict *age_history_query(QTestState *qts, const char *options)
{
    QDict *args = qdict_from_jsonf_nofail("{ 'history': 'h0' }");

    add_options(args, options);
    return qtest_qmp_assert_success_ref(
        qts, "{ 'exec-oob': 'query-age-history', 'arguments': %p }", args);
}

uint64_t age_history_sum(const QDict *info, const char *list,
                         const char *member)
{
    const QListEntry *e;
    uint64_t sum = 0;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(info, list), e) {
        sum += qdict_get_int(qobject_to(QDict, qlist_entry_obj(e)), member);
    }
    return sum;
}
