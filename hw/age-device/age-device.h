/*
 * age-device: a PCI device that does DMA through a second stage of its own
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_AGE_DEVICE_H
#define HW_AGE_DEVICE_H

#include "qemu/main-loop.h"
#include "hw/pci/pci_device.h"
#include "system/runstate.h"
#include "qom/object.h"
#include "engine.h"

#define TYPE_AGE_DEVICE "age-device"
OBJECT_DECLARE_SIMPLE_TYPE(AgeDevice, AGE_DEVICE)

/**
 * AgeJobState: what is done about the job
 *
 * @AGE_JOB_NONE: there is none
 * @AGE_JOB_SLICES: the main loop does it
 * @AGE_JOB_WORKER: the worker does it
 * @AGE_JOB_STOPPING: the worker is to put it down, and it is over then
 * @AGE_JOB_HALTING: the worker is to put it down, as somebody waits for that
 * @AGE_JOB_OVER: the worker has put it down, for the main loop to end it
 * @AGE_JOB_PAUSED: nobody does it for now
 * @AGE_JOB_GONE: there is none, and there will be none: the device is unplugged
 *
 * NONE -> SLICES, WORKER: a job starts.
 * SLICES, OVER, PAUSED -> NONE: it ends.
 * WORKER -> STOPPING: the guest stops it.
 * SLICES, OVER -> PAUSED; WORKER -> HALTING: it is paused or dropped.
 * PAUSED -> SLICES, WORKER: it goes on.
 * NONE -> PAUSED: it comes by migration, that had dropped what was there.
 * NONE -> GONE: the device is unplugged, with the job dropped.
 *
 * These are for who holds the BQL.  Only the worker takes a job out of its own
 * hands:
 *
 * WORKER, STOPPING, HALTING -> OVER: it is done, failed, or was to be stopped.
 * HALTING -> PAUSED: there is more to do.
 *
 * Dropped is what was paused or is over, and becomes NONE from that.
 */
typedef enum AgeJobState {
    AGE_JOB_NONE,
    AGE_JOB_SLICES,
    AGE_JOB_WORKER,
    AGE_JOB_STOPPING,
    AGE_JOB_HALTING,
    AGE_JOB_OVER,
    AGE_JOB_PAUSED,
    AGE_JOB_GONE,
} AgeJobState;

/**
 * AgeDevice: the device; all but what is said to be otherwise is under the BQL
 *
 * @mmio: BAR 0
 * @test_clear_young: property: the MMU answers for single pages
 * @worker: property: jobs are done in a thread, where that can be
 * @engine: the job; who does it uses it without a lock
 * @status: the status register
 * @irq_status: interrupt causes that wait for the guest
 * @irq_enable: those that raise an interrupt
 * @vm_state: subscription to starts and stops of the machine
 * @bh: ends a job that is over
 * @slice: GLib's source that does the next slice of a job, or 0
 * @thread: does jobs, with @worker
 * @lock: protects @state; the BQL is never taken with it held
 * @changed: signalled when that changes
 * @state: what is done about the job
 * @result: what came of a job that is over or paused; written before it is
 */
struct AgeDevice {
    PCIDevice parent_obj;
    MemoryRegion mmio;
    bool test_clear_young;
    bool worker;
    AgeEngine engine;
    uint64_t status;
    uint64_t irq_status;
    uint64_t irq_enable;
    VMChangeStateEntry *vm_state;

    QEMUBH *bh;
    guint slice;
    QemuThread thread;
    QemuMutex lock;
    QemuCond changed;
    AgeJobState state;
    AgeEngineResult result;
};

/* mmio.c */

extern const MemoryRegionOps age_device_mmio_ops;

/* irq.c: with the BQL held */

/*
 * Set @causes, and raise an interrupt if they are enabled.  The device may be
 * unplugged by that.
 */
void age_device_irq_raise(AgeDevice *s, uint64_t causes);

/* Have INTx follow the registers. */
void age_device_irq_update(AgeDevice *s);

/* runner.c: all with the BQL held, which those that wait don't drop */

void age_device_runner_init(AgeDevice *s);
void age_device_runner_finalize(AgeDevice *s);

/* Jobs can be started between these.  The latter drops one, and waits. */
void age_device_runner_realize(AgeDevice *s);
void age_device_runner_unrealize(AgeDevice *s);

/* Are jobs done in a thread?  Not behind an IOMMU. */
bool age_device_has_worker(AgeDevice *s);

/* Begin a job, unless there is one. */
void age_device_start(AgeDevice *s);

/* End the job, if there is one.  Does not wait; may raise an interrupt. */
void age_device_stop(AgeDevice *s);

/* Have the job, if there is one, rest.  Waits until no DMA goes on. */
void age_device_pause(AgeDevice *s);

/* Drop the job, if there is one, without an interrupt.  Waits likewise. */
void age_device_abort(AgeDevice *s);

/* Go on with a job that rests.  May raise an interrupt. */
void age_device_resume(AgeDevice *s);

/* The registers are those of another device, whose job was resting. */
void age_device_loaded(AgeDevice *s);

#endif /* HW_AGE_DEVICE_H */
