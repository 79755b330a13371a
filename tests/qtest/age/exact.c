/*
 * Accesses of a guest for which all pages that they involve are known
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qobject/qnum.h"
#include "exact.h"
#include "exact-aarch64.h"
#include "exact-x86.h"
#include "qmp.h"

#define LEVEL_BITS      9
#define PAGE_BITS       12
#define ADDRESS         (((UINT64_C(1) << 48) - 1) & ~(AGE_PAGE - 1))

/* x86: present, writable, for user code too, accessed, and a page dirty */
#define X86_TABLE       0x27
#define X86_PAGE        0x67
#define X86_LARGE       0x80
/* Arm: valid, a table or a page; inner shareable, accessed, attribute 0 */
#define ARM_TABLE       0x03
#define ARM_PAGE        0x703

/* x86: an interrupt gate, and the segment of the guest's code */
#define X86_GATE        0x8e00
#define X86_CODE64      0x18
#define X86_PAGE_FAULT  14

/* Sets of pages */

void age_used_init(AgeUsed *used)
{
    used->young = age_pages_new();
    used->dirty = age_pages_new();
}

void age_used_add(AgeUsed *used, uint64_t page, bool store)
{
    age_pages_add(used->young, page, 1, 0);
    if (store) {
        age_pages_add(used->dirty, page, 1, 0);
    }
}

/* The dirty pages of all memory, which become clean */
static GArray *take_dirty_pages(QTestState *qts)
{
    g_autoptr(GArray) slots = age_slots(qts);
    g_autoptr(QDict) result = NULL;
    GArray *pages = age_pages_new();
    QList *ranges = qlist_new();
    const QListEntry *entry;

    for (unsigned i = 0; i < slots->len; i++) {
        AgeSlotInfo *slot = &g_array_index(slots, AgeSlotInfo, i);

        age_add_clear_range(ranges, slot->gpa, slot->gpa + slot->size);
    }
    result = qtest_qmp_assert_success_ref(
        qts, "{ 'execute': 'age-test-clear-dirty', 'arguments': %p }",
        age_harvest_args(ranges, "{ 'format': 'runs',"
                                 "  'flush': 'request' }"));
    QLIST_FOREACH_ENTRY(qdict_get_qlist(result, "ranges"), entry) {
        age_add_told_pages(pages, qobject_to(QDict, entry->value), true);
    }
    age_wait_flushed(qts);
    return pages;
}

void age_used_forget(AgeGuest *g)
{
    g_array_unref(take_dirty_pages(g->qts));
    age_flush_all(g->qts);
}

void age_used_check(AgeGuest *g, AgeUsed *used)
{
    age_assert_same_pages(age_all_young_pages(g->qts, "memory", false),
                          used->young);
    age_assert_same_pages(take_dirty_pages(g->qts), used->dirty);
}

/* Tables */

void age_tables_of_guest(AgeTables *t, AgeGuest *g)
{
    bool x86 = age_is_x86();

    *t = (AgeTables) {
        .qts = g->qts,
        .root = age_arch()->ram + AGE_TABLES_OFFSET,
        .levels = x86 ? 4 : 3,
        .table = x86 ? X86_TABLE : ARM_TABLE,
        .page = x86 ? X86_PAGE : ARM_PAGE,
    };
}

static unsigned level_shift(const AgeTables *t, unsigned level)
{
    return PAGE_BITS + (t->levels - 1 - level) * LEVEL_BITS;
}

/* Does an entry lead to another table? */
static bool leads_on(const AgeTables *t, uint64_t entry, unsigned level)
{
    if (level == t->levels - 1) {
        return false;
    }
    return age_is_x86() ? (entry & (1 | X86_LARGE)) == 1
                        : (entry & 3) == ARM_TABLE;
}

/* An address that comes out of @t, as a physical one */
static uint64_t go_below(AgeTables *t, uint64_t address, AgeUsed *used)
{
    return t->below ? age_tables_walk(t->below, address, used) : address;
}

/* Where the entry for @va in @table is */
static uint64_t entry_address(AgeTables *t, uint64_t table, unsigned level,
                              uint64_t va, AgeUsed *used)
{
    uint64_t index = (va >> level_shift(t, level)) &
                     ((1 << LEVEL_BITS) - 1);
    uint64_t page = go_below(t, table, used);

    if (page == AGE_NOWHERE) {
        return page;
    }
    if (used) {
        /* With accessed bits enabled, EPT takes any walk for a write. */
        age_used_add(used, page, age_is_x86());
    }
    return page + index * sizeof(uint64_t);
}

void age_tables_map(AgeTables *t, uint64_t va, uint64_t pa)
{
    uint64_t table = t->root;
    unsigned level;

    for (level = 0; level < t->levels - 1; level++) {
        uint64_t at = entry_address(t, table, level, va, NULL);
        uint64_t entry = qtest_readq(t->qts, at);

        if (!leads_on(t, entry, level)) {
            entry = t->take_page(t) | t->table;
            qtest_writeq(t->qts, at, entry);
        }
        table = entry & ADDRESS;
    }
    qtest_writeq(t->qts, entry_address(t, table, level, va, NULL),
                 pa | t->page);
}

uint64_t age_tables_walk_stage(AgeTables *t, uint64_t va, AgeUsed *used)
{
    uint64_t table = t->root;

    for (unsigned level = 0; level < t->levels; level++) {
        uint64_t at = entry_address(t, table, level, va, used);
        uint64_t entry = at == AGE_NOWHERE ? 0 : qtest_readq(t->qts, at);

        if (!(entry & 1)) {
            return AGE_NOWHERE;
        }
        if (!leads_on(t, entry, level)) {
            uint64_t mask = (UINT64_C(1) << level_shift(t, level)) - 1;

            return (entry & ADDRESS & ~mask) | (va & mask);
        }
        table = entry & ADDRESS;
    }
    g_assert_not_reached();
}

uint64_t age_tables_walk(AgeTables *t, uint64_t va, AgeUsed *used)
{
    uint64_t address = age_tables_walk_stage(t, va, used);

    return address == AGE_NOWHERE ? address : go_below(t, address, used);
}

void age_tables_access(AgeTables *t, uint64_t va, uint64_t bytes, bool store,
                       AgeUsed *used)
{
    for (uint64_t page = QEMU_ALIGN_DOWN(va, AGE_PAGE); page < va + bytes;
         page += AGE_PAGE) {
        uint64_t pa = age_tables_walk(t, page, used);

        if (pa == AGE_NOWHERE) {
            break;
        }
        age_used_add(used, pa, store);
    }
}

/* The program */

static void put_idt(AgeGuest *g, uint64_t program)
{
    uint64_t data = program + AGE_PAGE;
    uint64_t gate = data + AGE_EXACT_IDT + X86_PAGE_FAULT * 16;
    uint64_t handler = program + AGE_EXACT_HANDLER;

    qtest_writew(g->qts, data + AGE_EXACT_IDTR, (X86_PAGE_FAULT + 1) * 16 - 1);
    qtest_writeq(g->qts, data + AGE_EXACT_IDTR + 2, data + AGE_EXACT_IDT);
    qtest_writew(g->qts, gate, handler);
    qtest_writew(g->qts, gate + 2, X86_CODE64);
    qtest_writew(g->qts, gate + 4, X86_GATE);
    qtest_writew(g->qts, gate + 6, handler >> 16);
    qtest_writeq(g->qts, gate + 8, handler >> 32);
}

void age_exact_load(AgeGuest *g, uint64_t program)
{
    if (age_is_x86()) {
        qtest_memwrite(g->qts, program, exact_x86, sizeof(exact_x86));
        put_idt(g, program);
    } else {
        qtest_memwrite(g->qts, program, exact_aarch64, sizeof(exact_aarch64));
    }
}

void age_exact_run(AgeGuest *g, uint64_t program, const AgeExactOp *ops,
                   unsigned count)
{
    uint64_t at = program + AGE_PAGE;

    g_assert(count < AGE_EXACT_MAX);
    for (unsigned i = 0; i < count; i++, at += AGE_EXACT_ENTRY) {
        qtest_writeq(g->qts, at + AGE_EXACT_OP, ops[i].op);
        qtest_writeq(g->qts, at + AGE_EXACT_ADDRESS, ops[i].address);
        qtest_writeq(g->qts, at + AGE_EXACT_OTHER, ops[i].other);
        qtest_writeq(g->qts, at + AGE_EXACT_BYTES, ops[i].bytes);
    }
    qtest_writeq(g->qts, at + AGE_EXACT_OP, AGE_EXACT_END);
    age_guest_touch(g, AGE_GUEST_EXEC, program, 1);
}
