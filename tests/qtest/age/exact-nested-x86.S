/*
 * A hypervisor that lets a guest make one access, for x86 with SVM
 *
 * Called by the guest's code as a page that is to be executed: %rdi is where
 * this is, and %rax where to go back.  %rbx, %rcx, %rdx, %rsi, %rdi and %rbp
 * are in use there.  The VMCB says what intercepts the nested guest.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "exact-nested.h"

#define PARAM(name)     (0x1000 + AGE_NESTED_PARAMS + name)(%r12)

#define MSR_EFER        0xc0000080
#define EFER_SVME       (1 << 12)
#define MSR_VM_HSAVE_PA 0xc0010117

        .text
        .globl  _start
        .code64
_start:
        mov     %rdi, %r12
        mov     %rdx, %r13
        mov     %rcx, %r14
        mov     %rax, %r15
        mov     $MSR_EFER, %ecx
        rdmsr
        or      $EFER_SVME, %eax
        wrmsr
        mov     $MSR_VM_HSAVE_PA, %ecx
        mov     PARAM(AGE_NESTED_HSAVE), %eax
        xor     %edx, %edx
        wrmsr
        mov     PARAM(AGE_NESTED_VMCB), %rax
        mov     PARAM(AGE_NESTED_ADDRESS), %rdi
        vmrun   %rax
        mov     %r12, %rdi
        mov     %r13, %rdx
        mov     %r14, %rcx
        jmp     *%r15
