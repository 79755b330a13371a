/*
 * QMP: age-clear-young and age-test-young
 *
 * In band or out of band, like age-test-clear-young.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-age.h"
#include "system/replay.h"
#include "accel/age/mmu/generation.h"
#include "accel/age/mmu/pieces.h"
#include "accel/age/tcg/age-int.h"
#include "accel/age/tcg/vcpu.h"
#include "ranges.h"
#include "unsent.h"

bool age_parse_flush(bool has_flush, AgeFlush *flush, Error **errp)
{
    if (!has_flush) {
        *flush = age_state.flush;
    }
    if (*flush == AGE_FLUSH_REQUEST && replay_mode != REPLAY_MODE_NONE) {
        error_setg(errp, "TLBs can't be flushed under record/replay; use "
                   "\"flush\": \"none\"");
        return false;
    }
    return true;
}

static bool check_ranges(AgeSpanList *list, AgeAddressType type, Error **errp)
{
    AgeRanges state;

    if (!age_check_unsent(errp) || !age_ranges_init(&state, type, errp)) {
        return false;
    }
    for (; list; list = list->next) {
        if (!age_ranges_check(&state, list->value->start, list->value->end,
                              errp)) {
            return false;
        }
    }
    if (!state.num) {
        error_setg(errp, "no ranges given");
        return false;
    }
    return true;
}

/**
 * Aging: a command under way
 *
 * @result: of each range
 * @age: ages host memory, and tells whether any was young
 * @test_only: it only looks
 */
typedef struct Aging {
    AgeSpanResult **result;
    bool (*age)(uint64_t start, uint64_t end);
    bool test_only;
} Aging;

/* What is asked for once */
static void age_alone(Aging *a, const AgePiece *piece)
{
    bool *young = &a->result[piece->range]->young;

    if (!*young || !a->test_only) {
        *young |= a->age(piece->start, piece->end);
    }
}

/*
 * What is asked for several times, of which each page is made old once.  Parts
 * may be parts of one block, which only the first would find young: so look at
 * all of them before.
 */
static void age_shared(Aging *a, const AgePiece *piece, unsigned num)
{
    g_autoptr(GArray) parts = age_pieces_parts(piece, num);
    AgePart *part = (AgePart *)parts->data;
    bool look = !a->test_only && parts->len > 1;

    for (unsigned i = 0; look && i < parts->len; i++) {
        part[i].young = age_test_young(part[i].start, part[i].end);
    }
    for (unsigned i = 0; i < parts->len; i++) {
        part[i].young |= a->age(part[i].start, part[i].end);
    }
    for (unsigned i = 0; i < num; i++) {
        a->result[piece[i].range]->young |= age_piece_young(&piece[i], part,
                                                            parts->len);
    }
}

static void age_reached(void *opaque, const AgePiece *piece, unsigned num)
{
    if (num == 1) {
        age_alone(opaque, piece);
    } else {
        age_shared(opaque, piece, num);
    }
}

/* Nothing is known of them yet. */
static AgeSpanResultList *new_results(AgeSpanList *list, GPtrArray *array)
{
    AgeSpanResultList *results = NULL, **tail = &results;

    for (; list; list = list->next) {
        AgeSpanResult *result = g_new0(AgeSpanResult, 1);

        result->start = list->value->start;
        result->end = list->value->end;
        g_ptr_array_add(array, result);
        QAPI_LIST_APPEND(tail, result);
    }
    return results;
}

/* Age all ranges by @age. */
static AgeSpanResultList *age_spans(AgeSpanList *list, AgeAddressType type,
                                    bool (*age)(uint64_t start, uint64_t end),
                                    bool test_only)
{
    g_autoptr(GArray) pieces = g_array_new(false, false, sizeof(AgePiece));
    g_autoptr(GPtrArray) array = g_ptr_array_new();
    AgeSpanResultList *results = new_results(list, array);
    Aging a = {
        .result = (AgeSpanResult **)array->pdata,
        .age = age,
        .test_only = test_only,
    };

    RCU_READ_LOCK_GUARD();
    for (unsigned i = 0; i < array->len; i++) {
        age_ranges_collect(pieces, type, i, a.result[i]->start,
                           a.result[i]->end);
    }
    age_pieces_foreach(pieces, age_block_size(), age_reached, &a);
    return results;
}

AgeAgingResult *qmp_age_clear_young(AgeSpanList *list, bool has_address,
                                    AgeAddressType address, bool has_flush,
                                    AgeFlush flush, Error **errp)
{
    AgeAgingResult *result;

    address = has_address ? address : AGE_ADDRESS_TYPE_GPA;
    if (!check_ranges(list, address, errp) ||
        !age_parse_flush(has_flush, &flush, errp)) {
        return NULL;
    }
    result = g_new0(AgeAgingResult, 1);
    result->generation = age_generation();
    result->begin_ns = get_clock();
    result->ranges = age_spans(list, address,
                               flush == AGE_FLUSH_REQUEST
                               ? age_clear_flush_young : age_clear_young,
                               false);
    if (flush == AGE_FLUSH_REQUEST) {
        /* What others cleared before counts as well. */
        age_vcpu_request_flush();
    }
    result->end_ns = get_clock();
    result->flush_pending = age_vcpu_flush_pending();
    return result;
}

AgeAgingResult *qmp_age_test_young(AgeSpanList *list, bool has_address,
                                   AgeAddressType address, Error **errp)
{
    AgeAgingResult *result;

    address = has_address ? address : AGE_ADDRESS_TYPE_GPA;
    if (!check_ranges(list, address, errp)) {
        return NULL;
    }
    result = g_new0(AgeAgingResult, 1);
    result->generation = age_generation();
    result->begin_ns = get_clock();
    result->ranges = age_spans(list, address, age_test_young, true);
    result->end_ns = get_clock();
    result->flush_pending = age_vcpu_flush_pending();
    return result;
}
