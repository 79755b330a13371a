/*
 * Where the libqtest of the releases of QEMU differs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_AGE_RELEASE_H
#define TESTS_AGE_RELEASE_H

#include "libqtest.h"
#include "system/age-release.h"

/* Start QEMU; neither QMP nor qtest are connected yet. */
static inline QTestState *age_qtest_start(const char *args)
{
#if AGE_QEMU_SINCE(10, 2)
    return qtest_init_ext(NULL, args, NULL, false);
#else
    return qtest_init_with_env_and_capabilities(NULL, args, NULL, false);
#endif
}

#endif /* TESTS_AGE_RELEASE_H */
