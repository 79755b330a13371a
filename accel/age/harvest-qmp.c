/*
 * QMP: age-test-clear-young
 *
 * Runs in the main thread with the BQL held, or out of band in the monitor's
 * I/O thread without it; nothing here may need either.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-age.h"
#include "system/replay.h"
#include "age-int.h"
#include "bitrange.h"
#include "vcpu.h"

/* Bounds on a command, so that it ends soon and can't exhaust memory */
#define MAX_PAGES   (128 * GiB / AGE_PAGE_SIZE)
#define MAX_RANGES  65536

/**
 * HarvestRange: a range of the command on its way from argument to result
 *
 * @arg: the argument
 * @pages: number of pages
 * @map: the bitmap, in the host's byte order and padded to whole words; NULL
 *     if there was none, which is all ones
 * @map_bytes: length of what was given
 * @young: bits of the young pages
 * @young_pages: how many they are
 * @reason: why it was not handled; NULL if it was
 */
typedef struct HarvestRange {
    const AgeRange *arg;
    uint64_t pages;
    unsigned long *map;
    size_t map_bytes;
    unsigned long *young;
    uint64_t young_pages;
    const char *reason;
} HarvestRange;

static void range_clear(HarvestRange *r)
{
    g_free(r->map);
    g_free(r->young);
}

static size_t words_of(uint64_t pages)
{
    return BITS_TO_LONGS(pages);
}

/* Convert between the words of the host and those of the wire, in place */
static void swap_words(unsigned long *map, size_t words)
{
    for (size_t i = 0; HOST_BIG_ENDIAN && i < words; i++) {
        map[i] = bswap64(map[i]);
    }
}

static bool range_error(const HarvestRange *r, unsigned i, Error **errp,
                        const char *what)
{
    error_setg(errp, "ranges[%u] (0x%" PRIx64 " to 0x%" PRIx64 ") %s",
               i, r->arg->start, r->arg->end, what);
    return false;
}

static bool check_addresses(HarvestRange *r, unsigned i, Error **errp)
{
    uint64_t start = r->arg->start, end = r->arg->end;

    if (!QEMU_IS_ALIGNED(start | end, AGE_PAGE_SIZE)) {
        return range_error(r, i, errp, "is not aligned to 4096");
    }
    if (start >= end) {
        return range_error(r, i, errp, "is empty: its end must be above its "
                           "start");
    }
    r->pages = (end - start) >> AGE_PAGE_SHIFT;
    return true;
}

/*
 * qbase64_decode() and g_base64_decode() pass over padding that is missing or
 * misplaced, and then return less than was meant.
 */
static bool is_base64(const char *text)
{
    size_t len = strlen(text);
    size_t used = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                         "abcdefghijklmnopqrstuvwxyz0123456789+/");
    size_t padding = len - used;

    return len % 4 == 0 && padding <= 2 &&
           strspn(text + used, "=") == padding;
}

static bool decode_map(HarvestRange *r, unsigned i, Error **errp)
{
    g_autofree uint8_t *bytes = NULL;
    size_t words;

    if (!r->arg->bitmap) {
        return true;
    }
    if (!is_base64(r->arg->bitmap)) {
        return range_error(r, i, errp, "has a bitmap that is not base64");
    }
    bytes = g_base64_decode(r->arg->bitmap, &r->map_bytes);
    if (r->map_bytes < DIV_ROUND_UP(r->pages, 8)) {
        g_autofree char *what = g_strdup_printf(
            "has a bitmap of %zu bits for %" PRIu64 " pages",
            r->map_bytes * 8, r->pages);

        return range_error(r, i, errp, what);
    }
    words = DIV_ROUND_UP(r->map_bytes, sizeof(unsigned long));
    r->map = g_new0(unsigned long, words);
    memcpy(r->map, bytes, r->map_bytes);
    swap_words(r->map, words);
    return true;
}

static bool meets_slot(const AgeRange *arg, AgeAddressType type)
{
    AgeMMU *mmu = &age_state.mmu;

    for (unsigned i = 0; i < age_mmu_num_spaces(mmu); i++) {
        const AgeMemSlots *slots = age_memory_slots(&mmu->space[i]->mem);

        for (unsigned k = 0; k < slots->num; k++) {
            const AgeMemSlot *slot = &slots->slot[k];
            uint64_t at = type == AGE_ADDRESS_TYPE_HVA ? slot->hva : slot->gpa;

            if (at < arg->end && at + slot->size > arg->start) {
                return true;
            }
        }
    }
    return false;
}

static bool check_range(HarvestRange *r, unsigned i, AgeAddressType type,
                        uint64_t *pages, Error **errp)
{
    if (!check_addresses(r, i, errp)) {
        return false;
    }
    if (r->pages > MAX_PAGES - *pages) {
        return range_error(r, i, errp, "goes beyond the 33554432 pages of one "
                           "command; use several commands");
    }
    *pages += r->pages;
    if (!meets_slot(r->arg, type)) {
        return range_error(r, i, errp, "meets no memory of the guest; "
                           "query-age tells where it is");
    }
    return decode_map(r, i, errp);
}

/* Take the arguments apart.  Nothing is harvested before all are right. */
static bool parse_ranges(GArray *ranges, AgeRangeList *list,
                         AgeAddressType type, Error **errp)
{
    uint64_t pages = 0;

    for (; list; list = list->next) {
        unsigned i = ranges->len;
        HarvestRange r = { .arg = list->value };

        if (i == MAX_RANGES) {
            error_setg(errp, "more than %d ranges; use several commands",
                       MAX_RANGES);
            return false;
        }
        g_array_append_val(ranges, r);
        if (!check_range(&g_array_index(ranges, HarvestRange, i), i, type,
                         &pages, errp)) {
            return false;
        }
    }
    if (!ranges->len) {
        error_setg(errp, "no ranges given");
        return false;
    }
    return true;
}

static bool parse_flush(bool has_flush, AgeFlush *flush, Error **errp)
{
    if (!has_flush) {
        *flush = age_state.flush;
    }
    if (*flush == AGE_FLUSH_REQUEST && replay_mode != REPLAY_MODE_NONE) {
        error_setg(errp, "TLBs can't be flushed under record/replay; use "
                   "\"flush\": \"none\"");
        return false;
    }
    return true;
}

/* Harvest [@start, @end) of the host, whose last page has bit @first_bit */
static void harvest_hva(HarvestRange *r, uint64_t start, uint64_t end,
                        uint64_t first_bit, uint64_t *cleared)
{
    AgeYoung y = {
        .start = start,
        .end = end,
        .first_bit = first_bit,
        .select = r->map,
        .young = r->young,
    };

    age_test_clear_young(&y, &r->reason);
    *cleared += y.cleared;
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
 * Harvest what @slot, of the space with number @index, has in the range.  The
 * spaces of a machine map most memory alike; each page is harvested once.
 */
static void harvest_gpa_slot(HarvestRange *r, unsigned index,
                             const AgeMemSlot *slot, uint64_t *cleared)
{
    hwaddr gpa = MAX(r->arg->start, slot->gpa);
    hwaddr stop = MIN(r->arg->end, age_slot_end(slot));

    while (gpa < stop) {
        hwaddr end = stop;

        if (!mapped_before(index, slot, gpa, &end)) {
            harvest_hva(r, slot->hva + (gpa - slot->gpa),
                        slot->hva + (end - slot->gpa),
                        (r->arg->end - end) >> AGE_PAGE_SHIFT, cleared);
        }
        gpa = end;
    }
}

static void harvest_gpa(HarvestRange *r, uint64_t *cleared)
{
    AgeMMU *mmu = &age_state.mmu;

    for (unsigned i = 0; i < age_mmu_num_spaces(mmu); i++) {
        const AgeMemSlots *slots = age_memory_slots(&mmu->space[i]->mem);

        for (unsigned k = age_slots_lower_bound(slots, r->arg->start);
             k < slots->num && slots->slot[k].gpa < r->arg->end; k++) {
            harvest_gpa_slot(r, i, &slots->slot[k], cleared);
        }
    }
}

static void harvest_range(HarvestRange *r, AgeAddressType type,
                          uint64_t *cleared)
{
    r->young = g_new0(unsigned long, words_of(r->pages));
    if (type == AGE_ADDRESS_TYPE_HVA) {
        harvest_hva(r, r->arg->start, r->arg->end, 0, cleared);
    } else {
        harvest_gpa(r, cleared);
    }
    r->young_pages = bitmap_count_one(r->young, r->pages);
    qatomic_add(&age_state.harvested, r->young_pages);
}

/* The bitmap as the seed of this interface has it: young bits flipped */
static char *result_bitmap(HarvestRange *r)
{
    size_t words;

    if (!r->map) {
        r->map_bytes = DIV_ROUND_UP(r->pages, 8);
        words = DIV_ROUND_UP(r->map_bytes, sizeof(unsigned long));
        r->map = g_new(unsigned long, words);
        memset(r->map, 0xff, words * sizeof(unsigned long));
    }
    words = words_of(r->pages);
    for (size_t i = 0; i < words; i++) {
        r->map[i] ^= r->young[i];
    }
    swap_words(r->map, DIV_ROUND_UP(r->map_bytes, sizeof(unsigned long)));
    return g_base64_encode((uint8_t *)r->map, r->map_bytes);
}

/* Bits ascend as addresses descend, so the list is built from its end. */
static AgeRunList *result_runs(const HarvestRange *r)
{
    AgeRunList *runs = NULL;
    uint64_t bit = find_next_bit(r->young, r->pages, 0);

    while (bit < r->pages) {
        uint64_t next = find_next_zero_bit(r->young, r->pages, bit);
        AgeRun *run = g_new(AgeRun, 1);

        run->start = r->arg->end - (next << AGE_PAGE_SHIFT);
        run->end = r->arg->end - (bit << AGE_PAGE_SHIFT);
        QAPI_LIST_PREPEND(runs, run);
        bit = find_next_bit(r->young, r->pages, next);
    }
    return runs;
}

static AgeRangeResult *range_result(HarvestRange *r, AgeResultFormat format)
{
    AgeRangeResult *result = g_new0(AgeRangeResult, 1);

    result->start = r->arg->start;
    result->end = r->arg->end;
    result->handled = !r->reason;
    result->reason = g_strdup(r->reason);
    result->young_pages = r->young_pages;
    if (format == AGE_RESULT_FORMAT_BITMAP) {
        result->bitmap = result_bitmap(r);
    } else if (format == AGE_RESULT_FORMAT_RUNS) {
        result->has_runs = true;
        result->runs = result_runs(r);
    }
    return result;
}

static AgeHarvestResult *harvest(GArray *ranges, AgeAddressType type,
                                 AgeFlush flush, AgeResultFormat format)
{
    AgeHarvestResult *result = g_new0(AgeHarvestResult, 1);
    AgeRangeResultList **tail = &result->ranges;
    uint64_t cleared = 0;

    result->begin_ns = get_clock();
    for (unsigned i = 0; i < ranges->len; i++) {
        harvest_range(&g_array_index(ranges, HarvestRange, i), type, &cleared);
    }
    if (cleared && flush == AGE_FLUSH_REQUEST) {
        age_vcpu_request_flush();
    }
    result->end_ns = get_clock();
    result->flush_pending = age_vcpu_flush_pending();
    for (unsigned i = 0; i < ranges->len; i++) {
        HarvestRange *r = &g_array_index(ranges, HarvestRange, i);

        QAPI_LIST_APPEND(tail, range_result(r, format));
    }
    return result;
}

AgeHarvestResult *qmp_age_test_clear_young(AgeRangeList *list,
                                           bool has_address,
                                           AgeAddressType address,
                                           bool has_fallback, bool fallback,
                                           bool has_flush, AgeFlush flush,
                                           bool has_format,
                                           AgeResultFormat format,
                                           Error **errp)
{
    g_autoptr(GArray) ranges = g_array_new(false, true, sizeof(HarvestRange));

    g_array_set_clear_func(ranges, (GDestroyNotify)range_clear);
    if (!age_enabled()) {
        error_setg(errp, AGE_NOT_IN_USE);
        return NULL;
    }
    if (!has_address) {
        address = AGE_ADDRESS_TYPE_GPA;
    }
    if (!has_format) {
        format = AGE_RESULT_FORMAT_BITMAP;
    }
    RCU_READ_LOCK_GUARD();
    if (!parse_flush(has_flush, &flush, errp) ||
        !parse_ranges(ranges, list, address, errp)) {
        return NULL;
    }
    return harvest(ranges, address, flush, format);
}
