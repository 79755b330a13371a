/*
 * age: memory that page tables can't map, or only by small leaves
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "board.h"
#include "qmp.h"
#include "span.h"

#define VGA_DEV         4
#define PVPANIC_DEV     5
#define PCI_COMMAND     0x04
#define PCI_BAR_0       0x10
#define PCI_BAR_2       0x18
#define PCI_MEMORY_ON   0x02
#define VRAM_SIZE       (16 * MiB)

#define WARNING         "age: accesses to memory at "
#define ABOVE_4G        (4 * GiB)

/* What of @space is not served, as "address+size" each */
static char *unserved(QTestState *qts, const char *space)
{
    g_autoptr(QDict) info = age_query(qts);
    GString *text = g_string_new("");
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(info, "unserved"), entry) {
        QDict *range = qobject_to(QDict, entry->value);

        g_assert_cmpstr(qdict_get_str(range, "reason"), !=, "");
        if (g_str_equal(qdict_get_str(range, "address-space"), space)) {
            g_string_append_printf(text, "%s%" PRIx64 "+%" PRIx64,
                                   text->len ? " " : "",
                                   age_get_uint(range, "gpa"),
                                   age_get_uint(range, "size"));
        }
    }
    return g_string_free(text, false);
}

static void check_unserved(QTestState *qts, const char *space,
                           const char *want)
{
    g_autofree char *got = unserved(qts, space);

    g_assert_cmpstr(got, ==, want);
}

/* The largest leaf of the slot that has @gpa */
static void check_leaf_size(QTestState *qts, uint64_t gpa, const char *want)
{
    g_autoptr(QDict) info = age_query(qts);
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(info, "slots"), entry) {
        QDict *slot = qobject_to(QDict, entry->value);

        if (g_str_equal(qdict_get_str(slot, "address-space"), "memory") &&
            gpa - age_get_uint(slot, "gpa") < age_get_uint(slot, "size")) {
            g_assert_cmpstr(qdict_get_str(slot, "leaf-size"), ==, want);
            return;
        }
    }
    g_assert_not_reached();
}

/* A guest whose messages go to a file */

typedef struct Logged {
    AgeGuest *g;
    char *path;
} Logged;

static void start(Logged *l, AgeGuestOptions options)
{
    g_autofree char *args = NULL;
    GError *err = NULL;
    int fd = g_file_open_tmp("age-unserved-XXXXXX", &l->path, &err);

    g_assert_no_error(err);
    close(fd);
    args = g_strdup_printf("%s 2>%s", options.args ?: "", l->path);
    options.args = args;
    l->g = age_guest_start(&options);
}

/* It was warned so often. */
static void quit(Logged *l, unsigned want)
{
    g_autofree char *text = NULL;
    const char *line;
    GError *err = NULL;

    age_guest_quit(l->g);
    g_file_get_contents(l->path, &text, NULL, &err);
    g_assert_no_error(err);
    line = text;
    for (unsigned i = 0; i < want; i++) {
        line = strstr(line, WARNING);
        g_assert_nonnull(line);
        line++;
    }
    g_assert_null(strstr(line, WARNING));
    unlink(l->path);
    g_free(l->path);
}

/*
 * x86: memory above 4 GiB whose first page begins within a page of the host.
 * What is below is served, but for what its last page lacks.  TCG itself
 * asserts that no vCPU accesses the former.
 */
static void test_odd(void)
{
    const char *want = "40000000+200 100000000+3ffffe00";
    Logged l;
    AgeGuest *g;
    AgeSlotInfo slot;

    start(&l, (AgeGuestOptions) {
        .machine = "pc,max-ram-below-4g=1073742336",
        .memory = "2G",
    });
    g = l.g;
    check_unserved(g->qts, "memory", want);
    check_unserved(g->qts, "smm", want);
    g_assert(!age_find_slot(g->qts, "memory", ABOVE_4G, &slot));
    age_guest_touch(g, AGE_GUEST_WRITE, GiB - 3 * AGE_PAGE, 3);
    g_assert_cmpuint(age_count(g->qts, g->memory, GiB, true), ==, 3);
    quit(&l, 1);
}

static void test_odd_hmp(void)
{
    AgeGuestOptions options = {
        .machine = "pc,max-ram-below-4g=1073742336",
        .memory = "2G",
    };
    AgeGuest *g = age_guest_start(&options);
    g_autofree char *text = qtest_hmp(g->qts, "info age");

    g_assert_nonnull(strstr(text, "not served:\r\n  memory   0000000040000000-"
                                  "00000000400001ff it is less than a page\r\n"
                                  "  memory   0000000100000000-"
                                  "000000013ffffdff its guest-physical and"));
    age_guest_quit(g);
}

/* x86: memory above 4 GiB that is aligned for pages, but not for blocks */
static void test_pages_only(void)
{
    Logged l;
    AgeGuest *g;
    AgeLeafInfo leaf;

    start(&l, (AgeGuestOptions) {
        .machine = "pc,max-ram-below-4g=1025M",
        .memory = "2G",
        .accel = ",page-size=2m",
    });
    g = l.g;
    check_unserved(g->qts, "memory", "");
    check_leaf_size(g->qts, g->memory, "2m");
    check_leaf_size(g->qts, ABOVE_4G, "4k");
    age_guest_touch(g, AGE_GUEST_WRITE, ABOVE_4G + AGE_BLOCK, 1);
    age_guest_touch(g, AGE_GUEST_WRITE, g->memory, 1);
    g_assert_cmpuint(age_count(g->qts, ABOVE_4G, 5 * GiB, false), ==, 1);
    g_assert(age_leaf(g->qts, "memory", ABOVE_4G + AGE_BLOCK, &leaf));
    g_assert_cmpuint(age_leaf_size(&leaf), ==, AGE_PAGE);
    g_assert(age_leaf(g->qts, "memory", g->memory, &leaf));
    g_assert_cmpuint(age_leaf_size(&leaf), ==, AGE_BLOCK);
    quit(&l, 0);
}

/* Video memory, in which the registers of a device may come to lie */

static void start_vga(Logged *l, const char *accel)
{
    uint64_t gpa = age_board_pci_window(0);

    start(l, (AgeGuestOptions) {
        .machine = age_board_machine(),
        .accel = accel,
        .args = "-device VGA,addr=4.0,romfile="
                " -device pvpanic-pci,addr=5.0",
    });
    age_pci_writel(l->g->qts, VGA_DEV, 0, PCI_BAR_0, gpa);
    age_pci_writel(l->g->qts, VGA_DEV, 0, PCI_BAR_2, age_board_pci_window(1));
    age_pci_writeb(l->g->qts, VGA_DEV, 0, PCI_COMMAND, PCI_MEMORY_ON);
}

/* Registers of two bytes leave the two parts of a page that are around them. */
static void check_parts(AgeGuest *g, uint64_t page)
{
    uint64_t start = age_board_pci_window(0), end = start + VRAM_SIZE;
    uint64_t registers = page + AGE_PAGE / 2;
    g_autofree char *want = g_strdup_printf(
        "%" PRIx64 "+800 %" PRIx64 "+7fe", page, registers + 2);
    AgeSlotInfo slot;

    age_pci_writel(g->qts, PVPANIC_DEV, 0, PCI_BAR_0, registers);
    age_pci_writeb(g->qts, PVPANIC_DEV, 0, PCI_COMMAND, PCI_MEMORY_ON);
    check_unserved(g->qts, "memory", want);
    g_assert(!age_find_slot(g->qts, "memory", page, &slot));
    age_guest_touch(g, AGE_GUEST_READ | AGE_GUEST_FLUSH, page - AGE_PAGE, 3);
    g_assert_cmpuint(age_count(g->qts, start, end, true), ==, 2);

    age_pci_writeb(g->qts, PVPANIC_DEV, 0, PCI_COMMAND, 0);
    check_unserved(g->qts, "memory", "");
    age_guest_touch(g, AGE_GUEST_READ | AGE_GUEST_FLUSH, page - AGE_PAGE, 3);
    g_assert_cmpuint(age_count(g->qts, start, end, true), ==, 3);
}

static void test_parts(void)
{
    Logged l;

    start_vga(&l, "");
    check_unserved(l.g->qts, "memory", "");
    for (unsigned i = 5; i < 8; i++) {
        check_parts(l.g, age_board_pci_window(0) + i * AGE_PAGE);
    }
    quit(&l, 0);
}

/* A slot that is cut short has pages only, one that goes on has blocks. */
static void test_leaf_size(void)
{
    uint64_t gpa = age_board_pci_window(0);
    Logged l;

    start_vga(&l, ",page-size=2m");
    check_leaf_size(l.g->qts, l.g->memory, "2m");
    check_leaf_size(l.g->qts, gpa, "2m");
    age_pci_writel(l.g->qts, VGA_DEV, 0, PCI_BAR_2, gpa + 3 * AGE_PAGE);
    check_leaf_size(l.g->qts, gpa, "4k");
    check_leaf_size(l.g->qts, gpa + 4 * AGE_PAGE, "2m");
    quit(&l, 0);

    start_vga(&l, ",page-size=4k");
    check_leaf_size(l.g->qts, gpa, "4k");
    quit(&l, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    if (age_is_x86()) {
        qtest_add_func("age/unserved/odd", test_odd);
        qtest_add_func("age/unserved/hmp", test_odd_hmp);
        qtest_add_func("age/unserved/pages-only", test_pages_only);
    }
    qtest_add_func("age/unserved/parts", test_parts);
    qtest_add_func("age/unserved/leaf-size", test_leaf_size);
    return g_test_run();
}
