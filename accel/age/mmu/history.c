/*
 * The history that harvests stamp, if there is one
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "qemu/timer.h"
#include "accel/age/pt/contract.h"
#include "history.h"

/* Changed with the BQL held, read in RCU read-side critical sections */
static AgeHistory *current;

void age_history_attach(AgeHistory *h)
{
    assert(bql_locked() && !current);
    qatomic_rcu_set(&current, h);
}

void age_history_detach(void)
{
    assert(bql_locked());
    qatomic_rcu_set(&current, NULL);
}

AgeHistory *age_history_current(void)
{
    assert(age_in_rcu_read());
    return qatomic_rcu_read(&current);
}

uint64_t age_history_now_ms(void)
{
    return get_clock() / SCALE_MS;
}

AgeStamper *age_history_join(AgeStamper *st, bool dirty)
{
    AgeHistory *h = age_history_current();

    if (!h || (dirty && !h->dirty)) {
        return NULL;
    }
    age_history_pass(h, age_history_now_ms());
    age_stamper_init(st, h, dirty);
    return st;
}

void age_history_gone(uint64_t start, uint64_t end)
{
    AgeHistory *h;

    RCU_READ_LOCK_GUARD();
    h = age_history_current();
    if (h) {
        age_history_forget(h, start >> AGE_PAGE_SHIFT,
                           (end - start) >> AGE_PAGE_SHIFT,
                           age_history_now_ms());
    }
}

void age_history_loaded(void)
{
    AgeHistory *h;

    RCU_READ_LOCK_GUARD();
    h = age_history_current();
    if (h) {
        age_history_new_generation(h, age_history_now_ms());
    }
}
