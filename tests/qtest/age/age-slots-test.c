/*
 * age: memory that comes and goes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "board.h"
#include "guest.h"
#include "harvester.h"
#include "qmp.h"

#define DIMM_SIZE       (8 * MiB)
#define VRAM_SIZE       (16 * MiB)
#define VGA_DEV         4
#define PCI_COMMAND     0x04
#define PCI_BAR_0       0x10
#define PCI_BAR_2       0x18
#define PCI_MEMORY_ON   0x02

static AgeGuest *start(const char *args, unsigned cpus)
{
    AgeGuestOptions options = {
        .machine = age_board_machine(),
        .memory = AGE_BOARD_MEMORY,
        .args = args,
        .cpus = cpus,
    };

    return age_guest_start(&options);
}

/* The slot of @space with a size that no other one has */
static bool find_size(QTestState *qts, const char *space, uint64_t size,
                      AgeSlotInfo *slot)
{
    g_autoptr(GArray) slots = age_slots(qts);

    for (unsigned i = 0; i < slots->len; i++) {
        *slot = g_array_index(slots, AgeSlotInfo, i);
        if (slot->size == size && g_str_equal(slot->space, space)) {
            return true;
        }
    }
    return false;
}

/* A harvest by host addresses, of memory that may be nobody's by now */
static uint64_t count_hva(QTestState *qts, uint64_t hva, uint64_t size)
{
    QList *ranges = qlist_new();
    g_autoptr(QDict) result = NULL;
    QDict *range;

    age_add_test_range(ranges, hva, hva + size);
    result = age_harvest(qts, ranges,
                         "{ \"address\": \"hva\", \"format\": \"count\" }");
    range = qobject_to(QDict, qlist_peek(qdict_get_qlist(result, "ranges")));
    return qdict_get_int(range, "young-pages");
}

static void check_no_memory(QTestState *qts, uint64_t start, uint64_t end)
{
    QList *ranges = qlist_new();
    g_autoptr(QDict) error = NULL;

    age_add_clear_range(ranges, start, end);
    error = qtest_qmp_assert_failure_ref(
        qts, "{ 'execute': 'age-test-clear-young', 'arguments': %p }",
        age_harvest_args(ranges, NULL));
    g_assert_nonnull(strstr(qdict_get_str(error, "desc"),
                            "meets no memory of the guest"));
}

/* Table pages are given back when nobody can be walking in them any more. */
static void wait_tables(QTestState *qts, uint64_t want)
{
    int64_t deadline = 0;

    while (age_num_tables(qts, age_arch()->leaf_level) != want) {
        age_poll(&deadline);
    }
}

static void check_conserved(AgeGuest *g)
{
    age_guest_stop(g);
    age_check_conserved(g->qts);
    age_guest_cont(g);
}

/*
 * Use memory that has just come: it is old, becomes young by pages, and can be
 * harvested.  Some pages are young in the end.
 */
static void use_slot(AgeGuest *g, const AgeSlotInfo *slot)
{
    uint64_t gpa = slot->gpa + 5 * AGE_PAGE, end = slot->gpa + slot->size;
    GArray *want = age_pages_new();
    AgeLeafInfo leaf;

    g_assert(!age_leaf(g->qts, "memory", gpa, &leaf));
    g_assert_cmpuint(age_count(g->qts, slot->gpa, end, false), ==, 0);

    age_guest_touch(g, AGE_GUEST_WRITE, gpa, 600);
    age_pages_add(want, gpa, 600, AGE_PAGE);
    age_assert_same_pages(age_young_pages(g->qts, slot->gpa, end, false),
                          want);
    g_assert(age_leaf(g->qts, "memory", gpa, &leaf));
    g_assert(leaf.accessed && leaf.dirty);
    g_assert_cmphex(leaf.address, ==, slot->hva + (gpa - slot->gpa));
    g_assert_cmpuint(age_count(g->qts, gpa, gpa + 99 * AGE_PAGE, true), ==,
                     99);
    g_assert_cmpuint(count_hva(g->qts, slot->hva, slot->size), ==, 501);
}

/* Nothing is left of a slot whose memory is gone from @gpa. */
static void check_gone(AgeGuest *g, uint64_t gpa, uint64_t size)
{
    AgeSlotInfo slot;
    AgeLeafInfo leaf;

    g_assert(!age_find_slot(g->qts, "memory", gpa, &slot));
    for (unsigned i = 0; i < 700; i += 7) {
        g_assert(!age_leaf(g->qts, "memory", gpa + i * AGE_PAGE, &leaf));
    }
    check_no_memory(g->qts, gpa, gpa + size);
}

static void test_dimm(void)
{
    AgeGuest *g = start("", 1);
    uint64_t tables = age_num_tables(g->qts, age_arch()->leaf_level);
    AgeSlotInfo slot;

    for (unsigned i = 0; i < 5; i++) {
        uint64_t zapped = age_counter(g->qts, "zapped");

        g_assert(!find_size(g->qts, "memory", DIMM_SIZE, &slot));
        age_plug_dimm(g->qts, i % 2, "8M");
        g_assert(find_size(g->qts, "memory", DIMM_SIZE, &slot));
        g_assert(!slot.readonly);
        use_slot(g, &slot);
        age_unplug_dimm(g->qts, i % 2);
        check_gone(g, slot.gpa, DIMM_SIZE);
        wait_tables(g->qts, tables);
        g_assert_cmpuint(age_counter(g->qts, "zapped"), ==, zapped + 501);
        check_conserved(g);
    }
    age_guest_quit(g);
}

/* A range over memory, nothing, and memory again: holes are passed over. */
static void test_hole(void)
{
    AgeGuest *g = start("", 1);
    GArray *want = age_pages_new();
    AgeSlotInfo slot;

    age_plug_dimm(g->qts, 0, "8M");
    g_assert(find_size(g->qts, "memory", DIMM_SIZE, &slot));
    g_assert_cmphex(slot.gpa, >, g->end);
    age_guest_touch(g, AGE_GUEST_READ, g->end - 3 * AGE_PAGE, 3);
    age_guest_touch(g, AGE_GUEST_READ, slot.gpa, 2);
    age_guest_touch(g, AGE_GUEST_READ, slot.gpa + slot.size - AGE_PAGE, 1);

    age_pages_add(want, g->end - 3 * AGE_PAGE, 3, AGE_PAGE);
    age_pages_add(want, slot.gpa, 2, AGE_PAGE);
    age_pages_add(want, slot.gpa + slot.size - AGE_PAGE, 1, 0);
    if (age_is_x86()) {
        /* The firmware is between the two. */
        age_pages_add(want, age_arch()->code, 1, 0);
    }
    age_guest_stop(g);
    age_assert_same_pages(age_young_pages(g->qts, g->end - AGE_BLOCK,
                                          slot.gpa + slot.size, true), want);
    g_assert_cmpuint(age_count(g->qts, g->memory, slot.gpa + slot.size, true),
                     ==, 0);
    age_guest_quit(g);
}

/* Plug a DIMM, use it, and unplug it; it comes to the same place each time. */
static void plug_and_use(AgeGuest *g, uint64_t gpa, bool clear)
{
    age_plug_dimm(g->qts, 0, "8M");
    age_guest_touch(g, AGE_GUEST_WRITE, gpa, 600);
    g_assert_cmpuint(age_count(g->qts, gpa, gpa + DIMM_SIZE, clear), ==, 600);
    age_unplug_dimm(g->qts, 0);
}

static uint64_t dimm_address(AgeGuest *g)
{
    AgeSlotInfo slot;

    age_plug_dimm(g->qts, 0, "8M");
    g_assert(find_size(g->qts, "memory", DIMM_SIZE, &slot));
    age_unplug_dimm(g->qts, 0);
    return slot.gpa;
}

/*
 * While memory comes and goes, another client harvests what stays, of which a
 * vCPU accesses a part; and no access is lost.
 */
static void test_dimm_busy(void)
{
    AgeHarvester *h = age_harvester_new();
    g_autofree char *args = age_harvester_args(h);
    AgeGuest *g = start(args, 2);
    uint64_t gpa = dimm_address(g);

    age_guest_send(g, 1, AGE_GUEST_READ | AGE_GUEST_FLUSH | AGE_GUEST_REPEAT,
                   g->memory, 100, AGE_PAGE);
    age_harvester_start(h, g->memory, g->end, NULL);
    for (unsigned i = 0; i < 30; i++) {
        plug_and_use(g, gpa, i % 2);
    }
    age_harvester_wait(h, 100);
    age_guest_send(g, 1, AGE_GUEST_READ, g->memory, 0, 0);
    age_guest_wait(g, 1);
    age_harvester_stop(h);

    for (unsigned i = 0; i < (g->end - g->memory) / AGE_PAGE; i++) {
        g_assert((h->tally.times[i] > 0) == (i < 100));
    }
    check_conserved(g);
    age_harvester_free(h);
    age_guest_quit(g);
}

/* Video memory */

static void set_bar(AgeGuest *g, uint64_t gpa)
{
    age_pci_writel(g->qts, VGA_DEV, 0, PCI_BAR_0, gpa);
}

static void set_memory(AgeGuest *g, bool on)
{
    age_pci_writeb(g->qts, VGA_DEV, 0, PCI_COMMAND, on ? PCI_MEMORY_ON : 0);
}

static AgeGuest *start_vga(void)
{
    return start("-device VGA,addr=4.0,romfile=", 1);
}

/* The same memory at two places, one after the other: each time it is old. */
static void use_two_places(AgeGuest *g, uint64_t first, uint64_t second)
{
    AgeSlotInfo slot, moved;

    set_bar(g, first);
    set_memory(g, true);
    g_assert(find_size(g->qts, "memory", VRAM_SIZE, &slot));
    g_assert_cmphex(slot.gpa, ==, first);
    use_slot(g, &slot);

    set_bar(g, second);
    g_assert(find_size(g->qts, "memory", VRAM_SIZE, &moved));
    g_assert_cmphex(moved.gpa, ==, second);
    g_assert_cmphex(moved.hva, ==, slot.hva);
    check_gone(g, first, VRAM_SIZE);
    g_assert_cmpuint(count_hva(g->qts, slot.hva, VRAM_SIZE), ==, 0);
    use_slot(g, &moved);
}

static void test_bar(void)
{
    AgeGuest *g = start_vga();
    uint64_t tables = age_num_tables(g->qts, age_arch()->leaf_level);
    AgeSlotInfo slot;

    g_assert(!find_size(g->qts, "memory", VRAM_SIZE, &slot));
    for (unsigned i = 0; i < 3; i++) {
        uint64_t first = age_board_pci_window(0);
        uint64_t second = age_board_pci_window(1) + i * VRAM_SIZE;

        use_two_places(g, first, second);
        set_memory(g, false);
        check_gone(g, second, VRAM_SIZE);
        wait_tables(g->qts, tables);
        check_conserved(g);
    }
    age_guest_quit(g);
}

static uint64_t count_block(AgeGuest *g, uint64_t gpa, bool clear_first)
{
    if (clear_first) {
        age_count(g->qts, gpa, gpa + AGE_PAGE, true);
    }
    return age_count(g->qts, gpa, gpa + AGE_BLOCK, false);
}

static void set_registers(AgeGuest *g, uint64_t gpa)
{
    age_pci_writel(g->qts, VGA_DEV, 0, PCI_BAR_2, gpa);
}

/*
 * Registers that come to lie in the middle of a young block: it is split, all
 * of its parts are young, and the one that is hidden is gone.
 */
static void test_split(void)
{
    AgeGuestOptions options = {
        .machine = age_board_machine(),
        .accel = ",page-size=2m",
        .args = "-device VGA,addr=4.0,romfile=",
    };
    AgeGuest *g = age_guest_start(&options);
    uint64_t gpa = age_board_pci_window(0), hidden = gpa + 3 * AGE_PAGE;
    AgeLeafInfo leaf;
    AgeSlotInfo slot;

    set_bar(g, gpa);
    set_memory(g, true);
    age_guest_touch(g, AGE_GUEST_WRITE, gpa + 5 * AGE_PAGE, 1);
    g_assert_cmpuint(count_block(g, gpa, false), ==, 512);
    set_registers(g, hidden);
    g_assert(!age_find_slot(g->qts, "memory", hidden, &slot));
    g_assert(!age_leaf(g->qts, "memory", hidden, &leaf));
    g_assert_cmpuint(count_block(g, gpa, false), ==, 511);
    g_assert_cmpuint(age_counter(g->qts, "inherited"), ==, 511);

    /* The pages are on their own now, and one can be made old alone. */
    g_assert_cmpuint(count_block(g, gpa, true), ==, 510);
    set_registers(g, age_board_pci_window(1));
    age_guest_touch(g, AGE_GUEST_READ, hidden, 1);
    g_assert_cmpuint(count_block(g, gpa, false), ==, 511);
    check_conserved(g);
    age_guest_quit(g);
}

/* A neighbour that comes and goes takes nothing from what stays. */
static void test_neighbour(void)
{
    AgeGuest *g = start_vga();

    age_guest_touch(g, AGE_GUEST_WRITE, g->memory, 50);
    set_bar(g, age_board_pci_window(0));
    for (unsigned i = 0; i < 10; i++) {
        set_memory(g, i % 2 == 0);
        g_assert_cmpuint(age_count(g->qts, g->memory, g->end, false), ==, 50);
    }
    g_assert_cmpuint(age_counter(g->qts, "zapped"), ==, 0);
    age_guest_quit(g);
}

/*
 * A reset: the memory of the board is as it was, what was plugged stays, and
 * the BAR loses its address.  What happens before and after is counted.
 */
static void check_after_reset(AgeGuest *g, uint64_t hva, uint64_t dimm)
{
    AgeSlotInfo slot;

    g_assert(age_find_slot(g->qts, "memory", g->memory, &slot));
    g_assert_cmphex(slot.hva, ==, hva);
    g_assert(find_size(g->qts, "memory", DIMM_SIZE, &slot));
    g_assert_cmphex(slot.gpa, ==, dimm);
    check_gone(g, age_board_pci_window(0), VRAM_SIZE);

    age_flush_all(g->qts);
    age_guest_touch(g, AGE_GUEST_READ, g->memory + AGE_PAGE, 20);
    age_guest_touch(g, AGE_GUEST_READ, dimm, 20);
    g_assert_cmpuint(age_count(g->qts, g->memory, g->end, false), ==, 20);
    g_assert_cmpuint(age_count(g->qts, dimm, dimm + DIMM_SIZE, false), ==,
                     20);
}

static void test_reset(void)
{
    AgeGuest *g = start_vga();
    AgeSlotInfo ram, dimm;

    g_assert(age_find_slot(g->qts, "memory", g->memory, &ram));
    age_plug_dimm(g->qts, 0, "8M");
    g_assert(find_size(g->qts, "memory", DIMM_SIZE, &dimm));

    for (unsigned i = 0; i < 3; i++) {
        set_bar(g, age_board_pci_window(0));
        set_memory(g, true);
        age_guest_touch(g, AGE_GUEST_WRITE, age_board_pci_window(0), 10);
        age_guest_reset(g);
        check_after_reset(g, ram.hva, dimm.gpa);
        check_conserved(g);
    }
    age_guest_quit(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("age/slots/dimm", test_dimm);
    qtest_add_func("age/slots/hole", test_hole);
    qtest_add_func("age/slots/dimm-busy", test_dimm_busy);
    qtest_add_func("age/slots/bar", test_bar);
    qtest_add_func("age/slots/split", test_split);
    qtest_add_func("age/slots/neighbour", test_neighbour);
    qtest_add_func("age/slots/reset", test_reset);

    return g_test_run();
}
