/*
 * A hypervisor that lets a guest make one access, for arm64
 *
 * This is the first page of the flash device at address 0, where the CPU comes
 * out of reset, at EL2.  It runs without translation, and takes commands from
 * the mailbox as the usual guest does, but only this one: to run the guest at
 * EL1 until it traps, with the parameters behind the mailbox.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "exact-nested.h"
#include "mailbox.h"

#define MAILBOX         (AGE_ARM_RAM + AGE_MAILBOX_OFFSET)

/* Stage 2 is on, and EL1 has 64 bits */
#define HCR_VM          0x1
#define HCR_RW          0x80000000
#define SCTLR_M_C       0x5
/* EL1 with its own stack pointer, all interrupts masked */
#define SPSR_EL1H       0x3c5

/* Synchronous exception of a lower level */
#define VECTOR_LOWER    0x400

        .text
        .globl  _start
_start:
        mov     x21, #MAILBOX
        adr     x0, vectors
        msr     vbar_el2, x0
        mov     x0, #HCR_RW
        orr     x0, x0, #HCR_VM
        msr     hcr_el2, x0
        mrs     x0, sctlr_el1
        mov     x1, #SCTLR_M_C
        orr     x0, x0, x1
        msr     sctlr_el1, x0
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

        add     x20, x21, #AGE_NESTED_PARAMS
        ldp     x0, x1, [x20, #AGE_NESTED_VTTBR]
        msr     vttbr_el2, x0
        msr     vtcr_el2, x1
        ldp     x0, x1, [x20, #AGE_NESTED_TTBR0]
        msr     ttbr0_el1, x0
        msr     tcr_el1, x1
        ldp     x0, x2, [x20, #AGE_NESTED_MAIR]
        msr     mair_el1, x0
        ldr     x1, [x20, #AGE_NESTED_ADDRESS]
        tlbi    alle1
        dsb     sy
        isb
        cbnz    x2, enter
        at      s12e1r, x1
        isb
        mrs     x0, par_el1
        b       done

enter:
        msr     elr_el2, x2
        mov     x0, #SPSR_EL1H
        msr     spsr_el2, x0
        eret

        .org    0x800
vectors:
        .org    vectors + VECTOR_LOWER
        mrs     x0, esr_el2
done:
        str     x0, [x20, #AGE_NESTED_ESR]
        dmb     ish
        ldr     w10, [x21, #AGE_MB_SEQ]
        str     w10, [x21, #AGE_MB_DONE]
        b       wait
