/*
 * The commands of the accelerator, for its tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_AGE_QMP_H
#define TESTS_AGE_QMP_H

#include "libqtest.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"

/**
 * AgeSlotInfo: a slot that query-age reports
 *
 * @space: its address space
 * @gpa: guest-physical address
 * @size: in bytes
 * @hva: address in QEMU
 * @readonly: the guest can't write to it
 */
typedef struct AgeSlotInfo {
    char space[16];
    uint64_t gpa;
    uint64_t size;
    uint64_t hva;
    bool readonly;
} AgeSlotInfo;

/**
 * AgeLeafInfo: the last entry that query-age-walk reports, if it is a leaf
 *
 * @level: its level
 * @index: its index
 * @value: the raw entry
 * @address: its frame
 * @read, @write, @execute: what it permits
 * @accessed, @dirty: its flags
 */
typedef struct AgeLeafInfo {
    int level;
    unsigned index;
    uint64_t value;
    uint64_t address;
    bool read;
    bool write;
    bool execute;
    bool accessed;
    bool dirty;
} AgeLeafInfo;

/**
 * age_add_range: add one to the ranges of a harvest
 * @ranges: the list so far
 * @start: first address
 * @end: address behind the last
 * @map: its bitmap, or NULL for none
 * @bytes: size of @map
 */
void age_add_range(QList *ranges, uint64_t start, uint64_t end,
                   const uint8_t *map, size_t bytes);

/* The same with a bitmap that only tests, or that clears all */
void age_add_test_range(QList *ranges, uint64_t start, uint64_t end);
void age_add_clear_range(QList *ranges, uint64_t start, uint64_t end);

/* Arguments of age-test-clear-young: @ranges, and JSON members in @options */
QDict *age_harvest_args(QList *ranges, const char *options);

/*
 * Add the pages that a range of a result tells of: in runs, or, if they would
 * be too many, in a bitmap that was all ones if it was to @clear, else zeroes.
 */
void age_add_told_pages(GArray *pages, const QDict *range, bool clear);

/* Do it, and return what comes back.  Takes @ranges. */
QDict *age_harvest(QTestState *qts, QList *ranges, const char *options);

/* The number of young pages of [@start, @end); makes them old if @clear */
uint64_t age_count(QTestState *qts, uint64_t start, uint64_t end, bool clear);

/**
 * age_flush_all: make everything old, and have all vCPUs flush their TLBs
 * @qts: QEMU
 *
 * When this returns, a page that is accessed after that becomes young.
 */
void age_flush_all(QTestState *qts);

/* Wait until no vCPU has a flush pending */
void age_wait_flushed(QTestState *qts);

/* A member of up to 64 bits without a sign, such as an address */
uint64_t age_get_uint(const QDict *dict, const char *key);

/* query-age, and parts of it */
QDict *age_query(QTestState *qts);
uint64_t age_generation(QTestState *qts);
uint64_t age_counter(QTestState *qts, const char *name);
uint64_t age_num_tables(QTestState *qts, int level);

/* The slots, as an array of AgeSlotInfo */
GArray *age_slots(QTestState *qts);

/* The slot of @space that holds @gpa, if there is one */
bool age_find_slot(QTestState *qts, const char *space, uint64_t gpa,
                   AgeSlotInfo *slot);

/* query-age-walk */
QList *age_walk(QTestState *qts, const char *space, uint64_t gpa);

/* Its last entry; returns false if that is no leaf */
bool age_leaf(QTestState *qts, const char *space, uint64_t gpa,
              AgeLeafInfo *leaf);

/* How many bytes a leaf maps */
uint64_t age_leaf_size(const AgeLeafInfo *leaf);

/* Take an entry of it apart */
void age_parse_entry(const QDict *entry, AgeLeafInfo *info);

/*
 * Sets of pages: arrays of uint64_t, ascending, of guest-physical addresses
 */

GArray *age_pages_new(void);

/* Add @count pages, every @stride bytes from @start on; @stride may be 0. */
void age_pages_add(GArray *pages, uint64_t start, uint64_t count,
                   uint64_t stride);

/* A set of @count pages side by side */
GArray *age_pages_of(uint64_t start, uint64_t count);

/* The young pages of [@start, @end), which become old if @clear */
GArray *age_young_pages(QTestState *qts, uint64_t start, uint64_t end,
                        bool clear);

/* The young pages of the slots of @space, which become old if @clear */
GArray *age_all_young_pages(QTestState *qts, const char *space, bool clear);

/* Fail unless the two are the same set.  Frees both. */
void age_assert_same_pages(GArray *got, GArray *want);

/*
 * How many leaves are young, over all address spaces: more than pages, if
 * there are several ways to one.
 */
uint64_t age_count_young_leaves(QTestState *qts);

/*
 * Fail unless each leaf that was made young, by a walker or as a part of a
 * young block, was made old by a harvest, was zapped, or is young still.  What
 * went with a table counts when that is freed, so this waits for it.  The guest
 * must be stopped, and harvests by bitmap be possible.
 */
void age_check_conserved(QTestState *qts);

/* The same for who knows how many leaves are young still */
void age_check_left(QTestState *qts, uint64_t left);

#endif /* TESTS_AGE_QMP_H */
