/*
 * Stand-in for QEMU's header of the same name, on liburcu, which QEMU's RCU
 * descends from
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_RCU_H
#define QEMU_RCU_H

#include <urcu.h>

#ifdef AGE_TEST_TSAN

/*
 * ThreadSanitizer does not see into liburcu, so it is told what liburcu
 * promises: what came before a reader's end, or before call_rcu1(), comes
 * before the callback; and what a callback did comes before the return of
 * rcu_barrier().
 */
#include <sanitizer/tsan_interface.h>

extern char tsan_rcu;

#define tsan_release_rcu()      __tsan_release(&tsan_rcu)
#define tsan_acquire_rcu()      __tsan_acquire(&tsan_rcu)

typedef struct TsanCallback {
    struct rcu_head rcu;
    struct rcu_head *head;
    void (*func)(struct rcu_head *head);
} TsanCallback;

static inline void tsan_callback(struct rcu_head *rcu)
{
    TsanCallback *cb;

    tsan_acquire_rcu();
    cb = container_of(rcu, TsanCallback, rcu);
    cb->func(cb->head);
    g_free(cb);
    tsan_release_rcu();
}

static inline void call_rcu1(struct rcu_head *head,
                             void (*func)(struct rcu_head *head))
{
    TsanCallback *cb = g_new0(TsanCallback, 1);

    cb->head = head;
    cb->func = func;
    tsan_release_rcu();
    call_rcu(&cb->rcu, tsan_callback);
}

#else

#define tsan_release_rcu()      ((void)0)
#define tsan_acquire_rcu()      ((void)0)
#define call_rcu1(head, func)   call_rcu(head, func)

#endif

/* Of QEMU's the depth alone is looked at. */
struct rcu_reader_data {
    unsigned depth;
};

static inline struct rcu_reader_data *get_ptr_rcu_reader(void)
{
    static __thread struct rcu_reader_data reader;

    reader.depth = rcu_read_ongoing();
    return &reader;
}

#endif /* QEMU_RCU_H */
