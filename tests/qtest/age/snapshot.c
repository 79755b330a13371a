/*
 * Snapshots of a guest, for the age tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "guest.h"
#include "snapshot.h"

/* Returns its error, if it had one. */
static char *wait_job(QTestState *qts, const char *id)
{
    int64_t deadline = 0;
    char *error;

    for (;;) {
        g_autoptr(QDict) response = qtest_qmp(qts,
                                              "{ 'execute': 'query-jobs' }");
        QObject *first = qlist_peek(qdict_get_qlist(response, "return"));
        QDict *job = qobject_to(QDict, first);

        if (g_str_equal(qdict_get_str(job, "status"), "concluded")) {
            error = g_strdup(qdict_get_try_str(job, "error"));
            break;
        }
        age_poll(&deadline);
    }
    qtest_qmp_assert_success(qts, "{ 'execute': 'job-dismiss',"
                             " 'arguments': { 'id': %s } }", id);
    return error;
}

static void wait_done(QTestState *qts, const char *id)
{
    g_autofree char *error = wait_job(qts, id);

    g_assert_cmpstr(error, ==, NULL);
}

/* Its file is gone as soon as it is open. */
void age_snapshot_add_disk(QTestState *qts)
{
    g_autofree char *path = g_strdup_printf("%s/age-snapshot-%d.qcow2",
                                            g_get_tmp_dir(), getpid());

    qtest_qmp_assert_success(qts, "{ 'execute': 'blockdev-create',"
                             " 'arguments': { 'job-id': 'file', 'options': {"
                             " 'driver': 'file', 'filename': %s,"
                             " 'size': 0 } } }", path);
    wait_done(qts, "file");
    qtest_qmp_assert_success(qts, "{ 'execute': 'blockdev-add', 'arguments': {"
                             " 'driver': 'file', 'node-name': 'file',"
                             " 'filename': %s } }", path);
    qtest_qmp_assert_success(qts, "{ 'execute': 'blockdev-create',"
                             " 'arguments': { 'job-id': 'qcow2', 'options': {"
                             " 'driver': 'qcow2', 'file': 'file',"
                             " 'size': 1048576 } } }");
    wait_done(qts, "qcow2");
    qtest_qmp_assert_success(qts, "{ 'execute': 'blockdev-add', 'arguments': {"
                             " 'driver': 'qcow2', 'node-name': 'disk',"
                             " 'file': 'file' } }");
    unlink(path);
}

void age_snapshot_begin(QTestState *qts, const char *command, const char *tag)
{
    qtest_qmp_assert_success(qts, "{ 'execute': %s, 'arguments': {"
                             " 'job-id': 'snapshot', 'tag': %s,"
                             " 'vmstate': 'disk', 'devices': [ 'disk' ] } }",
                             command, tag);
}

void age_snapshot_end(QTestState *qts)
{
    wait_done(qts, "snapshot");
}

void age_snapshot_end_failed(QTestState *qts)
{
    g_autofree char *error = wait_job(qts, "snapshot");

    g_assert_nonnull(error);
}

void age_snapshot_save(QTestState *qts)
{
    age_snapshot_begin(qts, "snapshot-save", "then");
    age_snapshot_end(qts);
}

void age_snapshot_load(QTestState *qts)
{
    age_snapshot_begin(qts, "snapshot-load", "then");
    age_snapshot_end(qts);
}
