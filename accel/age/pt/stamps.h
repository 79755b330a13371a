/*
 * Stamps: for each page of the host's memory, when it was last found young
 *
 * A stamp is a number of 32 bits; 0 is never.  Only what was ever stamped costs
 * memory: 4 bytes a page for each region of 2 MiB, and 6 KiB for each GiB.
 *
 * Pages are told by number: the address, without the bits within a page.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_PT_STAMPS_H
#define ACCEL_AGE_PT_STAMPS_H

#include "bitrange.h"
#include "format.h"

/* Pages of 2 MiB, for which one number says that nothing in it is newer */
#define AGE_REGION_SHIFT    9
#define AGE_REGION_PAGES    (1u << AGE_REGION_SHIFT)

/* Regions that are kept side by side: those of 1 GiB */
#define AGE_REGIONS         512

/**
 * AgeStampGroup: the stamps of 1 GiB
 *
 * @number: number of its first page, divided by how many it has
 * @newest: no stamp in it is larger
 * @max: for each region, its largest stamp
 * @stamp: for each region, those of its pages; NULL if all are 0
 */
typedef struct AgeStampGroup {
    uint64_t number;
    uint32_t newest;
    uint32_t max[AGE_REGIONS];
    uint32_t *stamp[AGE_REGIONS];
} AgeStampGroup;

/**
 * AgeStamps: all stamps
 *
 * Whoever uses it holds a lock.
 *
 * @groups: of #AgeStampGroup pointers, by ascending @number
 * @last: where the last look-up has found something
 * @regions: how many regions have stamps
 */
typedef struct AgeStamps {
    GPtrArray *groups;
    unsigned last;
    uint64_t regions;
} AgeStamps;

/* Called for @pages pages which had, or have, the same @stamp */
typedef void AgeStampFunc(void *opaque, uint32_t stamp, uint64_t pages);

/*
 * Called for @n pages, 1 to 64, from @page on, of which the ones in @bits are
 * meant.  The last page has bit 0.
 */
typedef void AgeStampedFunc(void *opaque, uint64_t page, unsigned n,
                            uint64_t bits);

/* Places of a tally; stamps that differ by a multiple share one */
#define AGE_TALLY   64

/**
 * AgeTally: pages by the stamp that they had
 *
 * @had: told of those whose place is needed, and in the end of all
 * @opaque: for @had
 * @num: places in use
 * @used: which they are
 * @stamp, @pages: what is in a place; nothing if @pages is 0
 */
typedef struct AgeTally {
    AgeStampFunc *had;
    void *opaque;
    unsigned num;
    uint8_t used[AGE_TALLY];
    uint32_t stamp[AGE_TALLY];
    uint32_t pages[AGE_TALLY];
} AgeTally;

/* Tell of what was not told yet. */
void age_tally_flush(AgeTally *t);

void age_stamps_init(AgeStamps *s);
void age_stamps_destroy(AgeStamps *s);

/**
 * age_stamps_set: stamp pages
 * @s: the stamps
 * @word: number of the first page, divided by 64
 * @bits: which of 64 pages; the last has bit 0
 * @stamp: what with; pages that have a larger one keep it
 * @tally: what pages had that did not have @stamp or a larger one
 */
void age_stamps_set(AgeStamps *s, uint64_t word, uint64_t bits,
                    uint32_t stamp, AgeTally *tally);

/**
 * age_stamps_next: where there may be stamps
 * @s: the stamps
 * @page: where to begin
 *
 * Returns: the first page from there on that may have a stamp; %UINT64_MAX if
 *     none has.
 */
uint64_t age_stamps_next(const AgeStamps *s, uint64_t page);

/**
 * age_stamps_forget: make pages such that were never stamped
 * @s: the stamps
 * @page: the first page
 * @pages: how many
 * @limit: those whose stamp is larger keep it
 * @had: told what pages had
 * @opaque: for @had
 */
void age_stamps_forget(AgeStamps *s, uint64_t page, uint64_t pages,
                       uint32_t limit, AgeStampFunc *had, void *opaque);

/**
 * age_stamps_since: find pages whose stamp is larger than a number
 * @s: the stamps
 * @page: the first page
 * @pages: how many
 * @since: the number
 * @stamped: told of them, by ascending page
 * @opaque: for @stamped
 */
void age_stamps_since(AgeStamps *s, uint64_t page, uint64_t pages,
                      uint32_t since, AgeStampedFunc *stamped, void *opaque);

/**
 * age_stamps_each: tell all stamps of a range, page by page
 * @s: the stamps
 * @page: the first page
 * @pages: how many
 * @has: told of stretches of pages with the same stamp, from the first page to
 *     the last, with 0 for what was never stamped
 * @opaque: for @has
 */
void age_stamps_each(AgeStamps *s, uint64_t page, uint64_t pages,
                     AgeStampFunc *has, void *opaque);

/**
 * age_stamps_rebase: make all stamps smaller
 * @s: the stamps
 * @delta: by how much; what would be less than 1 becomes 1
 *
 * Takes time with the memory that was ever stamped.
 */
void age_stamps_rebase(AgeStamps *s, uint32_t delta);

#endif /* ACCEL_AGE_PT_STAMPS_H */
