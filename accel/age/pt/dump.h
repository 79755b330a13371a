/*
 * A copy of a page table, piece by piece
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_PT_DUMP_H
#define ACCEL_AGE_PT_DUMP_H

#include "ptable.h"

/**
 * AgeDumpTable: a table as it is written to a file, in little-endian order
 *
 * @address: by which its parent points to it
 * @entry: its entries
 */
typedef struct AgeDumpTable {
    uint64_t address;
    uint64_t entry[AGE_TABLE_ENTRIES];
} AgeDumpTable;

/**
 * AgeDump: a copy that is being made while the table is in use
 *
 * The copy goes up through guest-physical addresses, and comes down from the
 * root anew for each piece, as what it came by may be gone the next time.  A
 * table is copied in one go with the tables of pages below it.  Those further
 * up are put together from what was in their entries when it went down there.
 * So an entry and what it points to are of one moment, and all of the copy
 * fits together, whatever happens meanwhile.
 *
 * @pt: the table
 * @fmt: format of its entries, as of the beginning
 * @gpa: how far the copy has come
 * @root: the root table or tables so far, @pt->geo.root_tables of them
 * @open: by height, the table that the copy is in; NULL if it is in none
 * @done: tables that are complete, of #AgeDumpTable; the caller takes them
 * @num: how many have been completed
 * @seen: addresses of all tables so far
 * @spare: the last address that was made up
 */
typedef struct AgeDump {
    const AgePageTable *pt;
    const AgeFormat *fmt;
    uint64_t gpa;
    AgeDumpTable *root;
    AgeDumpTable *open[AGE_MAX_HEIGHT];
    GArray *done;
    uint64_t num;
    GHashTable *seen;
    uint64_t spare;
} AgeDump;

/* Tables that one piece can have beyond what was asked for */
#define AGE_DUMP_EXCESS     (AGE_TABLE_ENTRIES + AGE_MAX_HEIGHT)

/**
 * age_dump_init: begin to copy
 * @dump: the copy
 * @pt: the table, which lives for as long as the copy is made
 */
void age_dump_init(AgeDump *dump, const AgePageTable *pt);

/**
 * age_dump_clear: free a copy
 * @dump: the copy, complete or not
 */
void age_dump_clear(AgeDump *dump);

/**
 * age_dump_piece: go on with a copy
 * @dump: the copy.  What is in @done goes first
 * @tables: stop as soon as there are that many in @done, which is at most
 *     %AGE_DUMP_EXCESS too late
 *
 * Returns: whether there is more.  If not, @root and @num are complete; @num
 *     counts the tables of @root as well.
 * Context: RCU read-side critical section, which may be another one for each
 *     piece.
 */
bool age_dump_piece(AgeDump *dump, unsigned tables);

#endif /* ACCEL_AGE_PT_DUMP_H */
