/*
 * x86 CPU types under the accelerator
 *
 * QEMU looks for a type by the names of accelerator and CPU that sets a CPU
 * up for the accelerator.  Under this one a CPU is what it is under TCG.  (Arm
 * needs no such type.)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "accel/accel-cpu-target.h"
#include "cpu.h"

static const TypeInfo age_cpu_accel_type_info = {
    .name = ACCEL_CPU_NAME("age"),
    .parent = ACCEL_CPU_NAME("tcg"),
    .abstract = true,
};

static void age_cpu_accel_register_types(void)
{
    type_register_static(&age_cpu_accel_type_info);
}

type_init(age_cpu_accel_register_types);
