/*
 * What commands, harvests and a thread use of a history
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MONITOR_HISTORY_STATE_H
#define ACCEL_AGE_MONITOR_HISTORY_STATE_H

#include "qemu/rcu.h"
#include "qapi/qapi-types-age-history.h"
#include "accel/age/mmu/history.h"
#include "accel/age/pt/reaper.h"

/**
 * HistoryState: a history
 *
 * @rcu: for the object's own reference
 * @reap: frees it
 * @refs: who uses it; atomic
 * @h: the stamps
 * @id: the object's
 * @interval: milliseconds between passes; 0 for none.  As @flush and @events,
 *     what the user has set; does not change
 * @flush: what to do about TLBs after a harvest
 * @events: emit one for each pass
 * @harvests: made by the thread and for readers; atomic
 * @missed: passes that the thread was too late for; atomic
 * @pass_ns: what the last harvest took; atomic
 * @young: bytes that the last pass has found young, and others since the one
 *     before; atomic
 * @next_event_ns: when the next event may come; the thread's own
 * @thread: makes passes, if there is an @interval
 * @lock: protects @stop
 * @wake: signalled when @stop is set
 * @stop: the thread shall end; atomic
 */
typedef struct HistoryState {
    struct rcu_head rcu;
    AgeReap reap;
    unsigned refs;
    AgeHistory h;
    char *id;
    uint32_t interval;
    AgeFlush flush;
    bool events;
    uint64_t harvests;
    uint64_t missed;
    uint64_t pass_ns;
    uint64_t young;
    int64_t next_event_ns;
    QemuThread thread;
    GMutex lock;
    GCond wake;
    bool stop;
} HistoryState;

/**
 * age_history_find: the history with an ID
 * @id: the ID
 * @errp: set if there is none
 *
 * Returns: the history, for age_history_put(); NULL on error.  If its object is
 *     deleted meanwhile, it stays as it was, and harvests stamp it no more.
 * Context: any thread, with or without the BQL.
 */
HistoryState *age_history_find(const char *id, Error **errp);

/* The history there is, or NULL.  Otherwise as age_history_find() */
HistoryState *age_history_any(void);

/**
 * age_history_put: done with it
 * @s: the history
 *
 * Context: any thread, with or without the BQL.
 */
void age_history_put(HistoryState *s);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(HistoryState, age_history_put)

/**
 * age_history_hand_out: a number for a reader to ask with next time
 * @s: the history
 *
 * To be called before the reader looks at the first stamp.  Requests that TLBs
 * are flushed, as @s->flush says, of what anybody has stamped by then: it is
 * not told to who asks with the number, but what is accessed after that is.
 *
 * Returns: the number.
 * Context: any thread that is not harvesting, with or without the BQL.
 */
uint64_t age_history_hand_out(HistoryState *s);

/**
 * age_history_kind: which of the two kinds of a history is asked for?
 * @s: the history
 * @dirty: stores, rather than accesses
 * @kind: set to it
 * @errp: set if stores are not remembered
 *
 * Returns: false on error.
 * Context: any thread.
 */
bool age_history_kind(const HistoryState *s, bool dirty, unsigned *kind,
                      Error **errp);

#endif /* ACCEL_AGE_MONITOR_HISTORY_STATE_H */
