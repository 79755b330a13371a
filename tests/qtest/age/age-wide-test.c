/*
 * age: memory of all kinds, CPUs of 32 bits, and more addresses than tables map
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "board.h"
#include "guest.h"
#include "qmp.h"

#define SIZE            (4 * MiB)
#define BACKEND_RAM     "-object memory-backend-ram,id=other,size=4M "

/* Files that are mapped for reading only: QEMU drops what is stored. */
#define BACKEND_FIXED   "-object memory-backend-file,id=other,size=4M," \
                        "mem-path=%s,readonly=on "

/*
 * Memory that is no part of the guest's first. @missing is what a device does
 * not show of its backend: its label, and what is left of a block beside it.
 */
typedef struct Kind {
    const char *name;
    const char *args;
    uint64_t missing;
    bool readonly;
} Kind;

static const Kind kinds[] = {
    { "dimm", BACKEND_RAM "-device pc-dimm,memdev=other" },
    { "dimm-read-only", BACKEND_FIXED "-device pc-dimm,memdev=other",
      .readonly = true },
    { "nvdimm", BACKEND_RAM "-device nvdimm,memdev=other" },
    { "nvdimm-label", BACKEND_RAM "-device nvdimm,memdev=other,label-size=128K",
      .missing = AGE_BLOCK },
    { "nvdimm-unarmed", BACKEND_FIXED
      "-device nvdimm,memdev=other,unarmed=on", .readonly = true },
};

/* Of x86's boards only */
static const Kind pmem = {
    "virtio-pmem", BACKEND_RAM "-device virtio-pmem-pci,memdev=other"
};

/* The slot of the backend that is not the guest's first */
static void find_other(QTestState *qts, AgeSlotInfo *slot)
{
    g_autoptr(QDict) info = age_query(qts);
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(info, "slots"), entry) {
        QDict *dict = qobject_to(QDict, entry->value);
        const char *backend = qdict_get_try_str(dict, "backend");

        if (g_strcmp0(backend, "other") == 0) {
            g_assert(age_find_slot(qts, "memory", age_get_uint(dict, "gpa"),
                                   slot));
            return;
        }
    }
    g_assert_not_reached();
}

static uint64_t count_dirty(AgeGuest *g, const AgeSlotInfo *slot)
{
    g_autoptr(QDict) result = qtest_qmp_assert_success_ref(
        g->qts, "{ 'execute': 'age-test-clear-dirty', 'arguments': {"
        " 'format': 'count', 'ranges': [ { 'start': %" PRIu64 ","
        " 'end': %" PRIu64 " } ] } }", slot->gpa, slot->gpa + slot->size);
    QObject *range = qlist_peek(qdict_get_qlist(result, "ranges"));

    return qdict_get_int(qobject_to(QDict, range), "dirty-pages");
}

/*
 * Loads make pages young.  So do stores, and dirty as well, but not where they
 * are dropped: there the walk ends with a fault.
 */
static void use_other(AgeGuest *g, const AgeSlotInfo *slot)
{
    uint64_t read = slot->gpa + 3 * AGE_PAGE;
    uint64_t written = slot->gpa + slot->size - 50 * AGE_PAGE;
    uint64_t denied = age_counter(g->qts, "denied");
    GArray *want = age_pages_new();

    age_flush_all(g->qts);
    age_guest_touch(g, AGE_GUEST_READ, read, 20);
    age_guest_touch(g, AGE_GUEST_WRITE, written, 50);
    age_pages_add(want, read, 20, AGE_PAGE);
    if (!slot->readonly) {
        age_pages_add(want, written, 50, AGE_PAGE);
    }
    age_assert_same_pages(age_young_pages(g->qts, slot->gpa,
                                          slot->gpa + slot->size, true), want);
    g_assert_cmpuint(count_dirty(g, slot), ==, slot->readonly ? 0 : 50);
    g_assert((age_counter(g->qts, "denied") > denied) == slot->readonly);
}

static void test_kind(const void *opaque)
{
    const Kind *k = opaque;
    g_autofree char *path = age_guest_firmware();
    g_autofree char *args = g_strdup_printf(k->args, path);
    g_autofree char *machine = g_strdup_printf("%s,nvdimm=on",
                                               age_board_machine());
    AgeGuestOptions options = {
        .machine = machine, .memory = AGE_BOARD_MEMORY, .args = args,
    };
    AgeGuest *g;
    AgeSlotInfo slot;

    g_assert(truncate(path, SIZE) == 0);
    g = age_guest_start(&options);
    unlink(path);
    find_other(g->qts, &slot);
    g_assert_cmpuint(slot.size, ==, SIZE - k->missing);
    g_assert(slot.readonly == k->readonly);
    for (unsigned i = 0; i < 3; i++) {
        use_other(g, &slot);
    }
    age_guest_stop(g);
    age_check_conserved(g->qts);
    age_guest_quit(g);
}

/* CPUs of 32 bits, whose firmware writes to some pages and ends */

#define WRITTEN     64

typedef struct Cpu32 {
    const char *cpu;
    int levels;
    int bits;
} Cpu32;

/* In real mode: a segment for each page */
static const uint8_t x86_code[] = {
    0xb8, 0x00, 0x40,           /* mov $0x4000, %ax */
    0xb9, WRITTEN, 0x00,        /* mov $64, %cx */
    0x8e, 0xd8,                 /* 1: mov %ax, %ds */
    0x88, 0x0e, 0x08, 0x00,     /* mov %cl, 8 */
    0x05, 0x00, 0x01,           /* add $0x100, %ax */
    0xe2, 0xf5,                 /* loop 1b */
    0xfa, 0xf4,                 /* cli; hlt */
};

static const uint8_t x86_reset[] = { 0xe9, 0x0d, 0xf0 };    /* jmp 0xf000 */

static const uint32_t arm_code[] = {
    0xe3a00101,                 /* mov r0, #0x40000000 */
    0xe2800501,                 /* add r0, r0, #0x400000 */
    0xe3a01000 | WRITTEN,       /* mov r1, #64 */
    0xe5801008,                 /* 1: str r1, [r0, #8] */
    0xe2800a01,                 /* add r0, r0, #0x1000 */
    0xe2511001,                 /* subs r1, r1, #1 */
    0x1afffffb,                 /* bne 1b */
    0xe320f003,                 /* 2: wfi */
    0xeafffffd,                 /* b 2b */
};

static char *make_firmware(void)
{
    g_autofree uint8_t *file = g_malloc0(age_arch()->file_size);
    GError *err = NULL;
    char *path;
    int fd = g_file_open_tmp("age-wide-XXXXXX", &path, &err);

    g_assert_no_error(err);
    if (age_is_x86()) {
        memcpy(file + 0xf000, x86_code, sizeof(x86_code));
        memcpy(file + 0xfff0, x86_reset, sizeof(x86_reset));
    } else {
        for (unsigned i = 0; i < G_N_ELEMENTS(arm_code); i++) {
            stl_le_p(file + i * 4, arm_code[i]);
        }
    }
    g_assert(write(fd, file, age_arch()->file_size) == age_arch()->file_size);
    close(fd);
    return path;
}

static void check_shape(QTestState *qts, const Cpu32 *c)
{
    g_autoptr(QDict) info = age_query(qts);

    g_assert_cmpint(qdict_get_int(info, "levels"), ==, c->levels);
    g_assert_cmpint(qdict_get_int(info, "gpa-bits"), ==, c->bits);
}

static void test_cpu32(const void *opaque)
{
    const Cpu32 *c = opaque;
    g_autofree char *path = make_firmware();
    QTestState *qts = qtest_initf("-nodefaults -machine %s -cpu %s -accel age "
                                  "-m 64 -bios %s %s", age_arch()->machine,
                                  c->cpu, path, age_arch()->args);
    uint64_t ram = age_arch()->ram, code = age_arch()->code;
    uint64_t start = ram + (age_is_x86() ? 256 * KiB : 4 * MiB);
    uint64_t end = ram + (age_is_x86() ? 640 * KiB : 64 * MiB);
    GArray *want = age_pages_new();
    int64_t deadline = 0;

    unlink(path);
    while (qtest_readb(qts, start + (WRITTEN - 1) * AGE_PAGE + 8) != 1) {
        age_poll(&deadline);
    }
    qtest_qmp_assert_success(qts, "{ 'execute': 'stop' }");
    check_shape(qts, c);
    age_pages_add(want, start, WRITTEN, AGE_PAGE);
    age_assert_same_pages(age_young_pages(qts, ram, end, true), want);
    g_assert_cmpuint(age_count(qts, code, code + AGE_PAGE, true), ==, 1);
    age_check_conserved(qts);
    qtest_quit(qts);
}

/* Arm: a DIMM behind the last address that stage 2 translates */

#define BEYOND      (1ULL << 48)

static void test_beyond(void)
{
    g_autofree char *args = g_strdup_printf(
        "-cpu max " BACKEND_RAM "-device pc-dimm,memdev=other,addr=%" PRIu64,
        (uint64_t)BEYOND);
    AgeGuestOptions options = {
        .machine = "virt",
        .memory = "64M,slots=1,maxmem=300T",
        .args = args,
    };
    AgeGuest *g = age_guest_start(&options);
    g_autoptr(QDict) info = age_query(g->qts);
    QDict *range = qobject_to(QDict,
                              qlist_peek(qdict_get_qlist(info, "unserved")));
    AgeSlotInfo slot;

    g_assert_cmphex(age_get_uint(range, "gpa"), ==, BEYOND);
    g_assert_cmpuint(age_get_uint(range, "size"), ==, SIZE);
    g_assert_nonnull(strstr(qdict_get_str(range, "reason"),
                            "beyond the guest-physical addresses"));
    g_assert(!age_find_slot(g->qts, "memory", BEYOND, &slot));
    age_guest_touch(g, AGE_GUEST_READ, g->memory, 3);
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, true), ==, 3);
    age_guest_quit(g);
}

static const Cpu32 x86_cpus[] = {
    { "qemu32", 4, 36 }, { "pentium", 4, 32 },
};

static const Cpu32 arm_cpus[] = {
    { "cortex-a15", 3, 40 },
};

static void add_kind(const Kind *kind)
{
    g_autofree char *name = g_strdup_printf("age/wide/kind/%s", kind->name);

    qtest_add_data_func(name, kind, test_kind);
}

static void add_cpu(const Cpu32 *c)
{
    g_autofree char *name = g_strdup_printf("age/wide/cpu/%s", c->cpu);

    qtest_add_data_func(name, c, test_cpu32);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        add_kind(&kinds[i]);
    }
    if (age_is_x86()) {
        add_kind(&pmem);
        for (unsigned i = 0; i < G_N_ELEMENTS(x86_cpus); i++) {
            add_cpu(&x86_cpus[i]);
        }
    } else {
        add_cpu(&arm_cpus[0]);
        qtest_add_func("age/wide/beyond", test_beyond);
    }
    return g_test_run();
}
