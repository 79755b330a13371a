/*
 * A second-stage MMU for a device's DMA
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qapi/error.h"
#include "system/age-compat.h"
#include "system/age-dma.h"
#include "arch.h"
#include "walker.h"

/* @bus: what the device's addresses mean: memory, or an IOMMU before it */
struct AgeDMA {
    AgeMMU mmu;
    AgeWalker walker;
    AddressSpace *bus;
};

AgeDMA *age_dma_new(const char *name, AddressSpace *as, Error **errp)
{
    const AgeArch *arch = age_arch();
    const AgeFormat *fmt;
    AgeDMA *dma;

    assert(bql_locked());
    if (!arch) {
        error_setg(errp, "no second-stage page table format for %s guests",
                   target_name());
        return NULL;
    }
    fmt = age_arch_format(arch, true, true);
    dma = g_new0(AgeDMA, 1);
    dma->mmu.fmt = fmt;
    fmt->geometry(fmt->max_gpa_bits, 0, &dma->mmu.geo);
    if (!age_mmu_init(&dma->mmu, name, errp)) {
        g_free(dma);
        return NULL;
    }
    dma->bus = as;
    dma->walker.space[0] = age_mmu_add_space(&dma->mmu, g_strdup("dma"),
                                             &address_space_memory);
    age_walker_init(&dma->walker);
    return dma;
}

static void dma_freed(AgeMMU *mmu)
{
    g_free(container_of(mmu, AgeDMA, mmu));
}

void age_dma_free(AgeDMA *dma)
{
    assert(bql_locked());
    age_mmu_cleanup(&dma->mmu, dma_freed);
}

/* Accesses */

/*
 * Ask the IOMMU before the memory for the guest-physical address of @addr, once
 * and with what the access needs.  The models of IOMMUs may raise an interrupt
 * or change the memory layout, and expect the BQL; without it none is asked.
 */
static bool ask_iommu(AgeDMA *dma, hwaddr addr, bool write, hwaddr *gpa)
{
    IOMMUTLBEntry entry;

    if (!bql_locked()) {
        return false;
    }
    entry = address_space_get_iotlb_entry(dma->bus, addr, write,
                                          MEMTXATTRS_UNSPECIFIED);
    *gpa = (entry.translated_addr & ~entry.addr_mask) |
           (addr & entry.addr_mask);
    return (entry.perm & (write ? IOMMU_WO : IOMMU_RO)) &&
           entry.target_as == &address_space_memory;
}

/*
 * Find what is behind @size bytes at @addr, which are in one page, and its
 * guest-physical address.  Returns false if an IOMMU does not permit it; else
 * the caller destroys @cache, that may not be memory.
 *
 * That drops a reference to a region, without the BQL perhaps, but never the
 * last one: the view of memory that @cache holds as well has another.
 */
static bool dma_translate(AgeDMA *dma, hwaddr addr, hwaddr size, bool write,
                          MemoryRegionCache *cache, hwaddr *gpa)
{
    *gpa = addr;
    address_space_cache_init(cache, dma->bus, addr, size, write);
    if (!memory_region_is_iommu(cache->mrs.mr)) {
        return true;
    }
    address_space_cache_destroy(cache);
    if (!ask_iommu(dma, addr, write, gpa)) {
        return false;
    }
    address_space_cache_init(cache, &address_space_memory, *gpa, size, write);
    return true;
}

/* Memory that takes the access, so that it is a copy and no device's code */
static bool dma_permitted(const MemoryRegionCache *cache, bool write)
{
    return cache->ptr && memory_region_is_ram(cache->mrs.mr) &&
           !(write && cache->mrs.readonly);
}

/* Access memory that was found, of which there may be less than asked for. */
static hwaddr access_memory(AgeDMA *dma, MemoryRegionCache *cache, hwaddr gpa,
                            void *buf, bool write)
{
    if (!dma_permitted(cache, write)) {
        return 0;
    }
    /* The flags are set first, as by the page walker of a device. */
    age_walk(&dma->walker, 0, gpa, write);
    if (write) {
        address_space_write_cached(cache, 0, buf, cache->len);
        address_space_cache_invalidate(cache, 0, cache->len);
    } else {
        address_space_read_cached(cache, 0, buf, cache->len);
    }
    return cache->len;
}

/* Access @size bytes in one page.  Returns how many it could; 0 is none. */
static hwaddr access_page(AgeDMA *dma, hwaddr addr, void *buf, hwaddr size,
                          bool write)
{
    MemoryRegionCache cache;
    hwaddr gpa, done;

    if (!dma_translate(dma, addr, size, write, &cache, &gpa)) {
        return 0;
    }
    done = access_memory(dma, &cache, gpa, buf, write);
    address_space_cache_destroy(&cache);
    return done;
}

bool age_dma_rw(AgeDMA *dma, hwaddr addr, void *buf, uint64_t size, bool write)
{
    uint8_t *at = buf;

    /* As before any DMA: what the device did before is seen before. */
    smp_mb();
    RCU_READ_LOCK_GUARD();
    while (size) {
        hwaddr in_page = AGE_PAGE_SIZE - (addr & (AGE_PAGE_SIZE - 1));
        hwaddr done = access_page(dma, addr, at, MIN(size, in_page), write);

        if (!done) {
            return false;
        }
        addr += done;
        at += done;
        size -= done;
    }
    return true;
}

void age_dma_set_test_clear_young(AgeDMA *dma, bool on)
{
    assert(bql_locked());
    qatomic_set(&dma->mmu.refusal,
                on ? NULL : "it can't tell for single pages "
                            "(test-clear-young=off)");
}
