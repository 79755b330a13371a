/*
 * Statistics of the accelerator: query-stats, info stats
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qapi/error.h"
#include "hw/core/cpu.h"
#include "system/age.h"
#include "system/stats.h"
#include "system/system.h"
#include "accel/age/tcg/age-int.h"
#include "accel/age/tcg/flush.h"
#include "accel/age/tcg/vcpu.h"
#include "history-state.h"

/* Places of a histogram of milliseconds: the last has 12 days and more */
#define PLACES  32

/**
 * Numbers: what statistics are made of
 *
 * @walks: what all walkers did, or one
 * @flushes: flushes that were done
 * @history: NULL if there is none
 */
typedef struct Numbers {
    AgeWalkStats walks;
    uint64_t flushes;
    HistoryState *history;
} Numbers;

/* One that is a number: @get is its value. */
typedef struct Scalar {
    const char *name;
    StatsTarget target;
    StatsType type;
    bool bytes;
    bool history;
    uint64_t (*get)(const Numbers *n);
} Scalar;

/* Of the history: memory by the time it has been idle, in bytes */
#define IDLE_BYTES  "idle-bytes"

static uint64_t get_fills(const Numbers *n)
{
    return n->walks.fills;
}

static uint64_t get_violations(const Numbers *n)
{
    return n->walks.violations;
}

static uint64_t get_accessed(const Numbers *n)
{
    return n->walks.accessed;
}

static uint64_t get_dirty(const Numbers *n)
{
    return n->walks.dirty;
}

static uint64_t get_flushes(const Numbers *n)
{
    return n->flushes;
}

static uint64_t get_harvested(const Numbers *n)
{
    return qatomic_read(&age_state.harvested);
}

static uint64_t get_cleared(const Numbers *n)
{
    return qatomic_read(&age_state.mmu.cleared);
}

static uint64_t get_dirty_cleared(const Numbers *n)
{
    return qatomic_read(&age_state.mmu.dirty_cleared);
}

static uint64_t get_passes(const Numbers *n)
{
    return qatomic_read(&n->history->harvests);
}

static uint64_t get_missed(const Numbers *n)
{
    return qatomic_read(&n->history->missed);
}

static uint64_t get_young(const Numbers *n)
{
    return qatomic_read(&n->history->young);
}

static const Scalar scalars[] = {
    { "fills", STATS_TARGET_VM, .get = get_fills },
    { "violations", STATS_TARGET_VM, .get = get_violations },
    { "accessed-set", STATS_TARGET_VM, .get = get_accessed },
    { "dirty-set", STATS_TARGET_VM, .get = get_dirty },
    { "harvested", STATS_TARGET_VM, .get = get_harvested },
    { "cleared", STATS_TARGET_VM, .get = get_cleared },
    { "dirty-cleared", STATS_TARGET_VM, .get = get_dirty_cleared },
    { "flushes", STATS_TARGET_VM, .get = get_flushes },
    { "history-harvests", STATS_TARGET_VM, .history = true,
      .get = get_passes },
    { "history-missed", STATS_TARGET_VM, .history = true, .get = get_missed },
    { "young-bytes", STATS_TARGET_VM, STATS_TYPE_INSTANT, .bytes = true,
      .history = true, .get = get_young },
    { "fills", STATS_TARGET_VCPU, .get = get_fills },
    { "flushes", STATS_TARGET_VCPU, .get = get_flushes },
};

/* Values */

static Stats *new_stats(const char *name, QType type)
{
    Stats *stats = g_new0(Stats, 1);

    stats->name = g_strdup(name);
    stats->value = g_new0(StatsValue, 1);
    stats->value->type = type;
    return stats;
}

/* Place 0 is for less than 1 ms, place i for 2^(i-1) ms up to 2^i. */
static Stats *idle_bytes(const Numbers *n)
{
    Stats *stats = new_stats(IDLE_BYTES, QTYPE_QLIST);
    uint64List **tail = &stats->value->u.list;
    uint64_t bin[PLACES - 1], pages[PLACES];

    for (unsigned i = 0; i < PLACES - 1; i++) {
        bin[i] = 1ULL << i;
    }
    age_history_idle(&n->history->h, 0, age_history_now_ms(), bin, PLACES - 1,
                     pages);
    for (unsigned i = 0; i < PLACES; i++) {
        QAPI_LIST_APPEND(tail, pages[i] << AGE_PAGE_SHIFT);
    }
    return stats;
}

/* In the order of the schema, as HMP wants it */
static StatsList *list_stats(const Numbers *n, StatsTarget target,
                             strList *names)
{
    StatsList *list = NULL, **tail = &list;

    for (unsigned i = 0; i < ARRAY_SIZE(scalars); i++) {
        const Scalar *s = &scalars[i];

        if (s->target == target && (!s->history || n->history) &&
            apply_str_list_filter(s->name, names)) {
            Stats *stats = new_stats(s->name, QTYPE_QNUM);

            stats->value->u.scalar = s->get(n);
            QAPI_LIST_APPEND(tail, stats);
        }
    }
    if (target == STATS_TARGET_VM && n->history &&
        apply_str_list_filter(IDLE_BYTES, names)) {
        QAPI_LIST_APPEND(tail, idle_bytes(n));
    }
    return list;
}

static void query_vm(StatsResultList **result, strList *names)
{
    g_autoptr(HistoryState) history = age_history_any();
    Numbers n = { .history = history };
    StatsList *list;

    age_vcpu_stats(&n.walks);
    n.flushes = age_flush_count();
    list = list_stats(&n, STATS_TARGET_VM, names);
    if (list) {
        add_stats_entry(result, STATS_PROVIDER_AGE, NULL, list);
    }
}

static void query_vcpu(StatsResultList **result, CPUState *cpu, strList *names,
                       strList *targets)
{
    g_autofree char *path = object_get_canonical_path(OBJECT(cpu));
    Numbers n = {};
    StatsList *list;

    if (!cpu->accel || !apply_str_list_filter(path, targets)) {
        return;
    }
    n.walks.fills = age_vcpu_fills(cpu->accel);
    n.flushes = qatomic_read(&cpu->accel->flushes);
    list = list_stats(&n, STATS_TARGET_VCPU, names);
    if (list) {
        add_stats_entry(result, STATS_PROVIDER_AGE, path, list);
    }
}

/* vCPUs come and go with the BQL held. */
static void query_stats(StatsResultList **result, StatsTarget target,
                        strList *names, strList *targets, Error **errp)
{
    CPUState *cpu;

    assert(bql_locked());
    if (target == STATS_TARGET_VM) {
        query_vm(result, names);
    } else if (target == STATS_TARGET_VCPU) {
        CPU_FOREACH(cpu) {
            query_vcpu(result, cpu, names, targets);
        }
    }
}

/* Schema */

static StatsSchemaValue *scalar_schema(const Scalar *s)
{
    StatsSchemaValue *value = g_new0(StatsSchemaValue, 1);

    value->name = g_strdup(s->name);
    value->type = s->type;
    value->has_unit = s->bytes;
    value->unit = STATS_UNIT_BYTES;
    return value;
}

static StatsSchemaValue *idle_schema(void)
{
    StatsSchemaValue *value = g_new0(StatsSchemaValue, 1);

    value->name = g_strdup(IDLE_BYTES);
    value->type = STATS_TYPE_LOG2_HISTOGRAM;
    value->has_unit = value->has_base = true;
    value->unit = STATS_UNIT_SECONDS;
    value->base = 10;
    value->exponent = -3;
    return value;
}

static StatsSchemaValueList *list_schema(StatsTarget target)
{
    StatsSchemaValueList *list = NULL, **tail = &list;

    for (unsigned i = 0; i < ARRAY_SIZE(scalars); i++) {
        if (scalars[i].target == target) {
            QAPI_LIST_APPEND(tail, scalar_schema(&scalars[i]));
        }
    }
    if (target == STATS_TARGET_VM) {
        QAPI_LIST_APPEND(tail, idle_schema());
    }
    return list;
}

static void query_schemas(StatsSchemaList **result, Error **errp)
{
    add_stats_schema(result, STATS_PROVIDER_AGE, STATS_TARGET_VM,
                     list_schema(STATS_TARGET_VM));
    add_stats_schema(result, STATS_PROVIDER_AGE, STATS_TARGET_VCPU,
                     list_schema(STATS_TARGET_VCPU));
}

/* What the accelerator is, is known by then. */
static void machine_done(Notifier *n, void *data)
{
    if (age_enabled()) {
        add_stats_callbacks(STATS_PROVIDER_AGE, query_stats, query_schemas);
    }
}

static void stats_register(void)
{
    static Notifier done = { .notify = machine_done };

    qemu_add_machine_init_done_notifier(&done);
}

type_init(stats_register);
