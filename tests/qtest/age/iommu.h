/*
 * QEMU's IOMMUs, set up in the guest's place and in front of age-device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_AGE_IOMMU_H
#define TESTS_AGE_IOMMU_H

#include "device.h"

/* Bus addresses that the tests use: what one table of the lowest level maps */
#define AGE_IOVA            0x80000000ULL
#define AGE_IOVA_PAGES      512

/* What a mapping permits */
#define AGE_IOMMU_READ      1
#define AGE_IOMMU_WRITE     2
#define AGE_IOMMU_RW        (AGE_IOMMU_READ | AGE_IOMMU_WRITE)

typedef struct AgeIOMMU AgeIOMMU;

/**
 * AgeIOMMUKind: one of the IOMMUs
 *
 * @name: for names of tests
 * @machine: a machine that has it or can have it
 * @args: further arguments of QEMU that it needs
 * @start: have it translate what the device accesses, with nothing mapped
 * @map: let @perm be done to the page @gpa at bus address @iova
 * @unmap: undo that
 * @bypass: let addresses be those of memory; before any access, as it does not
 *     tell the IOMMU of the change
 * @faults: how many accesses it refused since this was asked last; one that has
 *     room for a single fault does not say more than 1
 * @stop: undo @start, if that takes something; or NULL
 */
typedef struct AgeIOMMUKind {
    const char *name;
    const char *machine;
    const char *args;
    void (*start)(AgeIOMMU *i);
    void (*map)(AgeIOMMU *i, uint64_t iova, uint64_t gpa, unsigned perm);
    void (*unmap)(AgeIOMMU *i, uint64_t iova);
    void (*bypass)(AgeIOMMU *i);
    unsigned (*faults)(AgeIOMMU *i);
    void (*stop)(AgeIOMMU *i);
} AgeIOMMUKind;

/* Those of the emulator under test; the last one has no name. */
const AgeIOMMUKind *age_iommu_kinds(void);

/**
 * age_iommu_start: start a guest with an IOMMU in front of age-device
 * @kind: which one
 * @device: argument of QEMU that makes the device
 *
 * The guest is stopped.  Each refused access sends it an interrupt, which is
 * not to be taken: don't let it go on.
 */
AgeIOMMU *age_iommu_start(const AgeIOMMUKind *kind, const char *device);
void age_iommu_quit(AgeIOMMU *i);

/* The device, and what the tests may use of its memory */
AgeDev *age_iommu_device(AgeIOMMU *i);

/* See AgeIOMMUKind.  Addresses are of pages. */
void age_iommu_map(AgeIOMMU *i, uint64_t iova, uint64_t gpa, unsigned perm);
void age_iommu_unmap(AgeIOMMU *i, uint64_t iova);
void age_iommu_bypass(AgeIOMMU *i);
unsigned age_iommu_faults(AgeIOMMU *i);

#endif /* TESTS_AGE_IOMMU_H */
