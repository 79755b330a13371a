/*
 * A small table, for players in the model of weak-memory.h
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_UNIT_ORDER_TABLE_H
#define TESTS_UNIT_ORDER_TABLE_H

#include "pt-util.h"
#include "weak-memory.h"

#define PAGE        4096ULL
#define BLOCK       0x200000ULL

/* Some set of entries on a path, as bits by height */
typedef unsigned Heights;

/**
 * OrderTable: a small table, and what the players did to it
 *
 * @fmt: its format; NULL for stage 2
 * @gpa_bits: stage 2 with 30 bits has two levels, with 39 bits three
 * @leaf: height of the only leaf
 * @young: which entries on the way are young at first
 * @dirty: for harvests: of dirty flags
 * @path: the way to the leaf, as a walker remembers it
 * @set, @cleared: leaves that walkers made young and harvesters old
 * @found: what a player noticed
 * @published: the frame that should be mapped, in the unit of the leaf
 */
typedef struct OrderTable {
    const AgeFormat *fmt;
    unsigned gpa_bits;
    int leaf;
    Heights young;
    bool dirty;
    AgePageTable pt;
    AgePath path;
    unsigned set;
    unsigned cleared;
    bool found;
    uint64_t published;
} OrderTable;

/* Set up the table: all is old. */
void order_table_init(OrderTable *s);

/* Set up the table and the flags; watch the entries on the way. */
void order_table_setup(void *opaque);

/*
 * Harvest all that one entry of the root covers, or only test it.  Returns
 * whether the page at 0 was reported.
 */
bool order_table_harvest(OrderTable *s, bool clear);

/* Is the page at 0 young; and if so, are all of its parents? */
bool order_table_young(OrderTable *s, bool *parents_young);

/* All that was set went one way, and none of it is hidden.  Frees the table. */
bool order_table_check(void *opaque);

/**
 * order_table_explore: play a scene in all ways, from every state of the flags
 * @scene: the scene; order_table_setup() and order_table_check() are filled in
 * @s: the stage
 * @states: the entries that may be young or not at first
 *
 * Returns: whether all went well.
 */
bool order_table_explore(WeakScene *scene, OrderTable *s, Heights states);

#endif /* TESTS_UNIT_ORDER_TABLE_H */
