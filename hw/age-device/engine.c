/*
 * age-device: what a job is, and how to do a piece of it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/lockable.h"
#include "engine.h"

static uint64_t param(AgeEngine *e, unsigned reg)
{
    return *age_engine_param(e, reg);
}

void age_engine_init(AgeEngine *e)
{
    e->buffer = g_malloc(AGE_DEVICE_PIECE);
    qemu_mutex_init(&e->lock);
    age_engine_reset(e);
}

void age_engine_cleanup(AgeEngine *e)
{
    qemu_mutex_destroy(&e->lock);
    g_free(e->buffer);
}

static void set_progress(AgeEngine *e, const AgeProgress *p)
{
    QEMU_LOCK_GUARD(&e->lock);
    e->progress = *p;
}

AgeProgress age_engine_progress(AgeEngine *e)
{
    QEMU_LOCK_GUARD(&e->lock);
    return e->progress;
}

void age_engine_begin(AgeEngine *e)
{
    AgeProgress p = { .checksum = AGE_DEVICE_CHECKSUM_START };

    set_progress(e, &p);
}

void age_engine_reset(AgeEngine *e)
{
    memset(e->param, 0, sizeof(e->param));
    *age_engine_param(e, AGE_DEVICE_COUNT) = 1;
    *age_engine_param(e, AGE_DEVICE_REPEAT) = 1;
    age_engine_begin(e);
}

/* Patterns */

static bool pattern_valid(AgeEngine *e)
{
    uint64_t stride = param(e, AGE_DEVICE_STRIDE);

    switch (param(e, AGE_DEVICE_PATTERN)) {
    case AGE_DEVICE_PATTERN_SEQUENTIAL:
    case AGE_DEVICE_PATTERN_STRIDE:
        return true;
    case AGE_DEVICE_PATTERN_RANDOM:
        return stride && param(e, AGE_DEVICE_WINDOW) >= stride;
    default:
        return false;
    }
}

static bool job_valid(AgeEngine *e)
{
    uint64_t command = param(e, AGE_DEVICE_COMMAND);

    return command >= AGE_DEVICE_COMMAND_READ &&
           command <= AGE_DEVICE_COMMAND_FILL &&
           param(e, AGE_DEVICE_LENGTH) && pattern_valid(e);
}

/* Where a step is, from the base address on, modulo 2 to the 64 */
static uint64_t step_offset(AgeEngine *e, uint64_t step)
{
    uint64_t stride = param(e, AGE_DEVICE_STRIDE);
    uint64_t places;

    switch (param(e, AGE_DEVICE_PATTERN)) {
    case AGE_DEVICE_PATTERN_SEQUENTIAL:
        return step * param(e, AGE_DEVICE_LENGTH);
    case AGE_DEVICE_PATTERN_STRIDE:
        return step * stride;
    default:
        places = param(e, AGE_DEVICE_WINDOW) / stride;
        return age_device_random(param(e, AGE_DEVICE_SEED), step) % places *
               stride;
    }
}

/* Transfers; they return false, with the address noted, if it can't be done */

static bool engine_dma(AgeEngine *e, AgeProgress *p, uint64_t addr,
                       uint64_t size, bool write)
{
    if (age_dma_rw(e->mmu, addr, e->buffer, size, write)) {
        return true;
    }
    p->error_address = addr;
    return false;
}

static bool dma_in(AgeEngine *e, AgeProgress *p, uint64_t addr, uint64_t size)
{
    uint64_t sum = p->checksum;

    if (!engine_dma(e, p, addr, size, false)) {
        return false;
    }
    for (uint64_t i = 0; i < size; i++) {
        sum = (sum ^ e->buffer[i]) * AGE_DEVICE_CHECKSUM_PRIME;
    }
    p->checksum = sum;
    return true;
}

/* What is written, from byte number @at of the job on */
static void fill_buffer(AgeEngine *e, uint64_t at, uint64_t size)
{
    bool count = param(e, AGE_DEVICE_COMMAND) == AGE_DEVICE_COMMAND_WRITE;
    uint64_t fill = param(e, AGE_DEVICE_FILL);

    for (uint64_t i = 0; i < size; i++) {
        uint64_t word = count ? fill + (at + i) / 8 : fill;

        e->buffer[i] = word >> (at + i) % 8 * 8;
    }
}

static bool engine_transfer(AgeEngine *e, AgeProgress *p, uint64_t offset,
                            uint64_t size)
{
    uint64_t source = param(e, AGE_DEVICE_SOURCE) + offset;
    uint64_t destination = param(e, AGE_DEVICE_DESTINATION) + offset;

    switch (param(e, AGE_DEVICE_COMMAND)) {
    case AGE_DEVICE_COMMAND_READ:
        return dma_in(e, p, source, size);
    case AGE_DEVICE_COMMAND_COPY:
        return dma_in(e, p, source, size) &&
               engine_dma(e, p, destination, size, true);
    default:
        fill_buffer(e, p->bytes, size);
        return engine_dma(e, p, destination, size, true);
    }
}

/* Does a step at @base go beyond the end of the address space? */
static bool place_wraps(AgeEngine *e, AgeProgress *p, uint64_t base,
                        uint64_t offset)
{
    uint64_t start = base + offset;

    if (start + (param(e, AGE_DEVICE_LENGTH) - 1) >= start) {
        return false;
    }
    p->error_address = start;
    return true;
}

static bool step_wraps(AgeEngine *e, AgeProgress *p, uint64_t offset)
{
    uint64_t command = param(e, AGE_DEVICE_COMMAND);
    bool in = command == AGE_DEVICE_COMMAND_READ ||
              command == AGE_DEVICE_COMMAND_COPY;
    bool out = command != AGE_DEVICE_COMMAND_READ;

    return (in && place_wraps(e, p, param(e, AGE_DEVICE_SOURCE), offset)) ||
           (out && place_wraps(e, p, param(e, AGE_DEVICE_DESTINATION), offset));
}

/* Count a piece, and go on to the next step and pass if it was their last. */
static void engine_advance(AgeEngine *e, AgeProgress *p, uint64_t size)
{
    p->bytes += size;
    p->offset += size;
    if (p->offset < param(e, AGE_DEVICE_LENGTH)) {
        return;
    }
    p->offset = 0;
    p->steps++;
    if (++p->step == param(e, AGE_DEVICE_COUNT)) {
        p->step = 0;
        p->pass++;
    }
}

static bool is_done(AgeEngine *e, const AgeProgress *p)
{
    uint64_t repeat = param(e, AGE_DEVICE_REPEAT);

    return !param(e, AGE_DEVICE_COUNT) || (repeat && p->pass >= repeat);
}

static AgeEngineResult do_piece(AgeEngine *e, AgeProgress *p)
{
    uint64_t offset, size;

    if (!job_valid(e)) {
        return AGE_ENGINE_INVALID;
    }
    if (is_done(e, p)) {
        return AGE_ENGINE_DONE;
    }
    offset = step_offset(e, p->step);
    if (step_wraps(e, p, offset)) {
        return AGE_ENGINE_WRAP;
    }
    size = MIN(param(e, AGE_DEVICE_LENGTH) - p->offset, AGE_DEVICE_PIECE);
    if (!engine_transfer(e, p, offset + p->offset, size)) {
        return AGE_ENGINE_DMA;
    }
    engine_advance(e, p, size);
    return is_done(e, p) ? AGE_ENGINE_DONE : AGE_ENGINE_MORE;
}

AgeEngineResult age_engine_piece(AgeEngine *e)
{
    /* Nobody else changes it, so reading it takes no lock. */
    AgeProgress p = e->progress;
    AgeEngineResult result = do_piece(e, &p);

    set_progress(e, &p);
    return result;
}
