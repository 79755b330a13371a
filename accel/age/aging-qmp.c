/*
 * QMP: age-clear-young and age-test-young
 *
 * In band or out of band, like age-test-clear-young.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-age.h"
#include "system/replay.h"
#include "age-int.h"
#include "ranges.h"
#include "vcpu.h"

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

    if (!age_ranges_init(&state, type, errp)) {
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

static void clear_piece(void *opaque, uint64_t start, uint64_t end,
                        uint64_t first_bit)
{
    bool *young = opaque;

    *young |= age_clear_young(start, end);
}

/* With flush=request */
static void clear_flush_piece(void *opaque, uint64_t start, uint64_t end,
                              uint64_t first_bit)
{
    bool *young = opaque;

    *young |= age_clear_flush_young(start, end);
}

static void test_piece(void *opaque, uint64_t start, uint64_t end,
                       uint64_t first_bit)
{
    bool *young = opaque;

    *young = *young || age_test_young(start, end);
}

/* Age each range by @fn. */
static AgeSpanResultList *age_spans(AgeSpanList *list, AgeAddressType type,
                                    AgePieceFunc *fn)
{
    AgeSpanResultList *results = NULL, **tail = &results;

    for (; list; list = list->next) {
        AgeSpanResult *result = g_new0(AgeSpanResult, 1);

        result->start = list->value->start;
        result->end = list->value->end;
        age_ranges_foreach(type, result->start, result->end, fn,
                           &result->young);
        QAPI_LIST_APPEND(tail, result);
    }
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
    result->begin_ns = get_clock();
    result->ranges = age_spans(list, address,
                               flush == AGE_FLUSH_REQUEST ? clear_flush_piece
                                                          : clear_piece);
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
    result->begin_ns = get_clock();
    result->ranges = age_spans(list, address, test_piece);
    result->end_ns = get_clock();
    result->flush_pending = age_vcpu_flush_pending();
    return result;
}
