/*
 * Second-stage page table: zap, split, and free what nothing leads to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/rcu.h"
#include "ptable.h"
#include "reaper.h"
#include "table-pool.h"

static unsigned root_entries(const AgePageTable *pt)
{
    return pt->geo.root_tables * AGE_TABLE_ENTRIES;
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

        if (!age_entry_is_present(fmt, entry)) {
            continue;
        }
        if (age_entry_is_leaf(fmt, entry, height)) {
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

    while (age_entry_is_present(fmt, entry)) {
        if (age_entry_is_leaf(fmt, entry, height)) {
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
    if (!g.leaves && !g.unhooked) {
        return false;
    }
    age_pt_next_epoch(pt);
    if (g.unhooked) {
        AgeGarbage *copy = g_new(AgeGarbage, 1);

        *copy = g;
        call_rcu1(&copy->rcu, garbage_reap);
    }
    return true;
}

void age_pt_destroy(AgePageTable *pt)
{
    free_tree(pt, pt->root, root_entries(pt), pt->geo.root_height);
    age_root_free(pt->root);
    pt->root = NULL;
}
