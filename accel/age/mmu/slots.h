/*
 * Memory slots: which guest-physical pages are RAM, and where QEMU has it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MMU_SLOTS_H
#define ACCEL_AGE_MMU_SLOTS_H

#include "qemu/rcu.h"
#include "system/age-compat.h"
#include "accel/age/pt/format.h"

/**
 * AgeMemSlot: a range of guest-physical pages that host memory backs
 *
 * What KVM would have as a memory slot: RAM, or a ROM or flash device that
 * is in its read mode.  Whole pages only.
 *
 * @gpa: first guest-physical address
 * @size: in bytes
 * @hva: host-virtual address of the first byte
 * @readonly: the guest can't write to it
 * @device: it is a device's own memory
 * @backend_id: name of the memory backend that it is of, an interned string;
 *     NULL if it is of none
 * @mr: the memory region it belongs to, to which the slot holds a reference
 */
typedef struct AgeMemSlot {
    hwaddr gpa;
    uint64_t size;
    uint64_t hva;
    bool readonly;
    bool device;
    MemoryRegion *mr;
    const char *backend_id;
} AgeMemSlot;

/**
 * AgeUnserved: a range of guest-physical memory that no slot can have
 *
 * @gpa: guest-physical address of its first byte
 * @size: in bytes
 * @reason: why, a static string
 */
typedef struct AgeUnserved {
    hwaddr gpa;
    uint64_t size;
    const char *reason;
} AgeUnserved;

/**
 * AgeMemSlots: the slots of an address space at one time
 *
 * Never changes once it is published; a change publishes another one and
 * frees this one after a grace period.
 *
 * @num: number of slots
 * @num_unserved: number of ranges without a slot
 * @unserved: these ranges, by ascending @gpa, behind the slots
 * @slot: the slots, by ascending @gpa; they do not overlap
 */
typedef struct AgeMemSlots {
    struct rcu_head rcu;
    unsigned num;
    unsigned num_unserved;
    AgeUnserved *unserved;
    AgeMemSlot slot[];
} AgeMemSlots;

typedef struct AgeMemory AgeMemory;

/**
 * AgeMemory: follows the topology of an #AddressSpace
 *
 * @listener: hears of changes, with the BQL held
 * @slots: the current slots; read with age_memory_slots()
 * @pending: the slots to be, inside a transaction that changes them
 * @pending_unserved: what no slot can have by then
 * @gpa_limit: slots end at this guest-physical address at most
 * @unmapped: called for each range whose pages are gone, or are others now,
 *     after the slots that tell so were published
 * @gone: called after that for each range of the host's memory that is nowhere
 *     where it was; may be NULL
 */
struct AgeMemory {
    MemoryListener listener;
    AgeMemSlots *slots;
    GArray *pending;
    GArray *pending_unserved;
    hwaddr gpa_limit;
    void (*unmapped)(AgeMemory *mem, hwaddr start, hwaddr end);
    void (*gone)(AgeMemory *mem, uint64_t start, uint64_t end);
};

/**
 * age_memory_init: begin to follow an address space
 * @mem: with @gpa_limit and @unmapped filled in
 * @name: name of the listener, which is not copied
 * @as: the address space
 *
 * Context: BQL held.
 */
void age_memory_init(AgeMemory *mem, const char *name, AddressSpace *as);

/**
 * age_memory_cleanup: stop following; all slots go
 * @mem: the memory
 *
 * Context: BQL held.
 */
void age_memory_cleanup(AgeMemory *mem);

/**
 * age_memory_slots: the slots as of now
 * @mem: the memory
 *
 * Returns: never NULL.
 * Context: RCU read-side critical section, in which the result is valid.
 */
const AgeMemSlots *age_memory_slots(const AgeMemory *mem);

/**
 * age_slots_find: the slot of a guest-physical address
 * @slots: the slots
 * @gpa: guest-physical address
 *
 * Returns: NULL if no memory backs @gpa.
 */
const AgeMemSlot *age_slots_find(const AgeMemSlots *slots, hwaddr gpa);

/**
 * age_slots_lower_bound: where to begin a loop over a range
 * @slots: the slots
 * @gpa: start of the range
 *
 * Returns: the index of the first slot that ends behind @gpa, or @slots->num.
 */
unsigned age_slots_lower_bound(const AgeMemSlots *slots, hwaddr gpa);

/**
 * age_slot_leaf_height: the tallest leaf that can map a part of a slot
 * @slot: the slot
 * @max: the tallest that is wanted
 */
int age_slot_leaf_height(const AgeMemSlot *slot, int max);

static inline hwaddr age_slot_end(const AgeMemSlot *slot)
{
    return slot->gpa + slot->size;
}

/* Can one leaf of @height map what @slot has from @base on, with its size? */
static inline bool age_slot_has_leaf(const AgeMemSlot *slot, hwaddr base,
                                     int height)
{
    uint64_t size = age_height_size(height);

    return base >= slot->gpa && base + size <= age_slot_end(slot) &&
           QEMU_IS_ALIGNED(slot->hva - slot->gpa, size);
}

#endif /* ACCEL_AGE_MMU_SLOTS_H */
