/*
 * Which address spaces of the MMU a vCPU uses
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "system/age-compat.h"
#include "age-int.h"
#include "gpa-bits.h"
#include "vcpu-spaces.h"

/*
 * The MMU's space for one of the vCPU's address spaces.  vCPUs that see the
 * same memory share it.  The address spaces of the first of them are the ones
 * that are followed: on x86 each vCPU has a root of its own for SMM, but they
 * all look alike, and the first can't be unplugged.
 */
typedef struct SpaceKey {
    MemoryRegion *memory;
    int asidx;
} SpaceKey;

static SpaceKey space_key[AGE_MAX_SPACES];

static char *space_name(const AgeMMU *mmu, int asidx)
{
    const char *name = age_arch()->space_names[asidx];
    unsigned same = 1;

    for (unsigned i = 0; i < mmu->num_spaces; i++) {
        same += space_key[i].asidx == asidx;
    }
    return same == 1 ? g_strdup(name) : g_strdup_printf("%s%u", name, same);
}

/* Returns NULL for a space that will not be followed. */
static AgeAddressSpace *find_space(AgeMMU *mmu, CPUState *cpu, int asidx)
{
    AddressSpace *as = cpu_get_address_space(cpu, asidx);
    AgeAddressSpace *space;
    unsigned i;

    /* Arm's tag spaces come after a secure space that may be missing. */
    if (!as) {
        return NULL;
    }
    for (i = 0; i < mmu->num_spaces; i++) {
        if (space_key[i].memory == cpu->memory &&
            space_key[i].asidx == asidx) {
            return mmu->space[i];
        }
    }
    space = age_mmu_add_space(mmu, space_name(mmu, asidx), as);
    if (!space) {
        warn_report_once("age: CPU %d has an address space of its own, and "
                         "there are too many already: its accesses through "
                         "it will not be seen", cpu->cpu_index);
        return NULL;
    }
    space_key[i] = (SpaceKey) { .memory = cpu->memory, .asidx = asidx };
    return space;
}

/*
 * As many levels as the first CPU's physical addresses need: whatever the guest
 * may do with PCI windows, and whatever is plugged later, it can't use more.
 */
static void choose_geometry(AgeMMU *mmu, CPUState *cpu)
{
    const AgeFormat *fmt = age_mmu_format(mmu);
    unsigned bits = MIN(age_cpu_gpa_bits(cpu), fmt->max_gpa_bits);

    if (!fmt->geometry(bits, age_state.levels, &mmu->geo)) {
        error_report("age: levels=%u does not fit the %u bits of physical "
                     "address of this CPU; leave it out to have it chosen",
                     age_state.levels, bits);
        exit(1);
    }
}

void age_vcpu_find_spaces(AgeMMU *mmu, CPUState *cpu,
                          AgeAddressSpace *space[AGE_CPU_SPACES])
{
    assert(bql_locked());
    if (!mmu->num_spaces) {
        choose_geometry(mmu, cpu);
    }
    for (int i = 0; i < MIN(age_cpu_num_ases(cpu), AGE_CPU_SPACES); i++) {
        MemTxAttrs attrs = { .secure = i };

        /* Who walks takes the attribute for the number. */
        assert(cpu_asidx_from_attrs(cpu, attrs) == i);
        space[i] = find_space(mmu, cpu, i);
    }
}
