/*
 * A second-stage MMU for a device's DMA
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "exec/address-spaces.h"
#include "exec/memory.h"
#include "hw/core/cpu.h"
#include "system/age-dma.h"
#include "age-int.h"
#include "walker.h"

/* @bus: what the device's addresses mean: memory, or an IOMMU before it */
struct AgeDMA {
    AgeMMU mmu;
    AgeWalker walker;
    AddressSpace *bus;
};

AgeDMA *age_dma_new(const char *name, AddressSpace *as, Error **errp)
{
    const AgeFormat *fmt = age_target_format(true, true);
    AgeDMA *dma;

    if (!fmt) {
        error_setg(errp, "no second-stage page table format for %s guests",
                   target_name());
        return NULL;
    }
    dma = g_new0(AgeDMA, 1);
    dma->mmu.fmt = fmt;
    fmt->geometry(fmt->max_gpa_bits, 0, &dma->mmu.geo);
    age_mmu_init(&dma->mmu, name);
    dma->bus = as;
    dma->walker.space[0] = age_mmu_add_space(&dma->mmu, g_strdup("dma"),
                                             &address_space_memory);
    return dma;
}

static void dma_freed(AgeMMU *mmu)
{
    g_free(container_of(mmu, AgeDMA, mmu));
}

void age_dma_free(AgeDMA *dma)
{
    age_mmu_cleanup(&dma->mmu, dma_freed);
}

/* The page at @addr on the bus, which an IOMMU may put elsewhere */
static void access_page(AgeDMA *dma, hwaddr addr, bool write)
{
    IOMMUTLBEntry entry = address_space_get_iotlb_entry(
        dma->bus, addr, write, MEMTXATTRS_UNSPECIFIED);
    hwaddr gpa = (entry.translated_addr & ~entry.addr_mask) |
                 (addr & entry.addr_mask);

    if ((entry.perm & (write ? IOMMU_WO : IOMMU_RO)) &&
        gpa < 1ULL << dma->mmu.geo.gpa_bits) {
        age_walk(&dma->walker, 0, gpa, write);
    }
}

void age_dma_access(AgeDMA *dma, hwaddr addr, uint64_t size, bool write)
{
    hwaddr first = addr / AGE_PAGE_SIZE;
    hwaddr last = addr + (size - 1) < addr ? ~0ULL : addr + (size - 1);

    RCU_READ_LOCK_GUARD();
    for (hwaddr page = first; page <= last / AGE_PAGE_SIZE; page++) {
        access_page(dma, page * AGE_PAGE_SIZE, write);
    }
}

void age_dma_set_test_clear_young(AgeDMA *dma, bool on)
{
    qatomic_set(&dma->mmu.refusal,
                on ? NULL : "it can't tell for single pages "
                            "(test-clear-young=off)");
}
