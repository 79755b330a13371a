/*
 * Work that takes as long as there is memory, away from those who wait
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/thread.h"
#include "reaper.h"

/*
 * @lock protects all of it, and is held for a few instructions.  The thread
 * looks for work and falls asleep under it, so that no wake-up is lost.
 */
static struct {
    QemuMutex lock;
    QemuCond more;
    GQueue queue;
    bool started;
    QemuThread thread;
} reaper;

static void __attribute__((constructor)) reaper_init(void)
{
    qemu_mutex_init(&reaper.lock);
    qemu_cond_init(&reaper.more);
    g_queue_init(&reaper.queue);
}

static AgeReap *next_work(void)
{
    GList *link;

    qemu_mutex_lock(&reaper.lock);
    while ((link = g_queue_pop_head_link(&reaper.queue)) == NULL) {
        qemu_cond_wait(&reaper.more, &reaper.lock);
    }
    qemu_mutex_unlock(&reaper.lock);
    return container_of(link, AgeReap, link);
}

static void *reaper_thread(void *opaque)
{
    for (;;) {
        AgeReap *reap = next_work();

        reap->func(reap);
    }
    return NULL;
}

/* A machine whose tables never shrink needs no thread, so it comes late. */
void age_reap(AgeReap *reap, void (*func)(AgeReap *reap))
{
    reap->link = (GList) {};
    reap->func = func;
    qemu_mutex_lock(&reaper.lock);
    if (!reaper.started) {
        reaper.started = true;
        qemu_thread_create(&reaper.thread, "age-reaper", reaper_thread, NULL,
                           QEMU_THREAD_DETACHED);
    }
    g_queue_push_tail_link(&reaper.queue, &reap->link);
    qemu_cond_signal(&reaper.more);
    qemu_mutex_unlock(&reaper.lock);
}
