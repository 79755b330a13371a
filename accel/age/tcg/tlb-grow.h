/*
 * TLBs that grow without a flush by the guest
 *
 * QEMU sizes the TLB of an MMU index by how full it was, but only when it is
 * flushed.  A guest that does not flush stays with the 256 entries of the
 * start, however much memory it uses.  So fills are counted, and a TLB that is
 * full and still misses is flushed, which doubles it.  By count and not by
 * time, so that the same guest does the same each time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_TCG_TLB_GROW_H
#define ACCEL_AGE_TCG_TLB_GROW_H

#include "qemu/atomic.h"
#include "hw/core/cpu.h"
#include "vcpu.h"

/**
 * age_tlb_look: see whether a TLB should grow, and count anew
 * @cpu: the vCPU
 * @mmu_idx: the MMU index
 *
 * Context: the vCPU's own thread, in a fill.
 */
void age_tlb_look(CPUState *cpu, int mmu_idx);

/**
 * age_tlb_count_fill: a TLB was filled
 * @cpu: the vCPU, which has an #AccelCPUState
 * @mmu_idx: the MMU index
 *
 * Context: the vCPU's own thread.
 */
static inline void age_tlb_count_fill(CPUState *cpu, int mmu_idx)
{
    AccelCPUState *vcpu = cpu->accel;
    uint64_t fills = vcpu->fills[mmu_idx] + 1;

    qatomic_set(&vcpu->fills[mmu_idx], fills);
    if (unlikely(fills > vcpu->look_at[mmu_idx])) {
        age_tlb_look(cpu, mmu_idx);
    }
}

/**
 * age_tlb_grow_if_due: a vCPU is about to execute guest code
 * @cpu: the vCPU
 *
 * TLBs that should grow are flushed here, and not in the fill: whoever asked
 * for that may still use what he found in one before.
 *
 * Context: the vCPU's own thread.
 */
void age_tlb_grow_if_due(CPUState *cpu);

#endif /* ACCEL_AGE_TCG_TLB_GROW_H */
