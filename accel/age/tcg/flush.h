/*
 * Flushes of the vCPUs' TLBs
 *
 * A harvest clears flags of entries that TLBs may have, and a zap takes them
 * away.  Then vCPUs are asked to flush, which nobody waits for.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_TCG_FLUSH_H
#define ACCEL_AGE_TCG_FLUSH_H

#include "hw/core/cpu.h"

/**
 * age_flush_if_asked: a vCPU is about to execute guest code
 * @cpu: the vCPU
 *
 * Does the flush that was asked for, if one was.
 *
 * Context: the vCPU's own thread, after it set CPUState.running.
 */
void age_flush_if_asked(CPUState *cpu);

/**
 * age_flush_request: ask every vCPU to flush its TLB
 *
 * Does not wait for it.  A vCPU that was asked already, and has not begun, is
 * not asked again.  Does nothing if no flag was cleared, nor anything else done
 * that TLBs do not know of, since the last request.  Does nothing under
 * record/replay.
 *
 * A vCPU flushes before it executes guest code again.  One that executes some
 * is made to stop for it; one that sleeps is not woken.
 *
 * Context: any thread, with or without the BQL.
 */
void age_flush_request(void);

/**
 * age_flush_request_later: request it when the main loop gets to it
 *
 * For what comes in batches, such as pages that a balloon takes: one flush will
 * do for all of them.
 *
 * Context: any thread, with or without the BQL.
 */
void age_flush_request_later(void);

/**
 * age_flush_pending: may any vCPU still use what it should have flushed?
 *
 * One that was asked to flush, and does not execute guest code, can't.  If a
 * request is to come later, it is made now.  Takes no lock if no vCPU owes a
 * flush.
 *
 * Context: any thread, with or without the BQL.
 */
bool age_flush_pending(void);

/**
 * age_flush_count: how many flushes vCPUs have done
 *
 * Context: any thread, with or without the BQL.
 */
uint64_t age_flush_count(void);

#endif /* ACCEL_AGE_TCG_FLUSH_H */
