/*
 * Memory of a program in the guest, with an account page by page
 *
 * It is one area of locked anonymous memory.  The account says which of its
 * pages were touched, and which page frames they lie in according to our own
 * /proc/self/pagemap.  The host holds that against what it harvests.
 *
 * The account is far too long for a serial line.  It stays in memory, and
 * the answer to "report" names the frame of its first index page, from which
 * the host reads all of it as guest-physical memory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef AGE_GUEST_AREA_H
#define AGE_GUEST_AREA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The accelerator's page.  Area, account and frames are counted in these; the
 * kernel's own pages may be larger (arm64: 16 or 64 KiB), and each is several
 * of them then.
 */
#define PAGE_SIZE       4096

/* Nobody stores below this offset of a page: code for "exec" lies there. */
#define CODE_SIZE       64

/*
 * An entry of the account, one for each page of the area.  The shape says
 * which part of the background pattern the page belongs to.
 */
#define ENTRY_PFN_MASK      ((1ull << 48) - 1)
#define ENTRY_SHAPE_SHIFT   56
#define ENTRY_SHAPE_MASK    (3ull << ENTRY_SHAPE_SHIFT)
#define ENTRY_TOUCHED       (1ull << 63)

#define ENTRIES_PER_PAGE    (PAGE_SIZE / sizeof(uint64_t))

typedef enum Shape {
    SHAPE_NONE,
    SHAPE_HOT,
    SHAPE_WARM,
    SHAPE_COLD,
} Shape;

/*
 * A page of the index.  It lists the frames of the account's pages, in
 * order; frame 0 ends the list and the chain.
 */
#define INDEX_MAGIC     0x7865646e69656761ull   /* "ageindex" */
#define INDEX_SLOTS     (ENTRIES_PER_PAGE - 2)

typedef struct IndexPage {
    uint64_t magic;
    uint64_t pfn[INDEX_SLOTS];
    uint64_t next;
} IndexPage;

typedef struct Area {
    uint8_t *mem;
    size_t pages;
    uint64_t *entries;
    size_t entry_pages;
    IndexPage *index;
    size_t index_pages;
} Area;

extern Area area;

/* Locked memory; NULL if there is not enough. */
void *map_locked(size_t pages, int prot, int advice);

/* Reads the frames of @count pages from @addr on; pages must be present. */
bool pagemap_read(const void *addr, size_t count, uint64_t *pfn);

/* Whether there is an area; says so if there is none. */
bool allocated(void);

/*
 * Says that page @i was touched.  Called after the access: a page that is
 * on the account has been touched for sure.  Several threads may meet here.
 */
void account(size_t i);

/* Says which shape a part of the area has. */
void account_shape(size_t first, size_t count, Shape shape);

/* The longest run of pages whose frames follow each other as they do. */
size_t area_longest_run(size_t *first);

/*
 * alloc PAGES small|thp; "run" is the length of the longest run, "huge" how
 * many pages are in huge pages of the kernel's, and "address" where the area
 * begins for the program.  Its pages are of all NUMA nodes in turn.
 */
void area_cmd_alloc(char **word);

/* reset */
void area_cmd_reset(char **word);

/* report */
void area_cmd_report(char **word);

/* Choosing pages by pattern */

typedef enum PatternKind {
    PATTERN_ALL,
    PATTERN_EVERY,
    PATTERN_BLOCK,
    PATTERN_RANDOM,
} PatternKind;

typedef struct Pattern {
    PatternKind kind;
    uint64_t step;      /* EVERY: every step-th page ... */
    uint64_t first;     /* ... from this one on */
    uint64_t count;     /* BLOCK: so many pages from @first on */
    uint64_t seed;      /* RANDOM: of this seed ... */
    uint64_t permille;  /* ... so many pages of a thousand */
} Pattern;

/* The finalizer of the splitmix64 generator: a good hash of a counter. */
uint64_t hash64(uint64_t x);

/* "all", "every:STEP:FIRST", "block:FIRST:COUNT" or "random:SEED:PERMILLE" */
bool pattern_parse(const char *s, Pattern *p);

bool pattern_has(const Pattern *p, size_t i);

#endif
