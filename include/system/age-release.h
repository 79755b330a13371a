/*
 * Which release of QEMU this is built in
 *
 * For age-compat.h, and what is alike for tests.  Needs qemu/osdep.h, which has
 * the version.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_AGE_RELEASE_H
#define SYSTEM_AGE_RELEASE_H

#define AGE_QEMU_SINCE(major, minor) \
    (QEMU_VERSION_MAJOR > (major) || \
     (QEMU_VERSION_MAJOR == (major) && QEMU_VERSION_MINOR >= (minor)))

#endif /* SYSTEM_AGE_RELEASE_H */
