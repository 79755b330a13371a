/*
 * Every interleaving, on a processor that reorders
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include <ucontext.h>

#define MAX_PLACES      8
#define MAX_VALUES      32
#define MAX_CHOICES     256
#define STACK_SIZE      (64 * 1024)

typedef struct Thread Thread;

/* A place that is watched, and all values it has had: since when, by whom */
typedef struct Place {
    void *p;
    uint64_t bits;
    unsigned n;
    uint64_t value[MAX_VALUES];
    unsigned time[MAX_VALUES];
    Thread *by[MAX_VALUES];
} Place;

/**
 * Thread: one of the players
 *
 * @view: no load may return what was over by then
 * @seen: the same, for loads of one place
 * @last_load: the latest time that a load had to be of
 */
struct Thread {
    ucontext_t context;
    char *stack;
    bool running;
    unsigned view;
    unsigned seen[MAX_PLACES];
    unsigned last_load;
};

/* A choice: the @taken one of @n */
typedef struct Choice {
    unsigned taken;
    unsigned n;
} Choice;

static const WeakScene *scene;
static Place places[MAX_PLACES];
static unsigned n_places;
static unsigned now;

static ucontext_t director;
static Thread threads[WEAK_MAX_THREADS];
static Thread *self;
static unsigned preempted;

static Choice choices[MAX_CHOICES];
static unsigned n_choices, next_choice;

static struct rcu_head *callbacks;

/* Go the way that the last run went, and the first way where it is new. */
static unsigned choose(unsigned n)
{
    if (n == 1) {
        return 0;
    }
    if (next_choice == n_choices) {
        g_assert_cmpuint(n_choices, <, MAX_CHOICES);
        choices[n_choices++] = (Choice) { .n = n };
    }
    g_assert_cmpuint(choices[next_choice].n, ==, n);
    return choices[next_choice++].taken;
}

/* Prepare the next run; false if there is none. */
static bool next_run(void)
{
    while (n_choices && choices[n_choices - 1].taken + 1 ==
           choices[n_choices - 1].n) {
        n_choices--;
    }
    if (n_choices) {
        choices[n_choices - 1].taken++;
    }
    next_choice = 0;
    return n_choices;
}

/* Memory */

static uint64_t raw_load(const void *p, size_t size)
{
    return size == 4 ? *(const uint32_t *)p : *(const uint64_t *)p;
}

static void raw_store(void *p, size_t size, uint64_t value)
{
    if (size == 4) {
        *(uint32_t *)p = value;
    } else {
        *(uint64_t *)p = value;
    }
}

void weak_watch(void *p, size_t size)
{
    weak_watch_bits(p, size, ~0ULL);
}

void weak_watch_bits(void *p, size_t size, uint64_t bits)
{
    g_assert_cmpuint(n_places, <, MAX_PLACES);
    places[n_places++] = (Place) {
        .p = p,
        .bits = bits,
        .n = 1,
        .value = { raw_load(p, size) },
    };
}

/* The place at @p if it is watched, once it is this thread's turn */
static Place *enter(const void *p)
{
    for (unsigned i = 0; self && i < n_places; i++) {
        if (places[i].p == p) {
            Thread *me = self;

            swapcontext(&me->context, &director);
            return &places[i];
        }
    }
    return NULL;
}

/*
 * This thread loaded value @i.  It did so at the first moment that it could,
 * which leaves most freedom to what follows.  What the thread wrote itself it
 * may have seen before anybody else could, unless it acquires.
 */
static void saw(Place *place, unsigned i, bool acquire)
{
    unsigned *seen = &self->seen[place - places];
    unsigned time = self->view;

    *seen = MAX(*seen, place->time[i]);
    if (acquire || place->by[i] != self) {
        time = MAX(time, place->time[i]);
    }
    self->last_load = MAX(self->last_load, time);
    if (acquire) {
        self->view = time;
    }
}

/* The first value that this thread may still see */
static unsigned oldest(const Place *place)
{
    unsigned since = MAX(self->view, self->seen[place - places]);
    unsigned i = place->n - 1;

    while (i > 0 && place->time[i] > since) {
        i--;
    }
    return i;
}

uint64_t weak_load(const void *p, size_t size, bool acquire)
{
    Place *place = enter(p);
    unsigned first, i;

    if (!place) {
        return raw_load(p, size);
    }
    first = oldest(place);
    i = first + choose(place->n - first);
    saw(place, i, acquire);
    return place->value[i];
}

static void append(Place *place, size_t size, uint64_t value)
{
    g_assert_cmpuint(place->n, <, MAX_VALUES);
    place->time[place->n] = ++now;
    place->by[place->n] = self;
    place->value[place->n++] = value;
    self->seen[place - places] = now;
    raw_store(place->p, size, value);
}

uint64_t weak_rmw(void *p, size_t size, uint64_t keep, uint64_t set)
{
    Place *place = enter(p);
    uint64_t old = raw_load(p, size);

    if (!place) {
        raw_store(p, size, (old & keep) | set);
        return old;
    }
    saw(place, place->n - 1, true);
    append(place, size, (old & keep) | set);
    return old;
}

/* If it fails it is but a load, and may be of something older. */
uint64_t weak_cmpxchg(void *p, size_t size, uint64_t old, uint64_t value)
{
    Place *place = enter(p);
    unsigned can[MAX_VALUES], n = 0, i;

    if (!place) {
        uint64_t was = raw_load(p, size);

        if (was == old) {
            raw_store(p, size, value);
        }
        return was;
    }
    old &= place->bits;
    value &= place->bits;
    for (i = oldest(place); i < place->n; i++) {
        if (place->value[i] != old || i == place->n - 1) {
            can[n++] = i;
        }
    }
    i = can[choose(n)];
    saw(place, i, true);
    if (place->value[i] == old) {
        append(place, size, value);
        return old;
    }
    return place->value[i];
}

void weak_add(void *p, size_t size, uint64_t n)
{
    Place *place = enter(p);
    uint64_t value = raw_load(p, size) + n;

    if (!place) {
        raw_store(p, size, value);
        return;
    }
    saw(place, place->n - 1, true);
    append(place, size, value);
}

/* Is this thread one of @without? */
static bool lacks(unsigned without)
{
    return without & (1u << (self - threads));
}

void weak_mb(void)
{
    if (self && !lacks(scene->no_mb)) {
        self->view = now;
    }
}

void weak_rmb(void)
{
    if (self && !lacks(scene->no_rmb)) {
        self->view = MAX(self->view, self->last_load);
    }
}

void weak_call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *))
{
    head->func = func;
    head->next = callbacks;
    callbacks = head;
}

bool weak_garbage(void)
{
    return callbacks;
}

void weak_run_callbacks(void)
{
    while (callbacks) {
        struct rcu_head *head = callbacks;

        callbacks = head->next;
        head->func(head);
    }
}

/* Threads */

static void thread_main(void)
{
    scene->play(self - threads, scene->opaque);
    self->running = false;
}

static void resume(Thread *t)
{
    self = t;
    swapcontext(&director, &t->context);
    self = NULL;
}

static void start(Thread *t)
{
    char *stack = t->stack ? t->stack : g_malloc(STACK_SIZE);

    *t = (Thread) { .stack = stack, .running = true };
    getcontext(&t->context);
    t->context.uc_stack.ss_sp = stack;
    t->context.uc_stack.ss_size = STACK_SIZE;
    t->context.uc_link = &director;
    makecontext(&t->context, thread_main, 0);
    /* Up to its first access: nobody can tell when that was. */
    resume(t);
}

/* Who comes next?  @last came before.  NULL if all have ended. */
static Thread *next_thread(Thread *last)
{
    Thread *can[WEAK_MAX_THREADS];
    unsigned n = 0;
    Thread *next;

    if (last && last->running) {
        can[n++] = last;
    }
    if (n == 0 || preempted < scene->preemptions) {
        for (unsigned i = 0; i < scene->threads; i++) {
            if (threads[i].running && &threads[i] != last) {
                can[n++] = &threads[i];
            }
        }
    }
    if (n == 0) {
        return NULL;
    }
    next = can[choose(n)];
    preempted += last && last->running && next != last;
    return next;
}

static void play(void)
{
    Thread *t = NULL;

    now = n_places = preempted = 0;
    scene->setup(scene->opaque);
    for (unsigned i = 0; i < scene->threads; i++) {
        start(&threads[i]);
    }
    while ((t = next_thread(t)) != NULL) {
        resume(t);
    }
}

bool weak_explore(const WeakScene *s, unsigned *runs)
{
    bool ok = true;

    scene = s;
    n_choices = 0;
    *runs = 0;
    do {
        next_choice = 0;
        play();
        ok = s->check(s->opaque);
        ++*runs;
    } while (ok && next_run());
    return ok;
}
