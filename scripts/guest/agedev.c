/*
 * Drives age-device from a Linux guest that has no driver for it
 *
 * The device does DMA to an area of ours of which it is told the page frames.
 * We keep account of the pages that it has to touch, and touch none of them
 * ourselves: what the host then finds young is young by the device alone.
 * area.h has the account, and console.h the way the host says what is to be
 * done.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#include "area.h"
#include "completion.h"
#include "console.h"
#include "job.h"

#define PROTOCOL        1
#define VENDOR          0x1af4

/* Steps of a job, and how often they are done */
#define MAX_STEPS       (1u << 20)

static AgeDevice dev;
static bool is_open;
static bool running;    /* a job without end */

static const char *const commands_of_device[] = {
    [AGE_DEVICE_COMMAND_READ] = "read",
    [AGE_DEVICE_COMMAND_WRITE] = "write",
    [AGE_DEVICE_COMMAND_COPY] = "copy",
    [AGE_DEVICE_COMMAND_FILL] = "fill",
};

static const char *const patterns_of_device[] = {
    [AGE_DEVICE_PATTERN_SEQUENTIAL] = "sequential",
    [AGE_DEVICE_PATTERN_STRIDE] = "stride",
    [AGE_DEVICE_PATTERN_RANDOM] = "random",
};

#define ARRAY_SIZE(a)   (sizeof(a) / sizeof(*(a)))

static bool find_name(const char *name, const char *const *names,
                      size_t count, uint64_t *value)
{
    for (*value = 0; *value < count; (*value)++) {
        if (names[*value] && !strcmp(name, names[*value])) {
            return true;
        }
    }
    return false;
}

static bool opened(void)
{
    if (!is_open) {
        err("no device is open");
    }
    return is_open;
}

static bool idle(void)
{
    if (running) {
        err("a job is running");
    }
    return !running;
}

static bool ready(void)
{
    return opened() && allocated() && idle();
}

/* The device */

static void cmd_hello(char **word)
{
    (void)word;
    say_hello("agedev", PROTOCOL);
}

static void close_device(void)
{
    pci_unmap((void *)dev.regs);
    msix_close(&dev.msix);
    pci_close(&dev.pci);
    is_open = false;
    running = false;
}

static void cmd_open(char **word)
{
    (void)word;
    if (is_open) {
        err("it is open");
        return;
    }
    if (!pci_find(&dev.pci, VENDOR, AGE_DEVICE_PCI_ID)) {
        err("there is no such device");
        return;
    }
    is_open = true;
    dev.regs = pci_map(&dev.pci, 0, 0);
    if (!msix_open(&dev.msix, &dev.pci) || !dev.regs) {
        close_device();
        err("cannot map the BARs");
    } else if (completion_choose(&dev, "poll")) {
        ok("device=%s id=0x%" PRIx64 " features=%" PRIu64, dev.pci.name,
           reg_read(&dev, AGE_DEVICE_ID), reg_read(&dev, AGE_DEVICE_FEATURES));
    }
}

/* Waits until the kernel has let the device go, and forgets it as well. */
static void cmd_gone(char **word)
{
    (void)word;
    if (!opened()) {
        return;
    }
    while (pci_present(&dev.pci)) {
        usleep(10000);
    }
    close_device();
    ok("device=%s", dev.pci.name);
}

/* wait WAY: from now on */
static void cmd_wait(char **word)
{
    if (opened() && idle() && completion_choose(&dev, word[1])) {
        ok("row=%s", dev.way == WAY_KERNEL ? dev.row : "none");
    }
}

/* Jobs */

/* Compares what the device says of a job that has ended. */
static bool check_results(const Job *job, uint64_t checksum)
{
    uint64_t steps = reg_read(&dev, AGE_DEVICE_STEPS);
    uint64_t bytes = reg_read(&dev, AGE_DEVICE_BYTES);
    uint64_t sum = reg_read(&dev, AGE_DEVICE_CHECKSUM);

    if (steps != job->count * job->repeat || bytes != steps * job->length) {
        err("%" PRIu64 " steps, %" PRIu64 " bytes", steps, bytes);
        return false;
    }
    if (sum != checksum) {
        err("checksum 0x%" PRIx64 ", should be 0x%" PRIx64, sum, checksum);
        return false;
    }
    return true;
}

static bool carry_out(const Job *job)
{
    if (!completion_prepare(&dev)) {
        return false;
    }
    job_start(&dev, job);
    return completion_wait(&dev, AGE_DEVICE_STATUS_DONE) &&
           check_results(job, job_imitate(job));
}

/* Some bytes of one page */
static Job page_job(size_t i, uint64_t command, size_t half, uint64_t salt)
{
    uint64_t h = hash64(i ^ salt);
    uint64_t at = h % PAGE_SIZE;

    return (Job) {
        .command = command,
        .source = i * PAGE_SIZE + at,
        .destination = (command == AGE_DEVICE_COMMAND_COPY ? i + half : i) *
                       PAGE_SIZE + at,
        .length = 1 + (h >> 32) % (PAGE_SIZE - at),
        .count = 1,
        .fill = h,
        .repeat = 1,
    };
}

/*
 * pages COMMAND PATTERN: a job for each page of the pattern.  Copies are
 * from the first half of the area to the second.
 */
static void cmd_pages(char **word)
{
    static uint64_t turn;
    size_t half = area.pages / 2, end = area.pages, jobs = 0;
    uint64_t command, salt = hash64(turn++);
    Pattern pattern;

    if (!ready()) {
        return;
    }
    if (!find_name(word[1], commands_of_device, ARRAY_SIZE(commands_of_device),
                   &command) || !pattern_parse(word[2], &pattern)) {
        err("pages: bad argument");
        return;
    }
    if (command == AGE_DEVICE_COMMAND_COPY) {
        end = half;
    }
    for (size_t i = 0; i < end; i++) {
        Job job = page_job(i, command, half, salt);

        if (!pattern_has(&pattern, i)) {
            continue;
        }
        if (!carry_out(&job)) {
            return;
        }
        jobs++;
    }
    ok("jobs=%zu", jobs);
}

/* Puts the job where frames are side by side. */
static bool place_job(Job *job)
{
    size_t first = 0;
    uint64_t room = area_longest_run(&first) * PAGE_SIZE;

    job->source = job->destination = first * PAGE_SIZE;
    if (job->command == AGE_DEVICE_COMMAND_COPY) {
        room /= 2;
        job->destination += room;
    }
    job->window = room;
    return job_fits(job, room);
}

static bool parse_job(char **word, Job *job)
{
    memset(job, 0, sizeof(*job));
    return find_name(word[1], commands_of_device,
                     ARRAY_SIZE(commands_of_device), &job->command) &&
           find_name(word[2], patterns_of_device,
                     ARRAY_SIZE(patterns_of_device), &job->pattern) &&
           number(word[3], area.pages * PAGE_SIZE, &job->length) &&
           job->length && number(word[4], MAX_STEPS, &job->count) &&
           job->count && number(word[5], UINT32_MAX, &job->stride) &&
           number(word[6], UINT64_MAX, &job->seed) &&
           number(word[7], MAX_STEPS, &job->repeat);
}

/* Whether it writes the same each time, wherever it is stopped. */
static bool can_repeat(const Job *job)
{
    return job->command == AGE_DEVICE_COMMAND_READ ||
           job->command == AGE_DEVICE_COMMAND_COPY ||
           (job->command == AGE_DEVICE_COMMAND_FILL &&
            job->length % 8 == 0 && job->stride % 8 == 0);
}

/*
 * job COMMAND PATTERN LENGTH COUNT STRIDE SEED REPEAT: on the longest part
 * of the area with frames side by side.  Copies are from the first half of
 * this to the second.  With 0 for REPEAT it runs on until "stop".
 */
static void cmd_job(char **word)
{
    Job job;

    if (!ready()) {
        return;
    }
    if (!parse_job(word, &job) || (!job.repeat && !can_repeat(&job))) {
        err("job: bad argument");
        return;
    }
    job.fill = hash64(job.seed);
    if (!place_job(&job)) {
        err("job: no room for it");
    } else if (!job.repeat) {
        job_start(&dev, &job);
        job_imitate(&job);
        running = true;
        ok("running=1");
    } else if (carry_out(&job)) {
        ok("steps=%" PRIu64, job.count * job.repeat);
    }
}

/* The end of a job without end, and with an interrupt */
static void cmd_stop(char **word)
{
    (void)word;
    if (!running) {
        err("no job is running");
        return;
    }
    if (!completion_prepare(&dev)) {
        return;
    }
    reg_write(&dev, AGE_DEVICE_CONTROL, AGE_DEVICE_CONTROL_STOP);
    running = false;
    if (completion_wait(&dev, AGE_DEVICE_STATUS_STOPPED)) {
        ok("steps=%" PRIu64, reg_read(&dev, AGE_DEVICE_STEPS));
    }
}

/* Waits until a job without end has been at all places once more. */
static void cmd_pass(char **word)
{
    uint64_t steps;

    (void)word;
    if (!running) {
        err("no job is running");
        return;
    }
    steps = reg_read(&dev, AGE_DEVICE_STEPS) +
            2 * reg_read(&dev, AGE_DEVICE_COUNT);
    while (reg_read(&dev, AGE_DEVICE_STEPS) < steps) {
        if (reg_read(&dev, AGE_DEVICE_STATUS) != AGE_DEVICE_STATUS_BUSY) {
            err("the job ended by itself");
            return;
        }
        usleep(1000);
    }
    ok("steps=%" PRIu64, steps);
}

/* The area; "verify" touches all of it */

static void cmd_alloc(char **word)
{
    if (!idle()) {
        return;
    }
    area_cmd_alloc(word);
    if (area.mem && !copy_area()) {
        err("alloc: no memory for a copy");
    }
}

static void cmd_verify(char **word)
{
    (void)word;
    if (allocated()) {
        ok("wrong=%zu", compare_area());
    }
}

static const Command commands[] = {
    { "hello", 0, cmd_hello },
    { "open", 0, cmd_open },
    { "gone", 0, cmd_gone },
    { "wait", 1, cmd_wait },
    { "alloc", 2, cmd_alloc },
    { "pages", 2, cmd_pages },
    { "job", 7, cmd_job },
    { "stop", 0, cmd_stop },
    { "pass", 0, cmd_pass },
    { "verify", 0, cmd_verify },
    { "reset", 0, area_cmd_reset },
    { "report", 0, area_cmd_report },
};

int main(void)
{
    console_run(commands, ARRAY_SIZE(commands));
}
