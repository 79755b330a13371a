/*
 * Every interleaving, on a processor that reorders
 *
 * A scene is played by up to WEAK_MAX_THREADS threads, which are coroutines.
 * They change hands only before an access to a place that is watched, and at
 * each of these the model tries, one after the other, all that can happen:
 * every thread that may come next, and every value that a load may return.
 *
 * The memory is that of a machine such as Arm's: writes are seen by all other
 * processors at once and in one order, but a load may be older than what
 * stands before it in the program.  In terms of the model, a load returns any
 * value that the place has had since the thread's last full barrier, but for
 * these: not older than what the thread itself saw or wrote there; not older
 * than a load before the last smp_rmb(), or than a load-acquire.  An atomic
 * read-modify-write is a load-acquire of the latest value, and no barrier to
 * the loads that follow, as with Arm's LDAXR/STLXR and CASAL: that is why
 * QEMU has smp_mb__after_rmw().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_UNIT_WEAK_MEMORY_H
#define TESTS_UNIT_WEAK_MEMORY_H

#define WEAK_MAX_THREADS    3

/**
 * WeakScene: what to play
 *
 * @threads: how many
 * @preemptions: how often at most a thread is stopped that could go on; most
 *     mistakes need one or two, and many more take too long
 * @no_mb, @no_rmb: threads, as bits by number, whose barriers do nothing: to
 *     see that they are needed
 * @setup: prepare the memory, and call weak_watch(); nothing is reordered
 * @play: what thread @self does
 * @check: is what came of it right?
 * @opaque: passed to the above
 */
typedef struct WeakScene {
    unsigned threads;
    unsigned preemptions;
    unsigned no_mb;
    unsigned no_rmb;
    void (*setup)(void *opaque);
    void (*play)(unsigned self, void *opaque);
    bool (*check)(void *opaque);
    void *opaque;
} WeakScene;

/* Watch the place at @p, of @size 4 or 8. */
void weak_watch(void *p, size_t size);

/* Likewise, but all that a cmpxchg can store there, or see, are @bits of it. */
void weak_watch_bits(void *p, size_t size, uint64_t bits);

/**
 * weak_explore: play a scene in all ways
 * @scene: the scene
 * @runs: how many ways there were, or were tried
 *
 * Returns: false as soon as the check fails.
 */
bool weak_explore(const WeakScene *scene, unsigned *runs);

/* What the stand-ins for QEMU's headers call */
uint64_t weak_load(const void *p, size_t size, bool acquire);
/* (old & @keep) | @set */
uint64_t weak_rmw(void *p, size_t size, uint64_t keep, uint64_t set);
uint64_t weak_cmpxchg(void *p, size_t size, uint64_t old, uint64_t value);
void weak_add(void *p, size_t size, uint64_t n);
void weak_mb(void);
void weak_rmb(void);

/* Was something handed to call_rcu1() in this run? */
bool weak_garbage(void);

struct rcu_head;
void weak_call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *));
void weak_run_callbacks(void);

#endif /* TESTS_UNIT_WEAK_MEMORY_H */
