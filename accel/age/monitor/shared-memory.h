/*
 * Bitmaps in memory that clients share with QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MONITOR_SHARED_MEMORY_H
#define ACCEL_AGE_MONITOR_SHARED_MEMORY_H

/**
 * age_shared_find: memory that age-share-memory has made known
 * @id: the memory backend's
 * @size: set to its size in bytes
 *
 * Returns: where it is, or NULL if it was not made known.
 * Context: RCU read-side critical section, in which the result is valid.
 */
void *age_shared_find(const char *id, uint64_t *size);

#endif /* ACCEL_AGE_MONITOR_SHARED_MEMORY_H */
