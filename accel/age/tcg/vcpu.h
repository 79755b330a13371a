/*
 * vCPUs of the accelerator
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_TCG_VCPU_H
#define ACCEL_AGE_TCG_VCPU_H

#include "hw/core/cpu.h"
#include "accel/age/mmu/walker.h"

/**
 * AccelCPUState: what the accelerator keeps for a vCPU, at CPUState.accel
 *
 * @cpu: the vCPU
 * @walker: its walker, whose address spaces are numbered as the vCPU's own;
 *     only its own thread uses it
 * @flush: state of its flush request, see vcpu.c
 * @next: link among all vCPUs
 */
struct AccelCPUState {
    CPUState *cpu;
    AgeWalker walker;
    unsigned flush;
    QLIST_ENTRY(AccelCPUState) next;
};

/**
 * age_cpu_gpa_bits: width of the physical addresses that a CPU can use
 * @cpu: the CPU, realized
 */
unsigned age_cpu_gpa_bits(CPUState *cpu);

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
 * age_vcpu_enter: a vCPU is about to execute guest code
 * @cpu: the vCPU
 *
 * Does the flush that was asked for, if one was.
 *
 * Context: the vCPU's own thread, after it set CPUState.running.
 */
void age_vcpu_enter(CPUState *cpu);

/**
 * age_vcpu_request_flush: ask every vCPU to flush its TLB
 *
 * Does not wait for it.  A vCPU that was asked already, and has not begun, is
 * not asked again.  Does nothing if no flag was cleared, nor anything else done
 * that TLBs do not know of, since the last request.  Does nothing under
 * record/replay.
 *
 * A vCPU flushes before it executes guest code again.  One that executes some
 * is made to stop for it; one that sleeps is not woken.
 *
 * Context: any thread, with or without the BQL.
 */
void age_vcpu_request_flush(void);

/**
 * age_vcpu_request_flush_later: request it when the main loop gets to it
 *
 * For what comes in batches, such as pages that a balloon takes: one flush will
 * do for all of them.
 *
 * Context: any thread, with or without the BQL.
 */
void age_vcpu_request_flush_later(void);

/**
 * age_vcpu_flush_pending: may any vCPU still use what it should have flushed?
 *
 * One that was asked to flush, and does not execute guest code, can't.  If a
 * request is to come later, it is made now.
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

#endif /* ACCEL_AGE_TCG_VCPU_H */
