/*
 * Harvest: test and clear the accessed or dirty flags of a page table
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "bitrange.h"
#include "contract.h"
#include "harvest.h"
#include "pair.h"
#include "summary.h"

/* A range of frames: of the table at hand, those to harvest */
typedef struct Frames {
    uint64_t start;
    uint64_t end;
} Frames;

static uint64_t frames_per_entry(int height)
{
    return 1ULL << (height * AGE_LEVEL_SHIFT);
}

/* Offset of the lowest bit of the frames before @end_gfn */
static uint64_t bit_offset(const AgeHarvest *h, uint64_t end_gfn)
{
    return h->lsb_gfn - (end_gfn - 1);
}

static bool all_selected(const AgeHarvest *h, Frames s)
{
    if (!h->select) {
        return !h->test_only;
    }
    return age_bits_all(h->select, bit_offset(h, s.end), s.end - s.start);
}

static bool any_selected(const AgeHarvest *h, Frames s)
{
    if (!h->select) {
        return !h->test_only;
    }
    return age_bits_any(h->select, bit_offset(h, s.end), s.end - s.start);
}

/* Tell of young pages: the set ones of @n @bits from bit @pos on */
static void report_young(AgeHarvest *h, uint64_t pos, unsigned n, uint64_t bits)
{
    h->any |= bits != 0;
    if (h->young) {
        age_bits_or(h->young, pos, n, bits);
    }
}

/* Tell that all the frames @s are young */
static void report_all_young(AgeHarvest *h, Frames s)
{
    h->any = true;
    if (h->young) {
        age_bits_set(h->young, bit_offset(h, s.end), s.end - s.start);
    }
}

static uint64_t selected_bits(const AgeHarvest *h, uint64_t pos, unsigned n)
{
    if (!h->select) {
        return h->test_only ? 0 : age_low_bits(n);
    }
    return age_bits_get(h->select, pos, n);
}

/*
 * A flag of @n entries as a word, the last entry in bit 0.  Entries that are
 * not present are zero, so they need no test of their own.
 */
static uint64_t gather_flags(const uint64_t *entry, unsigned n, uint64_t flag)
{
    unsigned shift = __builtin_ctzll(flag);
    uint64_t young = 0;

    for (unsigned i = 0; i < n; i++) {
        young = (young << 1) | ((qatomic_read(&entry[i]) >> shift) & 1);
    }
    return young;
}

/*
 * Make a page entry old where aging takes permissions away as well.  It must be
 * a cmpxchg, and if that fails, somebody else is using the page: leave it
 * young.  Returns whether the entry turned old.
 */
static bool G_GNUC_NO_INLINE age_tracked_page(const AgeFormat *fmt,
                                              uint64_t *ptr, bool dirty)
{
    uint64_t old = qatomic_read(ptr);
    uint64_t harvested = age_leaf_make_harvested(fmt, old, dirty);

    return (old & age_leaf_flag(fmt, dirty)) &&
           qatomic_cmpxchg(ptr, old, harvested) == old;
}

/*
 * Make a page entry old.  At height 0 an entry is never a table, so that an
 * atomic AND can't hit one.  Returns whether the entry turned old.
 */
static bool age_page(const AgeFormat *fmt, uint64_t *ptr, bool dirty)
{
    uint64_t flag = age_leaf_flag(fmt, dirty);

    if (fmt->track) {
        return age_tracked_page(fmt, ptr, dirty);
    }
    return qatomic_fetch_and(ptr, ~flag) & flag;
}

/* Make two page entries old at once; @ptr is the first.  May do nothing. */
static bool age_two_pages(const AgeFormat *fmt, uint64_t *ptr, bool dirty)
{
    return !fmt->track && age_pair_clear(ptr, age_leaf_flag(fmt, dirty));
}

/*
 * Make those of @n page entries old whose bits are set in @clear.  Returns the
 * bits of the entries that turned old.
 */
static uint64_t clear_flags(const AgeFormat *fmt, uint64_t *entry, unsigned n,
                            uint64_t clear, bool dirty)
{
    uint64_t cleared = 0;

    while (clear) {
        unsigned bit = __builtin_ctzll(clear);

        /* The bit above is that of the entry before. */
        if (((clear >> bit) & 3) == 3 &&
            age_two_pages(fmt, &entry[n - 2 - bit], dirty)) {
            cleared |= 3ULL << bit;
            clear &= ~(3ULL << bit);
            continue;
        }
        clear &= clear - 1;
        if (age_page(fmt, &entry[n - 1 - bit], dirty)) {
            cleared |= 1ULL << bit;
        }
    }
    return cleared;
}

/*
 * Flags in a table are about to be cleared, of which @ptr is the entry at
 * @height for frame @gfn.
 *
 * If mappings went since the harvest began, the table may be unhooked by now,
 * and what it has may be forgotten: then nothing in it is stamped.  While we
 * stamp, nobody goes on from a zap to forget what was zapped.
 */
static void begin_stamping(AgeHarvest *h, const uint64_t *ptr, int height,
                           uint64_t gfn)
{
    AgePath path;

    if (!h->stamper) {
        return;
    }
    age_stamper_begin(h->stamper);
    if (age_pt_read_epoch(h->pt) != h->epoch) {
        age_pt_walk(h->pt, gfn << AGE_PAGE_SHIFT, &path);
        if (path.height > height || path.entry[height] != ptr) {
            age_stamper_end(h->stamper);
            return;
        }
    }
    h->stamping = h->stamper;
    h->unstamped = h->cleared;
}

/*
 * From now on a reader may be told, and told not to ask for this again.  So
 * filters must have forgotten what was cleared, and a flush be due.
 */
static void end_stamping(AgeHarvest *h)
{
    if (!h->stamping) {
        return;
    }
    if (h->cleared != h->unstamped) {
        age_pt_next_epoch(h->pt);
        if (h->unflushed) {
            qatomic_set(h->unflushed, true);
            /* Pairs with age_flush_request(). */
            smp_mb();
        }
    }
    age_stamper_end(h->stamping);
    h->stamping = NULL;
}

static uint64_t page_of(const AgeFormat *fmt, uint64_t leaf)
{
    return (leaf & fmt->address) >> AGE_PAGE_SHIFT;
}

/*
 * Stamp the pages of those of @n entries whose bits are set in @cleared, one by
 * one.  An entry that was zapped meanwhile says no more which page it was of.
 */
static void stamp_each_page(const AgeFormat *fmt, AgeHarvest *h,
                            const uint64_t *entry, unsigned n,
                            uint64_t cleared)
{
    while (cleared) {
        unsigned bit = __builtin_ctzll(cleared);
        uint64_t leaf = qatomic_read(&entry[n - 1 - bit]);

        cleared &= cleared - 1;
        if (leaf) {
            age_stamper_add(h->stamping, page_of(fmt, leaf), 1);
        }
    }
}

/*
 * Do those of @n entries whose bits are set in @cleared map pages in a row, of
 * which the first entry would have @frame?
 */
static bool frames_in_a_row(const AgeFormat *fmt, const uint64_t *entry,
                            unsigned n, uint64_t cleared, uint64_t frame)
{
    uint64_t differ = 0;

    if (cleared == age_low_bits(n)) {
        for (unsigned i = 0; i < n; i++, frame += AGE_PAGE_SIZE) {
            differ |= qatomic_read(&entry[i]) ^ frame;
        }
        return !(differ & fmt->address);
    }
    for (; cleared; cleared &= cleared - 1) {
        unsigned i = n - 1 - __builtin_ctzll(cleared);

        differ |= qatomic_read(&entry[i]) ^ (frame + i * AGE_PAGE_SIZE);
    }
    return !(differ & fmt->address);
}

/*
 * Stamp the pages of those of @n entries whose bits are set in @cleared.  What
 * a leaf maps is said by it alone: slots may have changed meanwhile.
 */
static void stamp_pages(const AgeFormat *fmt, AgeHarvest *h,
                        const uint64_t *entry, unsigned n, uint64_t cleared)
{
    unsigned last = n - 1 - __builtin_ctzll(cleared);
    uint64_t leaf = qatomic_read(&entry[last]);
    uint64_t frame = (leaf & fmt->address) - last * AGE_PAGE_SIZE;

    /* Nor does the last one say where the others are if it was zapped. */
    if (leaf && frames_in_a_row(fmt, entry, n, cleared, frame)) {
        age_stamper_add_bits(h->stamping, frame >> AGE_PAGE_SHIFT, n, cleared);
    } else {
        stamp_each_page(fmt, h, entry, n, cleared);
    }
}

/*
 * @n page entries, for the frames before @end_gfn: one word of the bitmaps.
 * Returns whether none of them is young any more.
 */
static bool harvest_word(const AgeFormat *fmt, AgeHarvest *h, uint64_t *entry,
                         unsigned n, uint64_t end_gfn)
{
    uint64_t pos = bit_offset(h, end_gfn);
    uint64_t young = gather_flags(entry, n, age_leaf_flag(fmt, h->dirty));
    uint64_t select, cleared;

    if (!young) {
        return true;
    }
    select = selected_bits(h, pos, n);
    cleared = clear_flags(fmt, entry, n, young & select, h->dirty);
    h->cleared += __builtin_popcountll(cleared);
    if (h->stamping && cleared) {
        stamp_pages(fmt, h, entry, n, cleared);
    }
    report_young(h, pos, n, (young & ~select) | cleared);
    return cleared == young;
}

/*
 * A table of pages: its frames @s, of which the first is entry @index.  Returns
 * whether none of them is young any more.
 */
static bool harvest_pages(const AgeFormat *fmt, AgeHarvest *h,
                          uint64_t *table, unsigned index, Frames s)
{
    bool none = true;

    begin_stamping(h, &table[index], 0, s.start);
    while (s.start < s.end) {
        unsigned to_word_end = AGE_WORD_BITS - index % AGE_WORD_BITS;
        unsigned n = MIN(to_word_end, s.end - s.start);

        none &= harvest_word(fmt, h, &table[index], n, s.start + n);
        index += n;
        s.start += n;
    }
    end_stamping(h);
    return none;
}

/*
 * Clear a block's flag.  A cmpxchg, as the block may be split meanwhile: an
 * atomic AND might then clear the flag of a table.  Sets @entry to what stands
 * there then.
 */
static bool clear_block(const AgeFormat *fmt, uint64_t *ptr, uint64_t *entry,
                        bool dirty)
{
    uint64_t harvested = age_leaf_make_harvested(fmt, *entry, dirty);
    uint64_t seen = qatomic_cmpxchg(ptr, *entry, harvested);
    bool cleared = seen == *entry;

    *entry = cleared ? harvested : seen;
    return cleared;
}

/* As clear_block(); stamps all of the block. */
static bool clear_and_stamp_block(const AgeFormat *fmt, AgeHarvest *h,
                                  uint64_t *ptr, uint64_t *entry, int height,
                                  uint64_t gfn)
{
    bool cleared;

    begin_stamping(h, ptr, height, gfn);
    cleared = clear_block(fmt, ptr, entry, h->dirty);
    if (cleared && h->stamping) {
        age_stamper_add(h->stamping, page_of(fmt, *entry),
                        frames_per_entry(height));
    }
    end_stamping(h);
    return cleared;
}

/*
 * A block, of which the frames @s are in the range.  Returns false if it is
 * not one any more; @entry is then what it became.
 */
static bool harvest_block(const AgeFormat *fmt, AgeHarvest *h, uint64_t *ptr,
                          uint64_t *entry, int height, Frames s)
{
    bool clear = any_selected(h, s);

    while (*entry & age_leaf_flag(fmt, h->dirty)) {
        if (!clear || clear_and_stamp_block(fmt, h, ptr, entry, height,
                                            s.start)) {
            h->cleared += clear;
            report_all_young(h, s);
            return true;
        }
        if (!age_entry_is_present(fmt, *entry) ||
            !age_entry_is_leaf(fmt, *entry, height)) {
            return false;
        }
    }
    return true;
}

/* Are the frames @s all that an entry at @height covers? */
static bool covers_entry(int height, Frames s)
{
    return s.end - s.start == frames_per_entry(height);
}

/* The flag of a parent that tells of what @h harvests; dirty pages have none */
static uint64_t parent_flag(const AgeFormat *fmt, const AgeHarvest *h)
{
    return h->dirty ? 0 : fmt->table_accessed;
}

/*
 * Is the parent of a table to be made old, as all of the table is?  Then it is
 * the parent's flag that the next harvest skips by, and not the word.
 */
static bool ages_parent(const AgeFormat *fmt, const AgeHarvest *h, int height,
                        Frames s)
{
    return parent_flag(fmt, h) && covers_entry(height, s) && all_selected(h, s);
}

/*
 * May the table behind @entry be skipped, as nothing in it is young?  Its
 * parent's flag says so, or its word.  If the parent is to be made old, that is
 * done here, as it is with those below, level by level.
 */
static bool skip_table(const AgeFormat *fmt, AgeHarvest *h, uint64_t *ptr,
                       uint64_t entry, bool age_parent)
{
    uint64_t accessed = parent_flag(fmt, h);
    bool none;

    if (accessed & ~entry) {
        h->skipped++;
        return true;
    }
    if (age_parent) {
        /* If it fails, it was zapped or is old already: nothing is lost. */
        qatomic_cmpxchg(ptr, entry, entry & ~accessed);
        /* Pairs with order_child_before_parent(). */
        smp_mb__after_rmw();
        return false;
    }
    none = age_summary_is_none(age_summary_of(age_entry_table(fmt, entry),
                                              h->dirty));
    h->skipped += none;
    return none;
}

/* Is none of a table's pages young? */
static bool no_page_young(const uint64_t *table, uint64_t flag)
{
    for (unsigned i = 0; i < AGE_TABLE_ENTRIES; i += AGE_WORD_BITS) {
        uint64_t any = 0;

        for (unsigned k = 0; k < AGE_WORD_BITS; k++) {
            any |= qatomic_read(&table[i + k]);
        }
        if (any & flag) {
            return false;
        }
    }
    return true;
}

/* Is this entry above height 0 no young block, nor a table with any young? */
static bool entry_is_old(const AgeFormat *fmt, const uint64_t *ptr, int height,
                         bool dirty)
{
    /* Pairs with the cmpxchg that hooked the table in: its word is new, too. */
    uint64_t entry = qatomic_load_acquire(ptr);

    if (!age_entry_is_present(fmt, entry)) {
        return true;
    }
    if (age_entry_is_leaf(fmt, entry, height)) {
        return !(entry & age_leaf_flag(fmt, dirty));
    }
    return age_summary_is_none(age_summary_of(age_entry_table(fmt, entry),
                                              dirty));
}

static bool table_is_old(const AgeFormat *fmt, const uint64_t *table,
                         int height, bool dirty)
{
    if (height == 0) {
        return no_page_young(table, age_leaf_flag(fmt, dirty));
    }
    for (unsigned i = 0; i < AGE_TABLE_ENTRIES; i++) {
        if (!entry_is_old(fmt, &table[i], height, dirty)) {
            return false;
        }
    }
    return true;
}

/*
 * Nothing young was left in what was harvested of a table.  If that holds for
 * all of it, have its word say so.  Changes no entry, and looks at all of them
 * again, as the word must be set first: see harvest.h.
 */
static void summarize_table(const AgeFormat *fmt, uint64_t *table, int height,
                            bool dirty)
{
    uint64_t *word = age_summary_of(table, dirty);
    uint64_t mine;

    if (!age_summary_is_none(word) && age_summary_begin(word, &mine)) {
        age_summary_end(word, mine, table_is_old(fmt, table, height, dirty));
    }
}

static bool harvest_table(const AgeFormat *fmt, AgeHarvest *h,
                          uint64_t *table, unsigned index, int height,
                          Frames s);

/*
 * The table at @height that @entry points to, of which the frames @s are in the
 * range.  To look at the rest of a table of pages takes hardly longer, but one
 * of tables may have a lot in it: that is done only if all of it was looked at
 * anyway.  Returns whether nothing in the range is young any more.
 */
static bool harvest_below(const AgeFormat *fmt, AgeHarvest *h, uint64_t entry,
                          int height, Frames s, bool aged_parent)
{
    uint64_t *table = age_entry_table(fmt, entry);
    unsigned index = (s.start >> (height * AGE_LEVEL_SHIFT)) &
                     (AGE_TABLE_ENTRIES - 1);
    bool none = harvest_table(fmt, h, table, index, height, s);

    if (none && !aged_parent &&
        (height == 0 || covers_entry(height + 1, s))) {
        summarize_table(fmt, table, height, h->dirty);
    }
    return none;
}

/*
 * One entry above height 0, of which the frames @s are in the range.  Returns
 * whether nothing of them is young any more.
 */
static bool harvest_entry(const AgeFormat *fmt, AgeHarvest *h, uint64_t *ptr,
                          int height, Frames s)
{
    /* Pairs with the cmpxchg that hooked the table in. */
    uint64_t entry = qatomic_load_acquire(ptr);
    bool aged;

    if (age_entry_is_present(fmt, entry) &&
        age_entry_is_leaf(fmt, entry, height) &&
        harvest_block(fmt, h, ptr, &entry, height, s)) {
        return !(entry & age_leaf_flag(fmt, h->dirty));
    }
    if (!age_entry_is_present(fmt, entry)) {
        return true;
    }
    aged = ages_parent(fmt, h, height, s);
    return skip_table(fmt, h, ptr, entry, aged) ||
           harvest_below(fmt, h, entry, height - 1, s, aged);
}

/*
 * The frames @s of a table, of which the first is below entry @index.  Returns
 * whether nothing of them is young any more.
 */
static bool harvest_table(const AgeFormat *fmt, AgeHarvest *h,
                          uint64_t *table, unsigned index, int height,
                          Frames s)
{
    uint64_t frames = frames_per_entry(height);
    bool none = true;

    if (height == 0) {
        return harvest_pages(fmt, h, table, index, s);
    }
    while (s.start < s.end) {
        uint64_t next = (s.start | (frames - 1)) + 1;
        Frames part = { s.start, MIN(next, s.end) };

        none &= harvest_entry(fmt, h, &table[index++], height, part);
        s.start = part.end;
    }
    return none;
}

void age_pt_harvest(AgePageTable *pt, uint64_t start, uint64_t end,
                    AgeHarvest *h)
{
    const AgeFormat *fmt = age_pt_format(pt);
    int height = pt->geo.root_height;
    Frames s = { start >> AGE_PAGE_SHIFT, end >> AGE_PAGE_SHIFT };
    uint64_t cleared = h->cleared;

    assert(age_in_rcu_read());
    h->pt = pt;
    /* Before the first entry is read: what is read may go from now on. */
    h->epoch = age_pt_read_epoch(pt);
    /* The format may have been changed to one that knows no dirty state. */
    if (age_leaf_flag(fmt, h->dirty)) {
        harvest_table(fmt, h, pt->root, start >> age_height_shift(height),
                      height, s);
    }
    /*
     * If only parents were made old, there is nothing young below them that a
     * filter could know.
     */
    if (h->cleared != cleared) {
        age_pt_next_epoch(pt);
    }
}
