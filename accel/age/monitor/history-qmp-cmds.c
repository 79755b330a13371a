/*
 * QMP: age-history-read
 *
 * In band or out of band, like age-test-clear-young.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-age-history.h"
#include "accel/age/mmu/pieces.h"
#include "accel/age/tcg/age-int.h"
#include "accel/age/trace.h"
#include "command.h"
#include "harvest-command.h"
#include "history-thread.h"

/* Ranges, as the other commands have them; the caller frees them. */
static AgeRangeArgList *range_args(const AgeHistoryRangeArgList *list)
{
    AgeRangeArgList *args = NULL, **tail = &args;

    for (; list; list = list->next) {
        AgeRangeArg *arg = g_new0(AgeRangeArg, 1);

        arg->start = list->value->start;
        arg->end = list->value->end;
        arg->memory = g_strdup(list->value->memory);
        arg->has_offset = list->value->has_offset;
        arg->offset = list->value->offset;
        QAPI_LIST_APPEND(tail, arg);
    }
    return args;
}

/* A client's memory is only written to: what is there asks for nothing. */
static void ignore_bitmaps(HarvestCommand *c)
{
    for (unsigned i = 0; i < c->ranges->len; i++) {
        HarvestMap *map = &age_command_range(c, i)->map;

        g_clear_pointer(&map->bits, g_free);
        map->test = true;
    }
}

/* Numbers */

static bool check_since(HistoryState *s, AgeSince what, uint64_t since,
                        Error **errp)
{
    const char *why;

    switch (what) {
    case AGE_SINCE_KNOWN:
        return true;
    case AGE_SINCE_FUTURE:
        error_setg(errp, "history '%s' has not handed out the number %" PRIu64
                   "; ask with \"next\" of an answer of its", s->id, since);
        return false;
    case AGE_SINCE_GENERATION:
        why = "a state of the machine, or the history itself, is newer";
        break;
    default:
        why = "it is too long ago";
        break;
    }
    error_setg(errp, "history '%s' does not know any more what was accessed "
               "since %" PRIu64 ", as %s; read without \"since\", and go on "
               "with \"next\" of that answer", s->id, since, why);
    return false;
}

/* If it was deleted meanwhile, nobody may have stamped what was cleared. */
static bool check_attached(const HistoryState *s, Error **errp)
{
    RCU_READ_LOCK_GUARD();
    if (age_history_current() == &s->h) {
        return true;
    }
    error_setg(errp, "history '%s' was deleted while it was read", s->id);
    return false;
}

/* Harvest */

/* Keep why a range was refused, and forget what was found: that is stamped. */
static void harvest_and_forget(HarvestCommand *c)
{
    age_command_harvest(c);
    for (unsigned i = 0; i < c->ranges->len; i++) {
        HarvestRange *r = age_command_range(c, i);
        AgeAnswerList *answers = g_steal_pointer(&r->answers);

        age_harvest_range_forget(r);
        r->answers = answers;
    }
}

/* Look-up */

/**
 * Found: a piece of a range that is looked up
 *
 * @young: where what is found goes
 * @piece: the piece
 */
typedef struct Found {
    AgeSparse *young;
    const AgePiece *piece;
} Found;

static void found_pages(void *opaque, uint64_t page, unsigned n, uint64_t bits)
{
    Found *f = opaque;
    uint64_t end = f->piece->end >> AGE_PAGE_SHIFT;
    unsigned long word = bits;

    age_sparse_or(f->young, f->piece->first_bit + (end - (page + n)), &word, 0,
                  n);
}

static AgeSince look_up_piece(HistoryState *s, unsigned kind, uint64_t since,
                              AgeSparse *young, const AgePiece *piece)
{
    Found f = { .young = young, .piece = piece };

    return age_history_since(&s->h, kind, since,
                             piece->start >> AGE_PAGE_SHIFT,
                             (piece->end - piece->start) >> AGE_PAGE_SHIFT,
                             found_pages, &f);
}

/* All pieces of all ranges; what they are is looked up by the way. */
static AgeSince look_up(HistoryState *s, HarvestCommand *c, unsigned kind,
                        uint64_t since)
{
    AgeSince what = AGE_SINCE_KNOWN;

    for (unsigned i = 0; i < c->ranges->len; i++) {
        g_autoptr(GArray) pieces = g_array_new(false, false, sizeof(AgePiece));
        HarvestRange *r = age_command_range(c, i);

        age_sparse_init(&r->young, r->map.pages);
        WITH_RCU_READ_LOCK_GUARD() {
            age_range_reach(c->mode.type, c->mode.space, i,
                            qapi_AgeRangeArg_base(r->map.arg), pieces);
        }
        for (unsigned k = 0; k < pieces->len && what == AGE_SINCE_KNOWN; k++) {
            what = look_up_piece(s, kind, since, &r->young,
                                 &g_array_index(pieces, AgePiece, k));
        }
        r->young_count = age_sparse_count(&r->young);
    }
    return what;
}

/* Answer */

static AgeHistoryRange *range_answer(HarvestCommand *c, HarvestRange *r,
                                     uint64_t *runs_left)
{
    g_autoptr(AgeRangeResult) told =
        age_harvest_range_answer(r, c->format, !age_command_only_runs(c),
                                 runs_left);
    AgeHistoryRange *answer = g_new0(AgeHistoryRange, 1);

    answer->start = told->start;
    answer->end = told->end;
    answer->pages = r->young_count.ones;
    answer->bitmap = g_steal_pointer(&told->bitmap);
    answer->has_runs = told->has_runs;
    answer->runs = g_steal_pointer(&told->runs);
    answer->reason = g_steal_pointer(&told->reason);
    return answer;
}

static void set_ranges(HarvestCommand *c, AgeHistoryResult *result)
{
    AgeHistoryRangeList **tail = &result->ranges;
    uint64_t runs_left = AGE_MAX_RUNS;

    for (unsigned i = 0; i < c->ranges->len; i++) {
        QAPI_LIST_APPEND(tail, range_answer(c, age_command_range(c, i),
                                            &runs_left));
    }
}

/*
 * The number is taken after the harvest and before the look-up: what is stamped
 * with a later one may be told, and is told again next time.
 */
static AgeHistoryResult *read_history(HistoryState *s, HarvestCommand *c,
                                      unsigned kind, uint64_t since,
                                      bool harvest, Error **errp)
{
    g_autoptr(AgeHistoryResult) result = g_new0(AgeHistoryResult, 1);
    AgePass *pass = qapi_AgeHistoryResult_base(result);

    age_pass_begin(pass);
    if (harvest) {
        harvest_and_forget(c);
        age_history_harvested(s, pass->begin_ns);
    }
    result->next = age_history_hand_out(s);
    if (!check_attached(s, errp) ||
        !check_since(s, look_up(s, c, kind, since), since, errp) ||
        !age_command_check_runs(c, errp)) {
        return NULL;
    }
    set_ranges(c, result);
    age_pass_end(pass, AGE_FLUSH_NONE);
    trace_age_history_read(s->id, since, result->next);
    return g_steal_pointer(&result);
}

AgeHistoryResult *qmp_age_history_read(const char *history,
                                       bool has_since, uint64_t since,
                                       bool has_harvest, bool harvest,
                                       bool has_dirty, bool dirty,
                                       bool has_ranges,
                                       AgeHistoryRangeArgList *list,
                                       const char *space,
                                       bool has_format, AgeResultFormat format,
                                       Error **errp)
{
    g_autoptr(HistoryState) s = NULL;
    g_autoptr(AgeRangeArgList) args = range_args(list);
    g_auto(HarvestCommand) c = {
        .mode.type = AGE_ADDRESS_TYPE_GPA,
        .mode.dirty = has_dirty && dirty,
        .format = has_format ? format : AGE_RESULT_FORMAT_BITMAP,
    };
    unsigned kind;

    since = has_since ? since : 0;
    s = age_check_unsent(errp) ? age_history_find(history, errp) : NULL;
    if (!s || !age_history_kind(s, c.mode.dirty, &kind, errp) ||
        !check_since(s, age_history_what_is(&s->h, since), since, errp) ||
        !age_command_parse(&c, has_ranges, args, space, errp)) {
        return NULL;
    }
    ignore_bitmaps(&c);
    return read_history(s, &c, kind, since, !has_harvest || harvest, errp);
}
