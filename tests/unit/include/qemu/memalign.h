/*
 * Stand-in for QEMU's header of the same name
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_MEMALIGN_H
#define QEMU_MEMALIGN_H

static inline void *qemu_memalign(size_t alignment, size_t size)
{
    void *p = aligned_alloc(alignment, size);

    g_assert_nonnull(p);
    return p;
}

#define qemu_vfree(p)   free(p)

#endif /* QEMU_MEMALIGN_H */
