/*
 * Harvests that a history makes by itself
 *
 * A thread of its own harvests all memory at a steady pace: the n-th pass is
 * due n intervals after the start, however long those before it took.  What is
 * due while a pass is under way is counted as missed.  It takes no lock that
 * the main loop or a vCPU could hold for long, goes on while the guest is
 * stopped, and ends with the object.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "qapi/qapi-events-age-history.h"
#include "system/age.h"
#include "accel/age/mmu/generation.h"
#include "accel/age/trace.h"
#include "all-memory.h"
#include "harvest-ranges.h"
#include "history-thread.h"

/*
 * QEMU's own limit of events is for who holds the BQL: its timer may be found
 * neither pending nor done otherwise.
 */
#define EVENT_NS    NANOSECONDS_PER_SECOND

void age_history_harvested(HistoryState *s, uint64_t begin_ns)
{
    qatomic_set(&s->pass_ns, get_clock() - begin_ns);
    qatomic_inc(&s->harvests);
}

/* In stretches, so that RCU callbacks and the end need not wait for all. */
static void harvest_range(const HistoryState *s, const AgeRangeArg *range,
                          bool dirty)
{
    uint64_t start = range->start;

    while (start < range->end && !qatomic_read(&s->stop)) {
        AgeYoung y = {
            .start = start,
            .end = MIN(range->end, start + AGE_HARVEST_WINDOW),
            .dirty = dirty,
        };

        age_test_clear_young(&y, false, NULL, NULL);
        start = y.end;
    }
}

/*
 * Memory that goes meanwhile is not there any more; what comes is found by the
 * next pass.
 */
static void harvest_all(const HistoryState *s, bool dirty)
{
    AgeRangeArgList *all = age_all_memory(AGE_ADDRESS_TYPE_HVA, NULL);

    for (AgeRangeArgList *l = all; l; l = l->next) {
        harvest_range(s, l->value, dirty);
    }
    qapi_free_AgeRangeArgList(all);
}

/* Bytes that were found young after @ms, the time of a pass */
static uint64_t young_since(HistoryState *s, uint64_t ms)
{
    uint64_t now = age_history_now_ms();
    uint64_t bin = MAX(now - ms, 1);
    uint64_t pages[2];

    age_history_idle(&s->h, 0, now, &bin, 1, pages);
    return pages[0] << AGE_PAGE_SHIFT;
}

/* Returns when it ended, in ms. */
static uint64_t make_pass(HistoryState *s, uint64_t last_ms)
{
    uint64_t generation = age_generation();
    uint64_t begin = get_clock();
    uint64_t next, young;

    harvest_all(s, false);
    if (s->h.dirty) {
        harvest_all(s, true);
    }
    next = age_history_hand_out(s);
    age_history_harvested(s, begin);
    young = young_since(s, last_ms);
    qatomic_set(&s->young, young);
    trace_age_history_pass(s->id, next, young, qatomic_read(&s->pass_ns));
    if (s->events && get_clock() >= s->next_event_ns) {
        s->next_event_ns = get_clock() + EVENT_NS;
        qapi_event_send_age_history_pass(s->id, generation, next, young,
                                         qatomic_read(&s->pass_ns));
    }
    return age_history_now_ms();
}

/* Wait until the next pass is due; returns false if there is none. */
static bool wait_until(HistoryState *s, int64_t due_us)
{
    bool stop;

    g_mutex_lock(&s->lock);
    while (!s->stop && g_cond_wait_until(&s->wake, &s->lock, due_us)) {
        /* Woken up for nothing, or to stop */
    }
    stop = s->stop;
    g_mutex_unlock(&s->lock);
    return !stop;
}

static void *history_thread(void *opaque)
{
    HistoryState *s = opaque;
    int64_t interval_us = s->interval * 1000LL;
    int64_t due_us = g_get_monotonic_time() + interval_us;
    uint64_t last_ms = age_history_now_ms();

    rcu_register_thread();
    while (wait_until(s, due_us)) {
        int64_t late_us;
        uint64_t missed;

        last_ms = make_pass(s, last_ms);
        due_us += interval_us;
        late_us = g_get_monotonic_time() - due_us;
        missed = late_us > 0 ? late_us / interval_us + 1 : 0;
        qatomic_add(&s->missed, missed);
        due_us += missed * interval_us;
    }
    rcu_unregister_thread();
    return NULL;
}

void age_history_start(HistoryState *s)
{
    assert(bql_locked() && s->interval);
    qemu_thread_create(&s->thread, "age-history", history_thread, s,
                       QEMU_THREAD_JOINABLE);
}

void age_history_stop(HistoryState *s)
{
    assert(bql_locked() && s->interval);
    g_mutex_lock(&s->lock);
    qatomic_set(&s->stop, true);
    g_cond_signal(&s->wake);
    g_mutex_unlock(&s->lock);
    qemu_thread_join(&s->thread);
}
