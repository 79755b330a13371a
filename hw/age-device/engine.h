/*
 * age-device: what a job is, and how to do a piece of it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_AGE_DEVICE_ENGINE_H
#define HW_AGE_DEVICE_ENGINE_H

#include "qemu/thread.h"
#include "system/age-dma.h"
#include "regs.h"

/* The most that is transferred at a time: this bounds memory and delays. */
#define AGE_DEVICE_PIECE    (64 * 1024)

/**
 * AgeProgress: how far a job is
 *
 * @pass: repetitions done
 * @step: steps done of this one
 * @offset: bytes done of this step
 * @bytes: bytes done, over all
 * @steps: steps done, over all
 * @checksum: of what was read
 * @error_address: what could not be accessed
 */
typedef struct AgeProgress {
    uint64_t pass;
    uint64_t step;
    uint64_t offset;
    uint64_t bytes;
    uint64_t steps;
    uint64_t checksum;
    uint64_t error_address;
} AgeProgress;

/**
 * AgeEngine: a job
 *
 * @mmu: the device's second stage
 * @param: the registers that say what to do; constant as long as it is done
 * @lock: protects @progress, which only the thread that does the job changes
 * @progress: how far it is
 * @buffer: for one piece
 */
typedef struct AgeEngine {
    AgeDMA *mmu;
    uint64_t param[AGE_DEVICE_NUM_PARAMS];
    QemuMutex lock;
    AgeProgress progress;
    uint8_t *buffer;
} AgeEngine;

/* The parameter in register @reg */
static inline uint64_t *age_engine_param(AgeEngine *e, unsigned reg)
{
    return &e->param[(reg - AGE_DEVICE_COMMAND) / 8];
}

/**
 * AgeEngineResult: what came of a piece
 *
 * @AGE_ENGINE_MORE: there is more to do
 * @AGE_ENGINE_DONE: the job is done
 * @AGE_ENGINE_INVALID: its parameters make no sense
 * @AGE_ENGINE_WRAP: a step goes beyond the end of the address space
 * @AGE_ENGINE_DMA: memory could not be accessed
 */
typedef enum AgeEngineResult {
    AGE_ENGINE_MORE,
    AGE_ENGINE_DONE,
    AGE_ENGINE_INVALID,
    AGE_ENGINE_WRAP,
    AGE_ENGINE_DMA,
} AgeEngineResult;

/* @e->mmu is for the caller to set before the first piece. */
void age_engine_init(AgeEngine *e);
void age_engine_cleanup(AgeEngine *e);

/* Back to the reset values of all registers; no job is being done. */
void age_engine_reset(AgeEngine *e);

/* Begin the job from the start. */
void age_engine_begin(AgeEngine *e);

/*
 * Do a piece of the job: at most %AGE_DEVICE_PIECE bytes of one step.  For the
 * thread, and for what an IOMMU may do to the caller, see age_dma_rw().
 */
AgeEngineResult age_engine_piece(AgeEngine *e);

/* How far it is; for any thread */
AgeProgress age_engine_progress(AgeEngine *e);

#endif /* HW_AGE_DEVICE_ENGINE_H */
