/*
 * HMP: info age_history
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/timer.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-age-history.h"
#include "qapi/type-helpers.h"
#include "history-state.h"

/* A time as people say it: default bins are whole in one of these. */
static char *time_str(uint64_t ms)
{
    static const struct {
        uint64_t ms;
        const char *name;
    } unit[] = { { 3600000, "h" }, { 60000, "min" }, { 1000, "s" } };

    for (unsigned i = 0; i < ARRAY_SIZE(unit); i++) {
        if (ms && ms % unit[i].ms == 0) {
            return g_strdup_printf("%" PRIu64 " %s", ms / unit[i].ms,
                                   unit[i].name);
        }
    }
    return g_strdup_printf("%" PRIu64 " ms", ms);
}

static void print_state(GString *buf, const char *id,
                        const AgeHistoryInfo *info)
{
    g_autofree char *interval = time_str(info->interval);

    g_string_append_printf(buf, "history: %s\n", id);
    g_string_append_printf(buf, "interval: %s\n",
                           info->interval ? interval : "none");
    g_string_append_printf(buf, "flush: %s\n", AgeFlush_str(info->flush));
    g_string_append_printf(buf, "generation: %" PRIu64 "\n",
                           info->generation);
    g_string_append_printf(buf, "harvests: %" PRIu64 ", %" PRIu64 " missed, "
                           "the last took %" PRIu64 " us\n", info->harvests,
                           info->missed, info->pass_ns / SCALE_US);
}

static void print_bins(GString *buf, const AgeHistoryInfo *info)
{
    const AgePromotedBinList *promoted = info->promoted;

    g_string_append(buf, "idle for            memory   pages touched again\n");
    for (AgeIdleBinList *l = info->idle; l; l = l->next) {
        g_autofree char *from = time_str(l->value->from_ms);
        g_autofree char *size = size_to_str(l->value->bytes);

        g_string_append_printf(buf, "  >= %-8s %12s %21" PRIu64 "\n", from,
                               size, promoted->value->pages);
        promoted = promoted->next;
    }
}

static HumanReadableText *hmp_info_age_history(Error **errp)
{
    g_autoptr(HistoryState) s = age_history_any();
    g_autoptr(AgeHistoryInfo) info = NULL;
    g_autoptr(GString) buf = g_string_new("");
    g_autofree char *untouched = NULL;

    if (!s) {
        g_string_append(buf, "there is no history; add one with object_add "
                        "age-history,id=h0\n");
        return human_readable_text_from_str(buf);
    }
    info = qmp_query_age_history(s->id, false, NULL, false, false, errp);
    if (!info) {
        return NULL;
    }
    untouched = size_to_str(info->untouched);
    print_state(buf, s->id, info);
    print_bins(buf, info);
    g_string_append_printf(buf, "never touched  %12s\n", untouched);
    return human_readable_text_from_str(buf);
}

static void history_hmp_register(void)
{
    monitor_register_hmp_info_hrt("age_history", hmp_info_age_history);
}

type_init(history_hmp_register);
