/*
 * How the accelerator runs vCPUs: as TCG does
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "system/age-compat.h"
#include "age-int.h"
#include "vcpu.h"

/* What TCG chose for the thread model in use */
static void (*parent_create_vcpu_thread)(CPUState *cpu);

/*
 * The last step of realizing a vCPU, and the first point at which all of its
 * address spaces exist.
 */
static void age_create_vcpu_thread(CPUState *cpu)
{
    age_vcpu_add(&age_state.mmu, cpu);
    parent_create_vcpu_thread(cpu);
}

static void age_accel_ops_init(AgeOpsInitArg *arg)
{
    AccelOpsClass *ops = age_ops_of(arg);
    ObjectClass *parent = object_class_get_parent(OBJECT_CLASS(ops));

    ACCEL_OPS_CLASS(parent)->ops_init(arg);
    parent_create_vcpu_thread = ops->create_vcpu_thread;
    ops->create_vcpu_thread = age_create_vcpu_thread;
}

static void age_accel_ops_class_init(ObjectClass *oc, AgeClassData *data)
{
    AccelOpsClass *ops = ACCEL_OPS_CLASS(oc);

    ops->ops_init = age_accel_ops_init;
}

static const TypeInfo age_accel_ops_type = {
    .name = ACCEL_OPS_NAME("age"),
    .parent = ACCEL_OPS_NAME("tcg"),
    .class_init = age_accel_ops_class_init,
    .abstract = true,
};
module_obj(ACCEL_OPS_NAME("age"));

static void age_accel_ops_register_types(void)
{
    type_register_static(&age_accel_ops_type);
}

type_init(age_accel_ops_register_types);
