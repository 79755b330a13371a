/*
 * age: the exact sets of pages, for each kind of access
 *
 * After each run of the guest, the young pages of all its memory are those
 * that its accesses involve: the pages that they go to, the tables of the
 * guest that lead there, and what its own code needs.  Dirty are those of
 * them that were stored to.  No page more, and none less.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "exact.h"
#include "guest.h"
#include "qmp.h"

#define ROUNDS          100
#define SMP_ROUNDS      25
#define MAX_OPS         12
/* Pages that accesses go to: some for data and some for code */
#define POOL            256
#define CODE_POOL       64
/* Part of the identity map where tables are put in its place */
#define VIRTUAL         (UINT64_C(256) << 30)
#define VIRTUAL_PAGES   (UINT64_C(1) << (38 - 12))
/* x86: in an entry of a table; and an address behind all that is mapped */
#define X86_ACCESSED    0x20
#define X86_UNMAPPED    (UINT64_C(1) << 46)

/**
 * Exact: a guest and the program in it
 *
 * @g: the guest
 * @tables: its tables
 * @program: the program's two pages
 * @pool: pages for data
 * @code: pages that are called
 * @next: the next page that was never used
 * @ops: what the program is to do
 * @num_ops: how many
 * @used: the pages that it has to use
 */
typedef struct Exact {
    AgeGuest *g;
    AgeTables tables;
    uint64_t program;
    uint64_t pool;
    uint64_t code;
    uint64_t next;
    AgeExactOp ops[MAX_OPS];
    unsigned num_ops;
    AgeUsed used;
} Exact;

/* What an access of a kind may look like: @bytes is 0 if it may be any */
static const struct Kind {
    const char *name;
    unsigned bytes;
    unsigned align;
    bool store;
} kinds[AGE_EXACT_NUM] = {
    [AGE_EXACT_LOAD] = { "load", 8, 1 },
    [AGE_EXACT_STORE] = { "store", 8, 1, true },
    [AGE_EXACT_UPDATE] = { "update", 8, 8, true },
    [AGE_EXACT_SWAP] = { "swap", 8, 8, true },
    [AGE_EXACT_ADD] = { "add", 8, 8, true },
    [AGE_EXACT_CAS] = { "cas", 8, 8, true },
    [AGE_EXACT_PAIR] = { "pair", 16, 16, true },
    [AGE_EXACT_CALL] = { "call", 4, 4 },
    [AGE_EXACT_COPY] = { "copy", 0, 1, true },
    [AGE_EXACT_ZERO] = { "zero", 64, 64, true },
    [AGE_EXACT_FAULT] = { "fault", 8, 1 },
    [AGE_EXACT_WALK] = { "walk", 8, 1 },
};

static uint64_t random_below(uint64_t n)
{
    return (((uint64_t)g_test_rand_int() << 32) |
            (uint32_t)g_test_rand_int()) % n;
}

static uint64_t take_page(AgeTables *t)
{
    Exact *e = t->opaque;
    uint64_t page = e->next;

    e->next += AGE_PAGE;
    g_assert_cmphex(e->next, <=, e->g->end);
    return page;
}

static void exact_start(Exact *e, unsigned cpus)
{
    AgeGuestOptions options = {
        .cpus = cpus,
        /* Arm: with atomic instructions, which the usual one lacks */
        .args = "-cpu max",
    };

    *e = (Exact) { .g = age_guest_start(&options) };
    age_tables_of_guest(&e->tables, e->g);
    e->tables.take_page = take_page;
    e->tables.opaque = e;
    e->program = e->g->memory;
    e->pool = e->program + 2 * AGE_PAGE;
    e->code = e->pool + POOL * AGE_PAGE;
    e->next = e->code + CODE_POOL * AGE_PAGE;
    age_used_init(&e->used);
    age_exact_load(e->g, e->program);
}

static void exact_quit(Exact *e)
{
    age_guest_quit(e->g);
    g_array_unref(e->used.young);
    g_array_unref(e->used.dirty);
}

static void expect(Exact *e, uint64_t va, uint64_t bytes, bool store)
{
    age_tables_access(&e->tables, va, bytes, store, &e->used);
}

/* What the guest uses whenever it does anything */
static void expect_own(Exact *e)
{
    if (age_is_x86()) {
        /* The same page of QEMU's, and so reported by either address */
        age_used_add(&e->used, 0xff000, false);
    }
    expect(e, age_arch()->code, 1, false);
    for (unsigned cpu = 0; cpu < e->g->cpus; cpu++) {
        expect(e, age_guest_mailbox(cpu), 8, true);
    }
    expect(e, e->program, 2 * AGE_PAGE, false);
}

/*
 * A vCPU polls its mailbox when its thread gets to run, which may be after
 * the first one has done all there is to do: have each of them do nothing.
 */
static void run_others(Exact *e)
{
    for (unsigned cpu = 1; cpu < e->g->cpus; cpu++) {
        age_guest_send(e->g, cpu, 0, 0, 0, 0);
        age_guest_wait(e->g, cpu);
    }
}

/* Do what there is to do, and see what is young */
static void exact_run(Exact *e)
{
    expect_own(e);
    age_used_forget(e->g);
    run_others(e);
    age_exact_run(e->g, e->program, e->ops, e->num_ops);
    age_used_check(e->g, &e->used);
    age_used_init(&e->used);
    e->num_ops = 0;
}

/* Addresses */

/* A virtual address of @count pages of the pool, each of them anywhere in it */
static uint64_t map_pool(Exact *e, uint64_t pool, uint64_t size, unsigned count)
{
    uint64_t va = VIRTUAL + random_below(VIRTUAL_PAGES - count) * AGE_PAGE;

    for (unsigned i = 0; i < count; i++) {
        age_tables_map(&e->tables, va + i * AGE_PAGE,
                       pool + random_below(size) * AGE_PAGE);
    }
    return va;
}

/* Where @bytes are, @offset bytes into a page, as it is or mapped elsewhere */
static uint64_t place(Exact *e, uint64_t offset, uint64_t bytes, bool map)
{
    unsigned count = (offset + bytes - 1) / AGE_PAGE + 1;

    if (map) {
        return map_pool(e, e->pool, POOL, count) + offset;
    }
    return e->pool + random_below(POOL - count) * AGE_PAGE + offset;
}

/* The same for code, with an instruction to call */
static uint64_t place_code(Exact *e, uint64_t offset, uint64_t bytes, bool map)
{
    unsigned count = (offset + bytes - 1) / AGE_PAGE + 1;
    uint64_t va = e->code + random_below(CODE_POOL - count) * AGE_PAGE;
    uint32_t ret = age_arch()->ret;

    if (map) {
        va = map_pool(e, e->code, CODE_POOL, count);
    }
    va += offset;
    for (unsigned i = 0; i < bytes; i++) {
        qtest_writeb(e->g->qts, age_tables_walk(&e->tables, va + i, NULL),
                     ret >> 8 * i);
    }
    return va;
}

/* An address that only some of the tables are there for */
static uint64_t place_nowhere(Exact *e)
{
    uint64_t va;

    if (age_is_x86() && random_below(4) == 0) {
        return X86_UNMAPPED + random_below(X86_UNMAPPED);
    }
    do {
        /* A neighbour has brought one table, or both. */
        va = map_pool(e, e->pool, POOL, 1);
        va ^= (random_below(2) ? AGE_PAGE : AGE_BLOCK) << random_below(9);
    } while (age_tables_walk(&e->tables, va, NULL) != AGE_NOWHERE);
    return va + random_below(AGE_PAGE / 8) * 8;
}

/* Accesses */

static AgeExactOp *add_op(Exact *e, unsigned op, uint64_t address)
{
    AgeExactOp *entry = &e->ops[e->num_ops++];

    g_assert_cmpuint(e->num_ops, <=, MAX_OPS);
    *entry = (AgeExactOp) { .op = op, .address = address };
    return entry;
}

static void add_fault(Exact *e, unsigned op)
{
    uint64_t va = place_nowhere(e);

    add_op(e, op, va);
    expect(e, va, 1, false);
    if (age_is_x86()) {
        /* The fault pushes to the stack. */
        expect(e, e->program + AGE_PAGE, AGE_PAGE, true);
    }
}

static void add_walk(Exact *e, bool map)
{
    uint64_t va = place(e, 0, 8, map);

    add_op(e, AGE_EXACT_WALK, va);
    /* Its tables, but not what they lead to */
    age_tables_walk(&e->tables, va, &e->used);
}

static void add_call(Exact *e, uint64_t offset, bool map)
{
    uint64_t bytes = age_is_x86() ? 2 : 4;
    uint64_t va = place_code(e, offset, bytes, map);

    add_op(e, AGE_EXACT_CALL, va);
    expect(e, va, bytes, false);
}

static void add_copy(Exact *e, uint64_t offset, uint64_t bytes, bool map)
{
    AgeExactOp *op = add_op(e, AGE_EXACT_COPY, place(e, offset, bytes, map));

    op->other = place(e, random_below(AGE_PAGE), bytes, map);
    op->bytes = bytes;
    expect(e, op->address, bytes, false);
    expect(e, op->other, bytes, true);
}

static void add_plain(Exact *e, unsigned op, uint64_t offset, bool map)
{
    uint64_t va = place(e, offset, kinds[op].bytes, map);

    add_op(e, op, va);
    expect(e, va, kinds[op].bytes, kinds[op].store);
}

/* One access, @offset bytes into a page */
static void add_access(Exact *e, unsigned op, uint64_t offset, bool map)
{
    switch (op) {
    case AGE_EXACT_CALL:
        add_call(e, offset, map);
        break;
    case AGE_EXACT_COPY:
        add_copy(e, offset, 1 + random_below(3 * AGE_PAGE), map);
        break;
    case AGE_EXACT_FAULT:
        add_fault(e, op);
        break;
    case AGE_EXACT_WALK:
        if (random_below(2)) {
            add_fault(e, op);
        } else {
            add_walk(e, map);
        }
        break;
    default:
        add_plain(e, op, offset, map);
        break;
    }
}

static bool has_kind(unsigned op)
{
    return op != AGE_EXACT_WALK || !age_is_x86();
}

/* What an access must be aligned to: on x86 hardly any has to be. */
static unsigned alignment(unsigned op)
{
    return age_is_x86() && op != AGE_EXACT_PAIR ? 1 : kinds[op].align;
}

/* Tests */

/* Each kind alone: at the ends of a page and in it */
static void test_kinds(void)
{
    Exact e;

    exact_start(&e, 1);
    for (unsigned op = AGE_EXACT_END + 1; op < AGE_EXACT_NUM; op++) {
        unsigned bytes = op == AGE_EXACT_CALL && age_is_x86()
                         ? 2 : MAX(kinds[op].bytes, 1);
        uint64_t offsets[] = { 0, AGE_PAGE / 2, AGE_PAGE - bytes };

        for (unsigned i = 0; has_kind(op) && i < 6; i++) {
            g_test_message("%s", kinds[op].name);
            add_access(&e, op, offsets[i / 2], i % 2);
            exact_run(&e);
        }
    }
    exact_quit(&e);
}

/*
 * What is not aligned goes to two pages, and to all the tables of both.  TCG
 * stops other vCPUs for an atomic access of that kind, so there are some.
 */
static void test_straddle(void)
{
    Exact e;

    exact_start(&e, 2);
    for (unsigned op = AGE_EXACT_END + 1; op < AGE_EXACT_NUM; op++) {
        for (unsigned i = 1; i < 8 && has_kind(op); i += 3) {
            if (alignment(op) == 1 && (op != AGE_EXACT_CALL || i == 1)) {
                g_test_message("%s", kinds[op].name);
                add_access(&e, op, AGE_PAGE - i, i % 2);
                exact_run(&e);
            }
        }
    }
    exact_quit(&e);
}

/*
 * Tables that nobody has written to, with entries in which there is nothing
 * for the guest's MMU to set, or that still lack the accessed bit
 */
static void test_tables(void)
{
    Exact e;

    exact_start(&e, 1);
    for (unsigned i = 0; i < 40; i++) {
        uint64_t first = e.next;

        if (age_is_x86()) {
            e.tables.table ^= X86_ACCESSED;
            e.tables.page ^= i % 4 ? 0 : X86_ACCESSED;
        }
        add_access(&e, i % 3 ? AGE_EXACT_LOAD : AGE_EXACT_STORE, 0, true);
        g_assert(i > 0 || e.next - first == 2 * AGE_PAGE);
        exact_run(&e);
    }
    exact_quit(&e);
}

/* Some accesses of any kind, to the same few pages again and again */
static void random_rounds(unsigned cpus, unsigned rounds)
{
    Exact e;

    exact_start(&e, cpus);
    for (unsigned round = 0; round < rounds; round++) {
        unsigned count = 1 + random_below(MAX_OPS);

        while (count) {
            unsigned op = 1 + random_below(AGE_EXACT_NUM - 1);

            if (has_kind(op)) {
                add_access(&e, op, random_below(AGE_PAGE) &
                           -(uint64_t)alignment(op), random_below(2));
                count--;
            }
        }
        exact_run(&e);
    }
    exact_quit(&e);
}

static void test_random(void)
{
    random_rounds(1, ROUNDS);
}

static void test_random_smp(void)
{
    random_rounds(2, SMP_ROUNDS);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("age/exact/kinds", test_kinds);
    qtest_add_func("age/exact/straddle", test_straddle);
    qtest_add_func("age/exact/tables", test_tables);
    qtest_add_func("age/exact/random", test_random);
    qtest_add_func("age/exact/random-smp", test_random_smp);

    return g_test_run();
}
