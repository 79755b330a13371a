/*
 * Ranges of guest memory in QMP commands
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "accel/age/mmu/backing.h"
#include "accel/age/tcg/age-int.h"
#include "range.h"

/* Each range costs kilobytes until its answer is text. */
#define MAX_RANGES  4096

void age_range_error(const AgeRangeCheck *check, const AgeRange *range,
                     Error **errp, const char *fmt, ...)
{
    g_autofree char *what = NULL;
    va_list args;

    va_start(args, fmt);
    what = g_strdup_vprintf(fmt, args);
    va_end(args);
    error_setg(errp, "ranges[%u] (0x%" PRIx64 " to 0x%" PRIx64 ") %s",
               check->num - 1, range->start, range->end, what);
}

static bool meets_slot_of(const AgeAddressSpace *space, AgeAddressType type,
                          const AgeRange *range)
{
    const AgeMemSlots *slots = age_memory_slots(&space->mem);

    for (unsigned i = 0; i < slots->num; i++) {
        const AgeMemSlot *slot = &slots->slot[i];
        uint64_t at = type == AGE_ADDRESS_TYPE_HVA ? slot->hva : slot->gpa;

        if (at < range->end && at + slot->size > range->start) {
            return true;
        }
    }
    return false;
}

static bool meets_slot(const AgeRangeCheck *check, const AgeRange *range)
{
    AgeMMU *mmu = &age_state.mmu;

    RCU_READ_LOCK_GUARD();
    for (unsigned i = 0; i < age_mmu_num_spaces(mmu); i++) {
        if ((!check->space || check->space == mmu->space[i]) &&
            meets_slot_of(mmu->space[i], check->type, range)) {
            return true;
        }
    }
    return false;
}

static bool count_pages(AgeRangeCheck *check, const AgeRange *range,
                        Error **errp)
{
    uint64_t pages = (range->end - range->start) >> AGE_PAGE_SHIFT;

    if (pages > check->max_pages - check->pages) {
        age_range_error(check, range, errp, "goes beyond the %" PRIu64
                        " pages of one command; %s", check->max_pages,
                        check->way_out);
        return false;
    }
    check->pages += pages;
    return true;
}

bool age_range_check(AgeRangeCheck *check, const AgeRange *range,
                     Error **errp)
{
    if (check->num == MAX_RANGES) {
        error_setg(errp, "more than %d ranges; use several commands",
                   MAX_RANGES);
        return false;
    }
    check->num++;
    if (!QEMU_IS_ALIGNED(range->start | range->end, AGE_PAGE_SIZE)) {
        age_range_error(check, range, errp, "is not aligned to 4096");
        return false;
    }
    if (range->start >= range->end) {
        age_range_error(check, range, errp,
                        "is empty: its end must be above its start");
        return false;
    }
    if (!count_pages(check, range, errp)) {
        return false;
    }
    if (!check->all && !meets_slot(check, range)) {
        age_range_error(check, range, errp, "meets no memory of the guest; "
                        "query-age tells where it is");
        return false;
    }
    return true;
}

bool age_range_check_num(const AgeRangeCheck *check, Error **errp)
{
    if (!check->num) {
        error_setg(errp, "no ranges given");
        return false;
    }
    return true;
}

void age_range_reach(AgeAddressType type, const AgeAddressSpace *space,
                     unsigned number, const AgeRange *range, GArray *pieces)
{
    AgePiece whole = {
        .start = range->start,
        .end = range->end,
        .range = number,
    };

    if (type == AGE_ADDRESS_TYPE_HVA) {
        g_array_append_val(pieces, whole);
    } else {
        age_backing_of_gpa(&age_state.mmu, space, number, range->start,
                           range->end, pieces);
    }
}
