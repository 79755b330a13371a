/*
 * A small table, for players in the model of weak-memory.h
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "accel/age/pt/harvest.h"
#include "order-table.h"

void order_table_init(OrderTable *s)
{
    const AgeFormat *fmt = s->fmt ? s->fmt : &age_format_stage2;
    AgeGeometry geo;

    s->set = s->cleared = 0;
    s->found = false;
    fmt->geometry(s->gpa_bits, 0, &geo);
    age_pt_init(&s->pt, fmt, &geo, s->leaf);
    map_gpa(&s->pt, 0, s->leaf);
    age_pt_walk(&s->pt, 0, &s->path);
}

void order_table_setup(void *opaque)
{
    OrderTable *s = opaque;
    uint64_t accessed;
    int top;

    order_table_init(s);
    accessed = s->pt.fmt->accessed;
    top = s->pt.geo.root_height;
    for (int h = s->leaf; h <= top; h++) {
        if (s->young & (1u << h)) {
            *s->path.entry[h] |= accessed;
            s->set += h == s->leaf;
        }
        weak_watch(s->path.entry[h], 8);
    }
}

bool order_table_harvest(OrderTable *s, bool clear)
{
    uint64_t pages = age_height_size(s->pt.geo.root_height) / PAGE;
    unsigned words = pages / 64;
    g_autofree unsigned long *no_bits = g_new0(unsigned long, words);
    g_autofree unsigned long *young = g_new0(unsigned long, words);
    AgeHarvest h = {
        .lsb_gfn = pages - 1,
        .dirty = s->dirty,
        .select = clear ? NULL : no_bits,
        .young = young,
    };

    age_pt_harvest(&s->pt, 0, pages * PAGE, &h);
    s->cleared += h.cleared;
    return young[words - 1] >> 63;
}

bool order_table_young(OrderTable *s, bool *parents_young)
{
    uint64_t flag = s->pt.fmt->accessed;
    bool young;
    AgePath path;

    *parents_young = true;
    young = age_pt_walk(&s->pt, 0, &path) & flag;
    for (int h = path.height + 1; h <= s->pt.geo.root_height; h++) {
        *parents_young &= (*path.entry[h] & flag) != 0;
    }
    return young;
}

bool order_table_check(void *opaque)
{
    OrderTable *s = opaque;
    bool parents_young, ok;
    TreeCount c;

    rcu_barrier();
    ok = !order_table_young(s, &parents_young) || parents_young;
    c = tree_count(&s->pt);
    ok = ok && s->set + s->pt.inherited ==
               s->cleared + s->pt.zapped + c.young;
    age_pt_destroy(&s->pt);
    return ok;
}

bool order_table_explore(WeakScene *scene, OrderTable *s, Heights states)
{
    unsigned total = 0, runs;
    bool ok = true;

    scene->setup = scene->setup ? scene->setup : order_table_setup;
    scene->check = scene->check ? scene->check : order_table_check;
    scene->opaque = s;
    /* Count through the subsets of @states. */
    s->young = 0;
    do {
        ok = weak_explore(scene, &runs);
        total += runs;
        s->young = (s->young - states) & states;
    } while (ok && s->young);
    g_test_message("%u runs, %s", total, ok ? "all right" : "one is wrong");
    return ok;
}
