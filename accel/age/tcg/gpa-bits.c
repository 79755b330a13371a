/*
 * How wide physical addresses are, which only the target's own headers tell
 *
 * Built for each target.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "cpu.h"
#ifdef TARGET_ARM
#include "internals.h"
#endif
#include "gpa-bits.h"

unsigned age_cpu_gpa_bits(CPUState *cpu)
{
#if defined(TARGET_I386)
    return X86_CPU(cpu)->phys_bits;
#elif defined(TARGET_ARM)
    return arm_pamax(ARM_CPU(cpu));
#else
    return 64;
#endif
}
