/*
 * How age-device says that a job has ended, and all its ways to say so
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <inttypes.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "area.h"
#include "completion.h"
#include "console.h"

/* How often to look: this often without a pause, then each millisecond. */
#define QUICK_LOOKS     1000
#define LOOKS           60000

static const char *const way_names[WAY__MAX] = {
    [WAY_POLL] = "poll",
    [WAY_INTX] = "intx",
    [WAY_PENDING] = "pending",
    [WAY_MESSAGE] = "message",
    [WAY_KERNEL] = "kernel",
};

static bool wrong(const AgeDevice *dev, const char *what)
{
    err("%s: %s (status 0x%" PRIx64 ", interrupts 0x%" PRIx64 ")",
        way_names[dev->way], what, reg_read(dev, AGE_DEVICE_STATUS),
        reg_read(dev, AGE_DEVICE_IRQ_STATUS));
    return false;
}

static bool busy(const AgeDevice *dev)
{
    return reg_read(dev, AGE_DEVICE_STATUS) & AGE_DEVICE_STATUS_BUSY;
}

static bool intx_is_up(const AgeDevice *dev)
{
    return pci_read(&dev->pci, PCI_STATUS, 2) & PCI_STATUS_INTX;
}

static bool uses_msix(Way way)
{
    return way >= WAY_PENDING;
}

/* Choosing a way */

/* A word of our memory, and the message that is written to it. */
static bool prepare_word(AgeDevice *dev)
{
    uint64_t pfn;

    if (!dev->word) {
        dev->word = map_locked(1, PROT_READ | PROT_WRITE, MADV_NOHUGEPAGE);
    }
    if (!dev->word) {
        return false;
    }
    *dev->word = 0;
    if (!pagemap_read((void *)dev->word, 1, &pfn)) {
        return false;
    }
    dev->message = (Message) { .address = pfn * PAGE_SIZE };
    return true;
}

static bool prepare_way(AgeDevice *dev)
{
    switch (dev->way) {
    case WAY_PENDING:
    case WAY_MESSAGE:
        return prepare_word(dev);
    case WAY_KERNEL:
        return kernel_message(&dev->message, dev->row, sizeof(dev->row));
    default:
        return true;
    }
}

/*
 * INTx never reaches a processor: the kernel has no handler that would make
 * the device take it back.
 */
static void set_up(const AgeDevice *dev)
{
    bool msix = uses_msix(dev->way);

    pci_write(&dev->pci, PCI_COMMAND, 2, PCI_COMMAND_MEMORY |
              PCI_COMMAND_MASTER | PCI_COMMAND_NO_INTX);
    reg_write(dev, AGE_DEVICE_IRQ_STATUS, AGE_DEVICE_IRQ_ALL);
    reg_write(dev, AGE_DEVICE_IRQ_ENABLE,
              dev->way == WAY_POLL ? 0 : AGE_DEVICE_IRQ_ALL);
    msix_mask(&dev->msix, true);
    msix_enable(&dev->msix, msix);
    if (msix) {
        msix_set_message(&dev->msix, &dev->message);
        msix_mask(&dev->msix, dev->way == WAY_PENDING);
    }
}

bool completion_choose(AgeDevice *dev, const char *name)
{
    Way way = WAY_POLL;

    while (way < WAY__MAX && strcmp(name, way_names[way])) {
        way++;
    }
    if (way == WAY__MAX) {
        err("no such way to wait");
        return false;
    }
    dev->way = way;
    if (!prepare_way(dev)) {
        return wrong(dev, "not to be had");
    }
    set_up(dev);
    return true;
}

/* The traces that the end of a job leaves */

/* Each message has a number of its own. */
static void next_message(AgeDevice *dev)
{
    *dev->word = 0;
    dev->message.data++;
    msix_mask(&dev->msix, true);
    msix_set_message(&dev->msix, &dev->message);
    msix_mask(&dev->msix, dev->way == WAY_PENDING);
}

static bool seen(const AgeDevice *dev)
{
    switch (dev->way) {
    case WAY_INTX:
        return intx_is_up(dev);
    case WAY_PENDING:
        return msix_pending(&dev->msix);
    case WAY_MESSAGE:
        return *dev->word;
    case WAY_KERNEL:
        return kernel_interrupts(dev->row) != dev->interrupts;
    default:
        return !busy(dev);
    }
}

bool completion_prepare(AgeDevice *dev)
{
    if (dev->way == WAY_PENDING || dev->way == WAY_MESSAGE) {
        next_message(dev);
    } else if (dev->way == WAY_KERNEL) {
        dev->interrupts = kernel_interrupts(dev->row);
    }
    if (dev->way != WAY_POLL && seen(dev)) {
        return wrong(dev, "an interrupt before the end");
    }
    return true;
}

static bool look_out(const AgeDevice *dev)
{
    unsigned late = 0;

    for (unsigned looks = 0; late < LOOKS; looks++) {
        bool over = !busy(dev);

        if (seen(dev)) {
            return true;
        }
        if (looks < QUICK_LOOKS) {
            sched_yield();
        } else {
            late += over;
            usleep(1000);
        }
    }
    return wrong(dev, "no interrupt at the end");
}

/* A vector that was masked has to come when it no longer is. */
static bool unmask(const AgeDevice *dev)
{
    if (*dev->word) {
        return wrong(dev, "a message though it is masked");
    }
    msix_mask(&dev->msix, false);
    if (msix_pending(&dev->msix)) {
        return wrong(dev, "still pending");
    }
    return true;
}

/* What has to be true once the interrupt has been acknowledged */
static bool check_after(const AgeDevice *dev)
{
    if (intx_is_up(dev)) {
        return wrong(dev, "INTx is up");
    }
    if (dev->way == WAY_PENDING && !unmask(dev)) {
        return false;
    }
    if (dev->way == WAY_PENDING || dev->way == WAY_MESSAGE) {
        if (*dev->word != dev->message.data) {
            return wrong(dev, "another message");
        }
    }
    if (dev->way == WAY_KERNEL &&
        kernel_interrupts(dev->row) != dev->interrupts + 1) {
        return wrong(dev, "more than one interrupt");
    }
    return true;
}

bool completion_wait(AgeDevice *dev, uint64_t status)
{
    if (!look_out(dev)) {
        return false;
    }
    if (reg_read(dev, AGE_DEVICE_STATUS) != status) {
        return wrong(dev, "another status");
    }
    if (reg_read(dev, AGE_DEVICE_IRQ_STATUS) != AGE_DEVICE_IRQ_DONE) {
        return wrong(dev, "another interrupt status");
    }
    reg_write(dev, AGE_DEVICE_IRQ_STATUS, AGE_DEVICE_IRQ_DONE);
    if (reg_read(dev, AGE_DEVICE_IRQ_STATUS)) {
        return wrong(dev, "the interrupt status stays");
    }
    return check_after(dev);
}
