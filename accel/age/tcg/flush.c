/*
 * Flushes of the vCPUs' TLBs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "exec/cputlb.h"
#include "system/age-compat.h"
#include "system/replay.h"
#include "accel/age/trace.h"
#include "age-int.h"
#include "flush.h"
#include "vcpu.h"

/*
 * Flush requests of a vCPU.  A request is ASKED until the vCPU begins with it;
 * it is BUSY until it is done.  Whoever clears a flag while the vCPU is BUSY
 * must ask again, since the flush may have passed the entry.
 *
 * The vCPU flushes where it is about to execute guest code, so that one that
 * does not execute any owes nobody a flush, and nobody has to wake it.
 */
enum {
    FLUSH_NONE = 0,
    FLUSH_ASKED,
    FLUSH_BUSY,
};

/*
 * @later: a flush is to be requested from the main loop
 * @done: flushes that were done
 *
 * Both are atomic.
 */
static struct {
    bool later;
    uint64_t done;
} flushes;

void age_flush_if_asked(CPUState *cpu)
{
    AccelCPUState *vcpu = cpu->accel;

    /*
     * CPUState.running is set.  Pairs with ask_for_flush(): it sees that, or
     * what it asks for is seen here.
     */
    smp_mb();
    if (likely(!vcpu || qatomic_read(&vcpu->flush) == FLUSH_NONE)) {
        return;
    }
    assert(qemu_cpu_is_self(cpu));
    trace_age_flush(cpu->cpu_index);
    qatomic_xchg(&vcpu->flush, FLUSH_BUSY);
    /* Page walks of the guest go through the TLB as well: flush all modes. */
    tlb_flush(cpu);
    qatomic_inc(&flushes.done);
    qatomic_set(&vcpu->flushes, vcpu->flushes + 1);
    if (qatomic_cmpxchg(&vcpu->flush, FLUSH_BUSY, FLUSH_NONE) == FLUSH_BUSY) {
        qatomic_dec(&age_flushes_owed);
    }
}

/*
 * Does the vCPU execute guest code, or may it have begun to?  With the lock
 * held, and after what must not be missed.
 */
static bool vcpu_runs(const AccelCPUState *vcpu)
{
    /* Pairs with age_flush_if_asked(). */
    smp_mb();
    return qatomic_read(&vcpu->cpu->running);
}

/*
 * Only who executes guest code has to be told: by cpu_exit(), which takes no
 * lock and wakes nobody.  To queue work for a vCPU, and wake it, is for those
 * who hold the BQL: without it the wake-up may come between the vCPU's look at
 * its queue and its sleep, and is lost.
 */
static void ask_for_flush(AccelCPUState *vcpu)
{
    unsigned old;

    /* Before it can be done */
    qatomic_inc(&age_flushes_owed);
    old = qatomic_xchg(&vcpu->flush, FLUSH_ASKED);
    if (old != FLUSH_NONE) {
        qatomic_dec(&age_flushes_owed);
    }
    if (old != FLUSH_ASKED) {
        trace_age_flush_request(vcpu->cpu->cpu_index);
        if (vcpu_runs(vcpu)) {
            cpu_exit(vcpu->cpu);
        }
    }
}

/*
 * With the lock held, so that whoever finds the flag reset by another request
 * sees by age_flush_pending() what that asked for.
 */
static void request_locked(void)
{
    AccelCPUState *vcpu;

    /* Walks that the recorded run has not must not come. */
    if (replay_mode != REPLAY_MODE_NONE) {
        return;
    }
    /* Pairs with harvest_spaces(), which sets it after it cleared flags. */
    if (!qatomic_xchg(&age_state.mmu.unflushed, false)) {
        return;
    }
    QLIST_FOREACH(vcpu, &age_vcpus, next) {
        ask_for_flush(vcpu);
    }
}

void age_flush_request(void)
{
    QEMU_LOCK_GUARD(&age_vcpus_lock);
    request_locked();
}

/*
 * In the main loop, after all that it had to do.  Until this has asked, it is
 * this that owes the flush: see age_flush_pending().
 */
static void request_due(void *opaque)
{
    QEMU_LOCK_GUARD(&age_vcpus_lock);
    qatomic_inc(&age_flushes_owed);
    qatomic_xchg(&flushes.later, false);
    request_locked();
    qatomic_dec(&age_flushes_owed);
}

void age_flush_request_later(void)
{
    if (!qatomic_xchg(&flushes.later, true)) {
        aio_bh_schedule_oneshot(qemu_get_aio_context(), request_due, NULL);
    }
}

bool age_flush_pending(void)
{
    AccelCPUState *vcpu;

    /* The main loop may be busy. */
    if (qatomic_load_acquire(&flushes.later)) {
        age_flush_request();
    }
    /* Who never asks for a flush needs no lock to learn that none is owed. */
    if (!qatomic_read(&age_flushes_owed)) {
        return false;
    }
    QEMU_LOCK_GUARD(&age_vcpus_lock);
    QLIST_FOREACH(vcpu, &age_vcpus, next) {
        if (qatomic_read(&vcpu->flush) != FLUSH_NONE && vcpu_runs(vcpu)) {
            return true;
        }
    }
    return false;
}

uint64_t age_flush_count(void)
{
    return qatomic_read(&flushes.done);
}
