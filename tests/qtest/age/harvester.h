/*
 * A thread that harvests again and again, through a monitor of its own
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_AGE_HARVESTER_H
#define TESTS_AGE_HARVESTER_H

#include "libqtest.h"

/**
 * AgeTally: what harvests of one range found
 *
 * @start: first address
 * @end: address behind the last
 * @passes: number of harvests
 * @young: number of young pages, over all of them
 * @times: for each page, how often it was young
 */
typedef struct AgeTally {
    uint64_t start;
    uint64_t end;
    unsigned passes;
    uint64_t young;
    unsigned *times;
} AgeTally;

void age_tally_init(AgeTally *t, uint64_t start, uint64_t end);
void age_tally_clear(AgeTally *t);

/* The arguments of the next harvest: JSON members in @options, or NULL */
QDict *age_tally_args(const AgeTally *t, const char *options);

/* Add what it returned; its format must be runs. */
void age_tally_add(AgeTally *t, const QDict *result);

/**
 * AgeHarvester: a thread that harvests
 *
 * @tally: what it found; for others to read after it was stopped
 * @passes: how many harvests it did; anybody may read it
 */
typedef struct AgeHarvester {
    AgeTally tally;
    unsigned passes;
    /* private */
    GThread *thread;
    char *path;
    const char *options;
    int fd;
    bool stop;
} AgeHarvester;

/* A harvester that is not started; it has the command line of its monitor. */
AgeHarvester *age_harvester_new(void);

/* Arguments of QEMU for the monitor; to be freed */
char *age_harvester_args(const AgeHarvester *h);

/*
 * Make all of [@start, @end) old, out of band, until it is stopped.  @options
 * are as for age_harvest(), and live as long as the harvester.  One that was
 * stopped can be started again, with a tally of its own.
 */
void age_harvester_start(AgeHarvester *h, uint64_t start, uint64_t end,
                         const char *options);

/* Wait until it has done so many passes */
void age_harvester_wait(AgeHarvester *h, unsigned passes);

/* Have it end */
void age_harvester_stop(AgeHarvester *h);

void age_harvester_free(AgeHarvester *h);

#endif /* TESTS_AGE_HARVESTER_H */
