/*
 * QMP: age-test-clear-young and age-test-clear-dirty
 *
 * Run in the main thread with the BQL held, or out of band in the monitor's
 * I/O thread without it; nothing here may need either.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-age.h"
#include "accel/age/tcg/age-int.h"
#include "command.h"
#include "harvest-ranges.h"

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
 * @flush: what to do about TLBs
 * @format: how to tell of pages
 */
typedef struct HarvestCommand {
    GArray *ranges;
    HarvestMode mode;
    AgeFlush flush;
    AgeResultFormat format;
} HarvestCommand;

static void harvest_command_clear(HarvestCommand *c)
{
    g_clear_pointer(&c->ranges, g_array_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HarvestCommand, harvest_command_clear)

static HarvestRange *range_at(const HarvestCommand *c, unsigned i)
{
    return &g_array_index(c->ranges, HarvestRange, i);
}

/* Take the arguments apart.  Nothing is harvested before all are right. */
static bool parse_ranges(HarvestCommand *c, AgeRangeArgList *list,
                         Error **errp)
{
    AgeRangeCheck check = { .type = c->mode.type };

    c->ranges = g_array_new(false, true, sizeof(HarvestRange));
    g_array_set_clear_func(c->ranges,
                           (GDestroyNotify)age_harvest_range_clear);
    if (!age_check_enabled(errp)) {
        return false;
    }
    for (; list; list = list->next) {
        g_array_set_size(c->ranges, c->ranges->len + 1);
        if (!age_harvest_range_parse(range_at(c, c->ranges->len - 1), &check,
                                     list->value, errp)) {
            return false;
        }
    }
    return age_range_check_num(&check, errp);
}

static AgeHarvestResult *harvest_all(HarvestCommand *c)
{
    AgeHarvestResult *result = g_new0(AgeHarvestResult, 1);

    age_pass_begin(qapi_AgeHarvestResult_base(result));
    result->fallback_young = age_harvest_ranges(range_at(c, 0), c->ranges->len,
                                                c->mode);
    result->young = result->fallback_young;
    result->has_young = result->has_fallback_young = !c->mode.dirty;
    age_pass_end(qapi_AgeHarvestResult_base(result), c->flush);
    return result;
}

static void set_pages(AgeRangeResult *result, uint64_t pages, bool dirty)
{
    if (dirty) {
        result->has_dirty_pages = true;
        result->dirty_pages = pages;
    } else {
        result->has_young_pages = true;
        result->young_pages = pages;
        qatomic_add(&age_state.harvested, pages);
    }
}

static AgeRangeResultList *range_results(const HarvestCommand *c)
{
    AgeRangeResultList *list = NULL, **tail = &list;
    uint64_t runs_left = MAX_RUNS;

    for (unsigned i = 0; i < c->ranges->len; i++) {
        HarvestRange *r = range_at(c, i);
        AgeRangeResult *result = age_harvest_range_answer(r, c->format,
                                                          &runs_left);

        set_pages(result, r->young_count.ones, c->mode.dirty);
        QAPI_LIST_APPEND(tail, result);
    }
    return list;
}

/* Returns NULL on error, with nothing harvested. */
static AgeHarvestResult *harvest_command_run(HarvestCommand *c,
                                             AgeRangeArgList *list,
                                             bool has_flush, Error **errp)
{
    AgeHarvestResult *result;

    if (!age_check_unsent(errp) || !parse_ranges(c, list, errp) ||
        !age_parse_flush(has_flush, &c->flush, errp)) {
        return NULL;
    }
    result = harvest_all(c);
    result->ranges = range_results(c);
    return result;
}

AgeHarvestResult *qmp_age_test_clear_young(AgeRangeArgList *list,
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

    return harvest_command_run(&c, list, has_flush, errp);
}

AgeHarvestResult *qmp_age_test_clear_dirty(AgeRangeArgList *list,
                                           bool has_address,
                                           AgeAddressType address,
                                           bool has_flush, AgeFlush flush,
                                           bool has_format,
                                           AgeResultFormat format,
                                           Error **errp)
{
    g_auto(HarvestCommand) c = {
        .mode.type = has_address ? address : AGE_ADDRESS_TYPE_GPA,
        .mode.dirty = true,
        .flush = flush,
        .format = has_format ? format : AGE_RESULT_FORMAT_BITMAP,
    };

    return harvest_command_run(&c, list, has_flush, errp);
}
