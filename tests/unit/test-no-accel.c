/*
 * A host that can't have the accelerator: Windows, or one of 32 bits
 *
 * What is hooked into QEMU's own files must compile and link there without any
 * file of accel/age, and do nothing.  So this is built without CONFIG_AGE, and
 * for 32 bits as well where the compiler can.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "system/age.h"

#ifdef CONFIG_AGE
#error "this is for hosts without it"
#endif

static void test_hooks(void)
{
    uint8_t page[4096] = { 1 };

    age_discarded(page, sizeof(page));
    g_assert_cmpint(page[0], ==, 1);
    g_assert_false(age_enabled());
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/age/no-accel/hooks", test_hooks);
    return g_test_run();
}
