/*
 * Single accesses of many kinds, for x86
 *
 * Called by the guest's code as a page that is to be executed: %rdi is where
 * this is, and %rax where to go back.  %rbx, %rcx, %rdx, %rsi, %rdi and %rbp
 * are in use there.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "exact-ops.h"

/* The slot of a kind; it must fit. */
#define SLOT(kind) \
        .org    AGE_EXACT_SLOTS + (kind << AGE_EXACT_SLOT_SHIFT)

        .text
        .globl  _start
        .code64
_start:
        mov     %rdi, %r12
        lea     0x1000(%rdi), %r13
        mov     %rcx, %r14
        mov     %rax, %r15
        mov     %rsi, %r11
        lidt    AGE_EXACT_IDTR(%r13)
        lea     AGE_EXACT_STACK(%r13), %rsp

/* %r9, %r10: the addresses; %r8 and %rax are free. */
next:
        mov     AGE_EXACT_OP(%r13), %r8
        mov     AGE_EXACT_ADDRESS(%r13), %r9
        mov     AGE_EXACT_OTHER(%r13), %r10
        mov     AGE_EXACT_BYTES(%r13), %rcx
        add     $AGE_EXACT_ENTRY, %r13
        test    %r8, %r8
        jz      end
        shl     $AGE_EXACT_SLOT_SHIFT, %r8
        lea     AGE_EXACT_SLOTS(%r12, %r8), %r8
        jmp     *%r8

end:
        mov     %r12, %rdi
        mov     %r11, %rsi
        mov     %r14, %rcx
        jmp     *%r15

        SLOT(AGE_EXACT_LOAD)
        mov     (%r9), %r8
        jmp     next

        SLOT(AGE_EXACT_STORE)
        mov     %r8, (%r9)
        jmp     next

        SLOT(AGE_EXACT_UPDATE)
        add     %r8, (%r9)
        jmp     next

        SLOT(AGE_EXACT_SWAP)
        xchg    %r8, (%r9)
        jmp     next

        SLOT(AGE_EXACT_ADD)
        lock xadd %r8, (%r9)
        jmp     next

        SLOT(AGE_EXACT_CAS)
        xor     %eax, %eax
        lock cmpxchg %r8, (%r9)
        jmp     next

        SLOT(AGE_EXACT_PAIR)
        mov     %rdx, %r8
        xor     %eax, %eax
        xor     %edx, %edx
        lock cmpxchg16b (%r9)
        mov     %r8, %rdx
        jmp     next

        SLOT(AGE_EXACT_CALL)
        lea     next(%rip), %rax
        jmp     *%r9

        SLOT(AGE_EXACT_COPY)
        mov     %r9, %rsi
        mov     %r10, %rdi
        rep movsb
        jmp     next

        SLOT(AGE_EXACT_ZERO)
        xor     %eax, %eax
        mov     %r9, %rdi
        mov     $8, %ecx
        rep stosq
        jmp     next

        SLOT(AGE_EXACT_FAULT)
        mov     (%r9), %r8
        ud2

        SLOT(AGE_EXACT_WALK)
        ud2

/* Page fault: drop the error code, and go on with the next entry. */
        .org    AGE_EXACT_HANDLER
        lea     next(%rip), %r8
        add     $8, %rsp
        mov     %r8, (%rsp)
        iretq
