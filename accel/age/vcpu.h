/*
 * vCPUs of the accelerator
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_VCPU_H
#define ACCEL_AGE_VCPU_H

#include "hw/core/cpu.h"
#include "walker.h"

/*
 * x86: normal and SMM.  Arm: non-secure and secure; its further ones, for MTE
 * tags, are not guest memory.
 */
#define AGE_VCPU_SPACES 2

/**
 * AccelCPUState: what the accelerator keeps for a vCPU, at CPUState.accel
 *
 * @cpu: the vCPU
 * @mmu: the accelerator's MMU
 * @walker: its walker; only its own thread uses it
 * @space: for each address space index of the vCPU, the number of the space
 *     in @mmu, or -1 if that is not followed
 * @flush: state of its flush request, see vcpu.c
 * @next: link among all vCPUs
 */
struct AccelCPUState {
    CPUState *cpu;
    AgeMMU *mmu;
    AgeWalker walker;
    int8_t space[AGE_VCPU_SPACES];
    unsigned flush;
    QLIST_ENTRY(AccelCPUState) next;
};

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

/**
 * age_vcpu_request_flush: ask every vCPU to flush its TLB
 *
 * Does not wait for it.  A vCPU that was asked already, and has not begun, is
 * not asked again.
 *
 * Context: any thread, with or without the BQL.
 */
void age_vcpu_request_flush(void);

/**
 * age_vcpu_flush_pending: has any vCPU still to finish a flush?
 *
 * Context: any thread, with or without the BQL.
 */
bool age_vcpu_flush_pending(void);

/**
 * age_vcpu_stats: the sum of what all walkers did, gone vCPUs included
 * @sum: the sum
 * @flushes: how many flushes were done
 *
 * Context: any thread, with or without the BQL.
 */
void age_vcpu_stats(AgeWalkStats *sum, uint64_t *flushes);

/**
 * age_tlb_wrap_ops: let the accelerator see the TLB fills of a CPU class
 * @cpu: a vCPU of that class, before its thread runs
 *
 * Context: BQL held.
 */
void age_tlb_wrap_ops(CPUState *cpu);

#endif /* ACCEL_AGE_VCPU_H */
