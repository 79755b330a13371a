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
 * @errp: set if there is no table format for the guest's architecture, or if
 *     answers call another MMU by that name
 *
 * Returns: NULL on error.
 * Context: BQL held.
 */
AgeDMA *age_dma_new(const char *name, AddressSpace *as, Error **errp);

/**
 * age_dma_free: unsubscribe, and free the MMU when nobody uses it any more
 * @dma: the MMU.  No access is under way, but for one that an IOMMU refuses at
 *     this moment, and none will come.  Harvests may be under way
 *
 * Context: BQL held.  Does not wait.
 */
void age_dma_free(AgeDMA *dma);

/**
 * age_dma_rw: the device reads or writes memory
 * @dma: the MMU
 * @addr: bus address
 * @buf: where to put what is read, or what is written
 * @size: bytes
 * @write: it writes
 *
 * Goes from page to page, upwards.  Each is translated once: by the IOMMU, if
 * one is between the device and memory, and by the MMU's own table.  If there
 * is RAM, and all permit the access, the page is marked accessed, and dirty for
 * a write, and is then accessed.  At the first page that can't be accessed it
 * ends.  So the pages before that were marked and accessed, and it and those
 * behind were neither.  Two exceptions: RAM that is no whole page, or beyond
 * what the table can translate, is accessed without a mark, as nobody can ask
 * for it; and while another page takes the place of one, the mark may be on the
 * new page for an access to the old.
 *
 * Registers of devices are not RAM, nor is flash.  What is read-only can be
 * read.
 *
 * Returns: whether all could be accessed.
 * Context: one thread at a time for each MMU, which must be known to RCU.
 *     Neither takes the BQL nor waits for who holds it.  Without the BQL it
 *     does not ask an IOMMU, as QEMU's models of them need it: what is behind
 *     one can't be accessed then.  With the BQL held, an IOMMU that refuses
 *     tells the guest before this returns, by a write to where that wants it or
 *     by an interrupt.  So it may do anything, down to unplugging the device:
 *     the caller holds a reference to whatever @buf and the address space are
 *     in, and looks again at its state.  @dma may be given to age_dma_free()
 *     meanwhile.
 */
bool age_dma_rw(AgeDMA *dma, hwaddr addr, void *buf, uint64_t size,
                bool write);

/**
 * age_dma_set_test_clear_young: can the MMU answer for single pages?
 * @dma: the MMU
 * @on: if not, age_test_clear_young() is refused and needs a fallback
 *
 * Context: BQL held.
 */
void age_dma_set_test_clear_young(AgeDMA *dma, bool on);

#endif /* SYSTEM_AGE_DMA_H */
