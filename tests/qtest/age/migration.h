/*
 * Guests that move to another QEMU, for the age tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_AGE_MIGRATION_H
#define TESTS_AGE_MIGRATION_H

#include "device.h"
#include "guest.h"
#include "harvester.h"

/* What a guest does while it moves: see age_migration_begin_work() */
#define AGE_MIGRATION_QUIET     50

/**
 * AgeSide: one of the two QEMUs of a migration
 *
 * @g: the guest there
 * @h: makes all of its memory old, out of band, again and again
 * @since: a number of the history h0 from before there was a guest
 * @d: its age-device, which stores to memory as well; NULL for none
 *
 * The history harvests as well, by itself, and knows what anybody found.
 */
typedef struct AgeSide {
    AgeGuest *g;
    AgeHarvester *h;
    uint64_t since;
    AgeDev *d;
} AgeSide;

/**
 * age_side_start: start a QEMU, and harvests of it
 * @side: what is set up
 * @incoming: it waits for migrate-incoming
 * @args: further arguments of QEMU, or NULL
 *
 * The guest has two vCPUs, and out-of-band commands.
 */
void age_side_start(AgeSide *side, bool incoming, const char *args);

/*
 * The same in two steps, for one that can't be spoken to before something was
 * sent to it, which is to be done between them
 */
void age_side_start_incoming(AgeSide *side, const char *args);
void age_side_connect(AgeSide *side);

/* Wait until the harvester has begun a harvest after now, and has done it. */
void age_side_harvested(AgeSide *side);

/*
 * Have an age-device, which both sides must have, store to memory again and
 * again, at the source; and go on with that at the destination.
 */
void age_side_begin_dma(AgeSide *from);
void age_side_go_on_dma(AgeSide *from, AgeSide *to);

/*
 * Stop the harvests, during which vCPU 1 stored to @pages pages.  Fails unless
 * the history was told these, those of the device and, at the source, the quiet
 * ones; and no others.  @loaded: a load has begun here, so that the generation
 * is the second one.
 */
void age_side_end(AgeSide *side, bool loaded, unsigned pages);

/* Quit QEMU, and stop the harvests of it if that was not done. */
void age_side_quit(AgeSide *side);

/* Capabilities: a JSON list as migrate-set-capabilities has it */
#define AGE_CAPABILITY(name)    "{ 'capability': '" name "', 'state': true }"

/* Returns whether the host permits them. */
bool age_migration_can(QTestState *qts, const char *capabilities);
void age_migration_set(QTestState *qts, const char *capabilities);

/* JSON members as migrate-set-parameters has them */
void age_migration_set_parameters(QTestState *qts, const char *parameters);

/* Wait for a status of the migration, and until the guest runs */
void age_migration_wait(QTestState *qts, const char *status);
void age_migration_wait_running(QTestState *qts);

/* A name for a socket or a file, to be freed */
char *age_migration_path(const char *what);

/* Begin one through a socket, and wait until the guest runs elsewhere */
void age_migration_begin(AgeGuest *from, AgeGuest *to);
void age_migration_end(AgeGuest *from, AgeGuest *to);

/* The two halves of that; a QEMU that can't receive does not exit. */
void age_migration_send(AgeGuest *g, const char *uri);
void age_migration_receive(AgeGuest *g, const char *uri);

/*
 * vCPU 1 stores to @pages pages again and again, and flushes its TLB.  Before
 * that %AGE_MIGRATION_QUIET pages were stored to, which nobody uses any more.
 */
void age_migration_begin_work(AgeGuest *g, unsigned pages);
void age_migration_end_work(AgeGuest *g);

/* The first of those pages */
uint64_t age_migration_quiet(const AgeGuest *g);

/* The guest works on, and has brought along what it had stored. */
void age_migration_check_arrived(AgeGuest *g);

/*
 * That memory was read to be sent made nothing young at the source.  The guest
 * goes on here, too.
 */
void age_migration_check_source(AgeGuest *g, unsigned pages);

/* Only what was used here is mapped here, by the frames of here. */
void age_migration_check_destination(AgeGuest *g, unsigned pages);

#endif /* TESTS_AGE_MIGRATION_H */
