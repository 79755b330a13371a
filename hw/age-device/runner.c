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
 * Nor does the thread take the BQL to put a job down.  Who waits for that keeps
 * the BQL, so that in the meantime no other vCPU can unplug, reset or start
 * what is being unplugged or reset.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/lockable.h"
#include "qemu/log.h"
#include "qemu/rcu.h"
#include "system/age-compat.h"
#include "age-device.h"
#include "trace.h"

/*
 * What the main loop does at a time: about a millisecond.  A piece costs
 * something even if it is small.
 */
#define SLICE           (1024 * 1024)
#define PIECE_COST      4096

/* States; see AgeJobState for who may go from which to which. */

static AgeJobState get_state(AgeDevice *s)
{
    QEMU_LOCK_GUARD(&s->lock);
    return s->state;
}

static void set_state(AgeDevice *s, AgeJobState state)
{
    QEMU_LOCK_GUARD(&s->lock);
    s->state = state;
    qemu_cond_broadcast(&s->changed);
}

/* Go from one state to another, if it is in that.  Returns whether it was. */
static bool change_state(AgeDevice *s, AgeJobState from, AgeJobState to)
{
    QEMU_LOCK_GUARD(&s->lock);
    if (s->state != from) {
        return false;
    }
    s->state = to;
    qemu_cond_broadcast(&s->changed);
    return true;
}

/* Ends of a job.  Nobody does it any more. */

/*
 * The interrupt is last: it is a write to an address of the guest's choice, and
 * could start the next job or unplug the device, which may be gone after that.
 */
static void job_end_with(AgeDevice *s, uint64_t status, uint64_t cause)
{
    trace_age_device_end(status, age_engine_progress(&s->engine).bytes);
    s->status = status;
    set_state(s, AGE_JOB_NONE);
    age_device_irq_raise(s, cause);
}

static void job_end_with_error(AgeDevice *s, uint64_t code)
{
    job_end_with(s, AGE_DEVICE_STATUS_ERROR | code << AGE_DEVICE_STATUS_CODE,
                 AGE_DEVICE_IRQ_ERROR);
}

static void job_end(AgeDevice *s, AgeEngineResult result)
{
    switch (result) {
    case AGE_ENGINE_MORE:
        job_end_with(s, AGE_DEVICE_STATUS_STOPPED, AGE_DEVICE_IRQ_DONE);
        break;
    case AGE_ENGINE_DONE:
        job_end_with(s, AGE_DEVICE_STATUS_DONE, AGE_DEVICE_IRQ_DONE);
        break;
    case AGE_ENGINE_INVALID:
        job_end_with_error(s, AGE_DEVICE_CODE_INVALID);
        break;
    case AGE_ENGINE_WRAP:
        job_end_with_error(s, AGE_DEVICE_CODE_WRAP);
        break;
    case AGE_ENGINE_DMA:
        job_end_with_error(s, AGE_DEVICE_CODE_DMA);
        break;
    }
}

/* The main loop's part */

/*
 * As a guarded bottom half: the device's own DMA and interrupts do not come
 * back to it.  They may unplug it, which nobody else might survive: so there is
 * a reference to it, also when the guard is disengaged.
 */
static void call_guarded(AgeDevice *s, void (*func)(AgeDevice *s))
{
    MemReentrancyGuard *guard = &DEVICE(s)->mem_reentrancy_guard;
    bool engaged = guard->engaged_in_io;

    object_ref(s);
    guard->engaged_in_io = true;
    func(s);
    guard->engaged_in_io = engaged;
    object_unref(s);
}

/* What the worker put down, and wants to be ended */
static void end_over(AgeDevice *s)
{
    if (get_state(s) == AGE_JOB_OVER) {
        job_end(s, s->result);
    }
}

static void over_due(void *opaque)
{
    call_guarded(opaque, end_over);
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
 * An IOMMU that refuses a piece writes that to memory, or to what the guest has
 * in its place, and so may reset the device or unplug it: then the job was
 * dropped, and nothing is to be seen of it.
 */
static void run_slice(AgeDevice *s)
{
    AgeEngineResult result = AGE_ENGINE_MORE;
    unsigned cost = 0;

    while (result == AGE_ENGINE_MORE && cost < SLICE &&
           get_state(s) == AGE_JOB_SLICES) {
        uint64_t before = s->engine.progress.bytes;

        result = age_engine_piece(&s->engine);
        cost += s->engine.progress.bytes - before + PIECE_COST;
    }
    switch (get_state(s)) {
    case AGE_JOB_SLICES:
        if (result == AGE_ENGINE_MORE) {
            next_slice(s);
        } else {
            job_end(s, result);
        }
        break;
    case AGE_JOB_PAUSED:
        break;
    default:
        age_engine_begin(&s->engine);
    }
}

static gboolean slice_due(gpointer opaque)
{
    AgeDevice *s = opaque;

    s->slice = 0;
    call_guarded(s, run_slice);
    return G_SOURCE_REMOVE;
}

/* The worker */

static AgeEngineResult run_until_told(AgeDevice *s)
{
    AgeEngineResult result = AGE_ENGINE_MORE;

    while (result == AGE_ENGINE_MORE && get_state(s) == AGE_JOB_WORKER) {
        result = age_engine_piece(&s->engine);
    }
    return result;
}

/*
 * The job may be over, but the worker does not end it: that is for the BQL,
 * which who waits for this may hold.
 */
static void put_down(AgeDevice *s, AgeEngineResult result)
{
    QEMU_LOCK_GUARD(&s->lock);
    s->result = result;
    if (result == AGE_ENGINE_MORE && s->state == AGE_JOB_HALTING) {
        s->state = AGE_JOB_PAUSED;
    } else {
        s->state = AGE_JOB_OVER;
        qemu_bh_schedule(s->bh);
    }
    qemu_cond_broadcast(&s->changed);
}

static bool is_workers(AgeJobState state)
{
    return state == AGE_JOB_WORKER || state == AGE_JOB_STOPPING ||
           state == AGE_JOB_HALTING;
}

/* Returns whether there is a job, rather than no device any more. */
static bool wait_for_job(AgeDevice *s)
{
    QEMU_LOCK_GUARD(&s->lock);
    while (!is_workers(s->state) && s->state != AGE_JOB_GONE) {
        qemu_cond_wait(&s->changed, &s->lock);
    }
    return s->state != AGE_JOB_GONE;
}

static void *worker_thread(void *opaque)
{
    AgeDevice *s = opaque;

    rcu_register_thread();
    while (wait_for_job(s)) {
        put_down(s, run_until_told(s));
    }
    rcu_unregister_thread();
    return NULL;
}

/* Either */

bool age_device_has_worker(AgeDevice *s)
{
    return s->worker && pci_device_iommu_address_space(PCI_DEVICE(s)) ==
                        &address_space_memory;
}

static void job_run(AgeDevice *s)
{
    if (age_device_has_worker(s)) {
        set_state(s, AGE_JOB_WORKER);
    } else {
        set_state(s, AGE_JOB_SLICES);
        next_slice(s);
    }
}

/*
 * Have nobody do the job, if there is one: it is paused or over after that.
 * Waits for the worker with the BQL held, and for a piece at most: what a piece
 * does waits for nobody who has the BQL.
 */
static void job_halt(AgeDevice *s)
{
    assert(bql_locked());
    g_clear_handle_id(&s->slice, g_source_remove);

    QEMU_LOCK_GUARD(&s->lock);
    if (s->state == AGE_JOB_SLICES) {
        s->result = AGE_ENGINE_MORE;
        s->state = AGE_JOB_PAUSED;
    } else if (s->state == AGE_JOB_WORKER) {
        s->state = AGE_JOB_HALTING;
    }
    while (is_workers(s->state)) {
        qemu_cond_wait(&s->changed, &s->lock);
    }
}

void age_device_start(AgeDevice *s)
{
    AgeEngine *e = &s->engine;

    assert(bql_locked());
    if (get_state(s) != AGE_JOB_NONE) {
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
    job_run(s);
}

void age_device_stop(AgeDevice *s)
{
    assert(bql_locked());
    if (change_state(s, AGE_JOB_WORKER, AGE_JOB_STOPPING)) {
        /* So that it is known also if the machine stops before it ends. */
        s->status |= AGE_DEVICE_STATUS_STOPPED;
        return;
    }
    if (get_state(s) == AGE_JOB_SLICES) {
        job_halt(s);
    }
    if (get_state(s) == AGE_JOB_PAUSED) {
        job_end(s, s->result);
    }
}

/*
 * No interrupt comes of this: the machine may be stopped, and what is saved of
 * its memory must not change any more.  A job that is over, with a result that
 * is not saved, ends when it would go on.
 */
void age_device_pause(AgeDevice *s)
{
    assert(bql_locked());
    if (!(s->status & AGE_DEVICE_STATUS_BUSY)) {
        return;
    }
    trace_age_device_pause();
    job_halt(s);
    change_state(s, AGE_JOB_OVER, AGE_JOB_PAUSED);
}

void age_device_abort(AgeDevice *s)
{
    job_halt(s);
    if (get_state(s) != AGE_JOB_GONE) {
        set_state(s, AGE_JOB_NONE);
    }
    s->status = 0;
}

void age_device_resume(AgeDevice *s)
{
    assert(bql_locked());
    if (get_state(s) != AGE_JOB_PAUSED) {
        return;
    }
    trace_age_device_resume();
    if (s->result != AGE_ENGINE_MORE ||
        (s->status & AGE_DEVICE_STATUS_STOPPED)) {
        job_end(s, s->result);
    } else {
        job_run(s);
    }
}

void age_device_loaded(AgeDevice *s)
{
    assert(bql_locked());
    s->result = AGE_ENGINE_MORE;
    set_state(s, s->status & AGE_DEVICE_STATUS_BUSY ? AGE_JOB_PAUSED :
                                                      AGE_JOB_NONE);
}

/* Life */

void age_device_runner_init(AgeDevice *s)
{
    qemu_mutex_init(&s->lock);
    qemu_cond_init(&s->changed);
    s->state = AGE_JOB_NONE;
}

void age_device_runner_finalize(AgeDevice *s)
{
    qemu_cond_destroy(&s->changed);
    qemu_mutex_destroy(&s->lock);
}

void age_device_runner_realize(AgeDevice *s)
{
    s->bh = qemu_bh_new(over_due, s);
    if (s->worker) {
        qemu_thread_create(&s->thread, TYPE_AGE_DEVICE, worker_thread, s,
                           QEMU_THREAD_JOINABLE);
    }
}

void age_device_runner_unrealize(AgeDevice *s)
{
    age_device_abort(s);
    set_state(s, AGE_JOB_GONE);
    if (s->worker) {
        /* It has no job, and does not wait for the BQL to find out. */
        qemu_thread_join(&s->thread);
    }
    g_clear_pointer(&s->bh, qemu_bh_delete);
}
