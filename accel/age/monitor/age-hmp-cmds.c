/*
 * HMP: info age, age_harvest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-age.h"
#include "qapi/type-helpers.h"
#include "qobject/qdict.h"
#include "accel/age/pt/format.h"

/* Runs that age_harvest lists before it only counts on */
#define RUNS_SHOWN  32

static const char *on_off(bool on)
{
    return on ? "on" : "off";
}

static void print_state(GString *buf, const AgeInfo *info)
{
    g_string_append_printf(buf, "format: %s", info->format);
    if (info->has_levels) {
        g_string_append_printf(buf, ", %" PRIi64 " levels for %" PRIi64 " bits",
                               info->levels, info->gpa_bits);
    }
    g_string_append_c(buf, '\n');
    g_string_append_printf(buf, "leaves: %s at most\n",
                           AgeLeafSize_str(info->page_size));
    g_string_append_printf(buf, "hw-ad: %s\n", on_off(info->hw_ad));
    if (info->has_haft) {
        g_string_append_printf(buf, "haft: %s\n", on_off(info->haft));
    }
    g_string_append_printf(buf, "flush: %s%s\n", AgeFlush_str(info->flush),
                           info->flush_pending ? " (one is pending)" : "");
    if (!info->test_clear_young) {
        g_string_append_printf(buf, "harvests are refused: %s\n",
                               info->reason);
    }
    g_string_append_printf(buf, "generation: %" PRIu64 "\n",
                           info->generation);
}

/* Slots whose leaves are smaller than those that were asked for say so. */
static void print_slot(GString *buf, const AgeSlot *slot, AgeLeafSize page_size)
{
    g_string_append_printf(buf, "  %-8s %016" PRIx64 "-%016" PRIx64
                           " hva %016" PRIx64 "%s%s",
                           slot->address_space, slot->gpa,
                           slot->gpa + slot->size - 1, slot->hva,
                           slot->read_only ? " read-only" : "",
                           slot->device ? " device" : "");
    if (slot->leaf_size < page_size) {
        g_string_append_printf(buf, " leaves of %s",
                               AgeLeafSize_str(slot->leaf_size));
    }
    g_string_append_printf(buf, " %s", slot->backend ?: slot->block);
    if (slot->has_node) {
        g_string_append_printf(buf, " node %" PRIi64, slot->node);
    }
    g_string_append_c(buf, '\n');
}

static void print_slots(GString *buf, const AgeSlotList *list,
                        AgeLeafSize page_size)
{
    g_string_append(buf, "slots:\n");
    for (; list; list = list->next) {
        print_slot(buf, list->value, page_size);
    }
}

static void print_unserved(GString *buf, const AgeUnservedMemoryList *list)
{
    if (list) {
        g_string_append(buf, "not served:\n");
    }
    for (; list; list = list->next) {
        const AgeUnservedMemory *range = list->value;

        g_string_append_printf(buf, "  %-8s %016" PRIx64 "-%016" PRIx64
                               " %s\n",
                               range->address_space, range->gpa,
                               range->gpa + range->size - 1, range->reason);
    }
}

static void print_tables(GString *buf, const AgeTablesList *list)
{
    g_string_append(buf, list ? "tables:" : "tables: none\n");
    for (; list; list = list->next) {
        g_string_append_printf(buf, " %" PRIu64 " at level %" PRIi64 "%s",
                               list->value->tables, list->value->level,
                               list->next ? "," : "\n");
    }
}

static void print_counters(GString *buf, const AgeCounters *c)
{
    const struct {
        const char *name;
        uint64_t value;
    } counters[] = {
        { "fills", c->fills },
        { "violations", c->violations },
        { "accessed-set", c->accessed_set },
        { "dirty-set", c->dirty_set },
        { "unmapped", c->unmapped },
        { "denied", c->denied },
        { "retries", c->retries },
        { "harvested", c->harvested },
        { "cleared", c->cleared },
        { "dirty-cleared", c->dirty_cleared },
        { "zapped", c->zapped },
        { "inherited", c->inherited },
        { "skipped-tables", c->skipped_tables },
        { "flushes", c->flushes },
    };

    g_string_append(buf, "counters:\n");
    for (unsigned i = 0; i < ARRAY_SIZE(counters); i++) {
        g_string_append_printf(buf, "  %-16s %" PRIu64 "\n", counters[i].name,
                               counters[i].value);
    }
}

static HumanReadableText *hmp_info_age(Error **errp)
{
    g_autoptr(AgeInfo) info = qmp_query_age(errp);
    g_autoptr(GString) buf = g_string_new("");

    if (!info) {
        return NULL;
    }
    g_string_append_printf(buf, "version: %s\n", info->version);
    if (!info->enabled) {
        g_string_append(buf, "the age accelerator is not in use\n");
        return human_readable_text_from_str(buf);
    }
    print_state(buf, info);
    print_slots(buf, info->slots, info->page_size);
    print_unserved(buf, info->unserved);
    print_tables(buf, info->tables);
    print_counters(buf, info->counters);
    return human_readable_text_from_str(buf);
}

static void print_result(Monitor *mon, const AgeRangeResult *r)
{
    const AgeRangeList *l = r->runs;

    for (unsigned shown = 0; l && shown < RUNS_SHOWN; shown++, l = l->next) {
        monitor_printf(mon, "  %016" PRIx64 "-%016" PRIx64 "\n",
                       l->value->start, l->value->end - 1);
    }
    if (l || r->bitmap) {
        monitor_printf(mon, "  ...\n");
    }
    monitor_printf(mon, "%" PRIu64 " of %" PRIu64 " pages are young\n",
                   r->young_pages, (r->end - r->start) >> AGE_PAGE_SHIFT);
    if (!r->handled) {
        monitor_printf(mon, "refused by %s\n", r->reason);
    }
}

static void hmp_age_harvest(Monitor *mon, const QDict *qdict)
{
    uint64_t start = qdict_get_int(qdict, "start");
    uint64_t end = qdict_get_int(qdict, "end");
    bool test = qdict_get_try_bool(qdict, "test", false);
    bool flush = qdict_get_try_bool(qdict, "flush", false);
    AgeRangeArg range = { .start = start, .end = end };
    AgeRangeArgList list = { .value = &range };
    g_autoptr(AgeHarvestResult) result = NULL;
    Error *err = NULL;

    result = qmp_age_test_clear_young(true, &list, false, 0, NULL, true, !test,
                                      false, false, true,
                                      flush ? AGE_FLUSH_REQUEST
                                            : AGE_FLUSH_NONE,
                                      true, AGE_RESULT_FORMAT_RUNS, &err);
    if (hmp_handle_error(mon, err)) {
        return;
    }
    print_result(mon, result->ranges->value);
}

static void age_hmp_register(void)
{
    monitor_register_hmp_info_hrt("age", hmp_info_age);
    monitor_register_hmp("age_harvest", false, hmp_age_harvest);
}

type_init(age_hmp_register);
