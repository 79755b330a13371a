/*
 * age-device: who does a job, and when
 *
 * The main loop does a job slice by slice, when it has nothing else to do, or a
 * thread does it in one go.  Both look after each piece whether they are to put
 * it down, so nobody waits long.
 *
 * The thread does without the BQL, and so without QEMU's models of IOMMUs:
 * those raise interrupts and change the memory layout from within a
 * translation.  What is more, an access has to be done before the guest is told
 * that the IOMMU has forgotten the address, and the BQL sees to this.  So the
 * jobs of a device that is behind an IOMMU are the main loop's.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/log.h"
#include "qemu/rcu.h"
#include "exec/address-spaces.h"
#include "age-device.h"
#include "trace.h"

/*
 * What the main loop does at a time: about a millisecond.  A piece costs
 * something even if it is small.
 */
#define SLICE           (1024 * 1024)
#define PIECE_COST      4096

static bool is_busy(AgeDevice *s)
{
    return s->status & AGE_DEVICE_STATUS_BUSY;
}

/* Ends of a job */

static void end_with(AgeDevice *s, uint64_t status, uint64_t cause)
{
    trace_age_device_end(status, age_engine_progress(&s->engine).bytes);
    s->status = status;
    s->paused = false;
    s->stopping = false;
    age_device_irq_raise(s, cause);
}

static void end_with_error(AgeDevice *s, uint64_t code)
{
    end_with(s, AGE_DEVICE_STATUS_ERROR | code << AGE_DEVICE_STATUS_CODE,
             AGE_DEVICE_IRQ_ERROR);
}

static void end(AgeDevice *s, AgeEngineResult result)
{
    switch (result) {
    case AGE_ENGINE_MORE:
        end_with(s, AGE_DEVICE_STATUS_STOPPED, AGE_DEVICE_IRQ_DONE);
        break;
    case AGE_ENGINE_DONE:
        end_with(s, AGE_DEVICE_STATUS_DONE, AGE_DEVICE_IRQ_DONE);
        break;
    case AGE_ENGINE_INVALID:
        end_with_error(s, AGE_DEVICE_CODE_INVALID);
        break;
    case AGE_ENGINE_WRAP:
        end_with_error(s, AGE_DEVICE_CODE_WRAP);
        break;
    case AGE_ENGINE_DMA:
        end_with_error(s, AGE_DEVICE_CODE_DMA);
        break;
    }
}

/* The main loop's part */

/*
 * The worker's job is over.  It does not end that itself: an interrupt is a
 * write to an address of the guest's choice, and could unplug the device.
 */
static void end_over(AgeDevice *s)
{
    s->over = false;
    end(s, s->result);
}

static gboolean slice_due(gpointer opaque);

/*
 * As idle work of GLib's: a bottom half, or a timer, that is always due keeps
 * it from all its idle work, and sockets that the main loop connects to, for a
 * migration, would never be.
 */
static void next_slice(AgeDevice *s)
{
    assert(!s->slice);
    s->slice = g_idle_add(slice_due, s);
}

/*
 * An IOMMU that refuses a piece may raise an interrupt, which is a write to an
 * address of the guest's choice: it could reset the device, or unplug it.
 */
static void run_slice(AgeDevice *s)
{
    AgeEngineResult result = AGE_ENGINE_MORE;
    unsigned cost = 0;

    while (result == AGE_ENGINE_MORE && cost < SLICE) {
        uint64_t before = s->engine.progress.bytes;

        result = age_engine_piece(&s->engine);
        cost += s->engine.progress.bytes - before + PIECE_COST;
    }
    if (!is_busy(s)) {
        /* Nothing is to be seen of the job that was dropped. */
        age_engine_begin(&s->engine);
    } else if (result == AGE_ENGINE_MORE) {
        next_slice(s);
    } else {
        end(s, result);
    }
}

/* As a guarded bottom half: the device's own DMA does not come back to it. */
static gboolean slice_due(gpointer opaque)
{
    AgeDevice *s = opaque;
    MemReentrancyGuard *guard = &DEVICE(s)->mem_reentrancy_guard;
    bool engaged = guard->engaged_in_io;

    /* It may be unplugged meanwhile, which nobody else might survive. */
    object_ref(s);
    s->slice = 0;
    guard->engaged_in_io = true;
    run_slice(s);
    guard->engaged_in_io = engaged;
    object_unref(s);
    return G_SOURCE_REMOVE;
}

static void cancel_slice(AgeDevice *s)
{
    g_clear_handle_id(&s->slice, g_source_remove);
    qemu_bh_cancel(s->bh);
}

static void main_loop_part(void *opaque)
{
    AgeDevice *s = opaque;

    if (s->over) {
        end_over(s);
    }
}

/* The worker */

static AgeEngineResult run_until_halted(AgeDevice *s)
{
    AgeEngineResult result;

    do {
        result = age_engine_piece(&s->engine);
    } while (result == AGE_ENGINE_MORE && !qatomic_read(&s->halt));
    return result;
}

static bool wait_for_work(AgeDevice *s)
{
    QEMU_LOCK_GUARD(&s->work_lock);
    while (!s->work && !s->quit) {
        qemu_cond_wait(&s->work_cond, &s->work_lock);
    }
    s->work = false;
    return !s->quit;
}

static void *worker_thread(void *opaque)
{
    AgeDevice *s = opaque;
    AgeEngineResult result;

    rcu_register_thread();
    while (wait_for_work(s)) {
        result = run_until_halted(s);
        bql_lock();
        s->active = false;
        if (result != AGE_ENGINE_MORE || s->stopping) {
            s->result = result;
            s->over = true;
            qemu_bh_schedule(s->bh);
        }
        qemu_cond_broadcast(&s->idle);
        bql_unlock();
    }
    rcu_unregister_thread();
    return NULL;
}

static void wake_worker(AgeDevice *s, bool *what)
{
    QEMU_LOCK_GUARD(&s->work_lock);
    *what = true;
    qemu_cond_signal(&s->work_cond);
}

/* Either */

bool age_device_has_worker(AgeDevice *s)
{
    return s->worker && pci_device_iommu_address_space(PCI_DEVICE(s)) ==
                        &address_space_memory;
}

static void run(AgeDevice *s)
{
    if (age_device_has_worker(s)) {
        s->active = true;
        qatomic_set(&s->halt, false);
        wake_worker(s, &s->work);
    } else {
        next_slice(s);
    }
}

void age_device_start(AgeDevice *s)
{
    AgeEngine *e = &s->engine;

    if (is_busy(s) || s->no_start) {
        qemu_log_mask(LOG_GUEST_ERROR, "%s: started while busy\n",
                      TYPE_AGE_DEVICE);
        return;
    }
    trace_age_device_start(*age_engine_param(e, AGE_DEVICE_COMMAND),
                           *age_engine_param(e, AGE_DEVICE_PATTERN),
                           *age_engine_param(e, AGE_DEVICE_LENGTH),
                           *age_engine_param(e, AGE_DEVICE_COUNT),
                           *age_engine_param(e, AGE_DEVICE_REPEAT));
    age_engine_begin(e);
    s->status = AGE_DEVICE_STATUS_BUSY;
    run(s);
}

void age_device_stop(AgeDevice *s)
{
    if (s->active) {
        s->stopping = true;
        qatomic_set(&s->halt, true);
    } else if (is_busy(s) && !s->over) {
        cancel_slice(s);
        end(s, AGE_ENGINE_MORE);
    }
}

/*
 * Have nobody do the job any more.  The device may be gone from its bus after
 * that, and the bottom half with it.
 */
static void put_down(AgeDevice *s)
{
    cancel_slice(s);
    qatomic_set(&s->halt, true);
    while (s->active) {
        /* The worker may be waiting for the BQL, which this lets it have. */
        qemu_cond_wait_bql(&s->idle);
    }
}

void age_device_pause(AgeDevice *s)
{
    if (!is_busy(s)) {
        return;
    }
    trace_age_device_pause();
    /* An interrupt may come back here as a command to start. */
    s->no_start++;
    s->paused = true;
    put_down(s);
    if (s->over) {
        /* It can't wait: what is saved now must not change any more. */
        end_over(s);
    }
    s->no_start--;
}

void age_device_abort(AgeDevice *s)
{
    s->no_start++;
    put_down(s);
    s->over = false;
    s->stopping = false;
    s->paused = false;
    s->status = 0;
    s->no_start--;
}

void age_device_resume(AgeDevice *s)
{
    if (s->paused) {
        trace_age_device_resume();
        s->paused = false;
        run(s);
    }
}

void age_device_runner_init(AgeDevice *s)
{
    qemu_mutex_init(&s->work_lock);
    qemu_cond_init(&s->work_cond);
    qemu_cond_init(&s->idle);
    s->bh = qemu_bh_new_guarded(main_loop_part, s,
                                &DEVICE(s)->mem_reentrancy_guard);
    if (s->worker) {
        qemu_thread_create(&s->thread, TYPE_AGE_DEVICE, worker_thread, s,
                           QEMU_THREAD_JOINABLE);
    }
}

void age_device_runner_cleanup(AgeDevice *s)
{
    if (s->worker) {
        /* It has no job, so it does not want the BQL any more. */
        wake_worker(s, &s->quit);
        qemu_thread_join(&s->thread);
    }
    qemu_bh_delete(s->bh);
    qemu_cond_destroy(&s->idle);
    qemu_cond_destroy(&s->work_cond);
    qemu_mutex_destroy(&s->work_lock);
}
