/*
 * The number of the harvest, and who may still stamp with which
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/memalign.h"
#include "clock.h"

/* How to wait: so often by yielding, and then by sleeping so long */
#define YIELDS      1000
#define SLEEP_US    50

void age_clock_init(AgeClock *clock, uint64_t first)
{
    *clock = (AgeClock) { .now = first };
}

void age_clock_destroy(AgeClock *clock)
{
    AgeTeller *next;

    for (AgeTeller *t = clock->first; t; t = next) {
        next = t->next;
        assert(!t->taken);
        qemu_vfree(t);
    }
}

static AgeTeller *new_teller(AgeClock *clock)
{
    AgeTeller *t = qemu_memalign(sizeof(*t), sizeof(*t));
    AgeTeller *first = qatomic_read(&clock->first);

    *t = (AgeTeller) { .taken = 1 };
    do {
        t->next = first;
        first = qatomic_cmpxchg(&clock->first, t->next, t);
    } while (first != t->next);
    return t;
}

AgeTeller *age_clock_join(AgeClock *clock)
{
    AgeTeller *t = qatomic_load_acquire(&clock->first);

    for (; t; t = t->next) {
        if (!qatomic_read(&t->taken) && !qatomic_cmpxchg(&t->taken, 0, 1)) {
            return t;
        }
    }
    return new_teller(clock);
}

void age_clock_leave(AgeTeller *t)
{
    qatomic_store_release(&t->taken, 0);
}

/*
 * Between the look at the number and telling it, whoever reads may have handed
 * it out already.  So look again, and tell the new one if it has changed.
 */
uint64_t age_clock_begin(AgeClock *clock, AgeTeller *t)
{
    uint64_t seen = qatomic_read(&clock->now);
    uint64_t number;

    do {
        number = seen;
        qatomic_set(&t->number, number);
        /* Pairs with the barrier in age_clock_settled(). */
        smp_mb();
        seen = qatomic_read(&clock->now);
    } while (seen != number);
    return number;
}

uint64_t age_clock_tick(AgeClock *clock)
{
    uint64_t number = qatomic_read(&clock->now);

    /*
     * Who begins with the new number sees what was changed before: flags that
     * were zapped, so as to forget their pages.
     */
    qatomic_store_release(&clock->now, number + 1);
    return number;
}

uint64_t age_clock_settled(const AgeClock *clock)
{
    uint64_t limit = qatomic_read(&clock->now) - 1;

    /*
     * Pairs with the barrier in age_clock_begin(): either we see what is told
     * there, or the number that we saw is seen there.
     */
    smp_mb();
    for (const AgeTeller *t = qatomic_load_acquire(&clock->first); t;
         t = t->next) {
        uint64_t number = qatomic_load_acquire(&t->number);

        if (number) {
            limit = MIN(limit, number - 1);
        }
    }
    return limit;
}

/*
 * A table takes microseconds.  If it takes long, who stamps it may have lost
 * its processor to us, and yielding is no help if we have the higher priority.
 */
void age_clock_settle(const AgeClock *clock, uint64_t number)
{
    unsigned rounds = 0;

    while (age_clock_settled(clock) < number) {
        if (rounds++ < YIELDS) {
            g_thread_yield();
        } else {
            g_usleep(SLEEP_US);
        }
    }
}
