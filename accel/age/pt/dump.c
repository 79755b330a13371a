/*
 * A copy of a page table, piece by piece
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "contract.h"
#include "dump.h"

/* Take an address for a table.  Returns false if another one has it. */
static bool take_address(AgeDump *dump, uint64_t address)
{
    return g_hash_table_add(dump->seen, (gpointer)(uintptr_t)address);
}

/*
 * The address that a table gets in the copy: its own.  If that was another
 * table's, which was freed since and whose memory is in use again, then one
 * that no table can have: there is no memory that low.
 */
static uint64_t new_address(AgeDump *dump, const uint64_t *table)
{
    uint64_t address = (uintptr_t)table;

    while (!take_address(dump, address)) {
        dump->spare += AGE_PAGE_SIZE;
        address = dump->spare;
    }
    return address;
}

void age_dump_init(AgeDump *dump, const AgePageTable *pt)
{
    unsigned n = pt->geo.root_tables;

    *dump = (AgeDump) {
        .pt = pt,
        .fmt = age_pt_format(pt),
        .root = g_new0(AgeDumpTable, n),
        .done = g_array_new(false, false, sizeof(AgeDumpTable)),
        .num = n,
        .seen = g_hash_table_new(NULL, NULL),
    };
    for (unsigned i = 0; i < n; i++) {
        uint64_t address = new_address(dump, pt->root + i * AGE_TABLE_ENTRIES);

        dump->root[i].address = GUINT64_TO_LE(address);
    }
}

void age_dump_clear(AgeDump *dump)
{
    g_free(dump->root);
    for (int h = 0; h < AGE_MAX_HEIGHT; h++) {
        g_free(dump->open[h]);
    }
    g_array_unref(dump->done);
    g_hash_table_unref(dump->seen);
}

static AgeDumpTable *add_done(AgeDump *dump)
{
    unsigned n = dump->done->len;

    g_array_set_size(dump->done, n + 1);
    dump->num++;
    return &g_array_index(dump->done, AgeDumpTable, n);
}

/* The copy of the table at @height that the copy is in */
static AgeDumpTable *copy_at(AgeDump *dump, int height)
{
    int top = dump->pt->geo.root_height;

    if (height < top) {
        return dump->open[height];
    }
    return &dump->root[dump->gpa >> age_height_shift(top + 1)];
}

/* Where @gpa is in a table at @height, of which there may be several above */
static unsigned index_at(uint64_t gpa, int height)
{
    return (gpa >> age_height_shift(height)) & (AGE_TABLE_ENTRIES - 1);
}

/* The entry that points to the table which has @address in the copy */
static uint64_t table_entry(const AgeDump *dump, uint64_t entry,
                            uint64_t address)
{
    return GUINT64_TO_LE((entry & ~dump->fmt->address) | address);
}

/* Copy a table of pages.  Returns the entry that points to it. */
static uint64_t copy_pages(AgeDump *dump, uint64_t entry)
{
    const uint64_t *table = age_entry_table(dump->fmt, entry);
    uint64_t address = new_address(dump, table);
    AgeDumpTable *copy = add_done(dump);

    copy->address = GUINT64_TO_LE(address);
    for (unsigned i = 0; i < AGE_TABLE_ENTRIES; i++) {
        copy->entry[i] = GUINT64_TO_LE(qatomic_read(&table[i]));
    }
    return table_entry(dump, entry, address);
}

/* Copy the table of height 1 at @table and what hangs below it. */
static void copy_row(AgeDump *dump, const uint64_t *table)
{
    AgeDumpTable *copy = copy_at(dump, 1);

    for (unsigned i = 0; i < AGE_TABLE_ENTRIES; i++) {
        /* Pairs with the cmpxchg that hooked the table in. */
        uint64_t entry = qatomic_load_acquire(&table[i]);

        copy->entry[i] = GUINT64_TO_LE(entry);
        if (age_entry_is_present(dump->fmt, entry) &&
            !age_entry_is_leaf(dump->fmt, entry, 1)) {
            copy->entry[i] = copy_pages(dump, entry);
        }
    }
}

/* Begin the copy of the table at @height that @entry points to. */
static void open_table(AgeDump *dump, int height, uint64_t entry)
{
    AgeDumpTable *parent = copy_at(dump, height + 1);
    uint64_t address = new_address(dump, age_entry_table(dump->fmt, entry));

    parent->entry[index_at(dump->gpa, height + 1)] =
        table_entry(dump, entry, address);
    dump->open[height] = g_new0(AgeDumpTable, 1);
    dump->open[height]->address = GUINT64_TO_LE(address);
}

/* Go on behind @size bytes.  What ends there is complete. */
static void dump_advance(AgeDump *dump, uint64_t size)
{
    dump->gpa = (dump->gpa & -size) + size;
    for (int h = 1; h < dump->pt->geo.root_height; h++) {
        if (dump->open[h] && !(dump->gpa & (age_height_size(h + 1) - 1))) {
            *add_done(dump) = *dump->open[h];
            g_clear_pointer(&dump->open[h], g_free);
        }
    }
}

/*
 * One way down from the root.  A table that the copy is in may have vanished
 * since: what has not been copied of it is not there any more.  If another one
 * has taken its place, that is where the copy goes on.
 */
static void copy_next(AgeDump *dump)
{
    int height = dump->pt->geo.root_height;
    const uint64_t *table = dump->pt->root +
        (dump->gpa >> age_height_shift(height + 1)) * AGE_TABLE_ENTRIES;

    while (height > 1) {
        unsigned i = index_at(dump->gpa, height);
        /* Pairs with the cmpxchg that hooked the table in. */
        uint64_t entry = qatomic_load_acquire(&table[i]);

        if (!age_entry_is_present(dump->fmt, entry) ||
            age_entry_is_leaf(dump->fmt, entry, height)) {
            if (!dump->open[height - 1]) {
                copy_at(dump, height)->entry[i] = GUINT64_TO_LE(entry);
            }
            dump_advance(dump, age_height_size(height));
            return;
        }
        if (!dump->open[height - 1]) {
            open_table(dump, height - 1, entry);
        }
        table = age_entry_table(dump->fmt, entry);
        height--;
    }
    copy_row(dump, table);
    dump_advance(dump, age_height_size(2));
}

bool age_dump_piece(AgeDump *dump, unsigned tables)
{
    const AgeGeometry *geo = &dump->pt->geo;
    uint64_t end = geo->root_tables * age_height_size(geo->root_height + 1);

    assert(age_in_rcu_read());
    g_array_set_size(dump->done, 0);
    while (dump->gpa < end && dump->done->len < tables) {
        copy_next(dump);
    }
    return dump->gpa < end;
}
