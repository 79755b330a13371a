/*
 * Aging of guest memory: the chain of secondary MMUs
 *
 * Whoever translates guest memory by tables of its own, and so knows which
 * pages were accessed, is a secondary MMU and subscribes here.  Whoever wants
 * to know asks the chain.  This is Linux's mmu_notifier with the call of
 * "mm/kvm: add mmu_notifier_test_clear_young()".
 *
 * A page is a page of host-virtual memory, as the several MMUs may know it by
 * different guest-physical addresses.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_AGE_H
#define SYSTEM_AGE_H

#include "qemu/queue.h"
#include "qemu/rcu.h"

/*
 * Is `-accel age` in use?  A host that can't have it (CONFIG_AGE) has only what
 * is hooked into files that every host builds, and that does nothing there.
 */
#ifdef CONFIG_AGE
extern bool age_allowed;
#define age_enabled()   (age_allowed)
#else
#define age_enabled()   false
#endif

typedef struct AgeNotifier AgeNotifier;

/**
 * AgePart: a part of a range
 *
 * @start: first host-virtual address, page aligned
 * @end: the address behind the last
 * @young: there is a young page in it
 */
typedef struct AgePart {
    uint64_t start;
    uint64_t end;
    bool young;
} AgePart;

/**
 * AgeYoung: what is asked of the chain, and what it found
 *
 * Both bitmaps have a bit for each page of [@start, @end); that of address a
 * is bit (@end - a) / 4096 - 1 + @first_bit, so the last page has the lowest.
 *
 * @start: first host-virtual address, page aligned
 * @end: the address behind the last
 * @dirty: dirty pages are asked for rather than young ones.  What is said of
 *     young and old is then meant of dirty and clean
 * @space: name of the address space to ask; NULL asks all.  Those who have no
 *     space of that name are passed over, without an answer
 * @first_bit: bit of the last page: 0, unless the range is a part of what the
 *     bitmaps are for
 * @select: 1 makes a young page old, 0 only tests it.  NULL is the same for all
 *     pages, as @test_only says
 * @test_only: without @select: test all pages, rather than make them old
 * @young: the bit of a page that any MMU found young is set; the others are
 *     left alone
 * @part: what of the range is asked for, if that is not all of it or if the
 *     parts are asked for one by one: a fallback keeps to these parts, and
 *     tells of each.  The pages between them have 0 in @select
 * @num_parts: how many they are; 0 for the whole range
 * @cleared: number of flags that were cleared; each harvest adds its own
 * @any: set by each harvest that found a young page; without it, @young is as
 *     it was
 */
typedef struct AgeYoung {
    uint64_t start;
    uint64_t end;
    bool dirty;
    const char *space;
    uint64_t first_bit;
    const unsigned long *select;
    bool test_only;
    unsigned long *young;
    AgePart *part;
    unsigned num_parts;
    uint64_t cleared;
    bool any;
} AgeYoung;

/**
 * AgeNotifierOps: what a secondary MMU can do
 *
 * All but @release are called in an RCU read-side critical section, from any
 * thread, with or without the BQL, and several at the same time.  They may take
 * locks that are held shortly, but neither the BQL nor wait for a vCPU.  Ranges
 * are of host-virtual addresses, page aligned and not empty.
 *
 * @can_test_clear_young: can test_clear_young() be called now?  If not, sets
 *     @reason to a static string.  Consumes nothing, takes no lock.  May be
 *     NULL, with @test_clear_young
 * @has_space: has it an address space of this name?  Never changes from true to
 *     false.  May be NULL, if its spaces have no names
 * @test_clear_young: test, or test and clear, as @y says.  Takes no lock but
 *     that of the history, if there is one
 * @clear_young: make all pages of the range old.  Returns whether any was
 *     young.  May be NULL
 * @clear_flush_young: likewise, and request that TLBs are flushed if any was.
 *     Unlike Linux's, it does not wait until they are.  May be NULL
 * @test_young: is any page of the range young?  May be NULL
 * @invalidate: the memory of the range was discarded, or is another now: forget
 *     its pages, of which none is young, until they are accessed again.  May be
 *     NULL
 * @release: called once when the subscription ends, with the BQL held and no
 *     earlier than all other calls have returned.  May be NULL
 */
typedef struct AgeNotifierOps {
    bool (*can_test_clear_young)(AgeNotifier *n, const char **reason);
    bool (*has_space)(AgeNotifier *n, const char *space);
    void (*test_clear_young)(AgeNotifier *n, AgeYoung *y);
    bool (*clear_young)(AgeNotifier *n, uint64_t start, uint64_t end);
    bool (*clear_flush_young)(AgeNotifier *n, uint64_t start, uint64_t end);
    bool (*test_young)(AgeNotifier *n, uint64_t start, uint64_t end);
    void (*invalidate)(AgeNotifier *n, uint64_t start, uint64_t end);
    void (*release)(AgeNotifier *n);
} AgeNotifierOps;

/**
 * AgeNotifier: a subscription, embedded in what subscribes
 *
 * @rcu: calls @release a grace period after it has left the chain
 * @ops: what it can do
 * @name: how answers call it, and no other
 * @block: bytes of the largest piece of memory that has one flag for all its
 *     pages, a power of two; 0 if each has its own.  Such pieces are aligned
 *     to their size in host-virtual addresses
 * @next: link in the chain
 */
struct AgeNotifier {
    struct rcu_head rcu;
    const AgeNotifierOps *ops;
    char *name;
    uint64_t block;
    QLIST_ENTRY(AgeNotifier) next;
};

/**
 * AgeHow: how a subscriber answered age_test_clear_young()
 *
 * @AGE_HOW_BITMAP: for each page, in the bitmap
 * @AGE_HOW_CLEAR_YOUNG: by the fallback, for the range as a whole
 * @AGE_HOW_REFUSED: not at all; its pages are as they were
 */
typedef enum AgeHow {
    AGE_HOW_BITMAP,
    AGE_HOW_CLEAR_YOUNG,
    AGE_HOW_REFUSED,
} AgeHow;

/**
 * AgeAnswered: called with the answer of each subscriber
 * @opaque: from the caller of age_test_clear_young()
 * @name: the subscriber, valid during the call
 * @how: how it answered
 * @reason: why not in the bitmap, a static string; else NULL
 * @young: with @AGE_HOW_CLEAR_YOUNG, whether any page was young; for each of
 *     the parts, if there are any, they tell
 */
typedef void AgeAnswered(void *opaque, const char *name, AgeHow how,
                         const char *reason, bool young);

/**
 * age_notifier_register: subscribe to the chain
 * @n: the subscription, with @ops and @block filled in
 * @name: how answers call it; copied
 * @errp: set if answers call another one so
 *
 * Returns: whether it was subscribed.
 * Context: BQL held.  Harvests may be under way; they see it or not.
 */
bool age_notifier_register(AgeNotifier *n, const char *name, Error **errp);

/**
 * age_notifier_unregister: leave the chain
 * @n: the subscription.  Calls may be under way until its release() is called,
 *     a grace period later, which is when it may be freed
 *
 * Context: BQL held.  Does not wait.
 */
void age_notifier_unregister(AgeNotifier *n);

/**
 * age_has_test_clear_young: may age_test_clear_young() be worth a try?
 *
 * Returns: whether any subscriber implements it.  The call may refuse all the
 *     same, because of a constraint at run time.
 * Context: any thread.
 */
bool age_has_test_clear_young(void);

/**
 * age_block_size: what of memory may have one flag for all its pages
 *
 * Who harvests several ranges, which may be ranges of one such block, has to
 * ask for them in one call: the first of several calls would clear the flag for
 * all of them.
 *
 * Returns: the largest @block of all subscribers.
 * Context: any thread.
 */
uint64_t age_block_size(void);

/**
 * age_test_clear_young: harvest all subscribers
 * @y: what is asked, and where the answer goes
 * @fallback: have those who can't answer for single pages make the whole range
 *     old instead; not with @y->dirty, @y->space or @y->test_only
 * @answered: told how each answered; may be NULL
 * @opaque: for @answered
 *
 * For each page with 0 in @y->select, say whether it is young; for each with 1,
 * do so and make it old.  A page that several subscribers, address spaces or
 * slots reach is young if it is young in any of them, and is made old in all.
 * A subscriber that can't answer, while @fallback is not allowed, is passed
 * over with nothing consumed.
 *
 * The source of this contract is mmu_notifier_test_clear_young() of the patch
 * named above.  There, the caller's bitmap is flipped for each young entry;
 * here that is up to the caller, once all have answered.
 *
 * Returns: 0 if @fallback is not allowed or was not needed; else whether any of
 *     the fallbacks found a young page.
 * Context: any thread, with or without the BQL.  Takes no lock without
 *     fallback but that of the history, if there is one, and never waits.
 */
bool age_test_clear_young(AgeYoung *y, bool fallback, AgeAnswered *answered,
                          void *opaque);

/**
 * age_clear_young: make a range old
 * @start: first host-virtual address, page aligned
 * @end: the address behind the last
 *
 * Returns: whether any page was young, for any subscriber.
 * Context: any thread, with or without the BQL.
 */
bool age_clear_young(uint64_t start, uint64_t end);

/**
 * age_clear_flush_young: make a range old, and request that TLBs are flushed
 * @start: first host-virtual address, page aligned
 * @end: the address behind the last
 *
 * Returns: whether any page was young, for any subscriber.
 * Context: any thread, with or without the BQL.
 */
bool age_clear_flush_young(uint64_t start, uint64_t end);

/**
 * age_test_young: is anything in a range young?
 * @start: first host-virtual address, page aligned
 * @end: the address behind the last
 *
 * Returns: whether any page is young, for any subscriber.
 * Context: any thread, with or without the BQL.
 */
bool age_test_young(uint64_t start, uint64_t end);

/**
 * age_forget: tell all subscribers that no page was accessed
 *
 * All memory is another, as if all of it had been discarded.
 *
 * Context: any thread, with or without the BQL.
 */
void age_forget(void);

#ifdef CONFIG_AGE
/**
 * age_discarded: tell all subscribers that memory was discarded
 * @host: where it was, page aligned
 * @size: bytes, a multiple of the page size
 *
 * What the guest has there when it looks again is zeroes, in other pages of the
 * host.  As mmu_notifier_invalidate_range_start() in Linux.
 *
 * Context: any thread, with or without the BQL.
 */
void age_discarded(void *host, uint64_t size);
#else
static inline void age_discarded(void *host, uint64_t size)
{
}
#endif

#endif /* SYSTEM_AGE_H */
