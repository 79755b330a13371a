/*
 * Stand-in for QEMU's header of the same name: no list is ever made
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_QUEUE_H
#define QEMU_QUEUE_H

#define QLIST_ENTRY(type) \
    struct {              \
        type *le_next;    \
        type **le_prev;   \
    }

#endif /* QEMU_QUEUE_H */
