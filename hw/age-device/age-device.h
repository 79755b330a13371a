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
 * AgeDevice: the device; all but what is said to be the worker's is under the
 * BQL
 *
 * @mmio: BAR 0
 * @test_clear_young: property: the MMU answers for single pages
 * @worker: property: jobs are done in a thread, where that can be
 * @engine: the job
 * @status: the status register
 * @irq_status: interrupt causes that wait for the guest
 * @irq_enable: those that raise an interrupt
 * @no_start: no job may start, as so many wait for the end of one
 * @paused: the job does not go on before the machine does
 * @vm_state: subscription to starts and stops of the machine
 * @bh: ends a job of the worker's
 * @slice: GLib's source that does the next slice of a job, or 0
 * @thread: does jobs, with @worker
 * @active: the worker has a job in hands, and the BQL is free for it to take
 * @idle: signalled when @active is cleared
 * @stopping: the worker's job ends when it is put down
 * @over: the worker's job is over, with @result, and wants to be ended
 * @result: what came of it
 * @halt: the worker is to put its job down after this piece; atomic
 * @work: for the worker: there is a job; under @work_lock
 * @quit: for the worker: exit; under @work_lock
 * @work_lock: protects these two
 * @work_cond: signalled when one of them is set
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
    unsigned no_start;
    bool paused;
    VMChangeStateEntry *vm_state;

    QEMUBH *bh;
    guint slice;

    QemuThread thread;
    bool active;
    QemuCond idle;
    bool stopping;
    bool over;
    AgeEngineResult result;
    bool halt;
    bool work;
    bool quit;
    QemuMutex work_lock;
    QemuCond work_cond;
};

/* mmio.c */

extern const MemoryRegionOps age_device_mmio_ops;

/* Set @causes, and raise an interrupt if they are enabled. */
void age_device_irq_raise(AgeDevice *s, uint64_t causes);

/* Have INTx follow the registers. */
void age_device_irq_update(AgeDevice *s);

/* runner.c: all with the BQL held.  Those that wait drop it meanwhile. */

void age_device_runner_init(AgeDevice *s);
void age_device_runner_cleanup(AgeDevice *s);

/* Are jobs done in a thread?  Not behind an IOMMU. */
bool age_device_has_worker(AgeDevice *s);

/* Begin a job, unless there is one. */
void age_device_start(AgeDevice *s);

/* End the job, if there is one.  Does not wait. */
void age_device_stop(AgeDevice *s);

/* Have the job, if there is one, rest or end.  Waits until no DMA goes on. */
void age_device_pause(AgeDevice *s);

/* Drop the job, if there is one, without an interrupt.  Waits likewise. */
void age_device_abort(AgeDevice *s);

/* Go on with a job that rests. */
void age_device_resume(AgeDevice *s);

#endif /* HW_AGE_DEVICE_H */
