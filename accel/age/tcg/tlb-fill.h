/*
 * TLB fills of the vCPUs, and where they begin to execute
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_TCG_TLB_FILL_H
#define ACCEL_AGE_TCG_TLB_FILL_H

#include "hw/core/cpu.h"

/**
 * age_tlb_wrap_ops: let the accelerator see the TLB fills of a CPU class
 * @cpu: a vCPU of that class, before its thread runs
 *
 * Context: BQL held.
 */
void age_tlb_wrap_ops(CPUState *cpu);

#endif /* ACCEL_AGE_TCG_TLB_FILL_H */
