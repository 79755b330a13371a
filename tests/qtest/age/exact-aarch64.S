/*
 * Single accesses of many kinds, for arm64
 *
 * Called by the guest's code as a page that is to be executed: x5 is where
 * this is.  x4 to x7, x10, x20 and x21 are in use there.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "exact-ops.h"

/* The slot of a kind; it must fit. */
#define SLOT(kind) \
        .org    AGE_EXACT_SLOTS + (kind << AGE_EXACT_SLOT_SHIFT)

/* Synchronous exception of the level that we are at, on its own stack */
#define VECTOR_SYNC     0x200

        .arch   armv8.1-a
        .text
        .globl  _start
_start:
        mov     x22, x30
        add     x23, x5, #AGE_EXACT_SLOTS
        add     x24, x5, #0x1000
        add     x0, x5, #AGE_EXACT_HANDLER
        msr     vbar_el1, x0
        isb

/* x1, x2: the addresses; x3: bytes; x9 and x11 to x15 are free. */
next:
        ldp     x0, x1, [x24, #AGE_EXACT_OP]
        ldp     x2, x3, [x24, #AGE_EXACT_OTHER]
        add     x24, x24, #AGE_EXACT_ENTRY
        cbz     x0, end
        add     x0, x23, x0, lsl #AGE_EXACT_SLOT_SHIFT
        br      x0

end:
        ret     x22

        SLOT(AGE_EXACT_LOAD)
        ldr     x9, [x1]
        b       next

        SLOT(AGE_EXACT_STORE)
        str     x9, [x1]
        b       next

        SLOT(AGE_EXACT_UPDATE)
        ldxr    x9, [x1]
        stxr    w11, x9, [x1]
        cbnz    w11, . - 8
        b       next

        SLOT(AGE_EXACT_SWAP)
        swp     x9, x11, [x1]
        b       next

        SLOT(AGE_EXACT_ADD)
        ldadd   x9, x11, [x1]
        b       next

        SLOT(AGE_EXACT_CAS)
        mov     x9, #0
        cas     x9, x23, [x1]
        b       next

        SLOT(AGE_EXACT_PAIR)
        mov     x12, #0
        mov     x13, #0
        casp    x12, x13, x14, x15, [x1]
        b       next

        SLOT(AGE_EXACT_CALL)
        blr     x1
        b       next

        SLOT(AGE_EXACT_COPY)
        ldrb    w9, [x1], #1
        strb    w9, [x2], #1
        subs    x3, x3, #1
        b.ne    . - 12
        b       next

        SLOT(AGE_EXACT_ZERO)
        dc      zva, x1
        b       next

        SLOT(AGE_EXACT_FAULT)
        ldr     x9, [x1]
        hlt     #0

        SLOT(AGE_EXACT_WALK)
        at      s1e1r, x1
        b       next

/* Data abort: go on with the next entry. */
        .org    AGE_EXACT_HANDLER + VECTOR_SYNC
        adr     x9, next
        msr     elr_el1, x9
        eret
