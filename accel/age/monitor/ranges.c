/*
 * Ranges of guest memory in QMP commands
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "accel/age/mmu/pieces.h"
#include "accel/age/tcg/age-int.h"
#include "ranges.h"

/* Bounds on a command, so that it ends soon and can't exhaust memory */
#define MAX_PAGES   (128 * GiB / AGE_PAGE_SIZE)
#define MAX_RANGES  4096

bool age_ranges_init(AgeRanges *ranges, AgeAddressType type, Error **errp)
{
    *ranges = (AgeRanges) { .type = type };
    if (!age_enabled()) {
        error_setg(errp, AGE_NOT_IN_USE);
        return false;
    }
    return true;
}

void age_ranges_error(const AgeRanges *ranges, uint64_t start, uint64_t end,
                      Error **errp, const char *fmt, ...)
{
    g_autofree char *what = NULL;
    va_list args;

    va_start(args, fmt);
    what = g_strdup_vprintf(fmt, args);
    va_end(args);
    error_setg(errp, "ranges[%u] (0x%" PRIx64 " to 0x%" PRIx64 ") %s",
               ranges->num - 1, start, end, what);
}

static bool meets_slot(AgeAddressType type, uint64_t start, uint64_t end)
{
    AgeMMU *mmu = &age_state.mmu;

    RCU_READ_LOCK_GUARD();
    for (unsigned i = 0; i < age_mmu_num_spaces(mmu); i++) {
        const AgeMemSlots *slots = age_memory_slots(&mmu->space[i]->mem);

        for (unsigned k = 0; k < slots->num; k++) {
            const AgeMemSlot *slot = &slots->slot[k];
            uint64_t at = type == AGE_ADDRESS_TYPE_HVA ? slot->hva : slot->gpa;

            if (at < end && at + slot->size > start) {
                return true;
            }
        }
    }
    return false;
}

bool age_ranges_check(AgeRanges *ranges, uint64_t start, uint64_t end,
                      Error **errp)
{
    uint64_t pages = (end - start) >> AGE_PAGE_SHIFT;

    if (ranges->num == MAX_RANGES) {
        error_setg(errp, "more than %d ranges; use several commands",
                   MAX_RANGES);
        return false;
    }
    ranges->num++;
    if (!QEMU_IS_ALIGNED(start | end, AGE_PAGE_SIZE)) {
        age_ranges_error(ranges, start, end, errp, "is not aligned to 4096");
        return false;
    }
    if (start >= end) {
        age_ranges_error(ranges, start, end, errp,
                         "is empty: its end must be above its start");
        return false;
    }
    if (pages > MAX_PAGES - ranges->pages) {
        age_ranges_error(ranges, start, end, errp, "goes beyond the %" PRIu64
                         " pages of one command; use several commands",
                         (uint64_t)MAX_PAGES);
        return false;
    }
    ranges->pages += pages;
    if (!meets_slot(ranges->type, start, end)) {
        age_ranges_error(ranges, start, end, errp, "meets no memory of the "
                         "guest; query-age tells where it is");
        return false;
    }
    return true;
}

/*
 * Does one of the first @num spaces map @gpa to the same page as @slot?  Sets
 * @end to how far the answer holds.
 */
static bool mapped_before(unsigned num, const AgeMemSlot *slot, hwaddr gpa,
                          hwaddr *end)
{
    for (unsigned i = 0; i < num; i++) {
        const AgeMemory *mem = &age_state.mmu.space[i]->mem;
        const AgeMemSlots *slots = age_memory_slots(mem);
        unsigned k = age_slots_lower_bound(slots, gpa);
        const AgeMemSlot *other = &slots->slot[k];

        if (k == slots->num || other->gpa >= *end) {
            continue;
        }
        if (other->gpa > gpa) {
            *end = other->gpa;
            continue;
        }
        *end = MIN(*end, age_slot_end(other));
        if (other->hva - other->gpa == slot->hva - slot->gpa) {
            return true;
        }
    }
    return false;
}

/*
 * What @slot, of the space with number @index, has of [@start, @range_end).
 * The spaces of a machine map most memory alike; each page is listed once.
 */
static void collect_slot(GArray *pieces, unsigned range, unsigned index,
                         const AgeMemSlot *slot, uint64_t start,
                         uint64_t range_end)
{
    hwaddr gpa = MAX(start, slot->gpa);
    hwaddr stop = MIN(range_end, age_slot_end(slot));

    while (gpa < stop) {
        hwaddr end = stop;

        if (!mapped_before(index, slot, gpa, &end)) {
            AgePiece piece = {
                .start = slot->hva + (gpa - slot->gpa),
                .end = slot->hva + (end - slot->gpa),
                .range = range,
                .first_bit = (range_end - end) >> AGE_PAGE_SHIFT,
            };

            g_array_append_val(pieces, piece);
        }
        gpa = end;
    }
}

void age_ranges_collect(GArray *pieces, AgeAddressType type, unsigned range,
                        uint64_t start, uint64_t end)
{
    AgeMMU *mmu = &age_state.mmu;

    if (type == AGE_ADDRESS_TYPE_HVA) {
        AgePiece whole = { .start = start, .end = end, .range = range };

        g_array_append_val(pieces, whole);
        return;
    }
    for (unsigned i = 0; i < age_mmu_num_spaces(mmu); i++) {
        const AgeMemSlots *slots = age_memory_slots(&mmu->space[i]->mem);

        for (unsigned k = age_slots_lower_bound(slots, start);
             k < slots->num && slots->slot[k].gpa < end; k++) {
            collect_slot(pieces, range, i, &slots->slot[k], start, end);
        }
    }
}
