/*
 * Guest code of the age tests, for arm64
 *
 * This is the first page of the flash device at address 0, where each CPU
 * comes out of reset; PSCI sends the others there when the first one calls
 * them.  There is no stack, no interrupt and no data outside of the page table
 * and the mailboxes, so that nothing else is ever accessed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "mailbox.h"

#define TABLE           (AGE_ARM_RAM + AGE_TABLES_OFFSET)
#define MAILBOXES       (AGE_ARM_RAM + AGE_MAILBOX_OFFSET)

/* A block of 1 GiB: valid, attribute 0, inner shareable, accessed */
#define PTE_BLOCK       0x701
#define GIB             0x40000000

/* Attribute 0 is normal memory, write-back */
#define MAIR            0xff
/* 39 bits of virtual and 40 of physical address, 4 KiB granule, no TTBR1 */
#define TCR_LOW         0x3519
#define TCR_EPD1        0x80
#define TCR_IPS         0x2
#define SCTLR_M_C       0x5

/* As in CurrentEL */
#define EL3             (3 << 2)

#define PSCI_CPU_ON_LOW     0x0003
#define PSCI_CPU_ON_HIGH    0xc400

        .text
        .globl  _start
_start:
/* x20: the number of this CPU; x21: its mailbox */
        mrs     x20, mpidr_el1
        and     x20, x20, #0xff
        mov     x21, #MAILBOXES
        add     x21, x21, x20, lsl #AGE_MAILBOX_SHIFT
        mov     x0, #TABLE
        cbnz    x20, paging

/* The first CPU makes the page table: an identity map of 512 GiB. */
        mov     x1, #0
        mov     x2, #PTE_BLOCK
        mov     x3, #GIB
1:      str     x2, [x0, x1, lsl #3]
        add     x2, x2, x3
        add     x1, x1, #1
        cmp     x1, #512
        b.lo    1b

paging:
        mov     x1, #MAIR
        msr     mair_el1, x1
        mov     x1, #TCR_LOW
        movk    x1, #TCR_EPD1, lsl #16
        movk    x1, #TCR_IPS, lsl #32
        msr     tcr_el1, x1
        msr     ttbr0_el1, x0
        isb
        mrs     x1, sctlr_el1
        mov     x2, #SCTLR_M_C
        orr     x1, x1, x2
        msr     sctlr_el1, x1
        isb

/*
 * The first CPU calls the others; for those that are not there it fails.  On a
 * machine with EL3 nobody answers: it is alone, and without translation.
 */
        cbnz    x20, ready
        mrs     x0, CurrentEL
        cmp     x0, #EL3
        b.eq    ready
        mov     x19, #1
1:      mov     x0, #PSCI_CPU_ON_LOW
        movk    x0, #PSCI_CPU_ON_HIGH, lsl #16
        mov     x1, x19
        adr     x2, _start
        mov     x3, #0
        hvc     #0
        add     x19, x19, #1
        cmp     x19, #AGE_MAX_CPUS
        b.lo    1b

ready:
        str     xzr, [x21, #AGE_MB_SEQ]
        str     xzr, [x21, #AGE_MB_DONE]
        mov     x0, #1
        str     x0, [x21, #AGE_MB_READY]

wait:
        yield
        ldr     w10, [x21, #AGE_MB_SEQ]
        ldr     w11, [x21, #AGE_MB_DONE]
        cmp     w10, w11
        b.eq    wait
        dmb     ish

round:
        ldr     w4, [x21, #AGE_MB_COMMAND]
        ldr     x5, [x21, #AGE_MB_START]
        ldr     x6, [x21, #AGE_MB_COUNT]
        ldr     x7, [x21, #AGE_MB_STRIDE]
        tst     w4, #AGE_GUEST_FLUSH
        b.eq    1f
        tlbi    vmalle1
        dsb     sy
        isb
1:      cbz     x6, end_round

page:
        tst     w4, #AGE_GUEST_READ
        b.eq    1f
        ldrb    w8, [x5, #AGE_GUEST_BYTE]
1:      tst     w4, #AGE_GUEST_WRITE
        b.eq    1f
        strb    w4, [x5, #AGE_GUEST_BYTE]
1:      tst     w4, #AGE_GUEST_EXEC
        b.eq    1f
        blr     x5
1:      add     x5, x5, x7
        subs    x6, x6, #1
        b.ne    page

end_round:
        dmb     ish
        ldr     x8, [x21, #AGE_MB_ROUNDS]
        add     x8, x8, #1
        str     x8, [x21, #AGE_MB_ROUNDS]
        tst     w4, #AGE_GUEST_REPEAT
        b.eq    1f
        ldr     w8, [x21, #AGE_MB_SEQ]
        cmp     w8, w10
        b.eq    round
1:      str     w10, [x21, #AGE_MB_DONE]
        b       wait

/*
 * Exceptions at EL1; VBAR_EL1 is zero.  Where memory comes and goes, QEMU may
 * look up a page that has gone in a map in which it is something else, and
 * answer with an external abort.  Hardware would not: go on behind the access,
 * or where a call came from.
 */
#define SYNC_SAME_EL            0x200
#define ESR_EC_SHIFT            26
#define EC_INSTRUCTION_ABORT    0x21

        .org    SYNC_SAME_EL
        mrs     x9, esr_el1
        lsr     x9, x9, #ESR_EC_SHIFT
        cmp     x9, #EC_INSTRUCTION_ABORT
        mrs     x9, elr_el1
        add     x9, x9, #4
        csel    x9, x30, x9, eq
        msr     elr_el1, x9
        eret
