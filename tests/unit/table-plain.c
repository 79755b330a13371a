/*
 * Memory for table pages, for the sanitizers
 *
 * Stands in for accel/age/pt/table-pool.c, which reuses tables behind the back
 * of AddressSanitizer and ThreadSanitizer.  Here each table is an allocation
 * of its own, so that a use after the free is seen.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/memalign.h"
#include "accel/age/pt/format.h"
#include "accel/age/pt/table-pool.h"

uint64_t *age_table_alloc(void)
{
    return age_root_alloc(1);
}

void age_table_free(uint64_t *table)
{
    qemu_vfree(table);
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
