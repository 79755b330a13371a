/*
 * vCPUs of the accelerator: their registry, and what they did
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "vcpu.h"
#include "vcpu-spaces.h"

QemuMutex age_vcpus_lock;
AgeVCPUList age_vcpus = QLIST_HEAD_INITIALIZER(age_vcpus);
unsigned age_flushes_owed;

/* What vCPUs did that are gone; protected by the lock */
static AgeWalkStats gone_stats;

static void __attribute__((constructor)) age_vcpus_init(void)
{
    qemu_mutex_init(&age_vcpus_lock);
}

void age_vcpu_add(AgeMMU *mmu, CPUState *cpu)
{
    AccelCPUState *vcpu = g_new0(AccelCPUState, 1);

    assert(bql_locked());
    vcpu->cpu = cpu;
    age_vcpu_find_spaces(mmu, cpu, vcpu->walker.space);
    age_walker_init(&vcpu->walker);
    WITH_QEMU_LOCK_GUARD(&age_vcpus_lock) {
        QLIST_INSERT_HEAD(&age_vcpus, vcpu, next);
    }
    cpu->accel = vcpu;
}

/* Most of them do not come to the walker. */
uint64_t age_vcpu_fills(const AccelCPUState *vcpu)
{
    uint64_t fills = 0;

    for (int i = 0; i < NB_MMU_MODES; i++) {
        fills += qatomic_read(&vcpu->fills[i]);
    }
    return fills;
}

static void add_stats(AgeWalkStats *sum, const AccelCPUState *vcpu)
{
    const AgeWalkStats *s = &vcpu->walker.stats;

    sum->fills += age_vcpu_fills(vcpu);
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

    assert(bql_locked());
    if (!vcpu) {
        return;
    }
    WITH_QEMU_LOCK_GUARD(&age_vcpus_lock) {
        QLIST_REMOVE(vcpu, next);
        if (vcpu->flush) {
            qatomic_dec(&age_flushes_owed);
        }
        add_stats(&gone_stats, vcpu);
    }
    cpu->accel = NULL;
    g_free(vcpu);
}

void age_vcpu_stats(AgeWalkStats *sum)
{
    AccelCPUState *vcpu;

    QEMU_LOCK_GUARD(&age_vcpus_lock);
    *sum = gone_stats;
    QLIST_FOREACH(vcpu, &age_vcpus, next) {
        add_stats(sum, vcpu);
    }
}
