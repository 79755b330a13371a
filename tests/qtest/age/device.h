/*
 * What the tests of age-device do to it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_AGE_DEVICE_H
#define TESTS_AGE_DEVICE_H

#include "hw/age-device/regs.h"
#include "guest.h"

/* Where it is on bus 0, unless a test puts something else there */
#define AGE_DEV_SLOT        4
#define AGE_DEV             "-device age-device,id=dma0,addr=4"
#define AGE_DEV_WORKER      AGE_DEV ",worker=on"

/**
 * AgeDev: the device under test
 *
 * @g: the guest, which is stopped; NULL if there is none
 * @qts: its QEMU
 * @dev: number of the device, see AGE_PCI_DEV()
 * @window: which window of age_board_pci_window() has its registers
 * @bar: address of its registers
 * @memory: memory for DMA, that nobody else uses
 * @end: address behind the last byte of it
 */
typedef struct AgeDev {
    AgeGuest *g;
    QTestState *qts;
    unsigned dev;
    unsigned window;
    uint64_t bar;
    uint64_t memory;
    uint64_t end;
} AgeDev;

/* Life */

/* Start a guest with the device and stop it, with nothing young */
AgeDev *age_dev_start(const char *args);

/* The same on a machine of choice, without age_dev_enable() */
AgeDev *age_dev_start_on(const char *machine, const char *args);
AgeDev *age_dev_start_with(const AgeGuestOptions *options);

/* Give the device its addresses, and permission to use the bus. */
void age_dev_enable(AgeDev *d);

/* Quit QEMU */
void age_dev_quit(AgeDev *d);

/* Registers */

uint64_t age_dev_get(AgeDev *d, unsigned reg);
void age_dev_set(AgeDev *d, unsigned reg, uint64_t value);

/* Jobs */

/**
 * age_dev_setup: a job of @count steps, one behind the other, done once
 * @d: the device
 * @command: what to do
 * @addr: where it begins, as source and as destination
 * @length: bytes of a step
 * @count: number of steps
 */
void age_dev_setup(AgeDev *d, unsigned command, uint64_t addr,
                   uint64_t length, uint64_t count);

/* Begin it */
void age_dev_go(AgeDev *d);

/* Begin one that writes 4 MiB again and again, and wait until it has begun. */
void age_dev_go_endless(AgeDev *d);

/* Wait until a job has done so many bytes. */
void age_dev_wait_bytes(AgeDev *d, uint64_t bytes);

/* Wait until a job ends.  Returns the status. */
uint64_t age_dev_wait(AgeDev *d);

/* Stop it, and wait for the end of that */
void age_dev_stop(AgeDev *d);

/* Do a job, which must succeed. */
void age_dev_do(AgeDev *d);

/* Do a job, which must fail with this code and nothing else. */
void age_dev_fail(AgeDev *d, uint64_t code);

/* Interrupts */

/* Is INTx up? */
bool age_dev_intx(AgeDev *d);

/* Have messages be @data, written to @addr; the vector may be masked. */
void age_dev_use_msix(AgeDev *d, uint64_t addr, uint32_t data, bool masked);
void age_dev_mask_msix(AgeDev *d, bool masked);
void age_dev_enable_msix(AgeDev *d, bool on);

/* Is there a message that waits for the vector to be unmasked? */
bool age_dev_msix_pending(AgeDev *d);

/* Memory */

/* Fail unless what is young is @want.  Frees that, and makes all old. */
void age_dev_check_young(AgeDev *d, GArray *want);

/* A job that makes every third page of 300 young, and the check that it did */
void age_dev_check_stride(AgeDev *d, unsigned command);

/* Have it answer for single pages, or not */
void age_dev_set_young(AgeDev *d, bool on);

/* Have a test be done without a worker, and with one: "age/device/..." */
void age_dev_add_test(const char *name, GTestDataFunc func);

#endif /* TESTS_AGE_DEVICE_H */
