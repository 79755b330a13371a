/*
 * Registers of age-device, see docs/specs/age-device.rst
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_AGE_DEVICE_REGS_H
#define HW_AGE_DEVICE_REGS_H

#define AGE_DEVICE_PCI_ID           0x10f0

/* All are 64 bits wide. */
#define AGE_DEVICE_ID               0x00
#define AGE_DEVICE_FEATURES         0x08
#define AGE_DEVICE_CONTROL          0x10
#define AGE_DEVICE_STATUS           0x18
#define AGE_DEVICE_IRQ_STATUS       0x20
#define AGE_DEVICE_IRQ_ENABLE       0x28
/* What the job is, from here ... */
#define AGE_DEVICE_COMMAND          0x30
#define AGE_DEVICE_PATTERN          0x38
#define AGE_DEVICE_SOURCE           0x40
#define AGE_DEVICE_DESTINATION      0x48
#define AGE_DEVICE_LENGTH           0x50
#define AGE_DEVICE_COUNT            0x58
#define AGE_DEVICE_STRIDE           0x60
#define AGE_DEVICE_WINDOW           0x68
#define AGE_DEVICE_SEED             0x70
#define AGE_DEVICE_FILL             0x78
#define AGE_DEVICE_REPEAT           0x80
/* ... to here */
#define AGE_DEVICE_BYTES            0x88
#define AGE_DEVICE_STEPS            0x90
#define AGE_DEVICE_CHECKSUM         0x98
#define AGE_DEVICE_ERROR_ADDRESS    0xa0
#define AGE_DEVICE_REGS_END         0xa8
#define AGE_DEVICE_BAR_SIZE         0x1000

#define AGE_DEVICE_NUM_PARAMS \
    ((AGE_DEVICE_REPEAT - AGE_DEVICE_COMMAND) / 8 + 1)

/* Version 1, "AGED" */
#define AGE_DEVICE_ID_VALUE         0x0000000141474544ULL

#define AGE_DEVICE_FEATURE_WORKER   (1ULL << 0)
#define AGE_DEVICE_FEATURE_YOUNG    (1ULL << 1)

#define AGE_DEVICE_CONTROL_START    (1ULL << 0)
#define AGE_DEVICE_CONTROL_STOP     (1ULL << 1)

#define AGE_DEVICE_STATUS_BUSY      (1ULL << 0)
#define AGE_DEVICE_STATUS_DONE      (1ULL << 1)
#define AGE_DEVICE_STATUS_ERROR     (1ULL << 2)
#define AGE_DEVICE_STATUS_STOPPED   (1ULL << 3)
#define AGE_DEVICE_STATUS_CODE      8

#define AGE_DEVICE_CODE_INVALID     1
#define AGE_DEVICE_CODE_WRAP        2
#define AGE_DEVICE_CODE_DMA         3

#define AGE_DEVICE_IRQ_DONE         (1ULL << 0)
#define AGE_DEVICE_IRQ_ERROR        (1ULL << 1)
#define AGE_DEVICE_IRQ_ALL          (AGE_DEVICE_IRQ_DONE | AGE_DEVICE_IRQ_ERROR)

#define AGE_DEVICE_COMMAND_READ     1
#define AGE_DEVICE_COMMAND_WRITE    2
#define AGE_DEVICE_COMMAND_COPY     3
#define AGE_DEVICE_COMMAND_FILL     4

#define AGE_DEVICE_PATTERN_SEQUENTIAL   0
#define AGE_DEVICE_PATTERN_STRIDE       1
#define AGE_DEVICE_PATTERN_RANDOM       2

/* The checksum is FNV-1a. */
#define AGE_DEVICE_CHECKSUM_START   0xcbf29ce484222325ULL
#define AGE_DEVICE_CHECKSUM_PRIME   0x00000100000001b3ULL

/* The random numbers are those of SplitMix64. */
static inline uint64_t age_device_random(uint64_t seed, uint64_t index)
{
    uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15ULL;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

#endif /* HW_AGE_DEVICE_REGS_H */
