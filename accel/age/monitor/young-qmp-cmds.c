/*
 * QMP: age-clear-young and age-test-young
 *
 * In band or out of band, like age-test-clear-young.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-age.h"
#include "accel/age/mmu/pieces.h"
#include "command.h"
#include "range.h"

static bool check_ranges(AgeRangeList *list, AgeAddressType type, Error **errp)
{
    AgeRangeCheck check = {
        .type = type,
        .max_pages = AGE_MAX_PAGES,
        .way_out = "use several commands",
    };

    if (!age_check_unsent(errp) || !age_check_enabled(errp)) {
        return false;
    }
    for (; list; list = list->next) {
        if (!age_range_check(&check, list->value, errp)) {
            return false;
        }
    }
    return age_range_check_num(&check, errp);
}

/**
 * Aging: a command under way
 *
 * @result: of each range
 * @age: ages host memory, and tells whether any was young
 * @test_only: it only looks
 */
typedef struct Aging {
    AgeAgingRange **result;
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
static AgeAgingRangeList *new_results(AgeRangeList *list, GPtrArray *array)
{
    AgeAgingRangeList *results = NULL, **tail = &results;

    for (; list; list = list->next) {
        AgeAgingRange *result = g_new0(AgeAgingRange, 1);

        result->start = list->value->start;
        result->end = list->value->end;
        g_ptr_array_add(array, result);
        QAPI_LIST_APPEND(tail, result);
    }
    return results;
}

/* Age all ranges by @a->age. */
static AgeAgingRangeList *age_ranges(Aging *a, AgeRangeList *list,
                                     AgeAddressType type)
{
    g_autoptr(GArray) pieces = g_array_new(false, false, sizeof(AgePiece));
    g_autoptr(GPtrArray) array = g_ptr_array_new();
    AgeAgingRangeList *results = new_results(list, array);

    a->result = (AgeAgingRange **)array->pdata;
    RCU_READ_LOCK_GUARD();
    for (unsigned i = 0; list; list = list->next, i++) {
        age_range_reach(type, NULL, i, list->value, pieces);
    }
    age_pieces_foreach(pieces, age_block_size(), age_reached, a);
    return results;
}

/* @flush: also request what others made due before */
static AgeAgingResult *aging_run(Aging *a, AgeRangeList *list,
                                 AgeAddressType type, AgeFlush flush)
{
    AgeAgingResult *result = g_new0(AgeAgingResult, 1);

    age_pass_begin(qapi_AgeAgingResult_base(result));
    result->ranges = age_ranges(a, list, type);
    age_pass_end(qapi_AgeAgingResult_base(result), flush);
    return result;
}

AgeAgingResult *qmp_age_clear_young(AgeRangeList *list, bool has_address,
                                    AgeAddressType address, bool has_flush,
                                    AgeFlush flush, Error **errp)
{
    Aging a = {};

    address = has_address ? address : AGE_ADDRESS_TYPE_GPA;
    if (!check_ranges(list, address, errp) ||
        !age_parse_flush(has_flush, &flush, errp)) {
        return NULL;
    }
    a.age = flush == AGE_FLUSH_REQUEST ? age_clear_flush_young
                                       : age_clear_young;
    return aging_run(&a, list, address, flush);
}

AgeAgingResult *qmp_age_test_young(AgeRangeList *list, bool has_address,
                                   AgeAddressType address, Error **errp)
{
    Aging a = { .age = age_test_young, .test_only = true };

    address = has_address ? address : AGE_ADDRESS_TYPE_GPA;
    if (!check_ranges(list, address, errp)) {
        return NULL;
    }
    return aging_run(&a, list, address, AGE_FLUSH_NONE);
}
