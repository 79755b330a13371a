/*
 * Memory of a program in the guest, with an account page by page
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "area.h"
#include "console.h"

#define PAGEMAP_TRIES       1000
#define PAGEMAP_PAUSE_US    1000
#define MAX_NODES           8

Area area;

/* Page frames */

/*
 * Makes frames of @count pages of ours, the first of which is page @skip of
 * a page of the kernel's, from frames of the kernel's pages.  Backwards, as
 * the latter are at the beginning of the same array.
 */
static void split_frames(uint64_t *pfn, size_t count, size_t skip,
                         size_t per_page)
{
    for (size_t i = count; i--;) {
        pfn[i] = pfn[(skip + i) / per_page] * per_page +
                 (skip + i) % per_page;
    }
}

/* The frames of some pages; false if one has none at the moment */
static bool pagemap_try(int fd, const void *addr, size_t count, uint64_t *pfn)
{
    size_t per_page = (size_t)sysconf(_SC_PAGESIZE) / PAGE_SIZE;
    size_t first = (uintptr_t)addr / PAGE_SIZE;
    size_t skip = first % per_page;
    size_t entries = (skip + count - 1) / per_page + 1;
    off_t pos = (off_t)(first / per_page * sizeof(uint64_t));
    ssize_t want = (ssize_t)(entries * sizeof(uint64_t));

    if (pread(fd, pfn, (size_t)want, pos) != want) {
        return false;
    }
    for (size_t i = 0; i < entries; i++) {
        /* Bit 63: present.  The frame reads as 0 without the privilege. */
        bool present = pfn[i] >> 63;

        pfn[i] &= (1ull << 55) - 1;
        if (!present || !pfn[i] || pfn[i] > ENTRY_PFN_MASK / per_page) {
            return false;
        }
    }
    split_frames(pfn, count, skip, per_page);
    return true;
}

/* While the kernel moves a page, even a locked one, it has no frame. */
bool pagemap_read(const void *addr, size_t count, uint64_t *pfn)
{
    static int fd = -1;

    if (fd < 0) {
        fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    }
    for (unsigned i = 0; fd >= 0 && i < PAGEMAP_TRIES; i++) {
        if (pagemap_try(fd, addr, count, pfn)) {
            return true;
        }
        usleep(PAGEMAP_PAUSE_US);
    }
    return false;
}

/* Takes the area's frames anew, and counts those that are not as before. */
static bool refresh_entries(size_t *moved)
{
    uint64_t pfn[ENTRIES_PER_PAGE];

    *moved = 0;
    for (size_t i = 0; i < area.pages; i += ENTRIES_PER_PAGE) {
        size_t left = area.pages - i;
        size_t count = left < ENTRIES_PER_PAGE ? left : ENTRIES_PER_PAGE;

        if (!pagemap_read(area.mem + i * PAGE_SIZE, count, pfn)) {
            return false;
        }
        for (size_t j = 0; j < count; j++) {
            uint64_t old = area.entries[i + j];

            *moved += (old & ENTRY_PFN_MASK) != pfn[j];
            area.entries[i + j] = (old & ~ENTRY_PFN_MASK) | pfn[j];
        }
    }
    return true;
}

static bool refresh_index(void)
{
    for (size_t i = 0; i < area.index_pages; i++) {
        IndexPage *page = &area.index[i];
        size_t first = i * INDEX_SLOTS;
        size_t left = area.entry_pages - first;
        size_t count = left < INDEX_SLOTS ? left : INDEX_SLOTS;

        memset(page, 0, sizeof(*page));
        page->magic = INDEX_MAGIC;
        if (!pagemap_read(area.entries + first * ENTRIES_PER_PAGE, count,
                          page->pfn)) {
            return false;
        }
        if (i + 1 < area.index_pages &&
            !pagemap_read(page + 1, 1, &page->next)) {
            return false;
        }
    }
    return true;
}

/* The area */

void *map_locked(size_t pages, int prot, int advice)
{
    size_t size = pages * PAGE_SIZE;
    void *p = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED) {
        return NULL;
    }
    madvise(p, size, advice);
    if (mlock(p, size) < 0) {
        munmap(p, size);
        return NULL;
    }
    return p;
}

static void unmap(void *p, size_t pages)
{
    if (p) {
        munmap(p, pages * PAGE_SIZE);
    }
}

static void area_free(void)
{
    unmap(area.mem, area.pages);
    unmap(area.entries, area.entry_pages);
    unmap(area.index, area.index_pages);
    memset(&area, 0, sizeof(area));
}

/* Gives each page content of its own, and a function that only returns. */
static void area_fill(void)
{
#if defined(__x86_64__)
    static const uint8_t code[] = { 0xc3 };
#elif defined(__aarch64__)
    static const uint8_t code[] = { 0xc0, 0x03, 0x5f, 0xd6 };
#else
#error "no code for this architecture"
#endif

    for (size_t i = 0; i < area.pages; i++) {
        uint8_t *page = area.mem + i * PAGE_SIZE;

        memcpy(page, code, sizeof(code));
        memcpy(page + CODE_SIZE, &i, sizeof(i));
    }
    __builtin___clear_cache((char *)area.mem,
                            (char *)area.mem + area.pages * PAGE_SIZE);
}

/*
 * Has pages come from all NUMA nodes in turn, or from the nearest again.  A
 * kernel without NUMA does not know the call, and has but one node.
 */
static void spread_over_nodes(bool on)
{
    unsigned long nodes = (1ul << MAX_NODES) - 1;

    syscall(SYS_set_mempolicy, on ? MPOL_INTERLEAVE : MPOL_DEFAULT,
            on ? &nodes : NULL, on ? MAX_NODES + 1 : 0);
}

static bool area_alloc(size_t pages, bool thp)
{
    const int rw = PROT_READ | PROT_WRITE;

    area_free();
    area.pages = pages;
    area.entry_pages = (pages + ENTRIES_PER_PAGE - 1) / ENTRIES_PER_PAGE;
    area.index_pages = (area.entry_pages + INDEX_SLOTS - 1) / INDEX_SLOTS;
    spread_over_nodes(true);
    area.mem = map_locked(pages, rw | PROT_EXEC,
                          thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    spread_over_nodes(false);
    area.entries = map_locked(area.entry_pages, rw, MADV_NOHUGEPAGE);
    area.index = map_locked(area.index_pages, rw, MADV_NOHUGEPAGE);
    if (!area.mem || !area.entries || !area.index) {
        area_free();
        return false;
    }
    area_fill();
    return true;
}
bool allocated(void)
{
    if (!area.mem) {
        err("nothing is allocated");
        return false;
    }
    return true;
}

/* Nothing else of ours is in huge pages. */
static size_t huge_pages(void)
{
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    size_t kib = 0;
    char line[128];

    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "AnonHugePages: %zu kB", &kib) == 1) {
            break;
        }
    }
    if (file) {
        fclose(file);
    }
    return kib * 1024 / PAGE_SIZE;
}

size_t area_longest_run(size_t *first)
{
    size_t start = 0, longest = 0;

    for (size_t i = 0; i < area.pages; i++) {
        if (i > start && (area.entries[i] & ENTRY_PFN_MASK) !=
                         (area.entries[i - 1] & ENTRY_PFN_MASK) + 1) {
            start = i;
        }
        if (i + 1 - start > longest) {
            longest = i + 1 - start;
            *first = start;
        }
    }
    return longest;
}

/* The account */

void account(size_t i)
{
    if (!(__atomic_load_n(&area.entries[i], __ATOMIC_RELAXED) &
          ENTRY_TOUCHED)) {
        __atomic_fetch_or(&area.entries[i], ENTRY_TOUCHED, __ATOMIC_RELAXED);
    }
}

static void account_reset(void)
{
    for (size_t i = 0; i < area.pages; i++) {
        area.entries[i] &= ~(ENTRY_TOUCHED | ENTRY_SHAPE_MASK);
    }
}

void account_shape(size_t first, size_t count, Shape shape)
{
    for (size_t i = first; i < first + count; i++) {
        area.entries[i] &= ~ENTRY_SHAPE_MASK;
        area.entries[i] |= (uint64_t)shape << ENTRY_SHAPE_SHIFT;
    }
}

/* Commands */

void area_cmd_alloc(char **word)
{
    uint64_t pages;
    size_t moved, first;

    if (!number(word[1], 1u << 30, &pages) || !pages ||
        (strcmp(word[2], "small") && strcmp(word[2], "thp"))) {
        err("alloc: bad argument");
    } else if (!area_alloc(pages, !strcmp(word[2], "thp"))) {
        err("alloc: %s", strerror(errno));
    } else if (!refresh_entries(&moved)) {
        err("alloc: cannot read the pagemap");
    } else {
        ok("pages=%zu run=%zu huge=%zu address=%zu", area.pages,
           area_longest_run(&first), huge_pages(), (size_t)area.mem);
    }
}

void area_cmd_reset(char **word)
{
    (void)word;
    if (allocated()) {
        account_reset();
        ok("pages=%zu", area.pages);
    }
}

/* The sum lets the host see that it read what was written. */
void area_cmd_report(char **word)
{
    uint64_t pfn, sum = 0;
    size_t moved, touched = 0;

    (void)word;
    if (!allocated()) {
        return;
    }
    if (!refresh_entries(&moved) || !refresh_index() ||
        !pagemap_read(area.index, 1, &pfn)) {
        err("report: cannot read the pagemap");
        return;
    }
    for (size_t i = 0; i < area.pages; i++) {
        sum += area.entries[i];
        touched += area.entries[i] >> 63;
    }
    ok("index=%" PRIu64 " pages=%zu touched=%zu moved=%zu sum=%" PRIu64,
       pfn, area.pages, touched, moved, sum);
}

/* Choosing pages by pattern */

uint64_t hash64(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

bool pattern_parse(const char *s, Pattern *p)
{
    char rest;

    memset(p, 0, sizeof(*p));
    if (!strcmp(s, "all")) {
        p->kind = PATTERN_ALL;
        return true;
    }
    if (sscanf(s, "every:%" SCNu64 ":%" SCNu64 "%c",
               &p->step, &p->first, &rest) == 2) {
        p->kind = PATTERN_EVERY;
        return p->step > 0 && p->first < p->step;
    }
    if (sscanf(s, "block:%" SCNu64 ":%" SCNu64 "%c",
               &p->first, &p->count, &rest) == 2) {
        p->kind = PATTERN_BLOCK;
        return true;
    }
    if (sscanf(s, "random:%" SCNu64 ":%" SCNu64 "%c",
               &p->seed, &p->permille, &rest) == 2) {
        p->kind = PATTERN_RANDOM;
        return p->permille <= 1000;
    }
    return false;
}

bool pattern_has(const Pattern *p, size_t i)
{
    switch (p->kind) {
    case PATTERN_EVERY:
        return i % p->step == p->first;
    case PATTERN_BLOCK:
        return i >= p->first && i - p->first < p->count;
    case PATTERN_RANDOM:
        return hash64(i + hash64(p->seed)) % 1000 < p->permille;
    default:
        return true;
    }
}
