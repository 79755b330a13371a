/*
 * Memory for table pages
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_PT_TABLE_POOL_H
#define ACCEL_AGE_PT_TABLE_POOL_H

/**
 * age_table_alloc: a zeroed table
 *
 * Returns: memory of one page, aligned to its size.
 */
uint64_t *age_table_alloc(void);

/**
 * age_table_free: give a table back
 * @table: from age_table_alloc(); nobody may look at it any more
 */
void age_table_free(uint64_t *table);

/**
 * age_root_alloc: zeroed tables side by side
 * @tables: how many, a power of two
 *
 * Returns: memory aligned to its size, as a concatenated root must be.  It is
 *     freed by age_root_free().
 */
uint64_t *age_root_alloc(unsigned tables);
void age_root_free(uint64_t *root);

#endif /* ACCEL_AGE_PT_TABLE_POOL_H */
