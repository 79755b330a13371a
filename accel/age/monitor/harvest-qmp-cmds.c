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
#include "all-memory.h"
#include "command.h"
#include "harvest-ranges.h"
#include "space.h"

/*
 * Runs that one command lists.  It is the guest who chooses how many there are,
 * and until it has become text each is a dictionary, with a hash table of 4 KiB
 * whatever is in it: 16 MB for as many as this.
 */
#define MAX_RUNS    3500

/**
 * HarvestCommand: a command
 *
 * @all: the ranges that it made itself
 * @ranges: of #HarvestRange
 * @pages: how many pages they have
 * @mode: how to harvest them
 * @flush: what to do about TLBs
 * @format: how to tell of pages
 */
typedef struct HarvestCommand {
    AgeRangeArgList *all;
    GArray *ranges;
    uint64_t pages;
    HarvestMode mode;
    AgeFlush flush;
    AgeResultFormat format;
} HarvestCommand;

static void harvest_command_clear(HarvestCommand *c)
{
    g_clear_pointer(&c->ranges, g_array_unref);
    qapi_free_AgeRangeArgList(c->all);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HarvestCommand, harvest_command_clear)

static HarvestRange *range_at(const HarvestCommand *c, unsigned i)
{
    return &g_array_index(c->ranges, HarvestRange, i);
}

static bool any_bitmap(const AgeRangeArgList *list)
{
    for (; list; list = list->next) {
        if (list->value->bitmap || list->value->memory) {
            return true;
        }
    }
    return false;
}

/* Pages that have no bit in a bitmap cost nothing unless they are young. */
static void set_bound(AgeRangeCheck *check, const HarvestCommand *c,
                      const AgeRangeArgList *list)
{
    if (c->format == AGE_RESULT_FORMAT_BITMAP) {
        check->max_pages = AGE_MAX_PAGES;
        check->way_out = "use several commands, or format runs or count";
    } else if (any_bitmap(list)) {
        check->max_pages = AGE_MAX_PAGES;
        check->way_out = "use several commands, or no bitmaps";
    } else {
        check->max_pages = AGE_MAX_SPARSE_PAGES;
        check->way_out = "use several commands";
    }
}

/* Take the ranges apart.  Nothing is harvested before all are right. */
static bool parse_ranges(HarvestCommand *c, const AgeRangeArgList *list,
                         Error **errp)
{
    AgeRangeCheck check = {
        .type = c->mode.type,
        .space = c->mode.space,
        .all = c->all,
    };

    set_bound(&check, c, list);
    c->ranges = g_array_new(false, true, sizeof(HarvestRange));
    g_array_set_clear_func(c->ranges,
                           (GDestroyNotify)age_harvest_range_clear);
    for (; list; list = list->next) {
        g_array_set_size(c->ranges, c->ranges->len + 1);
        if (!age_harvest_range_parse(range_at(c, c->ranges->len - 1), &check,
                                     list->value, c->mode.test, errp)) {
            return false;
        }
    }
    c->pages = check.pages;
    return age_range_check_num(&check, errp);
}

/* If no ranges were given, those of all memory are meant. */
static bool parse_memory(HarvestCommand *c, bool has_ranges,
                         const AgeRangeArgList *list, Error **errp)
{
    if (!has_ranges) {
        list = c->all = age_all_memory(c->mode.type, c->mode.space);
    }
    if (!has_ranges && !list) {
        error_setg(errp, "the guest has no memory");
        return false;
    }
    return parse_ranges(c, list, errp);
}

static bool parse_space(HarvestCommand *c, const char *space, Error **errp)
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
    if (space) {
        c->mode.space = age_space_find(space, errp);
    }
    return !space || c->mode.space;
}

/*
 * More runs than can be listed come as bitmaps, but not for any number of
 * pages.  So look how many there are while nothing is consumed.  What becomes
 * young after that has as much room again.
 */
static bool look_first(HarvestCommand *c, Error **errp)
{
    HarvestMode mode = c->mode;
    uint64_t runs = 0;

    mode.test = true;
    mode.fallback = false;
    age_harvest_ranges(range_at(c, 0), c->ranges->len, mode);
    for (unsigned i = 0; i < c->ranges->len; i++) {
        runs += range_at(c, i)->young_count.runs;
        age_harvest_range_forget(range_at(c, i));
    }
    if (runs > MAX_RUNS) {
        error_setg(errp, "more than %d runs in more than %" PRIu64 " pages; "
                   "use several commands with ranges, or format count",
                   MAX_RUNS, (uint64_t)AGE_MAX_PAGES);
        return false;
    }
    return true;
}

/* Would bitmaps in the place of runs be too long? */
static bool only_runs(const HarvestCommand *c)
{
    return c->format == AGE_RESULT_FORMAT_RUNS && c->pages > AGE_MAX_PAGES;
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
    uint64_t runs_left = only_runs(c) ? 2 * MAX_RUNS : MAX_RUNS;

    for (unsigned i = 0; i < c->ranges->len; i++) {
        HarvestRange *r = range_at(c, i);
        AgeRangeResult *result = age_harvest_range_answer(r, c->format,
                                                          !only_runs(c),
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
        !parse_space(c, space, errp) ||
        !parse_memory(c, has_ranges, list, errp) ||
        !age_parse_flush(has_flush, &c->flush, errp) ||
        (only_runs(c) && !look_first(c, errp))) {
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
