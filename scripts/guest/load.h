/*
 * What the program of scripts/bench keeps a guest busy with
 *
 * Each of these returns a checksum of what it did.  It depends on the
 * arguments alone, so that the host sees whether all guests did the same.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef AGE_GUEST_LOAD_H
#define AGE_GUEST_LOAD_H

#include <stdbool.h>
#include <stdint.h>

/* An FNV-1a hash, to begin with, and with one more byte */
#define LOAD_HASH       0xcbf29ce484222325ull
#define LOAD_HASH_STEP  0x00000100000001b3ull

/*
 * Translates @units made-up source files, @jobs at a time, each in a process
 * of its own that is executed anew; false if one of them could not.
 */
bool load_compile(unsigned units, unsigned jobs, uint64_t *sum);

/* What such a process does: translates unit @number; its exit status. */
int load_translate(unsigned number);

#endif
