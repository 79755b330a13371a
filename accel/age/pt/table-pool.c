/*
 * Memory for table pages
 *
 * A general allocator loses up to a page for each one it must align, which
 * would double the cost of the tables.  So tables come from chunks of many,
 * and a free table is kept on a list for the next one who wants it.  The first
 * page of a chunk is for the words beside the tables: all of a table's own page
 * is entries.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/memalign.h"
#include "table-pool.h"

G_STATIC_ASSERT(sizeof(AgeChunk) == AGE_CHUNK_SIZE);

typedef struct FreeTable FreeTable;
struct FreeTable {
    FreeTable *next;
};

/* @lock protects @first.  It is held for a few instructions only. */
static struct {
    GMutex lock;
    FreeTable *first;
} pool;

static void pool_push(void *table)
{
    FreeTable *f = table;

    f->next = pool.first;
    pool.first = f;
}

/* Called with pool.lock held. */
static void pool_grow(void)
{
    AgeChunk *chunk = qemu_memalign(AGE_CHUNK_SIZE, AGE_CHUNK_SIZE);

    for (int i = G_N_ELEMENTS(chunk->table) - 1; i >= 0; i--) {
        pool_push(chunk->table[i]);
    }
}

uint64_t *age_table_alloc(void)
{
    FreeTable *f;
    uint64_t *table, *words;

    g_mutex_lock(&pool.lock);
    if (!pool.first) {
        pool_grow();
    }
    f = pool.first;
    pool.first = f->next;
    g_mutex_unlock(&pool.lock);

    table = memset(f, 0, AGE_PAGE_SIZE);
    words = age_table_words(table);
    /* Nobody has a claim on them from before: see age_table_free(). */
    words[0] = words[1] = 0;
    return table;
}

void age_table_free(uint64_t *table)
{
    g_mutex_lock(&pool.lock);
    pool_push(table);
    g_mutex_unlock(&pool.lock);
}

uint64_t *age_root_alloc(unsigned tables)
{
    size_t size = tables * AGE_PAGE_SIZE;

    return memset(qemu_memalign(size, size), 0, size);
}

void age_root_free(uint64_t *root)
{
    qemu_vfree(root);
}
