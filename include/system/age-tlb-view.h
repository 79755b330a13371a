/*
 * The memory map whose section numbers are in a vCPU's TLB
 *
 * A mend of QEMU before 11.0, hooked into system/physmem.c; see
 * docs/devel/age-mends.rst.  A TLB entry of a device has the number of a
 * section, which means something in one map only.  A new map is published to
 * all vCPUs at once, but each flushes its TLB a little later.  Until then its
 * numbers are those of the old map, to which it therefore keeps a reference.
 *
 * Needs memory-internal.h, which is private to system/ in later releases.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_AGE_TLB_VIEW_H
#define SYSTEM_AGE_TLB_VIEW_H

/**
 * age_tlb_view_follow: go over to the map as it is now
 * @view: the map that the TLB of a vCPU is filled from, with a reference; NULL
 *     before the first one
 * @as: that address space
 *
 * The caller flushes the TLB before the vCPU goes on.
 *
 * Context: the vCPU's own thread, or any before that runs; BQL held.
 */
static inline void age_tlb_view_follow(FlatView **view, AddressSpace *as)
{
    FlatView *old = *view;

    *view = address_space_get_flatview(as);
    /* Frees it after a grace period: a fill may be under way further up. */
    if (old) {
        flatview_unref(old);
    }
}

/**
 * age_tlb_view_dispatch: where to look a section up, or its number
 * @view: as above
 * @as: as above
 *
 * Context: the vCPU's own thread.
 */
static inline AddressSpaceDispatch *age_tlb_view_dispatch(FlatView **view,
                                                          AddressSpace *as)
{
    /* A vCPU that fills its TLB before it was first told of a map */
    if (unlikely(!*view)) {
        *view = address_space_get_flatview(as);
    }
    return flatview_to_dispatch(*view);
}

#endif /* SYSTEM_AGE_TLB_VIEW_H */
