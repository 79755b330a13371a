/*
 * DAMON in the guest, held against memory whose use is known
 *
 * One thread touches the pages of a pattern, and no others of its area, with a
 * pause after each turn.  Linux's DAMON watches meanwhile, either physical
 * memory or our own address space.  What it says was accessed is counted
 * against the pattern.
 *
 * DAMON is driven by its files in sysfs, as the kernel's documentation has it
 * (Documentation/admin-guide/mm/damon/usage.rst).  Its regions are those of a
 * scheme that does nothing but count.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "area.h"
#include "console.h"

#define PROTOCOL        1
#define MAX_PAUSE_US    10000000
#define MAX_INTERVAL_US 100000000
#define MAX_REGIONS     100000

/* What DAMON is set up in, and what its results come out of */
#define KDAMONDS        "/sys/kernel/mm/damon/admin/kdamonds"
#define STATE           KDAMONDS "/0/state"
#define CONTEXTS        KDAMONDS "/0/contexts"
#define CONTEXT         CONTEXTS "/0"
#define INTERVALS       CONTEXT "/monitoring_attrs/intervals"
#define TARGETS         CONTEXT "/targets"
#define TARGET          TARGETS "/0"
#define SCHEMES         CONTEXT "/schemes"
#define SCHEME          SCHEMES "/0"
#define PATTERN         SCHEME "/access_pattern"
#define TRIED           SCHEME "/tried_regions"

/* Touching */

typedef volatile uint64_t Cell; /* volatile: the access itself counts */

static struct {
    pthread_t thread;
    Pattern pattern;
    uint64_t pause_us;
    bool on;
    bool stop;
    uint64_t turns;
} run;

static void touch_all(void)
{
    for (size_t i = 0; i < area.pages; i++) {
        if (pattern_has(&run.pattern, i)) {
            (void)*(Cell *)(area.mem + i * PAGE_SIZE);
        }
    }
}

/* It stays on one processor, so that the others are free for DAMON. */
static void *touch_again(void *opaque)
{
    cpu_set_t set;

    (void)opaque;
    CPU_ZERO(&set);
    CPU_SET((unsigned)sysconf(_SC_NPROCESSORS_ONLN) - 1, &set);
    sched_setaffinity(0, sizeof(set), &set);
    while (!__atomic_load_n(&run.stop, __ATOMIC_RELAXED)) {
        touch_all();
        __atomic_fetch_add(&run.turns, 1, __ATOMIC_RELEASE);
        usleep((useconds_t)run.pause_us);
    }
    return NULL;
}

/* run PATTERN PAUSE-US */
static void cmd_run(char **word)
{
    uint64_t pause;
    size_t hot = 0;

    if (!allocated()) {
        return;
    }
    if (run.on || !pattern_parse(word[1], &run.pattern) ||
        !number(word[2], MAX_PAUSE_US, &pause)) {
        err("run: %s", run.on ? "runs already" : "bad argument");
        return;
    }
    run.pause_us = pause;
    run.stop = false;
    run.turns = 0;
    if (pthread_create(&run.thread, NULL, touch_again, NULL)) {
        err("run: the thread could not be started");
        return;
    }
    run.on = true;
    for (size_t i = 0; i < area.pages; i++) {
        if (pattern_has(&run.pattern, i)) {
            account(i);
            hot++;
        }
    }
    ok("hot=%zu", hot);
}

/* turns: how many are done */
static void cmd_turns(char **word)
{
    (void)word;
    ok("turns=%" PRIu64, __atomic_load_n(&run.turns, __ATOMIC_ACQUIRE));
}

static void cmd_stop(char **word)
{
    (void)word;
    if (!run.on) {
        err("stop: nothing runs");
        return;
    }
    __atomic_store_n(&run.stop, true, __ATOMIC_RELAXED);
    pthread_join(run.thread, NULL);
    run.on = false;
    ok("turns=%" PRIu64, run.turns);
}

/* Files of one word */

static bool put(const char *path, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* False, with the reason given to the host, if the kernel does not take it. */
static bool put(const char *path, const char *fmt, ...)
{
    FILE *file = fopen(path, "we");
    bool done = file;
    va_list ap;

    va_start(ap, fmt);
    done = done && vfprintf(file, fmt, ap) > 0;
    va_end(ap);
    /* Nothing is written before it is closed. */
    if (file && fclose(file)) {
        done = false;
    }
    if (!done) {
        err("%s: %s", path, strerror(errno));
    }
    return done;
}

static bool get(const char *folder, const char *name, uint64_t *value)
{
    char path[256], text[32];
    FILE *file;
    bool got;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "re");
    got = file && fgets(text, sizeof(text), file);
    if (file) {
        fclose(file);
    }
    if (got) {
        text[strcspn(text, "\n")] = '\0';
    }
    return got && number(text, UINT64_MAX, value);
}

/* DAMON's set-up */

static bool physical;

/* All memory of the machine that may have pages of ours */
static bool put_physical_range(void)
{
    uint64_t lowest = UINT64_MAX, highest = 0;

    for (size_t i = 0; i < area.pages; i++) {
        uint64_t pfn = area.entries[i] & ENTRY_PFN_MASK;

        lowest = pfn < lowest ? pfn : lowest;
        highest = pfn > highest ? pfn : highest;
    }
    return put(TARGET "/regions/nr_regions", "1") &&
           put(TARGET "/regions/0/start", "%" PRIu64, lowest * PAGE_SIZE) &&
           put(TARGET "/regions/0/end", "%" PRIu64,
               (highest + 1) * PAGE_SIZE);
}

/* By address space DAMON finds out by itself what is mapped. */
static bool put_target(void)
{
    return put(CONTEXT "/operations", physical ? "paddr" : "vaddr") &&
           put(TARGETS "/nr_targets", "1") &&
           (physical ? put_physical_range() :
                       put(TARGET "/pid_target", "%d", (int)getpid()));
}

/* Whatever was accessed at least once between two of its reports */
static bool put_scheme(void)
{
    return put(SCHEMES "/nr_schemes", "1") &&
           put(SCHEME "/action", "stat") &&
           put(PATTERN "/sz/max", "%lu", ~0ul) &&
           put(PATTERN "/nr_accesses/min", "1") &&
           put(PATTERN "/nr_accesses/max", "%u", ~0u) &&
           put(PATTERN "/age/max", "%u", ~0u);
}

/* damon paddr|vaddr SAMPLE-US AGGREGATION-US */
static void cmd_damon(char **word)
{
    uint64_t sample, aggregation;

    if (!allocated()) {
        return;
    }
    physical = !strcmp(word[1], "paddr");
    if ((!physical && strcmp(word[1], "vaddr")) ||
        !number(word[2], MAX_INTERVAL_US, &sample) ||
        !number(word[3], MAX_INTERVAL_US, &aggregation)) {
        err("damon: bad argument");
        return;
    }
    if (put(KDAMONDS "/nr_kdamonds", "1") &&
        put(CONTEXTS "/nr_contexts", "1") && put_target() &&
        put(INTERVALS "/sample_us", "%" PRIu64, sample) &&
        put(INTERVALS "/aggr_us", "%" PRIu64, aggregation) && put_scheme() &&
        put(STATE, "on")) {
        ok("on=%s", word[1]);
    }
}

static void cmd_off(char **word)
{
    (void)word;
    if (put(STATE, "off") && put(KDAMONDS "/nr_kdamonds", "0")) {
        ok("on=none");
    }
}

/* DAMON's regions */

typedef struct Region {
    uint64_t start;
    uint64_t end;
} Region;

static Region regions[MAX_REGIONS];

/* Folders of regions are numbered, but not from 0 on once there were some. */
static size_t regions_read(void)
{
    FILE *list = popen("ls -d " TRIED "/[0-9]*", "re");
    char folder[256];
    size_t count = 0;

    while (list && count < MAX_REGIONS && fgets(folder, sizeof(folder), list)) {
        Region *region = &regions[count];

        folder[strcspn(folder, "\n")] = '\0';
        count += get(folder, "start", &region->start) &&
                 get(folder, "end", &region->end);
    }
    if (list) {
        pclose(list);
    }
    return count;
}

/* Where DAMON has a page of the area */
static uint64_t page_address(size_t i)
{
    return physical ? (area.entries[i] & ENTRY_PFN_MASK) * PAGE_SIZE :
                      (uint64_t)(uintptr_t)(area.mem + i * PAGE_SIZE);
}

static bool in_regions(uint64_t address, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (address >= regions[i].start && address < regions[i].end) {
            return true;
        }
    }
    return false;
}

/* accessed: what DAMON says was accessed last time, by what is known of it */
static void cmd_accessed(char **word)
{
    size_t count, hot = 0, cold = 0;
    uint64_t pages = 0;

    (void)word;
    if (!allocated() || !put(STATE, "update_schemes_tried_regions")) {
        return;
    }
    count = regions_read();
    for (size_t i = 0; i < count; i++) {
        pages += (regions[i].end - regions[i].start) / PAGE_SIZE;
    }
    for (size_t i = 0; i < area.pages; i++) {
        if (in_regions(page_address(i), count)) {
            hot += area.entries[i] >> 63;
            cold += !(area.entries[i] >> 63);
        }
    }
    ok("regions=%zu pages=%" PRIu64 " hot=%zu cold=%zu", count, pages, hot,
       cold);
}

/* Commands */

/* Not while the thread touches what there is. */
static void cmd_alloc(char **word)
{
    if (run.on) {
        err("alloc: the area is in use");
    } else {
        area_cmd_alloc(word);
    }
}

static void cmd_hello(char **word)
{
    (void)word;
    say_hello("damon", PROTOCOL);
}

static const Command commands[] = {
    { "hello", 0, cmd_hello },
    { "alloc", 2, cmd_alloc },
    { "run", 2, cmd_run },
    { "turns", 0, cmd_turns },
    { "damon", 3, cmd_damon },
    { "accessed", 0, cmd_accessed },
    { "off", 0, cmd_off },
    { "stop", 0, cmd_stop },
    { "report", 0, area_cmd_report },
};

int main(void)
{
    console_run(commands, sizeof(commands) / sizeof(*commands));
}
