/*
 * The host memory behind a range of guest-physical addresses
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "accel/age/pt/contract.h"
#include "backing.h"

/*
 * Does one of the first @num spaces map @gpa to the same page as @slot?  Sets
 * @end to how far the answer holds.
 */
static bool mapped_before(const AgeMMU *mmu, unsigned num,
                          const AgeMemSlot *slot, hwaddr gpa, hwaddr *end)
{
    for (unsigned i = 0; i < num; i++) {
        const AgeMemSlots *slots = age_memory_slots(&mmu->space[i]->mem);
        unsigned k = age_slots_lower_bound(slots, gpa);
        const AgeMemSlot *other = &slots->slot[k];

        if (k == slots->num || other->gpa >= *end) {
            continue;
        }
        if (other->gpa > gpa) {
            *end = other->gpa;
            continue;
        }
        *end = MIN(*end, age_slot_end(other));
        if (other->hva - other->gpa == slot->hva - slot->gpa) {
            return true;
        }
    }
    return false;
}

/*
 * What @slot has of [@start, @range_end).  The spaces of a machine map most
 * memory alike; each page is listed once: not if one of the first @before
 * spaces has it.
 */
static void add_slot(const AgeMMU *mmu, unsigned range, unsigned before,
                     const AgeMemSlot *slot, hwaddr start, hwaddr range_end,
                     GArray *pieces)
{
    hwaddr gpa = MAX(start, slot->gpa);
    hwaddr stop = MIN(range_end, age_slot_end(slot));

    while (gpa < stop) {
        hwaddr end = stop;

        if (!mapped_before(mmu, before, slot, gpa, &end)) {
            AgePiece piece = {
                .start = slot->hva + (gpa - slot->gpa),
                .end = slot->hva + (end - slot->gpa),
                .range = range,
                .first_bit = (range_end - end) >> AGE_PAGE_SHIFT,
            };

            g_array_append_val(pieces, piece);
        }
        gpa = end;
    }
}

void age_backing_of_gpa(const AgeMMU *mmu, const AgeAddressSpace *only,
                        unsigned range, hwaddr start, hwaddr end,
                        GArray *pieces)
{
    assert(age_in_rcu_read());
    for (unsigned i = 0; i < age_mmu_num_spaces(mmu); i++) {
        const AgeMemSlots *slots = age_memory_slots(&mmu->space[i]->mem);

        if (only && only != mmu->space[i]) {
            continue;
        }
        for (unsigned k = age_slots_lower_bound(slots, start);
             k < slots->num && slots->slot[k].gpa < end; k++) {
            add_slot(mmu, range, only ? 0 : i, &slots->slot[k], start, end,
                     pieces);
        }
    }
}
