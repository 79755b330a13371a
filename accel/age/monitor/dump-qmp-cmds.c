/*
 * QMP: age-dump-tables
 *
 * A coroutine of the main loop.  It copies the tables piece by piece, and lets
 * a worker thread do all that has to do with the file: only the dump waits for
 * that, and neither the BQL nor an RCU read-side critical section is held.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/rcu.h"
#include "block/thread-pool.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-age.h"
#include "accel/age/pt/dump.h"
#include "accel/age/tcg/age-int.h"
#include "space.h"

#define DUMP_MAGIC      "AGETABLE"
#define DUMP_VERSION    1

/*
 * Tables that are copied at a time, or a few hundred more: well below a
 * millisecond with the BQL held.
 */
#define PIECE_TABLES    256

/* See the description of the command. */
typedef struct DumpHeader {
    char magic[8];
    uint64_t version;
    uint64_t eptp;
    uint64_t vttbr;
    uint64_t vtcr;
    uint64_t tables;
} QEMU_PACKED DumpHeader;

QEMU_BUILD_BUG_ON(sizeof(DumpHeader) != 48);
QEMU_BUILD_BUG_ON(sizeof(AgeDumpTable) != 8 + AGE_PAGE_SIZE);

/**
 * DumpFile: where a dump goes
 *
 * @name: name of the file
 * @fd: the file once it is open
 * @err: why the last step failed; NULL if it did not
 * @offset: where to write
 * @buf, @size: what
 */
typedef struct DumpFile {
    const char *name;
    int fd;
    Error *err;
    uint64_t offset;
    const void *buf;
    size_t size;
} DumpFile;

/* An fd set has what the client opened, perhaps for reading as well. */
static int open_fdset(const char *name, Error **errp)
{
    Error *err = NULL;
    int fd = qemu_open(name, O_WRONLY, &err);

    if (fd < 0 && errno == EACCES) {
        error_free(err);
        err = NULL;
        fd = qemu_open(name, O_RDWR, &err);
        if (fd < 0 && errno == EACCES) {
            error_free(err);
            err = NULL;
            error_setg(&err, "'%s' has no file that is open for writing", name);
        }
    }
    error_propagate(errp, err);
    return fd;
}

/* Don't wait: a named pipe without a reader would have us wait for one. */
static int open_path(const char *name, Error **errp)
{
    Error *err = NULL;
    int fd = qemu_create(name, O_WRONLY | O_NONBLOCK, 0666, &err);

    if (fd < 0 && errno == ENXIO) {
        error_free(err);
        err = NULL;
        error_setg(&err, "'%s' is not a regular file", name);
    }
    error_propagate(errp, err);
    return fd;
}

static bool check_file(const DumpFile *f, Error **errp)
{
    struct stat st;

    if (fstat(f->fd, &st) < 0) {
        error_setg_errno(errp, errno, "can't tell what '%s' is", f->name);
        return false;
    }
    if (!S_ISREG(st.st_mode)) {
        error_setg(errp, "'%s' is not a regular file", f->name);
        return false;
    }
    if (ftruncate(f->fd, 0) < 0) {
        error_setg_errno(errp, errno, "can't empty '%s'", f->name);
        return false;
    }
    return true;
}

static int file_open(void *opaque)
{
    DumpFile *f = opaque;

    f->fd = strstart(f->name, "/dev/fdset/", NULL) ?
            open_fdset(f->name, &f->err) : open_path(f->name, &f->err);
    if (f->fd >= 0 && !check_file(f, &f->err)) {
        qemu_close(f->fd);
        f->fd = -1;
    }
    return 0;
}

static int file_write(void *opaque)
{
    DumpFile *f = opaque;

    /* For a write that is short without an error of its own */
    errno = EIO;
    if (lseek(f->fd, f->offset, SEEK_SET) < 0 ||
        qemu_write_full(f->fd, f->buf, f->size) != f->size) {
        error_setg_errno(&f->err, errno, "can't write '%s'", f->name);
    }
    return 0;
}

static int file_close(void *opaque)
{
    DumpFile *f = opaque;

    if (qemu_close(f->fd) < 0 && !f->err) {
        error_setg_errno(&f->err, errno, "can't write '%s'", f->name);
    }
    return 0;
}

/* Returns false on error. */
static bool coroutine_fn write_at(DumpFile *f, uint64_t offset,
                                  const void *buf, size_t size)
{
    f->offset = offset;
    f->buf = buf;
    f->size = size;
    thread_pool_submit_co(file_write, f);
    return !f->err;
}

static bool copy_piece(AgeDump *dump)
{
    RCU_READ_LOCK_GUARD();
    return age_dump_piece(dump, PIECE_TABLES);
}

/* The tables but for those of the root, which have a place at the beginning */
static bool coroutine_fn write_tables(DumpFile *f, AgeDump *dump)
{
    uint64_t offset = sizeof(DumpHeader) + dump->num * sizeof(AgeDumpTable);
    bool more;

    do {
        size_t size;

        more = copy_piece(dump);
        size = dump->done->len * sizeof(AgeDumpTable);
        if (!write_at(f, offset, dump->done->data, size)) {
            return false;
        }
        offset += size;
    } while (more);
    return true;
}

/* Last comes the magic: what has it is complete. */
static bool coroutine_fn write_dump(DumpFile *f, AgeDump *dump,
                                    const AgeRoot *root)
{
    DumpHeader header = {
        .magic = DUMP_MAGIC,
        .version = cpu_to_le64(DUMP_VERSION),
        .eptp = cpu_to_le64(root->eptp),
        .vttbr = cpu_to_le64(root->vttbr),
        .vtcr = cpu_to_le64(root->vtcr),
    };

    if (!write_tables(f, dump) ||
        !write_at(f, sizeof(header), dump->root,
                  dump->pt->geo.root_tables * sizeof(AgeDumpTable))) {
        return false;
    }
    header.tables = cpu_to_le64(dump->num);
    return write_at(f, 0, &header, sizeof(header));
}

void coroutine_fn qmp_age_dump_tables(const char *file,
                                      const char *address_space, Error **errp)
{
    AgeAddressSpace *space = age_space_find(address_space, errp);
    DumpFile f = { .name = file };
    g_autoptr(AgeRoot) root = NULL;
    AgeDump dump;

    if (!space) {
        return;
    }
    thread_pool_submit_co(file_open, &f);
    if (!f.err) {
        root = age_space_root(space);
        age_dump_init(&dump, &space->pt);
        write_dump(&f, &dump, root);
        age_dump_clear(&dump);
        thread_pool_submit_co(file_close, &f);
    }
    error_propagate(errp, f.err);
}
