/*
 * Arm VMSAv8-64 stage 2 translation tables, 4 KiB granule
 *
 * Arm ARM (DDI 0487), "VMSAv8-64 translation table format descriptors" and
 * "Concatenated translation tables".  The accessed flag is set by hardware
 * (VTCR_EL2.HA), in table descriptors too (VTCR_EL2.HAFT, FEAT_HAFT), and so
 * is the dirty state (VTCR_EL2.HD).
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
#define S2_S2AP_READ        (1ULL << 6)
#define S2_S2AP_WRITE       (1ULL << 7)
#define S2_SH_INNER         (3ULL << 8)
#define S2_AF               (1ULL << 10)
#define S2_ADDRESS          0x0000fffffffff000ULL
#define S2_DBM              (1ULL << 51)
#define S2_XN               (1ULL << 54)

/* Level 3 holds pages; the root is at level 0 to 2. */
static int stage2_level(int height)
{
    return 3 - height;
}

/*
 * Up to 16 tables may stand side by side at the start level, which saves a
 * level for each size that is at most four bits beyond what one table
 * resolves: 34 bits start at level 2, 43 at level 1, 48 at level 0.
 */
static bool stage2_geometry(unsigned gpa_bits, AgeGeometry *out)
{
    unsigned root_bits;

    if (gpa_bits > 48) {
        return false;
    }
    out->root_height = gpa_bits > 43 ? 3 : gpa_bits > 34 ? 2 : 1;
    root_bits = age_height_shift(out->root_height + 1);
    out->root_tables = gpa_bits > root_bits ? 1u << (gpa_bits - root_bits) : 1;
    return true;
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

#define S2_LEAF_RO  (S2_MEMATTR_NORMAL | S2_SH_INNER | S2_S2AP_READ)

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
    .leaf_ro = S2_LEAF_RO,          \
    .level = stage2_level,          \
    .geometry = stage2_geometry,    \
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
    .leaf_rw = S2_LEAF_RO | S2_DBM,
};

const AgeFormat age_format_stage2_no_ad = {
    S2_FORMAT,
    .hw_ad = false,
    .leaf_rw = S2_LEAF_RO | S2_S2AP_WRITE,
};
