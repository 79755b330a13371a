/*
 * Second-stage page table: walk, map, mark
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/rcu.h"
#include "contract.h"
#include "ptable.h"
#include "summary.h"

/*
 * The root may be several tables wide, so its index is not cut to nine bits:
 * addresses are below 2^gpa_bits, and the root is as wide as that needs.
 */
static unsigned entry_index(const AgePageTable *pt, uint64_t gpa, int height)
{
    unsigned index = gpa >> age_height_shift(height);

    if (height < pt->geo.root_height) {
        index &= AGE_TABLE_ENTRIES - 1;
    }
    return index;
}

void age_pt_init(AgePageTable *pt, const AgeFormat *fmt,
                 const AgeGeometry *geo, int leaf_height)
{
    *pt = (AgePageTable) {
        .fmt = fmt,
        .geo = *geo,
        .leaf_height = leaf_height,
        .epoch = 1,
    };
    pt->root = age_root_alloc(geo->root_tables);
    pt->tables[geo->root_height] = geo->root_tables;
}

uint64_t age_pt_walk(const AgePageTable *pt, uint64_t gpa, AgePath *path)
{
    const AgeFormat *fmt = age_pt_format(pt);
    uint64_t *table = pt->root;
    int height = pt->geo.root_height;

    age_debug_assert(age_in_rcu_read());
    for (;;) {
        uint64_t *ptr = &table[entry_index(pt, gpa, height)];
        /* Pairs with the cmpxchg of install_table(): see what is in it. */
        uint64_t entry = qatomic_load_acquire(ptr);

        path->entry[height] = ptr;
        path->height = height;
        if (!age_entry_is_present(fmt, entry)) {
            return 0;
        }
        if (age_entry_is_leaf(fmt, entry, height)) {
            return entry;
        }
        table = age_entry_table(fmt, entry);
        height--;
    }
}

/*
 * Hook a table into @ptr, which was not present.  Losing the race to another
 * walker is as good as winning it.
 */
static void install_table(AgePageTable *pt, uint64_t *ptr, int height)
{
    uint64_t *table = age_table_alloc();
    uint64_t entry = age_make_table(age_pt_format(pt), table);

    if (qatomic_cmpxchg(ptr, 0, entry) == 0) {
        qatomic_inc(&pt->tables[height - 1]);
    } else {
        age_table_free(table);
    }
}

uint64_t age_pt_map(AgePageTable *pt, uint64_t gpa, uint64_t leaf, int height,
                    AgePath *path)
{
    assert(age_in_rcu_read());
    for (;;) {
        uint64_t entry = age_pt_walk(pt, gpa, path);
        uint64_t *ptr = path->entry[path->height];

        if (entry) {
            return entry;
        }
        if (path->height > height) {
            install_table(pt, ptr, path->height);
            continue;
        }
        if (path->height < height) {
            /*
             * A table stands where the block would go, with other leaves in
             * it; fill the gap with a part of the block.
             */
            leaf = age_split_leaf(age_pt_format(pt), leaf, height,
                                  (gpa >> age_height_shift(height - 1)) &
                                  (AGE_TABLE_ENTRIES - 1));
            height--;
            continue;
        }
        entry = qatomic_cmpxchg(ptr, 0, leaf);
        if (entry == 0) {
            return leaf;
        }
    }
}

/* Give the leaf at @ptr another value if it still is @from but for flags. */
static uint64_t remap_leaf(AgePageTable *pt, uint64_t *ptr, uint64_t from,
                           uint64_t to)
{
    const AgeFormat *fmt = age_pt_format(pt);
    uint64_t mapping = age_leaf_mapping(fmt, from);
    uint64_t keep = fmt->accessed;
    uint64_t old = qatomic_load_acquire(ptr);

    if (age_entry_is_writable(fmt, to)) {
        keep |= fmt->dirty;
    }
    while (age_entry_is_present(fmt, old) &&
           age_leaf_mapping(fmt, old) == mapping) {
        uint64_t seen = qatomic_cmpxchg(ptr, old, to ? to | (old & keep) : 0);

        if (seen == old) {
            if (!to && (old & fmt->accessed)) {
                qatomic_inc(&pt->zapped);
            }
            return to;
        }
        old = seen;
    }
    return old;
}

static void remap_entry(AgePageTable *pt, uint64_t *ptr, int height,
                        uint64_t from, uint64_t to)
{
    const AgeFormat *fmt = age_pt_format(pt);
    uint64_t entry = remap_leaf(pt, ptr, from, to);
    uint64_t *table;

    if (!age_entry_is_present(fmt, entry) ||
        age_entry_is_leaf(fmt, entry, height)) {
        return;
    }
    /* A block that was split: its parts are as wrong as it was. */
    table = age_entry_table(fmt, entry);
    for (unsigned i = 0; i < AGE_TABLE_ENTRIES; i++) {
        remap_entry(pt, &table[i], height - 1,
                    age_split_leaf(fmt, from, height, i), 0);
    }
}

void age_pt_remap(AgePageTable *pt, const AgePath *path, uint64_t from,
                  uint64_t to)
{
    assert(age_in_rcu_read());
    remap_entry(pt, path->entry[path->height], path->height, from, to);
    age_pt_next_epoch(pt);
}

/*
 * Is @entry still what a walk that came by at @height found: a leaf, or a
 * table?  If not, the block was split, or a block has taken the place of the
 * table.  Nor may a store make a leaf dirty that is read-only by now.
 */
static bool may_set_flags(const AgeFormat *fmt, uint64_t entry, int height,
                          bool leaf, bool write)
{
    if (!age_entry_is_present(fmt, entry) ||
        age_entry_is_leaf(fmt, entry, height) != leaf) {
        return false;
    }
    return !leaf || !write || age_entry_is_writable(fmt, entry);
}

/*
 * Set the flags of the entry that a walk found at @height.  A cmpxchg rather
 * than an atomic OR: had the entry been zapped meanwhile, an OR would leave a
 * flag in an entry that is not present, and a harvester would find it there.
 *
 * Returns the bits that changed, or all ones if the entry was gone.  Sets @now
 * to what the entry is then.
 */
#define ENTRY_GONE  (~0ULL)

static uint64_t set_flags(const AgeFormat *fmt, uint64_t *ptr, int height,
                          bool leaf, bool write, uint64_t *now)
{
    uint64_t old = qatomic_read(ptr);

    while (may_set_flags(fmt, old, height, leaf, write)) {
        uint64_t entry = leaf ? age_leaf_make_young(fmt, old, write)
                              : old | fmt->table_accessed;
        uint64_t seen;

        *now = entry;
        if (entry == old) {
            return 0;
        }
        seen = qatomic_cmpxchg(ptr, old, entry);
        if (seen == old) {
            return entry ^ old;
        }
        old = seen;
    }
    return ENTRY_GONE;
}

/*
 * Pairs with the barriers in skip_table() and age_summary_begin(), which come
 * between clearing a parent, or the word of a table, and looking at what is
 * below: either the harvester sees the child young, or we see the parent old
 * and make it young again.  A child that was young before we came needs less:
 * as it was read before its parent is, the harvester that clears the parent
 * after our read finds the child young.
 */
static void order_child_before_parent(uint64_t child_set)
{
    if (child_set) {
        /* Store the child before loading the parent, as told above. */
        smp_mb__after_rmw();
    } else {
        /* Load the child before loading the parent, as told above. */
        smp_rmb();
    }
}

/*
 * Mark the table that @entry is in, which is not the root.  Returns whether
 * that changed anything.
 */
static bool mark_table(const uint64_t *entry, bool dirty)
{
    bool moved = age_summary_mark(age_summary_of(entry, false));

    if (dirty) {
        moved |= age_summary_mark(age_summary_of(entry, true));
    }
    return moved;
}

/* Is the table that @entry is in marked, which is not the root? */
static bool table_is_marked(const uint64_t *entry, bool dirty)
{
    return age_summary_is_maybe(age_summary_of(entry, false)) &&
           (!dirty || age_summary_is_maybe(age_summary_of(entry, true)));
}

bool age_pt_is_marked(const AgePageTable *pt, const AgePath *path,
                      uint64_t leaf, bool write)
{
    const AgeFormat *fmt = age_pt_format(pt);
    /* A load that finds the leaf dirty lets stores go by: see age_pt_mark(). */
    bool dirty = leaf & fmt->dirty;

    if (age_leaf_make_young(fmt, leaf, write) != leaf) {
        return false;
    }
    for (int h = path->height + 1; h <= pt->geo.root_height; h++) {
        /* As in age_pt_mark(), where nothing was set before */
        smp_rmb();
        if (!table_is_marked(path->entry[h - 1], dirty) ||
            (~qatomic_read(path->entry[h]) & fmt->table_accessed)) {
            return false;
        }
    }
    return true;
}

AgeMarked age_pt_mark(const AgePageTable *pt, const AgePath *path, bool write)
{
    const AgeFormat *fmt = age_pt_format(pt);
    uint64_t leaf = 0, table, set, moved;
    bool dirty;

    age_debug_assert(age_in_rcu_read());
    set = set_flags(fmt, path->entry[path->height], path->height, true, write,
                    &leaf);
    if (set == ENTRY_GONE) {
        return (AgeMarked) { .result = AGE_MARK_AGAIN };
    }
    /*
     * The leaf may have been made young by another walker that has not come
     * to its parents yet, so they are looked at even then.  Likewise if it is
     * dirty: who walked for a load may store to it then, without a walk.  The
     * word of a table and the entry that points to it do not depend on each
     * other: both come after what is below, and before what is above.
     */
    moved = set;
    dirty = leaf & fmt->dirty;
    for (int h = path->height + 1; h <= pt->geo.root_height; h++) {
        order_child_before_parent(moved);
        moved = mark_table(path->entry[h - 1], dirty);
        moved |= set_flags(fmt, path->entry[h], h, false, false, &table);
    }
    return (AgeMarked) {
        .result = AGE_MARK_DONE,
        .accessed = set & fmt->accessed,
        .dirty = set & fmt->dirty,
        .leaf = leaf,
    };
}
