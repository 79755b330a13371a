/*
 * The chain of secondary MMUs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "qemu/rcu_queue.h"
#include "qapi/error.h"
#include "system/age.h"
#include "accel/age/pt/format.h"
#include "accel/age/trace.h"

/* Changed with the BQL held, read in RCU read-side critical sections */
static QLIST_HEAD(, AgeNotifier) notifiers =
    QLIST_HEAD_INITIALIZER(notifiers);

bool age_notifier_register(AgeNotifier *n, const char *name, Error **errp)
{
    AgeNotifier *other;

    assert(bql_locked());
    QLIST_FOREACH(other, &notifiers, next) {
        if (g_str_equal(other->name, name)) {
            error_setg(errp, "another secondary MMU is named '%s' in answers"
                       " to harvests: choose another id", name);
            return false;
        }
    }
    n->name = g_strdup(name);
    QLIST_INSERT_HEAD_RCU(&notifiers, n, next);
    return true;
}

/* RCU callbacks run with the BQL held. */
static void notifier_release(AgeNotifier *n)
{
    assert(bql_locked());
    g_free(n->name);
    if (n->ops->release) {
        n->ops->release(n);
    }
}

void age_notifier_unregister(AgeNotifier *n)
{
    assert(bql_locked());
    QLIST_REMOVE_RCU(n, next);
    call_rcu(n, notifier_release, rcu);
}

bool age_has_test_clear_young(void)
{
    AgeNotifier *n;

    RCU_READ_LOCK_GUARD();
    QLIST_FOREACH_RCU(n, &notifiers, next) {
        if (n->ops->test_clear_young) {
            return true;
        }
    }
    return false;
}

uint64_t age_block_size(void)
{
    uint64_t block = 0;
    AgeNotifier *n;

    RCU_READ_LOCK_GUARD();
    QLIST_FOREACH_RCU(n, &notifiers, next) {
        block = MAX(block, n->block);
    }
    return block;
}

static bool can_test_clear_young(AgeNotifier *n, const char **reason)
{
    *reason = "it can't tell for single pages";
    return n->ops->test_clear_young &&
           n->ops->can_test_clear_young(n, reason);
}

/*
 * Make old what is asked for.  Two parts may be parts of one block, which only
 * the first would find young: so look at all of them before.
 */
static bool notifier_fall_back(AgeNotifier *n, AgeYoung *y)
{
    bool look = y->num_parts > 1 && n->ops->test_young;
    bool young = false;

    if (!y->num_parts) {
        return n->ops->clear_young(n, y->start, y->end);
    }
    for (AgePart *p = y->part; p < y->part + y->num_parts; p++) {
        p->young = look && n->ops->test_young(n, p->start, p->end);
    }
    for (AgePart *p = y->part; p < y->part + y->num_parts; p++) {
        p->young |= n->ops->clear_young(n, p->start, p->end);
        young |= p->young;
    }
    return young;
}

static bool has_space(AgeNotifier *n, const char *space)
{
    return !space || (n->ops->has_space && n->ops->has_space(n, space));
}

/* The answer of @n; asked first, so that a refusal consumes nothing */
static AgeHow notifier_harvest(AgeNotifier *n, AgeYoung *y, bool fallback,
                               const char **reason, bool *young)
{
    *young = false;
    if (can_test_clear_young(n, reason)) {
        *reason = NULL;
        n->ops->test_clear_young(n, y);
        return AGE_HOW_BITMAP;
    }
    trace_age_refused(n->name, *reason);
    if (!fallback || !n->ops->clear_young) {
        return AGE_HOW_REFUSED;
    }
    *young = notifier_fall_back(n, y);
    return AGE_HOW_CLEAR_YOUNG;
}

bool age_test_clear_young(AgeYoung *y, bool fallback, AgeAnswered *answered,
                          void *opaque)
{
    bool result = false;
    AgeNotifier *n;

    trace_age_hva(y->start, y->end);
    RCU_READ_LOCK_GUARD();
    QLIST_FOREACH_RCU(n, &notifiers, next) {
        const char *reason;
        bool young;
        AgeHow how;

        if (!has_space(n, y->space)) {
            continue;
        }
        how = notifier_harvest(n, y, fallback, &reason, &young);
        result |= young;
        if (answered) {
            answered(opaque, n->name, how, reason, young);
        }
    }
    trace_age_hva_done(y->start, y->end, y->cleared, result);
    return result;
}

static void notifiers_invalidate(uint64_t start, uint64_t end)
{
    AgeNotifier *n;

    RCU_READ_LOCK_GUARD();
    QLIST_FOREACH_RCU(n, &notifiers, next) {
        if (n->ops->invalidate) {
            n->ops->invalidate(n, start, end);
        }
    }
}

void age_discarded(void *host, uint64_t size)
{
    uint64_t start = (uintptr_t)host;

    trace_age_discarded(start, start + size);
    notifiers_invalidate(start, start + size);
}

void age_forget(void)
{
    /* The last page can't be anybody's, as its end is no address. */
    notifiers_invalidate(0, -AGE_PAGE_SIZE);
}

bool age_clear_young(uint64_t start, uint64_t end)
{
    bool young = false;
    AgeNotifier *n;

    RCU_READ_LOCK_GUARD();
    QLIST_FOREACH_RCU(n, &notifiers, next) {
        if (n->ops->clear_young) {
            young |= n->ops->clear_young(n, start, end);
        }
    }
    trace_age_clear_young(start, end, young);
    return young;
}

bool age_clear_flush_young(uint64_t start, uint64_t end)
{
    bool young = false;
    AgeNotifier *n;

    RCU_READ_LOCK_GUARD();
    QLIST_FOREACH_RCU(n, &notifiers, next) {
        if (n->ops->clear_flush_young) {
            young |= n->ops->clear_flush_young(n, start, end);
        }
    }
    trace_age_clear_flush_young(start, end, young);
    return young;
}

bool age_test_young(uint64_t start, uint64_t end)
{
    bool young = false;
    AgeNotifier *n;

    RCU_READ_LOCK_GUARD();
    QLIST_FOREACH_RCU(n, &notifiers, next) {
        if (n->ops->test_young && n->ops->test_young(n, start, end)) {
            young = true;
            break;
        }
    }
    trace_age_test_young(start, end, young);
    return young;
}
