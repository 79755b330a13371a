/*
 * age-device as a node of libqos: on every machine with a PCI bus
 *
 * The graph of libqos has the machines pc and virt; those that it lacks are
 * nodes of this file.  There is no guest, and no accelerator unless a test asks
 * for it.  What the device does in depth is the matter of other tests.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "hw/pci/pci_regs.h"
#include "libqos/generic-pcihost.h"
#include "libqos/libqos-malloc.h"
#include "libqos/pci-pc.h"
#include "libqos/qgraph.h"
#include "device.h"
#include "qmp.h"

#define SLOT        4
#define VENDOR_ID   0x1af4
#define MEMORY      (1 * MiB)

/* The device */

/**
 * QAgeDevice: the node
 *
 * @obj: for the graph
 * @pci: the PCI function
 * @regs: where its registers are
 * @d: for the functions of age/device.h that access registers
 */
typedef struct QAgeDevice {
    QOSGraphObject obj;
    QPCIDevice pci;
    QPCIBar regs;
    AgeDev d;
} QAgeDevice;

static void *age_device_get_driver(void *obj, const char *interface)
{
    QAgeDevice *q = obj;

    if (g_str_equal(interface, "pci-device")) {
        return &q->pci;
    }
    g_assert_cmpstr(interface, ==, "age-device");
    return q;
}

static void age_device_start_hw(QOSGraphObject *obj)
{
    QAgeDevice *q = container_of(obj, QAgeDevice, obj);

    qpci_device_enable(&q->pci);
}

static void *age_device_create(void *bus, QGuestAllocator *alloc, void *addr)
{
    QAgeDevice *q = g_new0(QAgeDevice, 1);

    qpci_device_init(&q->pci, bus, addr);
    q->regs = qpci_iomap(&q->pci, 0, NULL);
    q->d.qts = q->pci.bus->qts;
    q->d.bar = q->regs.addr;
    q->d.memory = guest_alloc(alloc, MEMORY);
    q->d.end = q->d.memory + MEMORY;
    q->obj.get_driver = age_device_get_driver;
    q->obj.start_hw = age_device_start_hw;
    return q;
}

static void add_device(const char *name, const char *args)
{
    QOSGraphEdgeOptions options = { .extra_device_opts = args };

    add_qpci_address(&options, &(QPCIAddress) {
        .devfn = QPCI_DEVFN(SLOT, 0),
        .vendor_id = VENDOR_ID,
        .device_id = AGE_DEVICE_PCI_ID,
    });
    qos_node_create_driver_named(name, "age-device", age_device_create);
    qos_node_consumes(name, "pci-bus", &options);
    qos_node_produces(name, "pci-device");
    qos_node_produces(name, "age-device");
}

/* Machines */

/**
 * Board: where a machine has what tests need
 *
 * @name: as the graph calls it
 * @args: further properties of the machine
 * @bus: node of its PCI bus
 * @ram: memory from there on is free for tests
 * @ecam: configuration space, unless it is behind I/O ports
 * @mmio: window for BARs
 */
typedef struct Board {
    const char *name;
    const char *args;
    const char *bus;
    uint64_t ram;
    uint64_t ecam;
    uint64_t mmio;
} Board;

#define RAM_SIZE    (64 * MiB)

static const Board boards[] = {
    { "x86_64/q35", NULL, "pci-bus-pc", 16 * MiB },
    { "x86_64/microvm", "pcie=on", "pci-bus-generic", 16 * MiB,
      0xe0000000, 0xc0000000 },
    { "aarch64/sbsa-ref", NULL, "pci-bus-generic", 0x10000000000, 0xf0000000,
      0x80000000 },
};

typedef struct QBoard {
    QOSGraphObject obj;
    QGuestAllocator alloc;
    QPCIBusPC pc;
    QGenericPCIBus generic;
} QBoard;

static void *board_get_driver(void *obj, const char *interface)
{
    QBoard *b = obj;

    g_assert_cmpstr(interface, ==, "memory");
    return &b->alloc;
}

static QOSGraphObject *board_get_device(void *obj, const char *device)
{
    QBoard *b = obj;

    return g_str_equal(device, "pci-bus-pc") ? &b->pc.obj : &b->generic.obj;
}

static void board_destroy(QOSGraphObject *obj)
{
    alloc_destroy(&container_of(obj, QBoard, obj)->alloc);
}

static QBoard *board_create(QTestState *qts, const Board *board)
{
    QBoard *b = g_new0(QBoard, 1);

    alloc_init(&b->alloc, 0, board->ram, board->ram + RAM_SIZE, AGE_PAGE);
    qpci_init_pc(&b->pc, qts, &b->alloc);
    qpci_init_generic(&b->generic, qts, &b->alloc, false);
    b->generic.ecam_alloc_ptr = board->ecam;
    b->generic.bus.mmio_alloc_ptr = board->mmio;
    b->generic.bus.mmio_limit = board->mmio + 256 * MiB;
    b->obj.get_device = board_get_device;
    b->obj.get_driver = board_get_driver;
    b->obj.destructor = board_destroy;
    return b;
}

static void *q35_create(QTestState *qts)
{
    return board_create(qts, &boards[0]);
}

static void *microvm_create(QTestState *qts)
{
    return board_create(qts, &boards[1]);
}

static void *sbsa_ref_create(QTestState *qts)
{
    return board_create(qts, &boards[2]);
}

static void register_boards(void)
{
    const QOSCreateMachineFunc create[] = {
        q35_create, microvm_create, sbsa_ref_create,
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(boards); i++) {
        qos_node_create_machine_args(boards[i].name, create[i],
                                     boards[i].args);
        qos_node_contains(boards[i].name, boards[i].bus, NULL);
    }
}

/* Tests */

static void test_identify(void *obj, void *data, QGuestAllocator *alloc)
{
    QAgeDevice *q = obj;

    g_assert_cmphex(qpci_config_readw(&q->pci, PCI_VENDOR_ID), ==, VENDOR_ID);
    g_assert_cmphex(qpci_config_readw(&q->pci, PCI_DEVICE_ID), ==,
                    AGE_DEVICE_PCI_ID);
    g_assert_cmphex(qpci_config_readb(&q->pci, PCI_INTERRUPT_PIN), ==, 1);
    g_assert_cmphex(qpci_find_capability(&q->pci, PCI_CAP_ID_MSIX, 0), !=, 0);
    g_assert_cmphex(qpci_io_readq(&q->pci, q->regs, AGE_DEVICE_ID), ==,
                    AGE_DEVICE_ID_VALUE);
    g_assert_cmphex(qpci_io_readl(&q->pci, q->regs, AGE_DEVICE_ID + 4), ==,
                    AGE_DEVICE_ID_VALUE >> 32);
}

/* Write words that count up, copy them, and read them. */
static void test_dma(void *obj, void *data, QGuestAllocator *alloc)
{
    AgeDev *d = &((QAgeDevice *)obj)->d;
    uint64_t to = d->memory + 512 * KiB, sum;

    age_dev_setup(d, AGE_DEVICE_COMMAND_WRITE, d->memory, 100000, 3);
    age_dev_set(d, AGE_DEVICE_FILL, 1000);
    age_dev_do(d);
    age_dev_setup(d, AGE_DEVICE_COMMAND_COPY, d->memory, 300000, 1);
    age_dev_set(d, AGE_DEVICE_DESTINATION, to);
    age_dev_do(d);
    sum = age_dev_get(d, AGE_DEVICE_CHECKSUM);
    for (unsigned i = 0; i < 300000 / 8; i += 500) {
        g_assert_cmphex(qtest_readq(d->qts, to + 8 * i), ==, 1000 + i);
    }
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, to, 300000, 1);
    age_dev_do(d);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_CHECKSUM), ==, sum);
    g_assert_cmpuint(age_dev_get(d, AGE_DEVICE_BYTES), ==, 300000);
}

static bool intx(QAgeDevice *q)
{
    return qpci_config_readw(&q->pci, PCI_STATUS) & PCI_STATUS_INTERRUPT;
}

static void test_interrupt(void *obj, void *data, QGuestAllocator *alloc)
{
    QAgeDevice *q = obj;
    AgeDev *d = &q->d;

    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, d->memory, 8, 1);
    age_dev_set(d, AGE_DEVICE_IRQ_ENABLE, AGE_DEVICE_IRQ_DONE);
    g_assert(!intx(q));
    age_dev_do(d);
    g_assert(intx(q));
    age_dev_set(d, AGE_DEVICE_IRQ_STATUS, AGE_DEVICE_IRQ_DONE);
    g_assert(!intx(q));

    /* With MSI-X there is a message; this vector is masked and keeps it. */
    qpci_msix_enable(&q->pci);
    g_assert_cmpuint(qpci_msix_table_size(&q->pci), ==, 1);
    g_assert(!qpci_msix_pending(&q->pci, 0));
    age_dev_do(d);
    g_assert(qpci_msix_masked(&q->pci, 0));
    g_assert(qpci_msix_pending(&q->pci, 0));
    g_assert(!intx(q));
    qpci_msix_disable(&q->pci);
}

/* A job that does not end is dropped, and nothing is left of it. */
static void test_reset(void *obj, void *data, QGuestAllocator *alloc)
{
    QAgeDevice *q = obj;
    AgeDev *d = &q->d;

    age_dev_setup(d, AGE_DEVICE_COMMAND_FILL, d->memory, 64 * KiB, 16);
    age_dev_set(d, AGE_DEVICE_IRQ_ENABLE, AGE_DEVICE_IRQ_ALL);
    age_dev_set(d, AGE_DEVICE_REPEAT, 0);
    age_dev_go(d);
    age_dev_wait_bytes(d, MEMORY);
    qtest_system_reset(d->qts);
    g_assert_cmphex(qpci_config_readw(&q->pci, PCI_COMMAND) &
                    PCI_COMMAND_MASTER, ==, 0);
    q->regs = qpci_iomap(&q->pci, 0, NULL);
    d->bar = q->regs.addr;
    qpci_device_enable(&q->pci);
    for (unsigned reg = AGE_DEVICE_STATUS; reg < AGE_DEVICE_REGS_END;
         reg += 8) {
        bool one = reg == AGE_DEVICE_COUNT || reg == AGE_DEVICE_REPEAT;

        g_assert_cmphex(age_dev_get(d, reg), ==, reg == AGE_DEVICE_CHECKSUM ?
                        AGE_DEVICE_CHECKSUM_START : one);
    }
}

static void test_bad_values(void *obj, void *data, QGuestAllocator *alloc)
{
    AgeDev *d = &((QAgeDevice *)obj)->d;

    age_dev_fail(d, AGE_DEVICE_CODE_INVALID);
    for (unsigned reg = AGE_DEVICE_COMMAND; reg <= AGE_DEVICE_REPEAT;
         reg += 8) {
        age_dev_set(d, reg, ~0ULL);
        g_assert_cmphex(age_dev_get(d, reg), ==, ~0ULL);
    }
    age_dev_fail(d, AGE_DEVICE_CODE_INVALID);
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, ~0ULL, 2, 1);
    age_dev_fail(d, AGE_DEVICE_CODE_WRAP);
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, ~0ULL, 1, 1);
    age_dev_fail(d, AGE_DEVICE_CODE_DMA);
    /* Its own registers are no memory. */
    age_dev_setup(d, AGE_DEVICE_COMMAND_FILL, d->bar, 8, 1);
    age_dev_fail(d, AGE_DEVICE_CODE_DMA);
    age_dev_setup(d, AGE_DEVICE_COMMAND_FILL, d->memory, 8, 1);
    age_dev_do(d);
}

/* With the accelerator, and vCPUs that do nothing */
static void *with_age(GString *args, void *data)
{
    g_string_append(args, " -accel age -S");
    return data;
}

static void test_young(void *obj, void *data, QGuestAllocator *alloc)
{
    AgeDev *d = &((QAgeDevice *)obj)->d;
    GArray *want = age_pages_new();

    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, d->memory + 100, 8, 50);
    age_dev_set(d, AGE_DEVICE_PATTERN, AGE_DEVICE_PATTERN_STRIDE);
    age_dev_set(d, AGE_DEVICE_STRIDE, 5 * AGE_PAGE);
    age_dev_do(d);
    age_pages_add(want, d->memory, 50, 5 * AGE_PAGE);
    age_assert_same_pages(age_young_pages(d->qts, d->memory, d->end, true),
                          want);
    g_assert_cmpuint(age_count(d->qts, d->memory, d->end, true), ==, 0);
}

static void register_tests(void)
{
    QOSGraphTestOptions age = { .before = with_age };

    add_device("age-device-slices", "addr=04.0");
    add_device("age-device-worker", "addr=04.0,worker=on");

    qos_add_test("identify", "age-device", test_identify, NULL);
    qos_add_test("dma", "age-device", test_dma, NULL);
    qos_add_test("interrupt", "age-device", test_interrupt, NULL);
    qos_add_test("reset", "age-device", test_reset, NULL);
    qos_add_test("bad-values", "age-device", test_bad_values, NULL);
    qos_add_test("young", "age-device", test_young, &age);
}

libqos_init(register_boards);
libqos_init(register_tests);
