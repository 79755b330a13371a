/*
 * What the files of the accelerator share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_AGE_INT_H
#define ACCEL_AGE_AGE_INT_H

#include "qapi/qapi-types-age.h"
#include "mmu.h"

/**
 * AgeState: the accelerator's own state
 *
 * Not in its AccelState object: that is TCG's, whose layout is private.
 *
 * @mmu: the vCPUs' second-stage MMU
 * @page_size: the `page-size` property
 * @flush: the `flush` property
 * @harvested: pages reported young
 */
typedef struct AgeState {
    AgeMMU mmu;
    AgePageSize page_size;
    AgeFlush flush;
    uint64_t harvested;
} AgeState;

extern AgeState age_state;

/* Error of every command but query-age when the accelerator is not in use */
#define AGE_NOT_IN_USE \
    "the accelerator is not in use; start QEMU with -accel age"

#endif /* ACCEL_AGE_AGE_INT_H */
