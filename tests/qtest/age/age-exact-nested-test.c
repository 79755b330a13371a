/*
 * age: the exact sets of pages, for a guest of the guest
 *
 * The guest is a hypervisor: with stage 2 on arm64, with nested paging on
 * x86.  Its own guest makes one access at a time.  Young are then the pages
 * that come out at the very end, the tables of the nested guest where they
 * really are, and the tables of the hypervisor that lead to all of these.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "exact.h"
#include "exact-nested.h"
#include "exact-nested-aarch64.h"
#include "exact-nested-x86.h"
#include "guest.h"
#include "qmp.h"

#define ROUNDS          40
/* Below: virtual addresses, and what the nested guest takes for physical */
#define SPACE_PAGES     (UINT64_C(1) << (38 - 12))
#define PART            (AGE_PAGE / 4)

/* What the nested guest does; each has a part of its page of code. */
enum {
    NESTED_LOAD,
    NESTED_STORE,
    NESTED_CALL,
    /* Arm: translate the address by stage 1, and do not go there */
    NESTED_WALK,
    NESTED_NUM
};

/* Nested paging: as tables of the guest, with all flags set already */
#define NPT_TABLE       0x27
#define NPT_PAGE        0x67
/* Stage 2: valid, normal memory, read and write, inner shareable, accessed */
#define STAGE2_TABLE    0x03
#define STAGE2_PAGE     0x7ff

/* Arm: 39 bits at both stages, pages of 4 KiB; 40 physical bits */
#define ARM_VTCR        UINT64_C(0x80023559)
#define ARM_TCR         UINT64_C(0x200803519)
#define ARM_MAIR        0xff
#define ARM_PAR_FAULT   1
#define ARM_PAR_ADDRESS UINT64_C(0xfffffffff000)
#define ARM_EC_SHIFT    26
#define ARM_EC_HVC      0x16
#define ARM_EC_ABORT    0x24

/* Members of a VMCB */
#define VMCB_EXCEPTIONS 0x008
#define VMCB_INTERCEPTS 0x00c
#define VMCB_ASID       0x058
#define VMCB_EXIT_CODE  0x070
#define VMCB_NESTED     0x090
#define VMCB_NESTED_CR3 0x0b0
#define VMCB_CS         0x410
#define VMCB_SS         0x420
#define VMCB_DS         0x430
#define VMCB_EFER       0x4d0
#define VMCB_CR4        0x548
#define VMCB_CR3        0x550
#define VMCB_CR0        0x558
#define VMCB_DR7        0x560
#define VMCB_DR6        0x568
#define VMCB_RFLAGS     0x570
#define VMCB_RIP        0x578

/* Intercept VMRUN, which is a must, VMMCALL and SHUTDOWN */
#define X86_INTERCEPTS  (UINT64_C(1) << 32 | UINT64_C(1) << 33 | 1u << 31)
/* SVM, and long mode that is on; paging, protection; PAE */
#define X86_EFER        0x1500
#define X86_CR0         0x80000011
#define X86_CR4         0x20
#define X86_CODE64      0x29b
#define X86_DATA        0xc93
#define X86_VMMCALL     0x81
#define X86_NPF         0x400

/**
 * Nested: a hypervisor and its guest
 *
 * @g: the guest that is the hypervisor
 * @own: its own tables; on Arm it has none
 * @outer: the tables that it has for the nested guest
 * @inner: those of the nested guest
 * @code: virtual address of the nested guest's code
 * @params: physical address of the parameters
 * @vmcb: x86: physical address of the VMCB
 * @hsave: x86: physical address of the host state-save area
 * @program: x86: physical address of the hypervisor's code
 * @next: the next page that was never used
 */
typedef struct Nested {
    AgeGuest *g;
    AgeTables own;
    AgeTables outer;
    AgeTables inner;
    uint64_t code;
    uint64_t params;
    uint64_t vmcb;
    uint64_t hsave;
    uint64_t program;
    uint64_t next;
} Nested;

static uint64_t random_page(void)
{
    uint64_t random = ((uint64_t)g_test_rand_int() << 32) |
                      (uint32_t)g_test_rand_int();

    return random % SPACE_PAGES * AGE_PAGE;
}

/* Memory */

static uint64_t take_page(Nested *n)
{
    uint64_t page = n->next;

    n->next += AGE_PAGE;
    g_assert_cmphex(n->next, <=, n->g->end);
    return page;
}

static uint64_t take_outer_table(AgeTables *t)
{
    return take_page(t->opaque);
}

/* A page of the nested guest's memory, where there was none before */
static uint64_t take_inner_page(Nested *n)
{
    uint64_t gpa;

    do {
        gpa = random_page();
    } while (age_tables_walk(&n->outer, gpa, NULL) != AGE_NOWHERE);
    age_tables_map(&n->outer, gpa, take_page(n));
    return gpa;
}

static uint64_t take_inner_table(AgeTables *t)
{
    return take_inner_page(t->opaque);
}

/* A virtual page that leads to @gpa */
static uint64_t map_inner(Nested *n, uint64_t gpa)
{
    uint64_t va;

    do {
        va = random_page();
    } while (age_tables_walk(&n->inner, va, NULL) != AGE_NOWHERE);
    age_tables_map(&n->inner, va, gpa);
    return va;
}

static void make_tables(Nested *n)
{
    age_tables_of_guest(&n->own, n->g);
    n->outer = n->own;
    n->outer.root = take_page(n);
    n->outer.table = age_is_x86() ? NPT_TABLE : STAGE2_TABLE;
    n->outer.page = age_is_x86() ? NPT_PAGE : STAGE2_PAGE;
    n->outer.take_page = take_outer_table;
    n->outer.opaque = n;

    n->inner = n->own;
    n->inner.below = &n->outer;
    n->inner.take_page = take_inner_table;
    n->inner.opaque = n;
    n->inner.root = take_inner_page(n);
}

/* The nested guest */

/* Where in its page of code the nested guest does @what */
static uint64_t code_for(const Nested *n, unsigned what)
{
    return n->code + what * PART;
}

/* Put an instruction that traps to the hypervisor */
static void put_trap(Nested *n, uint64_t pa)
{
    if (age_is_x86()) {
        qtest_memwrite(n->g->qts, pa, "\x0f\x01\xd9", 3);    /* vmmcall */
    } else {
        qtest_writel(n->g->qts, pa, 0xd4000002);             /* hvc #0 */
    }
}

/* The address is in %rdi or x1.  All but the call are followed by a trap. */
static void put_code(Nested *n)
{
    static const uint8_t x86[NESTED_NUM][3] = {
        [NESTED_LOAD] = { 0x48, 0x8b, 0x0f },       /* mov (%rdi), %rcx */
        [NESTED_STORE] = { 0x48, 0x89, 0x0f },      /* mov %rcx, (%rdi) */
        [NESTED_CALL] = { 0xff, 0xe7, 0x90 },       /* jmp *%rdi */
    };
    static const uint32_t arm[NESTED_NUM] = {
        [NESTED_LOAD] = 0xf9400022,                 /* ldr x2, [x1] */
        [NESTED_STORE] = 0xf9000022,                /* str x2, [x1] */
        [NESTED_CALL] = 0xd61f0020,                 /* br x1 */
        [NESTED_WALK] = 0xd5087801,                 /* at s1e1r, x1 */
    };
    uint64_t pa = age_tables_walk(&n->inner, n->code, NULL);

    for (unsigned what = 0; what < NESTED_NUM; what++, pa += PART) {
        if (age_is_x86()) {
            qtest_memwrite(n->g->qts, pa, x86[what], sizeof(x86[what]));
            put_trap(n, pa + sizeof(x86[what]));
        } else {
            qtest_writel(n->g->qts, pa, arm[what]);
            put_trap(n, pa + sizeof(arm[what]));
        }
    }
}

static void write_param(Nested *n, uint64_t param, uint64_t value)
{
    qtest_writeq(n->g->qts, n->params + param, value);
}

/* The hypervisor on arm64 */

static void set_up_arm(Nested *n)
{
    n->params = age_guest_mailbox(0) + AGE_NESTED_PARAMS;
    write_param(n, AGE_NESTED_VTTBR, n->outer.root);
    write_param(n, AGE_NESTED_VTCR, ARM_VTCR);
    write_param(n, AGE_NESTED_TTBR0, n->inner.root);
    write_param(n, AGE_NESTED_TCR, ARM_TCR);
    write_param(n, AGE_NESTED_MAIR, ARM_MAIR);
}

/* Its firmware in place of the usual one; to be unlinked and freed */
static char *write_arm_firmware(void)
{
    GError *err = NULL;
    char *path;
    int fd = g_file_open_tmp("age-nested-XXXXXX", &path, &err);

    g_assert_no_error(err);
    g_assert(write(fd, exact_nested_aarch64, sizeof(exact_nested_aarch64)) ==
             sizeof(exact_nested_aarch64));
    close(fd);
    return path;
}

/* Returns whether the nested guest ended by its trap. */
static bool run_arm(Nested *n, uint64_t pc, uint64_t address)
{
    uint64_t class;

    write_param(n, AGE_NESTED_PC, pc);
    write_param(n, AGE_NESTED_ADDRESS, address);
    age_guest_touch(n->g, 0, 0, 0);
    class = qtest_readq(n->g->qts, n->params + AGE_NESTED_ESR) >> ARM_EC_SHIFT;
    g_assert(class == ARM_EC_HVC || class == ARM_EC_ABORT);
    return class == ARM_EC_HVC;
}

/* The hypervisor on x86 */

static void put_segment(Nested *n, uint64_t member, uint16_t attributes)
{
    qtest_writew(n->g->qts, n->vmcb + member + 2, attributes);
    qtest_writel(n->g->qts, n->vmcb + member + 4, UINT32_MAX);
}

static void put_vmcb(Nested *n)
{
    const struct {
        unsigned member;
        uint64_t value;
    } values[] = {
        { VMCB_EXCEPTIONS, UINT32_MAX },
        { VMCB_INTERCEPTS, X86_INTERCEPTS },
        { VMCB_ASID, 1 },
        { VMCB_NESTED, 1 },
        { VMCB_NESTED_CR3, n->outer.root },
        { VMCB_EFER, X86_EFER },
        { VMCB_CR4, X86_CR4 },
        { VMCB_CR3, n->inner.root },
        { VMCB_CR0, X86_CR0 },
        { VMCB_DR7, 0x400 },
        { VMCB_DR6, 0xffff0ff0 },
        { VMCB_RFLAGS, 2 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(values); i++) {
        qtest_writeq(n->g->qts, n->vmcb + values[i].member, values[i].value);
    }
    put_segment(n, VMCB_CS, X86_CODE64);
    put_segment(n, VMCB_SS, X86_DATA);
    put_segment(n, VMCB_DS, X86_DATA);
}

static void set_up_x86(Nested *n)
{
    n->program = take_page(n);
    n->params = take_page(n) + AGE_NESTED_PARAMS;
    n->vmcb = take_page(n);
    n->hsave = take_page(n);
    qtest_memwrite(n->g->qts, n->program, exact_nested_x86,
                   sizeof(exact_nested_x86));
    write_param(n, AGE_NESTED_VMCB, n->vmcb);
    write_param(n, AGE_NESTED_HSAVE, n->hsave);
    put_vmcb(n);
}

/* Returns whether the nested guest ended by its trap. */
static bool run_x86(Nested *n, uint64_t pc, uint64_t address)
{
    uint64_t code;

    qtest_writeq(n->g->qts, n->vmcb + VMCB_RIP, pc);
    write_param(n, AGE_NESTED_ADDRESS, address);
    age_guest_touch(n->g, AGE_GUEST_EXEC, n->program, 1);
    code = qtest_readq(n->g->qts, n->vmcb + VMCB_EXIT_CODE);
    g_assert(code == X86_VMMCALL || code == X86_NPF);
    return code == X86_VMMCALL;
}

/* Both */

static void nested_start(Nested *n)
{
    g_autofree char *firmware = age_is_x86() ? NULL : write_arm_firmware();
    g_autofree char *args = firmware
        ? g_strdup_printf("-cpu max -bios %s", firmware) : NULL;
    AgeGuestOptions options = {
        .machine = firmware ? "virt,virtualization=on" : NULL,
        .args = args,
    };

    *n = (Nested) { .g = age_guest_start(&options) };
    n->next = n->g->memory;
    make_tables(n);
    n->code = map_inner(n, take_inner_page(n));
    put_code(n);
    if (age_is_x86()) {
        set_up_x86(n);
    } else {
        unlink(firmware);
        set_up_arm(n);
    }
}

/* What the hypervisor itself uses */
static void expect_own(Nested *n, AgeUsed *used)
{
    uint64_t code = age_arch()->code;

    if (age_is_x86()) {
        /* The same page of QEMU's, and so reported by either address */
        age_used_add(used, 0xff000, false);
        age_tables_access(&n->own, code, 1, false, used);
        age_tables_access(&n->own, age_guest_mailbox(0), 1, true, used);
        age_tables_access(&n->own, n->program, 2 * AGE_PAGE, false, used);
        /* Most of them is accessed behind the MMU's back, but not all. */
        age_used_add(used, n->vmcb, true);
        age_used_add(used, n->hsave, true);
    } else {
        age_used_add(used, code, false);
        age_used_add(used, age_guest_mailbox(0), true);
    }
}

/* Have the nested guest do something, and see what is young. */
static void check(Nested *n, unsigned what, uint64_t address, bool trap)
{
    AgeUsed used;
    bool trapped;

    age_used_init(&used);
    expect_own(n, &used);
    age_tables_access(&n->inner, n->code, 1, false, &used);
    if (what == NESTED_WALK) {
        age_tables_walk_stage(&n->inner, address, &used);
    } else {
        age_tables_access(&n->inner, address, 1, what == NESTED_STORE, &used);
    }
    age_used_forget(n->g);
    trapped = age_is_x86() ? run_x86(n, code_for(n, what), address)
                           : run_arm(n, code_for(n, what), address);
    g_assert(trapped == trap);
    age_used_check(n->g, &used);
}

/* Loads, stores and fetches, in random order, at new places and at old ones */
static void test_accesses(void)
{
    uint64_t places[8] = {};
    Nested n;

    nested_start(&n);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t *va = &places[g_test_rand_int_range(0, 8)];
        uint64_t gpa = take_inner_page(&n);

        if (!*va || g_test_rand_int_range(0, 2)) {
            *va = map_inner(&n, gpa);
        }
        put_trap(&n, age_tables_walk(&n.inner, *va, NULL));
        check(&n, NESTED_CALL, *va, true);
        check(&n, g_test_rand_int_range(0, NESTED_CALL), *va + PART, true);
    }
    age_guest_quit(n.g);
}

/*
 * The nested guest has mapped what it has no memory for: up to where the
 * hypervisor's tables end, what was read is young.
 */
static void test_fault(void)
{
    Nested n;

    nested_start(&n);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t gpa = take_inner_page(&n);
        uint64_t va;

        /* A neighbour has brought some of the tables. */
        gpa ^= (i % 2 ? AGE_PAGE : AGE_BLOCK) << (i % 9);
        va = map_inner(&n, gpa);
        if (age_tables_walk(&n.inner, va, NULL) == AGE_NOWHERE) {
            check(&n, i % 3 ? NESTED_LOAD : NESTED_STORE, va, false);
        }
    }
    age_guest_quit(n.g);
}

/*
 * Have the hypervisor translate an address by both stages: all the tables are
 * young, and not the page that they lead to.
 */
static void check_both_stages(Nested *n, uint64_t va)
{
    AgeUsed used;
    uint64_t pa, par;

    age_used_init(&used);
    expect_own(n, &used);
    pa = age_tables_walk(&n->inner, va, &used);
    age_used_forget(n->g);
    write_param(n, AGE_NESTED_PC, 0);
    write_param(n, AGE_NESTED_ADDRESS, va);
    age_guest_touch(n->g, 0, 0, 0);
    par = qtest_readq(n->g->qts, n->params + AGE_NESTED_ESR);
    g_assert_cmphex(par & ARM_PAR_ADDRESS, ==, pa);
    g_assert(!(par & ARM_PAR_FAULT));
    age_used_check(n->g, &used);
}

/* Arm: translation instructions read tables and go no further. */
static void test_walk(void)
{
    Nested n;

    nested_start(&n);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t va = map_inner(&n, take_inner_page(&n));

        /* By stage 1: stage 2 is needed for its tables, not for the page. */
        check(&n, NESTED_WALK, va, true);
        check_both_stages(&n, va);
    }
    age_guest_quit(n.g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("age/exact-nested/accesses", test_accesses);
    qtest_add_func("age/exact-nested/fault", test_fault);
    if (!age_is_x86()) {
        qtest_add_func("age/exact-nested/walk", test_walk);
    }

    return g_test_run();
}
