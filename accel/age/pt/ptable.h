/*
 * Second-stage page table: a radix tree of entries in an AgeFormat
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_PT_PTABLE_H
#define ACCEL_AGE_PT_PTABLE_H

#include "qemu/atomic.h"
#include "format.h"

/**
 * AgePageTable: a table and what was counted about it
 *
 * Who may do what at the same time:
 *
 * - Any number of walkers (age_pt_walk(), age_pt_map(), age_pt_remap(),
 *   age_pt_mark()) and harvesters (harvest.h), in RCU read-side critical
 *   sections, without a lock.  An entry changes by one atomic operation: from
 *   zero by cmpxchg when it is installed, its accessed and dirty flags by
 *   cmpxchg when they are set, by an atomic AND (or cmpxchg) when they are
 *   cleared, to zero by cmpxchg when it is zapped, or by a store if it is a
 *   table.  The words beside a table (summary.h) change by cmpxchg.
 * - One caller of age_pt_zap() at a time.
 *
 * A table that was unhooked is freed after a grace period, so whoever still
 * walks in it does no harm: what it installs or sets there is gone with it.
 * That is done by the reaper (reaper.h), as it takes time with the size of the
 * tree, and RCU callbacks run with the BQL held.
 *
 * @fmt: format of the entries, which may change to another one of the same
 *     architecture: read it by age_pt_format(), once for what belongs together
 * @geo: how much it translates, and height and width of the root
 * @leaf_height: height of the tallest leaf to install
 * @root: the root table or tables
 * @seq: changes whenever mappings go; see age_pt_zap()
 * @epoch: changes whenever flags are cleared or leaves go; see filter.h
 * @tables: tables in use, by height
 * @zapped: young leaves that were zapped with their flag set.  Those in an
 *     unhooked table count when it is freed, since a walker may still be in it
 * @inherited: leaves that were born young because a young block was split
 */
typedef struct AgePageTable {
    const AgeFormat *fmt;
    AgeGeometry geo;
    int leaf_height;
    uint64_t *root;
    uint64_t seq;
    uint64_t epoch;
    uint64_t tables[AGE_MAX_HEIGHT + 1];
    uint64_t zapped;
    uint64_t inherited;
} AgePageTable;

/**
 * AgePath: the entries that a walk went through
 *
 * @entry: pointers to them, by height; valid from the root's height down to
 *     @height, and only in the RCU read-side critical section of the walk
 * @height: where the walk ended, at a leaf or at an entry that is not present
 */
typedef struct AgePath {
    uint64_t *entry[AGE_MAX_HEIGHT + 1];
    int height;
} AgePath;

/**
 * age_pt_init: make an empty table
 * @pt: the table
 * @fmt: format of its entries
 * @geo: its shape, from @fmt->geometry()
 * @leaf_height: height of the tallest leaf that may be installed
 */
void age_pt_init(AgePageTable *pt, const AgeFormat *fmt,
                 const AgeGeometry *geo, int leaf_height);

/**
 * age_pt_destroy: free all of a table
 * @pt: the table.  Its last user is gone, and what every age_pt_zap() unhooked
 *     is freed: have an RCU callback of the owner ask the reaper for this
 *
 * Context: takes time with the size of the table, so no lock may be held.
 */
void age_pt_destroy(AgePageTable *pt);

/**
 * age_pt_format: the format of the entries, as of now
 * @pt: the table
 */
static inline const AgeFormat *age_pt_format(const AgePageTable *pt)
{
    return qatomic_read(&pt->fmt);
}

/**
 * age_pt_read_seq: the sequence number that tells whether mappings went
 * @pt: the table
 *
 * Whoever maps what it looked up must read this before it looks, and compare
 * after it has mapped.
 */
static inline uint64_t age_pt_read_seq(const AgePageTable *pt)
{
    return qatomic_load_acquire(&pt->seq);
}

/**
 * age_pt_read_epoch: the epoch, in which what filters know stays true
 * @pt: the table
 *
 * To be read before a filter is looked into, and before the walk from which it
 * learns.
 */
static inline uint64_t age_pt_read_epoch(const AgePageTable *pt)
{
    /* Pairs with age_pt_next_epoch(): see what was cleared before that. */
    return qatomic_load_acquire(&pt->epoch);
}

/**
 * age_pt_next_epoch: end the epoch, as flags were cleared or leaves taken away
 * @pt: the table
 *
 * To be called after the last such write, and before that is told to anybody.
 */
static inline void age_pt_next_epoch(AgePageTable *pt)
{
    /* Pairs with age_pt_read_epoch(): all of it is seen with the new epoch. */
    smp_mb();
    qatomic_inc(&pt->epoch);
    /* Who is told of it, in whatever way, sees the new epoch. */
    smp_mb__after_rmw();
}

/**
 * age_pt_walk: follow @gpa as far as entries are present
 * @pt: the table
 * @gpa: guest-physical address, below 2^@pt->geo.gpa_bits
 * @path: the entries on the way
 *
 * Returns: the last entry, a leaf or zero.
 * Context: RCU read-side critical section.
 */
uint64_t age_pt_walk(const AgePageTable *pt, uint64_t gpa, AgePath *path);

/**
 * age_pt_index_of: number of an entry in its table
 * @pt: the table
 * @ptr: the entry
 * @height: height of its table
 */
static inline unsigned age_pt_index_of(const AgePageTable *pt,
                                       const uint64_t *ptr, int height)
{
    if (height == pt->geo.root_height) {
        return ptr - pt->root;
    }
    return (uintptr_t)ptr / sizeof(*ptr) % AGE_TABLE_ENTRIES;
}

/**
 * age_pt_map: install a leaf where none is
 * @pt: the table
 * @gpa: guest-physical address
 * @leaf: the new entry, from age_make_leaf() with @height
 * @height: height of the leaf
 * @path: the entries on the way, as from age_pt_walk()
 *
 * Tables on the way are made as needed.  Somebody else may be first, with
 * this leaf or another one: the caller must look at what is returned.
 *
 * Returns: the leaf that is now there.  It can be zero if it was zapped
 *     meanwhile, and a leaf of another height if one was there.
 * Context: RCU read-side critical section.
 */
uint64_t age_pt_map(AgePageTable *pt, uint64_t gpa, uint64_t leaf, int height,
                    AgePath *path);

/**
 * age_pt_remap: give a leaf that was mapped in error what it should have
 * @pt: the table
 * @path: the way to it, as from age_pt_map()
 * @from: the leaf that is there, as age_pt_map() returned it
 * @to: the one that it should be, of the same height; 0 to zap it
 *
 * Does nothing if another leaf is there by now.  The accessed flag, and the
 * dirty flag where @to is writable, are kept: another walker may have set them.
 * If the leaf was split meanwhile, its parts are zapped instead, whoever made
 * them: whatever was right among them will be mapped again.
 *
 * Context: RCU read-side critical section.
 */
void age_pt_remap(AgePageTable *pt, const AgePath *path, uint64_t from,
                  uint64_t to);

/**
 * AgeMarkResult: what became of a walk's end
 *
 * @AGE_MARK_DONE: the leaf's flags are set
 * @AGE_MARK_AGAIN: the leaf was zapped, split, or made read-only before a
 *     store: walk again
 * @AGE_MARK_UNMAPPED: there is no leaf to mark, nor should there be one
 * @AGE_MARK_DENIED: the leaf does not permit the store, nor should it
 */
typedef enum AgeMarkResult {
    AGE_MARK_DONE,
    AGE_MARK_AGAIN,
    AGE_MARK_UNMAPPED,
    AGE_MARK_DENIED,
} AgeMarkResult;

/**
 * AgeMarked: what a walk changed; age_pt_mark() knows the first two results
 *
 * @result: what became of it; without a leaf that was marked, the rest is 0
 * @accessed: its accessed flag was clear
 * @dirty: its dirty flag was clear
 * @leaf: what it is then
 */
typedef struct AgeMarked {
    AgeMarkResult result;
    bool accessed;
    bool dirty;
    uint64_t leaf;
} AgeMarked;

/**
 * age_pt_mark: set the accessed flags of a walk, as hardware does
 * @pt: the table
 * @path: a walk that ended at a leaf
 * @write: set the leaf's dirty flag as well
 *
 * The leaf first, then its parents from the bottom up, and with each of them
 * the word of the table that it points to (summary.h): see harvest.h for the
 * other half of the ordering.
 *
 * Context: the RCU read-side critical section of the walk.
 */
AgeMarked age_pt_mark(const AgePageTable *pt, const AgePath *path, bool write);

/**
 * age_pt_is_marked: would age_pt_mark() change nothing?
 * @pt: the table
 * @path: a walk
 * @leaf: the entry at its end, as it was read just before this; 0 is not marked
 * @write: see age_pt_mark()
 *
 * If it is marked, the walk is over: this has looked at all that age_pt_mark()
 * would see to, in the same order.
 *
 * Context: the RCU read-side critical section of the walk.
 */
bool age_pt_is_marked(const AgePageTable *pt, const AgePath *path,
                      uint64_t leaf, bool write);

/**
 * age_pt_zap: remove every leaf in a range, and the tables only it needs
 * @pt: the table
 * @start: first guest-physical address, page aligned
 * @end: the address behind the last
 *
 * A block that sticks out of the range is split first; the parts that stay
 * inherit its flags.  The sequence number changes before the first leaf is
 * removed: a walker that read it, then looked up what to map, then mapped it,
 * and finds it unchanged, has either mapped what is current or has had it
 * zapped.  For that, the caller publishes what is to be mapped from now on
 * *before* it calls this.  The epoch changes after the last leaf is removed, if
 * one was.
 *
 * Returns: whether anything was removed, of which a TLB may have a copy.
 * Context: one caller at a time; no RCU read-side critical section needed.
 */
bool age_pt_zap(AgePageTable *pt, uint64_t start, uint64_t end);

#endif /* ACCEL_AGE_PT_PTABLE_H */
