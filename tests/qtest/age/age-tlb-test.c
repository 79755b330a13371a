/*
 * age: TLBs that grow without a flush by the guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "guest.h"
#include "qmp.h"

/* More than fit into QEMU's TLB at the start, which has 256 entries */
#define NUM_PAGES   4096

/* Fewer fills than this are of a TLB into which all of it fits. */
#define FEW         (NUM_PAGES / 8)

/* Until it has doubled four times and more, each time after 2 fills an entry */
#define PASSES      16

static AgeGuest *start(const char *accel)
{
    AgeGuestOptions options = { .accel = accel };

    return age_guest_start(&options);
}

/* Fills that it takes to read all pages once */
static uint64_t fills_of_pass(AgeGuest *g)
{
    uint64_t fills = age_counter(g->qts, "fills");

    age_guest_touch(g, AGE_GUEST_READ, g->memory, NUM_PAGES);
    return age_counter(g->qts, "fills") - fills;
}

static uint64_t fills_of_last_pass(AgeGuest *g)
{
    for (unsigned i = 1; i < PASSES; i++) {
        fills_of_pass(g);
    }
    return fills_of_pass(g);
}

static void set_grow(AgeGuest *g, bool on)
{
    qtest_qmp_assert_success(g->qts,
        "{ 'execute': 'qom-set', 'arguments': { 'path': '/machine/age', "
        "'property': 'tlb-grow', 'value': %i } }", on);
}

/* The guest never flushes, and still its pages come to fit. */
static void test_on(void)
{
    AgeGuest *g = start(",tlb-grow=on");

    g_assert_cmpuint(fills_of_pass(g), >=, NUM_PAGES);
    g_assert_cmpuint(fills_of_last_pass(g), <, FEW);
    age_guest_quit(g);
}

/* As under -accel tcg, until it is switched on */
static void test_off(void)
{
    AgeGuest *g = start(",tlb-grow=off");

    g_assert_cmpuint(fills_of_last_pass(g), >=, NUM_PAGES - 256);
    set_grow(g, true);
    g_assert_cmpuint(fills_of_last_pass(g), <, FEW);
    age_guest_quit(g);
}

/* The same guest does the same each time. */
static void test_same(void)
{
    uint64_t fills[2];

    for (unsigned i = 0; i < ARRAY_SIZE(fills); i++) {
        AgeGuest *g = start(",tlb-grow=on");

        fills[i] = age_counter(g->qts, "fills");
        fills_of_last_pass(g);
        fills[i] = age_counter(g->qts, "fills") - fills[i];
        age_guest_quit(g);
    }
    g_assert_cmpuint(fills[0], <, fills[1] + FEW);
    g_assert_cmpuint(fills[1], <, fills[0] + FEW);
}

/* What a larger TLB holds on to is seen again after a flush, as ever. */
static void test_flush(void)
{
    AgeGuest *g = start(",tlb-grow=on,flush=request");
    uint64_t end = g->memory + NUM_PAGES * AGE_PAGE;

    fills_of_last_pass(g);
    g_assert_cmpuint(age_count(g->qts, g->memory, end, true), ==, NUM_PAGES);
    age_guest_touch(g, AGE_GUEST_READ, g->memory, NUM_PAGES / 2);
    g_assert_cmpuint(age_count(g->qts, g->memory, end, true), ==,
                     NUM_PAGES / 2);
    age_guest_quit(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/age/tlb/on", test_on);
    qtest_add_func("/age/tlb/off", test_off);
    qtest_add_func("/age/tlb/same", test_same);
    qtest_add_func("/age/tlb/flush", test_flush);
    return g_test_run();
}
