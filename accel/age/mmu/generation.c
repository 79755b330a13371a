/*
 * Loads of the machine's state
 *
 * A snapshot that is loaded, or a guest that comes by migration, has memory
 * that was not accessed through our tables.  What was accessed before is of a
 * past that did not happen.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/atomic.h"
#include "qapi/error.h"
#include "migration/register.h"
#include "migration/vmstate.h"
#include "system/age.h"
#include "generation.h"
#include "history.h"
#include "accel/age/trace.h"

static uint64_t generation = 1;

uint64_t age_generation(void)
{
    /* Pairs with load_setup(): what comes after sees that all is forgotten. */
    return qatomic_load_acquire(&generation);
}

/*
 * In the main thread with the BQL held, before the first byte of memory is
 * loaded.  Neither vCPUs nor devices access memory by then, and vCPUs do not
 * before the load has ended or, with postcopy, has come to the memory that is
 * sent later; so what this leaves old stays old until the guest runs on.  TLBs
 * are flushed when the vCPUs' own state is loaded, and, as that may fail before
 * it comes to them, on request of the subscriber.
 */
static int load_setup(QEMUFile *f, void *opaque, Error **errp)
{
    assert(bql_locked());
    age_forget();
    age_history_loaded();
    qatomic_store_release(&generation, generation + 1);
    trace_age_loaded(generation);
    return 0;
}

/* Saves nothing, so that a state has no part that other accelerators lack. */
static const SaveVMHandlers load_handlers = {
    .load_setup = load_setup,
};

void age_load_init(void)
{
    assert(bql_locked());
    register_savevm_live("age", VMSTATE_INSTANCE_ID_ANY, 1, &load_handlers,
                         NULL);
}
