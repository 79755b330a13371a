/*
 * TLB fills of the vCPUs, and where they begin to execute
 *
 * A vCPU's TLB miss is where hardware would walk both stages of tables.  TCG
 * has a hook for its target to fill the TLB; each CPU class gets a copy of
 * its operations in which that hook is ours.  Ours calls the original, which
 * does the guest's own translation, and then walks the second stage for the
 * guest-physical address that came out.  Guest page tables that the original
 * reads go through the TLB as well, under an MMU index of their own, and so
 * come here by themselves, before the access that needed them.
 *
 * Built for each target, since the TLB depends on it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "accel/tcg/cpu-ops.h"
#include "exec/cputlb.h"
#include "exec/target_page.h"
#include "system/age-compat.h"
#include "system/replay.h"
#include "cpu.h"
#include "flush.h"
#include "tlb-fill.h"
#include "tlb-grow.h"
#include "vcpu.h"

/* A copy of a class's operations, with the hook that ours calls */
typedef struct AgeTCGOps {
    TCGCPUOps tcg_ops;
    typeof(((TCGCPUOps *)0)->cpu_exec_enter) cpu_exec_enter;
} AgeTCGOps;

/* Copies by what they are copies of; they live as long as the CPU classes. */
static GHashTable *copies;

/*
 * The hooks that fill TLBs, of which all classes of a target have the same one.
 * Not in the copies: a fill should not have to look for them.
 */
static typeof(((TCGCPUOps *)0)->tlb_fill) original_fill;
static typeof(((TCGCPUOps *)0)->tlb_fill_align) original_fill_align;

/*
 * cpu_exec(), where TLBs are filled, is an RCU read-side critical section.  To
 * enter another for each walk would cost as much as the walk.  Only what runs
 * alone, in cpu_exec_step_atomic(), is not in one.
 */
static bool walk_in_rcu(CPUState *cpu, int asidx, hwaddr gpa, bool write)
{
    AgeWalker *w = &cpu->accel->walker;

    if (unlikely(cpu_in_exclusive_context(cpu))) {
        RCU_READ_LOCK_GUARD();
        return age_walk(w, asidx, gpa, write);
    }
    return age_walk(w, asidx, gpa, write);
}

/*
 * The vCPU accesses @full.  Returns whether the translation may not be kept for
 * stores: the first store after this must come here, to make the leaf dirty.
 * A store that has come here may be made, whatever the leaf became meanwhile.
 * Under record/replay none must come, as it would not come at the same time
 * again.
 *
 * Runs after the original hook has succeeded: that may not return, if the guest
 * faults, and may come back here for the guest's page tables, so that nothing
 * is held across it.
 */
static bool vcpu_access(CPUState *cpu, const CPUTLBEntryFull *full,
                        MMUAccessType access_type)
{
    bool store = access_type == MMU_DATA_STORE;

    return walk_in_rcu(cpu, full->attrs.secure, full->phys_addr, store) &&
           !store && replay_mode == REPLAY_MODE_NONE;
}

/*
 * Count the fill.  Returns whether the access to @full has nothing to set, nor
 * has any other that the entry could serve: then there is nothing to do.  This
 * is what nearly every fill comes to, so it is all that is inline.
 *
 * The number of the address space is MemTxAttrs.secure: see AgeArch.space_names
 * and age_vcpu_find_spaces(), which asks the CPU.
 */
static inline bool nothing_to_do(CPUState *cpu, const CPUTLBEntryFull *full,
                                 int mmu_idx)
{
    AccelCPUState *vcpu = cpu->accel;

    if (unlikely(!vcpu)) {
        return true;
    }
    age_tlb_count_fill(cpu, mmu_idx);
    return age_walk_all_set(&vcpu->walker, full->attrs.secure, full->phys_addr);
}

/* Arm: the hook says what to install, and its caller installs it. */
static bool age_tlb_fill_align(CPUState *cpu, CPUTLBEntryFull *out, vaddr addr,
                               MMUAccessType access_type, int mmu_idx,
                               MemOp memop, int size, bool probe, uintptr_t ra)
{
    if (!original_fill_align(cpu, out, addr, access_type, mmu_idx, memop, size,
                             probe, ra)) {
        return false;
    }
    if (!nothing_to_do(cpu, out, mmu_idx) &&
        vcpu_access(cpu, out, access_type)) {
        out->prot &= ~PAGE_WRITE;
    }
    return true;
}

/* Where the TLB of @mmu_idx has the entry for @addr */
static inline uintptr_t tlb_index(const CPUState *cpu, int mmu_idx, vaddr addr)
{
    return (addr >> TARGET_PAGE_BITS) &
           (age_tlb_fast(cpu, mmu_idx)->mask >> CPU_TLB_ENTRY_BITS);
}

static inline const CPUTLBEntryFull *tlb_full(const CPUState *cpu, int mmu_idx,
                                              vaddr addr)
{
    return &cpu->neg.tlb.d[mmu_idx].fulltlb[tlb_index(cpu, mmu_idx, addr)];
}

/*
 * Let no store go by the entry for @addr in the TLB of this thread's vCPU.
 * With the lock, since other threads put flags into entries that permit stores.
 */
static void forbid_stores(CPUState *cpu, int mmu_idx, vaddr addr)
{
    uintptr_t index = tlb_index(cpu, mmu_idx, addr);
    CPUTLBEntry *entry = &age_tlb_fast(cpu, mmu_idx)->table[index];

    if (entry->addr_write != -1) {
        qemu_spin_lock(&cpu->neg.tlb.c.lock);
        qatomic_set(&entry->addr_write, -1);
        qemu_spin_unlock(&cpu->neg.tlb.c.lock);
    }
}

static void G_GNUC_NO_INLINE vcpu_filled(CPUState *cpu, vaddr addr,
                                         MMUAccessType access_type, int mmu_idx)
{
    if (vcpu_access(cpu, tlb_full(cpu, mmu_idx, addr), access_type)) {
        forbid_stores(cpu, mmu_idx, addr);
    }
}

/* x86: the hook has installed the entry.  Read it back from its place. */
static bool age_tlb_fill(CPUState *cpu, vaddr addr, int size,
                         MMUAccessType access_type, int mmu_idx, bool probe,
                         uintptr_t ra)
{
    if (!original_fill(cpu, addr, size, access_type, mmu_idx, probe, ra)) {
        return false;
    }
    if (unlikely(!nothing_to_do(cpu, tlb_full(cpu, mmu_idx, addr), mmu_idx))) {
        vcpu_filled(cpu, addr, access_type, mmu_idx);
    }
    return true;
}

static void age_cpu_exec_enter(CPUState *cpu)
{
    const AgeTCGOps *ops = container_of(cpu->cc->tcg_ops, AgeTCGOps, tcg_ops);

    age_flush_if_asked(cpu);
    age_tlb_grow_if_due(cpu);
    if (ops->cpu_exec_enter) {
        ops->cpu_exec_enter(cpu);
    }
}

static const TCGCPUOps *wrap_ops(const TCGCPUOps *parent)
{
    AgeTCGOps *copy = g_new(AgeTCGOps, 1);

    copy->tcg_ops = *parent;
    copy->cpu_exec_enter = parent->cpu_exec_enter;
    copy->tcg_ops.cpu_exec_enter = age_cpu_exec_enter;
    if (parent->tlb_fill_align) {
        assert(!original_fill_align ||
               original_fill_align == parent->tlb_fill_align);
        original_fill_align = parent->tlb_fill_align;
        copy->tcg_ops.tlb_fill_align = age_tlb_fill_align;
    } else {
        assert(!original_fill || original_fill == parent->tlb_fill);
        original_fill = parent->tlb_fill;
        copy->tcg_ops.tlb_fill = age_tlb_fill;
    }
    /* Under either key, so that a class is wrapped only once. */
    g_hash_table_insert(copies, (void *)parent, copy);
    g_hash_table_insert(copies, &copy->tcg_ops, copy);
    return &copy->tcg_ops;
}

void age_tlb_wrap_ops(CPUState *cpu)
{
    AgeTCGOps *copy;

    assert(bql_locked());
    if (!copies) {
        copies = g_hash_table_new(NULL, NULL);
    }
    copy = g_hash_table_lookup(copies, cpu->cc->tcg_ops);
    cpu->cc->tcg_ops = copy ? &copy->tcg_ops : wrap_ops(cpu->cc->tcg_ops);
}
