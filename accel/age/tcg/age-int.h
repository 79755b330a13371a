/*
 * The accelerator's own state
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_TCG_AGE_INT_H
#define ACCEL_AGE_TCG_AGE_INT_H

#include "qapi/qapi-types-age.h"
#include "accel/age/mmu/mmu.h"

/**
 * AgeState: the accelerator's own state
 *
 * Not in its AccelState object: that is TCG's, whose layout is private.
 *
 * @mmu: the vCPUs' second-stage MMU
 * @page_size: the `page-size` property
 * @levels: the `levels` property
 * @hw_ad: the `hw-ad` property
 * @haft: the `haft` property
 * @flush: the `flush` property
 * @tlb_grow: the `tlb-grow` property; atomic
 * @harvested: pages reported young
 */
typedef struct AgeState {
    AgeMMU mmu;
    AgeLeafSize page_size;
    uint8_t levels;
    bool hw_ad;
    bool haft;
    AgeFlush flush;
    bool tlb_grow;
    uint64_t harvested;
} AgeState;

extern AgeState age_state;

#endif /* ACCEL_AGE_TCG_AGE_INT_H */
