/*
 * The guest's side of the demo and of the functional tests
 *
 * A program whose use of memory is known page by page.  It owns one area of
 * memory, touches the pages it is told to touch and no others, and keeps
 * account of them.  area.h has that account, and console.h the way the host
 * says what is to be done.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "area.h"
#include "console.h"

#define PROTOCOL        1
#define MAX_THREADS     64

/* Touching one page */

typedef enum Op {
    OP_LOAD,
    OP_STORE,
    OP_ATOMIC,
    OP_EXEC,
    OP_MIX,         /* one of those above, by page */
    OP_STRADDLE,    /* a load across the end of the page */
    OP__MAX,
} Op;

static const char *const op_names[OP__MAX] = {
    [OP_LOAD] = "load",
    [OP_STORE] = "store",
    [OP_ATOMIC] = "atomic",
    [OP_EXEC] = "exec",
    [OP_MIX] = "mix",
    [OP_STRADDLE] = "straddle",
};

typedef volatile uint64_t Cell; /* volatile: the access itself counts */

typedef struct __attribute__((packed)) UnalignedCell {
    Cell v;
} UnalignedCell;

static void touch_page(size_t i, Op op, uint64_t salt)
{
    uint8_t *page = area.mem + i * PAGE_SIZE;
    uint64_t h = hash64(i ^ salt);
    size_t room = (PAGE_SIZE - CODE_SIZE) / sizeof(Cell);
    Cell *cell = (Cell *)(page + CODE_SIZE) + h % room;

    if (op == OP_MIX) {
        op = (Op)((h >> 32) % OP_MIX);
    }
    if (op == OP_STRADDLE && i + 1 == area.pages) {
        op = OP_LOAD;       /* nothing lies behind the last page */
    }
    switch (op) {
    case OP_STORE:
        *cell = h;
        break;
    case OP_ATOMIC:
        __atomic_fetch_add(cell, 1, __ATOMIC_SEQ_CST);
        break;
    case OP_EXEC:
        ((void (*)(void))page)();
        break;
    case OP_STRADDLE:
        (void)((UnalignedCell *)(page + PAGE_SIZE - 4))->v;
        account(i + 1);
        break;
    default:
        (void)*cell;
        break;
    }
    account(i);
}

/* Threads */

typedef struct Worker {
    pthread_t tid;
    unsigned nr;
    unsigned count;
    void *job;
    uint64_t done;
} Worker;

/* Pins the calling thread: worker N runs on CPU N, as long as there is one. */
static void worker_pin(const Worker *w)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(w->nr % (unsigned)sysconf(_SC_NPROCESSORS_ONLN), &set);
    sched_setaffinity(0, sizeof(set), &set);
}

/* Waits for the workers and returns the sum of what each has done. */
static uint64_t workers_join(Worker *w, unsigned count)
{
    uint64_t done = 0;

    for (unsigned i = 0; i < count; i++) {
        pthread_join(w[i].tid, NULL);
        done += w[i].done;
    }
    return done;
}

/* Returns how many could be started. */
static unsigned workers_start(Worker *w, unsigned count,
                              void *(*fn)(void *), void *job)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        w[i] = (Worker) { .nr = i, .count = count, .job = job };
        if (pthread_create(&w[i].tid, NULL, fn, &w[i])) {
            break;
        }
    }
    return i;
}

typedef struct TouchJob {
    Pattern pattern;
    Op op;
    uint64_t salt;
} TouchJob;

/* Neighbouring pages fall to different workers, on purpose. */
static void touch_share(Worker *w, const TouchJob *job)
{
    for (size_t i = w->nr; i < area.pages; i += w->count) {
        if (pattern_has(&job->pattern, i)) {
            touch_page(i, job->op, job->salt);
            w->done++;
        }
    }
}

static void *touch_worker(void *opaque)
{
    Worker *w = opaque;

    worker_pin(w);
    touch_share(w, w->job);
    return NULL;
}

/* Touching by pattern, again and again */

/*
 * Workers that hold on to their processors between two turns: they spin, so
 * that neither the scheduler nor a system call has reason to drop what the
 * TLB holds.  A page of an earlier turn is then touched again through the
 * translation of that turn.
 */
typedef struct HoldJob {
    TouchJob touch;
    unsigned turn;      /* workers take their turns up to this one */
    unsigned finished;  /* workers that have done the last turn */
    bool stop;
} HoldJob;

static HoldJob hold;
static Worker hold_workers[MAX_THREADS];
static unsigned hold_count;

static void *hold_worker(void *opaque)
{
    Worker *w = opaque;
    HoldJob *job = w->job;
    unsigned turn = 0;

    worker_pin(w);
    while (!__atomic_load_n(&job->stop, __ATOMIC_ACQUIRE)) {
        if (__atomic_load_n(&job->turn, __ATOMIC_ACQUIRE) != turn) {
            turn++;
            touch_share(w, &job->touch);
            __atomic_fetch_add(&job->finished, 1, __ATOMIC_RELEASE);
        }
    }
    return NULL;
}

/* Has the workers take one turn, and waits for them. */
static void hold_next(void)
{
    __atomic_store_n(&hold.finished, 0, __ATOMIC_RELAXED);
    __atomic_fetch_add(&hold.turn, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&hold.finished, __ATOMIC_ACQUIRE) < hold_count) {
        usleep(1000);
    }
}

static uint64_t hold_release(void)
{
    uint64_t done;

    __atomic_store_n(&hold.stop, true, __ATOMIC_RELEASE);
    done = workers_join(hold_workers, hold_count);
    hold_count = 0;
    return done;
}

/* The background pattern */

/*
 * The area is cut in three: @hot pages that are touched all the time, @warm
 * pages of which a window of @window is touched and moves on by its own
 * length every @period_ms, and the cold rest that nobody touches.
 */
typedef struct RunJob {
    size_t hot;
    size_t warm;
    size_t window;
    uint64_t period_ms;
    uint64_t start_ms;
    bool stop;
} RunJob;

static RunJob run;
static Worker run_workers[MAX_THREADS];
static unsigned run_count;

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void run_pass(const Worker *w, const RunJob *job, uint64_t pass)
{
    uint64_t step = (now_ms() - job->start_ms) / job->period_ms;
    Op op = pass & 1 ? OP_STORE : OP_LOAD;

    for (size_t i = w->nr; i < job->hot; i += w->count) {
        touch_page(i, op, pass);
    }
    for (size_t i = w->nr; i < job->window; i += w->count) {
        touch_page(job->hot + (step * job->window + i) % job->warm, op, pass);
    }
}

static void *run_worker(void *opaque)
{
    Worker *w = opaque;
    const RunJob *job = w->job;

    worker_pin(w);
    while (!__atomic_load_n(&job->stop, __ATOMIC_RELAXED)) {
        run_pass(w, job, w->done++);
        usleep(10000);
    }
    return NULL;
}

static uint64_t run_stop(void)
{
    uint64_t passes;

    __atomic_store_n(&run.stop, true, __ATOMIC_RELAXED);
    passes = workers_join(run_workers, run_count);
    run_count = 0;
    return passes;
}

/* Commands */

static bool idle(void)
{
    if (run_count || hold_count) {
        err("workers are running");
        return false;
    }
    return true;
}

static void cmd_hello(char **word)
{
    (void)word;
    say_hello("workload", PROTOCOL);
}

static void cmd_alloc(char **word)
{
    if (idle()) {
        area_cmd_alloc(word);
    }
}

/* The arguments that "touch" and "hold" have in common */
static bool touch_parse(char **word, TouchJob *job, unsigned *threads)
{
    static uint64_t turn;
    uint64_t n;

    if (!allocated() || !idle()) {
        return false;
    }
    *job = (TouchJob) { .op = OP_LOAD, .salt = hash64(turn++) };
    while (job->op < OP__MAX && strcmp(word[2], op_names[job->op])) {
        job->op++;
    }
    if (!pattern_parse(word[1], &job->pattern) || job->op == OP__MAX ||
        !number(word[3], MAX_THREADS, &n) || !n) {
        err("%s: bad argument", word[0]);
        return false;
    }
    *threads = (unsigned)n;
    return true;
}

/* touch PATTERN OP THREADS */
static void cmd_touch(char **word)
{
    Worker workers[MAX_THREADS];
    TouchJob job;
    unsigned threads, started;
    uint64_t done;

    if (!touch_parse(word, &job, &threads)) {
        return;
    }
    started = workers_start(workers, threads, touch_worker, &job);
    done = workers_join(workers, started);
    if (started < threads) {
        err("touch: only %u threads could be started", started);
    } else {
        ok("touched=%" PRIu64, done);
    }
}

/* hold PATTERN OP THREADS: the first turn */
static void cmd_hold(char **word)
{
    TouchJob job;
    unsigned threads;

    if (!touch_parse(word, &job, &threads)) {
        return;
    }
    hold = (HoldJob) { .touch = job };
    hold_count = workers_start(hold_workers, threads, hold_worker, &hold);
    if (hold_count < threads) {
        err("hold: only %u threads could be started", hold_count);
        hold_release();
        return;
    }
    hold_next();
    ok("turn=%u", hold.turn);
}

/* The next turn */
static void cmd_again(char **word)
{
    (void)word;
    if (!hold_count) {
        err("nobody holds");
    } else {
        hold_next();
        ok("turn=%u", hold.turn);
    }
}

static void cmd_release(char **word)
{
    (void)word;
    if (!hold_count) {
        err("nobody holds");
    } else {
        ok("touched=%" PRIu64, hold_release());
    }
}

/* run HOT WARM WINDOW PERIOD-MS THREADS */
static void cmd_run(char **word)
{
    uint64_t hot, warm, window, period, threads;

    if (!allocated() || !idle()) {
        return;
    }
    if (!number(word[1], area.pages, &hot) ||
        !number(word[2], area.pages - hot, &warm) || !warm ||
        !number(word[3], warm, &window) ||
        !number(word[4], 3600000, &period) || !period ||
        !number(word[5], MAX_THREADS, &threads) || !threads) {
        err("run: bad argument");
        return;
    }
    account_shape(0, hot, SHAPE_HOT);
    account_shape(hot, warm, SHAPE_WARM);
    account_shape(hot + warm, area.pages - hot - warm, SHAPE_COLD);
    run = (RunJob) {
        .hot = hot, .warm = warm, .window = window, .period_ms = period,
        .start_ms = now_ms(),
    };
    run_count = workers_start(run_workers, (unsigned)threads, run_worker,
                              &run);
    if (run_count < threads) {
        err("run: only %u threads could be started", run_count);
        run_stop();
    } else {
        ok("threads=%u", run_count);
    }
}

static void cmd_stop(char **word)
{
    (void)word;
    if (!run_count) {
        err("the background pattern is not running");
    } else {
        ok("passes=%" PRIu64, run_stop());
    }
}

/* Workers that hold touch nothing between their turns. */
static bool at_rest(void)
{
    return allocated() && (hold_count || idle());
}

static void cmd_reset(char **word)
{
    if (at_rest()) {
        area_cmd_reset(word);
    }
}

static void cmd_report(char **word)
{
    if (at_rest()) {
        area_cmd_report(word);
    }
}

static const Command commands[] = {
    { "hello", 0, cmd_hello },
    { "alloc", 2, cmd_alloc },
    { "touch", 3, cmd_touch },
    { "hold", 3, cmd_hold },
    { "again", 0, cmd_again },
    { "release", 0, cmd_release },
    { "run", 5, cmd_run },
    { "stop", 0, cmd_stop },
    { "reset", 0, cmd_reset },
    { "report", 0, cmd_report },
};

int main(void)
{
    console_run(commands, sizeof(commands) / sizeof(*commands));
}
