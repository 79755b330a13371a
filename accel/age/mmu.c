/*
 * A second-stage MMU: address spaces, each with its slots and its page table
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "harvest.h"
#include "mmu.h"
#include "trace.h"

unsigned age_mmu_num_spaces(const AgeMMU *mmu)
{
    /* Pairs with age_mmu_add_space(). */
    return qatomic_load_acquire(&mmu->num_spaces);
}

/* The slots that tell so are published already, as age_pt_zap() demands. */
static void space_unmapped(AgeMemory *mem, hwaddr start, hwaddr end)
{
    AgeAddressSpace *space = container_of(mem, AgeAddressSpace, mem);

    trace_age_unmapped(space->name, start, end);
    age_pt_zap(&space->pt, start, end);
}

/* Harvest the part of @slot that lies in @y */
static void harvest_slot(AgePageTable *pt, const AgeMemSlot *slot,
                         const AgeYoung *y, AgeHarvest *h)
{
    uint64_t start = MAX(y->start, slot->hva);
    uint64_t end = MIN(y->end, slot->hva + slot->size);

    if (start >= end) {
        return;
    }
    /*
     * The bits of a slot count from the end of the whole range: from the
     * frame that the last page would have, if the slot went on that far.
     */
    h->lsb_gfn = ((slot->gpa + (y->end - slot->hva)) >> AGE_PAGE_SHIFT) - 1 +
                 y->first_bit;
    age_pt_harvest(pt, slot->gpa + (start - slot->hva),
                   slot->gpa + (end - slot->hva), h);
}

static void harvest_space(AgeAddressSpace *space, const AgeYoung *y,
                          AgeHarvest *h)
{
    const AgeMemSlots *slots = age_memory_slots(&space->mem);

    for (unsigned i = 0; i < slots->num; i++) {
        harvest_slot(&space->pt, &slots->slot[i], y, h);
    }
}

static bool mmu_can_test_clear_young(AgeNotifier *n, const char **reason)
{
    return true;
}

static void mmu_test_clear_young(AgeNotifier *n, AgeYoung *y)
{
    AgeMMU *mmu = container_of(n, AgeMMU, notifier);
    unsigned num = age_mmu_num_spaces(mmu);
    AgeHarvest h = { .select = y->select, .young = y->young };

    for (unsigned i = 0; i < num; i++) {
        harvest_space(mmu->space[i], y, &h);
    }
    qatomic_add(&mmu->cleared, h.cleared);
    qatomic_add(&mmu->skipped, h.skipped);
    y->cleared += h.cleared;
}

static const AgeNotifierOps mmu_notifier_ops = {
    .can_test_clear_young = mmu_can_test_clear_young,
    .test_clear_young = mmu_test_clear_young,
};

bool age_mmu_init(AgeMMU *mmu, const char *name)
{
    if (!mmu->fmt->geometry(mmu->gpa_bits, &mmu->geo)) {
        return false;
    }
    mmu->notifier.ops = &mmu_notifier_ops;
    mmu->notifier.name = name;
    age_notifier_register(&mmu->notifier);
    return true;
}

AgeAddressSpace *age_mmu_add_space(AgeMMU *mmu, const char *name,
                                   AddressSpace *as)
{
    AgeAddressSpace *space;

    if (mmu->num_spaces == AGE_MAX_SPACES) {
        return NULL;
    }
    space = g_new0(AgeAddressSpace, 1);
    space->name = name;
    age_pt_init(&space->pt, mmu->fmt, mmu->gpa_bits, mmu->leaf_height);
    space->mem.gpa_limit = 1ULL << mmu->gpa_bits;
    space->mem.unmapped = space_unmapped;
    age_memory_init(&space->mem, name, as);

    mmu->space[mmu->num_spaces] = space;
    /* Pairs with age_mmu_num_spaces(): the space is whole when it counts. */
    qatomic_store_release(&mmu->num_spaces, mmu->num_spaces + 1);
    return space;
}
