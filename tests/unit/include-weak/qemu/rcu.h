/*
 * Stand-in for QEMU's header of the same name, for threads that the model in
 * weak-memory.h plays: a grace period lasts until all have ended
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_RCU_H
#define QEMU_RCU_H

#include "weak-memory.h"

struct rcu_head {
    struct rcu_head *next;
    void (*func)(struct rcu_head *head);
};

#define call_rcu1(head, func)   weak_call_rcu(head, func)
#define rcu_barrier()           weak_run_callbacks()
#define rcu_register_thread()   ((void)0)
#define rcu_unregister_thread() ((void)0)
#define rcu_read_lock()         ((void)0)
#define rcu_read_unlock()       ((void)0)
#define tsan_release_rcu()      ((void)0)
#define tsan_acquire_rcu()      ((void)0)

/* Each of these threads is in one critical section, all its life. */
struct rcu_reader_data {
    unsigned depth;
};

static inline struct rcu_reader_data *get_ptr_rcu_reader(void)
{
    static struct rcu_reader_data reader = { .depth = 1 };

    return &reader;
}

#endif /* QEMU_RCU_H */
