/*
 * What functions demand of their callers, looked at while they run
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_PT_CONTRACT_H
#define ACCEL_AGE_PT_CONTRACT_H

#include "qemu/rcu.h"

/*
 * Is this thread in an RCU read-side critical section?  That RCU knows of the
 * thread (rcu_register_thread()) is not seen here.
 */
static inline bool age_in_rcu_read(void)
{
    return get_ptr_rcu_reader()->depth > 0;
}

/*
 * For what is called at each TLB fill, which pays for it in a debug build only
 * (--enable-debug-tcg)
 */
#ifdef CONFIG_DEBUG_TCG
#define age_debug_assert(x) g_assert(x)
#else
#define age_debug_assert(x) ((void)sizeof(x))
#endif

#endif /* ACCEL_AGE_PT_CONTRACT_H */
