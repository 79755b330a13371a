/*
 * age: all kinds of memory come and go in random order, while vCPUs use it and
 * others harvest
 *
 * The seed is printed first; --seed repeats a run.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "board.h"
#include "check.h"
#include "guest.h"
#include "harvester.h"
#include "qmp.h"

#define STEPS           200
#define ONE_THREAD      ",thread=single"
#define CHECK_EVERY     20

/*
 * What vCPUs use all the time: memory that stays, and memory that may be
 * somewhere else by now
 */
enum { CPU_TOUCH, CPU_RAM, CPU_VRAM, CPU_COMING, NUM_CPUS, CPU_PLUGGED = 4 };
#define WORK            300

/* Under TCG, CPUs that are gone count among those that there may be. */
#define MAX_PLUGS       4

/* What is used now and then: so many pages from there on */
#define TOUCH_OFFSET    (8 * MiB)
#define TOUCH_SIZE      (16 * MiB)
#define TOUCH           50

#define DIMM_SIZE       (8 * MiB)
#define NUM_DIMMS       4

#define VGA_DEV         4
#define PCI_COMMAND     0x04
#define PCI_BAR_0       0x10
#define PCI_BAR_2       0x18
#define PCI_MEMORY_ON   0x02
#define WINDOW_SIZE     (64 * MiB)

/* x86: memory or ROM below 1 MiB, and a CPU that comes and goes */
#define PAM1            0x5a
#define PAM_START       0xc0000
#define CPU_HOTPLUG         0xaf00
#define CPU_HOTPLUG_FLAGS   0x04
#define CPU_HOTPLUG_EJECT   0x08

/* Arm: a flash device with registers that may hide it */
#define FLASH           0x04000000
#define FLASH_STATUS    0x70
#define FLASH_READ      0xff

/**
 * Stress: what there is at the moment
 *
 * @g: the guest
 * @h: the other client
 * @dimm: which DIMMs are plugged
 * @plugs: how often a vCPU was plugged
 * @coming: where the first DIMM comes to on x86; on Arm the flash device
 * @start: what is harvested begins here
 * @end: and ends here
 */
typedef struct Stress {
    AgeGuest *g;
    AgeHarvester *h;
    bool dimm[NUM_DIMMS];
    unsigned plugs;
    uint64_t coming;
    uint64_t start;
    uint64_t end;
} Stress;

static unsigned any(unsigned n)
{
    return g_test_rand_int_range(0, n);
}

/* What the vCPUs do meanwhile.  A reset makes them forget it. */

static void send_work(Stress *s, unsigned cpu, unsigned what, uint64_t gpa)
{
    age_guest_send(s->g, cpu, what | AGE_GUEST_FLUSH | AGE_GUEST_REPEAT, gpa,
                   WORK, AGE_PAGE);
}

static void send_all_work(Stress *s)
{
    send_work(s, CPU_RAM, AGE_GUEST_READ | AGE_GUEST_WRITE, s->g->memory);
    send_work(s, CPU_VRAM, AGE_GUEST_READ | AGE_GUEST_WRITE,
              age_board_pci_window(0));
    send_work(s, CPU_COMING, AGE_GUEST_READ, s->coming);
    if (s->g->cpus > CPU_PLUGGED) {
        send_work(s, CPU_PLUGGED, AGE_GUEST_READ | AGE_GUEST_EXEC,
                  s->g->memory + TOUCH_OFFSET);
    }
}

static void end_all_work(Stress *s)
{
    for (unsigned cpu = CPU_RAM; cpu < s->g->cpus; cpu++) {
        age_guest_send(s->g, cpu, AGE_GUEST_READ, s->g->memory, 0, 0);
        age_guest_wait(s->g, cpu);
    }
}

/* Moves */

static void move_dimm(Stress *s)
{
    unsigned i = any(NUM_DIMMS);

    if (s->dimm[i]) {
        age_unplug_dimm(s->g->qts, i);
    } else {
        age_plug_dimm(s->g->qts, i, "8M");
    }
    s->dimm[i] = !s->dimm[i];
}

static void move_vram(Stress *s)
{
    age_pci_writel(s->g->qts, VGA_DEV, 0, PCI_BAR_0,
                   age_board_pci_window(any(2)) + any(2) * 16 * MiB);
}

static void toggle_vram(Stress *s)
{
    age_pci_writeb(s->g->qts, VGA_DEV, 0, PCI_COMMAND,
                   any(3) ? PCI_MEMORY_ON : 0);
}

/* Registers, which may come to lie in the middle of the video memory */
static void move_registers(Stress *s)
{
    age_pci_writel(s->g->qts, VGA_DEV, 0, PCI_BAR_2,
                   age_board_pci_window(0) + any(WORK) * AGE_PAGE);
}

static void toggle_rom(Stress *s)
{
    static const uint8_t pam[] = { 0, 1, 3 };

    if (age_is_x86()) {
        age_pci_writeb(s->g->qts, 0, 0, PAM1, pam[any(3)]);
    } else {
        qtest_writeb(s->g->qts, FLASH, any(2) ? FLASH_READ : FLASH_STATUS);
    }
}

static void plug_cpu(Stress *s)
{
    age_guest_not_ready(s->g, CPU_PLUGGED);
    qtest_qmp_device_add(s->g->qts, "max-x86_64-cpu", "cpu",
                         "{ 'socket-id': %d, 'core-id': 0,"
                         " 'thread-id': 0 }", CPU_PLUGGED);
    age_guest_touch(s->g, AGE_GUEST_CALL, 0, 0);
    age_guest_wait_ready(s->g, CPU_PLUGGED);
    s->g->cpus++;
    s->plugs++;
    send_all_work(s);
}

static void unplug_cpu(Stress *s)
{
    QTestState *qts = s->g->qts;

    s->g->cpus--;
    /* The first store switches from an older interface to this one. */
    qtest_outl(qts, CPU_HOTPLUG, 0);
    qtest_qmp_device_del_send(qts, "cpu");
    qtest_outl(qts, CPU_HOTPLUG, CPU_PLUGGED);
    qtest_outb(qts, CPU_HOTPLUG + CPU_HOTPLUG_FLAGS, CPU_HOTPLUG_EJECT);
    qtest_qmp_eventwait(qts, "DEVICE_DELETED");
}

static void move_cpu(Stress *s)
{
    if (!age_is_x86()) {
        return;
    }
    if (s->g->cpus > CPU_PLUGGED) {
        unplug_cpu(s);
    } else if (s->plugs < MAX_PLUGS) {
        plug_cpu(s);
    }
}

static void touch(Stress *s)
{
    uint64_t gpa = s->g->memory + TOUCH_OFFSET +
                   any(TOUCH_SIZE / AGE_PAGE - TOUCH) * AGE_PAGE;

    age_guest_touch(s->g, AGE_GUEST_WRITE | AGE_GUEST_FLUSH, gpa, TOUCH);
    age_guest_touch(s->g, AGE_GUEST_READ | AGE_GUEST_FLUSH,
                    age_is_x86() ? PAM_START : FLASH, 4);
}

static void harvest(Stress *s)
{
    age_flush_all(s->g->qts);
}

static void reset(Stress *s)
{
    if (any(3) == 0) {
        age_guest_reset(s->g);
        age_guest_put_code(s->g, s->g->memory + TOUCH_OFFSET, WORK);
        send_all_work(s);
    }
}

typedef void Move(Stress *s);

static Move *const moves[] = {
    move_dimm, move_vram, toggle_vram, move_registers, toggle_rom, move_cpu,
    touch, harvest, reset,
};

/* Nobody uses that, at no time. */
static bool must_be_old(const Stress *s, uint64_t gpa)
{
    const AgeGuest *g = s->g;
    uint64_t touched = g->memory + TOUCH_OFFSET, vram = age_board_pci_window(0);

    /* Below what is the test's, the guest has its tables and mailboxes. */
    return !(gpa >= age_arch()->ram && gpa < g->memory + AGE_BLOCK) &&
           !(gpa >= touched && gpa < touched + TOUCH_SIZE) &&
           !(gpa >= vram && gpa < vram + AGE_BLOCK);
}

static void check_tally(const Stress *s, const AgeTally *t)
{
    for (uint64_t gpa = t->start; gpa < t->end; gpa += AGE_PAGE) {
        unsigned times = t->times[(gpa - t->start) / AGE_PAGE];

        if (must_be_old(s, gpa)) {
            g_assert_cmpuint(times, ==, 0);
        }
        if (gpa >= s->g->memory && gpa < s->g->memory + WORK * AGE_PAGE) {
            g_assert_cmpuint(times, >, 0);
        }
    }
}

static void begin_harvests(Stress *s)
{
    age_harvester_start(s->h, s->start, s->end, NULL);
}

static void end_harvests(Stress *s)
{
    age_guest_wait_round(s->g, CPU_RAM);
    age_harvester_wait(s->h, s->h->passes + 2);
    age_harvester_stop(s->h);
    check_tally(s, &s->h->tally);
}

/* Where DIMMs come to, and where nothing of the guest's is on Arm */
static uint64_t find_coming(AgeGuest *g)
{
    g_autoptr(GArray) slots = NULL;
    uint64_t gpa = FLASH;

    if (!age_is_x86()) {
        return gpa;
    }
    age_plug_dimm(g->qts, 0, "8M");
    slots = age_slots(g->qts);
    for (unsigned i = 0; i < slots->len; i++) {
        AgeSlotInfo *slot = &g_array_index(slots, AgeSlotInfo, i);

        if (slot->size == DIMM_SIZE) {
            gpa = slot->gpa;
        }
    }
    age_unplug_dimm(g->qts, 0);
    g_assert_cmphex(gpa, !=, FLASH);
    return gpa;
}

static Stress *start(const char *accel)
{
    AgeHarvester *h = age_harvester_new();
    g_autofree char *monitor = age_harvester_args(h);
    g_autofree char *args = g_strdup_printf(
        "-device VGA,addr=4.0,romfile= %s %s", monitor,
        age_is_x86() ? "-smp 4,maxcpus=8,sockets=8" : "");
    AgeGuestOptions options = {
        .machine = age_board_machine(),
        .memory = AGE_BOARD_MEMORY,
        .accel = accel,
        .args = args,
        .cpus = NUM_CPUS,
    };
    Stress *s = g_new0(Stress, 1);

    s->h = h;
    if (g_str_equal(accel, ONE_THREAD)) {
        /* QEMU waits for a thread to end which others still need. */
        s->plugs = MAX_PLUGS;
    }
    s->g = age_guest_start(&options);
    s->coming = find_coming(s->g);
    s->start = MIN(s->g->memory, age_board_pci_window(0));
    s->end = MAX(s->g->end, age_board_pci_window(1) + WINDOW_SIZE);
    age_guest_put_code(s->g, s->g->memory + TOUCH_OFFSET, WORK);
    return s;
}

/* Have all tables that memory which stays will ever need */
static uint64_t count_tables(Stress *s)
{
    AgeGuest *g = s->g;

    age_guest_send(g, 0, AGE_GUEST_READ | AGE_GUEST_FLUSH, g->memory,
                   (g->end - g->memory) / AGE_BLOCK, AGE_BLOCK);
    age_guest_wait(g, 0);
    age_guest_touch(g, AGE_GUEST_READ | AGE_GUEST_FLUSH,
                    age_is_x86() ? PAM_START : FLASH, 4);
    age_check(g);
    return age_all_tables(g->qts);
}

/* Everything that came goes again, and nothing of it stays behind. */
static void remove_all(Stress *s)
{
    for (unsigned i = 0; i < NUM_DIMMS; i++) {
        if (s->dimm[i]) {
            age_unplug_dimm(s->g->qts, i);
        }
    }
    age_pci_writeb(s->g->qts, VGA_DEV, 0, PCI_COMMAND, 0);
    if (!age_is_x86()) {
        qtest_writeb(s->g->qts, FLASH, FLASH_READ);
    }
}

static void test_stress(const void *accel)
{
    Stress *s = start(accel);
    uint64_t tables = count_tables(s);

    age_flush_all(s->g->qts);
    send_all_work(s);
    begin_harvests(s);
    for (unsigned i = 1; i <= STEPS; i++) {
        moves[any(G_N_ELEMENTS(moves))](s);
        if (i % CHECK_EVERY == 0) {
            end_harvests(s);
            age_check(s->g);
            begin_harvests(s);
        }
    }
    end_harvests(s);
    end_all_work(s);
    remove_all(s);
    g_assert_cmpuint(count_tables(s), ==, tables);
    age_guest_quit(s->g);
    age_harvester_free(s->h);
    g_free(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_data_func("age/move/4k", "", test_stress);
    qtest_add_data_func("age/move/2m", ",page-size=2m", test_stress);
    qtest_add_data_func("age/move/one-thread", ONE_THREAD, test_stress);

    return g_test_run();
}
