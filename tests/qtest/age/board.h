/*
 * What the age tests do to the hardware of a board, in the guest's place
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_AGE_BOARD_H
#define TESTS_AGE_BOARD_H

#include "libqtest.h"

/*
 * The default machine with its PCI configuration space where age_pci_write()
 * looks for it, and with memory that can be plugged
 */
const char *age_board_machine(void);
#define AGE_BOARD_MEMORY    "64M,slots=4,maxmem=2G"

/* Two places in the 32-bit window of the PCI bus, 64 MiB at least */
uint64_t age_board_pci_window(unsigned index);

/* Number of a device of a bus other than 0 */
#define AGE_PCI_DEV(bus, dev)   ((bus) << 5 | (dev))

/* Write to the configuration space of a function, and read it */
void age_pci_writeb(QTestState *qts, unsigned dev, unsigned fn, unsigned reg,
                    uint8_t value);
void age_pci_writel(QTestState *qts, unsigned dev, unsigned fn, unsigned reg,
                    uint32_t value);
uint32_t age_pci_readl(QTestState *qts, unsigned dev, unsigned fn,
                       unsigned reg);

/* Where a capability is that the function has */
unsigned age_pci_capability(QTestState *qts, unsigned dev, unsigned fn,
                            uint8_t id);

/*
 * ACPI's registers by which a guest on x86 ejects a device from the bus pci.0
 * of pc, or from behind the only root port of q35: I/O ports, at these offsets
 */
#define AGE_BOARD_PC_EJECT      0xae00
#define AGE_BOARD_Q35_EJECT     0x0cc0
#define AGE_BOARD_EJECT_DEV     0x08
#define AGE_BOARD_EJECT_BUS     0x10

/* Plug a DIMM named dimm0, dimm1, ...; its size is as in "8M" */
void age_plug_dimm(QTestState *qts, unsigned index, const char *size);

/* Unplug it: ask, and eject it as the guest would.  Waits for the end. */
void age_unplug_dimm(QTestState *qts, unsigned index);

/*
 * x86: have the CPU of a "pc" store to the page at @gpa in system management
 * mode, by code that is at AGE_SMM_CODE, and wait until it has
 */
#define AGE_SMM_CODE    0x38000
void age_store_in_smm(QTestState *qts, uint64_t gpa);

#endif /* TESTS_AGE_BOARD_H */
