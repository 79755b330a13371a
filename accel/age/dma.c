/*
 * A second-stage MMU for a device's DMA
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "hw/core/cpu.h"
#include "system/age-dma.h"
#include "age-int.h"
#include "walker.h"

struct AgeDMA {
    AgeMMU mmu;
    AgeWalker walker;
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
    dma->walker.space[0] = age_mmu_add_space(&dma->mmu, g_strdup("dma"), as);
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

void age_dma_access(AgeDMA *dma, hwaddr addr, uint64_t size, bool write)
{
    hwaddr last = addr + (size - 1);

    if (last < addr) {
        last = ~0ULL;
    }
    RCU_READ_LOCK_GUARD();
    for (hwaddr at = ROUND_DOWN(addr, AGE_PAGE_SIZE); at <= last;
         at += AGE_PAGE_SIZE) {
        if (at >= 1ULL << dma->mmu.geo.gpa_bits) {
            break;
        }
        age_walk(&dma->walker, 0, at, write);
    }
}

void age_dma_set_test_clear_young(AgeDMA *dma, bool on)
{
    qatomic_set(&dma->mmu.refusal,
                on ? NULL : "it can't tell for single pages "
                            "(test-clear-young=off)");
}
