/*
 * age: bitmaps in memory that a client shares with QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"
#include "guest.h"
#include "qmp.h"

#define SIZE    65536
#define PAGES   100

/* A guest with a memory backend whose file the test has mapped as well */
typedef struct Fixture {
    AgeGuest *g;
    char *path;
    uint8_t *bytes;
} Fixture;

static void setup(Fixture *f, gconstpointer opaque)
{
    g_autofree char *args = NULL;
    AgeGuestOptions options = { .oob = true };
    int fd = g_file_open_tmp("age-share-XXXXXX", &f->path, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, SIZE), ==, 0);
    f->bytes = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert(f->bytes != MAP_FAILED);
    close(fd);
    args = g_strdup_printf("-object memory-backend-file,id=bits,size=%d,"
                           "share=on,mem-path=%s "
                           "-object memory-backend-ram,id=own,size=4096 "
                           "-object memory-backend-file,id=fixed,size=%d,"
                           "share=on,readonly=on,mem-path=%s",
                           SIZE, f->path, SIZE, f->path);
    options.args = args;
    f->g = age_guest_start(&options);
}

static void teardown(Fixture *f, gconstpointer opaque)
{
    age_guest_quit(f->g);
    munmap(f->bytes, SIZE);
    unlink(f->path);
    g_free(f->path);
}

static void share(Fixture *f, const char *command)
{
    qtest_qmp_assert_success(f->g->qts, "{ 'execute': %s, 'arguments': {"
                             " 'memory': 'bits' } }", command);
}

/* The first PAGES pages of the test's, with a bitmap at @offset */
static QDict *args_for(Fixture *f, uint64_t offset, const char *options)
{
    uint64_t start = f->g->memory;
    QList *ranges = qlist_new();
    QDict *range = qdict_new();

    qdict_put(range, "start", qnum_from_uint(start));
    qdict_put(range, "end", qnum_from_uint(start + PAGES * AGE_PAGE));
    qdict_put_str(range, "memory", "bits");
    qdict_put(range, "offset", qnum_from_uint(offset));
    qlist_append(ranges, range);
    return age_harvest_args(ranges, options);
}

static QDict *harvest(Fixture *f, const char *how, const char *command,
                      uint64_t offset, const char *options)
{
    return qtest_qmp_assert_success_ref(
        f->g->qts, "{ %s: %s, 'arguments': %p }", how, command,
        args_for(f, offset, options));
}

/* Bits are numbered from the last page. */
static bool bit_at(const uint8_t *bytes, unsigned page)
{
    unsigned bit = PAGES - 1 - page;

    return bytes[bit / 8] >> (bit % 8) & 1;
}

static const QDict *first_range(const QDict *result)
{
    const QListEntry *e = qlist_first(qdict_get_qlist(result, "ranges"));

    return qobject_to(QDict, qlist_entry_obj(e));
}

/* Test all, then test and clear the upper half, and look what came back. */
static void check_harvest(Fixture *f, const char *how, uint64_t offset)
{
    uint8_t *map = f->bytes + offset;
    g_autoptr(QDict) tested = NULL;
    g_autoptr(QDict) cleared = NULL;

    memset(f->bytes, 0x5a, SIZE);
    memset(map, 0, PAGES / 8 + 1);
    age_flush_all(f->g->qts);
    age_guest_touch(f->g, AGE_GUEST_READ, f->g->memory + 10 * AGE_PAGE, 60);
    tested = harvest(f, how, "age-test-clear-young", offset, NULL);
    g_assert_cmpint(qdict_get_int(first_range(tested), "young-pages"), ==, 60);
    g_assert(!qdict_haskey(first_range(tested), "bitmap"));
    for (unsigned i = 0; i < PAGES; i++) {
        g_assert_cmpint(bit_at(map, i), ==, i >= 10 && i < 70);
    }
    /* What comes back of a test names the pages to clear next time. */
    cleared = harvest(f, how, "age-test-clear-young", offset,
                      "{ \"format\": \"count\" }");
    g_assert_cmpint(qdict_get_int(first_range(cleared), "young-pages"), ==,
                    60);
    for (unsigned i = 0; i < PAGES; i++) {
        g_assert(!bit_at(map, i));
    }
    g_assert_cmpuint(age_count(f->g->qts, f->g->memory, f->g->end, false), ==,
                     0);
    /* Nothing is written beside it; four bits of the last byte are free. */
    g_assert_cmphex(map[PAGES / 8] >> 4, ==, 0);
    g_assert_cmphex(map[PAGES / 8 + 1], ==, 0x5a);
    g_assert_cmphex(offset ? map[-1] : 0x5a, ==, 0x5a);
}

static void test_harvest(Fixture *f, gconstpointer opaque)
{
    share(f, "age-share-memory");
    check_harvest(f, "execute", 0);
    check_harvest(f, "exec-oob", 0);
    check_harvest(f, "exec-oob", 4096);
    check_harvest(f, "exec-oob", SIZE - 16);
}

static void test_dirty(Fixture *f, gconstpointer opaque)
{
    g_autoptr(QDict) result = NULL;

    share(f, "age-share-memory");
    age_guest_touch(f->g, AGE_GUEST_WRITE, f->g->memory + 3 * AGE_PAGE, 5);
    memset(f->bytes, 0, SIZE);
    result = harvest(f, "exec-oob", "age-test-clear-dirty", 8, NULL);
    g_assert_cmpint(qdict_get_int(first_range(result), "dirty-pages"), ==, 5);
    for (unsigned i = 0; i < PAGES; i++) {
        g_assert_cmpint(bit_at(f->bytes + 8, i), ==, i >= 3 && i < 8);
    }
}

static void test_runs(Fixture *f, gconstpointer opaque)
{
    g_autoptr(QDict) result = NULL;

    share(f, "age-share-memory");
    age_guest_touch(f->g, AGE_GUEST_READ, f->g->memory + 3 * AGE_PAGE, 5);
    result = harvest(f, "exec-oob", "age-test-clear-young", 0,
                     "{ \"format\": \"runs\" }");
    g_assert_cmpuint(qlist_size(qdict_get_qlist(first_range(result), "runs")),
                     ==, 1);
    g_assert(bit_at(f->bytes, 3) && !bit_at(f->bytes, 8));
}

static void check_error(Fixture *f, QDict *args, const char *want)
{
    g_autoptr(QDict) error = qtest_qmp_assert_failure_ref(
        f->g->qts, "{ 'execute': 'age-test-clear-young', 'arguments': %p }",
        args);

    if (!strstr(qdict_get_str(error, "desc"), want)) {
        g_test_message("%s", qdict_get_str(error, "desc"));
        g_assert_not_reached();
    }
}

/* Errors consume nothing. */
static void test_errors(Fixture *f, gconstpointer opaque)
{
    QDict *args = args_for(f, 0, NULL);
    const QListEntry *e = qlist_first(qdict_get_qlist(args, "ranges"));

    age_guest_touch(f->g, AGE_GUEST_READ, f->g->memory, 7);
    check_error(f, args_for(f, 0, NULL), "names memory 'bits', which was not "
                "made known by age-share-memory");
    share(f, "age-share-memory");
    check_error(f, args_for(f, 4, NULL), "offset 4, which is no multiple of");
    check_error(f, args_for(f, SIZE - 8, NULL), "has a bitmap of 13 bytes at "
                "offset 65528 of memory 'bits', which is of 65536 bytes");
    check_error(f, args_for(f, SIZE, NULL), "has a bitmap of 13 bytes at");
    check_error(f, args_for(f, -8, NULL), "has a bitmap of 13 bytes at");
    qdict_put_str(qobject_to(QDict, qlist_entry_obj(e)), "bitmap", "AAAA");
    check_error(f, args, "has a bitmap in text and one in memory");
    g_assert_cmpuint(age_count(f->g->qts, f->g->memory, f->g->end, false), ==,
                     7);
}

static void check_share_error(Fixture *f, const char *command, const char *id,
                              const char *want)
{
    g_autoptr(QDict) error = qtest_qmp_assert_failure_ref(
        f->g->qts, "{ 'execute': %s, 'arguments': { 'memory': %s } }", command,
        id);

    g_assert_nonnull(strstr(qdict_get_str(error, "desc"), want));
}

static void test_share_errors(Fixture *f, gconstpointer opaque)
{
    check_share_error(f, "age-share-memory", "none",
                      "there is no memory backend 'none'");
    check_share_error(f, "age-share-memory", "own",
                      "memory backend 'own' is not shared with anybody");
    check_share_error(f, "age-share-memory", "fixed",
                      "memory backend 'fixed' is read-only");
    check_share_error(f, "age-unshare-memory", "bits",
                      "was not made known by age-share-memory");
    share(f, "age-share-memory");
    check_share_error(f, "age-share-memory", "bits", "is in use already");
}

static bool delete_backend(Fixture *f)
{
    g_autoptr(QDict) answer = qtest_qmp(f->g->qts, "{ 'execute': 'object-del',"
                                        " 'arguments': { 'id': 'bits' } }");

    return qdict_haskey(answer, "return");
}

/* It can't be deleted while it is known, but as soon as it is not. */
static void test_unshare(Fixture *f, gconstpointer opaque)
{
    for (unsigned i = 0; i < 3; i++) {
        share(f, "age-share-memory");
        g_assert(!delete_backend(f));
        share(f, "age-unshare-memory");
        check_error(f, args_for(f, 0, NULL), "which was not made known");
    }
    g_assert(delete_backend(f));
}

static void add(const char *path, void (*test)(Fixture *, gconstpointer))
{
    g_autofree char *name = g_strdup_printf("/%s/age/share/%s",
                                            qtest_get_arch(), path);

    g_test_add(name, Fixture, NULL, setup, test, teardown);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    add("harvest", test_harvest);
    add("dirty", test_dirty);
    add("runs", test_runs);
    add("errors", test_errors);
    add("share-errors", test_share_errors);
    add("unshare", test_unshare);

    return g_test_run();
}
