/*
 * Stand-in for QEMU's header of the same name, in which each access to memory
 * goes through the model in weak-memory.h
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_ATOMIC_H
#define QEMU_ATOMIC_H

#include "weak-memory.h"

#define WEAK(p, value)          ((__typeof__(*(p)))(value))

#define qatomic_read(p)         WEAK(p, weak_load(p, sizeof(*(p)), false))
#define qatomic_load_acquire(p) WEAK(p, weak_load(p, sizeof(*(p)), true))
#define qatomic_set(p, v)       ((void)weak_rmw(p, sizeof(*(p)), 0, v))
#define qatomic_store_release(p, v) qatomic_set(p, v)
#define qatomic_xchg(p, v)      WEAK(p, weak_rmw(p, sizeof(*(p)), 0, v))
#define qatomic_fetch_and(p, n) WEAK(p, weak_rmw(p, sizeof(*(p)), n, 0))
#define qatomic_cmpxchg(p, old, new_) \
    WEAK(p, weak_cmpxchg(p, sizeof(*(p)), (uintptr_t)(old), (uintptr_t)(new_)))

/* Counters of events order nothing, but for the one that is watched. */
#define qatomic_inc(p)          weak_add(p, sizeof(*(p)), 1)
#define qatomic_add(p, n)       weak_add(p, sizeof(*(p)), n)
#define qatomic_sub(p, n)       weak_add(p, sizeof(*(p)), -(uint64_t)(n))

/* Orders all before it against all behind it */
#define smp_mb()                weak_mb()
/* Orders loads before it against loads behind it */
#define smp_rmb()               weak_rmb()
/* Makes an atomic read-modify-write before it a full barrier */
#define smp_mb__after_rmw()     weak_mb()

#endif /* QEMU_ATOMIC_H */
