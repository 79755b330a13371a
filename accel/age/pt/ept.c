/*
 * Intel Extended Page Tables
 *
 * Intel SDM volume 3, "The Extended Page Table Mechanism (EPT)": the tables
 * "Format of an EPT ... Entry" and section "Accessed and Dirty Flags for
 * EPT".  The flags are there if bit 6 of the EPT pointer is set, which is told
 * in "Extended-Page-Table Pointer (EPTP)".
 *
 * If it is not, aging takes the permissions away, so that the next access is
 * an EPT violation, and keeps them in bits that hardware ignores.  The places
 * are those of Linux's arch/x86/kvm/mmu/spte.h: bit 11 says that the entry is
 * present though it permits nothing, R and X go up by 54, and bit 58 says that
 * W may come back.  Bit 8, which hardware ignores then, still tells whether
 * the page was accessed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "format.h"

#define EPT_READ            (1ULL << 0)
#define EPT_WRITE           (1ULL << 1)
#define EPT_EXECUTE         (1ULL << 2)
#define EPT_RWX             (EPT_READ | EPT_WRITE | EPT_EXECUTE)
#define EPT_MEMTYPE_SHIFT   3
#define EPT_MEMTYPE_MASK    (7ULL << EPT_MEMTYPE_SHIFT)
#define EPT_MEMTYPE_UC      (0ULL << EPT_MEMTYPE_SHIFT)
#define EPT_MEMTYPE_WB      (6ULL << EPT_MEMTYPE_SHIFT)
#define EPT_LARGE           (1ULL << 7)
#define EPT_ACCESSED        (1ULL << 8)
#define EPT_DIRTY           (1ULL << 9)
#define EPT_MMU_PRESENT     (1ULL << 11)
#define EPT_MMU_WRITABLE    (1ULL << 58)
#define EPT_TRACK_SHIFT     54
#define EPT_ADDRESS         0x000ffffffffff000ULL

/* Of the EPT pointer */
#define EPTP_MEMTYPE_WB     6ULL
#define EPTP_LENGTH_SHIFT   3
#define EPTP_ENABLE_AD      (1ULL << 6)

/* Level 1 is the page table; 4 the PML4, 5 the PML5. */
static int ept_level(int height)
{
    return height + 1;
}

/* Four levels translate 48 bits, five translate 57. */
static bool ept_geometry(unsigned gpa_bits, unsigned levels, AgeGeometry *out)
{
    unsigned needed = gpa_bits > 48 ? 5 : 4;

    levels = levels ?: needed;
    if (gpa_bits > 57 || levels < needed || levels > 5) {
        return false;
    }
    *out = (AgeGeometry) {
        .gpa_bits = gpa_bits,
        .root_height = levels - 1,
        .root_tables = 1,
    };
    return true;
}

/* The EPT pointer: bits 5:3 are the number of levels less one. */
static AgeRegisters ept_registers(const AgeFormat *fmt, const AgeGeometry *geo,
                                  const uint64_t *root)
{
    return (AgeRegisters) {
        .eptp = (uintptr_t)root | EPTP_MEMTYPE_WB |
                (uint64_t)geo->root_height << EPTP_LENGTH_SHIFT |
                (fmt->hw_ad ? EPTP_ENABLE_AD : 0),
    };
}

static const char *ept_memory_type(uint64_t entry)
{
    static const char *const names[8] = {
        "UC", "WC", "reserved", "reserved", "WT", "WP", "WB", "reserved",
    };

    return names[(entry & EPT_MEMTYPE_MASK) >> EPT_MEMTYPE_SHIFT];
}

static void ept_decode(uint64_t entry, int height, AgeDecoded *out)
{
    *out = (AgeDecoded) { .present = entry & EPT_RWX };
    if (!(entry & (EPT_RWX | EPT_MMU_PRESENT))) {
        return;
    }
    out->leaf = height == 0 || (entry & EPT_LARGE);
    out->read = entry & EPT_READ;
    out->write = entry & EPT_WRITE;
    out->execute = entry & EPT_EXECUTE;
    out->accessed = entry & EPT_ACCESSED;
    out->dirty = out->leaf && (entry & EPT_DIRTY);
    out->address = entry & EPT_ADDRESS;
    if (out->leaf) {
        out->memory_type = ept_memory_type(entry);
    }
}

/* What both have in common */
#define EPT_FORMAT                      \
    .name = "ept",                      \
    .present = EPT_MMU_PRESENT,         \
    .leaf_mask = EPT_LARGE,             \
    .leaf_value = EPT_LARGE,            \
    .address = EPT_ADDRESS,             \
    .accessed = EPT_ACCESSED,           \
    .write = EPT_WRITE,                 \
    .table = EPT_MMU_PRESENT | EPT_RWX, \
    .page = 0,                          \
    .block = EPT_LARGE,                 \
    .max_gpa_bits = 57,                 \
    .level = ept_level,                 \
    .geometry = ept_geometry,           \
    .registers = ept_registers,         \
    .decode = ept_decode

/* What each type of leaf has, and what says that it may be written */
#define EPT_LEAVES(w)                                           \
    .leaf[AGE_LEAF_RW] = EPT_LEAF | EPT_MEMTYPE_WB | (w),       \
    .leaf[AGE_LEAF_RO] = EPT_LEAF | EPT_MEMTYPE_WB,             \
    .leaf[AGE_LEAF_DEVICE] = EPT_LEAF | EPT_MEMTYPE_UC | (w)

#define EPT_LEAF    (EPT_MMU_PRESENT | EPT_READ | EPT_EXECUTE)

const AgeFormat age_format_ept = {
    EPT_FORMAT,
    .hw_ad = true,
    .table_accessed = EPT_ACCESSED,
    .dirty = EPT_DIRTY,
    .writable = EPT_WRITE,
    EPT_LEAVES(EPT_WRITE),
};

const AgeFormat age_format_ept_no_ad = {
    EPT_FORMAT,
    .hw_ad = false,
    .writable = EPT_MMU_WRITABLE,
    .track = EPT_READ | EPT_EXECUTE,
    .track_shift = EPT_TRACK_SHIFT,
    EPT_LEAVES(EPT_MMU_WRITABLE),
};
