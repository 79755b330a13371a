/*
 * The reaper where nothing may run beside the players of weak-memory.h
 *
 * Stands in for accel/age/pt/reaper.c: what it is asked for is done at once.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "accel/age/pt/reaper.h"

void age_reap(AgeReap *reap, void (*func)(AgeReap *reap))
{
    func(reap);
}
