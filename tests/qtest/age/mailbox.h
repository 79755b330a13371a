/*
 * Guest code of the age tests: what it agrees upon with them
 *
 * Included by C and by assembly.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_AGE_MAILBOX_H
#define TESTS_AGE_MAILBOX_H

/*
 * Where RAM begins, and what the guest has in it.  The firmware of other
 * guests would be below that, and so is the device tree on Arm.
 */
#define AGE_X86_RAM             0x00000000
#define AGE_ARM_RAM             0x40000000
#define AGE_TABLES_OFFSET       0x00200000
#define AGE_MAILBOX_OFFSET      0x00210000
#define AGE_MEMORY_OFFSET       0x00400000

/* Each CPU has its own mailbox, in a page of its own. */
#define AGE_MAILBOX_SHIFT       12
#define AGE_MAX_CPUS            8

/*
 * Members of a mailbox: 64 bits each, of which the guest uses the low 32 of
 * the first four.  The guest sets READY once, then waits until SEQ is not
 * DONE, does what COMMAND says, and sets DONE to SEQ.
 */
#define AGE_MB_READY            0x00
#define AGE_MB_SEQ              0x08
#define AGE_MB_DONE             0x10
#define AGE_MB_COMMAND          0x18
#define AGE_MB_START            0x20
#define AGE_MB_COUNT            0x28
#define AGE_MB_STRIDE           0x30
#define AGE_MB_ROUNDS           0x38

/*
 * Bits of COMMAND: what to do at each of COUNT addresses from START on, one
 * every STRIDE bytes.  Loads and stores are AGE_GUEST_BYTE behind it; what is
 * called must be a return instruction.
 */
#define AGE_GUEST_READ          0x01
#define AGE_GUEST_WRITE         0x02
#define AGE_GUEST_EXEC          0x04

/* First drop the CPU's TLB; and do all of it until SEQ changes */
#define AGE_GUEST_FLUSH         0x10
#define AGE_GUEST_REPEAT        0x20

/* x86: first call all other CPUs, for some that were plugged */
#define AGE_GUEST_CALL          0x40

#define AGE_GUEST_BYTE          8

#endif /* TESTS_AGE_MAILBOX_H */
