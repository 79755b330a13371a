/*
 * age-device: its interrupts
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "hw/pci/msix.h"
#include "age-device.h"
#include "trace.h"

void age_device_irq_update(AgeDevice *s)
{
    PCIDevice *pdev = PCI_DEVICE(s);

    assert(bql_locked());
    if (!msix_enabled(pdev)) {
        pci_set_irq(pdev, (s->irq_status & s->irq_enable) != 0);
    }
}

void age_device_irq_raise(AgeDevice *s, uint64_t causes)
{
    PCIDevice *pdev = PCI_DEVICE(s);

    assert(bql_locked());
    trace_age_device_irq(s->irq_status | causes, s->irq_enable);
    s->irq_status |= causes;
    if (!(causes & s->irq_enable)) {
        return;
    }
    if (msix_enabled(pdev)) {
        msix_notify(pdev, 0);
    } else {
        age_device_irq_update(s);
    }
}
