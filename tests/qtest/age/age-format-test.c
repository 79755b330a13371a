/*
 * age: shapes of page tables, and what registers would say of them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "guest.h"
#include "qmp.h"

/**
 * Shape: a choice of CPU and options, and what comes of it
 *
 * @name: of the test
 * @cpu: CPU type and features; the last -cpu counts
 * @accel: options of the accelerator
 * @levels: levels of tables
 * @bits: of guest-physical address
 * @root: tables side by side at the root
 * @control: x86: EPTP without the address.  Arm: VTCR_EL2
 */
typedef struct Shape {
    const char *name;
    const char *cpu;
    const char *accel;
    int levels;
    int bits;
    unsigned root;
    uint64_t control;
} Shape;

/* Bits 2:0 write-back, 5:3 levels less one, 6 accessed and dirty flags */
static const Shape x86_shapes[] = {
    { "default", "-cpu max", "", 4, 40, 1, 0x5e },
    { "levels-4", "-cpu max", ",levels=4", 4, 40, 1, 0x5e },
    { "levels-5", "-cpu max", ",levels=5", 5, 40, 1, 0x66 },
    { "wide", "-cpu max,phys-bits=52", "", 5, 52, 1, 0x66 },
    { "almost-wide", "-cpu max,phys-bits=48", "", 4, 48, 1, 0x5e },
    { "no-ad", "-cpu max", ",hw-ad=off", 4, 40, 1, 0x1e },
};

/*
 * 5:0 64 less the bits, 7:6 start level (0 for level 2 up to 2 for level 0),
 * 44 HAFT, 31 RES1, 22 HD, 21 HA, 18:16 48 bits of output, and cacheability
 */
static const Shape arm_shapes[] = {
    { "default", "-cpu cortex-a57", "", 4, 44, 1, 0x100080653594 },
    { "concatenated", "-cpu cortex-a53", "", 3, 40, 2, 0x100080653558 },
    { "levels-3", "-cpu cortex-a53", ",levels=3", 3, 40, 2, 0x100080653558 },
    { "levels-4", "-cpu cortex-a57", ",levels=4", 4, 44, 1, 0x100080653594 },
    { "widest", "-cpu max", "", 4, 48, 1, 0x100080653590 },
    { "no-haft", "-cpu cortex-a57", ",haft=off", 4, 44, 1, 0x80653594 },
    { "no-ad", "-cpu cortex-a57", ",hw-ad=off", 4, 44, 1, 0x80053594 },
};

/* The first of the roots; address and control without it */
static uint64_t get_root(QTestState *qts, uint64_t *control)
{
    g_autoptr(QDict) info = age_query(qts);
    const QListEntry *e = qlist_first(qdict_get_qlist(info, "roots"));
    QDict *root = qobject_to(QDict, qlist_entry_obj(e));
    uint64_t pointer;

    g_assert_cmpstr(qdict_get_str(root, "address-space"), ==, "memory");
    if (age_is_x86()) {
        g_assert(!qdict_haskey(root, "vttbr") && !qdict_haskey(root, "vtcr"));
        pointer = age_get_uint(root, "eptp");
        *control = pointer & 0xfff;
        return pointer & ~0xfffULL;
    }
    g_assert(!qdict_haskey(root, "eptp"));
    *control = age_get_uint(root, "vtcr");
    return age_get_uint(root, "vttbr");
}

static void test_shape(const void *opaque)
{
    const Shape *s = opaque;
    AgeGuestOptions options = { .accel = s->accel, .args = s->cpu };
    AgeGuest *g = age_guest_start(&options);
    g_autoptr(QDict) info = age_query(g->qts);
    uint64_t gpa = g->memory + 5 * AGE_BLOCK + 3 * AGE_PAGE;
    uint64_t root, control;
    AgeSlotInfo slot;
    AgeLeafInfo leaf;
    QList *walk;

    g_assert_cmpint(qdict_get_int(info, "levels"), ==, s->levels);
    g_assert_cmpint(qdict_get_int(info, "gpa-bits"), ==, s->bits);
    root = get_root(g->qts, &control);
    g_assert_cmphex(control, ==, s->control);
    /* Tables side by side are aligned as a whole. */
    g_assert(root && QEMU_IS_ALIGNED(root, s->root * AGE_PAGE));

    age_guest_touch(g, AGE_GUEST_WRITE, gpa, 1);
    walk = age_walk(g->qts, "memory", gpa);
    g_assert_cmpuint(qlist_size(walk), ==, s->levels);
    qobject_unref(walk);
    g_assert(age_leaf(g->qts, "memory", gpa, &leaf));
    g_assert(age_find_slot(g->qts, "memory", gpa, &slot));
    g_assert_cmphex(leaf.address, ==, slot.hva + (gpa - slot.gpa));
    age_guest_quit(g);
}

/* How many tables there are at the root, over all address spaces */
static void test_root_tables(void)
{
    AgeGuestOptions options = { .args = age_is_x86() ? "-cpu max"
                                                     : "-cpu cortex-a53" };
    AgeGuest *g = age_guest_start(&options);
    g_autoptr(QDict) info = age_query(g->qts);
    unsigned spaces = qlist_size(qdict_get_qlist(info, "roots"));

    g_assert_cmpuint(age_num_tables(g->qts, age_is_x86() ? 4 : 1), ==,
                     age_is_x86() ? spaces : 2 * spaces);
    age_guest_quit(g);
}

/* Is any entry above the leaf of @gpa young? */
static bool parents_young(AgeGuest *g, uint64_t gpa)
{
    g_autoptr(QList) walk = age_walk(g->qts, "memory", gpa);
    const QListEntry *e;
    bool young = false;

    QLIST_FOREACH_ENTRY(walk, e) {
        AgeLeafInfo entry;
        QDict *dict = qobject_to(QDict, qlist_entry_obj(e));

        age_parse_entry(dict, &entry);
        young |= !qdict_get_bool(dict, "leaf") && entry.accessed;
    }
    return young;
}

/* Without FEAT_HAFT tables have no accessed flags, but are skipped as well. */
static void check_haft(const char *accel, bool haft)
{
    AgeGuestOptions options = { .accel = accel };
    AgeGuest *g = age_guest_start(&options);
    uint64_t gpa = g->memory + 5 * AGE_BLOCK;
    g_autoptr(QDict) info = age_query(g->qts);

    g_assert(qdict_get_bool(info, "haft") == haft);
    for (unsigned i = 0; i < 3; i++) {
        age_guest_touch(g, AGE_GUEST_READ | AGE_GUEST_FLUSH, gpa, 700);
        g_assert(parents_young(g, gpa) == haft);
        g_assert_cmpuint(age_count(g->qts, g->memory, g->end, true), ==, 700);
        g_assert_cmpuint(age_count(g->qts, g->memory, g->end, true), ==, 0);
    }
    g_assert_cmpuint(age_counter(g->qts, "skipped-tables"), >, 0);
    age_guest_stop(g);
    age_check_conserved(g->qts);
    age_guest_quit(g);
}

static void test_haft(void)
{
    check_haft("", true);
    check_haft(",haft=on", true);
    check_haft(",haft=off", false);
}

/* hw-ad goes off and on again, and haft is still what it was. */
static void test_haft_stays(void)
{
    AgeGuestOptions options = { .accel = ",haft=off" };
    AgeGuest *g = age_guest_start(&options);
    uint64_t root, control;

    for (unsigned on = 0; on < 2; on++) {
        qtest_qmp_assert_success(g->qts,
            "{ 'execute': 'qom-set', 'arguments': { 'path': '/machine/age',"
            " 'property': 'hw-ad', 'value': %i } }", on);
    }
    root = get_root(g->qts, &control);
    g_assert_cmphex(control, ==, 0x80653594);
    g_assert(root);
    age_guest_quit(g);
}

static void check_error(QDict *answer, const char *want)
{
    g_autoptr(QDict) error = answer;

    g_assert_cmpstr(qdict_get_str(error, "desc"), ==, want);
}

/* The shape of tables is for good once there are some. */
static void test_fixed(void)
{
    AgeGuest *g = age_guest_start(NULL);

    check_error(qtest_qmp_assert_failure_ref(g->qts,
        "{ 'execute': 'qom-set', 'arguments': { 'path': '/machine/age',"
        " 'property': 'levels', 'value': 4 } }"),
        "levels can't be changed after the start");
    check_error(qtest_qmp_assert_failure_ref(g->qts,
        "{ 'execute': 'qom-set', 'arguments': { 'path': '/machine/age',"
        " 'property': 'haft', 'value': true } }"),
        age_is_x86() ? "haft is a feature of Arm processors; EPT always has"
                       " accessed flags in its tables"
                     : "haft can't be changed after the start");
    age_guest_quit(g);
}

static void add_shapes(const Shape *shapes, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        g_autofree char *path = g_strdup_printf("age/format/shape/%s",
                                                shapes[i].name);

        qtest_add_data_func(path, &shapes[i], test_shape);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    if (age_is_x86()) {
        add_shapes(x86_shapes, G_N_ELEMENTS(x86_shapes));
    } else {
        add_shapes(arm_shapes, G_N_ELEMENTS(arm_shapes));
        qtest_add_func("age/format/haft", test_haft);
        qtest_add_func("age/format/haft-stays", test_haft_stays);
    }
    qtest_add_func("age/format/root-tables", test_root_tables);
    qtest_add_func("age/format/fixed", test_fixed);

    return g_test_run();
}
