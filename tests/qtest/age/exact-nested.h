/*
 * A hypervisor for the guest of the age tests, which runs a guest of its own
 *
 * On arm64 it is the firmware of its machine, and its parameters are in the
 * mailbox page.  On x86 it is called by the usual guest, as a page that is to
 * be executed, and its parameters are in the page after it.
 *
 * Included by C and by assembly.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_AGE_EXACT_NESTED_H
#define TESTS_AGE_EXACT_NESTED_H

/* Where they are in the page, and each: 64 bits */
#define AGE_NESTED_PARAMS       0x800

/* For the register in which the nested guest's code has an address */
#define AGE_NESTED_ADDRESS      0x00

/* x86: physical addresses of the VMCB and of the host state-save area */
#define AGE_NESTED_VMCB         0x10
#define AGE_NESTED_HSAVE        0x18

/*
 * Arm: system registers of the nested guest, and where it begins; zero to have
 * the hypervisor translate the address by both stages, and no more
 */
#define AGE_NESTED_VTTBR        0x10
#define AGE_NESTED_VTCR         0x18
#define AGE_NESTED_TTBR0        0x20
#define AGE_NESTED_TCR          0x28
#define AGE_NESTED_MAIR         0x30
#define AGE_NESTED_PC           0x38

/* Arm: out: why it came back, as in ESR_EL2 */
#define AGE_NESTED_ESR          0x40

#endif /* TESTS_AGE_EXACT_NESTED_H */
