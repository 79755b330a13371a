/*
 * vCPUs of the accelerator: their registry and their TLB flushes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qemu/thread.h"
#include "block/aio.h"
#include "exec/cputlb.h"
#include "system/replay.h"
#include "age-int.h"
#include "vcpu.h"
#include "accel/age/trace.h"

/*
 * Flush requests of a vCPU.  A request is ASKED until the vCPU begins with it;
 * it is BUSY until it is done.  Whoever clears a flag while the vCPU is BUSY
 * must ask again, since the flush may have passed the entry.
 *
 * The vCPU flushes where it is about to execute guest code, so that one that
 * does not execute any owes nobody a flush, and nobody has to wake it.
 */
enum {
    FLUSH_NONE,
    FLUSH_ASKED,
    FLUSH_BUSY,
};

/*
 * The registry.  QEMU's own list of CPUs does not do: a CPUState is not freed
 * by RCU when it is unplugged.  @lock is held for a few instructions a vCPU,
 * never while waiting for anything, so that out-of-band commands may take it.
 * @later is set while a flush is to be requested from the main loop; atomic.
 */
static struct {
    QemuMutex lock;
    QLIST_HEAD(, AccelCPUState) vcpus;
    AgeWalkStats gone;
    uint64_t flushes;
    bool later;
} registry;

static void __attribute__((constructor)) registry_init(void)
{
    qemu_mutex_init(&registry.lock);
}

/*
 * The MMU's space for one of the vCPU's address spaces.  vCPUs that see the
 * same memory share it.  The address spaces of the first of them are the ones
 * that are followed: on x86 each vCPU has a root of its own for SMM, but they
 * all look alike, and the first can't be unplugged.
 */
typedef struct SpaceKey {
    MemoryRegion *memory;
    int asidx;
} SpaceKey;

static SpaceKey space_key[AGE_MAX_SPACES];

static char *space_name(const AgeMMU *mmu, int asidx)
{
    const char *name = age_arch()->space_names[asidx];
    unsigned same = 1;

    for (unsigned i = 0; i < mmu->num_spaces; i++) {
        same += space_key[i].asidx == asidx;
    }
    return same == 1 ? g_strdup(name) : g_strdup_printf("%s%u", name, same);
}

/* Returns NULL for a space that will not be followed. */
static AgeAddressSpace *find_space(AgeMMU *mmu, CPUState *cpu, int asidx)
{
    AddressSpace *as = cpu_get_address_space(cpu, asidx);
    AgeAddressSpace *space;
    unsigned i;

    /* Arm's tag spaces come after a secure space that may be missing. */
    if (!as) {
        return NULL;
    }
    for (i = 0; i < mmu->num_spaces; i++) {
        if (space_key[i].memory == cpu->memory &&
            space_key[i].asidx == asidx) {
            return mmu->space[i];
        }
    }
    space = age_mmu_add_space(mmu, space_name(mmu, asidx), as);
    if (!space) {
        warn_report_once("age: CPU %d has an address space of its own, and "
                         "there are too many already: its accesses through "
                         "it will not be seen", cpu->cpu_index);
        return NULL;
    }
    space_key[i] = (SpaceKey) { .memory = cpu->memory, .asidx = asidx };
    return space;
}

/*
 * As many levels as the first CPU's physical addresses need: whatever the guest
 * may do with PCI windows, and whatever is plugged later, it can't use more.
 */
static void choose_geometry(AgeMMU *mmu, CPUState *cpu)
{
    const AgeFormat *fmt = age_mmu_format(mmu);
    unsigned bits = MIN(age_cpu_gpa_bits(cpu), fmt->max_gpa_bits);

    if (!fmt->geometry(bits, age_state.levels, &mmu->geo)) {
        error_report("age: levels=%u does not fit the %u bits of physical "
                     "address of this CPU; leave it out to have it chosen",
                     age_state.levels, bits);
        exit(1);
    }
}

void age_vcpu_add(AgeMMU *mmu, CPUState *cpu)
{
    AccelCPUState *vcpu = g_new0(AccelCPUState, 1);

    if (!mmu->num_spaces) {
        choose_geometry(mmu, cpu);
    }

    vcpu->cpu = cpu;
    for (int i = 0; i < MIN(cpu->num_ases, AGE_CPU_SPACES); i++) {
        MemTxAttrs attrs = { .secure = i };

        /* Who walks takes the attribute for the number. */
        assert(cpu_asidx_from_attrs(cpu, attrs) == i);
        vcpu->walker.space[i] = find_space(mmu, cpu, i);
    }
    WITH_QEMU_LOCK_GUARD(&registry.lock) {
        QLIST_INSERT_HEAD(&registry.vcpus, vcpu, next);
    }
    cpu->accel = vcpu;
}

static void add_stats(AgeWalkStats *sum, const AgeWalkStats *s)
{
    sum->fills += qatomic_read(&s->fills);
    sum->violations += qatomic_read(&s->violations);
    sum->accessed += qatomic_read(&s->accessed);
    sum->dirty += qatomic_read(&s->dirty);
    sum->unmapped += qatomic_read(&s->unmapped);
    sum->denied += qatomic_read(&s->denied);
    sum->retries += qatomic_read(&s->retries);
}

void age_vcpu_remove(CPUState *cpu)
{
    AccelCPUState *vcpu = cpu->accel;

    if (!vcpu) {
        return;
    }
    WITH_QEMU_LOCK_GUARD(&registry.lock) {
        QLIST_REMOVE(vcpu, next);
        add_stats(&registry.gone, &vcpu->walker.stats);
    }
    cpu->accel = NULL;
    g_free(vcpu);
}

void age_vcpu_enter(CPUState *cpu)
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
    trace_age_flush(cpu->cpu_index);
    qatomic_xchg(&vcpu->flush, FLUSH_BUSY);
    /* Page walks of the guest go through the TLB as well: flush all modes. */
    tlb_flush(cpu);
    qatomic_inc(&registry.flushes);
    qatomic_cmpxchg(&vcpu->flush, FLUSH_BUSY, FLUSH_NONE);
}

/*
 * Does the vCPU execute guest code, or may it have begun to?  With the lock
 * held, and after what must not be missed.
 */
static bool vcpu_runs(const AccelCPUState *vcpu)
{
    /* Pairs with age_vcpu_enter(). */
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
    if (qatomic_xchg(&vcpu->flush, FLUSH_ASKED) != FLUSH_ASKED) {
        trace_age_flush_request(vcpu->cpu->cpu_index);
        if (vcpu_runs(vcpu)) {
            cpu_exit(vcpu->cpu);
        }
    }
}

void age_vcpu_request_flush(void)
{
    AccelCPUState *vcpu;

    /* Walks that the recorded run has not must not come. */
    if (replay_mode != REPLAY_MODE_NONE) {
        return;
    }
    /*
     * With the lock held, so that whoever finds the flag reset by another
     * request sees by age_vcpu_flush_pending() what that asked for.
     */
    QEMU_LOCK_GUARD(&registry.lock);
    /* Pairs with harvest_spaces(), which sets it after it cleared flags. */
    if (!qatomic_xchg(&age_state.mmu.unflushed, false)) {
        return;
    }
    QLIST_FOREACH(vcpu, &registry.vcpus, next) {
        ask_for_flush(vcpu);
    }
}

/* In the main loop, after all that it had to do */
static void flush_later(void *opaque)
{
    qatomic_xchg(&registry.later, false);
    age_vcpu_request_flush();
}

void age_vcpu_request_flush_later(void)
{
    if (!qatomic_xchg(&registry.later, true)) {
        aio_bh_schedule_oneshot(qemu_get_aio_context(), flush_later, NULL);
    }
}

bool age_vcpu_flush_pending(void)
{
    AccelCPUState *vcpu;

    /* The main loop may be busy. */
    if (qatomic_read(&registry.later)) {
        age_vcpu_request_flush();
    }
    QEMU_LOCK_GUARD(&registry.lock);
    QLIST_FOREACH(vcpu, &registry.vcpus, next) {
        if (qatomic_read(&vcpu->flush) != FLUSH_NONE && vcpu_runs(vcpu)) {
            return true;
        }
    }
    return false;
}

void age_vcpu_stats(AgeWalkStats *sum, uint64_t *flushes)
{
    AccelCPUState *vcpu;

    QEMU_LOCK_GUARD(&registry.lock);
    *sum = registry.gone;
    QLIST_FOREACH(vcpu, &registry.vcpus, next) {
        add_stats(sum, &vcpu->walker.stats);
    }
    *flushes = qatomic_read(&registry.flushes);
}
