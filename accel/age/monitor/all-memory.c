/*
 * All memory of the guest as the ranges of a command
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "accel/age/tcg/age-int.h"
#include "all-memory.h"

static void add_slots(GArray *ranges, AgeAddressType type,
                      const AgeAddressSpace *space)
{
    const AgeMemSlots *slots = age_memory_slots(&space->mem);

    for (unsigned i = 0; i < slots->num; i++) {
        const AgeMemSlot *slot = &slots->slot[i];
        uint64_t start = type == AGE_ADDRESS_TYPE_HVA ? slot->hva : slot->gpa;
        AgeRange range = { .start = start, .end = start + slot->size };

        g_array_append_val(ranges, range);
    }
}

static GArray *collect_slots(AgeAddressType type, const AgeAddressSpace *only)
{
    GArray *ranges = g_array_new(false, false, sizeof(AgeRange));
    const AgeMMU *mmu = &age_state.mmu;

    RCU_READ_LOCK_GUARD();
    for (unsigned i = 0; i < age_mmu_num_spaces(mmu); i++) {
        if (!only || only == mmu->space[i]) {
            add_slots(ranges, type, mmu->space[i]);
        }
    }
    return ranges;
}

static int compare_start(gconstpointer a, gconstpointer b)
{
    const AgeRange *ra = a, *rb = b;

    return ra->start < rb->start ? -1 : ra->start > rb->start;
}

AgeRangeArgList *age_all_memory(AgeAddressType type,
                                const AgeAddressSpace *space)
{
    g_autoptr(GArray) ranges = collect_slots(type, space);
    AgeRangeArgList *list = NULL, **tail = &list;
    AgeRangeArg *last = NULL;

    g_array_sort(ranges, compare_start);
    for (unsigned i = 0; i < ranges->len; i++) {
        const AgeRange *range = &g_array_index(ranges, AgeRange, i);

        if (last && range->start <= last->end) {
            last->end = MAX(last->end, range->end);
            continue;
        }
        last = g_new0(AgeRangeArg, 1);
        last->start = range->start;
        last->end = range->end;
        QAPI_LIST_APPEND(tail, last);
    }
    return list;
}
