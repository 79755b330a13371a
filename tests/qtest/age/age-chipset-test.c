/*
 * age: memory that a chipset or a mode of the CPU shows in more than one way
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "board.h"
#include "guest.h"
#include "qmp.h"

/* x86: programmable attribute map */

#define PAM_START       0xc0000
#define PAM_SIZE        0x4000
#define PAM_NEXT        (PAM_START + PAM_SIZE)

/* What the attributes in PAM1 mean for its first 16 KiB */
#define PAM_PCI         0
#define PAM_READ_ONLY   1
#define PAM_RAM         3

typedef struct Pam {
    const char *machine;
    unsigned pam1;
} Pam;

static const Pam pam_i440fx = { "pc", 0x5a };
static const Pam pam_q35 = { "q35", 0x91 };

static AgeGuest *start(const char *machine)
{
    AgeGuestOptions options = { .machine = machine };

    return age_guest_start(&options);
}

static void check_slot(AgeGuest *g, uint64_t hva, bool readonly)
{
    AgeSlotInfo slot;

    g_assert(age_find_slot(g->qts, "memory", PAM_START, &slot));
    g_assert_cmphex(slot.hva + (PAM_START - slot.gpa), ==, hva);
    g_assert(slot.readonly == readonly);
}

static uint64_t hva_of(AgeGuest *g, uint64_t gpa)
{
    AgeSlotInfo slot;

    g_assert(age_find_slot(g->qts, "memory", gpa, &slot));
    return slot.hva + (gpa - slot.gpa);
}

static uint64_t count_pam(AgeGuest *g)
{
    return age_count(g->qts, PAM_START, PAM_START + PAM_SIZE, false);
}

/* Loads make pages young; stores only do if the memory can be written to. */
static void check_use(AgeGuest *g, bool readonly)
{
    uint64_t denied = age_counter(g->qts, "denied");
    AgeLeafInfo leaf;

    g_assert_cmpuint(count_pam(g), ==, 0);
    age_guest_touch(g, AGE_GUEST_WRITE | AGE_GUEST_FLUSH, PAM_START, 2);
    g_assert_cmpuint(count_pam(g), ==, readonly ? 0 : 2);
    g_assert_cmpuint(age_counter(g->qts, "denied"), ==,
                     denied + (readonly ? 2 : 0));
    age_guest_touch(g, AGE_GUEST_READ | AGE_GUEST_FLUSH, PAM_START, 2);
    g_assert_cmpuint(count_pam(g), ==, 2);
    g_assert(age_leaf(g->qts, "memory", PAM_START, &leaf));
    g_assert(leaf.accessed && leaf.read && leaf.execute);
    g_assert(leaf.write == !readonly);
    g_assert(leaf.dirty == !readonly);
}

static void test_pam(const void *opaque)
{
    const Pam *pam = opaque;
    AgeGuest *g = start(pam->machine);
    uint64_t rom = hva_of(g, PAM_START), ram = hva_of(g, 0) + PAM_START;

    /* The next 16 KiB stay what they are, and so do their accessed bits. */
    age_guest_touch(g, AGE_GUEST_READ, PAM_NEXT, 3);
    check_slot(g, rom, true);
    for (unsigned i = 0; i < 3; i++) {
        check_use(g, true);
        age_pci_writeb(g->qts, 0, 0, pam->pam1, PAM_RAM);
        check_slot(g, ram, false);
        check_use(g, false);
        age_pci_writeb(g->qts, 0, 0, pam->pam1, PAM_READ_ONLY);
        check_slot(g, ram, true);
        check_use(g, true);
        age_pci_writeb(g->qts, 0, 0, pam->pam1, PAM_PCI);
        check_slot(g, rom, true);
    }
    g_assert_cmpuint(age_count(g->qts, PAM_NEXT, PAM_NEXT + PAM_SIZE, false),
                     ==, 3);
    age_guest_stop(g);
    age_check_conserved(g->qts);
    age_guest_quit(g);
}

/*
 * x86: a ROM that blocks could map, but for a table that was made while a
 * device stood in it.  The pages in that table are right, so a store that they
 * deny leaves them as they are.
 */

#define ROM_SIZE        (4 * MiB)
#define ROM             (4 * GiB - ROM_SIZE)
#define ROM_PAGE        (ROM + 5 * AGE_PAGE)
#define ROM_DEV         4
#define PCI_COMMAND     0x04
#define PCI_BAR_0       0x10
#define PCI_MEMORY_ON   0x02

/* The guest's firmware, at the end of a file of 4 MiB, which is unlinked */
static AgeGuest *start_large_rom(const char *accel)
{
    const AgeArch *arch = age_arch();
    g_autofree uint8_t *rom = g_malloc0(ROM_SIZE);
    g_autofree char *path = g_strdup_printf("%s/age-rom-%d", g_get_tmp_dir(),
                                            getpid());
    g_autofree char *args = g_strdup_printf(
        "-bios %s -device age-device,id=dma0,addr=%d", path, ROM_DEV);
    AgeGuestOptions options = { .accel = accel, .args = args };
    AgeGuest *g;

    memcpy(rom + ROM_SIZE - (arch->file_size - arch->image_offset),
           arch->image, arch->image_size);
    g_assert(g_file_set_contents(path, (char *)rom, ROM_SIZE, NULL));
    g = age_guest_start(&options);
    unlink(path);
    return g;
}

/* Show a device in the first 2 MiB, load from them, and take it away. */
static void make_table(AgeGuest *g)
{
    age_pci_writel(g->qts, ROM_DEV, 0, PCI_BAR_0, ROM);
    age_pci_writeb(g->qts, ROM_DEV, 0, PCI_COMMAND, PCI_MEMORY_ON);
    age_guest_touch(g, AGE_GUEST_READ | AGE_GUEST_FLUSH, ROM_PAGE, 1);
    age_pci_writeb(g->qts, ROM_DEV, 0, PCI_COMMAND, 0);
}

static void test_denied(const void *accel)
{
    AgeGuest *g = start_large_rom(accel);
    uint64_t zapped, denied;
    AgeSlotInfo slot;
    AgeLeafInfo leaf;

    make_table(g);
    g_assert(age_find_slot(g->qts, "memory", ROM_PAGE, &slot));
    g_assert(slot.readonly && slot.size == ROM_SIZE);
    g_assert_cmpuint(age_count(g->qts, ROM_PAGE, ROM_PAGE + AGE_PAGE, false),
                     ==, 1);
    zapped = age_counter(g->qts, "zapped");
    denied = age_counter(g->qts, "denied");
    age_guest_touch(g, AGE_GUEST_WRITE | AGE_GUEST_FLUSH, ROM_PAGE, 1);
    g_assert_cmpuint(age_counter(g->qts, "denied"), >, denied);
    g_assert_cmpuint(age_counter(g->qts, "zapped"), ==, zapped);
    g_assert(age_leaf(g->qts, "memory", ROM_PAGE, &leaf));
    g_assert(leaf.accessed && !leaf.write);
    g_assert_cmpuint(age_count(g->qts, ROM_PAGE, ROM_PAGE + AGE_PAGE, false),
                     ==, 1);
    age_guest_stop(g);
    age_check_conserved(g->qts);
    age_guest_quit(g);
}

/* x86: system management mode, which has an address space of its own */

static bool is_young(AgeGuest *g, const char *space, uint64_t gpa)
{
    AgeLeafInfo leaf;

    return age_leaf(g->qts, space, gpa, &leaf) && leaf.accessed;
}

static void test_smm(void)
{
    AgeGuest *g = start("pc");
    uint64_t smm_only = g->memory + 3 * AGE_PAGE;
    uint64_t both = g->memory + 5 * AGE_PAGE;

    age_store_in_smm(g->qts, smm_only);
    age_store_in_smm(g->qts, both);
    age_guest_touch(g, AGE_GUEST_READ, both, 1);
    age_guest_stop(g);

    g_assert(is_young(g, "smm", AGE_SMM_CODE));
    g_assert(!is_young(g, "memory", AGE_SMM_CODE));
    g_assert(is_young(g, "smm", smm_only));
    g_assert(!is_young(g, "memory", smm_only));
    g_assert(is_young(g, "smm", both));
    g_assert(is_young(g, "memory", both));
    age_check_conserved(g->qts);
    age_guest_quit(g);
}

/* A page is young if any space says so, once; and is made old in all. */
static void test_smm_harvest(void)
{
    AgeGuest *g = start("pc");
    uint64_t cleared;

    age_store_in_smm(g->qts, g->memory);
    age_store_in_smm(g->qts, g->memory + AGE_PAGE);
    age_guest_touch(g, AGE_GUEST_READ, g->memory + AGE_PAGE, 2);
    age_guest_stop(g);

    cleared = age_counter(g->qts, "cleared");
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, false), ==, 3);
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, true), ==, 3);
    g_assert_cmpuint(age_counter(g->qts, "cleared"), ==, cleared + 4);
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, false), ==, 0);
    g_assert(!is_young(g, "smm", g->memory));
    g_assert(!is_young(g, "smm", g->memory + AGE_PAGE));
    g_assert(!is_young(g, "memory", g->memory + AGE_PAGE));
    age_check_conserved(g->qts);
    age_guest_quit(g);
}

/*
 * x86: a CPU that comes and goes.  It has to flush its TLB like the others,
 * and what it did is remembered.
 */

#define CPU_HOTPLUG         0xaf00
#define CPU_HOTPLUG_SELECT  0x00
#define CPU_HOTPLUG_FLAGS   0x04
#define CPU_HOTPLUG_EJECT   0x08

static void unplug_cpu(AgeGuest *g)
{
    /* The first store switches from an older interface to this one. */
    qtest_outl(g->qts, CPU_HOTPLUG + CPU_HOTPLUG_SELECT, 0);
    qtest_qmp_device_del_send(g->qts, "cpu1");
    qtest_outl(g->qts, CPU_HOTPLUG + CPU_HOTPLUG_SELECT, 1);
    qtest_outb(g->qts, CPU_HOTPLUG + CPU_HOTPLUG_FLAGS, CPU_HOTPLUG_EJECT);
    qtest_qmp_eventwait(g->qts, "DEVICE_DELETED");
}

/* A request comes to one flush of each of the first @cpus vCPUs. */
static void check_flushes(AgeGuest *g, unsigned cpus)
{
    uint64_t flushes = age_counter(g->qts, "flushes");

    age_guest_touch(g, AGE_GUEST_WRITE, g->memory, 20);
    age_flush_all(g->qts);
    /* Each flushes before it goes on. */
    for (unsigned i = 0; i < cpus; i++) {
        age_guest_send(g, i, AGE_GUEST_READ, g->memory, 20, AGE_PAGE);
        age_guest_wait(g, i);
    }
    g_assert_cmpuint(age_counter(g->qts, "flushes"), ==, flushes + cpus);
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, false), ==, 20);
}

static void plug_cpu(AgeGuest *g)
{
    age_guest_not_ready(g, 1);
    qtest_qmp_device_add(g->qts, "max-x86_64-cpu", "cpu1",
                         "{ 'socket-id': 1, 'core-id': 0,"
                         " 'thread-id': 0 }");
}

/* Until it is called it halts: nobody wakes it up for a flush. */
static void use_cpu(AgeGuest *g)
{
    uint64_t gpa = g->memory + 100 * AGE_PAGE;

    check_flushes(g, 1);
    age_guest_touch(g, AGE_GUEST_CALL, 0, 0);
    age_guest_wait_ready(g, 1);
    age_guest_send(g, 1, AGE_GUEST_WRITE, gpa, 50, AGE_PAGE);
    age_guest_wait(g, 1);
    g_assert_cmpuint(age_count(g->qts, gpa, g->end, false), ==, 50);
    check_flushes(g, 2);
}

static void test_cpu(void)
{
    /* Under TCG a CPU that is gone still counts among those there may be. */
    AgeGuestOptions options = { .args = "-smp 1,maxcpus=4,sockets=4" };
    AgeGuest *g = age_guest_start(&options);

    for (unsigned i = 0; i < 3; i++) {
        check_flushes(g, 1);
        plug_cpu(g);
        use_cpu(g);
        unplug_cpu(g);
        check_flushes(g, 1);
        age_guest_stop(g);
        age_check_conserved(g->qts);
        age_guest_cont(g);
    }
    age_guest_quit(g);
}

/* Arm: a CPU with EL3 begins in the secure state. */

static void test_secure(void)
{
    AgeGuest *g = start("virt,secure=on");
    GArray *want = age_pages_new();

    age_guest_touch(g, AGE_GUEST_WRITE, g->memory, 10);
    age_guest_stop(g);
    g_assert(is_young(g, "secure", g->memory));
    g_assert(!is_young(g, "memory", g->memory));
    age_pages_add(want, g->memory, 10, AGE_PAGE);
    age_assert_same_pages(age_young_pages(g->qts, g->memory, g->end, true),
                          want);
    g_assert(!is_young(g, "secure", g->memory));
    age_check_conserved(g->qts);
    age_guest_quit(g);
}

/*
 * Arm: a flash device is memory to be read until a command is written to it,
 * and registers from then on until it is told to be memory again.
 */

#define FLASH           0x04000000
#define FLASH_STATUS    0x70
#define FLASH_READ      0xff

static void use_flash(AgeGuest *g)
{
    AgeLeafInfo leaf;

    g_assert_cmpuint(age_count(g->qts, FLASH, FLASH + MiB, false), ==, 0);
    age_guest_touch(g, AGE_GUEST_READ, FLASH, 20);
    g_assert_cmpuint(age_count(g->qts, FLASH, FLASH + MiB, false), ==, 20);
    g_assert(age_leaf(g->qts, "memory", FLASH, &leaf));
    g_assert(leaf.accessed && !leaf.write);
}

static void test_flash(void)
{
    AgeGuest *g = start("virt");
    uint64_t hva = hva_of(g, FLASH);
    AgeSlotInfo slot;
    AgeLeafInfo leaf;

    for (unsigned i = 0; i < 5; i++) {
        use_flash(g);
        qtest_writeb(g->qts, FLASH, FLASH_STATUS);
        g_assert(!age_find_slot(g->qts, "memory", FLASH, &slot));
        g_assert(!age_leaf(g->qts, "memory", FLASH, &leaf));

        /* It is registers now: loads go there, and nothing becomes young. */
        age_guest_touch(g, AGE_GUEST_READ | AGE_GUEST_FLUSH, FLASH, 1);
        g_assert(!age_leaf(g->qts, "memory", FLASH, &leaf));
        qtest_writeb(g->qts, FLASH, FLASH_READ);
        g_assert_cmphex(hva_of(g, FLASH), ==, hva);
    }
    age_guest_stop(g);
    age_check_conserved(g->qts);
    age_guest_quit(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    if (age_is_x86()) {
        qtest_add_data_func("age/chipset/pam/i440fx", &pam_i440fx, test_pam);
        qtest_add_data_func("age/chipset/pam/q35", &pam_q35, test_pam);
        qtest_add_data_func("age/chipset/denied/4k", "", test_denied);
        qtest_add_data_func("age/chipset/denied/2m", ",page-size=2m",
                            test_denied);
        qtest_add_func("age/chipset/smm", test_smm);
        qtest_add_func("age/chipset/smm-harvest", test_smm_harvest);
        qtest_add_func("age/chipset/cpu", test_cpu);
    } else {
        qtest_add_func("age/chipset/secure", test_secure);
        qtest_add_func("age/chipset/flash", test_flash);
    }

    return g_test_run();
}
