/*
 * The chain of secondary MMUs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "qemu/rcu_queue.h"
#include "system/age.h"
#include "trace.h"

/* Changed with the BQL held, read in RCU read-side critical sections */
static QLIST_HEAD(, AgeNotifier) notifiers =
    QLIST_HEAD_INITIALIZER(notifiers);

void age_notifier_register(AgeNotifier *n)
{
    QLIST_INSERT_HEAD_RCU(&notifiers, n, next);
}

void age_notifier_unregister(AgeNotifier *n)
{
    QLIST_REMOVE_RCU(n, next);
}

/* Asked of all before any is harvested, so that a refusal consumes nothing */
static bool all_can(const char **reason)
{
    AgeNotifier *n;

    QLIST_FOREACH_RCU(n, &notifiers, next) {
        if (!n->ops->can_test_clear_young(n, reason)) {
            trace_age_refused(n->name, *reason);
            return false;
        }
    }
    return true;
}

bool age_test_clear_young(AgeYoung *y, const char **reason)
{
    AgeNotifier *n;

    RCU_READ_LOCK_GUARD();

    trace_age_hva(y->start, y->end);
    if (!all_can(reason)) {
        return false;
    }
    QLIST_FOREACH_RCU(n, &notifiers, next) {
        n->ops->test_clear_young(n, y);
    }
    trace_age_hva_done(y->start, y->end, y->cleared);
    return true;
}
