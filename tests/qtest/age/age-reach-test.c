/*
 * age: memory that one command reaches several times
 *
 * At two addresses, in two address spaces, by two ranges, or as parts of one
 * block: the answer is the same whether it is only tested or cleared, at each
 * of the places, and what is cleared is cleared once.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "board.h"
#include "device.h"
#include "qmp.h"
#include "span.h"

#define HALF    (AGE_BLOCK / 2)
#define BLOCKS  ",page-size=2m"

/* Ranges in pages of the test's memory, and how many of each are young */
typedef struct Pages {
    unsigned from;
    unsigned to;
    unsigned young;
    bool clear;
} Pages;

static AgeGuest *start(const char *accel)
{
    AgeGuestOptions options = { .accel = accel };

    return age_guest_start(&options);
}

static void touch(AgeGuest *g, unsigned page)
{
    age_guest_touch(g, AGE_GUEST_READ | AGE_GUEST_WRITE | AGE_GUEST_FLUSH,
                    g->memory + page * AGE_PAGE, 1);
}

static QList *make_ranges(AgeGuest *g, const Pages *p, unsigned num)
{
    QList *ranges = qlist_new();

    for (unsigned i = 0; i < num; i++) {
        uint64_t from = g->memory + p[i].from * AGE_PAGE;
        uint64_t to = g->memory + p[i].to * AGE_PAGE;

        if (p[i].clear) {
            age_add_clear_range(ranges, from, to);
        } else {
            age_add_test_range(ranges, from, to);
        }
    }
    return ranges;
}

/* Harvest @num ranges in one command, of which each must tell its number. */
static void check_command(AgeGuest *g, const char *command,
                          const char *member, const Pages *p, unsigned num,
                          bool none)
{
    g_autoptr(QDict) result = qtest_qmp_assert_success_ref(
        g->qts, "{ 'execute': %s, 'arguments': %p }", command,
        age_harvest_args(make_ranges(g, p, num), "{ 'format': 'count' }"));
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(result, "ranges"), entry) {
        QDict *range = qobject_to(QDict, entry->value);

        g_assert_cmpint(qdict_get_int(range, member), ==,
                        none ? 0 : p->young);
        p++;
    }
}

/*
 * Test twice, do as @p says, and see that nothing is left, if any of it clears,
 * or all.
 */
static void check_young(AgeGuest *g, const Pages *p, unsigned num)
{
    g_autofree Pages *test = g_memdup2(p, num * sizeof(*p));
    uint64_t cleared = age_counter(g->qts, "cleared");
    bool clear = false;

    for (unsigned i = 0; i < num; i++) {
        clear |= p[i].clear;
        test[i].clear = false;
    }
    for (unsigned i = 0; i < 2; i++) {
        check_command(g, "age-test-clear-young", "young-pages", test, num,
                      false);
    }
    check_command(g, "age-test-clear-young", "young-pages", p, num, false);
    g_assert_cmpuint(age_counter(g->qts, "cleared"), ==, cleared + clear);
    check_command(g, "age-test-clear-young", "young-pages", test, num, clear);
}

/* The same for dirty pages */
static void check_dirty(AgeGuest *g, const Pages *p, unsigned num)
{
    uint64_t cleared = age_counter(g->qts, "dirty-cleared");

    check_command(g, "age-test-clear-dirty", "dirty-pages", p, num, false);
    g_assert_cmpuint(age_counter(g->qts, "dirty-cleared"), ==, cleared + 1);
    check_command(g, "age-test-clear-dirty", "dirty-pages", p, num, true);
}

/* A page of 4 KiB in several ranges, whichever of them clears */
static void test_ranges(void)
{
    AgeGuest *g = start("");
    Pages same[] = { { 5, 6, 1, true }, { 5, 6, 1, true } };
    Pages mixed[] = { { 0, 10, 1, false }, { 5, 6, 1, true } };
    Pages others[] = { { 3, 9, 1, true }, { 0, 5, 0, true },
                       { 5, 100, 1, false }, { 200, 300, 0, true } };
    Pages none[] = { { 3, 9, 1, false }, { 0, 100, 1, false } };

    touch(g, 5);
    check_young(g, none, G_N_ELEMENTS(none));
    check_young(g, same, G_N_ELEMENTS(same));
    check_dirty(g, same, G_N_ELEMENTS(same));
    touch(g, 5);
    check_young(g, mixed, G_N_ELEMENTS(mixed));
    check_dirty(g, mixed, G_N_ELEMENTS(mixed));
    touch(g, 5);
    check_young(g, others, G_N_ELEMENTS(others));
    check_dirty(g, others, G_N_ELEMENTS(others));
    age_guest_quit(g);
}

/* A block of which ranges have parts, that meet, that do not, or overlap */
static void test_block(void)
{
    AgeGuest *g = start(BLOCKS);
    Pages halves[] = { { 0, 256, 256, true }, { 256, 512, 256, true } };
    Pages apart[] = { { 500, 501, 1, true }, { 3, 4, 1, true } };
    Pages mixed[] = { { 511, 600, 1, false }, { 0, 2, 2, true },
                      { 1, 5, 4, false } };
    Pages whole[] = { { 0, 5120, 512, false }, { 7, 8, 1, true } };
    Pages beside[] = { { 512, 1024, 0, true }, { 510, 700, 2, true } };

    touch(g, 300);
    check_young(g, halves, G_N_ELEMENTS(halves));
    check_dirty(g, halves, G_N_ELEMENTS(halves));
    touch(g, 300);
    check_young(g, apart, G_N_ELEMENTS(apart));
    check_dirty(g, apart, G_N_ELEMENTS(apart));
    touch(g, 300);
    check_young(g, mixed, G_N_ELEMENTS(mixed));
    check_dirty(g, mixed, G_N_ELEMENTS(mixed));
    touch(g, 300);
    check_young(g, whole, G_N_ELEMENTS(whole));
    check_dirty(g, whole, G_N_ELEMENTS(whole));
    touch(g, 300);
    check_young(g, beside, G_N_ELEMENTS(beside));
    check_dirty(g, beside, G_N_ELEMENTS(beside));
    age_guest_quit(g);
}

/* The same of the commands that give one answer a range */

static void check_aging(AgeGuest *g, const Pages *p, unsigned num,
                        const char *want)
{
    g_autofree char *none = g_strnfill(num, '-');

    touch(g, 300);
    age_check_spans(g, "age-test-young", make_ranges(g, p, num), NULL, want);
    age_check_spans(g, "age-clear-young", make_ranges(g, p, num), NULL, want);
    age_check_spans(g, "age-test-young", make_ranges(g, p, num), NULL, none);
}

static void check_fallback_range(const QDict *range, bool young)
{
    QList *answers = qdict_get_qlist(range, "answers");
    QDict *answer = qobject_to(QDict, qlist_peek(answers));

    g_assert_cmpuint(qlist_size(answers), ==, 1);
    g_assert_cmpstr(qdict_get_str(answer, "how"), ==, "clear-young");
    g_assert(qdict_get_bool(answer, "young") == young);
}

/* What a fallback says of each range */
static void check_fallback(AgeGuest *g, const Pages *p, unsigned num,
                           const char *want)
{
    g_autoptr(QDict) result = NULL;
    const QListEntry *entry;

    touch(g, 300);
    result = age_harvest(g->qts, make_ranges(g, p, num),
                         "{ 'fallback': true, 'format': 'count' }");
    g_assert_cmpint(qdict_get_int(result, "young"), ==,
                    strchr(want, 'y') != NULL);
    QLIST_FOREACH_ENTRY(qdict_get_qlist(result, "ranges"), entry) {
        check_fallback_range(qobject_to(QDict, entry->value),
                             *want++ == 'y');
    }
}

/* Each with @young for what has the page, or the block, of page 300 */
static void check_one_answer(AgeGuest *g, bool block, bool fallback)
{
    static const Pages halves[] = { { 0, 256, 0, true },
                                     { 256, 512, 0, true } };
    static const Pages apart[] = { { 3, 4, 0, true }, { 300, 301, 0, true },
                                    { 400, 401, 0, true } };
    static const Pages twice[] = { { 300, 301, 0, true }, { 290, 310, 0, true },
                                    { 280, 299, 0, true } };
    void (*check)(AgeGuest *g, const Pages *p, unsigned num,
                  const char *want) = fallback ? check_fallback : check_aging;

    check(g, halves, G_N_ELEMENTS(halves), block ? "yy" : "-y");
    check(g, apart, G_N_ELEMENTS(apart), block ? "yyy" : "-y-");
    check(g, twice, G_N_ELEMENTS(twice), block ? "yyy" : "yy-");
}

static void test_aging(void)
{
    AgeGuest *pages = start(""), *blocks = start(BLOCKS);

    check_one_answer(pages, false, false);
    check_one_answer(blocks, true, false);
    age_guest_quit(pages);
    age_guest_quit(blocks);
}

static void test_fallback(void)
{
    AgeGuest *pages = start(",hw-ad=off");
    AgeGuest *blocks = start(BLOCKS ",hw-ad=off");

    check_one_answer(pages, false, true);
    check_one_answer(blocks, true, true);
    age_guest_quit(pages);
    age_guest_quit(blocks);
}

/*
 * Two ranges of one block of the vCPUs are harvested together, but a device
 * with pages that falls back is not asked for what is between them.
 */
static void test_between(void)
{
    AgeGuestOptions options = {
        .machine = age_board_machine(),
        .accel = BLOCKS,
        .args = AGE_DEV ",test-clear-young=off",
    };
    AgeGuest *g = age_guest_start(&options);
    AgeDev d = { .g = g, .qts = g->qts, .dev = AGE_DEV_SLOT };
    const Pages ranges[] = { { 3, 4, 0, true }, { 5, 6, 0, true } };
    g_autoptr(QDict) result = NULL;

    age_dev_enable(&d);
    age_dev_setup(&d, AGE_DEVICE_COMMAND_WRITE, g->memory, AGE_PAGE, 5);
    age_dev_do(&d);
    result = age_harvest(g->qts, make_ranges(g, ranges, 2),
                         "{ 'fallback': true, 'format': 'count' }");
    g_assert_cmpint(qdict_get_int(result, "young"), ==, 1);
    age_check_span(g, "age-test-young", 0, 3, "y");
    age_check_span(g, "age-test-young", 3, 4, "-");
    age_check_span(g, "age-test-young", 4, 5, "y");
    age_guest_quit(g);
}

/* x86: a block of system management mode, half of which others don't have */

#define MCH_SMRAM           0x9d
#define MCH_G_SMRAME        0x08
#define MCH_ESMRAMC         0x9e
#define MCH_TSEG_1M         0x01
#define LPC_DEV             31
#define LPC_PMBASE          0x40
#define LPC_ACPI_CTRL       0x44
#define LPC_ACPI_EN         0x80
#define PMBASE              0x600
#define PM_SMI_EN           0x30
#define PM_SMI_APMC         0x21
#define SMM_CODE            0x38000

static void enable_smi(AgeGuest *g)
{
    age_pci_writeb(g->qts, 0, 0, MCH_SMRAM, MCH_G_SMRAME);
    age_pci_writeb(g->qts, 0, 0, MCH_ESMRAMC, MCH_TSEG_1M);
    age_pci_writel(g->qts, LPC_DEV, 0, LPC_PMBASE, PMBASE);
    age_pci_writeb(g->qts, LPC_DEV, 0, LPC_ACPI_CTRL, LPC_ACPI_EN);
    qtest_outl(g->qts, PMBASE + PM_SMI_EN, PM_SMI_APMC);
}

/*
 * Have the CPU store to @gpa in system management mode: addr32 movb $1, gpa;
 * rsm.  It goes there by outb %al, $0xb2; jmp *%rax.
 */
static void store_in_smm(AgeGuest *g, uint32_t gpa)
{
    uint8_t smm[] = { 0x67, 0xc6, 0x05, 0, 0, 0, 0, 1, 0x0f, 0xaa };
    const uint8_t enter[] = { 0xe6, 0xb2, 0xff, 0xe0 };

    stl_le_p(&smm[3], gpa);
    qtest_memwrite(g->qts, SMM_CODE, smm, sizeof(smm));
    qtest_memwrite(g->qts, g->memory, enter, sizeof(enter));
    age_guest_touch(g, AGE_GUEST_EXEC, g->memory, 1);
}

static uint64_t count_both(AgeGuest *g, bool clear)
{
    uint64_t block = g->end - AGE_BLOCK;
    Pages p[] = { { 0, 0, 256, clear }, { 0, 0, 256, clear } };

    p[0].from = (block - g->memory) / AGE_PAGE;
    p[0].to = p[1].from = p[0].from + 256;
    p[1].to = p[1].from + 256;
    check_command(g, "age-test-clear-young", "young-pages", p, 2, false);
    return age_count(g->qts, block, g->end, clear);
}

static void check_smm(AgeGuest *g, uint64_t gpa)
{
    uint64_t block = g->end - AGE_BLOCK;
    AgeLeafInfo leaf;

    store_in_smm(g, gpa);
    g_assert(age_leaf(g->qts, "smm", gpa, &leaf));
    g_assert(leaf.accessed);
    g_assert_cmpuint(age_leaf_size(&leaf), ==, AGE_BLOCK);
    g_assert(!age_leaf(g->qts, "memory", block, &leaf));

    g_assert_cmpuint(count_both(g, false), ==, 512);
    g_assert_cmpuint(age_count(g->qts, block, g->end, true), ==, 512);
    g_assert_cmpuint(age_count(g->qts, block, g->end, false), ==, 0);
    store_in_smm(g, gpa);
    g_assert_cmpuint(count_both(g, true), ==, 0);
}

static void test_smm(void)
{
    AgeGuestOptions options = { .machine = "q35", .accel = BLOCKS };
    AgeGuest *g = age_guest_start(&options);
    AgeSlotInfo slot;

    enable_smi(g);
    g_assert(!age_find_slot(g->qts, "memory", g->end - HALF, &slot));
    g_assert(age_find_slot(g->qts, "smm", g->end - HALF, &slot));
    check_smm(g, g->end - AGE_PAGE);
    check_smm(g, g->end - AGE_BLOCK);
    age_guest_stop(g);
    age_check_conserved(g->qts);
    age_guest_quit(g);
}

/* x86: the firmware, which is below 1 MiB as well as below 4 GiB */

#define BIOS_SIZE   (64 * KiB)
#define RESET       0xfff0
#define LOW         0xff000
#define HIGH        0xfffff000

/* A firmware that jumps from its first instruction to itself */
static char *write_bios(void)
{
    g_autofree uint8_t *file = g_malloc0(BIOS_SIZE);
    GError *err = NULL;
    char *path;
    int fd = g_file_open_tmp("age-reach-XXXXXX", &path, &err);

    g_assert_no_error(err);
    file[RESET] = 0xeb;
    file[RESET + 1] = 0xfe;
    g_assert(write(fd, file, BIOS_SIZE) == BIOS_SIZE);
    close(fd);
    return path;
}

static QTestState *start_bios(void)
{
    g_autofree char *path = write_bios();
    QTestState *qts = qtest_initf("-M pc -m 128M -accel age -bios %s", path);
    int64_t deadline = 0;

    unlink(path);
    while (!age_count(qts, HIGH, HIGH + AGE_PAGE, false)) {
        age_poll(&deadline);
    }
    return qts;
}

static void check_bios(QTestState *qts, bool clear)
{
    GArray *want = age_pages_new();

    age_pages_add(want, LOW, 1, 0);
    age_pages_add(want, HIGH, 1, 0);
    age_assert_same_pages(age_young_pages(qts, 0, 4 * GiB, clear), want);
}

/* It does not leave the page, so that its TLB keeps it old. */
static void test_bios(void)
{
    QTestState *qts = start_bios();
    uint64_t cleared = age_counter(qts, "cleared");

    check_bios(qts, false);
    check_bios(qts, true);
    g_assert_cmpuint(age_counter(qts, "cleared"), ==, cleared + 1);
    qtest_quit(qts);
}

/* Each of two ranges has one address of the page, and one of them clears it. */
static void check_alias(AgeGuest *g, uint64_t test, uint64_t clear)
{
    QList *ranges = qlist_new();
    g_autoptr(QDict) result = NULL;
    const QListEntry *entry;

    age_guest_touch(g, AGE_GUEST_READ | AGE_GUEST_FLUSH, LOW, 1);
    age_add_clear_range(ranges, clear, clear + AGE_PAGE);
    age_add_test_range(ranges, test, test + AGE_PAGE);
    age_guest_stop(g);
    result = age_harvest(g->qts, ranges, "{ 'format': 'count' }");
    QLIST_FOREACH_ENTRY(qdict_get_qlist(result, "ranges"), entry) {
        QDict *range = qobject_to(QDict, entry->value);

        g_assert_cmpint(qdict_get_int(range, "young-pages"), ==, 1);
    }
    g_assert_cmpuint(age_count(g->qts, LOW, LOW + AGE_PAGE, false), ==, 0);
    g_assert_cmpuint(age_count(g->qts, HIGH, HIGH + AGE_PAGE, false), ==, 0);
    age_guest_cont(g);
}

static void test_alias(void)
{
    AgeGuest *g = start("");

    check_alias(g, LOW, HIGH);
    check_alias(g, HIGH, LOW);
    age_guest_quit(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("age/reach/ranges", test_ranges);
    qtest_add_func("age/reach/block", test_block);
    qtest_add_func("age/reach/aging", test_aging);
    qtest_add_func("age/reach/fallback", test_fallback);
    qtest_add_func("age/reach/between", test_between);
    if (age_is_x86()) {
        qtest_add_func("age/reach/smm", test_smm);
        qtest_add_func("age/reach/bios", test_bios);
        qtest_add_func("age/reach/alias", test_alias);
    }
    return g_test_run();
}
