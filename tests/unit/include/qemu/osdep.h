/*
 * Stand-in for QEMU's header of the same name
 *
 * The formats, the page table and the harvest are built with GLib alone for
 * the unit tests and the table benchmark.  The headers in this folder give
 * them the few names of QEMU's that they use, with QEMU's meanings.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_OSDEP_H
#define QEMU_OSDEP_H

#include <assert.h>
#include <glib.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct Error Error;

#define container_of(ptr, type, member) \
    ((type *)((char *)(ptr) - offsetof(type, member)))

#endif /* QEMU_OSDEP_H */
