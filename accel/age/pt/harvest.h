/*
 * Harvest: test and clear the accessed or dirty flags of a page table
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_PT_HARVEST_H
#define ACCEL_AGE_PT_HARVEST_H

#include "ptable.h"
#include "stamper.h"

/**
 * AgeHarvest: what to harvest, and what came of it
 *
 * Both bitmaps have one bit a page, with the offset of a page counted back
 * from the end of the range: the bit of @gfn is @lsb_gfn - gfn.  That is the
 * numbering of mmu_notifier_test_clear_young(), for which a forward loop
 * builds a word by shifting it left.
 *
 * Select and result are two bitmaps, not one that is flipped in place: a page
 * that is reached twice is then young if it was young either time, and what
 * was asked of it does not change in between.
 *
 * @lsb_gfn: the frame whose bit is bit 0
 * @dirty: harvest the dirty flags, rather than the accessed ones.  All that is
 *     said about young and old is then about dirty and clean
 * @select: 1 clears the page's accessed flag, 0 only tests it.  NULL is the
 *     same for all pages, as @test_only says
 * @test_only: without @select: test all pages, rather than clear them
 * @young: the bits of young pages are set, all others are left alone.  NULL
 *     if it does not matter which pages they are
 * @stamper: pages whose flag was cleared are stamped by this one.  NULL if
 *     there is no history
 * @any: some page was young
 * @cleared: leaves that turned from young to old
 * @skipped: tables that were passed over because nothing below was young
 * @unflushed: with @stamper, set when flags were cleared that TLBs do not know
 *     of, before a reader of the history may be told.  May be NULL
 * @pt, @epoch, @stamping, @unstamped: the harvest's own
 */
typedef struct AgeHarvest {
    uint64_t lsb_gfn;
    bool dirty;
    const unsigned long *select;
    bool test_only;
    unsigned long *young;
    AgeStamper *stamper;
    bool any;
    uint64_t cleared;
    uint64_t skipped;
    bool *unflushed;
    AgePageTable *pt;
    uint64_t epoch;
    AgeStamper *stamping;
    uint64_t unstamped;
} AgeHarvest;

/**
 * age_pt_harvest: harvest one range of a page table
 * @pt: the table
 * @start: first guest-physical address, page aligned
 * @end: the address behind the last; its frame is at most @h->lsb_gfn + 1
 * @h: bitmaps and counters
 *
 * A page whose select bit is set is reported young only if this call cleared
 * its flag, so of several harvesters at once exactly one reports it.  A young
 * block makes all its pages in the range young, and is cleared if the select
 * bit of any of them is set.
 *
 * For accessed flags, those of the parents come first, from the top down: a
 * table whose parent is old is not looked into.  A parent that is come to is
 * made old when all that it covers is in the range and selected, *before* its
 * children are looked at.
 * Walkers go the other way round, see age_pt_mark(); with a full barrier
 * between the two steps on both sides, a parent may be young with nothing
 * young below, but not old with something young below for longer than it
 * takes the walker to return.
 *
 * Where that does not help (dirty flags, a part of a table, a format without
 * such flags), it is the word of a table that tells whether to look into it,
 * see summary.h.  When a harvest has left nothing young in what it looked at of
 * a table, the word is set to SCANNING, and all of the table is looked at after
 * a full barrier.  If nothing is young, the word is set to NONE, unless it
 * changed meanwhile.  A table of tables counts as old if its word is NONE.
 *
 * With @h->stamper, all pages of a block that is cleared are stamped, in the
 * range or not: the flag was theirs as well.  Each table's stamps may be told
 * as soon as they are there, so the epoch ends after each table that had any.
 *
 * Context: RCU read-side critical section; takes no lock but the history's, and
 *     does not wait.
 */
void age_pt_harvest(AgePageTable *pt, uint64_t start, uint64_t end,
                    AgeHarvest *h);

#endif /* ACCEL_AGE_PT_HARVEST_H */
