/*
 * Arm VMSAv8-64 stage 2 translation tables, 4 KiB granule
 *
 * Arm ARM (DDI 0487), "VMSAv8-64 translation table format descriptors" and
 * "Concatenated translation tables".  The accessed flag is set by hardware
 * (VTCR_EL2.HA), in table descriptors too (VTCR_EL2.HAFT) if the processor has
 * FEAT_HAFT, and so is the dirty state (VTCR_EL2.HD).
 *
 * Without that, a clear flag makes the next access an Access flag fault, and
 * software sets it, in leaves only.  There is no dirty state then.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "format.h"

#define S2_VALID            (1ULL << 0)
#define S2_TABLE            (1ULL << 1)     /* also: a page, at level 3 */
#define S2_MEMATTR_SHIFT    2
#define S2_MEMATTR_MASK     (0xfULL << S2_MEMATTR_SHIFT)
#define S2_MEMATTR_NORMAL   (0xfULL << S2_MEMATTR_SHIFT)
#define S2_MEMATTR_nGnRE    (0x1ULL << S2_MEMATTR_SHIFT)
#define S2_S2AP_READ        (1ULL << 6)
#define S2_S2AP_WRITE       (1ULL << 7)
#define S2_SH_INNER         (3ULL << 8)
#define S2_AF               (1ULL << 10)
#define S2_ADDRESS          0x0000fffffffff000ULL
#define S2_DBM              (1ULL << 51)
#define S2_XN               (1ULL << 54)

/* Of VTCR_EL2 */
#define VTCR_T0SZ(gpa_bits) (64ULL - (gpa_bits))
#define VTCR_SL0_SHIFT      6
#define VTCR_IRGN0_WBWA     (1ULL << 8)
#define VTCR_ORGN0_WBWA     (1ULL << 10)
#define VTCR_SH0_INNER      (3ULL << 12)
#define VTCR_TG0_4K         (0ULL << 14)
#define VTCR_PS_48          (5ULL << 16)
#define VTCR_HA             (1ULL << 21)
#define VTCR_HD             (1ULL << 22)
#define VTCR_RES1           (1ULL << 31)
#define VTCR_HAFT           (1ULL << 44)

/* Level 3 holds pages; the root is at level 0 to 2. */
static int stage2_level(int height)
{
    return 3 - height;
}

/*
 * Up to 16 tables may stand side by side at the start level, which saves a
 * level for each size that is at most four bits beyond what one table
 * resolves: 34 bits start at level 2, 43 at level 1, 48 at level 0.  A start
 * level must have something to resolve, and level 0 is not for processors with
 * less than 44 bits.
 */
static bool stage2_geometry(unsigned gpa_bits, unsigned levels,
                            AgeGeometry *out)
{
    unsigned needed = gpa_bits > 43 ? 4 : gpa_bits > 34 ? 3 : 2;
    unsigned most = gpa_bits > 43 ? 4 : 3;
    unsigned root_bits;

    levels = levels ?: needed;
    if (gpa_bits > 48 || levels < needed || levels > most ||
        gpa_bits <= age_height_shift(levels - 1)) {
        return false;
    }
    root_bits = age_height_shift(levels);
    *out = (AgeGeometry) {
        .gpa_bits = gpa_bits,
        .root_height = levels - 1,
        .root_tables = gpa_bits > root_bits ? 1u << (gpa_bits - root_bits) : 1,
    };
    return true;
}

/*
 * VTCR_EL2.  SL0 counts start levels up from level 2.  PS is that of a
 * processor with 48 bits, whatever the guest's has: frames are addresses of the
 * host.
 */
static uint64_t stage2_vtcr(const AgeFormat *fmt, const AgeGeometry *geo)
{
    return VTCR_T0SZ(geo->gpa_bits) |
           (uint64_t)(geo->root_height - 1) << VTCR_SL0_SHIFT |
           VTCR_IRGN0_WBWA | VTCR_ORGN0_WBWA | VTCR_SH0_INNER | VTCR_TG0_4K |
           VTCR_PS_48 | VTCR_RES1 | (fmt->hw_ad ? VTCR_HA | VTCR_HD : 0) |
           (fmt->table_accessed ? VTCR_HAFT : 0);
}

/* VTTBR_EL2 is with VMID 0. */
static AgeRegisters stage2_registers(const AgeFormat *fmt,
                                     const AgeGeometry *geo,
                                     const uint64_t *root)
{
    return (AgeRegisters) {
        .vttbr = (uintptr_t)root,
        .vtcr = stage2_vtcr(fmt, geo),
    };
}

/* MemAttr[3:2] is the outer attribute, 0 for device memory. */
static const char *stage2_memory_type(uint64_t entry)
{
    unsigned attr = (entry & S2_MEMATTR_MASK) >> S2_MEMATTR_SHIFT;
    static const char *const outer[4] = {
        "device", "normal-NC", "normal-WT", "normal-WB",
    };

    return outer[attr >> 2];
}

/* Bits 1:0 are 01 in a block.  Levels 0 and 3 have none: not valid there */
static bool stage2_valid(uint64_t entry, int height)
{
    bool blocks = height == 1 || height == 2;

    return (entry & S2_VALID) && (blocks || (entry & S2_TABLE));
}

static void stage2_decode(uint64_t entry, int height, AgeDecoded *out)
{
    *out = (AgeDecoded) { .present = stage2_valid(entry, height) };
    if (!out->present) {
        return;
    }
    out->leaf = height == 0 || !(entry & S2_TABLE);
    out->accessed = entry & S2_AF;
    out->address = entry & S2_ADDRESS;
    if (!out->leaf) {
        out->read = out->write = out->execute = true;
        return;
    }
    /* The low bits of a block's frame hold other things, as nT in bit 16. */
    out->address &= -age_height_size(height);
    out->read = entry & S2_S2AP_READ;
    out->write = entry & (S2_S2AP_WRITE | S2_DBM);
    out->execute = !(entry & S2_XN);
    out->dirty = (entry & S2_DBM) && (entry & S2_S2AP_WRITE);
    out->memory_type = stage2_memory_type(entry);
}

#define S2_NORMAL   (S2_MEMATTR_NORMAL | S2_SH_INNER | S2_S2AP_READ)
#define S2_DEVICE   (S2_MEMATTR_nGnRE | S2_S2AP_READ | S2_XN)

/* What each type of leaf has, and what says that it may be written */
#define S2_LEAVES(w)                        \
    .leaf[AGE_LEAF_RW] = S2_NORMAL | (w),   \
    .leaf[AGE_LEAF_RO] = S2_NORMAL,         \
    .leaf[AGE_LEAF_DEVICE] = S2_DEVICE | (w)

/* What both have in common */
#define S2_FORMAT                   \
    .name = "stage2",               \
    .present = S2_VALID,            \
    .leaf_mask = S2_TABLE,          \
    .leaf_value = 0,                \
    .address = S2_ADDRESS,          \
    .accessed = S2_AF,              \
    .writable = S2_S2AP_WRITE | S2_DBM, \
    .write = S2_S2AP_WRITE,         \
    .table = S2_VALID | S2_TABLE,   \
    .page = S2_VALID | S2_TABLE,    \
    .block = S2_VALID,              \
    .max_gpa_bits = 48,             \
    .level = stage2_level,          \
    .geometry = stage2_geometry,    \
    .registers = stage2_registers,  \
    .decode = stage2_decode

/*
 * A writable leaf starts with DBM set and S2AP write clear: the first store
 * then sets S2AP write, and that is its dirty state.
 */
const AgeFormat age_format_stage2 = {
    S2_FORMAT,
    .hw_ad = true,
    .table_accessed = S2_AF,
    .dirty = S2_S2AP_WRITE,
    S2_LEAVES(S2_DBM),
};

/* Without FEAT_HAFT */
const AgeFormat age_format_stage2_no_haft = {
    S2_FORMAT,
    .hw_ad = true,
    .dirty = S2_S2AP_WRITE,
    S2_LEAVES(S2_DBM),
};

const AgeFormat age_format_stage2_no_ad = {
    S2_FORMAT,
    .hw_ad = false,
    S2_LEAVES(S2_S2AP_WRITE),
};
