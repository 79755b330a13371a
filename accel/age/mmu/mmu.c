/*
 * A second-stage MMU: address spaces, each with its slots and its page table
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/main-loop.h"
#include "accel/age/pt/harvest.h"
#include "history.h"
#include "mmu.h"
#include "accel/age/trace.h"

unsigned age_mmu_num_spaces(const AgeMMU *mmu)
{
    /* Pairs with age_mmu_add_space(). */
    return qatomic_load_acquire(&mmu->num_spaces);
}

/* Returns whether there was anything. */
static bool space_zap(AgeAddressSpace *space, hwaddr start, hwaddr end)
{
    bool zapped;

    g_mutex_lock(&space->mmu->zap_lock);
    zapped = age_pt_zap(&space->pt, start, end);
    g_mutex_unlock(&space->mmu->zap_lock);
    return zapped;
}

/* The slots that tell so are published already, as age_pt_zap() demands. */
static void space_unmapped(AgeMemory *mem, hwaddr start, hwaddr end)
{
    AgeAddressSpace *space = container_of(mem, AgeAddressSpace, mem);

    trace_age_unmapped(space->name, start, end);
    space_zap(space, start, end);
}

/*
 * How far from @hva on does some slot of a space have the memory of the host,
 * or none?  Sets @end to where that ends, if it does before.
 */
static bool slots_have(const AgeMemSlots *slots, uint64_t hva, uint64_t *end)
{
    for (unsigned i = 0; i < slots->num; i++) {
        uint64_t start = slots->slot[i].hva;

        if (start <= hva && hva - start < slots->slot[i].size) {
            *end = MIN(*end, start + slots->slot[i].size);
            return true;
        }
        if (start > hva) {
            *end = MIN(*end, start);
        }
    }
    return false;
}

/* Does any of its spaces? */
static bool mmu_has(const AgeMMU *mmu, uint64_t hva, uint64_t *end)
{
    for (unsigned i = 0; i < mmu->num_spaces; i++) {
        if (slots_have(age_memory_slots(&mmu->space[i]->mem), hva, end)) {
            return true;
        }
    }
    return false;
}

/* What another space still has is remembered: SMM sees what others don't. */
static void space_gone(AgeMemory *mem, uint64_t start, uint64_t end)
{
    AgeAddressSpace *space = container_of(mem, AgeAddressSpace, mem);

    RCU_READ_LOCK_GUARD();
    while (start < end) {
        uint64_t stop = end;

        if (!mmu_has(space->mmu, start, &stop)) {
            age_history_gone(start, stop);
        }
        start = stop;
    }
}

/* Harvest the part of @slot that lies in @y */
static void harvest_slot(AgePageTable *pt, const AgeMemSlot *slot,
                         const AgeYoung *y, AgeHarvest *h)
{
    uint64_t start = MAX(y->start, slot->hva);
    uint64_t end = MIN(y->end, slot->hva + slot->size);

    if (start >= end) {
        return;
    }
    /*
     * The bits of a slot count from the end of the whole range: from the
     * frame that the last page would have, if the slot went on that far.
     */
    h->lsb_gfn = ((slot->gpa + (y->end - slot->hva)) >> AGE_PAGE_SHIFT) - 1 +
                 y->first_bit;
    age_pt_harvest(pt, slot->gpa + (start - slot->hva),
                   slot->gpa + (end - slot->hva), h);
}

static void harvest_space(AgeAddressSpace *space, const AgeYoung *y,
                          AgeHarvest *h)
{
    const AgeMemSlots *slots = age_memory_slots(&space->mem);

    for (unsigned i = 0; i < slots->num; i++) {
        harvest_slot(&space->pt, &slots->slot[i], y, h);
    }
}

static bool mmu_can_test_clear_young(AgeNotifier *n, const char **reason)
{
    AgeMMU *mmu = container_of(n, AgeMMU, notifier);

    *reason = qatomic_read(&mmu->refusal);
    if (!*reason && !age_mmu_format(mmu)->hw_ad) {
        *reason = "no hardware sets accessed bits (hw-ad=off)";
    }
    return !*reason;
}

static bool mmu_has_space(AgeNotifier *n, const char *space)
{
    const AgeMMU *mmu = container_of(n, AgeMMU, notifier);

    for (unsigned i = 0; i < age_mmu_num_spaces(mmu); i++) {
        if (g_str_equal(mmu->space[i]->name, space)) {
            return true;
        }
    }
    return false;
}

static void harvest_spaces(AgeMMU *mmu, const AgeYoung *y, AgeHarvest *h)
{
    unsigned num = age_mmu_num_spaces(mmu);
    AgeStamper st;

    h->stamper = h->test_only ? NULL : age_history_join(&st, h->dirty);
    h->unflushed = &mmu->unflushed;
    for (unsigned i = 0; i < num; i++) {
        if (!y->space || g_str_equal(mmu->space[i]->name, y->space)) {
            harvest_space(mmu->space[i], y, h);
        }
    }
    if (h->stamper) {
        age_stamper_destroy(h->stamper);
    }
    if (h->cleared) {
        /* Pairs with age_flush_request(). */
        qatomic_set_mb(&mmu->unflushed, true);
    }
    qatomic_add(h->dirty ? &mmu->dirty_cleared : &mmu->cleared, h->cleared);
    qatomic_add(&mmu->skipped, h->skipped);
}

static void mmu_test_clear_young(AgeNotifier *n, AgeYoung *y)
{
    AgeMMU *mmu = container_of(n, AgeMMU, notifier);
    AgeHarvest h = {
        .dirty = y->dirty,
        .select = y->select,
        .test_only = y->test_only,
        .young = y->young,
    };

    harvest_spaces(mmu, y, &h);
    y->cleared += h.cleared;
    y->any |= h.any;
}

/* The slow way, as Linux has it: with the MMU lock, and one answer for all */
static bool age_locked(AgeMMU *mmu, uint64_t start, uint64_t end,
                       bool test_only)
{
    AgeYoung y = { .start = start, .end = end };
    AgeHarvest h = { .test_only = test_only };

    age_mmu_lock_write(&mmu->lock);
    harvest_spaces(mmu, &y, &h);
    age_mmu_unlock_write(&mmu->lock);
    return h.any;
}

static bool mmu_clear_young(AgeNotifier *n, uint64_t start, uint64_t end)
{
    return age_locked(container_of(n, AgeMMU, notifier), start, end, false);
}

static bool mmu_clear_flush_young(AgeNotifier *n, uint64_t start, uint64_t end)
{
    AgeMMU *mmu = container_of(n, AgeMMU, notifier);
    bool young = age_locked(mmu, start, end, false);

    if (young && mmu->flush) {
        mmu->flush();
    }
    return young;
}

static bool mmu_test_young(AgeNotifier *n, uint64_t start, uint64_t end)
{
    return age_locked(container_of(n, AgeMMU, notifier), start, end, true);
}

/*
 * TLBs still have what was zapped.  As in a harvest, nobody waits for them.
 * @request is how to ask for a flush, or NULL.
 */
static void mmu_zapped(AgeMMU *mmu, void (*request)(void))
{
    /* Pairs with age_flush_request(). */
    qatomic_set_mb(&mmu->unflushed, true);
    if (request) {
        request();
    }
}

/* Returns whether anything of @slot in the range was mapped. */
static bool invalidate_slot(AgeAddressSpace *space, const AgeMemSlot *slot,
                            uint64_t start, uint64_t end)
{
    start = MAX(start, slot->hva);
    end = MIN(end, slot->hva + slot->size);
    if (start >= end) {
        return false;
    }
    return space_zap(space, slot->gpa + (start - slot->hva),
                     slot->gpa + (end - slot->hva));
}

/*
 * What is gone comes back by a fault, as after any zap.  A balloon takes page
 * by page: its pages are flushed together.
 */
static void mmu_invalidate(AgeNotifier *n, uint64_t start, uint64_t end)
{
    AgeMMU *mmu = container_of(n, AgeMMU, notifier);
    bool any = false;

    for (unsigned i = 0; i < age_mmu_num_spaces(mmu); i++) {
        const AgeMemSlots *slots = age_memory_slots(&mmu->space[i]->mem);

        for (unsigned k = 0; k < slots->num; k++) {
            any |= invalidate_slot(mmu->space[i], &slots->slot[k], start, end);
        }
    }
    if (any) {
        mmu_zapped(mmu, mmu->flush_later);
    }
    age_history_gone(start, end);
}

/* The tables are gone; RCU callbacks run with the BQL held. */
static void mmu_freed(AgeMMU *mmu)
{
    assert(bql_locked());
    mmu->freed(mmu);
}

/* In the reaper's thread: there may be tables for all of the guest's memory. */
static void mmu_free(AgeReap *reap)
{
    AgeMMU *mmu = container_of(reap, AgeMMU, reap);

    assert(!bql_locked());
    for (unsigned i = 0; i < mmu->num_spaces; i++) {
        age_pt_destroy(&mmu->space[i]->pt);
        g_free(mmu->space[i]->mem.slots);
        g_free(mmu->space[i]->name);
        g_free(mmu->space[i]);
    }
    age_mmu_lock_destroy(&mmu->lock);
    g_mutex_clear(&mmu->zap_lock);
    call_rcu(mmu, mmu_freed, rcu);
}

static void mmu_reap(AgeMMU *mmu)
{
    age_reap(&mmu->reap, mmu_free);
}

/*
 * Until now mmu_invalidate() may have been called.  What it zapped goes to the
 * reaper by callbacks of its own, which come before one that is asked for now.
 */
static void mmu_release(AgeNotifier *n)
{
    AgeMMU *mmu = container_of(n, AgeMMU, notifier);

    call_rcu(mmu, mmu_reap, rcu);
}

static const AgeNotifierOps mmu_notifier_ops = {
    .can_test_clear_young = mmu_can_test_clear_young,
    .has_space = mmu_has_space,
    .test_clear_young = mmu_test_clear_young,
    .clear_young = mmu_clear_young,
    .clear_flush_young = mmu_clear_flush_young,
    .test_young = mmu_test_young,
    .invalidate = mmu_invalidate,
    .release = mmu_release,
};

bool age_mmu_init(AgeMMU *mmu, const char *name, Error **errp)
{
    assert(bql_locked());
    age_mmu_lock_init(&mmu->lock);
    g_mutex_init(&mmu->zap_lock);
    mmu->notifier.ops = &mmu_notifier_ops;
    mmu->notifier.block = age_height_size(mmu->leaf_height);
    if (age_notifier_register(&mmu->notifier, name, errp)) {
        return true;
    }
    g_mutex_clear(&mmu->zap_lock);
    age_mmu_lock_destroy(&mmu->lock);
    return false;
}

/*
 * The slots go first, with an RCU callback that frees them and one for each
 * zap; the subscription's comes after that, and with it mmu_release().
 */
void age_mmu_cleanup(AgeMMU *mmu, void (*freed)(AgeMMU *mmu))
{
    assert(bql_locked());
    mmu->freed = freed;
    for (unsigned i = 0; i < mmu->num_spaces; i++) {
        age_memory_cleanup(&mmu->space[i]->mem);
    }
    age_notifier_unregister(&mmu->notifier);
}

/*
 * Who walks or harvests reads the format whenever it needs it, so a leaf may
 * be in either while this goes on.  Both agree on what is where.  A leaf that
 * was made by the old format after it was zapped is put right by its maker,
 * as after any change of mappings.
 */
void age_mmu_set_format(AgeMMU *mmu, const AgeFormat *fmt)
{
    assert(bql_locked());
    qatomic_set(&mmu->fmt, fmt);
    for (unsigned i = 0; i < mmu->num_spaces; i++) {
        AgeAddressSpace *space = mmu->space[i];

        qatomic_set(&space->pt.fmt, fmt);
        space_zap(space, 0, space->mem.gpa_limit);
    }
    /* When the memory layout changes, QEMU itself does so. */
    mmu_zapped(mmu, mmu->flush);
}

AgeAddressSpace *age_mmu_add_space(AgeMMU *mmu, char *name,
                                   AddressSpace *as)
{
    AgeAddressSpace *space;

    assert(bql_locked());
    if (mmu->num_spaces == AGE_MAX_SPACES) {
        g_free(name);
        return NULL;
    }
    space = g_new0(AgeAddressSpace, 1);
    space->mmu = mmu;
    space->name = name;
    age_pt_init(&space->pt, age_mmu_format(mmu), &mmu->geo,
                mmu->leaf_height);
    space->mem.gpa_limit = 1ULL << mmu->geo.gpa_bits;
    space->mem.unmapped = space_unmapped;
    space->mem.gone = mmu->all_memory ? space_gone : NULL;
    age_memory_init(&space->mem, name, as);

    mmu->space[mmu->num_spaces] = space;
    /* Pairs with age_mmu_num_spaces(): the space is whole when it counts. */
    qatomic_store_release(&mmu->num_spaces, mmu->num_spaces + 1);
    return space;
}
