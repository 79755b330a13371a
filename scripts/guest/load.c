/*
 * The guest's side of scripts/bench: loads that are timed
 *
 * Each command does so much of one load and says how long it took by the
 * guest's clock.  The host takes the time as well, and believes its own clock.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "area.h"
#include "console.h"
#include "load.h"

#define PROTOCOL        1
#define MAX_THREADS     64
#define MAX_COUNT       1000000000
#define PAGES_PER_MIB   256

typedef volatile uint8_t Byte; /* volatile: the access itself counts */

static Byte *memory;
static size_t memory_pages;

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void done(uint64_t begin, uint64_t sum)
{
    ok("ns=%" PRIu64 " sum=%" PRIu64, now_ns() - begin, sum);
}

/* Two processes over a pipe */

/* Sends each byte back, one more than it came, until there are no more. */
static void echo(int from, int to)
{
    uint8_t byte;

    while (read(from, &byte, 1) == 1) {
        byte++;
        if (write(to, &byte, 1) != 1) {
            _exit(1);
        }
    }
    _exit(0);
}

static bool ping(int to, int from, uint64_t rounds, uint64_t *sum)
{
    uint8_t byte = 0;

    *sum = 0;
    while (rounds--) {
        if (write(to, &byte, 1) != 1 || read(from, &byte, 1) != 1) {
            return false;
        }
        *sum += byte;
    }
    return true;
}

/* With @switching on, both share a CPU, so that each byte switches twice. */
static void place(bool switching)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    for (int cpu = 0; cpu < (switching ? 1 : CPU_SETSIZE); cpu++) {
        CPU_SET(cpu, &set);
    }
    sched_setaffinity(0, sizeof(set), &set);
}

static bool ping_pong(uint64_t rounds, uint64_t *sum)
{
    int there[2], back[2], status;
    bool good;
    pid_t child;

    if (pipe(there) < 0 || pipe(back) < 0) {
        return false;
    }
    child = fork();
    if (!child) {
        close(there[1]);
        echo(there[0], back[1]);
    }
    close(there[0]);
    close(back[1]);
    good = child > 0 && ping(there[1], back[0], rounds, sum);
    close(there[1]);
    close(back[0]);
    return child > 0 && waitpid(child, &status, 0) == child && !status && good;
}

/* Random bytes */

static uint64_t read_random(uint64_t count)
{
    size_t size = memory_pages * PAGE_SIZE;
    uint64_t sum = 0;

    for (uint64_t i = 0; i < count; i++) {
        sum += memory[hash64(i) % size];
    }
    return sum;
}

/* Sweeps */

typedef struct Sweep {
    pthread_t tid;
    size_t first;
    size_t end;
} Sweep;

static void *sweep_worker(void *opaque)
{
    const Sweep *s = opaque;

    for (size_t i = s->first; i < s->end; i++) {
        (void)memory[i * PAGE_SIZE];
    }
    return NULL;
}

/* Each thread touches every page of its share once. */
static unsigned sweep(unsigned threads)
{
    Sweep s[MAX_THREADS];
    unsigned started;

    for (started = 0; started < threads; started++) {
        s[started].first = memory_pages * started / threads;
        s[started].end = memory_pages * (started + 1) / threads;
        if (pthread_create(&s[started].tid, NULL, sweep_worker, &s[started])) {
            break;
        }
    }
    for (unsigned i = 0; i < started; i++) {
        pthread_join(s[i].tid, NULL);
    }
    return started;
}

/* Commands */

static bool arguments(char **word, uint64_t max_a, uint64_t *a,
                      uint64_t max_b, uint64_t *b)
{
    if (!number(word[1], max_a, a) || !*a ||
        (b && (!number(word[2], max_b, b) || !*b))) {
        err("%s: bad argument", word[0]);
        return false;
    }
    return true;
}

static void cmd_hello(char **word)
{
    (void)word;
    say_hello("load", PROTOCOL);
}

/* compile UNITS JOBS */
static void cmd_compile(char **word)
{
    uint64_t units, jobs, begin, sum;

    if (!arguments(word, MAX_COUNT, &units, MAX_THREADS, &jobs)) {
        return;
    }
    begin = now_ns();
    if (load_compile((unsigned)units, (unsigned)jobs, &sum)) {
        done(begin, sum);
    } else {
        err("compile: a unit could not be translated");
    }
}

/* pipe ROUNDS, and on one CPU: switch ROUNDS */
static void cmd_pipe(char **word)
{
    bool switching = !strcmp(word[0], "switch");
    uint64_t rounds, begin, sum;

    if (!arguments(word, MAX_COUNT, &rounds, 0, NULL)) {
        return;
    }
    place(switching);
    begin = now_ns();
    if (ping_pong(rounds, &sum)) {
        done(begin, sum);
    } else {
        err("%s: the other process is gone", word[0]);
    }
    place(false);
}

/* area MIB: memory for those below, whose bytes depend on their place */
static void cmd_area(char **word)
{
    uint64_t mib;

    if (!arguments(word, 1 << 20, &mib, 0, NULL)) {
        return;
    }
    if (memory) {
        munmap((void *)memory, memory_pages * PAGE_SIZE);
    }
    memory_pages = mib * PAGES_PER_MIB;
    memory = map_locked(memory_pages, PROT_READ | PROT_WRITE,
                        MADV_NOHUGEPAGE);
    if (!memory) {
        err("area: no memory");
        return;
    }
    for (size_t i = 0; i < memory_pages; i++) {
        memset((void *)(memory + i * PAGE_SIZE), (int)(hash64(i) & 0xff),
               PAGE_SIZE);
    }
    ok("pages=%zu", memory_pages);
}

static bool have_area(void)
{
    if (!memory) {
        err("there is no area");
    }
    return memory;
}

/* random COUNT */
static void cmd_random(char **word)
{
    uint64_t count, begin;

    if (have_area() && arguments(word, MAX_COUNT, &count, 0, NULL)) {
        begin = now_ns();
        done(begin, read_random(count));
    }
}

/* sweep THREADS */
static void cmd_sweep(char **word)
{
    uint64_t threads, begin;

    if (have_area() && arguments(word, MAX_THREADS, &threads, 0, NULL)) {
        begin = now_ns();
        done(begin, sweep((unsigned)threads));
    }
}

static const Command commands[] = {
    { "hello", 0, cmd_hello },
    { "compile", 2, cmd_compile },
    { "pipe", 1, cmd_pipe },
    { "switch", 1, cmd_pipe },
    { "area", 1, cmd_area },
    { "random", 1, cmd_random },
    { "sweep", 1, cmd_sweep },
};

int main(int argc, char **argv)
{
    uint64_t unit;

    if (argc == 3 && !strcmp(argv[1], "translate") &&
        number(argv[2], MAX_COUNT, &unit)) {
        return load_translate((unsigned)unit);
    }
    console_run(commands, sizeof(commands) / sizeof(*commands));
}
