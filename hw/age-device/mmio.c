/*
 * age-device: its registers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/log.h"
#include "age-device.h"
#include "trace.h"

/* Registers; accesses to half of one are a matter of those who call these */

static bool is_param(hwaddr reg)
{
    return reg >= AGE_DEVICE_COMMAND && reg <= AGE_DEVICE_REPEAT;
}

static uint64_t read_features(AgeDevice *s)
{
    return (age_device_has_worker(s) ? AGE_DEVICE_FEATURE_WORKER : 0) |
           (s->test_clear_young ? AGE_DEVICE_FEATURE_YOUNG : 0);
}

static uint64_t read_result(AgeDevice *s, hwaddr reg)
{
    AgeProgress p = age_engine_progress(&s->engine);

    switch (reg) {
    case AGE_DEVICE_BYTES:
        return p.bytes;
    case AGE_DEVICE_STEPS:
        return p.steps;
    case AGE_DEVICE_CHECKSUM:
        return p.checksum;
    case AGE_DEVICE_ERROR_ADDRESS:
        return p.error_address;
    default:
        return 0;
    }
}

static uint64_t read_register(AgeDevice *s, hwaddr reg)
{
    if (is_param(reg)) {
        return *age_engine_param(&s->engine, reg);
    }
    switch (reg) {
    case AGE_DEVICE_ID:
        return AGE_DEVICE_ID_VALUE;
    case AGE_DEVICE_FEATURES:
        return read_features(s);
    case AGE_DEVICE_STATUS:
        return s->status;
    case AGE_DEVICE_IRQ_STATUS:
        return s->irq_status;
    case AGE_DEVICE_IRQ_ENABLE:
        return s->irq_enable;
    default:
        return read_result(s, reg);
    }
}

static void guest_error(hwaddr reg, const char *what)
{
    qemu_log_mask(LOG_GUEST_ERROR, "%s: register 0x%" HWADDR_PRIx ": %s\n",
                  TYPE_AGE_DEVICE, reg, what);
}

static void write_param(AgeDevice *s, hwaddr reg, uint64_t value,
                        uint64_t mask)
{
    uint64_t *param = age_engine_param(&s->engine, reg);

    if (s->status & AGE_DEVICE_STATUS_BUSY) {
        guest_error(reg, "written while busy");
        return;
    }
    *param = (*param & ~mask) | (value & mask);
}

static void write_control(AgeDevice *s, uint64_t value)
{
    if (value & AGE_DEVICE_CONTROL_STOP) {
        age_device_stop(s);
    } else if (value & AGE_DEVICE_CONTROL_START) {
        age_device_start(s);
    }
}

/* @mask has the bits that the access covers; the others of @value are 0. */
static void write_register(AgeDevice *s, hwaddr reg, uint64_t value,
                           uint64_t mask)
{
    switch (reg) {
    case AGE_DEVICE_CONTROL:
        write_control(s, value);
        break;
    case AGE_DEVICE_IRQ_STATUS:
        s->irq_status &= ~value;
        age_device_irq_update(s);
        break;
    case AGE_DEVICE_IRQ_ENABLE:
        s->irq_enable = ((s->irq_enable & ~mask) | value) & AGE_DEVICE_IRQ_ALL;
        age_device_irq_update(s);
        break;
    default:
        if (is_param(reg)) {
            write_param(s, reg, value, mask);
        } else {
            guest_error(reg, "not writable");
        }
    }
}

/* Accesses: aligned, of 4 or 8 bytes */

static uint64_t mmio_read(void *opaque, hwaddr addr, unsigned size)
{
    uint64_t value;

    if (!qdev_is_realized(DEVICE(opaque))) {
        /* A vCPU was on its way here while the device was unplugged. */
        return -1;
    }
    value = read_register(opaque, addr & ~7);
    value = extract64(value, addr % 8 * 8, size * 8);
    trace_age_device_read(addr, size, value);
    return value;
}

static void mmio_write(void *opaque, hwaddr addr, uint64_t value,
                       unsigned size)
{
    unsigned shift = addr % 8 * 8;
    uint64_t mask = MAKE_64BIT_MASK(shift, size * 8);

    trace_age_device_write(addr, size, value);
    if (!qdev_is_realized(DEVICE(opaque))) {
        /* Likewise */
        return;
    }
    write_register(opaque, addr & ~7, value << shift & mask, mask);
}

const MemoryRegionOps age_device_mmio_ops = {
    .read = mmio_read,
    .write = mmio_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = {
        .min_access_size = 4,
        .max_access_size = 8,
    },
    .impl = {
        .min_access_size = 4,
        .max_access_size = 8,
    },
};
