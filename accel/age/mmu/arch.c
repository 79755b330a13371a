/*
 * What the architecture of the guest decides, in one table
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/cpu.h"
#include "arch.h"

static const AgeArch archs[] = {
    {
        .targets = { "x86_64", "i386" },
        .hw_ad = &age_format_ept,
        .no_ad = &age_format_ept_no_ad,
        .min_levels = 4,
        .max_levels = 5,
        .space_names = { "memory", "smm" },
    },
    {
        .targets = { "aarch64", "arm" },
        .hw_ad = &age_format_stage2,
        .no_haft = &age_format_stage2_no_haft,
        .no_ad = &age_format_stage2_no_ad,
        .min_levels = 2,
        .max_levels = 4,
        .space_names = { "memory", "secure" },
        .can_be_protected = true,
    },
};

const AgeArch *age_arch(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(archs); i++) {
        if (g_strv_contains(archs[i].targets, target_name())) {
            return &archs[i];
        }
    }
    return NULL;
}

const AgeFormat *age_arch_format(const AgeArch *arch, bool hw_ad, bool haft)
{
    if (!hw_ad) {
        return arch->no_ad;
    }
    return haft || !arch->no_haft ? arch->hw_ad : arch->no_haft;
}
