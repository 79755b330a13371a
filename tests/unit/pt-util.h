/*
 * What the unit tests of the page table share: shapes of tables to run on,
 * short ways to map and touch a page, and a visitor that knows the entries
 * through AgeFormat.decode() alone
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_UNIT_PT_UTIL_H
#define TESTS_UNIT_PT_UTIL_H

#include "qemu/thread.h"
#include "accel/age/pt/harvest.h"
#include "accel/age/pt/ptable.h"
#include "accel/age/pt/reaper.h"
#include "accel/age/pt/summary.h"

/**
 * Gate: holds the reaper up, for as long as it is closed
 *
 * @reap: the reaper comes by through this
 * @lock: protects the rest; @changed is signalled with it
 * @reached, @open, @passed: how far it is
 */
typedef struct Gate {
    AgeReap reap;
    QemuMutex lock;
    QemuCond changed;
    bool reached;
    bool open;
    bool passed;
} Gate;

/**
 * Shape: a format and a size of address
 *
 * @name: for the name of the test
 * @fmt: the format
 * @gpa_bits: bits of guest-physical address
 * @root_height, @root_tables: what AgeFormat.geometry() must make of it
 */
typedef struct Shape {
    const char *name;
    const AgeFormat *fmt;
    unsigned gpa_bits;
    int root_height;
    unsigned root_tables;
} Shape;

typedef void ShapeTest(const Shape *shape);

/* Add @func as "@prefix/SHAPE" for each shape. */
void shape_add_tests(const char *prefix, ShapeTest *func);

/* The same for those shapes that @suits is true of */
void shape_add_tests_if(const char *prefix, ShapeTest *func,
                        bool (*suits)(const Shape *shape));

/* The tallest leaf that @shape can have */
int shape_max_leaf(const Shape *shape);

/* An empty table; g_assert that it has the geometry of @shape */
void shape_init(AgePageTable *pt, const Shape *shape);

/* Wait until the reaper is at @gate, and hold it up there. */
void gate_close(Gate *gate);

/* Let it pass. */
void gate_open(Gate *gate);

/* Run the RCU callbacks of all zaps so far. */
void run_callbacks(void);

/* Likewise, and wait until the reaper has freed what they gave it. */
void settle(void);

/* Free a table, after settle(), and check that its counts end at zero. */
void shape_free(AgePageTable *pt);

/* settle(), which sleeps a while, and shape_free() */
void shape_destroy(AgePageTable *pt);

/* Enter and leave a thread, and a critical section, that use the table. */
void reader_register(void);
void reader_unregister(void);
void reader_lock(void);
void reader_unlock(void);

/* age_pt_map(), age_pt_remap() and age_pt_harvest(), in a critical section */
uint64_t reader_map(AgePageTable *pt, uint64_t gpa, uint64_t leaf, int height,
                    AgePath *path);
void reader_remap(AgePageTable *pt, const AgePath *path, uint64_t from,
                  uint64_t to);
void reader_harvest(AgePageTable *pt, uint64_t start, uint64_t end,
                    AgeHarvest *h);

/* A number below @n, from the seed that g_test prints */
uint64_t rnd_below(uint64_t n);

/* The made-up frame that tests map at @gpa; aligned as @gpa is */
uint64_t frame_of(uint64_t gpa);

/* Map what frame_of() says, at @height, read-write, old. */
uint64_t map_gpa(AgePageTable *pt, uint64_t gpa, int height);

/* Walk to @gpa and set the flags, as a walker does. */
AgeMarked touch_gpa(const AgePageTable *pt, uint64_t gpa, bool write);

/* map_gpa(), then touch_gpa() */
void map_young(AgePageTable *pt, uint64_t gpa, int height);

/* Called for each entry that is not 0: where it is, and what it covers first */
typedef void TreeVisit(uint64_t *ptr, int height, uint64_t gpa,
                       const AgeDecoded *decoded, void *opaque);

void tree_visit(const AgePageTable *pt, TreeVisit *visit, void *opaque);

/**
 * TreeCount: what a visit of the whole tree finds
 *
 * @tables: tables by height, with the root's
 * @young_tables: table entries whose accessed flag is set
 * @leaves, @young, @dirty: leaves, and those of them with the flag set
 */
typedef struct TreeCount {
    uint64_t tables[AGE_MAX_HEIGHT + 1];
    uint64_t young_tables;
    uint64_t leaves;
    uint64_t young;
    uint64_t dirty;
} TreeCount;

TreeCount tree_count(const AgePageTable *pt);

/*
 * Check that no table on the way to a young leaf, or a dirty one, has a word
 * which says that there is none.  No walker may be on its way.
 */
void check_summaries(const AgePageTable *pt);

/* Check AgePageTable.tables against the tree; settle() comes first. */
void check_tables(const AgePageTable *pt);

#endif /* TESTS_UNIT_PT_UTIL_H */
