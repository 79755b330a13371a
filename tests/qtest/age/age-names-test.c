/*
 * age: what memory is called: its block, its backend, its NUMA node
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "guest.h"
#include "qmp.h"

/* The slot of the space "memory" that has @gpa */
static QDict *find_slot(const QDict *info, uint64_t gpa)
{
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(info, "slots"), entry) {
        QDict *slot = qobject_to(QDict, entry->value);
        uint64_t start = qdict_get_int(slot, "gpa");

        if (g_str_equal(qdict_get_str(slot, "address-space"), "memory") &&
            gpa >= start && gpa - start < qdict_get_int(slot, "size")) {
            return slot;
        }
    }
    return NULL;
}

static void check_node(const QDict *info, uint64_t gpa, const char *backend,
                       int node)
{
    QDict *slot = find_slot(info, gpa);

    g_assert_nonnull(slot);
    g_assert_cmpstr(qdict_get_str(slot, "backend"), ==, backend);
    g_assert_cmpint(qdict_get_int(slot, "node"), ==, node);
    g_assert_nonnull(strstr(qdict_get_str(slot, "block"), backend));
}

/*
 * Two nodes.  On q35 the second one is on both sides of the hole below 4 GiB;
 * where they meet, slots are not of both.
 */
static void test_nodes(void)
{
    uint64_t ram = age_arch()->ram;
    uint64_t high = age_is_x86() ? 4 * GiB : ram + 3 * GiB;
    g_autofree char *args = g_strdup_printf(
        "-nodefaults -machine %s -accel age -m 4G"
        " -object memory-backend-ram,id=one,size=1G,reserve=off"
        " -object memory-backend-ram,id=two,size=3G,reserve=off"
        " -numa node,memdev=one -numa node,memdev=two",
        age_is_x86() ? "q35" : "virt -cpu cortex-a57");
    QTestState *qts = qtest_init(args);
    g_autoptr(QDict) info = age_query(qts);
    g_autofree char *text = qtest_hmp(qts, "info age");

    check_node(info, ram + MiB, "one", 0);
    check_node(info, ram + GiB - AGE_PAGE, "one", 0);
    check_node(info, ram + GiB, "two", 1);
    check_node(info, ram + 2 * GiB - AGE_PAGE, "two", 1);
    check_node(info, high, "two", 1);
    g_assert_nonnull(strstr(text, " one node 0\r\n"));
    g_assert_nonnull(strstr(text, " two node 1\r\n"));
    qtest_quit(qts);
}

/* Memory that is of no backend has the name of its block. */
static void test_names(void)
{
    AgeGuest *g = age_guest_start(NULL);
    g_autoptr(QDict) info = age_query(g->qts);
    QDict *ram = find_slot(info, g->memory);
    QDict *code = find_slot(info, age_arch()->code);
    g_autofree char *text = qtest_hmp(g->qts, "info age");
    g_autofree char *line = NULL;

    g_assert_nonnull(ram);
    g_assert_nonnull(code);
    g_assert_cmpstr(qdict_get_str(ram, "backend"), ==,
                    age_is_x86() ? "pc.ram" : "mach-virt.ram");
    g_assert_false(qdict_haskey(ram, "node"));
    g_assert_false(qdict_haskey(code, "backend"));
    line = g_strdup_printf(" read-only %s\r\n", qdict_get_str(code, "block"));
    g_assert_nonnull(strstr(text, line));
    age_guest_quit(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("age/names/nodes", test_nodes);
    qtest_add_func("age/names/no-node", test_names);

    return g_test_run();
}
