/*
 * Which address spaces of the MMU a vCPU uses
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_TCG_VCPU_SPACES_H
#define ACCEL_AGE_TCG_VCPU_SPACES_H

#include "hw/core/cpu.h"
#include "accel/age/mmu/walker.h"

/**
 * age_vcpu_find_spaces: the address spaces of a vCPU
 * @mmu: the accelerator's MMU.  Its first vCPU decides how many levels the
 *     tables have, and ends QEMU with an error if that can't be
 * @cpu: the vCPU, realized
 * @space: set to its spaces, by MemTxAttrs.secure; NULL for one that it has not
 *     or that will not be followed
 *
 * Context: BQL held.
 */
void age_vcpu_find_spaces(AgeMMU *mmu, CPUState *cpu,
                          AgeAddressSpace *space[AGE_CPU_SPACES]);

#endif /* ACCEL_AGE_TCG_VCPU_SPACES_H */
