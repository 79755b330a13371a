/*
 * A range of a harvest: its argument taken apart, and its result put together
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/base64.h"
#include "qemu/bitmap.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "accel/age/tcg/age-int.h"
#include "harvest-range.h"
#include "shared-memory.h"

void age_harvest_range_clear(HarvestRange *r)
{
    g_free(r->map);
    g_free(r->young);
    qapi_free_AgeAnswerList(r->answers);
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

static bool decode_text(HarvestRange *r, const AgeRanges *state, Error **errp)
{
    g_autofree uint8_t *bytes = NULL;
    size_t words;

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

static uint64_t offset_of(const HarvestRange *r)
{
    return r->arg->has_offset ? r->arg->offset : 0;
}

/* Has the bitmap a place in @size bytes of memory? */
static bool fits(const HarvestRange *r, uint64_t size)
{
    uint64_t offset = offset_of(r);

    return offset <= size && size - offset >= r->map_bytes;
}

/* The client's memory, which has a place for the bitmap; under RCU */
static const uint8_t *find_memory(const HarvestRange *r,
                                  const AgeRanges *state, Error **errp)
{
    const AgeRange *arg = r->arg;
    uint64_t offset = offset_of(r);
    uint64_t size;
    uint8_t *host = age_shared_find(arg->memory, &size);

    if (!host) {
        age_ranges_error(state, arg->start, arg->end, errp, "names memory "
                         "'%s', which was not made known by age-share-memory",
                         arg->memory);
        return NULL;
    }
    if (!QEMU_IS_ALIGNED(offset, sizeof(uint64_t))) {
        age_ranges_error(state, arg->start, arg->end, errp, "has its bitmap at "
                         "offset %" PRIu64 ", which is no multiple of 8",
                         offset);
        return NULL;
    }
    if (!fits(r, size)) {
        age_ranges_error(state, arg->start, arg->end, errp, "has a bitmap of "
                         "%zu bytes at offset %" PRIu64 " of memory '%s', which"
                         " is of %" PRIu64 " bytes", r->map_bytes, offset,
                         arg->memory, size);
        return NULL;
    }
    return host;
}

/*
 * Harvest by a copy.  Whoever is asked more than once what to do with a page
 * must get the same answer, even if the client changes its mind.
 */
static bool copy_memory(HarvestRange *r, const AgeRanges *state, Error **errp)
{
    size_t words = words_of(r->pages);
    const uint8_t *host;

    r->map_bytes = DIV_ROUND_UP(r->pages, 8);
    RCU_READ_LOCK_GUARD();
    host = find_memory(r, state, errp);
    if (!host) {
        return false;
    }
    r->memory = host;
    r->map = g_new0(unsigned long, words);
    memcpy(r->map, host + offset_of(r), r->map_bytes);
    swap_words(r->map, words);
    return true;
}

static bool decode_map(HarvestRange *r, const AgeRanges *state, Error **errp)
{
    if (r->arg->memory && r->arg->bitmap) {
        age_ranges_error(state, r->arg->start, r->arg->end, errp,
                         "has a bitmap in text and one in memory");
        return false;
    }
    if (r->arg->has_offset && !r->arg->memory) {
        age_ranges_error(state, r->arg->start, r->arg->end, errp,
                         "has an offset, but names no memory");
        return false;
    }
    if (r->arg->memory) {
        return copy_memory(r, state, errp);
    }
    return !r->arg->bitmap || decode_text(r, state, errp);
}

bool age_harvest_range_parse(HarvestRange *r, AgeRanges *state,
                             const AgeRange *arg, Error **errp)
{
    if (!age_ranges_check(state, arg->start, arg->end, errp)) {
        return false;
    }
    *r = (HarvestRange) {
        .arg = arg,
        .pages = (arg->end - arg->start) >> AGE_PAGE_SHIFT,
    };
    return decode_map(r, state, errp);
}

/* The bitmap as the seed of this interface has it: young bits flipped */
static void flip_young(HarvestRange *r)
{
    size_t words = words_of(r->pages);

    for (size_t i = 0; i < words; i++) {
        r->map[i] ^= r->young[i];
    }
    swap_words(r->map, DIV_ROUND_UP(r->map_bytes, sizeof(unsigned long)));
}

static char *result_bitmap(HarvestRange *r)
{
    size_t words;

    if (!r->map) {
        r->map_bytes = DIV_ROUND_UP(r->pages, 8);
        words = DIV_ROUND_UP(r->map_bytes, sizeof(unsigned long));
        r->map = g_new(unsigned long, words);
        memset(r->map, 0xff, words * sizeof(unsigned long));
    }
    flip_young(r);
    return g_base64_encode((uint8_t *)r->map, r->map_bytes);
}

/*
 * The memory may have gone since the range was parsed, or be another one of the
 * same name.  Returns false then.
 */
static bool result_in_memory(HarvestRange *r)
{
    uint64_t size;
    uint8_t *host;

    RCU_READ_LOCK_GUARD();
    host = age_shared_find(r->arg->memory, &size);
    if (host != r->memory || !fits(r, size)) {
        return false;
    }
    flip_young(r);
    memcpy(host + offset_of(r), r->map, r->map_bytes);
    return true;
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

/* Returns false if they are too many. */
static bool set_runs(AgeRangeAnswer *answer, const HarvestRange *r,
                     uint64_t *runs_left)
{
    if (r->young_count.runs > *runs_left) {
        return false;
    }
    *runs_left -= r->young_count.runs;
    answer->has_runs = true;
    answer->runs = result_runs(r);
    return true;
}

static void set_pages(AgeRangeAnswer *answer, HarvestRange *r,
                      AgeResultFormat format, uint64_t *runs_left)
{
    bool told = format == AGE_RESULT_FORMAT_COUNT ||
                (format == AGE_RESULT_FORMAT_RUNS &&
                 set_runs(answer, r, runs_left));

    if (r->memory ? !result_in_memory(r) : !told) {
        answer->bitmap = result_bitmap(r);
    }
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

void age_harvest_range_answer(HarvestRange *r, AgeResultFormat format,
                              uint64_t *runs_left, AgeRangeAnswer *answer)
{
    answer->start = r->arg->start;
    answer->end = r->arg->end;
    answer->reason = result_reason(r);
    answer->handled = !answer->reason;
    answer->answers = g_steal_pointer(&r->answers);
    set_pages(answer, r, format, runs_left);
}
