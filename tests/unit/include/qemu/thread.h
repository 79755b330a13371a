/*
 * Stand-in for QEMU's header of the same name: the same on POSIX threads,
 * which ThreadSanitizer sees into, as it does not into GLib's locks
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_THREAD_H
#define QEMU_THREAD_H

#include <pthread.h>

#define QEMU_THREAD_DETACHED    1

typedef pthread_mutex_t QemuMutex;
typedef pthread_cond_t QemuCond;
typedef pthread_t QemuThread;

#define qemu_mutex_init(mutex)          pthread_mutex_init(mutex, NULL)
#define qemu_mutex_destroy(mutex)       pthread_mutex_destroy(mutex)
#define qemu_mutex_lock(mutex)          pthread_mutex_lock(mutex)
#define qemu_mutex_unlock(mutex)        pthread_mutex_unlock(mutex)
#define qemu_cond_init(cond)            pthread_cond_init(cond, NULL)
#define qemu_cond_signal(cond)          pthread_cond_signal(cond)
#define qemu_cond_wait(cond, mutex)     pthread_cond_wait(cond, mutex)

static inline void qemu_thread_create(QemuThread *thread, const char *name,
                                      void *(*start)(void *), void *arg,
                                      int mode)
{
    g_assert_cmpint(pthread_create(thread, NULL, start, arg), ==, 0);
    g_assert_cmpint(pthread_detach(*thread), ==, 0);
}

#endif /* QEMU_THREAD_H */
