/*
 * What commands, harvests and a thread use of a history
 *
 * It is not the object: commands may run out of band, where that could go
 * meanwhile.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "qapi/error.h"
#include "accel/age/tcg/flush.h"
#include "command.h"
#include "history-state.h"

HistoryState *age_history_any(void)
{
    HistoryState *s;
    AgeHistory *h;

    RCU_READ_LOCK_GUARD();
    h = age_history_current();
    if (!h) {
        return NULL;
    }
    /* The object's own reference is given up a grace period from now. */
    s = container_of(h, HistoryState, h);
    qatomic_inc(&s->refs);
    return s;
}

HistoryState *age_history_find(const char *id, Error **errp)
{
    g_autoptr(HistoryState) s = NULL;

    if (!age_check_enabled(errp)) {
        return NULL;
    }
    s = age_history_any();
    if (!s) {
        error_setg(errp, "there is no history '%s'; add one with -object "
                   "age-history,id=%s", id, id);
        return NULL;
    }
    if (!g_str_equal(s->id, id)) {
        error_setg(errp, "there is no history '%s'; the one there is is '%s'",
                   id, s->id);
        return NULL;
    }
    return g_steal_pointer(&s);
}

/* In the reaper's thread: there may be stamps for all of the guest's memory. */
static void history_free(AgeReap *reap)
{
    HistoryState *s = container_of(reap, HistoryState, reap);

    age_history_destroy(&s->h);
    g_mutex_clear(&s->lock);
    g_cond_clear(&s->wake);
    g_free(s->id);
    g_free(s);
}

void age_history_put(HistoryState *s)
{
    if (qatomic_fetch_dec(&s->refs) == 1) {
        age_reap(&s->reap, history_free);
    }
}

uint64_t age_history_hand_out(HistoryState *s)
{
    uint64_t next = age_history_next(&s->h, age_history_now_ms());

    if (s->flush == AGE_FLUSH_REQUEST) {
        age_flush_request();
    }
    return next;
}

bool age_history_kind(const HistoryState *s, bool dirty, unsigned *kind,
                      Error **errp)
{
    if (dirty && !s->h.dirty) {
        error_setg(errp, "history '%s' does not remember stores; create it "
                   "with dirty=on", s->id);
        return false;
    }
    *kind = dirty;
    return true;
}
