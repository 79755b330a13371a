/*
 * How wide physical addresses are, which only the target's own headers tell
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_TCG_GPA_BITS_H
#define ACCEL_AGE_TCG_GPA_BITS_H

#include "hw/core/cpu.h"

/**
 * age_cpu_gpa_bits: width of the physical addresses that a CPU can use
 * @cpu: the CPU, realized
 */
unsigned age_cpu_gpa_bits(CPUState *cpu);

#endif /* ACCEL_AGE_TCG_GPA_BITS_H */
