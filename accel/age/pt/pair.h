/*
 * Two entries side by side in one atomic operation
 *
 * A harvest of memory that is young all over is as fast as the host's atomic
 * operations, and one of 16 bytes takes hardly longer than one of 8.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_PT_PAIR_H
#define ACCEL_AGE_PT_PAIR_H

/**
 * age_pair_clear: clear flags in two entries at once
 * @ptr: the first of them
 * @flags: what to clear in both, of which each has all set
 *
 * Returns: false, with nothing done, if an entry changed meanwhile, the flags
 *     are not set, @ptr is not aligned to 16 bytes, or the host can't do it.
 *     The caller then goes on with each by itself.
 * Context: as for an atomic operation on each of them.  Others may use atomic
 *     operations of 8 bytes on them at the same time: processors that have this
 *     one own the cache line for either.
 */
static inline bool age_pair_clear(uint64_t *ptr, uint64_t flags)
{
    /* ThreadSanitizer takes a lock for it that those of 8 bytes do not. */
#if (defined(CONFIG_CMPXCHG128) || defined(CONFIG_ATOMIC128)) && \
    !defined(CONFIG_TSAN) && G_BYTE_ORDER == G_LITTLE_ENDIAN
    typedef unsigned __int128 __attribute__((may_alias)) Pair;
    uint64_t low = qatomic_read(&ptr[0]), high = qatomic_read(&ptr[1]);
    Pair old = (Pair)high << 64 | low;
    Pair mask = (Pair)flags << 64 | flags;

    return (uintptr_t)ptr % sizeof(Pair) == 0 && (old & mask) == mask &&
           __sync_bool_compare_and_swap((Pair *)ptr, old, old & ~mask);
#else
    return false;
#endif
}

#endif /* ACCEL_AGE_PT_PAIR_H */
