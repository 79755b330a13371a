/*
 * Formats, bit by bit
 *
 * The numbers here are read off the manuals, and none comes from format.h:
 * Intel SDM volume 3, the tables "Format of an EPT ... Entry"; Arm ARM
 * (DDI 0487), "VMSAv8-64 translation table format descriptors".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "accel/age/pt/format.h"

#define EPT     (&age_format_ept)
#define S2      (&age_format_stage2)

typedef struct DecodeCase {
    uint64_t entry;
    int height;
    AgeDecoded want;
} DecodeCase;

static void check_decode(const AgeFormat *fmt, const DecodeCase *c)
{
    AgeDecoded d;

    memset(&d, 0xa5, sizeof(d));
    fmt->decode(c->entry, c->height, &d);
    g_assert_cmpint(d.present, ==, c->want.present);
    g_assert_cmpint(d.leaf, ==, c->want.leaf);
    g_assert_cmpint(d.read, ==, c->want.read);
    g_assert_cmpint(d.write, ==, c->want.write);
    g_assert_cmpint(d.execute, ==, c->want.execute);
    g_assert_cmpint(d.accessed, ==, c->want.accessed);
    g_assert_cmpint(d.dirty, ==, c->want.dirty);
    g_assert_cmphex(d.address, ==, c->want.address);
    g_assert_cmpstr(d.memory_type, ==, c->want.memory_type);
}

static void check_cases(const AgeFormat *fmt, const DecodeCase *c, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        g_test_message("%s 0x%016" PRIx64 " at height %d", fmt->name,
                       c[i].entry, c[i].height);
        check_decode(fmt, &c[i]);
    }
}

/* @perm is a string of flags: r, w, x, A(ccessed), D(irty) */
static AgeDecoded decoded(bool leaf, const char *perm, uint64_t address,
                          const char *memory_type)
{
    return (AgeDecoded) {
        .present = true,
        .leaf = leaf,
        .read = strchr(perm, 'r'),
        .write = strchr(perm, 'w'),
        .execute = strchr(perm, 'x'),
        .accessed = strchr(perm, 'A'),
        .dirty = strchr(perm, 'D'),
        .address = address,
        .memory_type = memory_type,
    };
}

/* What the code makes */

static void test_ept_make(void)
{
    uint64_t f = 0x7f12345678000ULL;
    uint64_t *table = (uint64_t *)(uintptr_t)0x7f1234567000ULL;

    /*
     * Bits 2:0 R/W/X, 5:3 memory type 6 (write back), 7 large; 11 is ignored
     * by hardware, and set in all entries
     */
    g_assert_cmphex(age_make_leaf(EPT, f, 0, AGE_LEAF_RW), ==, f | 0x837);
    g_assert_cmphex(age_make_leaf(EPT, f, 0, AGE_LEAF_RO), ==, f | 0x835);
    f = 0x7f12345600000ULL;
    g_assert_cmphex(age_make_leaf(EPT, f, 1, AGE_LEAF_RW), ==, f | 0x8b7);
    g_assert_cmphex(age_make_leaf(EPT, f, 1, AGE_LEAF_RO), ==, f | 0x8b5);
    f = 0x7f12340000000ULL;
    g_assert_cmphex(age_make_leaf(EPT, f, 2, AGE_LEAF_RW), ==, f | 0x8b7);
    g_assert_cmphex(age_make_leaf(EPT, f, 2, AGE_LEAF_RO), ==, f | 0x8b5);
    g_assert_cmphex(age_make_table(EPT, table), ==, 0x7f1234567807ULL);
    /* Memory type 0: uncacheable */
    g_assert_cmphex(age_make_leaf(EPT, f, 0, AGE_LEAF_DEVICE), ==, f | 0x807);
}

static void test_stage2_make(void)
{
    uint64_t f = 0x7f1234567000ULL;
    uint64_t *table = (uint64_t *)(uintptr_t)f;

    /*
     * Bit 0 valid, 1 table or page, 5:2 MemAttr 0xf (normal, write back),
     * 6 S2AP read, 9:8 SH 3 (inner), 51 DBM; clean, so S2AP write is clear
     */
    g_assert_cmphex(age_make_leaf(S2, f, 0, AGE_LEAF_RW), ==,
                    f | 0x800000000037fULL);
    g_assert_cmphex(age_make_leaf(S2, f, 0, AGE_LEAF_RO), ==, f | 0x37f);
    f = 0x7f1234400000ULL;
    g_assert_cmphex(age_make_leaf(S2, f, 1, AGE_LEAF_RW), ==,
                    f | 0x800000000037dULL);
    g_assert_cmphex(age_make_leaf(S2, f, 1, AGE_LEAF_RO), ==, f | 0x37d);
    f = 0x7f1200000000ULL;
    g_assert_cmphex(age_make_leaf(S2, f, 2, AGE_LEAF_RW), ==,
                    f | 0x800000000037dULL);
    g_assert_cmphex(age_make_leaf(S2, f, 2, AGE_LEAF_RO), ==, f | 0x37d);
    g_assert_cmphex(age_make_table(S2, table), ==, 0x7f1234567003ULL);
    /* MemAttr 1: Device-nGnRE; 54 XN */
    g_assert_cmphex(age_make_leaf(S2, f, 0, AGE_LEAF_DEVICE), ==,
                    f | 0x48000000000047ULL);
}

static void test_masks(void)
{
    g_assert_cmpstr(EPT->name, ==, "ept");
    g_assert_cmphex(EPT->accessed, ==, 0x100);
    g_assert_cmphex(EPT->table_accessed, ==, 0x100);
    g_assert_cmphex(EPT->dirty, ==, 0x200);
    g_assert_true(age_entry_is_writable(EPT, 0x2));
    g_assert_false(age_entry_is_writable(EPT, 0x35));

    g_assert_cmpstr(S2->name, ==, "stage2");
    g_assert_cmphex(S2->accessed, ==, 0x400);
    g_assert_cmphex(S2->table_accessed, ==, 0x400);
    g_assert_cmphex(S2->dirty, ==, 0x80);
    g_assert_true(age_entry_is_writable(S2, 0x3ff));
    g_assert_true(age_entry_is_writable(S2, 0x800000000037fULL));
    g_assert_false(age_entry_is_writable(S2, 0x37f));
}

static void test_entry_helpers(void)
{
    uint64_t table = 0x7f1234567000ULL;

    g_assert_false(age_entry_is_present(EPT, 0xfffffffffffff7ffULL));
    g_assert_true(age_entry_is_present(EPT, 0x800));
    g_assert_true(age_entry_is_leaf(EPT, 0x37, 0));
    g_assert_false(age_entry_is_leaf(EPT, 0x37, 1));
    g_assert_true(age_entry_is_leaf(EPT, 0xb7, 2));
    g_assert_true((uintptr_t)age_entry_table(EPT, table | 0x107) == table);

    g_assert_false(age_entry_is_present(S2, 0xfffffffffffffffeULL));
    g_assert_true(age_entry_is_present(S2, 0x1));
    g_assert_true(age_entry_is_leaf(S2, 0x3, 0));
    g_assert_false(age_entry_is_leaf(S2, 0x3, 1));
    g_assert_true(age_entry_is_leaf(S2, 0x1, 2));
    g_assert_true((uintptr_t)age_entry_table(S2, table | 0x403) == table);
}

/* Without hardware: what aging takes away, and what comes back */
static void test_ept_tracking(void)
{
    const AgeFormat *fmt = &age_format_ept_no_ad;
    uint64_t f = 0x7f12345678000ULL;
    uint64_t rw = f | 0x0400000000000835ULL;    /* bit 58: W may come back */
    uint64_t old = f | 0x0540000000000830ULL;   /* R and X kept, 54 up */

    g_assert_false(fmt->hw_ad);
    g_assert_cmphex(age_make_leaf(fmt, f, 0, AGE_LEAF_RW), ==, rw);
    g_assert_cmphex(age_make_leaf(fmt, f, 0, AGE_LEAF_RO), ==, f | 0x835);
    g_assert_cmphex(age_leaf_make_young(fmt, rw, false), ==, rw | 0x100);
    g_assert_cmphex(age_leaf_make_young(fmt, rw, true), ==, rw | 0x102);
    g_assert_cmphex(age_leaf_make_old(fmt, rw | 0x102), ==, old);
    g_assert_cmphex(age_leaf_make_young(fmt, old, false), ==, rw | 0x100);
    g_assert_cmphex(age_leaf_make_young(fmt, old, true), ==, rw | 0x102);
    g_assert_cmphex(age_leaf_make_old(fmt, f | 0x935), ==,
                    f | 0x0140000000000830ULL);
    g_assert_true(age_entry_is_present(fmt, old));
    g_assert_true(age_entry_is_writable(fmt, old));
    g_assert_false(age_entry_is_writable(fmt, f | 0x935));
    g_assert_cmphex(age_leaf_mapping(fmt, old), ==, rw);
    g_assert_cmphex(age_leaf_mapping(fmt, rw | 0x102), ==, rw);
}

static void test_stage2_software(void)
{
    const AgeFormat *fmt = &age_format_stage2_no_ad;
    uint64_t f = 0x7f1234567000ULL;

    g_assert_false(fmt->hw_ad);
    g_assert_cmphex(age_make_leaf(fmt, f, 0, AGE_LEAF_RW), ==, f | 0x3ff);
    g_assert_cmphex(age_make_leaf(fmt, f, 0, AGE_LEAF_RO), ==, f | 0x37f);
    g_assert_cmphex(age_leaf_make_young(fmt, f | 0x3ff, true), ==, f | 0x7ff);
    g_assert_cmphex(age_leaf_make_old(fmt, f | 0x7ff), ==, f | 0x3ff);
    g_assert_cmphex(age_leaf_mapping(fmt, f | 0x7ff), ==, f | 0x3ff);
}

static void test_heights(void)
{
    g_assert_cmpuint(age_height_shift(0), ==, 12);
    g_assert_cmpuint(age_height_shift(1), ==, 21);
    g_assert_cmpuint(age_height_shift(4), ==, 48);
    g_assert_cmphex(age_height_size(0), ==, 0x1000);
    g_assert_cmphex(age_height_size(1), ==, 0x200000);
    g_assert_cmphex(age_height_size(2), ==, 0x40000000);
    for (int h = 0; h <= 4; h++) {
        g_assert_cmpint(EPT->level(h), ==, h + 1);
    }
    for (int h = 0; h <= 3; h++) {
        g_assert_cmpint(S2->level(h), ==, 3 - h);
    }
}

/* What the manuals define, made by the code or not */

static void test_ept_decode(void)
{
    const uint64_t f = 0xedcba98765000ULL;
    const DecodeCase cases[] = {
        /* Bits 2:0 clear: not present, whatever else there is */
        { 0, 0, {} },
        { 0xfffffffffffff7f8ULL, 0, {} },
        { 0xfffffffffffff7f8ULL, 2, {} },
        /* Leaves as they start, and with flags; bits 51:12 are the frame */
        { f | 0x37, 0, decoded(true, "rwx", f, "WB") },
        { f | 0x137, 0, decoded(true, "rwxA", f, "WB") },
        { f | 0x337, 0, decoded(true, "rwxAD", f, "WB") },
        { f | 0x35, 0, decoded(true, "rx", f, "WB") },
        { 0x4000003b7ULL, 1, decoded(true, "rwxAD", 0x400000000ULL, "WB") },
        { 0x4000001b5ULL, 2, decoded(true, "rxA", 0x400000000ULL, "WB") },
        /* Bit 7 is ignored in a 4 KiB entry */
        { f | 0xb7, 0, decoded(true, "rwx", f, "WB") },
        /* Other memory types; bit 6, ignore PAT */
        { f | 0x07, 0, decoded(true, "rwx", f, "UC") },
        { f | 0x0f, 0, decoded(true, "rwx", f, "WC") },
        { f | 0x27, 0, decoded(true, "rwx", f, "WT") },
        { f | 0x2f, 0, decoded(true, "rwx", f, "WP") },
        { f | 0x77, 0, decoded(true, "rwx", f, "WB") },
        /* Read only, execute only; ignored bits 11, 10, 63:52 */
        { f | 0x31, 0, decoded(true, "r", f, "WB") },
        { f | 0x34, 0, decoded(true, "x", f, "WB") },
        { f | 0xfff0000000000c37ULL, 0, decoded(true, "rwx", f, "WB") },
        /* Tables: no memory type, no dirty flag (bit 9 is ignored) */
        { f | 0x007, 1, decoded(false, "rwx", f, NULL) },
        { f | 0x107, 2, decoded(false, "rwxA", f, NULL) },
        { f | 0x301, 3, decoded(false, "rA", f, NULL) },
        { f | 0x105, 4, decoded(false, "rxA", f, NULL) },
    };

    check_cases(EPT, cases, G_N_ELEMENTS(cases));
}

#define DBM     0x8000000000000ULL      /* bit 51 */
#define XN      0x40000000000000ULL     /* bit 54 */

static void test_stage2_decode(void)
{
    const uint64_t f = 0xedcba9876000ULL, b = 0xedcb80000000ULL;
    const DecodeCase cases[] = {
        /* Bit 0 clear: not present, whatever else there is */
        { 0, 0, {} },
        { 0xfffffffffffffffeULL, 0, {} },
        { 0xfffffffffffffffeULL, 2, {} },
        /* Pages as they start, and with flags; bits 47:12 are the frame */
        { f | DBM | 0x37f, 0, decoded(true, "rwx", f, "normal-WB") },
        { f | DBM | 0x77f, 0, decoded(true, "rwxA", f, "normal-WB") },
        { f | DBM | 0x7ff, 0, decoded(true, "rwxAD", f, "normal-WB") },
        { f | 0x37f, 0, decoded(true, "rx", f, "normal-WB") },
        /* Blocks, at levels 2 and 1 */
        { b | DBM | 0x77d, 1, decoded(true, "rwxA", b, "normal-WB") },
        { b | DBM | 0x7fd, 2, decoded(true, "rwxAD", b, "normal-WB") },
        /* nT, bit 16, is no part of a block's frame */
        { b | 0x1077d, 1, decoded(true, "rxA", b, "normal-WB") },
        /* Bits 1:0 = 01 are reserved, as if not valid, at levels 3 and 0 */
        { f | DBM | 0x77d, 0, {} },
        { f | DBM | 0x77d, 3, {} },
        /* Other memory types; MemAttr[3:2] 0 is device memory */
        { f | 0x343, 0, decoded(true, "rx", f, "device") },
        { f | 0x34f, 0, decoded(true, "rx", f, "device") },
        { f | 0x357, 0, decoded(true, "rx", f, "normal-NC") },
        { f | 0x36b, 0, decoded(true, "rx", f, "normal-WT") },
        /* No access, no execution; software bits 58:55, contiguous 52 */
        { f | 0x33f, 0, decoded(true, "x", f, "normal-WB") },
        { f | 0x37f | XN, 0, decoded(true, "r", f, "normal-WB") },
        { f | 0x079000000000037fULL, 0, decoded(true, "rx", f, "normal-WB") },
        /* Tables: all permitted, and only FEAT_HAFT's flag */
        { f | 0x003, 1, decoded(false, "rwx", f, NULL) },
        { f | 0x403, 2, decoded(false, "rwxA", f, NULL) },
        { f | 0x403, 3, decoded(false, "rwxA", f, NULL) },
    };

    check_cases(S2, cases, G_N_ELEMENTS(cases));
}

typedef struct GeometryCase {
    unsigned gpa_bits;
    unsigned levels;
    int root_height;
    unsigned root_tables;
} GeometryCase;

static void check_geometry(const AgeFormat *fmt, const GeometryCase *c,
                           unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        AgeGeometry geo;

        g_test_message("%s, %u bits, %u levels", fmt->name, c[i].gpa_bits,
                       c[i].levels);
        g_assert_true(fmt->geometry(c[i].gpa_bits, c[i].levels, &geo));
        g_assert_cmpuint(geo.gpa_bits, ==, c[i].gpa_bits);
        g_assert_cmpint(geo.root_height, ==, c[i].root_height);
        g_assert_cmpuint(geo.root_tables, ==, c[i].root_tables);
    }
}

static void test_ept_geometry(void)
{
    const GeometryCase cases[] = {
        { 36, 0, 3, 1 }, { 48, 0, 3, 1 }, { 49, 0, 4, 1 }, { 52, 0, 4, 1 },
        { 57, 0, 4, 1 }, { 36, 4, 3, 1 }, { 36, 5, 4, 1 }, { 57, 5, 4, 1 },
    };
    AgeGeometry geo;

    check_geometry(EPT, cases, G_N_ELEMENTS(cases));
    g_assert_false(EPT->geometry(58, 0, &geo));
    g_assert_false(EPT->geometry(49, 4, &geo));
    g_assert_false(EPT->geometry(48, 3, &geo));
    g_assert_false(EPT->geometry(48, 6, &geo));
}

static void test_stage2_geometry(void)
{
    /* Level 2 is height 1, level 1 is height 2, level 0 is height 3. */
    const GeometryCase cases[] = {
        { 32, 0, 1, 4 }, { 33, 0, 1, 8 }, { 34, 0, 1, 16 },
        { 35, 0, 2, 1 }, { 36, 0, 2, 1 }, { 37, 0, 2, 1 }, { 38, 0, 2, 1 },
        { 39, 0, 2, 1 }, { 40, 0, 2, 2 }, { 41, 0, 2, 4 }, { 42, 0, 2, 8 },
        { 43, 0, 2, 16 }, { 44, 0, 3, 1 }, { 45, 0, 3, 1 }, { 46, 0, 3, 1 },
        { 47, 0, 3, 1 }, { 48, 0, 3, 1 },
        { 34, 2, 1, 16 }, { 34, 3, 2, 1 }, { 43, 3, 2, 16 }, { 44, 4, 3, 1 },
    };
    AgeGeometry geo;

    check_geometry(S2, cases, G_N_ELEMENTS(cases));
    g_assert_false(S2->geometry(49, 0, &geo));
    g_assert_false(S2->geometry(44, 3, &geo));
    g_assert_false(S2->geometry(35, 2, &geo));
    /* No level 0 with less than 44 bits; level 1 would resolve nothing. */
    g_assert_false(S2->geometry(43, 4, &geo));
    g_assert_false(S2->geometry(30, 3, &geo));
    g_assert_false(S2->geometry(48, 5, &geo));
}

static void check_root(const AgeFormat *fmt, unsigned gpa_bits,
                       unsigned levels, uint64_t pointer, uint64_t control)
{
    const uint64_t *root = (uint64_t *)(uintptr_t)0x7f1234560000ULL;
    bool ept = fmt->leaf_value == EPT->leaf_value;
    AgeRegisters regs;
    AgeGeometry geo;

    g_assert_true(fmt->geometry(gpa_bits, levels, &geo));
    regs = fmt->registers(fmt, &geo, root);
    g_assert_cmphex(ept ? regs.eptp : regs.vttbr, ==,
                    (uintptr_t)root | pointer);
    g_assert_cmphex(ept ? regs.vttbr : regs.eptp, ==, 0);
    g_assert_cmphex(regs.vtcr, ==, control);
}

/* EPTP: 2:0 memory type 6, 5:3 levels less one, 6 accessed and dirty flags */
static void test_eptp(void)
{
    check_root(EPT, 48, 4, 0x5e, 0);
    check_root(EPT, 48, 5, 0x66, 0);
    check_root(&age_format_ept_no_ad, 48, 4, 0x1e, 0);
}

/*
 * VTCR_EL2: 5:0 T0SZ, 7:6 SL0, 9:8 and 11:10 write-back, 13:12 inner shareable,
 * 15:14 4 KiB, 18:16 PS 48 bits, 21 HA, 22 HD, 31 RES1, 44 HAFT
 */
static void test_vtcr(void)
{
    check_root(S2, 48, 0, 0, 0x100080653590ULL);
    check_root(S2, 40, 0, 0, 0x100080653558ULL);
    check_root(S2, 32, 0, 0, 0x100080653520ULL);
    check_root(&age_format_stage2_no_haft, 40, 0, 0, 0x80653558ULL);
    check_root(&age_format_stage2_no_ad, 40, 0, 0, 0x80053558ULL);
}

/*
 * Split @block at @height all the way down.  The parts may differ from it in
 * their frame, and at height 0 in how the format tells a page from a block.
 */
static void check_split(const AgeFormat *fmt, uint64_t block, int height)
{
    AgeDecoded whole;

    fmt->decode(block, height, &whole);
    g_assert_true(whole.present && whole.leaf);
    for (unsigned i = 0; i < 512; i++) {
        uint64_t part = age_split_leaf(fmt, block, height, i);
        DecodeCase c = { part, height - 1, whole };

        c.want.address += (uint64_t)i << (12 + 9 * (height - 1));
        check_decode(fmt, &c);
        if (height == 2 && i % 73 == 0) {
            check_split(fmt, part, 1);
        }
    }
}

static void test_ept_split(void)
{
    static const uint64_t flags[] = {
        0x8b7, 0x9b7, 0xbb7, 0x8b5, 0x9b5, 0xfff0000000000db7ULL,
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++) {
        check_split(EPT, 0x7f1240000000ULL | flags[i], 2);
        check_split(EPT, 0x7f1234600000ULL | flags[i], 1);
    }
    g_assert_cmphex(age_split_leaf(EPT, 0x6000003b7ULL, 1, 511), ==,
                    0x6001ff337ULL);
    g_assert_cmphex(age_split_leaf(EPT, 0x4400003b7ULL, 2, 511), ==,
                    0x47fe003b7ULL);
}

static void test_stage2_split(void)
{
    static const uint64_t flags[] = {
        DBM | 0x37d, DBM | 0x77d, DBM | 0x7fd, 0x37d, 0x77d, XN | DBM | 0x7fd,
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++) {
        check_split(S2, 0x7f1240000000ULL | flags[i], 2);
        check_split(S2, 0x7f1234600000ULL | flags[i], 1);
    }
    g_assert_cmphex(age_split_leaf(S2, 0x6000007fdULL, 1, 511), ==,
                    0x6001ff7ffULL);
    g_assert_cmphex(age_split_leaf(S2, 0x4400007fdULL, 2, 511), ==,
                    0x47fe007fdULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/age/format/heights", test_heights);
    g_test_add_func("/age/format/ept-tracking", test_ept_tracking);
    g_test_add_func("/age/format/stage2-software",
                    test_stage2_software);
    g_test_add_func("/age/format/masks", test_masks);
    g_test_add_func("/age/format/entry-helpers", test_entry_helpers);
    g_test_add_func("/age/format/ept/make", test_ept_make);
    g_test_add_func("/age/format/ept/decode", test_ept_decode);
    g_test_add_func("/age/format/ept/geometry", test_ept_geometry);
    g_test_add_func("/age/format/ept/split", test_ept_split);
    g_test_add_func("/age/format/stage2/make", test_stage2_make);
    g_test_add_func("/age/format/stage2/decode", test_stage2_decode);
    g_test_add_func("/age/format/stage2/geometry", test_stage2_geometry);
    g_test_add_func("/age/format/ept/eptp", test_eptp);
    g_test_add_func("/age/format/stage2/vtcr", test_vtcr);
    g_test_add_func("/age/format/stage2/split", test_stage2_split);
    return g_test_run();
}
