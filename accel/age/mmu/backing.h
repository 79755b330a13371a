/*
 * The host memory behind a range of guest-physical addresses
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MMU_BACKING_H
#define ACCEL_AGE_MMU_BACKING_H

#include "mmu.h"
#include "pieces.h"

/**
 * age_backing_of_gpa: find the host memory behind a range
 * @mmu: the MMU whose slots tell
 * @only: the address space whose slots count; NULL for all of them
 * @range: number of the range
 * @start: first guest-physical address, page aligned
 * @end: the address behind the last
 * @pieces: array of #AgePiece, to which is added what the slots have there,
 *     each page once at each guest-physical address
 *
 * Context: RCU read-side critical section, in which the result is valid.
 */
void age_backing_of_gpa(const AgeMMU *mmu, const AgeAddressSpace *only,
                        unsigned range, hwaddr start, hwaddr end,
                        GArray *pieces);

#endif /* ACCEL_AGE_MMU_BACKING_H */
