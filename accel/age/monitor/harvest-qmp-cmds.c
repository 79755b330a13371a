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
#include "harvest-command.h"

static bool check_fallback(const HarvestCommand *c, const char *space,
                           Error **errp)
{
    if (c->mode.fallback && space) {
        error_setg(errp, "a fallback knows no address spaces; leave out "
                   "either \"fallback\" or \"address-space\"");
        return false;
    }
    if (c->mode.fallback && c->mode.test) {
        error_setg(errp, "a fallback makes pages old; leave out either "
                   "\"fallback\" or \"clear\": false");
        return false;
    }
    return true;
}

/*
 * More runs than can be listed come as bitmaps, but not for any number of
 * pages.  So look how many there are while nothing is consumed.  What becomes
 * young after that has as much room again.
 */
static bool look_first(HarvestCommand *c, Error **errp)
{
    HarvestMode mode = c->mode;
    bool listed;

    c->mode.test = true;
    c->mode.fallback = false;
    age_command_harvest(c);
    c->mode = mode;
    listed = age_command_check_runs(c, errp);
    for (unsigned i = 0; i < c->ranges->len; i++) {
        age_harvest_range_forget(age_command_range(c, i));
    }
    return listed;
}

static AgeHarvestResult *harvest_all(HarvestCommand *c)
{
    AgeHarvestResult *result = g_new0(AgeHarvestResult, 1);

    age_pass_begin(qapi_AgeHarvestResult_base(result));
    result->fallback_young = age_command_harvest(c);
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
    bool only_runs = age_command_only_runs(c);
    uint64_t runs_left = only_runs ? 2 * AGE_MAX_RUNS : AGE_MAX_RUNS;

    for (unsigned i = 0; i < c->ranges->len; i++) {
        HarvestRange *r = age_command_range(c, i);
        AgeRangeResult *result = age_harvest_range_answer(r, c->format,
                                                          !only_runs,
                                                          &runs_left);

        set_pages(result, r->young_count.ones, c->mode.dirty);
        QAPI_LIST_APPEND(tail, result);
    }
    return list;
}

/* Returns NULL on error, with nothing harvested. */
static AgeHarvestResult *harvest_command_run(HarvestCommand *c,
                                             bool has_ranges,
                                             const AgeRangeArgList *list,
                                             const char *space,
                                             bool has_flush, Error **errp)
{
    AgeHarvestResult *result;

    if (!age_check_unsent(errp) || !age_check_enabled(errp) ||
        !check_fallback(c, space, errp) ||
        !age_command_parse(c, has_ranges, list, space, errp) ||
        !age_parse_flush(has_flush, &c->flush, errp) ||
        (age_command_only_runs(c) && !look_first(c, errp))) {
        return NULL;
    }
    result = harvest_all(c);
    result->ranges = range_results(c);
    return result;
}

AgeHarvestResult *qmp_age_test_clear_young(bool has_ranges,
                                           AgeRangeArgList *list,
                                           bool has_address,
                                           AgeAddressType address,
                                           const char *space,
                                           bool has_clear, bool clear,
                                           bool has_fallback, bool fallback,
                                           bool has_flush, AgeFlush flush,
                                           bool has_format,
                                           AgeResultFormat format,
                                           Error **errp)
{
    g_auto(HarvestCommand) c = {
        .mode.type = has_address ? address : AGE_ADDRESS_TYPE_GPA,
        .mode.test = has_clear && !clear,
        .mode.fallback = has_fallback && fallback,
        .flush = flush,
        .format = has_format ? format : AGE_RESULT_FORMAT_BITMAP,
    };

    return harvest_command_run(&c, has_ranges, list, space, has_flush, errp);
}

AgeHarvestResult *qmp_age_test_clear_dirty(bool has_ranges,
                                           AgeRangeArgList *list,
                                           bool has_address,
                                           AgeAddressType address,
                                           const char *space,
                                           bool has_clear, bool clear,
                                           bool has_flush, AgeFlush flush,
                                           bool has_format,
                                           AgeResultFormat format,
                                           Error **errp)
{
    g_auto(HarvestCommand) c = {
        .mode.type = has_address ? address : AGE_ADDRESS_TYPE_GPA,
        .mode.dirty = true,
        .mode.test = has_clear && !clear,
        .flush = flush,
        .format = has_format ? format : AGE_RESULT_FORMAT_BITMAP,
    };

    return harvest_command_run(&c, has_ranges, list, space, has_flush, errp);
}
