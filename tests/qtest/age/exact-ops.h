/*
 * A program for the guest of the age tests: single accesses of many kinds
 *
 * Its two pages are anywhere in memory.  The first has the code, which the
 * guest calls; the second has a list of accesses, and on x86 what a page fault
 * needs.  So no other page is accessed than those and what is in the list.
 *
 * Included by C and by assembly.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_AGE_EXACT_OPS_H
#define TESTS_AGE_EXACT_OPS_H

/*
 * What to do at an address.  All are accesses to 8 bytes unless it says
 * otherwise; they need to be aligned from SWAP to PAIR on.
 */
#define AGE_EXACT_END           0
#define AGE_EXACT_LOAD          1
#define AGE_EXACT_STORE         2
/* x86: add to memory, without a lock; Arm: load and store exclusive */
#define AGE_EXACT_UPDATE        3
#define AGE_EXACT_SWAP          4
#define AGE_EXACT_ADD           5
/* Compare and swap: memory is expected to be 0 */
#define AGE_EXACT_CAS           6
/* The same with 16 bytes */
#define AGE_EXACT_PAIR          7
/* Call it; there is a return instruction, of 2 bytes on x86, 4 on Arm */
#define AGE_EXACT_CALL          8
/* Copy BYTES from the address to OTHER; both may be anywhere */
#define AGE_EXACT_COPY          9
/* Make 64 bytes zero, aligned to that: x86 rep stos; Arm: dc zva */
#define AGE_EXACT_ZERO          10
/* A load that faults */
#define AGE_EXACT_FAULT         11
/* Arm: have the address translated, and do no more */
#define AGE_EXACT_WALK          12
#define AGE_EXACT_NUM           13

/* Members of an entry of the list, 64 bits each, and its size */
#define AGE_EXACT_OP            0
#define AGE_EXACT_ADDRESS       8
#define AGE_EXACT_OTHER         16
#define AGE_EXACT_BYTES         24
#define AGE_EXACT_ENTRY         32

/* In the first page: the code of each kind, one slot after another */
#define AGE_EXACT_SLOTS         0x100
#define AGE_EXACT_SLOT_SHIFT    5
/* x86: handler of page faults; Arm: the vectors */
#define AGE_EXACT_HANDLER       0x800

/*
 * In the second page: on x86, behind the list are the operand of LIDT and the
 * IDT, and the stack grows down from the end.
 */
#define AGE_EXACT_MAX           32
#define AGE_EXACT_IDTR          0x420
#define AGE_EXACT_IDT           0x430
#define AGE_EXACT_STACK         0x1000

#endif /* TESTS_AGE_EXACT_OPS_H */
