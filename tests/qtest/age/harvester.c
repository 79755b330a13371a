/*
 * A thread that harvests again and again, through a monitor of its own
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/sockets.h"
#include "qapi/error.h"
#include "libqmp.h"
#include "qobject/qnum.h"
#include "guest.h"
#include "harvester.h"
#include "qmp.h"

void age_tally_init(AgeTally *t, uint64_t start, uint64_t end)
{
    *t = (AgeTally) {
        .start = start,
        .end = end,
        .times = g_new0(unsigned, (end - start) / AGE_PAGE),
    };
}

void age_tally_clear(AgeTally *t)
{
    g_free(t->times);
}

QDict *age_tally_args(const AgeTally *t, const char *options)
{
    QList *ranges = qlist_new();
    QDict *args;

    age_add_clear_range(ranges, t->start, t->end);
    args = age_harvest_args(ranges, options);
    qdict_put_str(args, "format", "runs");
    return args;
}

static void tally_add_run(AgeTally *t, const QDict *run)
{
    QNum *start = qobject_to(QNum, qdict_get(run, "start"));
    QNum *end = qobject_to(QNum, qdict_get(run, "end"));

    for (uint64_t gpa = qnum_get_uint(start); gpa < qnum_get_uint(end);
         gpa += AGE_PAGE) {
        g_assert(gpa >= t->start && gpa < t->end);
        t->times[(gpa - t->start) / AGE_PAGE]++;
        t->young++;
    }
}

void age_tally_add(AgeTally *t, const QDict *result)
{
    QObject *first = qlist_peek(qdict_get_qlist(result, "ranges"));
    QDict *range = qobject_to(QDict, first);
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(range, "runs"), entry) {
        tally_add_run(t, qobject_to(QDict, entry->value));
    }
    t->passes++;
}

/* The response to a command, without the events before it */
static QDict *receive_response(int fd)
{
    for (;;) {
        QDict *response = qmp_fd_receive(fd);

        if (!qdict_haskey(response, "event")) {
            return response;
        }
        qobject_unref(response);
    }
}

static void harvest(AgeHarvester *h)
{
    g_autoptr(QDict) response = NULL;

    qmp_fd_send(h->fd, "{ 'exec-oob': 'age-test-clear-young',"
                " 'id': 'harvester', 'arguments': %p }",
                age_tally_args(&h->tally, h->options));
    response = receive_response(h->fd);
    g_assert(qdict_haskey(response, "return"));
    age_tally_add(&h->tally, qdict_get_qdict(response, "return"));
}

static gpointer harvester_thread(gpointer opaque)
{
    AgeHarvester *h = opaque;

    while (!qatomic_read(&h->stop)) {
        harvest(h);
        qatomic_set(&h->passes, h->passes + 1);
    }
    return NULL;
}

AgeHarvester *age_harvester_new(void)
{
    static unsigned count;
    AgeHarvester *h = g_new0(AgeHarvester, 1);

    h->path = g_strdup_printf("%s/age-harvester-%d-%u", g_get_tmp_dir(),
                              getpid(), count++);
    return h;
}

char *age_harvester_args(const AgeHarvester *h)
{
    return g_strdup_printf(
        "-chardev socket,id=harvester,path=%s,server=on,wait=off"
        " -mon chardev=harvester,mode=control", h->path);
}

static void handshake(int fd)
{
    g_autoptr(QDict) greeting = qmp_fd_receive(fd);
    g_autoptr(QDict) response = NULL;

    g_assert(qdict_haskey(greeting, "QMP"));
    qmp_fd_send(fd, "{ 'execute': 'qmp_capabilities',"
                " 'arguments': { 'enable': [ 'oob' ] } }");
    response = receive_response(fd);
    g_assert(qdict_haskey(response, "return"));
}

void age_harvester_start(AgeHarvester *h, uint64_t start, uint64_t end,
                         const char *options)
{
    age_tally_clear(&h->tally);
    age_tally_init(&h->tally, start, end);
    h->options = options;
    h->passes = 0;
    h->stop = false;
    h->fd = unix_connect(h->path, &error_abort);
    handshake(h->fd);
    h->thread = g_thread_new("harvester", harvester_thread, h);
}

void age_harvester_wait(AgeHarvester *h, unsigned passes)
{
    int64_t deadline = 0;

    while (qatomic_read(&h->passes) < passes) {
        age_poll(&deadline);
    }
}

void age_harvester_stop(AgeHarvester *h)
{
    qatomic_set(&h->stop, true);
    g_thread_join(h->thread);
    h->thread = NULL;
    close(h->fd);
}

void age_harvester_free(AgeHarvester *h)
{
    age_tally_clear(&h->tally);
    g_free(h->path);
    g_free(h);
}
