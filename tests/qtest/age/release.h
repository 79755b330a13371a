/*
 * Where the libqtest of the releases of QEMU differs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_AGE_RELEASE_H
#define TESTS_AGE_RELEASE_H

#include "libqtest.h"
#include "system/age-release.h"

/* Start QEMU with these capabilities of QMP; NULL for none */
static inline QTestState *age_qtest_init(const char *args, QList *capabilities)
{
#if AGE_QEMU_SINCE(10, 2)
    return qtest_init_ext(NULL, args, capabilities, true);
#else
    return qtest_init_with_env_and_capabilities(NULL, args, capabilities,
                                                true);
#endif
}

#endif /* TESTS_AGE_RELEASE_H */
