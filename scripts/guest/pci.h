/*
 * PCI devices without a driver in the kernel, through sysfs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef AGE_GUEST_PCI_H
#define AGE_GUEST_PCI_H

#include <stdbool.h>
#include <stdint.h>

#define PCI_NAME_SIZE           32

/* Configuration space */
#define PCI_COMMAND             0x04
#define PCI_COMMAND_MEMORY      0x0002
#define PCI_COMMAND_MASTER      0x0004
#define PCI_COMMAND_NO_INTX     0x0400
#define PCI_STATUS              0x06
#define PCI_BAR0                0x10
#define PCI_STATUS_INTX         0x0008

/* A part of a table that a device has for its driver */
typedef volatile uint32_t PciWord; /* volatile: the device uses it as well */

typedef struct PciDevice {
    char name[PCI_NAME_SIZE];   /* domain:bus:slot.function */
    int config;                 /* file of the configuration space */
} PciDevice;

/* What a device writes to interrupt. */
typedef struct Message {
    uint64_t address;
    uint32_t data;
} Message;

/* MSI-X with its first vector */
typedef struct Msix {
    const PciDevice *pci;
    unsigned cap;
    PciWord *entry;
    PciWord *pending;
} Msix;

/* The first device with these IDs; to be closed. */
bool pci_find(PciDevice *pci, uint16_t vendor, uint16_t device);

/* Up to @max devices with these IDs, in no order; how many there are. */
unsigned pci_find_all(PciDevice *pci, unsigned max, uint16_t vendor,
                      uint16_t device);
void pci_close(PciDevice *pci);

/* Whether the kernel still knows a device of this name. */
bool pci_present(const PciDevice *pci);

uint32_t pci_read(const PciDevice *pci, unsigned offset, unsigned size);
void pci_write(const PciDevice *pci, unsigned offset, unsigned size,
               uint32_t value);

/*
 * An offset in a memory BAR, and what follows it in the same page of the
 * kernel's; NULL if it can't be had.
 */
void *pci_map(const PciDevice *pci, unsigned bar, unsigned offset);
void pci_unmap(void *place);

bool msix_open(Msix *msix, const PciDevice *pci);
void msix_close(Msix *msix);
void msix_enable(const Msix *msix, bool on);
void msix_set_message(const Msix *msix, const Message *message);
void msix_mask(const Msix *msix, bool on);
bool msix_pending(const Msix *msix);

/*
 * A message that the kernel takes for an interrupt of somebody who does not
 * mind, and counts in a row of /proc/interrupts.
 */
bool kernel_message(Message *message, char *row, unsigned size);

/* How many interrupts there were so far in a row of /proc/interrupts. */
uint64_t kernel_interrupts(const char *row);

#endif
