/*
 * QMP: query-age-history and age-history-ages
 *
 * In band or out of band, like age-test-clear-young.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-age-history.h"
#include "accel/age/mmu/generation.h"
#include "accel/age/mmu/pieces.h"
#include "all-memory.h"
#include "command.h"
#include "history-state.h"
#include "range.h"
#include "shared-memory.h"

#define MAX_BINS    1024

/* Pages whose idle times are written at a time: those of 1 GiB */
#define PART_PAGES  (1ULL << 18)

#define MINUTE      60000ULL
#define HOUR        (60 * MINUTE)

/* Distributions */

static const uint64_t default_bins[] = {
    1000, 2000, 5000, 10000, 30000, MINUTE, 2 * MINUTE, 5 * MINUTE,
    10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR, 24 * HOUR,
};

static GArray *parse_bins(bool has_bins, const uint64List *list, Error **errp)
{
    g_autoptr(GArray) bins = g_array_new(false, false, sizeof(uint64_t));

    if (!has_bins) {
        g_array_append_vals(bins, default_bins, ARRAY_SIZE(default_bins));
        return g_steal_pointer(&bins);
    }
    for (uint64_t last = 0; list; list = list->next) {
        if (list->value <= last) {
            error_setg(errp, "bin %" PRIu64 " comes after %" PRIu64 "; bins "
                       "ascend, from 1 ms on", list->value, last);
            return NULL;
        }
        last = list->value;
        g_array_append_val(bins, last);
    }
    if (!bins->len || bins->len > MAX_BINS) {
        error_setg(errp, "there are %u bins; give 1 to %u of them", bins->len,
                   MAX_BINS);
        return NULL;
    }
    return g_steal_pointer(&bins);
}

/* The @i-th bin; the first begins with 0, and the last has no end. */
static void set_times(AgeTimeBin *bin, const GArray *bins, unsigned i)
{
    bin->from_ms = i ? g_array_index(bins, uint64_t, i - 1) : 0;
    bin->has_to_ms = i < bins->len;
    bin->to_ms = bin->has_to_ms ? g_array_index(bins, uint64_t, i) : 0;
}

static AgeIdleBinList *idle_bins(const GArray *bins, const uint64_t *pages)
{
    AgeIdleBinList *list = NULL, **tail = &list;

    for (unsigned i = 0; i <= bins->len; i++) {
        AgeIdleBin *bin = g_new0(AgeIdleBin, 1);

        set_times(qapi_AgeIdleBin_base(bin), bins, i);
        bin->bytes = pages[i] << AGE_PAGE_SHIFT;
        QAPI_LIST_APPEND(tail, bin);
    }
    return list;
}

static AgePromotedBinList *promoted_bins(const GArray *bins,
                                         const uint64_t *pages)
{
    AgePromotedBinList *list = NULL, **tail = &list;

    for (unsigned i = 0; i <= bins->len; i++) {
        AgePromotedBin *bin = g_new0(AgePromotedBin, 1);

        set_times(qapi_AgePromotedBin_base(bin), bins, i);
        bin->pages = pages[i];
        QAPI_LIST_APPEND(tail, bin);
    }
    return list;
}

/* Each page of the host counts once, wherever the guest has it. */
static uint64_t all_pages(void)
{
    AgeRangeArgList *all = age_all_memory(AGE_ADDRESS_TYPE_HVA, NULL);
    uint64_t bytes = 0;

    for (AgeRangeArgList *l = all; l; l = l->next) {
        bytes += l->value->end - l->value->start;
    }
    qapi_free_AgeRangeArgList(all);
    return bytes >> AGE_PAGE_SHIFT;
}

static void set_bins(AgeHistoryInfo *info, HistoryState *s, unsigned kind,
                     const GArray *bins)
{
    const uint64_t *bin = (uint64_t *)bins->data;
    g_autofree uint64_t *pages = g_new(uint64_t, bins->len + 1);
    uint64_t touched = 0, all = all_pages();

    age_history_idle(&s->h, kind, info->now_ns / SCALE_MS, bin, bins->len,
                     pages);
    for (unsigned i = 0; i <= bins->len; i++) {
        touched += pages[i];
    }
    info->idle = idle_bins(bins, pages);
    info->untouched = (all - MIN(all, touched)) << AGE_PAGE_SHIFT;
    age_history_promoted(&s->h, kind, bin, bins->len, pages);
    info->promoted = promoted_bins(bins, pages);
}

static AgeHistoryInfo *history_info(HistoryState *s, unsigned kind,
                                    const GArray *bins)
{
    AgeHistoryInfo *info = g_new0(AgeHistoryInfo, 1);

    info->generation = age_generation();
    info->harvests = qatomic_read(&s->harvests);
    info->missed = qatomic_read(&s->missed);
    info->interval = s->interval;
    info->flush = s->flush;
    info->dirty = s->h.dirty;
    info->pass_ns = qatomic_read(&s->pass_ns);
    info->next = age_history_hand_out(s);
    info->now_ns = get_clock();
    set_bins(info, s, kind, bins);
    return info;
}

AgeHistoryInfo *qmp_query_age_history(const char *history, bool has_bins,
                                      uint64List *list, bool has_dirty,
                                      bool dirty, Error **errp)
{
    g_autoptr(HistoryState) s = NULL;
    g_autoptr(GArray) bins = NULL;
    unsigned kind;

    s = age_check_unsent(errp) ? age_history_find(history, errp) : NULL;
    if (!s || !age_history_kind(s, has_dirty && dirty, &kind, errp)) {
        return NULL;
    }
    bins = parse_bins(has_bins, list, errp);
    return bins ? history_info(s, kind, bins) : NULL;
}

/* Pages */

/**
 * Ages: a command that writes idle times
 *
 * @s: the history
 * @kind: which of its two kinds
 * @range: the range
 * @memory: where to write, as @offset bytes into a client's memory
 * @offset: see above
 * @now_ms: the time of now
 */
typedef struct Ages {
    HistoryState *s;
    unsigned kind;
    const AgeRange *range;
    const char *memory;
    uint64_t offset;
    uint64_t now_ms;
} Ages;

static bool check_memory(const Ages *a, const AgeRangeCheck *check,
                         Error **errp)
{
    uint64_t size, bytes = check->pages * sizeof(uint32_t);

    RCU_READ_LOCK_GUARD();
    if (!age_shared_find(a->memory, &size)) {
        age_range_error(check, a->range, errp, "names memory '%s', which was "
                        "not made known by age-share-memory", a->memory);
        return false;
    }
    if (!QEMU_IS_ALIGNED(a->offset, sizeof(uint32_t))) {
        age_range_error(check, a->range, errp, "has its ages at offset %"
                        PRIu64 ", which is no multiple of 4", a->offset);
        return false;
    }
    if (a->offset > size || size - a->offset < bytes) {
        age_range_error(check, a->range, errp, "has ages of %" PRIu64 " bytes "
                        "at offset %" PRIu64 " of memory '%s', which is of %"
                        PRIu64 " bytes", bytes, a->offset, a->memory, size);
        return false;
    }
    return true;
}

/*
 * Idle times of pages that the guest has side by side.  If another address
 * space has other memory there, what was used last counts.
 */
static void fill_piece(const Ages *a, const AgePiece *piece, uint32_t *idle)
{
    uint64_t pages = (piece->end - piece->start) >> AGE_PAGE_SHIFT;
    g_autofree uint32_t *own = g_new(uint32_t, pages);

    age_history_idle_ms(&a->s->h, a->kind, piece->start >> AGE_PAGE_SHIFT,
                        pages, a->now_ms, own);
    for (uint64_t i = 0; i < pages; i++) {
        idle[i] = MIN(idle[i], own[i]);
    }
}

/* Idle times of @part, into the client's memory.  Returns false if it went. */
static bool write_part(const Ages *a, AgeRange part, uint32_t *idle)
{
    g_autoptr(GArray) pieces = g_array_new(false, false, sizeof(AgePiece));
    uint64_t pages = (part.end - part.start) >> AGE_PAGE_SHIFT;
    uint64_t at = a->offset + ((part.start - a->range->start) >>
                               AGE_PAGE_SHIFT) * sizeof(*idle);
    uint64_t size;
    uint8_t *host;

    /* Where no memory is, as where it was never accessed */
    memset(idle, 0xff, pages * sizeof(*idle));
    RCU_READ_LOCK_GUARD();
    age_range_reach(AGE_ADDRESS_TYPE_GPA, NULL, 0, &part, pieces);
    for (unsigned i = 0; i < pieces->len; i++) {
        const AgePiece *p = &g_array_index(pieces, AgePiece, i);
        uint64_t behind = p->first_bit +
                          ((p->end - p->start) >> AGE_PAGE_SHIFT);

        fill_piece(a, p, idle + (pages - behind));
    }
    for (uint64_t i = 0; HOST_BIG_ENDIAN && i < pages; i++) {
        idle[i] = bswap32(idle[i]);
    }
    host = age_shared_find(a->memory, &size);
    if (!host || at > size || size - at < pages * sizeof(*idle)) {
        return false;
    }
    memcpy(host + at, idle, pages * sizeof(*idle));
    return true;
}

static bool write_ages(const Ages *a, Error **errp)
{
    g_autofree uint32_t *idle = g_new(uint32_t, PART_PAGES);
    AgeRange part = *a->range;

    for (; part.start < a->range->end; part.start = part.end) {
        part.end = MIN(a->range->end,
                       part.start + (PART_PAGES << AGE_PAGE_SHIFT));
        if (!write_part(a, part, idle)) {
            error_setg(errp, "memory '%s' went away while it was written to",
                       a->memory);
            return false;
        }
    }
    return true;
}

AgePass *qmp_age_history_ages(const char *history, AgeRange *range,
                              const char *memory, bool has_offset,
                              uint64_t offset, bool has_dirty, bool dirty,
                              Error **errp)
{
    AgeRangeCheck check = {
        .type = AGE_ADDRESS_TYPE_GPA,
        .max_pages = AGE_MAX_SPARSE_PAGES,
        .way_out = "use several commands",
    };
    Ages a = {
        .range = range,
        .memory = memory,
        .offset = has_offset ? offset : 0,
    };
    g_autoptr(HistoryState) s = NULL;
    g_autoptr(AgePass) pass = g_new0(AgePass, 1);

    s = age_check_unsent(errp) ? age_history_find(history, errp) : NULL;
    if (!s || !age_history_kind(s, has_dirty && dirty, &a.kind, errp) ||
        !age_range_check(&check, range, errp) ||
        !check_memory(&a, &check, errp)) {
        return NULL;
    }
    a.s = s;
    age_pass_begin(pass);
    a.now_ms = pass->begin_ns / SCALE_MS;
    if (!write_ages(&a, errp)) {
        return NULL;
    }
    age_pass_end(pass, AGE_FLUSH_NONE);
    return g_steal_pointer(&pass);
}
