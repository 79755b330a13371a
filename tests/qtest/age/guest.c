/*
 * A guest for the age tests that accesses what it is told to, and no more
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "guest.h"
#include "guest-aarch64.h"
#include "guest-x86.h"
#include "release.h"

#define POLL_US         200
/* Nobody waits for that, but for a machine with very much else to do. */
#define POLL_MOST_US    (100 * 1000 * 1000)

static const AgeArch arch_x86 = {
    .name = "x86_64",
    .machine = "pc",
    /* The guest uses pages of 1 GiB, which the default CPU lacks. */
    .cpu = "max",
    /* That would be memory and code which are not the guest's. */
    .args = "-global apic-common.vapic=off",
    .ram = AGE_X86_RAM,
    .code = 0xfffff000,
    .tables = 2,
    .image = guest_x86,
    .image_size = sizeof(guest_x86),
    .image_offset = 60 * KiB,
    .file_size = 64 * KiB,
    .ret = 0xe0ff,              /* jmp *%rax */
    .format = "ept",
    .root_level = 4,
    .leaf_level = 1,
    .accessed = 1 << 8,
    .dirty = 1 << 9,
    .address = 0x000ffffffffff000ULL,
};

static const AgeArch arch_aarch64 = {
    .name = "aarch64",
    .machine = "virt",
    .cpu = "cortex-a57",
    .args = "",
    .ram = AGE_ARM_RAM,
    .code = 0,
    .tables = 1,
    .image = guest_aarch64,
    .image_size = sizeof(guest_aarch64),
    .file_size = 64 * KiB,
    .ret = 0xd65f03c0,          /* ret */
    .format = "stage2",
    .root_level = 0,
    .leaf_level = 3,
    .accessed = 1 << 10,
    .dirty = 1 << 7,
    .address = 0x0000fffffffff000ULL,
};

const AgeArch *age_arch(void)
{
    bool x86 = g_str_equal(qtest_get_arch(), arch_x86.name);

    return x86 ? &arch_x86 : &arch_aarch64;
}

void age_poll(int64_t *deadline)
{
    int64_t now = g_get_monotonic_time();

    *deadline = *deadline ?: now + POLL_MOST_US;
    g_assert_cmpint(now, <, *deadline);
    g_usleep(POLL_US);
}

char *age_guest_firmware(void)
{
    const AgeArch *arch = age_arch();
    g_autofree uint8_t *file = g_malloc0(arch->file_size);
    GError *err = NULL;
    char *path;
    int fd = g_file_open_tmp("age-guest-XXXXXX", &path, &err);

    g_assert_no_error(err);
    memcpy(file + arch->image_offset, arch->image, arch->image_size);
    g_assert(write(fd, file, arch->file_size) == arch->file_size);
    close(fd);
    return path;
}

static QTestState *start_qemu(const AgeGuestOptions *o, unsigned cpus,
                              const char *firmware)
{
    const AgeArch *arch = age_arch();
    g_autofree char *memory = g_strdup_printf("%u", AGE_GUEST_MIB);
    g_autofree char *args = g_strdup_printf(
        "-nodefaults -machine %s -accel %s%s -cpu %s -smp %u -m %s -bios %s "
        "%s %s %s", o->machine ?: arch->machine, o->tcg ? "tcg" : "age",
        o->accel ?: "", arch->cpu, cpus, o->memory ?: memory, firmware,
        arch->args, o->incoming ? "-incoming defer" : "", o->args ?: "");

    return age_qtest_start(args);
}

void age_guest_wait_ready(AgeGuest *g, unsigned cpu)
{
    uint64_t mailbox = age_guest_mailbox(cpu);
    int64_t deadline = 0;

    while (!qtest_readl(g->qts, mailbox + AGE_MB_READY)) {
        age_poll(&deadline);
    }
    g->seq[cpu] = 0;
}

void age_guest_not_ready(AgeGuest *g, unsigned cpu)
{
    qtest_writel(g->qts, age_guest_mailbox(cpu) + AGE_MB_READY, 0);
}

static void wait_all_ready(AgeGuest *g)
{
    for (unsigned cpu = 0; cpu < g->cpus; cpu++) {
        age_guest_wait_ready(g, cpu);
    }
}

void age_guest_connect(AgeGuest *g)
{
    g_autoptr(QList) oob = qlist_new();

    qlist_append_str(oob, "oob");
    qtest_connect(g->qts);
    qtest_qmp_handshake(g->qts, g->oob ? oob : NULL);
    /* It was read when the machine was made. */
    unlink(g->firmware);
    g_clear_pointer(&g->firmware, g_free);
}

AgeGuest *age_guest_start(const AgeGuestOptions *options)
{
    AgeGuestOptions none = {};
    AgeGuest *g = g_new0(AgeGuest, 1);

    options = options ?: &none;
    g->cpus = options->cpus ?: 1;
    g->memory = age_arch()->ram + AGE_MEMORY_OFFSET;
    g->end = age_arch()->ram + AGE_GUEST_MIB * MiB;
    g->oob = options->oob;
    g->firmware = age_guest_firmware();
    g->qts = start_qemu(options, g->cpus, g->firmware);
    if (!options->unconnected) {
        age_guest_connect(g);
    }
    if (!options->incoming) {
        wait_all_ready(g);
    }
    return g;
}

void age_guest_quit(AgeGuest *g)
{
    qtest_quit(g->qts);
    g_free(g);
}

void age_guest_reset(AgeGuest *g)
{
    age_guest_stop(g);
    for (unsigned cpu = 0; cpu < g->cpus; cpu++) {
        age_guest_not_ready(g, cpu);
    }
    age_guest_cont(g);
    qtest_system_reset(g->qts);
    wait_all_ready(g);
}

void age_guest_stop(AgeGuest *g)
{
    qtest_qmp_assert_success(g->qts, "{ 'execute': 'stop' }");
}

void age_guest_cont(AgeGuest *g)
{
    qtest_qmp_assert_success(g->qts, "{ 'execute': 'cont' }");
}

uint64_t age_guest_mailbox(unsigned cpu)
{
    return age_arch()->ram + AGE_MAILBOX_OFFSET + (cpu << AGE_MAILBOX_SHIFT);
}

void age_guest_send(AgeGuest *g, unsigned cpu, unsigned what, uint64_t start,
                    uint64_t count, uint64_t stride)
{
    uint64_t mailbox = age_guest_mailbox(cpu);

    qtest_writeq(g->qts, mailbox + AGE_MB_COMMAND, what);
    qtest_writeq(g->qts, mailbox + AGE_MB_START, start);
    qtest_writeq(g->qts, mailbox + AGE_MB_COUNT, count);
    qtest_writeq(g->qts, mailbox + AGE_MB_STRIDE, stride);
    qtest_writel(g->qts, mailbox + AGE_MB_SEQ, ++g->seq[cpu]);
}

void age_guest_wait(AgeGuest *g, unsigned cpu)
{
    uint64_t mailbox = age_guest_mailbox(cpu);
    int64_t deadline = 0;

    while (qtest_readl(g->qts, mailbox + AGE_MB_DONE) != g->seq[cpu]) {
        age_poll(&deadline);
    }
}

uint64_t age_guest_rounds(AgeGuest *g, unsigned cpu)
{
    return qtest_readq(g->qts, age_guest_mailbox(cpu) + AGE_MB_ROUNDS);
}

void age_guest_wait_round(AgeGuest *g, unsigned cpu)
{
    uint64_t rounds = age_guest_rounds(g, cpu);
    int64_t deadline = 0;

    /* The first one to end had begun before now. */
    while (age_guest_rounds(g, cpu) < rounds + 2) {
        age_poll(&deadline);
    }
}

void age_guest_touch(AgeGuest *g, unsigned what, uint64_t start,
                     uint64_t count)
{
    age_guest_send(g, 0, what, start, count, AGE_PAGE);
    age_guest_wait(g, 0);
}

void age_guest_put_code(AgeGuest *g, uint64_t start, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        qtest_writel(g->qts, start + i * AGE_PAGE, age_arch()->ret);
    }
}
