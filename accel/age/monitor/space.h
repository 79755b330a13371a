/*
 * Address spaces by their names, as commands have them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MONITOR_SPACE_H
#define ACCEL_AGE_MONITOR_SPACE_H

#include "qapi/qapi-types-age.h"
#include "accel/age/mmu/mmu.h"

/**
 * age_space_find: an address space of the virtual CPUs
 * @name: its name; NULL for the one that they normally use
 * @errp: set if there is none, or if the accelerator is not in use
 *
 * Returns: NULL on error.
 * Context: any thread.
 */
AgeAddressSpace *age_space_find(const char *name, Error **errp);

/**
 * age_space_root: what registers would say of an address space
 * @space: the address space
 *
 * Returns: a description that the caller frees.
 * Context: any thread.
 */
AgeRoot *age_space_root(const AgeAddressSpace *space);

#endif /* ACCEL_AGE_MONITOR_SPACE_H */
