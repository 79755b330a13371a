/*
 * Aging of guest memory: the chain of secondary MMUs
 *
 * Whoever translates guest memory by tables of its own, and so knows which
 * pages were accessed, is a secondary MMU and subscribes here.  Whoever wants
 * to know asks the chain.  This is Linux's mmu_notifier with the call of
 * "mm/kvm: add mmu_notifier_test_clear_young()".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_AGE_H
#define SYSTEM_AGE_H

#include "qemu/queue.h"

extern bool age_allowed;

/* Is `-accel age` in use? */
#define age_enabled()   (age_allowed)

typedef struct AgeNotifier AgeNotifier;

/**
 * AgeYoung: what is asked of the chain, and what it found
 *
 * A page is a page of host-virtual memory.  Both bitmaps have a bit for each
 * page of [@start, @end); that of address a is bit
 * (@end - a) / 4096 - 1 + @first_bit, so the last page has the lowest.
 *
 * @start: first host-virtual address, page aligned
 * @end: the address behind the last
 * @first_bit: bit of the last page: 0, unless the range is a part of what the
 *     bitmaps are for
 * @select: 1 makes a young page old, 0 only tests it; NULL is all ones
 * @young: the bit of a page that any MMU found young is set; the others are
 *     left alone
 * @cleared: what harvests add the number of accessed flags to that they
 *     cleared
 */
typedef struct AgeYoung {
    uint64_t start;
    uint64_t end;
    uint64_t first_bit;
    const unsigned long *select;
    unsigned long *young;
    uint64_t cleared;
} AgeYoung;

/**
 * AgeNotifierOps: what a secondary MMU can do
 *
 * All are called in an RCU read-side critical section, from any thread, with
 * or without the BQL.  They must not wait.
 *
 * @can_test_clear_young: can test_clear_young() be called now?  If not, sets
 *     @reason to a static string.  Consumes nothing
 * @test_clear_young: test, or test and clear, as @y says
 */
typedef struct AgeNotifierOps {
    bool (*can_test_clear_young)(AgeNotifier *n, const char **reason);
    void (*test_clear_young)(AgeNotifier *n, AgeYoung *y);
} AgeNotifierOps;

/**
 * AgeNotifier: a subscription, embedded in what subscribes
 *
 * @ops: what it can do
 * @name: how results call it
 * @next: link in the chain
 */
struct AgeNotifier {
    const AgeNotifierOps *ops;
    const char *name;
    QLIST_ENTRY(AgeNotifier) next;
};

/**
 * age_notifier_register: subscribe to the chain
 * @n: the subscription, with @ops and @name filled in
 *
 * Context: BQL held.
 */
void age_notifier_register(AgeNotifier *n);

/**
 * age_notifier_unregister: leave the chain
 * @n: the subscription.  Calls may be under way until a grace period has
 *     passed; free what it is embedded in after that
 *
 * Context: BQL held.
 */
void age_notifier_unregister(AgeNotifier *n);

/**
 * age_test_clear_young: harvest every subscriber
 * @y: what is asked, and where the answer goes
 * @reason: set to why a subscriber refused, if any did
 *
 * A page that several subscribers, address spaces or slots reach is young if
 * it is young in any.  If a subscriber can't answer, nothing is consumed from
 * any.
 *
 * Returns: whether all could answer.
 * Context: any thread, with or without the BQL; takes no lock and does not
 *     wait.
 */
bool age_test_clear_young(AgeYoung *y, const char **reason);

#endif /* SYSTEM_AGE_H */
