/*
 * QMP: query-age and query-age-walk
 *
 * In band or out of band, like age-test-clear-young.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-age.h"
#include "exec/cpu-common.h"
#include "system/age-compat.h"
#include "system/numa.h"
#include "accel/age/age-version.h"
#include "accel/age/mmu/generation.h"
#include "accel/age/tcg/age-int.h"
#include "accel/age/tcg/flush.h"
#include "accel/age/tcg/vcpu.h"
#include "command.h"
#include "space.h"

/*
 * The NUMA node that a slot's memory is of, or -1.  Which backends are whose is
 * settled before there are slots.
 */
static int slot_node(const AgeMemSlot *slot)
{
    const NumaState *numa = current_machine->numa_state;
    Object *owner = memory_region_owner(slot->mr);

    for (int i = 0; owner && numa && i < numa->num_nodes; i++) {
        if (OBJECT(numa->nodes[i].node_memdev) == owner) {
            return i;
        }
    }
    return -1;
}

static AgeSlot *query_slot(const AgeMMU *mmu, const AgeAddressSpace *space,
                           const AgeMemSlot *slot)
{
    AgeSlot *info = g_new0(AgeSlot, 1);
    int node = slot_node(slot);

    info->address_space = g_strdup(space->name);
    info->gpa = slot->gpa;
    info->size = slot->size;
    info->hva = slot->hva;
    info->read_only = slot->readonly;
    info->device = slot->device;
    info->leaf_size = age_slot_leaf_height(slot, mmu->leaf_height);
    info->block = g_strdup(qemu_ram_get_idstr(slot->mr->ram_block));
    info->backend = g_strdup(slot->backend_id);
    info->has_node = node >= 0;
    info->node = node;
    return info;
}

static AgeSlotList *query_slots(const AgeMMU *mmu)
{
    AgeSlotList *list = NULL, **tail = &list;

    for (unsigned i = 0; i < age_mmu_num_spaces(mmu); i++) {
        const AgeAddressSpace *space = mmu->space[i];
        const AgeMemSlots *slots = age_memory_slots(&space->mem);

        for (unsigned k = 0; k < slots->num; k++) {
            QAPI_LIST_APPEND(tail, query_slot(mmu, space, &slots->slot[k]));
        }
    }
    return list;
}

static AgeUnservedMemoryList *query_unserved(const AgeMMU *mmu)
{
    AgeUnservedMemoryList *list = NULL, **tail = &list;

    for (unsigned i = 0; i < age_mmu_num_spaces(mmu); i++) {
        const AgeAddressSpace *space = mmu->space[i];
        const AgeMemSlots *slots = age_memory_slots(&space->mem);

        for (unsigned k = 0; k < slots->num_unserved; k++) {
            AgeUnservedMemory *info = g_new0(AgeUnservedMemory, 1);

            info->address_space = g_strdup(space->name);
            info->gpa = slots->unserved[k].gpa;
            info->size = slots->unserved[k].size;
            info->reason = g_strdup(slots->unserved[k].reason);
            QAPI_LIST_APPEND(tail, info);
        }
    }
    return list;
}

static AgeRootList *query_roots(const AgeMMU *mmu)
{
    AgeRootList *list = NULL, **tail = &list;

    for (unsigned i = 0; i < age_mmu_num_spaces(mmu); i++) {
        QAPI_LIST_APPEND(tail, age_space_root(mmu->space[i]));
    }
    return list;
}

static AgeTablesList *query_tables(const AgeMMU *mmu)
{
    AgeTablesList *list = NULL, **tail = &list;
    const AgeFormat *fmt = age_mmu_format(mmu);
    int top = age_mmu_num_spaces(mmu) ? mmu->geo.root_height : -1;

    for (int height = top; height >= 0; height--) {
        AgeTables *tables = g_new0(AgeTables, 1);

        tables->level = fmt->level(height);
        for (unsigned i = 0; i < age_mmu_num_spaces(mmu); i++) {
            tables->tables += qatomic_read(&mmu->space[i]->pt.tables[height]);
        }
        QAPI_LIST_APPEND(tail, tables);
    }
    return list;
}

static AgeCounters *query_counters(const AgeMMU *mmu)
{
    AgeCounters *c = g_new0(AgeCounters, 1);
    AgeWalkStats stats;

    age_vcpu_stats(&stats);
    c->flushes = age_flush_count();
    c->fills = stats.fills;
    c->violations = stats.violations;
    c->accessed_set = stats.accessed;
    c->dirty_set = stats.dirty;
    c->unmapped = stats.unmapped;
    c->denied = stats.denied;
    c->retries = stats.retries;
    c->harvested = qatomic_read(&age_state.harvested);
    c->cleared = qatomic_read(&mmu->cleared);
    c->dirty_cleared = qatomic_read(&mmu->dirty_cleared);
    c->skipped_tables = qatomic_read(&mmu->skipped);
    for (unsigned i = 0; i < age_mmu_num_spaces(mmu); i++) {
        c->zapped += qatomic_read(&mmu->space[i]->pt.zapped);
        c->inherited += qatomic_read(&mmu->space[i]->pt.inherited);
    }
    return c;
}

static void query_state(AgeMMU *mmu, AgeInfo *info)
{
    const AgeFormat *fmt = age_mmu_format(mmu);
    AgeNotifier *n = &mmu->notifier;
    const char *reason = NULL;

    info->format = g_strdup(fmt->name);
    info->has_levels = info->has_gpa_bits = age_mmu_num_spaces(mmu) > 0;
    info->levels = mmu->geo.root_height + 1;
    info->gpa_bits = mmu->geo.gpa_bits;
    info->has_page_size = true;
    info->page_size = age_state.page_size;
    info->has_hw_ad = true;
    info->hw_ad = fmt->hw_ad;
    info->has_haft = age_arch()->no_haft;
    info->haft = fmt->table_accessed;
    info->has_test_clear_young = true;
    info->test_clear_young =
        n->ops->can_test_clear_young(n, &reason);
    info->reason = g_strdup(reason);
    info->has_flush = true;
    info->flush = age_state.flush;
    info->has_generation = true;
    info->generation = age_generation();
    info->has_flush_pending = true;
    info->flush_pending = age_flush_pending();
}

AgeInfo *qmp_query_age(Error **errp)
{
    AgeMMU *mmu = &age_state.mmu;
    AgeInfo *info;

    if (!age_check_unsent(errp)) {
        return NULL;
    }
    info = g_new0(AgeInfo, 1);
    info->version = g_strdup(AGE_VERSION);
    info->enabled = age_enabled();
    if (!info->enabled) {
        return info;
    }
    RCU_READ_LOCK_GUARD();
    query_state(mmu, info);
    info->has_roots = true;
    info->roots = query_roots(mmu);
    info->has_slots = true;
    info->slots = query_slots(mmu);
    info->has_unserved = true;
    info->unserved = query_unserved(mmu);
    info->has_tables = true;
    info->tables = query_tables(mmu);
    info->counters = query_counters(mmu);
    return info;
}

static AgeWalkEntry *walk_entry(const AgePageTable *pt, const AgeFormat *fmt,
                                uint64_t *ptr, uint64_t value, int height)
{
    AgeWalkEntry *entry = g_new0(AgeWalkEntry, 1);
    AgeDecoded d;

    fmt->decode(value, height, &d);
    entry->level = fmt->level(height);
    entry->index = age_pt_index_of(pt, ptr, height);
    entry->value = value;
    entry->leaf = d.leaf;
    entry->read = d.read;
    entry->write = d.write;
    entry->execute = d.execute;
    entry->accessed = d.accessed;
    entry->dirty = d.dirty;
    entry->address = d.address;
    entry->memory_type = g_strdup(d.memory_type);
    return entry;
}

AgeWalk *qmp_query_age_walk(uint64_t gpa, const char *name, Error **errp)
{
    AgeWalk *walk;
    AgeWalkEntryList **tail;
    AgeAddressSpace *space;
    const AgeFormat *fmt;
    AgePath path;

    space = age_check_unsent(errp) ? age_space_find(name, errp) : NULL;
    if (!space) {
        return NULL;
    }
    RCU_READ_LOCK_GUARD();
    if (gpa >= space->mem.gpa_limit) {
        error_setg(errp, "guest-physical address 0x%" PRIx64 " is beyond the "
                   "%u bits that the page tables translate", gpa,
                   space->pt.geo.gpa_bits);
        return NULL;
    }

    walk = g_new0(AgeWalk, 1);
    tail = &walk->entries;
    fmt = age_pt_format(&space->pt);
    age_pt_walk(&space->pt, gpa, &path);
    for (int h = space->pt.geo.root_height; h >= path.height; h--) {
        uint64_t value = qatomic_read(path.entry[h]);

        if (!age_entry_is_present(fmt, value)) {
            break;
        }
        QAPI_LIST_APPEND(tail, walk_entry(&space->pt, fmt, path.entry[h],
                                          value, h));
    }
    return walk;
}
