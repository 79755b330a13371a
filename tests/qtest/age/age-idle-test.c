/*
 * age: how long memory has been idle, and what the history refuses
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "qobject/qjson.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"
#include "harvester.h"
#include "history.h"
#include "qmp.h"

#define NEVER   UINT32_MAX
#define SIZE    (1 * MiB)
#define NS_IN_MS    1000000

/* A guest with a history, and a memory backend that the test has mapped */
typedef struct Fixture {
    AgeGuest *g;
    AgeHarvester *harvester;
    char *path;
    uint8_t *bytes;
} Fixture;

static void setup(Fixture *f, gconstpointer opaque)
{
    g_autofree char *args = NULL;
    g_autofree char *monitor = NULL;
    AgeGuestOptions options = { .oob = true };
    int fd = g_file_open_tmp("age-idle-XXXXXX", &f->path, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, SIZE), ==, 0);
    f->bytes = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert(f->bytes != MAP_FAILED);
    close(fd);
    f->harvester = age_harvester_new();
    monitor = age_harvester_args(f->harvester);
    args = g_strdup_printf("-object memory-backend-file,id=ages,size=%d,"
                           "share=on,mem-path=%s -object age-history,id=h0 %s",
                           (int)SIZE, f->path, monitor);
    options.args = args;
    f->g = age_guest_start(&options);
    qtest_qmp_assert_success(f->g->qts, "{ 'execute': 'age-share-memory',"
                             " 'arguments': { 'memory': 'ages' } }");
}

static void teardown(Fixture *f, gconstpointer opaque)
{
    age_guest_quit(f->g);
    age_harvester_free(f->harvester);
    munmap(f->bytes, SIZE);
    unlink(f->path);
    g_free(f->path);
}

/* Ages */

static QDict *ages_args(uint64_t start, uint64_t end, uint64_t offset)
{
    QDict *range = qdict_new();

    qdict_put(range, "start", qnum_from_uint(start));
    qdict_put(range, "end", qnum_from_uint(end));
    return qdict_from_jsonf_nofail("{ 'history': 'h0', 'memory': 'ages',"
                                   " 'range': %p, 'offset': %p }", range,
                                   qnum_from_uint(offset));
}

/* Writes idle times of pages to @f->bytes; returns when that was, in ms */
static uint64_t get_ages(Fixture *f, uint64_t start, uint64_t size)
{
    g_autoptr(QDict) pass = qtest_qmp_assert_success_ref(
        f->g->qts, "{ 'exec-oob': 'age-history-ages', 'arguments': %p }",
        ages_args(start, start + size, 0));

    return qdict_get_int(pass, "begin-ns") / NS_IN_MS;
}

static uint32_t age_at(Fixture *f, unsigned page)
{
    return ldl_le_p(f->bytes + 4 * page);
}

/* Touch pages, and have that found. */
static void touch(Fixture *f, uint64_t first, uint64_t count)
{
    uint64_t since = 0;

    age_guest_touch(f->g, AGE_GUEST_READ, f->g->memory + first * AGE_PAGE,
                    count);
    g_array_unref(age_history_read(f->g, &since, NULL));
}

/* Three times of touches, in a range that begins and ends beside them */
static void test_ages(Fixture *f, gconstpointer opaque)
{
    uint64_t size = f->g->end - f->g->memory;

    memset(f->bytes, 0x5a, SIZE);
    touch(f, 0, 10);
    g_usleep(30000);
    touch(f, 3, 2);
    g_usleep(20000);
    touch(f, 4, 1);
    get_ages(f, f->g->memory, size);
    for (unsigned i = 0; i < 10; i++) {
        g_assert_cmpuint(age_at(f, i), >=, i == 4 ? 0 : i == 3 ? 20 : 50);
        g_assert_cmpuint(age_at(f, i), <, NEVER - 1);
    }
    g_assert_cmpuint(age_at(f, 0), ==, age_at(f, 9));
    g_assert_cmpuint(age_at(f, 0), >=, age_at(f, 3) + 30);
    g_assert_cmpuint(age_at(f, 3), >=, age_at(f, 4) + 20);
    g_assert_cmpuint(age_at(f, 10), ==, NEVER);
    g_assert_cmphex(ldl_le_p(f->bytes + size / AGE_PAGE * 4), ==, 0x5a5a5a5a);
}

/* Add the times at which pages of a slot were found, by host page. */
static void add_times(Fixture *f, GHashTable *times, const AgeSlotInfo *slot)
{
    uint64_t end = slot->gpa + slot->size;

    for (uint64_t gpa = slot->gpa; gpa < end; gpa += SIZE / 4 * AGE_PAGE) {
        uint64_t size = MIN(end - gpa, SIZE / 4 * AGE_PAGE);
        uint64_t now = get_ages(f, gpa, size);

        for (unsigned i = 0; i < size / AGE_PAGE; i++) {
            uint64_t page = (slot->hva + (gpa - slot->gpa)) / AGE_PAGE + i;
            uint64_t time = age_at(f, i) == NEVER ? 0 : now - age_at(f, i);

            g_hash_table_insert(times, GSIZE_TO_POINTER(page),
                                GSIZE_TO_POINTER(time));
        }
    }
}

/* For all pages of the guest: when it was found, by host page; 0 for never */
static GHashTable *all_times(Fixture *f)
{
    g_autoptr(GArray) slots = age_slots(f->g->qts);
    GHashTable *times = g_hash_table_new(NULL, NULL);

    for (unsigned i = 0; i < slots->len; i++) {
        add_times(f, times, &g_array_index(slots, AgeSlotInfo, i));
    }
    return times;
}

/* How many bytes were found from @from to @to ms before @now? */
static uint64_t bytes_between(GHashTable *times, uint64_t now, uint64_t from,
                              uint64_t to)
{
    GHashTableIter iter;
    gpointer page, time;
    uint64_t bytes = 0;

    g_hash_table_iter_init(&iter, times);
    while (g_hash_table_iter_next(&iter, &page, &time)) {
        uint64_t idle = now - GPOINTER_TO_SIZE(time);

        bytes += time && idle >= from && idle < to ? AGE_PAGE : 0;
    }
    return bytes;
}

/* The distribution is the one that the pages have. */
static void test_distribution(Fixture *f, gconstpointer opaque)
{
    g_autoptr(GHashTable) times = NULL;
    g_autoptr(QDict) info = NULL;
    const QListEntry *e;
    uint64_t sum = 0, now;

    for (unsigned i = 0; i < 20; i++) {
        touch(f, i * 7, 40 - i);
        g_usleep(1000 * i);
    }
    times = all_times(f);
    info = age_history_query(f->g->qts, "{ 'bins': [ 1, 5, 10, 20, 30, 50, 80,"
                             " 120, 200, 1000, 100000 ] }");
    now = qdict_get_int(info, "now-ns") / NS_IN_MS;
    QLIST_FOREACH_ENTRY(qdict_get_qlist(info, "idle"), e) {
        QDict *bin = qobject_to(QDict, qlist_entry_obj(e));
        uint64_t to = qdict_get_try_int(bin, "to-ms", INT64_MAX);

        g_assert_cmpint(qdict_get_int(bin, "bytes"), ==,
                        bytes_between(times, now, qdict_get_int(bin, "from-ms"),
                                      to));
        sum += qdict_get_int(bin, "bytes");
    }
    g_assert_cmpint(sum, >, 0);
    g_assert_cmpint(sum + qdict_get_int(info, "untouched"), ==,
                    g_hash_table_size(times) * AGE_PAGE);
}

/* A page that was touched again is told with how long it had been idle. */
static void test_promoted(Fixture *f, gconstpointer opaque)
{
    g_autoptr(QDict) before = NULL;
    g_autoptr(QDict) after = NULL;
    const QListEntry *last;

    touch(f, 0, 10);
    before = age_history_query(f->g->qts, "{ 'bins': [ 30 ] }");
    g_usleep(30000);
    touch(f, 2, 3);
    after = age_history_query(f->g->qts, "{ 'bins': [ 30 ] }");
    g_assert_cmpuint(age_history_sum(after, "promoted", "pages"), >=,
                     age_history_sum(before, "promoted", "pages") + 3);
    last = qlist_next(qlist_first(qdict_get_qlist(after, "promoted")));
    g_assert_cmpint(qdict_get_int(qobject_to(QDict, qlist_entry_obj(last)),
                                  "pages"), >=, 3);
}

/* Others harvest, while the object comes and goes. */
static void test_come_and_go(Fixture *f, gconstpointer opaque)
{
    AgeGuest *g = f->g;

    age_harvester_start(f->harvester, g->memory, g->end,
                        "{ 'flush': 'request', 'format': 'runs' }");
    age_guest_send(g, 0, AGE_GUEST_READ | AGE_GUEST_REPEAT, g->memory, 1000,
                   AGE_PAGE);
    for (unsigned i = 0; i < 30; i++) {
        uint64_t since = 0;

        age_history_del(g->qts);
        age_history_add(g->qts, i % 2 ? "{ 'interval': 1 }" : NULL);
        age_guest_wait_round(g, 0);
        g_array_unref(age_history_read(g, &since, NULL));
        g_array_unref(age_history_read(g, &since, NULL));
    }
    age_harvester_stop(f->harvester);
}

/* Errors */

static void check_error(Fixture *f, const char *command, QDict *args,
                        const char *want)
{
    g_autoptr(QDict) error = qtest_qmp_assert_failure_ref(
        f->g->qts, "{ 'execute': %s, 'arguments': %p }", command, args);

    g_assert_cmpstr(qdict_get_str(error, "class"), ==, "GenericError");
    g_assert_cmpstr(qdict_get_str(error, "desc"), ==, want);
}

static void check_bins(Fixture *f, QList *bins, const char *want)
{
    check_error(f, "query-age-history",
                qdict_from_jsonf_nofail("{ 'history': 'h0', 'bins': %p }",
                                        bins), want);
}

static QList *many_bins(unsigned num)
{
    QList *bins = qlist_new();

    for (unsigned i = 0; i < num; i++) {
        qlist_append_int(bins, i + 1);
    }
    return bins;
}

static void test_bad_bins(Fixture *f, gconstpointer opaque)
{
    QList *bins = many_bins(2);

    qlist_append_int(bins, 2);
    check_bins(f, bins, "bin 2 comes after 2; bins ascend, from 1 ms on");
    bins = qlist_new();
    qlist_append_int(bins, 0);
    check_bins(f, bins, "bin 0 comes after 0; bins ascend, from 1 ms on");
    check_bins(f, qlist_new(), "there are 0 bins; give 1 to 1024 of them");
    check_bins(f, many_bins(1025),
               "there are 1025 bins; give 1 to 1024 of them");
    qobject_unref(qtest_qmp_assert_success_ref(
        f->g->qts, "{ 'execute': 'query-age-history', 'arguments': {"
        " 'history': 'h0', 'bins': %p } }", many_bins(1024)));
}

static void test_bad_object(Fixture *f, gconstpointer opaque)
{
    check_error(f, "query-age-history",
                qdict_from_jsonf_nofail("{ 'history': 'h1' }"),
                "there is no history 'h1'; the one there is is 'h0'");
    check_error(f, "object-add",
                qdict_from_jsonf_nofail("{ 'qom-type': 'age-history',"
                                        " 'id': 'h1' }"),
                "there is a history already, 'h0'; any number of clients can "
                "read it");
    check_error(f, "qom-set",
                qdict_from_jsonf_nofail("{ 'path': '/objects/h0', 'property':"
                                        " 'interval', 'value': 5 }"),
                "'interval' of a history can't be changed; delete it and add "
                "another one");
    check_error(f, "age-history-read",
                age_history_args(f->g, 0, "{ 'dirty': true }"),
                "history 'h0' does not remember stores; create it with "
                "dirty=on");
    age_history_del(f->g->qts);
    check_error(f, "age-history-read", age_history_args(f->g, 0, NULL),
                "there is no history 'h0'; add one with -object "
                "age-history,id=h0");
}

/* A number that was not handed out, and one of an earlier history */
static void test_bad_number(Fixture *f, gconstpointer opaque)
{
    uint64_t since = 0, future;
    g_autofree char *want = NULL;
    g_autoptr(QDict) error = NULL;

    g_array_unref(age_history_read(f->g, &since, NULL));
    future = since + 1000;
    want = g_strdup_printf("history 'h0' has not handed out the number %"
                           PRIu64 "; ask with \"next\" of an answer of its",
                           future);
    check_error(f, "age-history-read", age_history_args(f->g, future, NULL),
                want);
    age_history_del(f->g->qts);
    age_history_add(f->g->qts, NULL);
    error = qtest_qmp_assert_failure_ref(
        f->g->qts, "{ 'execute': 'age-history-read', 'arguments': %p }",
        age_history_args(f->g, since, NULL));
    g_assert(strstr(qdict_get_str(error, "desc"), "does not know any more"));
}

static void test_bad_memory(Fixture *f, gconstpointer opaque)
{
    uint64_t start = f->g->memory, end = start + 8 * AGE_PAGE;
    g_autofree char *name = g_strdup_printf("ranges[0] (0x%" PRIx64 " to 0x%"
                                            PRIx64 ")", start, end);
    g_autofree char *unaligned = g_strdup_printf(
        "%s has its ages at offset 2, which is no multiple of 4", name);
    g_autofree char *behind = g_strdup_printf(
        "%s has ages of 32 bytes at offset %d of memory 'ages', which is of "
        "%d bytes", name, (int)SIZE - 28, (int)SIZE);
    g_autofree char *unknown = g_strdup_printf(
        "%s names memory 'ages', which was not made known by age-share-memory",
        name);

    check_error(f, "age-history-ages", ages_args(start, end, 2), unaligned);
    check_error(f, "age-history-ages", ages_args(start, end, SIZE - 28),
                behind);
    qtest_qmp_assert_success(f->g->qts, "{ 'execute': 'age-unshare-memory',"
                             " 'arguments': { 'memory': 'ages' } }");
    check_error(f, "age-history-ages", ages_args(start, end, 0), unknown);
}

/* Monitors */

/* A statistic of the accelerator, which must be there */
static QDict *statistic(Fixture *f, const char *target, const char *name)
{
    g_autoptr(QDict) response = qtest_qmp(
        f->g->qts, "{ 'execute': 'query-stats', 'arguments': {"
        " 'target': %s, 'providers': [ { 'provider': 'age',"
        " 'names': [ %s ] } ] } }", target, name);
    QList *results = qdict_get_qlist(response, "return");
    QDict *first = qobject_to(QDict, qlist_peek(results));
    QDict *stat = qobject_to(QDict, qlist_peek(qdict_get_qlist(first,
                                                               "stats")));

    g_assert_cmpstr(qdict_get_str(first, "provider"), ==, "age");
    g_assert_cmpstr(qdict_get_str(stat, "name"), ==, name);
    return qobject_ref(stat);
}

static uint64_t number(Fixture *f, const char *target, const char *name)
{
    g_autoptr(QDict) stat = statistic(f, target, name);

    return qdict_get_int(stat, "value");
}

static void test_statistics(Fixture *f, gconstpointer opaque)
{
    g_autoptr(QDict) idle = NULL;
    g_autofree char *text = NULL;
    const QListEntry *e;
    uint64_t sum = 0;

    touch(f, 0, 10);
    g_assert_cmpuint(number(f, "vm", "fills"), >=, 10);
    g_assert_cmpuint(number(f, "vcpu", "fills"), >=, 10);
    /* The vCPU does it before its next instruction, whenever that is. */
    age_guest_touch(f->g, AGE_GUEST_READ, f->g->memory, 10);
    g_assert_cmpuint(number(f, "vcpu", "flushes"), >=, 1);
    g_assert_cmpuint(number(f, "vm", "history-harvests"), ==, 1);
    idle = statistic(f, "vm", "idle-bytes");
    QLIST_FOREACH_ENTRY(qdict_get_qlist(idle, "value"), e) {
        sum += qnum_get_uint(qobject_to(QNum, qlist_entry_obj(e)));
    }
    g_assert_cmpuint(sum, >=, 10 * AGE_PAGE);
    text = qtest_hmp(f->g->qts, "info stats vm");
    g_assert(strstr(text, "provider: age"));
    g_assert(strstr(text, "violations (cumulative): "));
    g_assert(strstr(text, "idle-bytes (log2-histogram, "));
}

static void test_hmp(Fixture *f, gconstpointer opaque)
{
    g_autofree char *text = NULL;
    g_autofree char *none = NULL;

    touch(f, 0, 10);
    text = qtest_hmp(f->g->qts, "info age_history");
    g_assert(strstr(text, "history: h0\r\ninterval: none\r\nflush: request"));
    g_assert(strstr(text, "harvests: 1, 0 missed"));
    g_assert(strstr(text, ">= 2 min"));
    g_assert(strstr(text, "never touched"));
    age_history_del(f->g->qts);
    none = qtest_hmp(f->g->qts, "info age_history");
    g_assert(strstr(none, "there is no history"));
}

static void add(const char *name, void (*test)(Fixture *, gconstpointer))
{
    g_autofree char *path = g_strdup_printf("/%s/age/idle/%s",
                                            qtest_get_arch(), name);

    g_test_add(path, Fixture, NULL, setup, test, teardown);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("ages", test_ages);
    add("distribution", test_distribution);
    add("promoted", test_promoted);
    add("come-and-go", test_come_and_go);
    add("bad-bins", test_bad_bins);
    add("bad-object", test_bad_object);
    add("bad-number", test_bad_number);
    add("bad-memory", test_bad_memory);
    add("statistics", test_statistics);
    add("hmp", test_hmp);
    return g_test_run();
}
