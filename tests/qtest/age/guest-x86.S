/*
 * Guest code of the age tests, for x86
 *
 * This is the last page of the "BIOS": a CPU comes out of reset at 0xfffffff0
 * and the others, when the first one calls them, at 0xff000, which shows the
 * same page.  There is no stack, no interrupt and no data outside of the page
 * tables and the mailboxes, so that nothing else is ever accessed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "mailbox.h"

#define IMAGE           0xfffff000
#define PML4            (AGE_X86_RAM + AGE_TABLES_OFFSET)
#define PDPT            (PML4 + 0x1000)
#define MAILBOXES       (AGE_X86_RAM + AGE_MAILBOX_OFFSET)

/* Present and writable; and a page of 1 GiB */
#define PTE_TABLE       0x03
#define PTE_PAGE        0x83

#define CODE32          0x08
#define DATA            0x10
#define CODE64          0x18

#define CR0_PE          (1 << 0)
#define CR0_PG          (1 << 31)
#define CR4_PAE         (1 << 5)
#define MSR_EFER        0xc0000080
#define EFER_LME        (1 << 8)

/* Interrupt command register: a start-up IPI, to page 0xff, for all others */
#define APIC_ICR        0xfee00300
#define ICR_START       0x000c46ff

/* Offset in this page, for code whose segment does not begin at 0 */
#define OFFSET(label)   (label - _start)

        .text
        .globl  _start

/* Where the other CPUs begin, at offset 0 of their segment */
        .code16
_start:
        cli
        mov     $1, %bp
        lgdtl   %cs:OFFSET(gdt_pointer)
        jmp     protect

/* Where the first CPU comes to: its segment began 15 pages before this one */
first:
        cli
        xor     %bp, %bp
        lgdtl   %cs:OFFSET(gdt_pointer) + 0xf000

protect:
        mov     %cr0, %eax
        or      $CR0_PE, %eax
        mov     %eax, %cr0
        ljmpl   $CODE32, $IMAGE + OFFSET(protected)

        .code32
protected:
        mov     $DATA, %eax
        mov     %eax, %ds
        test    %bp, %bp
        jnz     paging

/* The first CPU makes the page tables: an identity map of 512 GiB. */
        xor     %ecx, %ecx
1:      mov     %ecx, %eax
        shl     $30, %eax
        or      $PTE_PAGE, %eax
        mov     %eax, PDPT(, %ecx, 8)
        mov     %ecx, %eax
        shr     $2, %eax
        mov     %eax, PDPT + 4(, %ecx, 8)
        inc     %ecx
        cmp     $512, %ecx
        jb      1b
        movl    $PDPT | PTE_TABLE, PML4
        movl    $0, PML4 + 4

paging:
        mov     $CR4_PAE, %eax
        mov     %eax, %cr4
        mov     $PML4, %eax
        mov     %eax, %cr3
        mov     $MSR_EFER, %ecx
        rdmsr
        or      $EFER_LME, %eax
        wrmsr
        mov     %cr0, %eax
        or      $CR0_PG, %eax
        mov     %eax, %cr0
        ljmp    $CODE64, $IMAGE + OFFSET(long_mode)

        .code64
long_mode:
        test    %bp, %bp
        jnz     1f
        mov     $APIC_ICR, %eax
        movl    $ICR_START, (%rax)

/* %rbx: the mailbox, by the number of the CPU's local APIC */
1:      mov     $1, %eax
        cpuid
        shr     $24, %ebx
        shl     $AGE_MAILBOX_SHIFT, %ebx
        add     $MAILBOXES, %ebx
        xor     %eax, %eax
        mov     %eax, AGE_MB_SEQ(%rbx)
        mov     %eax, AGE_MB_DONE(%rbx)
        movl    $1, AGE_MB_READY(%rbx)

wait:
        pause
        mov     AGE_MB_SEQ(%rbx), %ebp
        cmp     AGE_MB_DONE(%rbx), %ebp
        je      wait

round:
        mov     AGE_MB_COMMAND(%rbx), %edx
        mov     AGE_MB_START(%rbx), %rdi
        mov     AGE_MB_COUNT(%rbx), %rcx
        mov     AGE_MB_STRIDE(%rbx), %rsi
        test    $AGE_GUEST_FLUSH, %edx
        jz      1f
        mov     %cr3, %rax
        mov     %rax, %cr3
1:      test    $AGE_GUEST_CALL, %edx
        jz      1f
        mov     $APIC_ICR, %eax
        movl    $ICR_START, (%rax)
1:      jrcxz   end_round

page:
        test    $AGE_GUEST_READ, %edx
        jz      1f
        mov     AGE_GUEST_BYTE(%rdi), %al
1:      test    $AGE_GUEST_WRITE, %edx
        jz      1f
        mov     %dl, AGE_GUEST_BYTE(%rdi)
1:      test    $AGE_GUEST_EXEC, %edx
        jz      1f
        lea     1f(%rip), %rax
        jmp     *%rdi
1:      add     %rsi, %rdi
        dec     %rcx
        jnz     page

end_round:
        incq    AGE_MB_ROUNDS(%rbx)
        test    $AGE_GUEST_REPEAT, %edx
        jz      1f
        cmp     AGE_MB_SEQ(%rbx), %ebp
        je      round
1:      mov     %ebp, AGE_MB_DONE(%rbx)
        jmp     wait

/* Flat segments, marked as accessed: they are in ROM. */
        .balign 8
gdt:
        .quad   0
        .quad   0x00cf9b000000ffff      /* CODE32 */
        .quad   0x00cf93000000ffff      /* DATA */
        .quad   0x00af9b000000ffff      /* CODE64 */
gdt_pointer:
        .word   . - gdt - 1
        .long   IMAGE + OFFSET(gdt)

/* Reset vector */
        .org    0xff0
        .code16
        jmp     first
        .org    0x1000
