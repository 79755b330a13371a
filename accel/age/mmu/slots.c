/*
 * Memory slots
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/error-report.h"
#include "qemu/rcu_queue.h"
#include "qemu/units.h"
#include "system/age-compat.h"
#include "system/hostmem.h"
#include "accel/age/pt/contract.h"
#include "slots.h"

/* Why memory has no slot */
static const char not_whole[] = "it is less than a page";
static const char not_aligned[] =
    "its guest-physical and host addresses differ within a page, so that no "
    "page of the guest's is one of the host's";
static const char not_translated[] =
    "it is beyond the guest-physical addresses that the page tables translate";

const AgeMemSlots *age_memory_slots(const AgeMemory *mem)
{
    assert(age_in_rcu_read());
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

int age_slot_leaf_height(const AgeMemSlot *slot, int max)
{
    int height;

    for (height = max; height > 0; height--) {
        if (age_slot_has_leaf(slot, ROUND_UP(slot->gpa,
                                             age_height_size(height)),
                              height)) {
            break;
        }
    }
    return height;
}

static AgeMemSlots *slots_new(unsigned num, unsigned num_unserved)
{
    AgeMemSlots *slots = g_malloc(sizeof(*slots) + num * sizeof(AgeMemSlot) +
                                  num_unserved * sizeof(AgeUnserved));

    slots->num = num;
    slots->num_unserved = num_unserved;
    slots->unserved = (AgeUnserved *)&slots->slot[num];
    return slots;
}

/* RCU callbacks run with the BQL held, as memory_region_unref() may need. */
static void slots_free(AgeMemSlots *slots)
{
    assert(bql_locked());
    for (unsigned i = 0; i < slots->num; i++) {
        memory_region_unref(slots->slot[i].mr);
    }
    g_free(slots);
}

/* Begin to change the slots, and what has none. */
static void begin_change(AgeMemory *mem)
{
    const AgeMemSlots *now = mem->slots;

    if (mem->pending) {
        return;
    }
    mem->pending = g_array_new(false, false, sizeof(AgeMemSlot));
    mem->pending_unserved = g_array_new(false, false, sizeof(AgeUnserved));
    g_array_append_vals(mem->pending, now->slot, now->num);
    g_array_append_vals(mem->pending_unserved, now->unserved,
                        now->num_unserved);
}

static void add_unserved(AgeMemory *mem, hwaddr start, uint64_t size,
                         const char *reason)
{
    AgeUnserved unserved = { .gpa = start, .size = size, .reason = reason };

    if (size) {
        begin_change(mem);
        g_array_append_val(mem->pending_unserved, unserved);
    }
}

/*
 * Who looks at slots may not look for names: that takes the BQL.  There are as
 * many names as backends in a guest's life, so that they may stay.
 */
static const char *backend_id(MemoryRegion *mr)
{
    Object *owner = memory_region_owner(mr);

    if (!object_dynamic_cast(owner, TYPE_MEMORY_BACKEND) || !owner->parent) {
        return NULL;
    }
    return g_intern_string(object_get_canonical_path_component(owner));
}

static void add_slot(AgeMemory *mem, const MemoryRegionSection *section,
                     hwaddr start, hwaddr end, uint64_t hva)
{
    MemoryRegion *mr = section->mr;
    AgeMemSlot slot = {
        .gpa = start,
        .size = end - start,
        .hva = hva,
        .readonly = section->readonly || mr->readonly ||
                    memory_region_is_romd(mr),
        .device = memory_region_is_ram_device(mr),
        .mr = mr,
        .backend_id = backend_id(mr),
    };

    begin_change(mem);
    g_array_append_val(mem->pending, slot);
}

/*
 * Memory at [@start, @end), all of which the page tables translate.  What can
 * be a slot are its whole pages, if each of them is one page of the host's: a
 * leaf has one frame.
 */
static void add_memory(AgeMemory *mem, const MemoryRegionSection *section,
                       hwaddr start, hwaddr end)
{
    hwaddr first = ROUND_UP(start, AGE_PAGE_SIZE);
    hwaddr last = ROUND_DOWN(end, AGE_PAGE_SIZE);
    uint64_t hva = (uintptr_t)memory_region_get_ram_ptr(section->mr) +
                   section->offset_within_region + (first - start);

    if (first >= last) {
        add_unserved(mem, start, end - start, not_whole);
    } else if (!QEMU_IS_ALIGNED(hva, AGE_PAGE_SIZE)) {
        add_unserved(mem, start, end - start, not_aligned);
    } else {
        add_unserved(mem, start, first - start, not_whole);
        add_slot(mem, section, first, last, hva);
        add_unserved(mem, last, end - last, not_whole);
    }
}

/* RAM, or something that reads like RAM; others are none of our business. */
static void age_region_add(MemoryListener *listener,
                           MemoryRegionSection *section)
{
    AgeMemory *mem = container_of(listener, AgeMemory, listener);
    hwaddr start = section->offset_within_address_space;
    uint64_t size = int128_get64(int128_min(section->size,
                                            int128_make64(UINT64_MAX)));
    uint64_t served = start < mem->gpa_limit
                      ? MIN(size, mem->gpa_limit - start) : 0;

    if (!memory_region_is_ram(section->mr) &&
        !memory_region_is_romd(section->mr)) {
        return;
    }
    if (served) {
        add_memory(mem, section, start, start + served);
    }
    add_unserved(mem, start + served, size - served, not_translated);
}

/* Is anything that has no slot in a range? */
static bool any_unserved(const AgeMemSlots *slots, hwaddr start, Int128 end)
{
    for (unsigned i = 0; i < slots->num_unserved; i++) {
        hwaddr gpa = slots->unserved[i].gpa;

        if (gpa >= start && int128_lt(int128_make64(gpa), end)) {
            return true;
        }
    }
    return false;
}

static bool any_slot(const AgeMemSlots *slots, hwaddr start, Int128 end)
{
    unsigned i = age_slots_lower_bound(slots, start);

    return i < slots->num &&
           int128_lt(int128_make64(slots->slot[i].gpa), end);
}

/* Does a range have all of what is at @gpa? */
static bool range_covers(hwaddr start, Int128 end, hwaddr gpa, uint64_t size)
{
    return gpa >= start &&
           int128_le(int128_add(int128_make64(gpa), int128_make64(size)), end);
}

static void remove_range(AgeMemory *mem, hwaddr start, Int128 end)
{
    GArray *pending = mem->pending, *unserved = mem->pending_unserved;

    for (unsigned i = pending->len; i-- > 0;) {
        AgeMemSlot *slot = &g_array_index(pending, AgeMemSlot, i);

        if (range_covers(start, end, slot->gpa, slot->size)) {
            g_array_remove_index_fast(pending, i);
        }
    }
    for (unsigned i = unserved->len; i-- > 0;) {
        AgeUnserved *range = &g_array_index(unserved, AgeUnserved, i);

        if (range_covers(start, end, range->gpa, range->size)) {
            g_array_remove_index_fast(unserved, i);
        }
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

    if (mem->pending || any_slot(mem->slots, start, end) ||
        any_unserved(mem->slots, start, end)) {
        begin_change(mem);
        remove_range(mem, start, end);
    }
}

static int compare_gpa(gconstpointer a, gconstpointer b)
{
    const AgeMemSlot *sa = a, *sb = b;

    return sa->gpa < sb->gpa ? -1 : sa->gpa > sb->gpa;
}

static int compare_unserved(gconstpointer a, gconstpointer b)
{
    const AgeUnserved *ua = a, *ub = b;

    return ua->gpa < ub->gpa ? -1 : ua->gpa > ub->gpa;
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

/* Report [@start, @end) of @old, which was there before. */
static void report_gone_part(AgeMemory *mem, const AgeMemSlot *old,
                             hwaddr start, hwaddr end)
{
    if (start < end) {
        mem->gone(mem, old->hva + (start - old->gpa),
                  old->hva + (end - old->gpa));
    }
}

/*
 * Report what of @old is not at the same place in @now.  Whether it may be
 * written does not matter.
 */
static void report_gone(AgeMemory *mem, const AgeMemSlot *old,
                        const AgeMemSlots *now)
{
    hwaddr from = old->gpa;

    for (unsigned i = age_slots_lower_bound(now, old->gpa);
         i < now->num && now->slot[i].gpa < age_slot_end(old); i++) {
        const AgeMemSlot *slot = &now->slot[i];

        if (slot->hva - slot->gpa == old->hva - old->gpa) {
            report_gone_part(mem, old, from, slot->gpa);
            from = age_slot_end(slot);
        }
    }
    report_gone_part(mem, old, from, age_slot_end(old));
}

static void publish_slots(AgeMemory *mem, AgeMemSlots *now)
{
    AgeMemSlots *old = mem->slots;

    qatomic_rcu_set(&mem->slots, now);
    for (unsigned i = 0; i < old->num; i++) {
        report_unmapped(mem, &old->slot[i], now);
    }
    for (unsigned i = 0; mem->gone && i < old->num; i++) {
        report_gone(mem, &old->slot[i], now);
    }
    call_rcu(old, slots_free, rcu);
}

/*
 * Whoever has memory of which nothing will ever be young should know.  Once is
 * enough: guests move what they have around.  Less than a page is a device's
 * buffer, and not worth the alarm.
 */
static void warn_unserved(const AgeMemSlots *slots)
{
    for (unsigned i = 0; i < slots->num_unserved; i++) {
        const AgeUnserved *range = &slots->unserved[i];

        if (range->size >= AGE_PAGE_SIZE) {
            warn_report_once("age: accesses to memory at 0x%" HWADDR_PRIx
                             " (%" PRIu64 " KiB) will not be seen: %s; "
                             "query-age lists all that is not served",
                             range->gpa, range->size / KiB, range->reason);
        }
    }
}

static AgeMemSlots *slots_from_pending(GArray *pending, GArray *unserved)
{
    AgeMemSlots *slots = slots_new(pending->len, unserved->len);

    g_array_sort(pending, compare_gpa);
    for (unsigned i = 0; i < slots->num; i++) {
        slots->slot[i] = g_array_index(pending, AgeMemSlot, i);
        memory_region_ref(slots->slot[i].mr);
    }
    g_array_sort(unserved, compare_unserved);
    for (unsigned i = 0; i < slots->num_unserved; i++) {
        slots->unserved[i] = g_array_index(unserved, AgeUnserved, i);
    }
    return slots;
}

static void age_commit(MemoryListener *listener)
{
    AgeMemory *mem = container_of(listener, AgeMemory, listener);
    g_autoptr(GArray) pending = g_steal_pointer(&mem->pending);
    g_autoptr(GArray) unserved = g_steal_pointer(&mem->pending_unserved);
    AgeMemSlots *now;

    assert(bql_locked());
    if (pending) {
        now = slots_from_pending(pending, unserved);
        publish_slots(mem, now);
        warn_unserved(now);
    }
}

void age_memory_init(AgeMemory *mem, const char *name, AddressSpace *as)
{
    assert(bql_locked());
    mem->slots = slots_new(0, 0);
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
    assert(bql_locked());
    memory_listener_unregister(&mem->listener);
    g_clear_pointer(&mem->pending, g_array_unref);
    g_clear_pointer(&mem->pending_unserved, g_array_unref);
    publish_slots(mem, slots_new(0, 0));
}
