/*
 * Address spaces by their names, as commands have them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "accel/age/tcg/age-int.h"
#include "command.h"
#include "space.h"

/* Which there are, as the end of a sentence */
static char *list_spaces(const AgeMMU *mmu)
{
    unsigned num = age_mmu_num_spaces(mmu);
    GString *names = g_string_new(num ? "there are: " : "there are none, as no "
                                  "virtual CPU has come yet");

    for (unsigned i = 0; i < num; i++) {
        g_string_append_printf(names, "%s%s", i ? ", " : "",
                               mmu->space[i]->name);
    }
    return g_string_free(names, false);
}

AgeAddressSpace *age_space_find(const char *name, Error **errp)
{
    const AgeMMU *mmu = &age_state.mmu;
    g_autofree char *names = NULL;

    if (!age_check_enabled(errp)) {
        return NULL;
    }
    name = name ?: "memory";
    for (unsigned i = 0; i < age_mmu_num_spaces(mmu); i++) {
        if (g_str_equal(mmu->space[i]->name, name)) {
            return mmu->space[i];
        }
    }
    names = list_spaces(mmu);
    error_setg(errp, "there is no address space '%s'; %s", name, names);
    return NULL;
}

AgeRoot *age_space_root(const AgeAddressSpace *space)
{
    const AgePageTable *pt = &space->pt;
    const AgeFormat *fmt = age_pt_format(pt);
    AgeRoot *info = g_new0(AgeRoot, 1);
    AgeRegisters regs = fmt->registers(fmt, &pt->geo, pt->root);

    info->address_space = g_strdup(space->name);
    info->has_eptp = regs.eptp;
    info->eptp = regs.eptp;
    info->has_vttbr = regs.vttbr;
    info->vttbr = regs.vttbr;
    info->has_vtcr = regs.vtcr;
    info->vtcr = regs.vtcr;
    return info;
}
