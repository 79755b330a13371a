/*
 * vCPUs of the accelerator
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_TCG_VCPU_H
#define ACCEL_AGE_TCG_VCPU_H

#include "qemu/thread.h"
#include "hw/core/cpu.h"
#include "accel/age/mmu/walker.h"

/**
 * AccelCPUState: what the accelerator keeps for a vCPU, at CPUState.accel
 *
 * @cpu: the vCPU
 * @walker: its walker, whose address spaces are numbered as the vCPU's own;
 *     only its own thread uses it
 * @flush: state of its flush request, 0 if it owes none; see flush.c; atomic
 * @flushes: flushes that it did on request; written by its own thread only
 * @fills: fills of its TLBs, by MMU index; written by its own thread only
 * @look_at: number of the fill at which a TLB is looked at, see tlb-grow.h
 * @grow: MMU indices, as bits, whose TLBs are to grow.  These two are only
 *     used by its own thread
 * @next: link among all vCPUs
 */
struct AccelCPUState {
    CPUState *cpu;
    AgeWalker walker;
    unsigned flush;
    uint64_t flushes;
    uint64_t fills[NB_MMU_MODES];
    uint64_t look_at[NB_MMU_MODES];
    uint32_t grow;
    QLIST_ENTRY(AccelCPUState) next;
};

/*
 * All vCPUs.  QEMU's own list of CPUs does not do: a CPUState is not freed by
 * RCU when it is unplugged.  The lock is held for a few instructions a vCPU,
 * never while waiting for anything, so that out-of-band commands may take it.
 */
typedef QLIST_HEAD(AgeVCPUList, AccelCPUState) AgeVCPUList;

extern QemuMutex age_vcpus_lock;
extern AgeVCPUList age_vcpus;

/* How many of them owe a flush; atomic.  For a moment it may be more. */
extern unsigned age_flushes_owed;

/**
 * age_vcpu_add: begin to walk for a vCPU
 * @mmu: the accelerator's MMU
 * @cpu: the vCPU, realized, whose thread does not run yet
 *
 * Context: BQL held.
 */
void age_vcpu_add(AgeMMU *mmu, CPUState *cpu);

/**
 * age_vcpu_remove: forget a vCPU
 * @cpu: the vCPU, whose thread does not run any more
 *
 * Context: BQL held.
 */
void age_vcpu_remove(CPUState *cpu);

/* Fills of a vCPU's TLBs.  Context: as age_vcpu_stats() */
uint64_t age_vcpu_fills(const AccelCPUState *vcpu);

/**
 * age_vcpu_stats: the sum of what all walkers did, gone vCPUs included
 * @sum: the sum
 *
 * Context: any thread, with or without the BQL.
 */
void age_vcpu_stats(AgeWalkStats *sum);

#endif /* ACCEL_AGE_TCG_VCPU_H */
