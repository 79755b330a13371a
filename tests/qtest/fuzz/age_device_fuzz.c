/*
 * Fuzzing targets: age-device, without and with its worker, and behind an IOMMU
 *
 * What a hostile guest can do to it, and what happens to devices beside that:
 * harvests, stops of the machine, migration of a state that somebody made up,
 * unplugging.  QEMU's generic target knows only the first of these.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/bswap.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "qemu/units.h"
#include "hw/age-device/age-device.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_host.h"
#include "io/channel-buffer.h"
#include "migration/qemu-file.h"
#include "migration/vmstate.h"
#include "system/age-compat.h"
#include "system/age.h"
#include "age_iommu_fuzz.h"
#include "fuzz.h"

#ifdef TARGET_AARCH64
#define MACHINE     "virt"
#define RAM_BASE    0x40000000ULL
#define BARS        0x10000000ULL
#else
/* Without ACPI's way of plugging, which knows no devices on the root bus. */
#define MACHINE     "q35 -global " \
                    "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"
#define RAM_BASE    0ULL
#define BARS        0xe0000000ULL
#endif

#define DEVFN       PCI_DEVFN(4, 0)
#define RAM_SIZE    (16 * MiB)
#define RAM_PAGES   (RAM_SIZE / 4096)
#define MSIX_BAR    (BARS + AGE_DEVICE_BAR_SIZE)

/* The input is an array of these, in the byte order of the host. */
typedef struct QEMU_PACKED Action {
    uint8_t op;
    uint8_t where;
    uint8_t shape;
    uint64_t value;
} Action;

/**
 * Variant: what makes one target another
 *
 * @worker: property of the device
 * @machine: properties of the machine
 * @args: further arguments of QEMU
 */
typedef struct Variant {
    bool worker;
    const char *machine;
    const char *args;
} Variant;

static const Variant *variant;
static AgeDevice *device;

/* A value that is worth a try: the fuzzer won't guess most of these. */
static uint64_t value_of(const Action *a)
{
    switch (a->shape % 8) {
    case 0:
        return a->value % 8;
    case 1:
        return a->value % (256 * KiB);
    case 2:
        return RAM_BASE + a->value % RAM_SIZE;
    case 3:
        /* Around the end of the memory */
        return RAM_BASE + RAM_SIZE + (int16_t)a->value;
    case 4:
        /* The device itself */
        return BARS + a->value % (2 * AGE_DEVICE_BAR_SIZE);
    case 5:
        return -(a->value % (256 * KiB));
    default:
        return a->value;
    }
}

/* Life */

static void config_write(uint32_t addr, uint32_t value, unsigned size)
{
    PCIDevice *pdev = PCI_DEVICE(device);

    pci_host_config_write_common(pdev, addr, pci_config_size(pdev), value,
                                 size);
}

/* What firmware and a driver would do. */
static void enable(void)
{
    config_write(PCI_BASE_ADDRESS_0, BARS, 4);
    config_write(PCI_BASE_ADDRESS_1, MSIX_BAR, 4);
    config_write(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
}

static void plug(void)
{
    Object *bus = object_resolve_path_type("", TYPE_PCIE_BUS, NULL);
    DeviceState *dev = qdev_new(TYPE_AGE_DEVICE);

    qdev_prop_set_int32(dev, "addr", DEVFN);
    qdev_prop_set_bit(dev, "worker", variant->worker);
    qdev_realize_and_unref(dev, BUS(bus), &error_abort);
    device = AGE_DEVICE(dev);
    enable();
}

static void unplug(void)
{
    object_unparent(OBJECT(device));
    device = NULL;
}

/* Actions of the guest */

static void op_write(const Action *a)
{
    hwaddr addr = BARS + a->where % (AGE_DEVICE_REGS_END / 8 + 1) * 8;
    uint8_t bytes[8];

    stq_le_p(bytes, value_of(a));
    address_space_write(&address_space_memory, addr, MEMTXATTRS_UNSPECIFIED,
                        bytes, sizeof(bytes));
}

static void op_write_some(const Action *a)
{
    hwaddr addr = BARS + a->where % AGE_DEVICE_REGS_END;
    uint8_t bytes[8];

    stq_le_p(bytes, a->value);
    address_space_write(&address_space_memory, addr, MEMTXATTRS_UNSPECIFIED,
                        bytes, 1 << a->shape % 4);
}

static void op_read(const Action *a)
{
    uint8_t bytes[8];

    address_space_read(&address_space_memory, BARS + a->where,
                       MEMTXATTRS_UNSPECIFIED, bytes, 1 << a->shape % 4);
}

static void write_register(unsigned reg, uint64_t value)
{
    Action a = { .where = reg / 8, .shape = 7, .value = value };

    op_write(&a);
}

static void op_start(const Action *a)
{
    write_register(AGE_DEVICE_CONTROL, AGE_DEVICE_CONTROL_START);
}

/* A job that makes sense, to be spoilt by what is written before and after */
static void op_job(const Action *a)
{
    write_register(AGE_DEVICE_CONTROL, AGE_DEVICE_CONTROL_STOP);
    write_register(AGE_DEVICE_COMMAND, 1 + a->where % 4);
    write_register(AGE_DEVICE_PATTERN, a->where / 4 % 3);
    write_register(AGE_DEVICE_SOURCE, RAM_BASE + a->value % RAM_SIZE);
    write_register(AGE_DEVICE_DESTINATION,
                   RAM_BASE + (a->value >> 24) % RAM_SIZE);
    write_register(AGE_DEVICE_LENGTH, 1 + (a->value >> 16) % (128 * KiB));
    write_register(AGE_DEVICE_COUNT, a->shape % 16);
    write_register(AGE_DEVICE_STRIDE, a->value >> 52);
    write_register(AGE_DEVICE_WINDOW, a->value >> 44);
    write_register(AGE_DEVICE_REPEAT, a->shape / 16 % 4);
    write_register(AGE_DEVICE_CONTROL, AGE_DEVICE_CONTROL_START);
}

static void op_config(const Action *a)
{
    unsigned size = 1 << a->where % 3;

    config_write(a->shape & ~(size - 1), a->value, size);
}

/* With where interrupts go, which may be the device itself */
static void op_msix(const Action *a)
{
    hwaddr addr = MSIX_BAR + a->where % 8 * 4;
    uint8_t bytes[4];

    stl_le_p(bytes, value_of(a));
    address_space_write(&address_space_memory, addr, MEMTXATTRS_UNSPECIFIED,
                        bytes, sizeof(bytes));
    config_write(PCI_DEVICE(device)->msix_cap + PCI_MSIX_FLAGS,
                 PCI_MSIX_FLAGS_ENABLE, 2);
}

/* The IOMMU; where there is none, nothing is done to what is there instead. */

static void op_iommu(const Action *a)
{
    switch (variant->machine ? a->where % 8 : 7) {
    case 0:
    case 1:
    case 2:
        age_fuzz_iommu_on(RAM_BASE, DEVFN, a->value);
        break;
    case 3:
        age_fuzz_iommu_off();
        break;
    case 4:
        age_fuzz_iommu_flush(RAM_BASE);
        break;
    case 5:
    case 6:
        age_fuzz_iommu_write(a->where / 8, value_of(a));
        break;
    default:
        break;
    }
}

/* Actions of others */

static void op_loop(const Action *a)
{
    for (unsigned i = 0; i <= a->where % 2; i++) {
        main_loop_wait(true);
    }
}

static void op_reset(const Action *a)
{
    device_cold_reset(DEVICE(device));
    enable();
}

static void op_machine(const Action *a)
{
    if (runstate_is_running()) {
        vm_stop(RUN_STATE_PAUSED);
    } else {
        vm_start();
    }
}

static void op_young(const Action *a)
{
    object_property_set_bool(OBJECT(device), "test-clear-young", a->where & 1,
                             &error_abort);
}

static void op_harvest(const Action *a)
{
    unsigned first = a->value % RAM_PAGES;
    unsigned pages = 1 + (a->value >> 16) % (RAM_PAGES - first);
    uint64_t ram = (uintptr_t)memory_region_get_ram_ptr(current_machine->ram);
    DECLARE_BITMAP(select, RAM_PAGES);
    DECLARE_BITMAP(young, RAM_PAGES);
    AgeYoung y = {
        .start = ram + first * 4096ULL,
        .end = ram + (first + pages) * 4096ULL,
        .select = a->shape & 1 ? select : NULL,
        .young = young,
    };

    memset(select, a->value >> 32, sizeof(select));
    bitmap_zero(young, RAM_PAGES);
    if (a->where % 4) {
        age_test_clear_young(&y, a->shape & 2, NULL, NULL);
    } else {
        age_clear_young(y.start, y.end);
    }
    g_assert(find_next_bit(young, RAM_PAGES, pages) == RAM_PAGES);
}

static void op_unplug(const Action *a)
{
    unplug();
    if (a->where % 32 == 0) {
        /* With it freed now, which takes long, and not sooner or later */
        drain_call_rcu();
    }
    plug();
}

/* Migration to itself, of a state in which up to four fields were replaced */

/* Our own fields are the last, of 8 bytes each, with those of MSI-X before. */
static void make_up(QIOChannelBuffer *buffer, const Action *a)
{
    for (unsigned i = 0; i <= a->where >> 6; i++) {
        size_t back = 8 * (1 + (a->where + i) % 23);

        g_assert(back <= buffer->usage);
        stq_be_p(buffer->data + buffer->usage - back, value_of(a));
    }
}

static void replug(void)
{
    unplug();
    plug();
}

static void op_migrate(const Action *a)
{
    const VMStateDescription *vmsd = DEVICE_GET_CLASS(device)->vmsd;
    QIOChannelBuffer *buffer = qio_channel_buffer_new(8 * KiB);
    QEMUFile *out = qemu_file_new_output(QIO_CHANNEL(buffer));
    QEMUFile *in = qemu_file_new_input(QIO_CHANNEL(buffer));
    bool running = runstate_is_running();

    vm_stop(RUN_STATE_PAUSED);
    /* The bus counts its interrupts, and is not migrated here. */
    age_device_pause(device);
    pci_set_irq(PCI_DEVICE(device), 0);
    vmstate_save_state(out, vmsd, device, NULL);
    qemu_fflush(out);
    make_up(buffer, a);
    buffer->offset = 0;
    replug();
    if (vmstate_load_state(in, vmsd, device, vmsd->version_id)) {
        /* QEMU would exit. */
        replug();
    }
    qemu_fclose(in);
    qemu_fclose(out);
    object_unref(OBJECT(buffer));
    if (running) {
        vm_start();
    }
}

/* Targets */

static void (*const ops[])(const Action *a) = {
    op_write, op_write, op_write, op_write, op_write_some, op_read, op_start,
    op_start, op_loop, op_msix, op_config, op_reset, op_machine, op_young,
    op_harvest, op_unplug, op_migrate, op_job, op_job, op_loop,
    op_iommu, op_iommu,
};

/*
 * Every job must end when it is told to, also if the machine stops before it
 * does so.  If not, libFuzzer's alarm goes off.
 */
static void finish(void)
{
    vm_start();
    age_device_stop(device);
    age_device_pause(device);
    age_device_resume(device);
    while (device->status & AGE_DEVICE_STATUS_BUSY) {
        main_loop_wait(true);
    }
}

/* The IOMMU is on to begin with: mapped as the input's first bytes say. */
static void start_iommu(const unsigned char *data, size_t size)
{
    uint64_t seed = 0;

    memcpy(&seed, data, MIN(size, sizeof(seed)));
    age_fuzz_iommu_on(RAM_BASE, DEVFN, seed);
}

static void fuzz(QTestState *s, const unsigned char *data, size_t size)
{
    enable();
    if (variant->machine) {
        start_iommu(data, size);
    }
    for (; size >= sizeof(Action); size -= sizeof(Action)) {
        Action a;

        memcpy(&a, data, sizeof(a));
        data += sizeof(a);
        ops[a.op % ARRAY_SIZE(ops)](&a);
    }
    finish();
    fuzz_reset(s);
}

static void pre_fuzz(QTestState *s)
{
    sigset_t alarm;

    /* QEMU blocks it, but it is how libFuzzer notices that we hang. */
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
    plug();
}

static GString *command_line(FuzzTarget *t)
{
    GString *line = g_string_new(TARGET_NAME);

    variant = t->opaque;
    g_string_append_printf(line, " -accel qtest -nodefaults -display none"
                           " -m %u%s -machine " MACHINE "%s",
                           (unsigned)(RAM_SIZE / MiB), variant->args,
                           variant->machine ?: "");
    return line;
}

static Variant plain = { .args = "" };
static Variant with_worker = { .worker = true, .args = "" };
static Variant with_iommu = {
    .worker = true,
    .machine = AGE_FUZZ_IOMMU_MACHINE,
    .args = AGE_FUZZ_IOMMU_DEVICE,
};

static void register_target(const char *name, const char *description,
                            Variant *v)
{
    fuzz_add_target(&(FuzzTarget) {
        .name = name,
        .description = description,
        .get_init_cmdline = command_line,
        .pre_fuzz = pre_fuzz,
        .fuzz = fuzz,
        .opaque = v,
    });
}

static void register_targets(void)
{
    register_target("age-device", "age-device and what happens beside it",
                    &plain);
    register_target("age-device-worker", "the same with worker=on",
                    &with_worker);
    register_target("age-device-iommu", "the same behind an IOMMU",
                    &with_iommu);
}

fuzz_target_init(register_targets);
