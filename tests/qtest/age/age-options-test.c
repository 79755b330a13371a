/*
 * age: the accelerator's options, and those that it has from TCG
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "guest.h"
#include "qmp.h"

/* Options that are wrong: one line, and no guest */

typedef struct BadOption {
    const char *name;
    const char *args;
    const char *want;
} BadOption;

/* Of one architecture */
static const BadOption x86_bad_options[] = {
    { "levels-few", "-accel age,levels=4 -cpu max,phys-bits=52",
      "age: levels=4 does not fit the 52 bits of physical address of this CPU;"
      " leave it out to have it chosen" },
    { "haft-x86", "-machine none -accel age,haft=on",
      "haft is a feature of Arm processors; EPT always has accessed flags in"
      " its tables" },
};

static const BadOption arm_bad_options[] = {
    { "levels-many", "-accel age,levels=4 -machine virt -cpu cortex-a53",
      "age: levels=4 does not fit the 40 bits of physical address of this CPU;"
      " leave it out to have it chosen" },
    { "levels-few", "-accel age,levels=3 -machine virt -cpu cortex-a57",
      "age: levels=3 does not fit the 44 bits of physical address of this CPU;"
      " leave it out to have it chosen" },
};

static const BadOption bad_options[] = {
    { "page-size", "-machine none -accel age,page-size=3k",
      "Parameter 'page-size' does not accept value '3k'" },
    { "page-size-empty", "-machine none -accel age,page-size=",
      "Parameter 'page-size' does not accept value ''" },
    { "page-size-case", "-machine none -accel age,page-size=2M",
      "Parameter 'page-size' does not accept value '2M'" },
    { "flush", "-machine none -accel age,flush=maybe",
      "Parameter 'flush' does not accept value 'maybe'" },
    { "hw-ad", "-machine none -accel age,hw-ad=perhaps",
      "Parameter 'hw-ad' expects 'on' or 'off'" },
    { "tlb-grow", "-machine none -accel age,tlb-grow=maybe",
      "Parameter 'tlb-grow' expects 'on' or 'off'" },
    { "thread", "-machine none -accel age,thread=foo",
      "Invalid 'thread' setting foo" },
    { "tb-size", "-machine none -accel age,tb-size=much",
      "Parameter 'tb-size' expects uint64" },
    { "split-wx", "-machine none -accel age,split-wx=2",
      "Parameter 'split-wx' expects 'on' or 'off'" },
    { "one-insn-per-tb", "-machine none -accel age,one-insn-per-tb=maybe",
      "Parameter 'one-insn-per-tb' expects 'on' or 'off'" },
    { "levels", "-machine none -accel age,levels=1",
      "levels=1: page tables have " },
    { "levels-much", "-machine none -accel age,levels=6",
      "levels=6: page tables have " },
    { "levels-text", "-machine none -accel age,levels=many",
      "Parameter 'levels' expects uint64" },
    { "haft", "-machine none -accel age,haft=2",
      "Parameter 'haft' expects 'on' or 'off'" },
    { "unknown", "-machine none -accel age,colour=red",
      "Property 'age-accel.colour' not found" },
};

/* Run QEMU until it exits; returns what it had to say. */
static char *run_qemu(const char *args, int *status)
{
    g_autofree char *line = g_strdup_printf(
        "%s -nodefaults -display none %s", getenv("QTEST_QEMU_BINARY"), args);
    g_autofree char *out = NULL;
    GError *err = NULL;
    char *messages;

    g_spawn_command_line_sync(line, &out, &messages, status, &err);
    g_assert_no_error(err);
    g_assert_cmpstr(out, ==, "");
    return messages;
}

static void test_bad_option(const void *opaque)
{
    const BadOption *bad = opaque;
    g_autofree char *messages = NULL;
    int status;

    messages = run_qemu(bad->args, &status);
    g_assert(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 1);
    g_assert_nonnull(strstr(messages, bad->want));
    /* One line, and it has an end. */
    g_assert(strchr(messages, '\n') == messages + strlen(messages) - 1);
}

static void test_help(void)
{
    g_autofree char *line = g_strdup_printf("%s -accel help",
                                            getenv("QTEST_QEMU_BINARY"));
    g_autofree char *out = NULL;
    g_auto(GStrv) lines = NULL;
    GError *err = NULL;

    g_spawn_command_line_sync(line, &out, NULL, NULL, &err);
    g_assert_no_error(err);
    lines = g_strsplit(out, "\n", 0);
    g_assert(g_strv_contains((const char *const *)lines, "age"));
    g_assert(qtest_has_accel("age"));
}

/* Options that are right: the guest runs, and its pages become young */

typedef struct GoodOption {
    const char *name;
    const char *accel;
    const char *args;
} GoodOption;

static const GoodOption good_options[] = {
    { "thread-single", ",thread=single" },
    { "thread-multi", ",thread=multi" },
    { "tb-size", ",tb-size=8" },
    { "split-wx-on", ",split-wx=on" },
    { "split-wx-off", ",split-wx=off" },
    { "one-insn-per-tb", ",one-insn-per-tb=on" },
    { "page-size-4k", ",page-size=4k" },
    { "flush-none", ",flush=none" },
    { "icount", "", "-icount shift=3" },
    /* Of no use to the guest, but virtme-ng gives it these. */
    { "virtme-ng", "", "-fsdev local,id=root,path=/,security_model=none,"
      "readonly=on -device virtio-9p-pci,fsdev=root,mount_tag=root "
      "-device i6300esb" },
    { "all", ",thread=single,tb-size=16,one-insn-per-tb=on,page-size=4k,"
      "flush=request" },
    { "last-counts", ",page-size=1g,flush=request,page-size=4k,flush=none" },
};

static void test_good_option(const void *opaque)
{
    const GoodOption *good = opaque;
    AgeGuestOptions options = { .accel = good->accel, .args = good->args };
    AgeGuest *g = age_guest_start(&options);

    for (unsigned i = 0; i < 3; i++) {
        GArray *want = age_pages_new();

        age_flush_all(g->qts);
        age_guest_touch(g, AGE_GUEST_WRITE, g->memory + i * AGE_PAGE, 5);
        age_pages_add(want, g->memory + i * AGE_PAGE, 5, AGE_PAGE);
        age_assert_same_pages(age_young_pages(g->qts, g->memory, g->end,
                                              false), want);
    }
    age_guest_quit(g);
}

/* What query-age says of a guest with and without options */
static void check_info(const char *accel, const char *page_size,
                       const char *flush)
{
    const AgeArch *arch = age_arch();
    AgeGuestOptions options = { .accel = accel };
    AgeGuest *g = age_guest_start(&options);
    g_autoptr(QDict) info = age_query(g->qts);

    g_assert(qdict_get_bool(info, "enabled"));
    g_assert_cmpstr(qdict_get_str(info, "format"), ==, arch->format);
    g_assert_cmpint(qdict_get_int(info, "levels"), ==,
                    ABS(arch->root_level - arch->leaf_level) + 1);
    g_assert_cmpstr(qdict_get_str(info, "page-size"), ==, page_size);
    g_assert_cmpstr(qdict_get_str(info, "flush"), ==, flush);
    g_assert(qdict_get_bool(info, "hw-ad"));
    g_assert(qdict_get_bool(info, "test-clear-young"));
    g_assert(!qdict_haskey(info, "reason"));
    age_guest_quit(g);
}

static void test_info(void)
{
    check_info("", "4k", "none");
    check_info(",page-size=2m", "2m", "none");
    check_info(",page-size=1g,flush=request", "1g", "request");
}

/* Large leaves */

/*
 * One access makes all of a leaf young, which is as large as may be.  How
 * large that is depends on where QEMU has the memory, so ask for it.
 */
static void check_block(AgeGuest *g, uint64_t most)
{
    uint64_t gpa = g->memory + 5 * AGE_BLOCK + 7 * AGE_PAGE;
    AgeSlotInfo slot;
    AgeLeafInfo leaf;
    uint64_t size, first, start, end;

    age_flush_all(g->qts);
    age_guest_touch(g, AGE_GUEST_WRITE, gpa, 1);
    g_assert(age_find_slot(g->qts, "memory", gpa, &slot));
    g_assert(age_leaf(g->qts, "memory", gpa, &leaf));
    size = age_leaf_size(&leaf);
    first = QEMU_ALIGN_DOWN(gpa, size);
    g_assert_cmphex(size, <=, most);
    g_assert_cmphex(leaf.address, ==, slot.hva + (first - slot.gpa));
    if (QEMU_IS_ALIGNED(slot.hva - slot.gpa, AGE_BLOCK)) {
        g_assert_cmphex(size, >=, AGE_BLOCK);
    }

    start = MAX(first, slot.gpa);
    end = MIN(first + size, slot.gpa + slot.size);
    g_assert_cmpuint(age_count(g->qts, start, end, false), ==,
                     (end - start) / AGE_PAGE);
    /* To make one of its pages old is to make all of them old. */
    g_assert_cmpuint(age_count(g->qts, gpa, gpa + AGE_PAGE, true), ==, 1);
    g_assert_cmpuint(age_count(g->qts, start, end, false), ==, 0);
}

static void test_page_size_2m(void)
{
    AgeGuestOptions options = { .accel = ",page-size=2m" };
    AgeGuest *g = age_guest_start(&options);

    check_block(g, AGE_BLOCK);
    check_block(g, AGE_BLOCK);
    age_guest_quit(g);
}

/* With as much memory that a leaf of that size could be there */
static void test_page_size_1g(void)
{
    AgeGuestOptions options = { .accel = ",page-size=1g", .memory = "2G" };
    AgeGuest *g = age_guest_start(&options);

    check_block(g, 512 * AGE_BLOCK);
    check_block(g, 512 * AGE_BLOCK);
    age_guest_quit(g);
}

/* A read-only slot of 64 KiB can't be in a block. */
static void test_small_slot(void)
{
    AgeGuestOptions options = { .accel = ",page-size=2m" };
    AgeGuest *g = age_guest_start(&options);
    AgeSlotInfo slot;
    AgeLeafInfo leaf;

    g_assert(age_find_slot(g->qts, "memory", age_arch()->code, &slot));
    g_assert(age_leaf(g->qts, "memory", age_arch()->code, &leaf));
    g_assert_cmphex(age_leaf_size(&leaf), <=, slot.size);
    g_assert(!leaf.write);
    age_guest_quit(g);
}

/* What people's monitors ask of any accelerator */
static void test_monitor(void)
{
    AgeGuest *g = age_guest_start(NULL);
    g_autofree char *jit = qtest_hmp(g->qts, "info jit");
    g_autofree char *mtree = qtest_hmp(g->qts, "info mtree -f");

    g_assert_nonnull(strstr(jit, "TB flush count"));
    /* Its name stands next to what it has as memory. */
    g_assert_nonnull(strstr(mtree, " age\r\n"));
    age_guest_quit(g);
}

static void add_bad(const BadOption *bad, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        g_autofree char *path = g_strdup_printf("age/options/bad/%s",
                                                bad[i].name);

        qtest_add_data_func(path, &bad[i], test_bad_option);
    }
}

static void add_table(void)
{
    add_bad(bad_options, G_N_ELEMENTS(bad_options));
    if (age_is_x86()) {
        add_bad(x86_bad_options, G_N_ELEMENTS(x86_bad_options));
    } else {
        add_bad(arm_bad_options, G_N_ELEMENTS(arm_bad_options));
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(good_options); i++) {
        g_autofree char *path = g_strdup_printf("age/options/good/%s",
                                                good_options[i].name);

        qtest_add_data_func(path, &good_options[i], test_good_option);
    }
}

/*
 * From 10.2 on QEMU can say which accelerator is in use.  It has a list of all
 * there are, and would name another one if ours were not in it.
 */
static void test_query_accelerators(void)
{
    AgeGuest *g = age_guest_start(NULL);
    g_autoptr(QDict) response = qtest_qmp(
        g->qts, "{ 'execute': 'query-accelerators' }");
    g_autofree char *text = qtest_hmp(g->qts, "info accelerators");

    if (qdict_haskey(response, "error")) {
        QDict *error = qdict_get_qdict(response, "error");

        g_assert_cmpstr(qdict_get_str(error, "class"), ==, "CommandNotFound");
    } else {
        QDict *info = qdict_get_qdict(response, "return");

        g_assert_cmpstr(qdict_get_str(info, "enabled"), ==, "age");
        g_assert_nonnull(strstr(text, "[age]"));
    }
    age_guest_quit(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    add_table();
    qtest_add_func("age/options/help", test_help);
    qtest_add_func("age/options/info", test_info);
    qtest_add_func("age/options/page-size/2m", test_page_size_2m);
    qtest_add_func("age/options/page-size/1g", test_page_size_1g);
    qtest_add_func("age/options/page-size/small-slot", test_small_slot);
    qtest_add_func("age/options/monitor", test_monitor);
    qtest_add_func("age/options/query-accelerators", test_query_accelerators);

    return g_test_run();
}
