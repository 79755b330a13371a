/*
 * Preloaded into an emulator: makes short windows between threads long
 *
 * The file that AGE_WIDEN_FILE names has two numbers of microseconds, in the
 * host's byte order, which the test may change at any time:
 *
 * - who is about to wait for a condition hesitates so long, with the mutex
 *   held.  A wake-up that is sent without the mutex is lost;
 * - who is about to wake others up hesitates so long.  What they should know by
 *   then, they do not know yet.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* The version that programs are linked with, where there is an older one. */
#define COND_VERSION    "GLIBC_2.3.2"

static int (*real_wait)(pthread_cond_t *, pthread_mutex_t *);
static int (*real_broadcast)(pthread_cond_t *);

/* volatile: the test changes it */
static volatile struct Settings {
    uint32_t wait_us;
    uint32_t wake_us;
} *settings;

static void *find(const char *name)
{
    void *symbol = dlvsym(RTLD_NEXT, name, COND_VERSION);

    return symbol ? symbol : dlsym(RTLD_NEXT, name);
}

/* A test whose windows are not widened would find nothing: end at once. */
static void map_settings(void)
{
    const char *name = getenv("AGE_WIDEN_FILE");
    int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    void *map = mmap(NULL, sizeof(*settings), PROT_READ, MAP_SHARED, fd, 0);

    if (map == MAP_FAILED) {
        perror("AGE_WIDEN_FILE");
        exit(1);
    }
    close(fd);
    settings = map;
}

static void __attribute__((constructor)) widen_init(void)
{
    *(void **)&real_wait = find("pthread_cond_wait");
    *(void **)&real_broadcast = find("pthread_cond_broadcast");
    map_settings();
}

static void hesitate(uint32_t us)
{
    if (us) {
        usleep(us);
    }
}

int pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    hesitate(settings->wait_us);
    return real_wait(cond, mutex);
}

int pthread_cond_broadcast(pthread_cond_t *cond)
{
    hesitate(settings->wake_us);
    return real_broadcast(cond);
}
