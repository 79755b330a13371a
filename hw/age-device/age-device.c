/*
 * age-device: a PCI device that does DMA through a second stage of its own
 *
 * The accessed bits of that are harvested with those of the virtual CPUs, so
 * this makes memory young without guest code, to the page.  See
 * docs/specs/age-device.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/module.h"
#include "qapi/error.h"
#include "hw/pci/msix.h"
#include "hw/pci/pci_bus.h"
#include "migration/vmstate.h"
#include "system/age-compat.h"
#include "age-device.h"

#define MSIX_BAR        1
#define EXPRESS_CAP     0xa0

/* Migration: the job rests, and goes on where it was. */

static int pre_save(void *opaque)
{
    /* One that was started while the machine was stopped still runs. */
    age_device_pause(opaque);
    return 0;
}

/* What is loaded takes the place of all that there was. */
static int pre_load(void *opaque)
{
    age_device_abort(opaque);
    return 0;
}

/* A job that goes on may be anywhere but behind its end. */
static bool progress_valid(AgeDevice *s)
{
    AgeEngine *e = &s->engine;
    AgeProgress *p = &e->progress;

    return (!p->offset && !p->step) ||
           (p->offset < *age_engine_param(e, AGE_DEVICE_LENGTH) &&
            p->step < *age_engine_param(e, AGE_DEVICE_COUNT));
}

static int post_load(void *opaque, int version_id)
{
    AgeDevice *s = opaque;

    if ((s->status & AGE_DEVICE_STATUS_BUSY) && !progress_valid(s)) {
        s->status = 0;
        return -EINVAL;
    }
    age_device_loaded(s);
    s->irq_status &= AGE_DEVICE_IRQ_ALL;
    s->irq_enable &= AGE_DEVICE_IRQ_ALL;
    return 0;
}

static const VMStateDescription vmstate_age_device = {
    .name = TYPE_AGE_DEVICE,
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_save = pre_save,
    .pre_load = pre_load,
    .post_load = post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_PCI_DEVICE(parent_obj, AgeDevice),
        VMSTATE_MSIX(parent_obj, AgeDevice),
        VMSTATE_UINT64(status, AgeDevice),
        VMSTATE_UINT64(irq_status, AgeDevice),
        VMSTATE_UINT64(irq_enable, AgeDevice),
        VMSTATE_UINT64_ARRAY(engine.param, AgeDevice, AGE_DEVICE_NUM_PARAMS),
        VMSTATE_UINT64(engine.progress.pass, AgeDevice),
        VMSTATE_UINT64(engine.progress.step, AgeDevice),
        VMSTATE_UINT64(engine.progress.offset, AgeDevice),
        VMSTATE_UINT64(engine.progress.bytes, AgeDevice),
        VMSTATE_UINT64(engine.progress.steps, AgeDevice),
        VMSTATE_UINT64(engine.progress.checksum, AgeDevice),
        VMSTATE_UINT64(engine.progress.error_address, AgeDevice),
        VMSTATE_END_OF_LIST()
    }
};

/* No memory may change while the machine is stopped, as it is saved then. */
static void vm_state_changed(void *opaque, bool running, RunState state)
{
    AgeDevice *s = opaque;

    if (running) {
        age_device_resume(s);
    } else {
        age_device_pause(s);
    }
}

/* Life */

static void age_device_reset_hold(Object *obj, ResetType type)
{
    AgeDevice *s = AGE_DEVICE(obj);

    age_device_abort(s);
    age_engine_reset(&s->engine);
    s->irq_status = 0;
    s->irq_enable = 0;
    age_device_irq_update(s);
}

static bool create_mmu(AgeDevice *s, Error **errp)
{
    g_autofree char *path = object_get_canonical_path(OBJECT(s));

    /* No id looks like a path. */
    s->engine.mmu = age_dma_new(DEVICE(s)->id ?: path,
                                pci_get_address_space(PCI_DEVICE(s)), errp);
    if (!s->engine.mmu) {
        return false;
    }
    age_dma_set_test_clear_young(s->engine.mmu, s->test_clear_young);
    return true;
}

static bool init_capabilities(PCIDevice *pdev, Error **errp)
{
    pci_config_set_interrupt_pin(pdev->config, 1);
    if (pci_bus_is_express(pci_get_bus(pdev)) &&
        pcie_endpoint_cap_init(pdev, EXPRESS_CAP) < 0) {
        error_setg(errp, "no room for the PCI Express capability");
        return false;
    }
    if (msix_init_exclusive_bar(pdev, 1, MSIX_BAR, errp)) {
        return false;
    }
    msix_vector_use(pdev, 0);
    return true;
}

static void age_device_realize(PCIDevice *pdev, Error **errp)
{
    AgeDevice *s = AGE_DEVICE(pdev);

    if (!init_capabilities(pdev, errp)) {
        return;
    }
    if (!create_mmu(s, errp)) {
        msix_uninit_exclusive_bar(pdev);
        return;
    }
    memory_region_init_io(&s->mmio, OBJECT(s), &age_device_mmio_ops, s,
                          TYPE_AGE_DEVICE, AGE_DEVICE_BAR_SIZE);
    pci_register_bar(pdev, 0, PCI_BASE_ADDRESS_SPACE_MEMORY, &s->mmio);
    age_device_runner_realize(s);
    s->vm_state = age_add_vm_change_state_handler(DEVICE(s), vm_state_changed,
                                                  s);
}

static void age_device_exit(PCIDevice *pdev)
{
    AgeDevice *s = AGE_DEVICE(pdev);

    qemu_del_vm_change_state_handler(s->vm_state);
    age_device_runner_unrealize(s);
    msix_uninit_exclusive_bar(pdev);
    age_dma_free(s->engine.mmu);
    s->engine.mmu = NULL;
}

static bool get_test_clear_young(Object *obj, Error **errp)
{
    return AGE_DEVICE(obj)->test_clear_young;
}

static void set_test_clear_young(Object *obj, bool value, Error **errp)
{
    AgeDevice *s = AGE_DEVICE(obj);

    s->test_clear_young = value;
    if (s->engine.mmu) {
        age_dma_set_test_clear_young(s->engine.mmu, value);
    }
}

static void age_device_instance_init(Object *obj)
{
    AgeDevice *s = AGE_DEVICE(obj);

    /* It is a conventional device where there is no PCI Express. */
    PCI_DEVICE(obj)->cap_present |= QEMU_PCI_CAP_EXPRESS;
    s->test_clear_young = true;
    age_engine_init(&s->engine);
    age_device_runner_init(s);
}

static void age_device_instance_finalize(Object *obj)
{
    AgeDevice *s = AGE_DEVICE(obj);

    age_device_runner_finalize(s);
    age_engine_cleanup(&s->engine);
}

static const Property age_device_properties[] = {
    DEFINE_PROP_BOOL("worker", AgeDevice, worker, false),
};

/* When MSI-X is turned off, the pin has to tell of what waits, and back. */
static void age_device_config_write(PCIDevice *pdev, uint32_t addr,
                                    uint32_t value, int size)
{
    bool msix = msix_enabled(pdev);

    pci_default_write_config(pdev, addr, value, size);
    if (msix != msix_enabled(pdev)) {
        age_device_irq_update(AGE_DEVICE(pdev));
    }
}

static void age_device_class_init(ObjectClass *klass, AgeClassData *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *pc = PCI_DEVICE_CLASS(klass);

    pc->realize = age_device_realize;
    pc->exit = age_device_exit;
    pc->config_write = age_device_config_write;
    pc->vendor_id = PCI_VENDOR_ID_REDHAT_QUMRANET;
    pc->device_id = AGE_DEVICE_PCI_ID;
    pc->revision = 1;
    pc->class_id = PCI_CLASS_OTHERS;
    dc->desc = "DMA with accessed bits";
    dc->vmsd = &vmstate_age_device;
    RESETTABLE_CLASS(klass)->phases.hold = age_device_reset_hold;
    device_class_set_props(dc, age_device_properties);
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    object_class_property_add_bool(klass, "test-clear-young",
                                   get_test_clear_young, set_test_clear_young);
    object_class_property_set_description(klass, "test-clear-young",
                                          "answer for single pages");
}

static const TypeInfo age_device_info = {
    .name = TYPE_AGE_DEVICE,
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(AgeDevice),
    .instance_init = age_device_instance_init,
    .instance_finalize = age_device_instance_finalize,
    .class_init = age_device_class_init,
    .interfaces = (InterfaceInfo[]) {
        { INTERFACE_PCIE_DEVICE },
        { INTERFACE_CONVENTIONAL_PCI_DEVICE },
        { }
    },
};

static void age_device_register_types(void)
{
    type_register_static(&age_device_info);
}

type_init(age_device_register_types)
