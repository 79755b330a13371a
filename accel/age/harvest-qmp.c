/*
 * QMP: age-test-clear-young
 *
 * Runs in the main thread with the BQL held, or out of band in the monitor's
 * I/O thread without it; nothing here may need either.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/base64.h"
#include "qemu/bitmap.h"
#include "qemu/bswap.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-age.h"
#include "age-int.h"
#include "ranges.h"
#include "vcpu.h"

/*
 * Young runs that one command lists.  Each is an object of several KiB until
 * it has become text, and it is the guest who chooses how many there are.
 */
#define MAX_RUNS    65536

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
 * @fallback: fallbacks are allowed
 * @fallback_young: a fallback found a young page
 * @answers: how each secondary MMU answered
 */
typedef struct HarvestRange {
    const AgeRange *arg;
    uint64_t pages;
    unsigned long *map;
    size_t map_bytes;
    unsigned long *young;
    uint64_t young_pages;
    bool fallback;
    bool fallback_young;
    AgeAnswerList *answers;
} HarvestRange;

static void range_clear(HarvestRange *r)
{
    g_free(r->map);
    g_free(r->young);
    qapi_free_AgeAnswerList(r->answers);
}

static const AgeAnswerHow how_to_qapi[] = {
    [AGE_HOW_BITMAP] = AGE_ANSWER_HOW_BITMAP,
    [AGE_HOW_CLEAR_YOUNG] = AGE_ANSWER_HOW_CLEAR_YOUNG,
    [AGE_HOW_REFUSED] = AGE_ANSWER_HOW_REFUSED,
};

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

/*
 * Is the padding of @text right?  GLib's decoder does not mind if it is not,
 * and returns less than was meant.
 */
static bool well_padded(const char *text)
{
    size_t chars = 0, padding = 0;

    for (; *text; text++) {
        if (*text == '\n') {
            continue;
        }
        if (*text != '=' && padding) {
            return false;
        }
        padding += *text == '=';
        chars++;
    }
    return chars % 4 == 0 && padding <= 2;
}

static bool decode_map(HarvestRange *r, const AgeRanges *state, Error **errp)
{
    g_autofree uint8_t *bytes = NULL;
    size_t words;

    if (!r->arg->bitmap) {
        return true;
    }
    if (well_padded(r->arg->bitmap)) {
        bytes = qbase64_decode(r->arg->bitmap, -1, &r->map_bytes, NULL);
    }
    if (!bytes) {
        age_ranges_error(state, r->arg->start, r->arg->end, errp,
                         "has a bitmap that is not base64");
        return false;
    }
    if (r->map_bytes < DIV_ROUND_UP(r->pages, 8)) {
        age_ranges_error(state, r->arg->start, r->arg->end, errp,
                         "has a bitmap of %zu bits for %" PRIu64 " pages",
                         r->map_bytes * 8, r->pages);
        return false;
    }
    words = DIV_ROUND_UP(r->map_bytes, sizeof(unsigned long));
    r->map = g_new0(unsigned long, words);
    memcpy(r->map, bytes, r->map_bytes);
    swap_words(r->map, words);
    return true;
}

/* Take the arguments apart.  Nothing is harvested before all are right. */
static bool parse_ranges(GArray *ranges, AgeRangeList *list,
                         AgeAddressType type, Error **errp)
{
    AgeRanges state;

    if (!age_ranges_init(&state, type, errp)) {
        return false;
    }
    for (; list; list = list->next) {
        const AgeRange *arg = list->value;
        HarvestRange r = { .arg = arg };

        if (!age_ranges_check(&state, arg->start, arg->end, errp)) {
            return false;
        }
        r.pages = (arg->end - arg->start) >> AGE_PAGE_SHIFT;
        if (!decode_map(&r, &state, errp)) {
            return false;
        }
        g_array_append_val(ranges, r);
    }
    if (!ranges->len) {
        error_setg(errp, "no ranges given");
        return false;
    }
    return true;
}

/* Pieces of a range may be answered differently: tell the worst of it. */
static void add_to_answer(AgeAnswer *answer, AgeHow how, const char *reason,
                          bool young)
{
    answer->how = MAX(answer->how, how_to_qapi[how]);
    answer->has_young |= how == AGE_HOW_CLEAR_YOUNG;
    answer->young |= young;
    if (!answer->reason) {
        answer->reason = g_strdup(reason);
    }
}

/* The answer of a subscriber, or a further part of it */
static void add_answer(void *opaque, const char *name, AgeHow how,
                       const char *reason, bool young)
{
    HarvestRange *r = opaque;
    AgeAnswerList **tail = &r->answers;
    AgeAnswer *answer;

    for (; *tail; tail = &(*tail)->next) {
        answer = (*tail)->value;
        if (g_str_equal(answer->mmu, name)) {
            add_to_answer(answer, how, reason, young);
            return;
        }
    }
    answer = g_new0(AgeAnswer, 1);
    answer->mmu = g_strdup(name);
    answer->how = how_to_qapi[how];
    answer->reason = g_strdup(reason);
    answer->has_young = how == AGE_HOW_CLEAR_YOUNG;
    answer->young = young;
    QAPI_LIST_APPEND(tail, answer);
}

static void harvest_piece(void *opaque, uint64_t start, uint64_t end,
                          uint64_t first_bit)
{
    HarvestRange *r = opaque;
    AgeYoung y = {
        .start = start,
        .end = end,
        .first_bit = first_bit,
        .select = r->map,
        .young = r->young,
    };

    r->fallback_young |= age_test_clear_young(&y, r->fallback, add_answer, r);
}

static void harvest_range(HarvestRange *r, AgeAddressType type)
{
    r->young = g_new0(unsigned long, words_of(r->pages));
    age_ranges_foreach(type, r->arg->start, r->arg->end, harvest_piece, r);
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

static uint64_t count_runs(const HarvestRange *r)
{
    uint64_t runs = 0;
    uint64_t bit = find_next_bit(r->young, r->pages, 0);

    while (bit < r->pages) {
        bit = find_next_zero_bit(r->young, r->pages, bit);
        bit = find_next_bit(r->young, r->pages, bit);
        runs++;
    }
    return runs;
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

/* @runs_left: how many runs the command may still list */
static void set_pages(AgeRangeResult *result, HarvestRange *r,
                      AgeResultFormat format, uint64_t *runs_left)
{
    uint64_t runs;

    if (format == AGE_RESULT_FORMAT_COUNT) {
        return;
    }
    if (format == AGE_RESULT_FORMAT_RUNS) {
        runs = count_runs(r);
        if (runs <= *runs_left) {
            *runs_left -= runs;
            result->has_runs = true;
            result->runs = result_runs(r);
            return;
        }
    }
    result->bitmap = result_bitmap(r);
}

/* Why the range was not handled: the first MMU that gave a reason */
static char *result_reason(const HarvestRange *r)
{
    for (AgeAnswerList *l = r->answers; l; l = l->next) {
        if (l->value->reason) {
            return g_strdup_printf("%s: %s", l->value->mmu, l->value->reason);
        }
    }
    return NULL;
}

static AgeRangeResult *range_result(HarvestRange *r, AgeResultFormat format,
                                    uint64_t *runs_left)
{
    AgeRangeResult *result = g_new0(AgeRangeResult, 1);

    result->start = r->arg->start;
    result->end = r->arg->end;
    result->reason = result_reason(r);
    result->handled = !result->reason;
    result->young_pages = r->young_pages;
    result->answers = g_steal_pointer(&r->answers);
    set_pages(result, r, format, runs_left);
    return result;
}

static AgeHarvestResult *harvest(GArray *ranges, AgeAddressType type,
                                 bool fallback, AgeFlush flush,
                                 AgeResultFormat format)
{
    AgeHarvestResult *result = g_new0(AgeHarvestResult, 1);
    AgeRangeResultList **tail = &result->ranges;
    uint64_t runs_left = MAX_RUNS;

    result->begin_ns = get_clock();
    for (unsigned i = 0; i < ranges->len; i++) {
        HarvestRange *r = &g_array_index(ranges, HarvestRange, i);

        r->fallback = fallback;
        harvest_range(r, type);
        result->young |= r->fallback_young;
    }
    if (flush == AGE_FLUSH_REQUEST) {
        age_vcpu_request_flush();
    }
    result->end_ns = get_clock();
    result->flush_pending = age_vcpu_flush_pending();
    for (unsigned i = 0; i < ranges->len; i++) {
        HarvestRange *r = &g_array_index(ranges, HarvestRange, i);

        QAPI_LIST_APPEND(tail, range_result(r, format, &runs_left));
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
    if (!has_address) {
        address = AGE_ADDRESS_TYPE_GPA;
    }
    if (!has_format) {
        format = AGE_RESULT_FORMAT_BITMAP;
    }
    if (!parse_ranges(ranges, list, address, errp) ||
        !age_parse_flush(has_flush, &flush, errp)) {
        return NULL;
    }
    return harvest(ranges, address, has_fallback && fallback, flush, format);
}
