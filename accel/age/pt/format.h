/*
 * Second-stage page table formats: Intel EPT and Arm VMSAv8-64 stage 2
 *
 * Pure functions and constants on 64-bit entries.  Nothing here knows about
 * threads, guests or QEMU.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_PT_FORMAT_H
#define ACCEL_AGE_PT_FORMAT_H

/*
 * Both formats are used with 4 KiB granules and resolve nine bits of address
 * a level.  The manuals count levels in opposite directions (EPT: 4 or 5 at
 * the root down to 1; stage 2: 0, 1 or 2 at the root up to 3), so the code
 * that they share counts heights: 0 is the table whose entries map 4 KiB
 * pages, 1 the one above it, and so on.  AgeFormat.level() converts.
 */
#define AGE_PAGE_SHIFT          12
#define AGE_PAGE_SIZE           (1ULL << AGE_PAGE_SHIFT)
#define AGE_LEVEL_SHIFT         9
#define AGE_TABLE_ENTRIES       (1u << AGE_LEVEL_SHIFT)
#define AGE_MAX_HEIGHT          4

/* The tallest leaf either format has is a 1 GiB block. */
#define AGE_MAX_LEAF_HEIGHT     2

/**
 * AgeLeafType: what a leaf lets the guest do
 *
 * @AGE_LEAF_RW: RAM
 * @AGE_LEAF_RO: ROM, or a flash device in its read mode: reads and fetches
 * @AGE_LEAF_DEVICE: a device's memory that guests get to use directly: no
 *     caching and, where the format can say so, no fetches
 */
typedef enum AgeLeafType {
    AGE_LEAF_RW,
    AGE_LEAF_RO,
    AGE_LEAF_DEVICE,
} AgeLeafType;

#define AGE_LEAF_TYPES  (AGE_LEAF_DEVICE + 1)

/**
 * AgeDecoded: an entry taken apart, for people and for tests
 *
 * @present: hardware can go on through this entry.  Not so for a leaf whose
 *     permissions were taken away; the rest is told all the same
 * @leaf: it maps memory, rather than pointing to the next table
 * @read, @write, @execute: what the entry alone permits
 * @accessed, @dirty: the flags that hardware sets
 * @address: frame of a leaf, or address of the next table
 * @memory_type: the manual's name for the memory type; NULL for a table
 */
typedef struct AgeDecoded {
    bool present;
    bool leaf;
    bool read;
    bool write;
    bool execute;
    bool accessed;
    bool dirty;
    uint64_t address;
    const char *memory_type;
} AgeDecoded;

/**
 * AgeGeometry: the shape of a table
 *
 * @gpa_bits: guest-physical addresses are below 2^@gpa_bits
 * @root_height: height of the root
 * @root_tables: tables side by side at the root; above 1 only for stage 2
 */
typedef struct AgeGeometry {
    unsigned gpa_bits;
    int root_height;
    unsigned root_tables;
} AgeGeometry;

/**
 * AgeRegisters: what the registers would have that lead to a table
 *
 * Zero stands for a register that the architecture has not: none of them can
 * be zero where it is used.
 *
 * @eptp: the EPT pointer
 * @vttbr: VTTBR_EL2
 * @vtcr: VTCR_EL2
 */
typedef struct AgeRegisters {
    uint64_t eptp;
    uint64_t vttbr;
    uint64_t vtcr;
} AgeRegisters;

/**
 * AgeFormat: an architecture's entries, as masks
 *
 * Masks rather than functions, because walker and harvest test them on every
 * entry.  An entry that is not present is all zeroes, so that testing
 * @accessed alone says whether a leaf is young.  An architecture has several of
 * these, with more and less that hardware sets; they agree on what is present,
 * what is a leaf, and where the address and the accessed flag of a leaf are, so
 * that tables can go from one to the other while they are used.
 *
 * @name: "ept" or "stage2"
 * @present: the entry is present if any of these bits is set
 * @leaf_mask, @leaf_value: above height 0, a present entry is a leaf if its
 *     bits under @leaf_mask equal @leaf_value; at height 0 it always is
 * @address: the bits that hold the frame or the next table
 * @accessed: accessed flag of a leaf
 * @table_accessed: accessed flag of a table entry, 0 if the format has none
 * @dirty: set once the page was written
 * @writable: the page may be written if any of these bits is set in its leaf
 * @write: the leaf permits a write now.  Differs from @writable only where
 *     aging takes permissions away
 * @track: permissions that are taken away from an old leaf, as there is no
 *     hardware to set its accessed flag; 0 if they are not
 * @track_shift: how far up they are kept meanwhile
 * @hw_ad: hardware sets the accessed flags, and the dirty flags
 * @table: bits of a new table entry, without address and accessed flag
 * @page, @block: bits of a new leaf at height 0 and above it
 * @leaf: further bits of a new leaf, by #AgeLeafType
 * @max_gpa_bits: the widest guest-physical address that can be translated
 * @level: the manual's number for the level at @height
 * @geometry: the shape for @gpa_bits of guest-physical address and @levels of
 *     tables; 0 for as few as will do.  Returns false if the format has none
 * @registers: what the registers would have for the table at @root
 * @decode: takes an entry at @height apart
 */
typedef struct AgeFormat AgeFormat;
struct AgeFormat {
    const char *name;
    uint64_t present;
    uint64_t leaf_mask;
    uint64_t leaf_value;
    uint64_t address;
    uint64_t accessed;
    uint64_t table_accessed;
    uint64_t dirty;
    uint64_t writable;
    uint64_t write;
    uint64_t track;
    unsigned track_shift;
    bool hw_ad;
    uint64_t table;
    uint64_t page;
    uint64_t block;
    uint64_t leaf[AGE_LEAF_TYPES];
    unsigned max_gpa_bits;
    int (*level)(int height);
    bool (*geometry)(unsigned gpa_bits, unsigned levels, AgeGeometry *out);
    AgeRegisters (*registers)(const AgeFormat *fmt, const AgeGeometry *geo,
                              const uint64_t *root);
    void (*decode)(uint64_t entry, int height, AgeDecoded *out);
};

extern const AgeFormat age_format_ept;
extern const AgeFormat age_format_ept_no_ad;
extern const AgeFormat age_format_stage2;
extern const AgeFormat age_format_stage2_no_haft;
extern const AgeFormat age_format_stage2_no_ad;

/* log2 of the bytes that one entry at @height covers */
static inline unsigned age_height_shift(int height)
{
    return AGE_PAGE_SHIFT + height * AGE_LEVEL_SHIFT;
}

/* Bytes that one entry at @height covers */
static inline uint64_t age_height_size(int height)
{
    return 1ULL << age_height_shift(height);
}

static inline bool age_entry_is_present(const AgeFormat *fmt, uint64_t entry)
{
    return entry & fmt->present;
}

/* Is @entry, which must be present, a leaf? */
static inline bool age_entry_is_leaf(const AgeFormat *fmt, uint64_t entry,
                                     int height)
{
    return height == 0 || (entry & fmt->leaf_mask) == fmt->leaf_value;
}

static inline bool age_entry_is_writable(const AgeFormat *fmt, uint64_t entry)
{
    return entry & fmt->writable;
}

/* May @leaf be stored to, but only after a walk that makes it dirty? */
static inline bool age_leaf_is_clean(const AgeFormat *fmt, uint64_t leaf)
{
    return age_entry_is_writable(fmt, leaf) &&
           (~leaf & (fmt->dirty | fmt->write));
}

/* Has a store to @leaf, which is young, nothing to set? */
static inline bool age_leaf_is_dirty(const AgeFormat *fmt, uint64_t leaf)
{
    return age_entry_is_writable(fmt, leaf) &&
           !(~leaf & (fmt->dirty | fmt->write));
}

/* The next table that a table entry points to */
static inline uint64_t *age_entry_table(const AgeFormat *fmt, uint64_t entry)
{
    return (uint64_t *)(uintptr_t)(entry & fmt->address);
}

/* Accessed flag of an entry at @height, which is a leaf or not */
static inline uint64_t age_accessed_mask(const AgeFormat *fmt, bool leaf)
{
    return leaf ? fmt->accessed : fmt->table_accessed;
}

/* What @leaf becomes when it is aged */
static inline uint64_t age_leaf_make_old(const AgeFormat *fmt, uint64_t leaf)
{
    leaf &= ~fmt->accessed;
    if (fmt->track) {
        leaf |= (leaf & fmt->track) << fmt->track_shift;
        leaf &= ~(fmt->track | fmt->write);
    }
    return leaf;
}

/* The flag of a leaf that tells whether it is young, or dirty; may be 0 */
static inline uint64_t age_leaf_flag(const AgeFormat *fmt, bool dirty)
{
    return dirty ? fmt->dirty : fmt->accessed;
}

/* What @leaf becomes when that flag is harvested */
static inline uint64_t age_leaf_make_harvested(const AgeFormat *fmt,
                                               uint64_t leaf, bool dirty)
{
    return dirty ? leaf & ~fmt->dirty : age_leaf_make_old(fmt, leaf);
}

/* What @leaf becomes when it is used, for a store if @write */
static inline uint64_t age_leaf_make_young(const AgeFormat *fmt, uint64_t leaf,
                                           bool write)
{
    leaf |= fmt->accessed | (write ? fmt->dirty : 0);
    if (fmt->track) {
        leaf |= (leaf >> fmt->track_shift) & fmt->track;
        leaf &= ~(fmt->track << fmt->track_shift);
        leaf |= write ? fmt->write : 0;
    }
    return leaf;
}

/* What @leaf maps and how, whatever flags it has now */
static inline uint64_t age_leaf_mapping(const AgeFormat *fmt, uint64_t leaf)
{
    leaf = age_leaf_make_young(fmt, leaf, false);
    leaf &= ~(fmt->accessed | fmt->dirty);
    return fmt->track ? leaf & ~fmt->write : leaf;
}

/* A leaf that is old and clean, though nothing is taken away from it yet */
static inline uint64_t age_make_leaf(const AgeFormat *fmt, uint64_t frame,
                                     int height, AgeLeafType type)
{
    return frame | (height ? fmt->block : fmt->page) | fmt->leaf[type];
}

/* An old table entry */
static inline uint64_t age_make_table(const AgeFormat *fmt, uint64_t *table)
{
    return (uintptr_t)table | fmt->table;
}

/*
 * The leaf that maps the @index-th part of block @entry, one level below its
 * @height.  It inherits the accessed and dirty flags: whatever part of the
 * block was used, it may have been this one.
 */
static inline uint64_t age_split_leaf(const AgeFormat *fmt, uint64_t entry,
                                      int height, unsigned index)
{
    if (height == 1) {
        entry = (entry & ~fmt->block) | fmt->page;
    }
    return entry + ((uint64_t)index << age_height_shift(height - 1));
}

#endif /* ACCEL_AGE_PT_FORMAT_H */
