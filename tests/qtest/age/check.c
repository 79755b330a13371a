/*
 * Do the page tables say what they should?
 *
 * Reads what age-dump-tables writes, by the manuals rather than by what
 * accel/age has.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "check.h"
#include "qmp.h"

#define ENTRIES         512
#define MAGIC           "AGETABLE"
#define VERSION         1

/* Of an EPT entry and the EPT pointer */
#define EPT_RWX         7
#define EPT_WRITE       (1ULL << 1)
#define EPT_LARGE       (1ULL << 7)
#define EPTP_AD         (1ULL << 6)

/* Of a stage-2 descriptor and VTCR_EL2 */
#define S2_VALID        (1ULL << 0)
#define S2_TABLE        (1ULL << 1)
#define S2_WRITE        (1ULL << 7)
#define S2_DBM          (1ULL << 51)
#define VTCR_HA         (1ULL << 21)
#define VTCR_HAFT       (1ULL << 44)

typedef struct Header {
    char magic[8];
    uint64_t version;
    uint64_t eptp;
    uint64_t vttbr;
    uint64_t vtcr;
    uint64_t tables;
} Header;

typedef struct Table {
    uint64_t address;
    uint64_t entry[ENTRIES];
} Table;

typedef struct Leaf {
    uint64_t gpa;
    uint64_t size;
    uint64_t frame;
    bool accessed;
    bool write;
} Leaf;

/**
 * Dump: the tables of an address space, and what was made of them
 *
 * @space: its name
 * @header: the file
 * @tables: from addresses to tables
 * @slots: all slots, of this space and of others
 * @parents: entries that point to tables have accessed flags
 * @seen: number of tables that were come by
 * @leaves: all leaves
 */
typedef struct Dump {
    const char *space;
    Header *header;
    GHashTable *tables;
    GArray *slots;
    bool parents;
    uint64_t seen;
    GArray *leaves;
} Dump;

static bool entry_present(uint64_t entry)
{
    return entry & (age_is_x86() ? EPT_RWX : S2_VALID);
}

static bool entry_leaf(uint64_t entry, int height)
{
    return height == 0 ||
           (age_is_x86() ? entry & EPT_LARGE : !(entry & S2_TABLE));
}

static bool leaf_writable(uint64_t entry)
{
    return entry & (age_is_x86() ? EPT_WRITE : S2_WRITE | S2_DBM);
}

static uint64_t entry_size(int height)
{
    return AGE_PAGE << (9 * height);
}

/* Does @space have a slot in [@start, @end)? */
static bool has_slot(const Dump *d, uint64_t start, uint64_t end)
{
    for (unsigned i = 0; i < d->slots->len; i++) {
        const AgeSlotInfo *slot = &g_array_index(d->slots, AgeSlotInfo, i);

        if (g_str_equal(slot->space, d->space) && slot->gpa < end &&
            slot->gpa + slot->size > start) {
            return true;
        }
    }
    return false;
}

static bool walk_table(Dump *d, uint64_t address, int height, uint64_t base);

/* Returns whether the entry, which covers memory from @base on, is young. */
static bool walk_entry(Dump *d, uint64_t entry, int height, uint64_t base)
{
    bool accessed = entry & age_arch()->accessed;
    uint64_t frame = entry & age_arch()->address;
    Leaf leaf = {
        .gpa = base,
        .size = entry_size(height),
        .frame = frame & -entry_size(height),
        .accessed = accessed,
        .write = leaf_writable(entry),
    };

    if (!entry_present(entry)) {
        /* Flags without anything that they belong to would be found. */
        g_assert_cmphex(entry, ==, 0);
        return false;
    }
    if (entry_leaf(entry, height)) {
        g_array_append_val(d->leaves, leaf);
        return accessed;
    }
    g_assert(has_slot(d, base, base + entry_size(height)));
    if (walk_table(d, frame, height - 1, base) && d->parents) {
        g_assert(accessed);
    }
    return accessed;
}

/* Returns whether any of its entries is young. */
static bool walk_table(Dump *d, uint64_t address, int height, uint64_t base)
{
    const Table *table = g_hash_table_lookup(d->tables, &address);
    bool young = false;

    g_assert_nonnull(table);
    d->seen++;
    for (unsigned i = 0; i < ENTRIES; i++) {
        young |= walk_entry(d, le64_to_cpu(table->entry[i]), height,
                            base + i * entry_size(height));
    }
    return young;
}

/* How many levels and how many roots there are, by the registers */
static int num_levels(const Header *h, unsigned *roots)
{
    unsigned bits = 64 - (h->vtcr & 63), levels = 2 + ((h->vtcr >> 6) & 3);
    unsigned root_bits = 12 + 9 * levels;

    if (age_is_x86()) {
        *roots = 1;
        return 1 + ((h->eptp >> 3) & 7);
    }
    *roots = bits > root_bits ? 1 << (bits - root_bits) : 1;
    return levels;
}

static Header *read_dump(QTestState *qts, const char *space, gsize *size)
{
    g_autofree char *name = g_strdup_printf("%s/age-check-%d",
                                            g_get_tmp_dir(), getpid());
    GError *err = NULL;
    char *text;

    qtest_qmp_assert_success(qts, "{ 'execute': 'age-dump-tables',"
                             " 'arguments': { 'file': %s,"
                             " 'address-space': %s } }", name, space);
    g_file_get_contents(name, &text, size, &err);
    g_assert_no_error(err);
    unlink(name);
    return (Header *)text;
}

static void swap_header(Header *h)
{
    le64_to_cpus(&h->version);
    le64_to_cpus(&h->eptp);
    le64_to_cpus(&h->vttbr);
    le64_to_cpus(&h->vtcr);
    le64_to_cpus(&h->tables);
}

static void check_header(const Header *h, gsize size)
{
    g_assert_cmpmem(h->magic, sizeof(h->magic), MAGIC, strlen(MAGIC));
    g_assert_cmpuint(h->version, ==, VERSION);
    g_assert_cmpuint(size, ==, sizeof(*h) + h->tables * sizeof(Table));
    /* The harvest that this is compared with would be refused. */
    g_assert(age_is_x86() ? h->eptp & EPTP_AD : h->vtcr & VTCR_HA);
}

static Dump *dump_new(QTestState *qts, const char *space)
{
    Dump *d = g_new0(Dump, 1);
    Table *table;
    unsigned roots;
    gsize size;
    int levels;

    d->space = space;
    d->header = read_dump(qts, space, &size);
    swap_header(d->header);
    check_header(d->header, size);
    d->slots = age_slots(qts);
    d->parents = age_is_x86() || (d->header->vtcr & VTCR_HAFT);
    d->leaves = g_array_new(false, false, sizeof(Leaf));
    d->tables = g_hash_table_new(g_int64_hash, g_int64_equal);
    table = (Table *)(d->header + 1);
    for (unsigned i = 0; i < d->header->tables; i++) {
        le64_to_cpus(&table[i].address);
        g_assert(g_hash_table_add(d->tables, &table[i]));
    }

    levels = num_levels(d->header, &roots);
    g_assert_cmphex(table->address, ==, age_is_x86() ?
                    d->header->eptp & ~0xfffULL : d->header->vttbr);
    for (unsigned i = 0; i < roots; i++) {
        walk_table(d, table[i].address, levels - 1,
                   i * entry_size(levels - 1) * ENTRIES);
    }
    g_assert_cmpuint(d->seen, ==, d->header->tables);
    return d;
}

static void dump_free(Dump *d)
{
    g_array_unref(d->leaves);
    g_hash_table_unref(d->tables);
    g_array_unref(d->slots);
    g_free(d->header);
    g_free(d);
}

static const AgeSlotInfo *slot_of(const Dump *d, uint64_t gpa)
{
    for (unsigned i = 0; i < d->slots->len; i++) {
        const AgeSlotInfo *slot = &g_array_index(d->slots, AgeSlotInfo, i);

        if (g_str_equal(slot->space, d->space) && slot->gpa <= gpa &&
            gpa - slot->gpa < slot->size) {
            return slot;
        }
    }
    return NULL;
}

/* Slots side by side may share a block, if they share what is behind it. */
static void check_leaf(const Dump *d, const Leaf *leaf)
{
    for (uint64_t at = 0; at < leaf->size; at += AGE_PAGE) {
        const AgeSlotInfo *slot = slot_of(d, leaf->gpa + at);

        g_assert_nonnull(slot);
        g_assert_cmphex(leaf->frame + at, ==,
                        slot->hva + (leaf->gpa + at - slot->gpa));
        g_assert(!leaf->write || !slot->readonly);
    }
}

static void add_frames(GArray *pages, const Leaf *leaf)
{
    for (uint64_t at = 0; at < leaf->size; at += AGE_PAGE) {
        uint64_t page = leaf->frame + at;

        g_array_append_val(pages, page);
    }
}

/*
 * Add the pages of QEMU's memory that @d has young.  Returns how many leaves
 * are.
 */
static uint64_t check_dump(const Dump *d, GArray *young)
{
    uint64_t leaves = 0;

    for (unsigned i = 0; i < d->leaves->len; i++) {
        const Leaf *leaf = &g_array_index(d->leaves, Leaf, i);

        check_leaf(d, leaf);
        if (leaf->accessed) {
            add_frames(young, leaf);
            leaves++;
        }
    }
    return leaves;
}

/* Add what a harvest of @slot finds young, by addresses in QEMU. */
static void harvest_slot(QTestState *qts, const AgeSlotInfo *slot,
                         GArray *young)
{
    QList *ranges = qlist_new();
    g_autoptr(QDict) result = NULL;
    QDict *range;

    age_add_test_range(ranges, slot->hva, slot->hva + slot->size);
    result = age_harvest(qts, ranges,
                         "{ 'address': 'hva', 'format': 'runs' }");
    range = qobject_to(QDict, qlist_peek(qdict_get_qlist(result, "ranges")));
    age_add_told_pages(young, range, false);
}

static GArray *harvest_all(QTestState *qts)
{
    g_autoptr(GArray) slots = age_slots(qts);
    GArray *young = age_pages_new();

    for (unsigned i = 0; i < slots->len; i++) {
        harvest_slot(qts, &g_array_index(slots, AgeSlotInfo, i), young);
    }
    age_pages_add(young, 0, 0, 0);
    return young;
}

/* Returns how many leaves are young. */
static uint64_t check_tables(QTestState *qts)
{
    g_autoptr(QDict) info = age_query(qts);
    GArray *young = age_pages_new();
    uint64_t tables = 0, leaves = 0;
    const QListEntry *e;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(info, "roots"), e) {
        QDict *root = qobject_to(QDict, qlist_entry_obj(e));
        Dump *d = dump_new(qts, qdict_get_str(root, "address-space"));

        leaves += check_dump(d, young);
        tables += d->seen;
        dump_free(d);
    }
    age_wait_tables(qts, tables);
    age_pages_add(young, 0, 0, 0);
    age_assert_same_pages(harvest_all(qts), young);
    return leaves;
}

void age_check_tables(QTestState *qts)
{
    age_check_left(qts, check_tables(qts));
}

void age_check(AgeGuest *g)
{
    age_guest_stop(g);
    age_check_tables(g->qts);
    age_guest_cont(g);
}

GArray *age_mapped_pages(QTestState *qts, const char *space, uint64_t start,
                         uint64_t end)
{
    Dump *d = dump_new(qts, space);
    GArray *pages = age_pages_new();

    for (unsigned i = 0; i < d->leaves->len; i++) {
        const Leaf *leaf = &g_array_index(d->leaves, Leaf, i);
        uint64_t from = MAX(start, leaf->gpa);
        uint64_t to = MIN(end, leaf->gpa + leaf->size);

        for (; from < to; from += AGE_PAGE) {
            g_array_append_val(pages, from);
        }
    }
    dump_free(d);
    return pages;
}

uint64_t age_all_tables(QTestState *qts)
{
    g_autoptr(QDict) info = age_query(qts);
    const QListEntry *e;
    uint64_t sum = 0;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(info, "tables"), e) {
        sum += age_get_uint(qobject_to(QDict, qlist_entry_obj(e)), "tables");
    }
    return sum;
}

/* What was unhooked is in use until a grace period is over. */
void age_wait_tables(QTestState *qts, uint64_t want)
{
    int64_t deadline = 0;

    while (age_all_tables(qts) != want) {
        age_poll(&deadline);
    }
}
