/*
 * A range of a harvest, from its argument to what was found
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "accel/age/pt/format.h"
#include "harvest-range.h"

void age_harvest_range_forget(HarvestRange *r)
{
    age_sparse_destroy(&r->young);
    r->young_count = (AgeBitCount) {};
    qapi_free_AgeAnswerList(r->answers);
    r->answers = NULL;
}

void age_harvest_range_clear(HarvestRange *r)
{
    age_harvest_range_forget(r);
    age_harvest_map_clear(&r->map);
}

bool age_harvest_range_parse(HarvestRange *r, AgeRangeCheck *check,
                             const AgeRangeArg *arg, bool test, Error **errp)
{
    if (!age_range_check(check, qapi_AgeRangeArg_base(arg), errp)) {
        return false;
    }
    *r = (HarvestRange) {
        .map.arg = arg,
        .map.pages = (arg->end - arg->start) >> AGE_PAGE_SHIFT,
        .map.test = test,
    };
    return age_harvest_map_parse(&r->map, check, errp);
}

/* Bits ascend as addresses descend, so the list is built from its end. */
static AgeRangeList *list_runs(const HarvestRange *r)
{
    uint64_t pages = r->map.pages, end = r->map.arg->end;
    uint64_t bit = age_sparse_next(&r->young, 0);
    AgeRangeList *runs = NULL;

    while (bit < pages) {
        uint64_t next = age_sparse_next_zero(&r->young, bit);
        AgeRange *run = g_new(AgeRange, 1);

        run->start = end - (next << AGE_PAGE_SHIFT);
        run->end = end - (bit << AGE_PAGE_SHIFT);
        QAPI_LIST_PREPEND(runs, run);
        bit = age_sparse_next(&r->young, next);
    }
    return runs;
}

/* Returns false if they are too many. */
static bool tell_runs(AgeRangeResult *result, const HarvestRange *r,
                      uint64_t *runs_left)
{
    if (r->young_count.runs > *runs_left) {
        return false;
    }
    *runs_left -= r->young_count.runs;
    result->has_runs = true;
    result->runs = list_runs(r);
    return true;
}

static void tell_pages(AgeRangeResult *result, HarvestRange *r,
                       AgeResultFormat format, bool bitmaps,
                       uint64_t *runs_left)
{
    bool told = format == AGE_RESULT_FORMAT_COUNT ||
                (format == AGE_RESULT_FORMAT_RUNS &&
                 tell_runs(result, r, runs_left));

    if (r->map.memory) {
        told = age_harvest_map_to_memory(&r->map, &r->young);
    }
    if (!told && bitmaps) {
        result->bitmap = age_harvest_map_text(&r->map, &r->young);
    }
}

/* Why the range was not handled: the first MMU that gave a reason */
static char *find_reason(const HarvestRange *r)
{
    for (AgeAnswerList *l = r->answers; l; l = l->next) {
        if (l->value->reason) {
            return g_strdup_printf("%s: %s", l->value->mmu, l->value->reason);
        }
    }
    return NULL;
}

AgeRangeResult *age_harvest_range_answer(HarvestRange *r,
                                         AgeResultFormat format, bool bitmaps,
                                         uint64_t *runs_left)
{
    AgeRangeResult *result = g_new0(AgeRangeResult, 1);

    result->start = r->map.arg->start;
    result->end = r->map.arg->end;
    result->reason = find_reason(r);
    result->handled = !result->reason;
    result->answers = g_steal_pointer(&r->answers);
    tell_pages(result, r, format, bitmaps, runs_left);
    return result;
}
