/*
 * Jobs of age-device on the area, and what they have to come to
 *
 * A second copy of the area shows what it should hold.  So nobody but the
 * device touches the area itself until somebody asks for a comparison.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef AGE_GUEST_JOB_H
#define AGE_GUEST_JOB_H

#include "completion.h"

/* A job as the device takes it, with places in the area for addresses. */
typedef struct Job {
    uint64_t command;
    uint64_t pattern;
    uint64_t source;            /* bytes from the start of the area */
    uint64_t destination;
    uint64_t length;
    uint64_t count;
    uint64_t stride;
    uint64_t window;
    uint64_t seed;
    uint64_t fill;
    uint64_t repeat;
} Job;

/* Makes the copy of an area that is new; false if there is no memory. */
bool copy_area(void);

/* How many pages of the area are not as in the copy. */
size_t compare_area(void);

/* Whether each step stays within @room bytes. */
bool job_fits(const Job *job, uint64_t room);

/* The job is to be started with parts that have frames side by side. */
void job_start(const AgeDevice *dev, const Job *job);

/*
 * Does the job in the copy, and puts the pages on the account.  Returns the
 * checksum; what repeats without end is done once.
 */
uint64_t job_imitate(const Job *job);

#endif
