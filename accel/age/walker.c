/*
 * The "hardware" page table walker
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "walker.h"

#define REGION_SHIFT    (AGE_PAGE_SHIFT + AGE_LEVEL_SHIFT)

/* Readers of statistics only need to see whole values. */
static void count(uint64_t *counter)
{
    qatomic_set(counter, *counter + 1);
}

/* The tallest leaf that fits @slot and its host memory around @gpa */
static int leaf_height(const AgePageTable *pt, const AgeMemSlot *slot,
                       hwaddr gpa)
{
    int height;

    for (height = pt->leaf_height; height > 0; height--) {
        uint64_t size = age_height_size(height);
        hwaddr base = ROUND_DOWN(gpa, size);

        if (base >= slot->gpa && base + size <= age_slot_end(slot) &&
            QEMU_IS_ALIGNED(slot->hva - slot->gpa, size)) {
            break;
        }
    }
    return height;
}

/* The leaf, old and clean, that should map @gpa; 0 if it has no memory */
static uint64_t wanted_leaf(const AgeAddressSpace *space, hwaddr gpa,
                            int *height)
{
    const AgePageTable *pt = &space->pt;
    const AgeMemSlot *slot = age_slots_find(age_memory_slots(&space->mem), gpa);
    hwaddr base;

    if (!slot) {
        return 0;
    }
    *height = leaf_height(pt, slot, gpa);
    base = ROUND_DOWN(gpa, age_height_size(*height));
    return age_make_leaf(pt->fmt, slot->hva + (base - slot->gpa), *height,
                         slot->readonly ? AGE_LEAF_RO : AGE_LEAF_RW);
}

/*
 * Handle an EPT violation or stage-2 translation fault: look up what should
 * be mapped, and map it.  The topology may change between the two.  Then
 * age_pt_zap() may have passed already, and our leaf would stay behind with a
 * frame that is not the guest's any more: so look whether the sequence number
 * moved, and if it did, give that leaf the frame that it should have now.
 *
 * Returns the leaf, or 0 if there is no memory.
 */
static uint64_t map_wanted(AgeAddressSpace *space, hwaddr gpa, AgePath *path)
{
    AgePageTable *pt = &space->pt;
    uint64_t stale = 0;

    for (;;) {
        unsigned seq = age_pt_read_seq(pt);
        int height = 0;
        uint64_t leaf = wanted_leaf(space, gpa, &height);
        uint64_t entry;

        if (stale) {
            age_pt_remap(pt, path, stale, height == path->height ? leaf : 0);
        }
        if (!leaf) {
            return 0;
        }
        entry = age_pt_map(pt, gpa, leaf, height, path);
        /* Pairs with the first barrier in age_pt_zap(). */
        smp_mb__after_rmw();
        if (age_pt_read_seq(pt) == seq) {
            return entry;
        }
        stale = entry;
    }
}

/* Find the path to @gpa: in the cache if it is there, else by a walk. */
static void find_path(AgeWalkCacheSlot *slot, const AgePageTable *pt,
                      hwaddr gpa)
{
    uint64_t region = gpa >> REGION_SHIFT;
    unsigned seq = age_pt_read_seq(pt);
    uint64_t *table;

    if (slot->region == region + 1 && slot->seq == seq) {
        table = (uint64_t *)ROUND_DOWN((uintptr_t)slot->path.entry[0],
                                       AGE_PAGE_SIZE);
        slot->path.entry[0] = &table[(gpa >> AGE_PAGE_SHIFT) &
                                     (AGE_TABLE_ENTRIES - 1)];
        return;
    }
    /* Whatever is walked from here on may be remembered with this number. */
    slot->seq = seq;
    slot->region = region + 1;
    age_pt_walk(pt, gpa, &slot->path);
}

/* One try; returns false if the leaf vanished on the way. */
static bool walk_once(AgeWalkStats *stats, AgeAddressSpace *space,
                      AgePath *path, hwaddr gpa, bool write)
{
    const AgeFormat *fmt = space->pt.fmt;
    uint64_t leaf = qatomic_read(path->entry[path->height]);
    AgeMarked marked;

    if (!age_entry_present(fmt, leaf)) {
        leaf = map_wanted(space, gpa, path);
        if (!leaf) {
            count(&stats->unmapped);
            return true;
        }
        count(&stats->violations);
    }
    if (write && !age_entry_writable(fmt, leaf)) {
        count(&stats->denied);
        return true;
    }
    marked = age_pt_mark(&space->pt, path, write);
    if (marked.accessed) {
        count(&stats->accessed);
    }
    if (marked.dirty) {
        count(&stats->dirty);
    }
    return marked.present;
}

void age_walk(AgeWalker *w, AgeAddressSpace *space, unsigned index,
              hwaddr gpa, bool write)
{
    AgeWalkCacheSlot *slot = &w->cache[index].slot[(gpa >> REGION_SHIFT) %
                                                   AGE_WALK_CACHE_SIZE];

    count(&w->stats.fills);
    if (gpa >= space->mem.gpa_limit) {
        count(&w->stats.unmapped);
        return;
    }
    find_path(slot, &space->pt, gpa);
    while (!walk_once(&w->stats, space, &slot->path, gpa, write)) {
        count(&w->stats.retries);
        age_pt_walk(&space->pt, gpa, &slot->path);
    }
    if (slot->path.height > 0) {
        /* Only paths to a table of pages serve a whole region. */
        slot->region = 0;
    }
}
