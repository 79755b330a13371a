/*
 * Memory for table pages, for the sanitizers
 *
 * Stands in for accel/age/pt/table-pool.c, which reuses tables behind the back
 * of AddressSanitizer and ThreadSanitizer.  Here each table is an allocation
 * of its own, so that a use after the free is seen: a chunk with one table.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/memalign.h"
#include "accel/age/pt/table-pool.h"

G_STATIC_ASSERT(AGE_CHUNK_PAGES == 2);

uint64_t *age_table_alloc(void)
{
    AgeChunk *chunk = qemu_memalign(AGE_CHUNK_SIZE, AGE_CHUNK_SIZE);

    memset(chunk, 0, AGE_CHUNK_SIZE);
    return chunk->table[0];
}

void age_table_free(uint64_t *table)
{
    qemu_vfree(container_of(table, AgeChunk, table[0][0]));
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
