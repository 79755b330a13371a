/*
 * Do the page tables say what they should?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_AGE_CHECK_H
#define TESTS_AGE_CHECK_H

#include "guest.h"

/**
 * age_check_tables: look at every entry of every address space
 * @qts: QEMU, whose vCPUs are stopped and nobody else harvests
 *
 * Fails unless each leaf is in a slot and has the slot's frame, none permits
 * more than its slot does, no entry is old with a young leaf below, no table is
 * left where no slot is, as many tables are in use as hang together, and the
 * pages of young leaves are those that a harvest finds young.  And unless each
 * leaf that was made young was made old, was zapped, or is young still, as
 * age_check_conserved() does in more time.
 */
void age_check_tables(QTestState *qts);

/* The same; stops the guest for that long */
void age_check(AgeGuest *g);

/* The pages of [@start, @end) of @space that a leaf maps, young or old */
GArray *age_mapped_pages(QTestState *qts, const char *space, uint64_t start,
                         uint64_t end);

/* Wait until as many tables are in use, over all levels, as there were. */
uint64_t age_all_tables(QTestState *qts);
void age_wait_tables(QTestState *qts, uint64_t want);

#endif /* TESTS_AGE_CHECK_H */
