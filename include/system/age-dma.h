/*
 * A second-stage MMU for a device's DMA
 *
 * For devices that translate by tables of their own, as GPUs and devices
 * behind an IOMMU with ATS do.  The tables have the format of the guest's
 * architecture and accessed bits of their own, and are a secondary MMU on the
 * chain of system/age.h.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_AGE_DMA_H
#define SYSTEM_AGE_DMA_H

#include "exec/hwaddr.h"

typedef struct AgeDMA AgeDMA;

/**
 * age_dma_new: an MMU for a device, subscribed to the chain
 * @name: how answers call it; copied
 * @as: the address space of its DMA, which must live until age_dma_free().
 * @errp: set if there is no table format for the guest's architecture
 *
 * Returns: NULL on error.
 * Context: BQL held.
 */
AgeDMA *age_dma_new(const char *name, AddressSpace *as, Error **errp);

/**
 * age_dma_free: unsubscribe, and free the MMU when nobody uses it any more
 * @dma: the MMU; no access is under way, and none will come.  Harvests may be
 *
 * Context: BQL held.  Does not wait.
 */
void age_dma_free(AgeDMA *dma);

/**
 * age_dma_access: the device accesses memory
 * @dma: the MMU
 * @addr: bus address
 * @size: bytes, not 0
 * @write: it writes
 *
 * Sets the accessed bits of the pages, and the dirty bits for a write, as the
 * device's page walker does before the access.  The access itself is up to the
 * caller.  Addresses without memory are passed over.
 *
 * Context: one thread at a time for each MMU, which must be known to RCU; with
 *     or without the BQL.
 */
void age_dma_access(AgeDMA *dma, hwaddr addr, uint64_t size, bool write);

/**
 * age_dma_set_test_clear_young: can the MMU answer for single pages?
 * @dma: the MMU
 * @on: if not, age_test_clear_young() is refused and needs a fallback
 *
 * Context: BQL held.
 */
void age_dma_set_test_clear_young(AgeDMA *dma, bool on);

#endif /* SYSTEM_AGE_DMA_H */
