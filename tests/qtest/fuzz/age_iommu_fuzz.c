/*
 * The IOMMU in front of age-device, for its fuzzing targets
 *
 * Tables by which there is something to translate: the fuzzer would not guess
 * them.  It changes what they map, and by DMA and registers all the rest.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "system/age-compat.h"
#include "age_iommu_fuzz.h"

#define BLOCK       (2 * MiB)
#define BLOCKS      8
#define ENTRIES     512

/* What it needs is in the last block of memory, which is not mapped. */
#define PLACE(ram, page)    ((ram) + (BLOCKS - 1) * BLOCK + (page) * 4 * KiB)
#define TOP(ram)            PLACE(ram, 0)
#define MIDDLE(ram)         PLACE(ram, 1)
#define LEAVES(ram)         PLACE(ram, 2)
#define ROOTS(ram)          PLACE(ram, 3)
#define CONFIG(ram)         PLACE(ram, 4)
#define COMMANDS(ram)       PLACE(ram, 5)
#define EVENTS(ram)         PLACE(ram, 6)

static void write_bytes(hwaddr addr, uint64_t value, unsigned size)
{
    uint8_t bytes[8];

    stq_le_p(bytes, value);
    address_space_write(&address_space_memory, addr, MEMTXATTRS_UNSPECIFIED,
                        bytes, size);
}

static void write32(hwaddr addr, uint32_t value)
{
    write_bytes(addr, value, 4);
}

static void write64(hwaddr addr, uint64_t value)
{
    write_bytes(addr, value, 8);
}

#ifdef TARGET_AARCH64

/* SMMUv3, with stage 1 as Linux uses it */

#define SMMU                0x09050000ULL
#define SMMU_CR0            0x20
#define SMMU_CR0_ALL        0x0d
#define SMMU_STRTAB_BASE    0x80
#define SMMU_STRTAB_CFG     0x88
#define SMMU_CMDQ_BASE      0x90
#define SMMU_CMDQ_PROD      0x98
#define SMMU_CMDQ_CONS      0x9c
#define SMMU_EVENTQ_BASE    0xa0
#define SMMU_REGS           0xc0
#define SMMU_CFGI_ALL       4
#define SMMU_CFGI_RANGE     31
#define SMMU_TLBI_ALL       0x30

#define LINK                3
#define PERM_MASK           (1 << 7)
#define BLOCK_BITS          (1 | 1 << 10)
#define LEAF_BITS           (3 | 1 << 10)

static void command(hwaddr ram, unsigned slot, uint64_t low, uint64_t high)
{
    write64(COMMANDS(ram) + 16 * slot, low);
    write64(COMMANDS(ram) + 16 * slot + 8, high);
}

void age_fuzz_iommu_flush(hwaddr ram)
{
    command(ram, 0, SMMU_TLBI_ALL, 0);
    command(ram, 1, SMMU_CFGI_ALL, SMMU_CFGI_RANGE);
    write64(SMMU + SMMU_CMDQ_BASE, COMMANDS(ram) | 8);
    write32(SMMU + SMMU_CMDQ_CONS, 0);
    write32(SMMU + SMMU_CMDQ_PROD, 2);
}

static void turn_on(hwaddr ram, unsigned devfn)
{
    write64(ROOTS(ram) + devfn * 64, CONFIG(ram) | 1 | 5 << 1);
    write64(ROOTS(ram) + devfn * 64 + 8, 0);
    write32(CONFIG(ram), 25 | 1U << 30 | 1U << 31);
    write32(CONFIG(ram) + 4, 5 | 1 << 9 | 1 << 13 | 1 << 14);
    write64(CONFIG(ram) + 8, TOP(ram));
    write64(SMMU + SMMU_STRTAB_BASE, ROOTS(ram));
    write32(SMMU + SMMU_STRTAB_CFG, 6);
    write64(SMMU + SMMU_EVENTQ_BASE, EVENTS(ram) | 7);
    write32(SMMU + SMMU_CR0, SMMU_CR0_ALL);
    age_fuzz_iommu_flush(ram);
}

void age_fuzz_iommu_off(void)
{
    write32(SMMU + SMMU_CR0, 0);
}

/*
 * QEMU 10.0 ends with an assertion if a context descriptor has a reserved size
 * of addresses: so only turn_on() says where these are, whose page is out of
 * the device's reach as long as the SMMU is on.
 */
void age_fuzz_iommu_write(unsigned reg, uint64_t value)
{
    hwaddr offset = reg * 4 % SMMU_REGS;

    if (offset != SMMU_CR0 && offset / 16 != SMMU_STRTAB_BASE / 16) {
        write_bytes(SMMU + offset, value, offset % 8 ? 4 : 8);
    }
}

#else

/* Intel's, in legacy mode */

#define VTD                 0xfed90000ULL
#define VTD_GCMD            0x18
#define VTD_RTADDR          0x20
#define VTD_CCMD            0x28
#define VTD_FECTL           0x38
#define VTD_IQT             0x88
#define VTD_IQA             0x90
#define VTD_IRTA            0xb8
#define VTD_IVA             0xf0
#define VTD_IOTLB           0xf8
#define VTD_REGS            0x230

#define LINK                3
#define PERM_MASK           3
#define BLOCK_BITS          (1 << 7)
#define LEAF_BITS           0

void age_fuzz_iommu_flush(hwaddr ram)
{
    write64(VTD + VTD_CCMD, 1ULL << 63 | 1ULL << 61);
    write64(VTD + VTD_IOTLB, 1ULL << 63 | 1ULL << 60);
}

static void turn_on(hwaddr ram, unsigned devfn)
{
    write64(ROOTS(ram), CONFIG(ram) | 1);
    write64(CONFIG(ram) + devfn * 16, TOP(ram) | 1);
    write64(CONFIG(ram) + devfn * 16 + 8, 1 | 1 << 8);
    write32(VTD + VTD_FECTL, 0);
    write64(VTD + VTD_RTADDR, ROOTS(ram));
    write32(VTD + VTD_GCMD, 1U << 30);
    age_fuzz_iommu_flush(ram);
    write32(VTD + VTD_GCMD, 1U << 31);
}

void age_fuzz_iommu_off(void)
{
    write32(VTD + VTD_GCMD, 0);
}

/*
 * QEMU 10.0 ends with an assertion at an access of 64 bits to one of the many
 * registers of 32 bits.
 */
static bool has_64_bits(hwaddr offset)
{
    switch (offset) {
    case VTD_RTADDR:
    case VTD_CCMD:
    case VTD_IQT:
    case VTD_IQA:
    case VTD_IRTA:
    case VTD_IVA:
    case VTD_IOTLB:
        return true;
    default:
        return false;
    }
}

void age_fuzz_iommu_write(unsigned reg, uint64_t value)
{
    hwaddr offset = reg * 4 % VTD_REGS;

    write_bytes(VTD + offset, value, has_64_bits(offset) ? 8 : 4);
}

#endif

/* A block of memory, or pages, or nothing, where block @n of addresses is */
static uint64_t block(hwaddr ram, unsigned n, uint64_t seed)
{
    hwaddr to = ram + (n ^ seed >> 16) % (BLOCKS - 1) * BLOCK;

    switch (extract64(seed, 2 * n, 2)) {
    case 0:
        return 0;
    case 1:
        return LEAVES(ram) | LINK;
    default:
        return to | BLOCK_BITS | (seed >> 24 & PERM_MASK);
    }
}

static uint64_t leaf(hwaddr ram, unsigned n, uint64_t seed)
{
    uint64_t bits = (n + 1) * (seed | 1);
    hwaddr to = ram + (bits >> 32) % ((BLOCKS - 1) * ENTRIES) * 4 * KiB;

    return bits >> 24 & 3 ? to | LEAF_BITS | (bits >> 20 & PERM_MASK) : 0;
}

void age_fuzz_iommu_on(hwaddr ram, unsigned devfn, uint64_t seed)
{
    unsigned first = ram / BLOCK % ENTRIES;

    write64(TOP(ram) + (ram >> 30) * 8, MIDDLE(ram) | LINK);
    for (unsigned n = 0; n < BLOCKS; n++) {
        write64(MIDDLE(ram) + (first + n) * 8, block(ram, n, seed));
    }
    for (unsigned n = 0; n < ENTRIES; n++) {
        write64(LEAVES(ram) + n * 8, leaf(ram, n, seed));
    }
    turn_on(ram, devfn);
}
