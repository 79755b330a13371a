/*
 * Second-stage page table: map, walk, mark, zap
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/rcu.h"
#include "ptable.h"
#include "reaper.h"
#include "table-pool.h"

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

static unsigned root_entries(const AgePageTable *pt)
{
    return pt->geo.root_tables * AGE_TABLE_ENTRIES;
}

void age_pt_init(AgePageTable *pt, const AgeFormat *fmt,
                 const AgeGeometry *geo, int leaf_height)
{
    *pt = (AgePageTable) {
        .fmt = fmt,
        .geo = *geo,
        .leaf_height = leaf_height,
    };
    pt->root = age_root_alloc(geo->root_tables);
    pt->tables[geo->root_height] = geo->root_tables;
}

uint64_t age_pt_walk(const AgePageTable *pt, uint64_t gpa, AgePath *path)
{
    const AgeFormat *fmt = age_pt_format(pt);
    uint64_t *table = pt->root;
    int height = pt->geo.root_height;

    for (;;) {
        uint64_t *ptr = &table[entry_index(pt, gpa, height)];
        /* Pairs with the cmpxchg of install_table(): see what is in it. */
        uint64_t entry = qatomic_load_acquire(ptr);

        path->entry[height] = ptr;
        path->height = height;
        if (!age_entry_present(fmt, entry)) {
            return 0;
        }
        if (age_entry_leaf(fmt, entry, height)) {
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

    if (age_entry_writable(fmt, to)) {
        keep |= fmt->dirty;
    }
    while (age_entry_present(fmt, old) &&
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

    if (!age_entry_present(fmt, entry) || age_entry_leaf(fmt, entry, height)) {
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
    remap_entry(pt, path->entry[path->height], path->height, from, to);
}

/*
 * Is @entry still what a walk that came by at @height found: a leaf, or a
 * table?  If not, the block was split, or a block has taken the place of the
 * table.  Nor may a store make a leaf dirty that is read-only by now.
 */
static bool may_set_flags(const AgeFormat *fmt, uint64_t entry, int height,
                          bool leaf, bool write)
{
    if (!age_entry_present(fmt, entry) ||
        age_entry_leaf(fmt, entry, height) != leaf) {
        return false;
    }
    return !leaf || !write || age_entry_writable(fmt, entry);
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
        uint64_t entry = leaf ? age_leaf_young(fmt, old, write)
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
 * Pairs with the barrier in skip_table(), which comes between clearing a parent
 * and looking at its children: either the harvester sees the child
 * young, or we see the parent old and make it young again.  A child that was
 * young before we came needs less: as it was read before its parent is, the
 * harvester that clears the parent after our read finds the child young.
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

AgeMarked age_pt_mark(const AgePageTable *pt, const AgePath *path, bool write)
{
    const AgeFormat *fmt = age_pt_format(pt);
    uint64_t leaf = 0, table;
    uint64_t set = set_flags(fmt, path->entry[path->height], path->height,
                             true, write, &leaf);
    uint64_t moved = set;

    if (set == ENTRY_GONE) {
        return (AgeMarked) {};
    }
    /*
     * The leaf may have been made young by another walker that has not come
     * to its parents yet, so they are looked at even then.
     */
    for (int h = path->height + 1; h <= pt->geo.root_height; h++) {
        order_child_before_parent(moved);
        moved = set_flags(fmt, path->entry[h], h, false, false, &table);
    }
    return (AgeMarked) {
        .present = true,
        .accessed = set & fmt->accessed,
        .dirty = set & fmt->dirty,
        .clean = age_leaf_clean(fmt, leaf),
    };
}

/* A table that was unhooked, and what hangs below it */
typedef struct AgeUnhooked {
    uint64_t *table;
    int height;
} AgeUnhooked;

/*
 * What one call of age_pt_zap() took away.  Tables that it unhooked are freed
 * by the reaper after a grace period; @unhooked is NULL if there are none.
 */
typedef struct AgeGarbage {
    struct rcu_head rcu;
    AgeReap reap;
    AgePageTable *pt;
    GArray *unhooked;
    bool leaves;
} AgeGarbage;

static void garbage_add(AgeGarbage *g, uint64_t *table, int height)
{
    AgeUnhooked u = { .table = table, .height = height };

    if (!g->unhooked) {
        g->unhooked = g_array_new(false, false, sizeof(AgeUnhooked));
    }
    g_array_append_val(g->unhooked, u);
}

/* Free a table and all below it; nobody can be inside any more. */
static void free_tree(AgePageTable *pt, uint64_t *table, unsigned entries,
                      int height)
{
    const AgeFormat *fmt = age_pt_format(pt);
    uint64_t young = 0;

    for (unsigned i = 0; i < entries; i++) {
        uint64_t entry = table[i];

        if (!age_entry_present(fmt, entry)) {
            continue;
        }
        if (age_entry_leaf(fmt, entry, height)) {
            young += (entry & fmt->accessed) != 0;
            continue;
        }
        free_tree(pt, age_entry_table(fmt, entry), AGE_TABLE_ENTRIES,
                  height - 1);
        age_table_free(age_entry_table(fmt, entry));
    }
    qatomic_add(&pt->zapped, young);
    qatomic_sub(&pt->tables[height], entries / AGE_TABLE_ENTRIES);
}

static void garbage_free(AgeReap *reap)
{
    AgeGarbage *g = container_of(reap, AgeGarbage, reap);

    for (unsigned i = 0; i < g->unhooked->len; i++) {
        AgeUnhooked *u = &g_array_index(g->unhooked, AgeUnhooked, i);

        free_tree(g->pt, u->table, AGE_TABLE_ENTRIES, u->height);
        age_table_free(u->table);
    }
    g_array_unref(g->unhooked);
    g_free(g);
}

/* The grace period is over.  A tree may be large, so it is not freed here. */
static void garbage_reap(struct rcu_head *head)
{
    AgeGarbage *g = container_of(head, AgeGarbage, rcu);

    age_reap(&g->reap, garbage_free);
}

/*
 * Replace the block at @ptr by a table of its parts.  Returns what is there
 * then: the table entry, or whatever somebody else made of the block.
 */
static uint64_t split_block(AgePageTable *pt, uint64_t *ptr, uint64_t block,
                            int height)
{
    const AgeFormat *fmt = age_pt_format(pt);
    uint64_t *table = age_table_alloc();
    uint64_t entry, seen;

    for (unsigned i = 0; i < AGE_TABLE_ENTRIES; i++) {
        table[i] = age_split_leaf(fmt, block, height, i);
    }
    entry = age_make_table(fmt, table);
    if (block & fmt->accessed) {
        entry |= fmt->table_accessed;
    }
    seen = qatomic_cmpxchg(ptr, block, entry);
    if (seen != block) {
        age_table_free(table);
        return seen;
    }
    qatomic_inc(&pt->tables[height - 1]);
    if (block & fmt->accessed) {
        qatomic_add(&pt->inherited, AGE_TABLE_ENTRIES - 1);
    }
    return entry;
}

/*
 * Returns what is there then.  That may be a table, if a walker took the
 * block out by age_pt_remap() and mapped a page: so not by an exchange.
 */
static uint64_t zap_leaf(AgePageTable *pt, AgeGarbage *g, uint64_t *ptr,
                         uint64_t leaf)
{
    uint64_t seen = qatomic_cmpxchg(ptr, leaf, 0);

    if (seen != leaf) {
        return seen;
    }
    g->leaves = true;
    if (leaf & age_pt_format(pt)->accessed) {
        qatomic_inc(&pt->zapped);
    }
    return 0;
}

static void zap_table(AgePageTable *pt, AgeGarbage *g, uint64_t *table,
                      unsigned entries, int height, uint64_t base,
                      uint64_t start, uint64_t end);

/* Zap what [@start, @end) covers of the entry at @ptr, which covers @base on */
static void zap_entry(AgePageTable *pt, AgeGarbage *g, uint64_t *ptr,
                      int height, uint64_t base, uint64_t start, uint64_t end)
{
    const AgeFormat *fmt = age_pt_format(pt);
    bool whole = start <= base && end - base >= age_height_size(height);
    uint64_t entry = qatomic_load_acquire(ptr);

    while (age_entry_present(fmt, entry)) {
        if (age_entry_leaf(fmt, entry, height)) {
            entry = whole ? zap_leaf(pt, g, ptr, entry)
                          : split_block(pt, ptr, entry, height);
        } else if (whole) {
            /* A table entry changes in its accessed flag only. */
            qatomic_set(ptr, 0);
            garbage_add(g, age_entry_table(fmt, entry), height - 1);
            return;
        } else {
            zap_table(pt, g, age_entry_table(fmt, entry), AGE_TABLE_ENTRIES,
                      height - 1, base, start, end);
            return;
        }
    }
}

/* Zap what [@start, @end) covers of @table, whose first entry covers @base */
static void zap_table(AgePageTable *pt, AgeGarbage *g, uint64_t *table,
                      unsigned entries, int height, uint64_t base,
                      uint64_t start, uint64_t end)
{
    uint64_t size = age_height_size(height);
    unsigned first = start > base ? (start - base) / size : 0;

    for (unsigned i = first; i < entries; i++) {
        uint64_t entry_base = base + i * size;

        if (entry_base >= end) {
            break;
        }
        zap_entry(pt, g, &table[i], height, entry_base, start, end);
    }
}

bool age_pt_zap(AgePageTable *pt, uint64_t start, uint64_t end)
{
    AgeGarbage g = { .pt = pt };

    qatomic_inc(&pt->seq);
    /*
     * Pairs with age_pt_read_seq() after a walker mapped something: if it
     * mapped what we have passed already, it sees that this changed.
     */
    smp_mb();
    zap_table(pt, &g, pt->root, root_entries(pt), pt->geo.root_height,
              0, start, end);
    /*
     * Pairs with age_pt_read_seq() before a remembered table is used: none
     * that is unhooked by now is remembered with the number that follows.
     */
    smp_mb();
    qatomic_inc(&pt->seq);
    if (g.unhooked) {
        AgeGarbage *copy = g_new(AgeGarbage, 1);

        *copy = g;
        call_rcu1(&copy->rcu, garbage_reap);
    }
    return g.leaves || g.unhooked;
}

void age_pt_destroy(AgePageTable *pt)
{
    free_tree(pt, pt->root, root_entries(pt), pt->geo.root_height);
    age_root_free(pt->root);
    pt->root = NULL;
}
