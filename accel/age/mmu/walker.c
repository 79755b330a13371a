/*
 * The "hardware" page table walker
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "accel/age/pt/contract.h"
#include "walker.h"

/* The epoch of an address space that a walker can't use: nothing is known */
static const uint64_t no_epoch = UINT64_MAX;

void age_walker_init(AgeWalker *w)
{
    for (int i = 0; i < AGE_CPU_SPACES; i++) {
        w->epoch[i] = w->space[i] ? &w->space[i]->pt.epoch : &no_epoch;
    }
}

/* Readers of statistics only need to see whole values. */
static void count_up(uint64_t *counter)
{
    qatomic_set(counter, *counter + 1);
}

/* The tallest leaf, up to @most, that fits @slot and its host memory at @gpa */
static int leaf_height(const AgeMemSlot *slot, hwaddr gpa, int most)
{
    int height;

    for (height = most; height > 0; height--) {
        if (age_slot_has_leaf(slot, ROUND_DOWN(gpa, age_height_size(height)),
                              height)) {
            break;
        }
    }
    return height;
}

/*
 * The tallest leaf, up to *@height, that should map @gpa, old and clean; 0 if
 * it has no memory.  Sets @height to the leaf's.
 */
static uint64_t wanted_leaf(const AgeAddressSpace *space, hwaddr gpa,
                            int *height)
{
    const AgePageTable *pt = &space->pt;
    const AgeMemSlot *slot = age_slots_find(age_memory_slots(&space->mem), gpa);
    hwaddr base;

    if (!slot) {
        return 0;
    }
    *height = leaf_height(slot, gpa, *height);
    base = ROUND_DOWN(gpa, age_height_size(*height));
    return age_make_leaf(age_pt_format(pt), slot->hva + (base - slot->gpa),
                         *height, slot->readonly ? AGE_LEAF_RO :
                         slot->device ? AGE_LEAF_DEVICE : AGE_LEAF_RW);
}

/*
 * Have @leaf, at the end of @path, be what it should.  That is asked for its
 * own height: below a table, a page is right where a block would do as well,
 * and keeps its flags.
 */
static void put_right(AgeAddressSpace *space, hwaddr gpa, const AgePath *path,
                      uint64_t leaf)
{
    const AgeFormat *fmt = age_pt_format(&space->pt);
    int height = path->height;
    uint64_t wanted = wanted_leaf(space, gpa, &height);

    if (!wanted || height != path->height) {
        age_pt_remap(&space->pt, path, leaf, 0);
    } else if (age_leaf_mapping(fmt, leaf) != age_leaf_mapping(fmt, wanted)) {
        age_pt_remap(&space->pt, path, leaf, wanted);
    }
}

/*
 * Handle an EPT violation or stage-2 translation fault: look up what should
 * be mapped, and map it.  The topology may change between the two.  Then
 * age_pt_zap() may have passed already, and our leaf would stay behind with a
 * frame that is not the guest's any more: so look whether the sequence number
 * moved, and if it did, give that leaf the frame that it should have now.
 *
 * @suspect is a leaf at the end of @path that may be one that another walker
 * left behind so, and has not put right yet; 0 if there is none.
 *
 * Returns the leaf, or 0 if there is no memory.
 */
static uint64_t map_wanted(AgeAddressSpace *space, hwaddr gpa, AgePath *path,
                           uint64_t suspect)
{
    AgePageTable *pt = &space->pt;

    for (;;) {
        uint64_t seq = age_pt_read_seq(pt);
        int height = pt->leaf_height;
        uint64_t leaf = wanted_leaf(space, gpa, &height);
        uint64_t entry = 0;

        if (suspect) {
            put_right(space, gpa, path, suspect);
        }
        if (leaf) {
            entry = age_pt_map(pt, gpa, leaf, height, path);
            /* Pairs with the first barrier in age_pt_zap(). */
            smp_mb__after_rmw();
        }
        if (age_pt_read_seq(pt) == seq) {
            return entry;
        }
        suspect = entry;
    }
}

/*
 * Is there anything for the hypervisor to do: a leaf to map, a store that the
 * leaf denies, or a leaf to make young that no hardware makes young?
 */
static bool leaf_faults(const AgeFormat *fmt, uint64_t leaf, bool write)
{
    return !leaf || (write && !age_entry_is_writable(fmt, leaf)) ||
           (!fmt->hw_ad && age_leaf_make_young(fmt, leaf, write) != leaf);
}

/*
 * Set the flags of the leaf at the end of @path, and map it first if need be.
 * A leaf that denies a store may be right, if the memory is read-only.  If not,
 * another walker has left it behind and has not put it right yet.
 */
static AgeMarked use_leaf(AgeAddressSpace *space, AgePath *path, uint64_t leaf,
                          hwaddr gpa, bool write)
{
    const AgeFormat *fmt = age_pt_format(&space->pt);

    if (!leaf || (write && !age_entry_is_writable(fmt, leaf))) {
        leaf = map_wanted(space, gpa, path, leaf);
    }
    if (!leaf) {
        return (AgeMarked) { .result = AGE_MARK_UNMAPPED };
    }
    if (write && !age_entry_is_writable(fmt, leaf)) {
        return (AgeMarked) { .result = AGE_MARK_DENIED };
    }
    return age_pt_mark(&space->pt, path, write);
}

/*
 * One try.  As in a hypervisor, a fault is handled with the MMU lock held for
 * reading.
 */
static AgeMarked walk_once(AgeWalkStats *stats, AgeAddressSpace *space,
                           AgePath *path, uint64_t leaf, hwaddr gpa,
                           bool write)
{
    AgeMarked marked;

    if (!leaf_faults(age_pt_format(&space->pt), leaf, write)) {
        return use_leaf(space, path, leaf, gpa, write);
    }
    age_mmu_lock_read(&space->mmu->lock);
    marked = use_leaf(space, path, leaf, gpa, write);
    age_mmu_unlock_read(&space->mmu->lock);
    if (marked.result == AGE_MARK_DONE || marked.result == AGE_MARK_AGAIN) {
        count_up(&stats->violations);
    }
    return marked;
}

static void count_marked(AgeWalkStats *stats, const AgeMarked *marked)
{
    if (marked->accessed) {
        count_up(&stats->accessed);
    }
    if (marked->dirty) {
        count_up(&stats->dirty);
    }
    if (marked->result == AGE_MARK_UNMAPPED) {
        count_up(&stats->unmapped);
    }
    if (marked->result == AGE_MARK_DENIED) {
        count_up(&stats->denied);
    }
}

/* The walk when there is something to set or to map; see age_pt_mark() */
static AgeMarked walk_slow(AgeWalkStats *stats, AgeAddressSpace *space,
                           AgePath *path, uint64_t leaf, hwaddr gpa, bool write)
{
    AgeMarked marked = walk_once(stats, space, path, leaf, gpa, write);

    while (marked.result == AGE_MARK_AGAIN) {
        count_up(&stats->retries);
        leaf = age_pt_walk(&space->pt, gpa, path);
        marked = walk_once(stats, space, path, leaf, gpa, write);
    }
    count_marked(stats, &marked);
    return marked;
}

/* Walk, and see to it that all that the access sets is set. */
static AgeMarked walk(AgeWalkStats *stats, AgeAddressSpace *space,
                      AgePath *path, hwaddr gpa, bool write)
{
    const AgePageTable *pt = &space->pt;
    uint64_t leaf = age_pt_walk(pt, gpa, path);

    if (age_pt_is_marked(pt, path, leaf, write)) {
        return (AgeMarked) { .result = AGE_MARK_DONE, .leaf = leaf };
    }
    return walk_slow(stats, space, path, leaf, gpa, write);
}

/* The walk of an access of which the filter does not know */
static bool walk_and_learn(AgeWalker *w, unsigned index, uint64_t epoch,
                           hwaddr gpa, bool write)
{
    AgeAddressSpace *space = w->space[index];
    const AgeFormat *fmt = age_pt_format(&space->pt);
    AgeMarked marked;
    AgePath path;

    if (gpa >= space->mem.gpa_limit) {
        count_up(&w->stats.unmapped);
        return false;
    }
    marked = walk(&w->stats, space, &path, gpa, write);
    if (marked.result == AGE_MARK_DONE) {
        age_filter_learn(&w->filter[index], epoch, gpa, path.height,
                         age_leaf_is_dirty(fmt, marked.leaf));
    }
    return age_leaf_is_clean(fmt, marked.leaf);
}

bool age_walk(AgeWalker *w, unsigned index, hwaddr gpa, bool write)
{
    uint64_t epoch;
    bool clean;

    age_debug_assert(age_in_rcu_read());
    if (!w->space[index]) {
        return false;
    }
    epoch = age_pt_read_epoch(&w->space[index]->pt);
    if (age_filter_knows(&w->filter[index], epoch, gpa, write, &clean)) {
        return clean;
    }
    return walk_and_learn(w, index, epoch, gpa, write);
}
