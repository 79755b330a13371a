/*
 * Memory slots
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/rcu_queue.h"
#include "exec/memory.h"
#include "format.h"
#include "slots.h"

const AgeMemSlots *age_memory_slots(const AgeMemory *mem)
{
    return qatomic_rcu_read(&mem->slots);
}

unsigned age_slots_lower_bound(const AgeMemSlots *slots, hwaddr gpa)
{
    unsigned low = 0, high = slots->num;

    while (low < high) {
        unsigned mid = low + (high - low) / 2;

        if (age_slot_end(&slots->slot[mid]) > gpa) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    return low;
}

const AgeMemSlot *age_slots_find(const AgeMemSlots *slots, hwaddr gpa)
{
    unsigned i = age_slots_lower_bound(slots, gpa);

    return i < slots->num && slots->slot[i].gpa <= gpa ? &slots->slot[i] : NULL;
}

static AgeMemSlots *slots_new(unsigned num)
{
    AgeMemSlots *slots = g_malloc(sizeof(*slots) + num * sizeof(AgeMemSlot));

    slots->num = num;
    return slots;
}

/* RCU callbacks run with the BQL held, as memory_region_unref() may need. */
static void slots_free(AgeMemSlots *slots)
{
    for (unsigned i = 0; i < slots->num; i++) {
        memory_region_unref(slots->slot[i].mr);
    }
    g_free(slots);
}

/*
 * The part of @section that can be a slot: whole pages of RAM or of something
 * that reads like RAM.  Returns false if there is none.
 */
static bool slot_from_section(const AgeMemory *mem, AgeMemSlot *slot,
                              const MemoryRegionSection *section)
{
    MemoryRegion *mr = section->mr;
    hwaddr start = section->offset_within_address_space;
    Int128 section_end = int128_add(int128_make64(start), section->size);
    hwaddr aligned = ROUND_UP(start, AGE_PAGE_SIZE);
    hwaddr end;

    if ((!memory_region_is_ram(mr) && !memory_region_is_romd(mr)) ||
        start >= mem->gpa_limit) {
        return false;
    }
    end = int128_get64(int128_min(section_end,
                                  int128_make64(mem->gpa_limit)));
    end = ROUND_DOWN(end, AGE_PAGE_SIZE);
    if (end <= aligned) {
        return false;
    }
    *slot = (AgeMemSlot) {
        .gpa = aligned,
        .size = end - aligned,
        .hva = (uintptr_t)memory_region_get_ram_ptr(mr) +
               section->offset_within_region + (aligned - start),
        .readonly = section->readonly || mr->readonly ||
                    memory_region_is_romd(mr),
        .device = memory_region_is_ram_device(mr),
        .mr = mr,
    };
    /* Sub-page alignment of the host memory: no page is whole there. */
    return QEMU_IS_ALIGNED(slot->hva, AGE_PAGE_SIZE);
}

static GArray *pending_slots(AgeMemory *mem)
{
    if (!mem->pending) {
        AgeMemSlots *now = mem->slots;

        mem->pending = g_array_new(false, false, sizeof(AgeMemSlot));
        g_array_append_vals(mem->pending, now->slot, now->num);
    }
    return mem->pending;
}

static void age_region_add(MemoryListener *listener,
                           MemoryRegionSection *section)
{
    AgeMemory *mem = container_of(listener, AgeMemory, listener);
    AgeMemSlot slot;

    if (slot_from_section(mem, &slot, section)) {
        g_array_append_val(pending_slots(mem), slot);
    }
}

/*
 * Goes by the address alone: a flash device may have left its read mode, in
 * which it was a slot, by the time it is deleted.  Most of what is deleted is
 * no slot at all.
 */
static void age_region_del(MemoryListener *listener,
                           MemoryRegionSection *section)
{
    AgeMemory *mem = container_of(listener, AgeMemory, listener);
    hwaddr start = section->offset_within_address_space;
    Int128 end = int128_add(int128_make64(start), section->size);
    GArray *pending = mem->pending;

    if (!pending) {
        unsigned i = age_slots_lower_bound(mem->slots, start);

        if (i == mem->slots->num ||
            int128_ge(int128_make64(mem->slots->slot[i].gpa), end)) {
            return;
        }
        pending = pending_slots(mem);
    }
    for (unsigned i = pending->len; i-- > 0;) {
        AgeMemSlot *slot = &g_array_index(pending, AgeMemSlot, i);

        if (slot->gpa >= start &&
            int128_le(int128_make64(age_slot_end(slot)), end)) {
            g_array_remove_index_fast(pending, i);
        }
    }
}

static int compare_gpa(gconstpointer a, gconstpointer b)
{
    const AgeMemSlot *sa = a, *sb = b;

    return sa->gpa < sb->gpa ? -1 : sa->gpa > sb->gpa;
}

/* Do both slots, which overlap, map a page of the overlap the same way? */
static bool same_mapping(const AgeMemSlot *a, const AgeMemSlot *b)
{
    return a->hva - a->gpa == b->hva - b->gpa && a->readonly == b->readonly &&
           a->mr == b->mr;
}

/*
 * Report [@start, @end), of which @now maps nothing as it was before.  Where
 * @now has a hole, report all of the hole: so the tables that mapped a slot in
 * it go as a whole, and don't stay behind with a few entries zapped.
 */
static void report_range(AgeMemory *mem, const AgeMemSlots *now, hwaddr start,
                         hwaddr end)
{
    while (start < end) {
        unsigned i = age_slots_lower_bound(now, start);
        const AgeMemSlot *slot = i < now->num ? &now->slot[i] : NULL;
        hwaddr from = start, to = slot ? slot->gpa : mem->gpa_limit;

        if (slot && slot->gpa <= start) {
            to = MIN(end, age_slot_end(slot));
        } else {
            from = i > 0 ? age_slot_end(&now->slot[i - 1]) : 0;
        }
        mem->unmapped(mem, from, to);
        start = to;
    }
}

/*
 * Report what of @old is not mapped the same way in @now.  What stays where
 * it is keeps its accessed bits when something beside it changes, as when the
 * firmware makes the low memory of a PC writable and read-only in turns.
 */
static void report_unmapped(AgeMemory *mem, const AgeMemSlot *old,
                            const AgeMemSlots *now)
{
    hwaddr from = old->gpa;

    for (unsigned i = age_slots_lower_bound(now, old->gpa);
         i < now->num && now->slot[i].gpa < age_slot_end(old); i++) {
        const AgeMemSlot *slot = &now->slot[i];

        if (same_mapping(old, slot)) {
            report_range(mem, now, from, slot->gpa);
            from = age_slot_end(slot);
        }
    }
    report_range(mem, now, from, age_slot_end(old));
}

static void publish(AgeMemory *mem, AgeMemSlots *now)
{
    AgeMemSlots *old = mem->slots;

    qatomic_rcu_set(&mem->slots, now);
    for (unsigned i = 0; i < old->num; i++) {
        report_unmapped(mem, &old->slot[i], now);
    }
    call_rcu(old, slots_free, rcu);
}

static void age_commit(MemoryListener *listener)
{
    AgeMemory *mem = container_of(listener, AgeMemory, listener);
    g_autoptr(GArray) pending = g_steal_pointer(&mem->pending);
    AgeMemSlots *now;

    if (!pending) {
        return;
    }
    g_array_sort(pending, compare_gpa);
    now = slots_new(pending->len);
    for (unsigned i = 0; i < now->num; i++) {
        now->slot[i] = g_array_index(pending, AgeMemSlot, i);
        memory_region_ref(now->slot[i].mr);
    }
    publish(mem, now);
}

void age_memory_init(AgeMemory *mem, const char *name, AddressSpace *as)
{
    mem->slots = slots_new(0);
    mem->listener = (MemoryListener) {
        .name = name,
        .priority = MEMORY_LISTENER_PRIORITY_ACCEL,
        .region_add = age_region_add,
        .region_del = age_region_del,
        .commit = age_commit,
    };
    memory_listener_register(&mem->listener, as);
}

void age_memory_cleanup(AgeMemory *mem)
{
    memory_listener_unregister(&mem->listener);
    g_clear_pointer(&mem->pending, g_array_unref);
    publish(mem, slots_new(0));
}
