/*
 * QMP: age-test-clear-young and age-test-clear-dirty
 *
 * Run in the main thread with the BQL held, or out of band in the monitor's
 * I/O thread without it; nothing here may need either.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-age.h"
#include "accel/age/mmu/generation.h"
#include "accel/age/tcg/age-int.h"
#include "accel/age/tcg/vcpu.h"
#include "harvest-pieces.h"
#include "unsent.h"

/*
 * Runs that one command lists.  It is the guest who chooses how many there are,
 * and until it has become text each is a dictionary, with a hash table of 4 KiB
 * whatever is in it: 16 MB for as many as this.
 */
#define MAX_RUNS    3500

/**
 * HarvestCommand: a command
 *
 * @ranges: of #HarvestRange
 * @mode: how to harvest them
 * @young: a fallback found a young page
 * @flush: what to do about TLBs
 * @format: how to tell of pages
 * @generation: the generation in which it began to harvest
 * @begin_ns, @end_ns: when it began and ended to harvest
 * @flush_pending: some vCPU had still to flush its TLB then
 */
typedef struct HarvestCommand {
    GArray *ranges;
    HarvestMode mode;
    bool young;
    AgeFlush flush;
    AgeResultFormat format;
    uint64_t generation;
    uint64_t begin_ns;
    uint64_t end_ns;
    bool flush_pending;
} HarvestCommand;

static void command_clear(HarvestCommand *c)
{
    g_array_unref(c->ranges);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HarvestCommand, command_clear)

static HarvestRange *range_at(const HarvestCommand *c, unsigned i)
{
    return &g_array_index(c->ranges, HarvestRange, i);
}

/* Take the arguments apart.  Nothing is harvested before all are right. */
static bool parse_ranges(HarvestCommand *c, AgeRangeList *list, Error **errp)
{
    AgeRanges state;

    c->ranges = g_array_new(false, true, sizeof(HarvestRange));
    g_array_set_clear_func(c->ranges,
                           (GDestroyNotify)age_harvest_range_clear);
    if (!age_ranges_init(&state, c->mode.type, errp)) {
        return false;
    }
    for (; list; list = list->next) {
        g_array_set_size(c->ranges, c->ranges->len + 1);
        if (!age_harvest_range_parse(range_at(c, c->ranges->len - 1), &state,
                                     list->value, errp)) {
            return false;
        }
    }
    if (!c->ranges->len) {
        error_setg(errp, "no ranges given");
        return false;
    }
    return true;
}

static void harvest(HarvestCommand *c)
{
    c->generation = age_generation();
    c->begin_ns = get_clock();
    c->young = age_harvest_ranges(range_at(c, 0), c->ranges->len, c->mode);
    if (c->flush == AGE_FLUSH_REQUEST) {
        age_vcpu_request_flush();
    }
    c->end_ns = get_clock();
    c->flush_pending = age_vcpu_flush_pending();
}

/* Returns false on error, with nothing harvested. */
static bool run(HarvestCommand *c, AgeRangeList *list, bool has_flush,
                Error **errp)
{
    if (!age_check_unsent(errp) || !parse_ranges(c, list, errp) ||
        !age_parse_flush(has_flush, &c->flush, errp)) {
        return false;
    }
    harvest(c);
    return true;
}

static AgeRangeResultList *young_results(const HarvestCommand *c)
{
    AgeRangeResultList *list = NULL, **tail = &list;
    uint64_t runs_left = MAX_RUNS;

    for (unsigned i = 0; i < c->ranges->len; i++) {
        HarvestRange *r = range_at(c, i);
        AgeRangeResult *result = g_new0(AgeRangeResult, 1);

        result->young_pages = r->young_count.ones;
        age_harvest_range_answer(r, c->format, &runs_left,
                                 qapi_AgeRangeResult_base(result));
        qatomic_add(&age_state.harvested, r->young_count.ones);
        QAPI_LIST_APPEND(tail, result);
    }
    return list;
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
    g_auto(HarvestCommand) c = {
        .mode.type = has_address ? address : AGE_ADDRESS_TYPE_GPA,
        .mode.fallback = has_fallback && fallback,
        .flush = flush,
        .format = has_format ? format : AGE_RESULT_FORMAT_BITMAP,
    };
    AgeHarvestResult *result;

    if (!run(&c, list, has_flush, errp)) {
        return NULL;
    }
    result = g_new0(AgeHarvestResult, 1);
    result->generation = c.generation;
    result->begin_ns = c.begin_ns;
    result->end_ns = c.end_ns;
    result->flush_pending = c.flush_pending;
    result->young = c.young;
    result->ranges = young_results(&c);
    return result;
}

static AgeDirtyRangeResultList *dirty_results(const HarvestCommand *c)
{
    AgeDirtyRangeResultList *list = NULL, **tail = &list;
    uint64_t runs_left = MAX_RUNS;

    for (unsigned i = 0; i < c->ranges->len; i++) {
        HarvestRange *r = range_at(c, i);
        AgeDirtyRangeResult *result = g_new0(AgeDirtyRangeResult, 1);

        result->dirty_pages = r->young_count.ones;
        age_harvest_range_answer(r, c->format, &runs_left,
                                 qapi_AgeDirtyRangeResult_base(result));
        QAPI_LIST_APPEND(tail, result);
    }
    return list;
}

AgeDirtyResult *qmp_age_test_clear_dirty(AgeRangeList *list, bool has_address,
                                         AgeAddressType address,
                                         bool has_flush, AgeFlush flush,
                                         bool has_format,
                                         AgeResultFormat format, Error **errp)
{
    g_auto(HarvestCommand) c = {
        .mode.type = has_address ? address : AGE_ADDRESS_TYPE_GPA,
        .mode.dirty = true,
        .flush = flush,
        .format = has_format ? format : AGE_RESULT_FORMAT_BITMAP,
    };
    AgeDirtyResult *result;

    if (!run(&c, list, has_flush, errp)) {
        return NULL;
    }
    result = g_new0(AgeDirtyResult, 1);
    result->generation = c.generation;
    result->begin_ns = c.begin_ns;
    result->end_ns = c.end_ns;
    result->flush_pending = c.flush_pending;
    result->ranges = dirty_results(&c);
    return result;
}
