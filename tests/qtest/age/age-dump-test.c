/*
 * age: where dumps of page tables may go, and where not
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "guest.h"
#include "qmp.h"

#define HEADER_SIZE     48
#define TABLE_SIZE      (8 + 4096)
#define COUNT_OFFSET    40

/**
 * Place: a guest, and a folder for what it writes
 *
 * @g: the guest
 * @dir: the folder
 * @path: a name in it, of what a test makes there
 */
typedef struct Place {
    AgeGuest *g;
    char *dir;
    char *path;
} Place;

static void place_start(Place *p)
{
    GError *err = NULL;

    p->dir = g_dir_make_tmp("age-dump-XXXXXX", &err);
    g_assert_no_error(err);
    p->path = g_strdup_printf("%s/it", p->dir);
    p->g = age_guest_start(NULL);
}

/* The guest and the monitor go on. */
static void place_end(Place *p)
{
    age_guest_touch(p->g, AGE_GUEST_READ, p->g->memory, 1);
    age_guest_quit(p->g);
    unlink(p->path);
    rmdir(p->dir);
    g_free(p->path);
    g_free(p->dir);
}

static void dump(Place *p, const char *file)
{
    qtest_qmp_assert_success(p->g->qts, "{ 'execute': 'age-dump-tables',"
                             " 'arguments': { 'file': %s } }", file);
}

static void refused(Place *p, const char *file, const char *want)
{
    g_autofree char *text = g_strdup_printf(want, file);
    g_autoptr(QDict) error = qtest_qmp_assert_failure_ref(p->g->qts,
        "{ 'execute': 'age-dump-tables', 'arguments': { 'file': %s } }", file);

    g_assert_cmpstr(qdict_get_str(error, "desc"), ==, text);
}

/* Is what is at @path all of a dump, and nothing else? */
static bool is_dump(const char *path)
{
    g_autofree char *text = NULL;
    GError *err = NULL;
    gsize size;

    g_file_get_contents(path, &text, &size, &err);
    g_assert_no_error(err);
    return size >= HEADER_SIZE && g_str_has_prefix(text, "AGETABLE") &&
           size == HEADER_SIZE + ldq_le_p(text + COUNT_OFFSET) * TABLE_SIZE;
}

static void test_space(void)
{
    g_autoptr(QDict) error = NULL;
    Place p;

    place_start(&p);
    error = qtest_qmp_assert_failure_ref(p.g->qts,
        "{ 'execute': 'age-dump-tables', 'arguments': { 'file': %s,"
        " 'address-space': 'moon' } }", p.path);
    g_assert(g_str_has_prefix(qdict_get_str(error, "desc"),
                              "there is no address space 'moon'; there are: "
                              "memory"));
    g_assert_cmpint(access(p.path, F_OK), ==, -1);
    place_end(&p);
}

/* A file that is new, one that has something longer in it, one in between */
static void test_regular(void)
{
    g_autofree char *old = g_malloc0(64 * MiB);
    GError *err = NULL;
    Place p;

    place_start(&p);
    dump(&p, p.path);
    g_assert_true(is_dump(p.path));
    g_file_set_contents(p.path, old, 64 * MiB, &err);
    g_assert_no_error(err);
    dump(&p, p.path);
    g_assert_true(is_dump(p.path));
    dump(&p, p.path);
    g_assert_true(is_dump(p.path));
    refused(&p, "/nowhere/at/all",
            "Could not create '%s': No such file or directory");
    refused(&p, p.dir, "Could not create '%s': Is a directory");
    place_end(&p);
}

/* Names are relative to where QEMU was started. */
static void test_relative(void)
{
    g_autofree char *here = g_get_current_dir();
    char dir[] = "/tmp/age-dump-XXXXXX";
    Place p;

    g_assert_nonnull(mkdtemp(dir));
    g_assert_cmpint(chdir(dir), ==, 0);
    place_start(&p);
    dump(&p, "tables");
    g_assert_true(is_dump("tables"));
    unlink("tables");
    g_assert_cmpint(chdir(here), ==, 0);
    rmdir(dir);
    place_end(&p);
}

static void test_devices(void)
{
    Place p;

    place_start(&p);
    refused(&p, "/dev/null", "'%s' is not a regular file");
    refused(&p, "/dev/full", "'%s' is not a regular file");
    place_end(&p);
}

/* Neither without a reader, nor with one that may be slow. */
static void test_fifo(void)
{
    Place p;
    int fd;

    place_start(&p);
    g_assert_cmpint(mkfifo(p.path, 0600), ==, 0);
    refused(&p, p.path, "'%s' is not a regular file");
    fd = open(p.path, O_RDONLY | O_NONBLOCK);
    g_assert_cmpint(fd, >=, 0);
    refused(&p, p.path, "'%s' is not a regular file");
    close(fd);
    place_end(&p);
}

static void test_socket(void)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    Place p;

    place_start(&p);
    g_assert_cmpint(strlen(p.path), <, sizeof(addr.sun_path));
    strcpy(addr.sun_path, p.path);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    refused(&p, p.path, "'%s' is not a regular file");
    close(fd);
    place_end(&p);
}

/* Pass @fd to QEMU, as the only one of a set. */
static void add_fd(Place *p, int set, int fd)
{
    qtest_qmp_fds_assert_success(p->g->qts, &fd, 1, "{ 'execute': 'add-fd',"
                                 " 'arguments': { 'fdset-id': %d } }", set);
    close(fd);
}

static void test_fdset(void)
{
    int pipefd[2];
    Place p;

    place_start(&p);
    add_fd(&p, 1, open(p.path, O_WRONLY | O_CREAT, 0600));
    dump(&p, "/dev/fdset/1");
    g_assert_true(is_dump(p.path));
    dump(&p, "/dev/fdset/1");
    g_assert_true(is_dump(p.path));

    add_fd(&p, 2, open(p.path, O_RDWR | O_TRUNC));
    dump(&p, "/dev/fdset/2");
    g_assert_true(is_dump(p.path));

    add_fd(&p, 3, open(p.path, O_RDWR | O_APPEND));
    dump(&p, "/dev/fdset/3");
    g_assert_true(is_dump(p.path));

    add_fd(&p, 4, open(p.path, O_RDONLY));
    refused(&p, "/dev/fdset/4", "'%s' has no file that is open for writing");
    g_assert_true(is_dump(p.path));

    g_assert_cmpint(pipe(pipefd), ==, 0);
    add_fd(&p, 5, pipefd[1]);
    refused(&p, "/dev/fdset/5", "'%s' is not a regular file");
    close(pipefd[0]);
    refused(&p, "/dev/fdset/6", "Failed to find fdset %s");
    place_end(&p);
}

/*
 * There is less space than the dump takes.  A limit does here what a full disk
 * does elsewhere; QEMU inherits that the signal which comes with it is ignored.
 */
static void test_full(void)
{
    struct rlimit limit = { 3 * TABLE_SIZE, RLIM_INFINITY };
    Place p;

    signal(SIGXFSZ, SIG_IGN);
    place_start(&p);
    signal(SIGXFSZ, SIG_DFL);
    g_assert_cmpint(prlimit(qtest_pid(p.g->qts), RLIMIT_FSIZE, &limit, NULL),
                    ==, 0);
    refused(&p, p.path, "can't write '%s': File too large");
    g_assert_false(is_dump(p.path));
    limit.rlim_cur = RLIM_INFINITY;
    g_assert_cmpint(prlimit(qtest_pid(p.g->qts), RLIMIT_FSIZE, &limit, NULL),
                    ==, 0);
    dump(&p, p.path);
    g_assert_true(is_dump(p.path));
    place_end(&p);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("age/dump/space", test_space);
    qtest_add_func("age/dump/regular", test_regular);
    qtest_add_func("age/dump/relative", test_relative);
    qtest_add_func("age/dump/devices", test_devices);
    qtest_add_func("age/dump/fifo", test_fifo);
    qtest_add_func("age/dump/socket", test_socket);
    qtest_add_func("age/dump/fdset", test_fdset);
    qtest_add_func("age/dump/full", test_full);

    return g_test_run();
}
