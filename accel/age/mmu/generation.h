/*
 * Loads of the machine's state
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MMU_GENERATION_H
#define ACCEL_AGE_MMU_GENERATION_H

/**
 * age_load_init: begin to hear of loads
 *
 * Context: BQL held.
 */
void age_load_init(void);

/**
 * age_generation: how often the memory of the guest became another
 *
 * Begins with 1, and changes with each load of the machine's state, once all
 * that was accessed before it is forgotten.  What is found after it was read
 * was accessed in that generation or in a later one.
 *
 * Context: any thread.
 */
uint64_t age_generation(void);

#endif /* ACCEL_AGE_MMU_GENERATION_H */
