/*
 * A guest whose memory map changes all the time
 *
 * One processor turns the memory of PCI devices off and on, so that the
 * emulator makes new memory maps.  Meanwhile all of them read the clock, take
 * interrupts, and read a register of one more such device, which must not come
 * to be another one.  They are QEMU's "edu", for which the kernel has no use.
 *
 * No sleep and no lock: a processor whose timer has stopped must not keep this
 * program from saying so.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "console.h"
#include "pci.h"

#define PROTOCOL        1
#define MAX_CPUS        16
#define MAX_TOGGLES     1000000
#define LINE_SIZE       1024

#define DEVICES         3
#define EDU_VENDOR      0x1234
#define EDU_DEVICE      0x11e8
#define EDU_IDENTITY    0x010000ed

/* Between two toggles, of which each makes four maps */
#define TOGGLE_NS       5000000
#define TIMERS_NS       2000000000

static unsigned cpus;
static atomic_bool busy;
static atomic_ullong reads;
static atomic_ullong wrong;

/* The register of the device that is read, which says what it is; or NULL */
static PciWord *identity;

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static bool stay_on(unsigned cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof(set), &set) == 0;
}

static void read_until(uint64_t end)
{
    while (now_ns() < end) {
        if (identity && *identity != EDU_IDENTITY) {
            atomic_fetch_add(&wrong, 1);
        }
        atomic_fetch_add(&reads, 1);
    }
}

static void *keep_reading(void *opaque)
{
    stay_on((unsigned)(uintptr_t)opaque);
    while (atomic_load(&busy)) {
        read_until(now_ns() + TOGGLE_NS);
    }
    return NULL;
}

/* Threads that keep all processors but the first one busy */
static bool start_threads(pthread_t *thread)
{
    atomic_store(&busy, true);
    for (unsigned i = 1; i < cpus; i++) {
        if (pthread_create(&thread[i], NULL, keep_reading,
                           (void *)(uintptr_t)i)) {
            return false;
        }
    }
    return true;
}

static void end_threads(const pthread_t *thread)
{
    atomic_store(&busy, false);
    for (unsigned i = 1; i < cpus; i++) {
        pthread_join(thread[i], NULL);
    }
}

/* How many interrupts of its own timer each processor has had */
static bool timer_interrupts(uint64_t *count)
{
    FILE *file = fopen("/proc/interrupts", "re");
    char line[LINE_SIZE];
    bool found = false;

    while (file && !found && fgets(line, sizeof(line), file)) {
        /* On arm64 its number is not fixed, but its name is. */
        char *p = strstr(line, "arch_timer") ? strchr(line, ':') :
                  strstr(line, "LOC:") ? strstr(line, "LOC:") + 3 : NULL;
        int used = 0;

        for (unsigned i = 0; p && i < cpus; i++, p += used) {
            found = sscanf(p, i ? "%" SCNu64 "%n" : ": %" SCNu64 "%n",
                           &count[i], &used) == 1;
        }
    }
    if (file) {
        fclose(file);
    }
    return found;
}

static void cmd_hello(char **word)
{
    (void)word;
    say_hello("remap", PROTOCOL);
}

static void enable(const PciDevice *pci, bool on)
{
    pci_write(pci, PCI_COMMAND, 1, on ? PCI_COMMAND_MEMORY : 0);
}

/* Turns the memory of @count devices off and on */
static void toggle(const PciDevice *pci, unsigned count)
{
    for (unsigned i = 0; i < 2 * count; i++) {
        enable(&pci[i % count], i >= count);
    }
}

static int by_address(const void *a, const void *b)
{
    uint32_t bar_a = pci_read(a, PCI_BAR0, 4);
    uint32_t bar_b = pci_read(b, PCI_BAR0, 4);

    return bar_a < bar_b ? -1 : bar_a > bar_b;
}

static void storm(const PciDevice *toggled, unsigned count, uint64_t times)
{
    pthread_t thread[MAX_CPUS];

    if (!start_threads(thread)) {
        err("storm: no threads");
        return;
    }
    for (uint64_t i = 0; i < times; i++) {
        toggle(toggled, count);
        read_until(now_ns() + TOGGLE_NS);
    }
    end_threads(thread);
    ok("reads=%llu wrong=%llu", atomic_load(&reads), atomic_load(&wrong));
}

/*
 * storm TIMES: reads the device that has the highest address, and toggles the
 * others.  Sections of a map are numbered by address.  One device less may
 * leave as many of them, if there is another section below it; of two devices
 * side by side there is one less.
 */
static void cmd_storm(char **word)
{
    PciDevice pci[DEVICES];
    unsigned found;
    uint64_t times;

    if (!number(word[1], MAX_TOGGLES, &times)) {
        err("storm: '%s' is no number of times", word[1]);
        return;
    }
    found = pci_find_all(pci, DEVICES, EDU_VENDOR, EDU_DEVICE);
    qsort(pci, found, sizeof(*pci), by_address);
    if (found) {
        enable(&pci[found - 1], true);
        identity = pci_map(&pci[found - 1], 0, 0);
    }
    if (found < DEVICES || !identity) {
        err("storm: %u devices edu, or no access to them", found);
    } else {
        storm(pci, found - 1, times);
        pci_unmap((void *)identity);
        identity = NULL;
    }
    while (found > 0) {
        pci_close(&pci[--found]);
    }
}

/* timers: interrupts of each processor's timer while all of them are busy */
static void cmd_timers(char **word)
{
    uint64_t before[MAX_CPUS], after[MAX_CPUS];
    pthread_t thread[MAX_CPUS];
    char text[LINE_SIZE];
    size_t used = 0;
    bool told;

    (void)word;
    if (!start_threads(thread)) {
        err("timers: no threads");
        return;
    }
    told = timer_interrupts(before);
    read_until(now_ns() + TIMERS_NS);
    told = timer_interrupts(after) && told;
    end_threads(thread);
    if (!told) {
        err("timers: the kernel does not tell");
        return;
    }
    for (unsigned i = 0; i < cpus; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used,
                                 " cpu%u=%" PRIu64, i, after[i] - before[i]);
    }
    ok("%s", text + 1);
}

static const Command commands[] = {
    { "hello", 0, cmd_hello },
    { "storm", 1, cmd_storm },
    { "timers", 0, cmd_timers },
};

int main(void)
{
    cpus = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    if (cpus > MAX_CPUS || !stay_on(0)) {
        return 1;
    }
    console_run(commands, sizeof(commands) / sizeof(*commands));
}
