/*
 * Stand-in for QEMU's header of the same name: see docs/devel/atomics.rst in
 * QEMU's tree for what each of these promises
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_ATOMIC_H
#define QEMU_ATOMIC_H

/* Orders all before it against all behind it */
#define smp_mb()            __atomic_thread_fence(__ATOMIC_SEQ_CST)
/* Orders loads before it against loads behind it */
#define smp_rmb()           __atomic_thread_fence(__ATOMIC_ACQUIRE)
/* Makes an atomic read-modify-write before it a full barrier */
#define smp_mb__after_rmw() smp_mb()

#define qatomic_read(p)         __atomic_load_n(p, __ATOMIC_RELAXED)
#define qatomic_set(p, v)       __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define qatomic_load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define qatomic_store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define qatomic_add(p, n) \
    ((void)__atomic_fetch_add(p, n, __ATOMIC_SEQ_CST))
#define qatomic_sub(p, n) \
    ((void)__atomic_fetch_sub(p, n, __ATOMIC_SEQ_CST))
#define qatomic_inc(p)          qatomic_add(p, 1)
#define qatomic_fetch_and(p, n) __atomic_fetch_and(p, n, __ATOMIC_SEQ_CST)
#define qatomic_xchg(p, v)      __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define qatomic_cmpxchg(p, old, new_)                                   \
    ({                                                                  \
        __typeof__(*(p)) seen_ = (old);                                 \
        __atomic_compare_exchange_n(p, &seen_, new_, false,             \
                                    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
        seen_;                                                          \
    })

#endif /* QEMU_ATOMIC_H */
