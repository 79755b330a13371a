/*
 * Accesses of a guest for which all pages that they involve are known
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_AGE_EXACT_H
#define TESTS_AGE_EXACT_H

#include "exact-ops.h"
#include "guest.h"

/* What a walk that does not come to its end leads to */
#define AGE_NOWHERE     UINT64_MAX

/**
 * AgeUsed: which pages are used, and how
 *
 * @young: all of them
 * @dirty: those that are written to
 */
typedef struct AgeUsed {
    GArray *young;
    GArray *dirty;
} AgeUsed;

void age_used_init(AgeUsed *used);
void age_used_add(AgeUsed *used, uint64_t page, bool store);

/* Before the guest uses them: make all pages of its memory old and clean. */
void age_used_forget(AgeGuest *g);

/* After it: fail unless just these pages are young and dirty.  Frees them. */
void age_used_check(AgeGuest *g, AgeUsed *used);

/**
 * AgeTables: page tables in the memory of a guest
 *
 * @qts: QEMU
 * @root: address of the table at the root; where addresses that tables hold
 *     are translated by further tables, one of those
 * @levels: how many there are
 * @table: flags of an entry that leads to a table
 * @page: flags of an entry that leads to a page
 * @below: tables that translate what comes out of these, and the addresses of
 *     these themselves; NULL for none
 * @take_page: gives an address for another table, whose memory is zero
 */
typedef struct AgeTables AgeTables;
struct AgeTables {
    QTestState *qts;
    uint64_t root;
    unsigned levels;
    uint64_t table;
    uint64_t page;
    AgeTables *below;
    uint64_t (*take_page)(AgeTables *t);
    void *opaque;
};

/* The tables that the guest's own code runs under */
void age_tables_of_guest(AgeTables *t, AgeGuest *g);

/* Map a page, with tables as needed.  What is a block becomes a table. */
void age_tables_map(AgeTables *t, uint64_t va, uint64_t pa);

/**
 * age_tables_walk: do what the MMU does
 * @t: the tables
 * @va: an address
 * @used: where to add the tables that are read on the way, those of @t->below
 *     too; or NULL
 *
 * Returns the address that comes out in the end, or %AGE_NOWHERE.
 */
uint64_t age_tables_walk(AgeTables *t, uint64_t va, AgeUsed *used);

/* The same, but @t->below does not translate the address that comes out. */
uint64_t age_tables_walk_stage(AgeTables *t, uint64_t va, AgeUsed *used);

/* Add all pages of an access, and the tables, as far as they lead on */
void age_tables_access(AgeTables *t, uint64_t va, uint64_t bytes, bool store,
                       AgeUsed *used);

/* An entry of the program's list */
typedef struct AgeExactOp {
    uint64_t op;
    uint64_t address;
    uint64_t other;
    uint64_t bytes;
} AgeExactOp;

/* Put the program into two pages of the guest's memory */
void age_exact_load(AgeGuest *g, uint64_t program);

/* Have the guest do @count accesses, in order */
void age_exact_run(AgeGuest *g, uint64_t program, const AgeExactOp *ops,
                   unsigned count);

#endif /* TESTS_AGE_EXACT_H */
