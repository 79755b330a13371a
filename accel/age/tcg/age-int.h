/*
 * What the files of the accelerator share
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
 * @harvested: pages reported young
 */
typedef struct AgeState {
    AgeMMU mmu;
    AgeLeafSize page_size;
    uint8_t levels;
    bool hw_ad;
    bool haft;
    AgeFlush flush;
    uint64_t harvested;
} AgeState;

extern AgeState age_state;

/* Error of every command but query-age when the accelerator is not in use */
#define AGE_NOT_IN_USE \
    "the accelerator is not in use; start QEMU with -accel age"

/**
 * age_parse_flush: what a command is to do about TLBs
 * @has_flush: it was given
 * @flush: what was given, or set to the default
 * @errp: set if that can't be done
 *
 * Returns: false on error.
 */
bool age_parse_flush(bool has_flush, AgeFlush *flush, Error **errp);

#endif /* ACCEL_AGE_TCG_AGE_INT_H */
