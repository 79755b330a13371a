/*
 * Bitmaps in memory that clients share with QEMU
 *
 * A memory backend is looked up by its name once, with the BQL held, and put
 * into a list that out-of-band commands read.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "qemu/rcu_queue.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-age.h"
#include "qom/object_interfaces.h"
#include "system/age-compat.h"
#include "system/hostmem.h"
#include "accel/age/pt/contract.h"
#include "command.h"
#include "shared-memory.h"

/**
 * AgeShared: a memory backend
 *
 * @backend: the backend, to which this holds a reference.  It is marked as in
 *     use while it is in the list, so that it can't be deleted
 * @host: its memory
 */
typedef struct AgeShared {
    struct rcu_head rcu;
    char *id;
    HostMemoryBackend *backend;
    void *host;
    uint64_t size;
    QLIST_ENTRY(AgeShared) next;
} AgeShared;

/* Changed with the BQL held, read in RCU read-side critical sections */
static QLIST_HEAD(, AgeShared) list = QLIST_HEAD_INITIALIZER(list);

static AgeShared *shared_find(const char *id)
{
    AgeShared *s;

    QLIST_FOREACH_RCU(s, &list, next) {
        if (g_str_equal(s->id, id)) {
            return s;
        }
    }
    return NULL;
}

void *age_shared_find(const char *id, uint64_t *size)
{
    AgeShared *s;

    assert(age_in_rcu_read());
    s = shared_find(id);
    *size = s ? s->size : 0;
    return s ? s->host : NULL;
}

static HostMemoryBackend *find_backend(const char *id, Error **errp)
{
    Object *obj = object_resolve_path_component(object_get_objects_root(), id);
    HostMemoryBackend *backend;

    backend = (HostMemoryBackend *)object_dynamic_cast(obj,
                                                       TYPE_MEMORY_BACKEND);
    if (!backend) {
        error_setg(errp, "there is no memory backend '%s'; add one with "
                   "-object memory-backend-memfd,id=%s,size=...,share=on",
                   id, id);
    } else if (!backend->share) {
        error_setg(errp, "memory backend '%s' is not shared with anybody; "
                   "create it with share=on", id);
        backend = NULL;
    } else if (memory_region_is_rom(&backend->mr)) {
        error_setg(errp, "memory backend '%s' is read-only; create it with "
                   "readonly=off", id);
        backend = NULL;
    } else if (host_memory_backend_is_mapped(backend)) {
        error_setg(errp, "memory backend '%s' is in use already", id);
        backend = NULL;
    }
    return backend;
}

void qmp_age_share_memory(const char *id, Error **errp)
{
    HostMemoryBackend *backend;
    AgeShared *s;

    assert(bql_locked());
    if (!age_check_enabled(errp)) {
        return;
    }
    backend = find_backend(id, errp);
    if (!backend) {
        return;
    }
    s = g_new0(AgeShared, 1);
    s->id = g_strdup(id);
    s->backend = backend;
    s->host = memory_region_get_ram_ptr(&backend->mr);
    s->size = memory_region_size(&backend->mr);
    object_ref(OBJECT(backend));
    host_memory_backend_set_mapped(backend, true);
    QLIST_INSERT_HEAD_RCU(&list, s, next);
}

/* RCU callbacks run with the BQL held. */
static void shared_free(AgeShared *s)
{
    assert(bql_locked());
    object_unref(OBJECT(s->backend));
    g_free(s->id);
    g_free(s);
}

void qmp_age_unshare_memory(const char *id, Error **errp)
{
    AgeShared *s;

    assert(bql_locked());
    s = shared_find(id);
    if (!s) {
        error_setg(errp, "memory backend '%s' was not made known by "
                   "age-share-memory", id);
        return;
    }
    QLIST_REMOVE_RCU(s, next);
    host_memory_backend_set_mapped(s->backend, false);
    call_rcu(s, shared_free, rcu);
}
