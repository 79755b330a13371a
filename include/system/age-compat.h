/*
 * Where the releases of QEMU differ that the accelerator can be built in
 *
 * One place for all of them: other files say what they mean, and no other
 * asks for a version.  Releases that move a file of the overlay's hooks are in
 * scripts/overlay.py.  See "Releases of QEMU" in docs/devel/age.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_AGE_COMPAT_H
#define SYSTEM_AGE_COMPAT_H

#include "system/age-release.h"

#if AGE_QEMU_SINCE(10, 1)
#include "accel/accel-ops.h"
#include "accel/accel-cpu-ops.h"
#include "system/address-spaces.h"
#include "system/memory.h"
#else
#include "qemu/accel.h"
#include "system/accel-ops.h"
#include "exec/address-spaces.h"
#include "exec/memory.h"
#endif

#if AGE_QEMU_SINCE(11, 0)
#include "hw/core/boards.h"
#include "hw/core/qdev-properties.h"
#include "hw/core/resettable.h"
#include "qemu/aio.h"
#include "system/memory_cached.h"
#include "system/ramblock.h"
#else
#include "block/aio.h"
#include "hw/boards.h"
#include "hw/qdev-properties.h"
#include "hw/resettable.h"
#endif
#include "hw/core/cpu.h"
#include "system/runstate.h"

/*
 * AgeClassData: what class_init functions get for data
 * AgeMemoryOwner: whom AccelClass.has_memory is asked of
 * AgeOpsInitArg: what AccelOpsClass.ops_init gets; age_ops_of() makes the
 *     operations of it
 * age_init_machine_entry(): for AccelClass.init_machine, calls
 *     age_init_machine(); age_call_init_machine() calls that of another class
 */
int age_init_machine(AccelState *as, MachineState *ms);

#if AGE_QEMU_SINCE(10, 1)
typedef const void AgeClassData;
typedef AccelState AgeMemoryOwner;
typedef AccelClass AgeOpsInitArg;

static inline AccelOpsClass *age_ops_of(AgeOpsInitArg *arg)
{
    return arg->ops;
}

static inline int age_init_machine_entry(AccelState *as, MachineState *ms)
{
    return age_init_machine(as, ms);
}

static inline int age_call_init_machine(AccelClass *ac, AccelState *as,
                                        MachineState *ms)
{
    return ac->init_machine(as, ms);
}
#else
typedef void AgeClassData;
typedef MachineState AgeMemoryOwner;
typedef AccelOpsClass AgeOpsInitArg;

static inline AccelOpsClass *age_ops_of(AgeOpsInitArg *arg)
{
    return arg;
}

static inline int age_init_machine_entry(MachineState *ms)
{
    return age_init_machine(ms->accelerator, ms);
}

static inline int age_call_init_machine(AccelClass *ac, AccelState *as,
                                        MachineState *ms)
{
    return ac->init_machine(ms);
}
#endif

/* How many address spaces a vCPU has */
static inline int age_cpu_num_ases(const CPUState *cpu)
{
#if AGE_QEMU_SINCE(11, 0)
    return cpu->cc->max_as + 1;
#else
    return cpu->num_ases;
#endif
}

/*
 * The part of a TLB that translated code looks into.  A macro, since only code
 * that is built for a target may look at TLBs.
 */
#if AGE_QEMU_SINCE(10, 2)
#define age_tlb_fast(cpu, mmu_idx) cpu_tlb_fast((CPUState *)(cpu), mmu_idx)
#else
#define age_tlb_fast(cpu, mmu_idx) (&(cpu)->neg.tlb.f[mmu_idx])
#endif

/* As qdev_add_vm_change_state_handler(), for a handler that can't fail */
static inline VMChangeStateEntry *
age_add_vm_change_state_handler(DeviceState *dev, VMChangeStateHandler *cb,
                                void *opaque)
{
#if AGE_QEMU_SINCE(10, 2)
    return qdev_add_vm_change_state_handler(dev, cb, NULL, opaque);
#else
    return qdev_add_vm_change_state_handler(dev, cb, opaque);
#endif
}

#endif /* SYSTEM_AGE_COMPAT_H */
