/*
 * The IOMMU in front of age-device, for its fuzzing targets
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_FUZZ_AGE_IOMMU_FUZZ_H
#define TESTS_FUZZ_AGE_IOMMU_FUZZ_H

#include "exec/hwaddr.h"

/* What makes the machine have it: of -machine, and a further argument */
#ifdef TARGET_AARCH64
#define AGE_FUZZ_IOMMU_MACHINE  ",iommu=smmuv3"
#define AGE_FUZZ_IOMMU_DEVICE   ""
#else
#define AGE_FUZZ_IOMMU_MACHINE  ""
#define AGE_FUZZ_IOMMU_DEVICE   " -device intel-iommu,intremap=off"
#endif

/**
 * age_fuzz_iommu_on: make tables and turn it on
 * @ram: where memory begins: at a whole 16 MiB, of which there are as many
 * @devfn: the device, on bus 0
 * @seed: what is mapped to where, and what is permitted: anything
 */
void age_fuzz_iommu_on(hwaddr ram, unsigned devfn, uint64_t seed);

/* Turn it off */
void age_fuzz_iommu_off(void);

/* Forget what it remembers of the tables. */
void age_fuzz_iommu_flush(hwaddr ram);

/* Write @value to a register, and read that. */
void age_fuzz_iommu_write(unsigned reg, uint64_t value);

#endif /* TESTS_FUZZ_AGE_IOMMU_FUZZ_H */
