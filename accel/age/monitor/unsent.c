/*
 * What a client has asked for and not read
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/units.h"
#include "monitor/monitor-internal.h"
#include "qapi/error.h"
#include "unsent.h"

#define MAX_UNSENT  (16 * MiB)

bool age_check_unsent(Error **errp)
{
    Monitor *mon = monitor_cur();
    size_t unsent = 0;

    if (mon) {
        QEMU_LOCK_GUARD(&mon->mon_lock);
        unsent = mon->outbuf->len;
    }
    if (unsent > MAX_UNSENT) {
        error_setg(errp, "%zu bytes of earlier answers were not read yet; read "
                   "them before the next command", unsent);
        return false;
    }
    return true;
}
