/*
 * How age-device says that a job has ended, and all its ways to say so
 *
 * A program without a driver in the kernel can't wait for an interrupt, but
 * can see each of its traces.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef AGE_GUEST_COMPLETION_H
#define AGE_GUEST_COMPLETION_H

#include <stdbool.h>
#include <stdint.h>
#include "pci.h"
#include "../../hw/age-device/regs.h"

typedef enum Way {
    WAY_POLL,       /* the status register; interrupts are off */
    WAY_INTX,       /* the PCI status register says that INTx is up */
    WAY_PENDING,    /* a masked vector is pending, and comes when unmasked */
    WAY_MESSAGE,    /* the message is written to a word of our memory */
    WAY_KERNEL,     /* the message is an interrupt that the kernel counts */
    WAY__MAX,
} Way;

typedef volatile uint64_t AgeRegister; /* volatile: it is the device's */

typedef struct AgeDevice {
    PciDevice pci;
    Msix msix;
    AgeRegister *regs;
    Way way;
    Message message;            /* PENDING, MESSAGE: to our word */
    PciWord *word;
    char row[16];               /* KERNEL */
    uint64_t interrupts;        /* KERNEL: how many there were before */
} AgeDevice;

static inline uint64_t reg_read(const AgeDevice *dev, unsigned reg)
{
    return dev->regs[reg / sizeof(*dev->regs)];
}

static inline void reg_write(const AgeDevice *dev, unsigned reg,
                             uint64_t value)
{
    dev->regs[reg / sizeof(*dev->regs)] = value;
}

/*
 * These give err() as the answer, and return false, if something is not as
 * it should be.
 */

/* From a name to a way that can be waited in from now on. */
bool completion_choose(AgeDevice *dev, const char *name);

/* Before a job is started, or one that repeats is stopped. */
bool completion_prepare(AgeDevice *dev);

/* Waits for the end of a job, which has to be with this status. */
bool completion_wait(AgeDevice *dev, uint64_t status);

#endif
