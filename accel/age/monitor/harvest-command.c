/*
 * What commands that tell of pages have in common: their ranges
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "all-memory.h"
#include "harvest-command.h"
#include "space.h"

void age_command_clear(HarvestCommand *c)
{
    g_clear_pointer(&c->ranges, g_array_unref);
    qapi_free_AgeRangeArgList(c->all);
}

HarvestRange *age_command_range(const HarvestCommand *c, unsigned i)
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
    for (unsigned i = 0; list; i++, list = list->next) {
        g_array_set_size(c->ranges, i + 1);
        if (!age_harvest_range_parse(age_command_range(c, i), &check,
                                     list->value, c->mode.test, errp)) {
            return false;
        }
    }
    c->pages = check.pages;
    return age_range_check_num(&check, errp);
}

bool age_command_parse(HarvestCommand *c, bool has_ranges,
                       const AgeRangeArgList *list, const char *space,
                       Error **errp)
{
    if (space) {
        c->mode.space = age_space_find(space, errp);
        if (!c->mode.space) {
            return false;
        }
    }
    if (!has_ranges) {
        list = c->all = age_all_memory(c->mode.type, c->mode.space);
    }
    if (!has_ranges && !list) {
        error_setg(errp, "the guest has no memory");
        return false;
    }
    return parse_ranges(c, list, errp);
}

bool age_command_harvest(HarvestCommand *c)
{
    return age_harvest_ranges(age_command_range(c, 0), c->ranges->len, c->mode);
}

bool age_command_only_runs(const HarvestCommand *c)
{
    return c->format == AGE_RESULT_FORMAT_RUNS && c->pages > AGE_MAX_PAGES;
}

bool age_command_check_runs(const HarvestCommand *c, Error **errp)
{
    uint64_t runs = 0;

    for (unsigned i = 0; i < c->ranges->len; i++) {
        runs += age_command_range(c, i)->young_count.runs;
    }
    if (age_command_only_runs(c) && runs > AGE_MAX_RUNS) {
        error_setg(errp, "more than %d runs in more than %" PRIu64 " pages; "
                   "use several commands with ranges, or format count",
                   AGE_MAX_RUNS, (uint64_t)AGE_MAX_PAGES);
        return false;
    }
    return true;
}
