/*
 * age: TCG with a second-stage MMU whose accessed bits can be harvested
 *
 * A guest under this accelerator runs as under TCG, of which it is a child.
 * Beside that, each page of RAM that the guest's vCPUs access gets an entry
 * in a shadow of what a hypervisor would have: Intel EPT for x86 guests, Arm
 * stage 2 for Arm guests.  The walk that hardware would do is done when a
 * vCPU's TLB misses, and sets accessed bits; age-test-clear-young tests and
 * clears them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qapi/error.h"
#include "qapi/qapi-builtin-visit.h"
#include "qapi/visitor.h"
#include "exec/target_page.h"
#include "system/age-compat.h"
#include "accel/age/mmu/arch.h"
#include "accel/age/mmu/generation.h"
#include "age-int.h"
#include "flush.h"
#include "tlb-fill.h"
#include "vcpu.h"

#define TYPE_AGE_ACCEL ACCEL_CLASS_NAME("age")

AgeState age_state = {
    .hw_ad = true,
    .haft = true,
};
bool age_allowed;

/* The parent's class, whose functions ours chain to */
static AccelClass *tcg_class(void)
{
    return ACCEL_CLASS(object_class_by_name(ACCEL_CLASS_NAME("tcg")));
}

/*
 * A leaf maps one page of the host, the guest and TCG alike.  Fatal at once,
 * before TCG is set up: it can be set up only once, so that falling back to
 * another accelerator would be in vain.
 */
static void check_machine(void)
{
    if (!age_arch()) {
        error_report("age: no second-stage page table format for %s guests",
                     target_name());
        exit(1);
    }
    if (qemu_real_host_page_size() != AGE_PAGE_SIZE) {
        error_report("age: the host's pages are of %zu bytes, but must be of "
                     "4096; use -accel tcg on this host",
                     (size_t)qemu_real_host_page_size());
        exit(1);
    }
}

int age_init_machine(AccelState *as, MachineState *ms)
{
    AgeMMU *mmu = &age_state.mmu;
    int ret;

    check_machine();
    ret = age_call_init_machine(tcg_class(), as, ms);
    if (ret < 0) {
        return ret;
    }
    mmu->fmt = age_arch_format(age_arch(), age_state.hw_ad, age_state.haft);
    mmu->flush = age_flush_request;
    mmu->flush_later = age_flush_request_later;
    mmu->leaf_height = age_state.page_size;
    mmu->all_memory = true;
    /* It comes before all devices, so the name is free. */
    age_mmu_init(mmu, "age", &error_abort);
    age_load_init();
    age_allowed = true;
    /* Its properties can be reached at /machine/age then. */
    object_property_add_child(OBJECT(ms), "age", OBJECT(current_accel()));
    return 0;
}

/*
 * A machine's pages depend on the CPUs it may have, which a machine without
 * any can't say.
 */
static bool age_cpu_common_realize(CPUState *cpu, Error **errp)
{
    if (qemu_target_page_size() != AGE_PAGE_SIZE) {
        error_setg(errp, "age: this machine's pages are of %zu bytes, but "
                   "must be of 4096; use -accel tcg for it",
                   qemu_target_page_size());
        return false;
    }
    age_tlb_wrap_ops(cpu);
    return tcg_class()->cpu_common_realize(cpu, errp);
}

static void age_cpu_common_unrealize(CPUState *cpu)
{
    tcg_class()->cpu_common_unrealize(cpu);
    age_vcpu_remove(cpu);
}

/* For "info mtree -f": which memory is known to the accelerator */
static bool age_has_memory(AgeMemoryOwner *owner, AddressSpace *as,
                           hwaddr start, hwaddr size)
{
    AgeMMU *mmu = &age_state.mmu;

    RCU_READ_LOCK_GUARD();
    for (unsigned i = 0; i < age_mmu_num_spaces(mmu); i++) {
        AgeMemory *mem = &mmu->space[i]->mem;
        const AgeMemSlot *slot = age_slots_find(age_memory_slots(mem), start);

        if (mem->listener.address_space->root == as->root && slot &&
            age_slot_end(slot) - start >= size) {
            return true;
        }
    }
    return false;
}

static int age_get_page_size(Object *obj, Error **errp)
{
    return age_state.page_size;
}

/* The enumeration is in the order of heights. */
static void age_set_page_size(Object *obj, int value, Error **errp)
{
    QEMU_BUILD_BUG_ON(AGE_LEAF_SIZE_1G != AGE_MAX_LEAF_HEIGHT);
    if (age_enabled()) {
        error_setg(errp, "page-size can't be changed after the start");
        return;
    }
    age_state.page_size = value;
}

static int age_get_flush(Object *obj, Error **errp)
{
    return age_state.flush;
}

static void age_set_flush(Object *obj, int value, Error **errp)
{
    age_state.flush = value;
}

static bool age_get_tlb_grow(Object *obj, Error **errp)
{
    return qatomic_read(&age_state.tlb_grow);
}

static void age_set_tlb_grow(Object *obj, bool value, Error **errp)
{
    qatomic_set(&age_state.tlb_grow, value);
}

static bool age_get_hw_ad(Object *obj, Error **errp)
{
    return age_state.hw_ad;
}

static void age_set_hw_ad(Object *obj, bool value, Error **errp)
{
    if (age_enabled() && value != age_state.hw_ad) {
        age_mmu_set_format(&age_state.mmu,
                           age_arch_format(age_arch(), value,
                                           age_state.haft));
    }
    age_state.hw_ad = value;
}

/* Can hardware be without accessed flags in its tables? */
static bool arch_has_haft(void)
{
    const AgeArch *arch = age_arch();

    return arch && arch->no_haft;
}

static bool age_get_haft(Object *obj, Error **errp)
{
    return age_state.haft && arch_has_haft();
}

/* While the guest runs, a table flag that was not set would hide pages. */
static void age_set_haft(Object *obj, bool value, Error **errp)
{
    if (!arch_has_haft()) {
        error_setg(errp, "haft is a feature of Arm processors; EPT always has "
                   "accessed flags in its tables");
        return;
    }
    if (age_enabled()) {
        error_setg(errp, "haft can't be changed after the start");
        return;
    }
    age_state.haft = value;
}

static void age_get_levels(Object *obj, Visitor *v, const char *name,
                           void *opaque, Error **errp)
{
    uint8_t levels = age_state.mmu.num_spaces ?
                     age_state.mmu.geo.root_height + 1 : age_state.levels;

    visit_type_uint8(v, name, &levels, errp);
}

static void age_set_levels(Object *obj, Visitor *v, const char *name,
                           void *opaque, Error **errp)
{
    const AgeArch *arch = age_arch();
    uint8_t levels;

    if (!visit_type_uint8(v, name, &levels, errp)) {
        return;
    }
    if (age_enabled()) {
        error_setg(errp, "levels can't be changed after the start");
        return;
    }
    /* Without a table for this target the start ends before it is used. */
    if (levels && arch &&
        (levels < arch->min_levels || levels > arch->max_levels)) {
        error_setg(errp, "levels=%u: page tables have %u to %u levels, or 0 to "
                   "have as many as the CPU needs", levels, arch->min_levels,
                   arch->max_levels);
        return;
    }
    age_state.levels = levels;
}

static bool age_get_protected(Object *obj, Error **errp)
{
    return age_state.mmu.refusal;
}

static void age_set_protected(Object *obj, bool value, Error **errp)
{
    const AgeArch *arch = age_arch();

    if (value && !(arch && arch->can_be_protected)) {
        error_setg(errp, "only Arm guests can be protected");
        return;
    }
    qatomic_set(&age_state.mmu.refusal,
                value ? "the guest is protected (protected=on)" : NULL);
}

static void age_accel_class_init(ObjectClass *oc, AgeClassData *data)
{
    AccelClass *ac = ACCEL_CLASS(oc);

    ac->name = "age";
    ac->init_machine = age_init_machine_entry;
    ac->cpu_common_realize = age_cpu_common_realize;
    ac->cpu_common_unrealize = age_cpu_common_unrealize;
    ac->has_memory = age_has_memory;
    ac->allowed = &age_allowed;

    object_class_property_add_enum(oc, "page-size", "AgeLeafSize",
                                   &AgeLeafSize_lookup,
                                   age_get_page_size, age_set_page_size);
    object_class_property_set_description(oc, "page-size",
        "Largest piece of memory that one page table leaf maps");

    object_class_property_add_enum(oc, "flush", "AgeFlush", &AgeFlush_lookup,
                                   age_get_flush, age_set_flush);
    object_class_property_set_description(oc, "flush",
        "What a harvest does about the TLBs of the vCPUs by default");

    object_class_property_add(oc, "levels", "uint8", age_get_levels,
                              age_set_levels, NULL, NULL);
    object_class_property_set_description(oc, "levels",
        "Levels of the page tables (default: as many as the CPU needs)");

    object_class_property_add_bool(oc, "haft", age_get_haft, age_set_haft);
    object_class_property_set_description(oc, "haft",
        "Arm: hardware sets accessed flags in table descriptors, too");

    object_class_property_add_bool(oc, "hw-ad", age_get_hw_ad, age_set_hw_ad);
    object_class_property_set_description(oc, "hw-ad",
        "Accessed bits are set by hardware, rather than by faults");

    object_class_property_add_bool(oc, "tlb-grow", age_get_tlb_grow,
                                   age_set_tlb_grow);
    object_class_property_set_description(oc, "tlb-grow",
        "TLBs of vCPUs grow when they are full, without a flush by the guest");

    object_class_property_add_bool(oc, "protected", age_get_protected,
                                   age_set_protected);
    object_class_property_set_description(oc, "protected",
        "The guest is protected from the host, so that harvests are refused");
}

/* instance_size is the parent's: TCG's state is private to TCG. */
static const TypeInfo age_accel_type = {
    .name = TYPE_AGE_ACCEL,
    .parent = ACCEL_CLASS_NAME("tcg"),
    .class_init = age_accel_class_init,
};
module_obj(TYPE_AGE_ACCEL);

static void age_register_types(void)
{
    type_register_static(&age_accel_type);
}

type_init(age_register_types);
