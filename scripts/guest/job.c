/*
 * Jobs of age-device on the area, and what they have to come to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include "area.h"
#include "job.h"

static uint8_t *copy;

bool copy_area(void)
{
    free(copy);
    copy = malloc(area.pages * PAGE_SIZE);
    if (!copy) {
        return false;
    }
    memcpy(copy, area.mem, area.pages * PAGE_SIZE);
    return true;
}

size_t compare_area(void)
{
    size_t count = 0;

    for (size_t i = 0; i < area.pages; i++) {
        size_t at = i * PAGE_SIZE;

        count += memcmp(area.mem + at, copy + at, PAGE_SIZE) != 0;
    }
    return count;
}

static uint64_t step_offset(const Job *job, uint64_t step)
{
    switch (job->pattern) {
    case AGE_DEVICE_PATTERN_SEQUENTIAL:
        return step * job->length;
    case AGE_DEVICE_PATTERN_STRIDE:
        return step * job->stride;
    default:
        return age_device_random(job->seed, step) %
               (job->window / job->stride) * job->stride;
    }
}

bool job_fits(const Job *job, uint64_t room)
{
    if (job->pattern == AGE_DEVICE_PATTERN_RANDOM &&
        (!job->stride || job->window < job->stride)) {
        return false;
    }
    for (uint64_t step = 0; step < job->count; step++) {
        uint64_t offset = step_offset(job, step);

        if (offset > room || job->length > room - offset) {
            return false;
        }
    }
    return true;
}

/* Where the device finds a byte of the area */
static uint64_t address(uint64_t place)
{
    uint64_t pfn = area.entries[place / PAGE_SIZE] & ENTRY_PFN_MASK;

    return pfn * PAGE_SIZE + place % PAGE_SIZE;
}

void job_start(const AgeDevice *dev, const Job *job)
{
    reg_write(dev, AGE_DEVICE_COMMAND, job->command);
    reg_write(dev, AGE_DEVICE_PATTERN, job->pattern);
    reg_write(dev, AGE_DEVICE_SOURCE, address(job->source));
    reg_write(dev, AGE_DEVICE_DESTINATION, address(job->destination));
    reg_write(dev, AGE_DEVICE_LENGTH, job->length);
    reg_write(dev, AGE_DEVICE_COUNT, job->count);
    reg_write(dev, AGE_DEVICE_STRIDE, job->stride);
    reg_write(dev, AGE_DEVICE_WINDOW, job->window);
    reg_write(dev, AGE_DEVICE_SEED, job->seed);
    reg_write(dev, AGE_DEVICE_FILL, job->fill);
    reg_write(dev, AGE_DEVICE_REPEAT, job->repeat);
    reg_write(dev, AGE_DEVICE_CONTROL, AGE_DEVICE_CONTROL_START);
}

static void account_bytes(uint64_t place, uint64_t length)
{
    for (uint64_t i = place / PAGE_SIZE;
         i <= (place + length - 1) / PAGE_SIZE; i++) {
        account(i);
    }
}

static bool reads(const Job *job)
{
    return job->command == AGE_DEVICE_COMMAND_READ ||
           job->command == AGE_DEVICE_COMMAND_COPY;
}

/* What is written, with number @at of all bytes of the job */
static uint8_t written(const Job *job, uint64_t at)
{
    uint64_t word = job->fill;

    if (job->command == AGE_DEVICE_COMMAND_WRITE) {
        word += at / 8;
    }
    return (uint8_t)(word >> at % 8 * 8);
}

static uint64_t imitate_step(const Job *job, uint64_t offset, uint64_t at,
                             uint64_t sum)
{
    const uint8_t *from = copy + job->source + offset;
    uint8_t *to = copy + job->destination + offset;

    for (uint64_t i = 0; i < job->length; i++) {
        if (reads(job)) {
            sum = (sum ^ from[i]) * AGE_DEVICE_CHECKSUM_PRIME;
        }
        if (job->command == AGE_DEVICE_COMMAND_COPY) {
            to[i] = from[i];
        } else if (job->command != AGE_DEVICE_COMMAND_READ) {
            to[i] = written(job, at + i);
        }
    }
    if (reads(job)) {
        account_bytes(job->source + offset, job->length);
    }
    if (job->command != AGE_DEVICE_COMMAND_READ) {
        account_bytes(job->destination + offset, job->length);
    }
    return sum;
}

uint64_t job_imitate(const Job *job)
{
    uint64_t steps = job->count * (job->repeat ? job->repeat : 1);
    uint64_t sum = AGE_DEVICE_CHECKSUM_START;

    for (uint64_t i = 0; i < steps; i++) {
        sum = imitate_step(job, step_offset(job, i % job->count),
                           i * job->length, sum);
    }
    return sum;
}
