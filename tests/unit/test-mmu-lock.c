/*
 * The MMU lock: a writer gets in, however many readers come and go
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE /* as QEMU; without it there is no choice of locks */
#include "qemu/osdep.h"
#include <pthread.h>
#include "qemu/atomic.h"
#include "accel/age/mmu/mmu-lock.h"

#define READERS     8
#define ROUNDS      200

/* Each reader ends after so many, if the writer has not come that far. */
#define MOST_READS  20000

/*
 * @waits: the writer is about to wait
 * @overtakes: how often a reader that came after that was let in before it
 */
typedef struct Fixture {
    AgeMMULock lock;
    int stop;
    int waits;
    int inside;
    unsigned overtakes;
    unsigned reads;
} Fixture;

static void *reader(void *opaque)
{
    Fixture *f = opaque;

    for (int i = 0; i < MOST_READS && !qatomic_read(&f->stop); i++) {
        bool after = qatomic_read(&f->waits);

        age_mmu_lock_read(&f->lock);
        g_assert_cmpint(qatomic_read(&f->inside), ==, 0);
        qatomic_inc(&f->reads);
        if (after && qatomic_read(&f->waits)) {
            qatomic_inc(&f->overtakes);
        }
        /* Readers overlap: at no time is there none. */
        g_usleep(50);
        age_mmu_unlock_read(&f->lock);
    }
    return NULL;
}

static void write_once(Fixture *f)
{
    qatomic_set(&f->waits, 1);
    age_mmu_lock_write(&f->lock);
    qatomic_set(&f->waits, 0);
    qatomic_set(&f->inside, 1);
    g_usleep(10);
    qatomic_set(&f->inside, 0);
    age_mmu_unlock_write(&f->lock);
}

/*
 * Between its saying so and its waiting in fact the writer may be overtaken by
 * any number, but not each time: with readers first it hardly ever gets in.
 */
static void test_overtakes(void)
{
    Fixture f = {};
    GThread *thread[READERS];

    age_mmu_lock_init(&f.lock);
    for (int i = 0; i < READERS; i++) {
        thread[i] = g_thread_new("reader", reader, &f);
    }
    for (int i = 0; i < ROUNDS; i++) {
        write_once(&f);
    }
    qatomic_set(&f.stop, 1);
    for (int i = 0; i < READERS; i++) {
        g_thread_join(thread[i]);
    }
    g_test_message("%u overtakes, %u reads, %d writes", f.overtakes, f.reads,
                   ROUNDS);
    g_assert_cmpuint(f.overtakes, <, ROUNDS * READERS);
    age_mmu_lock_destroy(&f.lock);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/mmu-lock/overtakes", test_overtakes);
    return g_test_run();
}
