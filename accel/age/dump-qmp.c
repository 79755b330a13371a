/*
 * QMP: age-dump-tables
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-age.h"
#include "age-int.h"
#include "query.h"

#define DUMP_MAGIC      "AGETABLE"
#define DUMP_VERSION    1

/* See the description of the command. */
typedef struct DumpHeader {
    char magic[8];
    uint64_t version;
    uint64_t eptp;
    uint64_t vttbr;
    uint64_t vtcr;
    uint64_t tables;
} QEMU_PACKED DumpHeader;

typedef struct DumpTable {
    uint64_t address;
    uint64_t entry[AGE_TABLE_ENTRIES];
} QEMU_PACKED DumpTable;

static void copy_table(GPtrArray *tables, const uint64_t *table)
{
    DumpTable *copy = g_new(DumpTable, 1);

    copy->address = cpu_to_le64((uintptr_t)table);
    for (unsigned i = 0; i < AGE_TABLE_ENTRIES; i++) {
        copy->entry[i] = cpu_to_le64(qatomic_read(&table[i]));
    }
    g_ptr_array_add(tables, copy);
}

/* What hangs below @table is taken from the copy: the two must agree. */
static void copy_below(GPtrArray *tables, const AgeFormat *fmt,
                       const DumpTable *table, int height)
{
    for (unsigned i = 0; i < AGE_TABLE_ENTRIES; i++) {
        uint64_t entry = le64_to_cpu(table->entry[i]);

        if (!age_entry_present(fmt, entry) ||
            age_entry_leaf(fmt, entry, height)) {
            continue;
        }
        /* Pairs with the cmpxchg that hooked the table in. */
        smp_rmb();
        copy_table(tables, age_entry_table(fmt, entry));
        copy_below(tables, fmt, g_ptr_array_index(tables, tables->len - 1),
                   height - 1);
    }
}

/* Copied in one go, rather than written: a file may be slow, and RCU waits. */
static GPtrArray *copy_tables(const AgePageTable *pt)
{
    GPtrArray *tables = g_ptr_array_new_with_free_func(g_free);

    RCU_READ_LOCK_GUARD();
    for (unsigned i = 0; i < pt->geo.root_tables; i++) {
        copy_table(tables, pt->root + i * AGE_TABLE_ENTRIES);
    }
    for (unsigned i = 0; i < pt->geo.root_tables; i++) {
        copy_below(tables, pt->fmt, g_ptr_array_index(tables, i),
                   pt->geo.root_height);
    }
    return tables;
}

static bool write_dump(int fd, const AgeRoot *root, const GPtrArray *tables)
{
    DumpHeader header = {
        .magic = DUMP_MAGIC,
        .version = cpu_to_le64(DUMP_VERSION),
        .eptp = cpu_to_le64(root->eptp),
        .vttbr = cpu_to_le64(root->vttbr),
        .vtcr = cpu_to_le64(root->vtcr),
        .tables = cpu_to_le64(tables->len),
    };

    if (qemu_write_full(fd, &header, sizeof(header)) != sizeof(header)) {
        return false;
    }
    for (unsigned i = 0; i < tables->len; i++) {
        if (qemu_write_full(fd, g_ptr_array_index(tables, i),
                            sizeof(DumpTable)) != sizeof(DumpTable)) {
            return false;
        }
    }
    return true;
}

void qmp_age_dump_tables(const char *file, const char *address_space,
                         Error **errp)
{
    AgeAddressSpace *space = age_query_space(address_space, errp);
    g_autoptr(GPtrArray) tables = NULL;
    g_autoptr(AgeRoot) root = NULL;
    int fd;

    if (!space) {
        return;
    }
    fd = qemu_create(file, O_WRONLY | O_TRUNC | O_BINARY, 0666, errp);
    if (fd < 0) {
        return;
    }
    tables = copy_tables(&space->pt);
    root = age_query_root(space);
    if (!write_dump(fd, root, tables)) {
        error_setg_errno(errp, errno, "can't write '%s'", file);
        errp = NULL;
    }
    if (qemu_close(fd) < 0) {
        error_setg_errno(errp, errno, "can't write '%s'", file);
    }
}
