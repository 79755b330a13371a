/*
 * TLBs that grow without a flush by the guest
 *
 * Built for each target, since the TLB depends on it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "exec/cpu-defs.h"
#include "exec/cputlb.h"
#include "system/age-compat.h"
#include "system/replay.h"
#include "accel/age/trace.h"
#include "age-int.h"
#include "tlb-grow.h"

/* QEMU doubles what is fuller than this, in percent */
#define FULL        70

/* Entries to which a TLB grows by itself: those of 4 GiB of memory */
#define MAX_ENTRIES (1u << 20)

/* As often as this is each entry filled until a TLB is looked at again. */
#define FILLS       2

static unsigned tlb_entries(const CPUState *cpu, int mmu_idx)
{
    return (age_tlb_fast(cpu, mmu_idx)->mask >> CPU_TLB_ENTRY_BITS) + 1;
}

/*
 * Rounded as QEMU does it.  QEMU counts an entry anew when it is filled again
 * for the same page, so that a TLB may be taken for fuller than it is.
 */
static bool tlb_is_full(const CPUState *cpu, int mmu_idx)
{
    size_t used = cpu->neg.tlb.d[mmu_idx].n_used_entries;

    return used * 100 / tlb_entries(cpu, mmu_idx) > FULL;
}

/*
 * Not under record/replay, where the flush would be at another place: that is
 * where the vCPU happens to leave its loop.
 */
static bool may_grow(const CPUState *cpu, int mmu_idx)
{
    return qatomic_read(&age_state.tlb_grow) &&
           tlb_entries(cpu, mmu_idx) < MAX_ENTRIES &&
           replay_mode == REPLAY_MODE_NONE;
}

void age_tlb_look(CPUState *cpu, int mmu_idx)
{
    AccelCPUState *vcpu = cpu->accel;

    QEMU_BUILD_BUG_ON(NB_MMU_MODES > 8 * sizeof(vcpu->grow));
    assert(qemu_cpu_is_self(cpu));
    vcpu->look_at[mmu_idx] = vcpu->fills[mmu_idx] +
                             FILLS * tlb_entries(cpu, mmu_idx);
    if (may_grow(cpu, mmu_idx) && tlb_is_full(cpu, mmu_idx)) {
        vcpu->grow |= 1u << mmu_idx;
        cpu_exit(cpu);
    }
}

void age_tlb_grow_if_due(CPUState *cpu)
{
    AccelCPUState *vcpu = cpu->accel;

    if (likely(!vcpu || !vcpu->grow)) {
        return;
    }
    assert(qemu_cpu_is_self(cpu));
    trace_age_tlb_grow(cpu->cpu_index, vcpu->grow);
    tlb_flush_by_mmuidx(cpu, vcpu->grow);
    vcpu->grow = 0;
}
