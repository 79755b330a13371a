/*
 * What the commands have in common: may they begin, and when did they
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "monitor/monitor-internal.h"
#include "qapi/error.h"
#include "system/replay.h"
#include "accel/age/mmu/generation.h"
#include "accel/age/tcg/age-int.h"
#include "accel/age/tcg/flush.h"
#include "command.h"

/* Bytes of answers that may wait for their client */
#define MAX_UNSENT  (16 * MiB)

bool age_check_enabled(Error **errp)
{
    if (!age_enabled()) {
        error_setg(errp, "the accelerator is not in use; start QEMU with "
                   "-accel age");
        return false;
    }
    return true;
}

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

bool age_parse_flush(bool has_flush, AgeFlush *flush, Error **errp)
{
    if (!has_flush) {
        *flush = age_state.flush;
    }
    if (*flush == AGE_FLUSH_REQUEST && replay_mode != REPLAY_MODE_NONE) {
        error_setg(errp, "TLBs can't be flushed under record/replay; use "
                   "\"flush\": \"none\"");
        return false;
    }
    return true;
}

void age_pass_begin(AgePass *pass)
{
    pass->generation = age_generation();
    pass->begin_ns = get_clock();
}

void age_pass_end(AgePass *pass, AgeFlush flush)
{
    if (flush == AGE_FLUSH_REQUEST) {
        age_flush_request();
    }
    pass->end_ns = get_clock();
    pass->flush_pending = age_flush_pending();
}
