/*
 * age-device: what its DMA does to memory, to accessed bits and to QEMU
 *
 * The guest is stopped, and does not access the memory of the tests anyway.  So
 * it is known what has to be young, to the page.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/units.h"
#include "qobject/qlist.h"
#include "hw/age-device/regs.h"
#include "hw/pci/pci_regs.h"
#include "age/board.h"
#include "age/guest.h"
#include "age/harvester.h"
#include "age/qmp.h"

#define SLOT            4
#define DEV             "-device age-device,id=dma0,addr=4"
#define BEHIND_PORT     "-device pcie-root-port,id=rp0,addr=4,chassis=1 " \
                        "-device age-device,id=dma0,worker=on,bus=rp0"
/* On x86 hotplug is a matter of ACPI, unless told otherwise. */
#define NATIVE_HOTPLUG  "-global ICH9-LPC." \
                        "acpi-pci-hotplug-with-bridge-support=off"
#define PAGES           4096

/**
 * Device: the device under test
 *
 * @g: the guest
 * @qts: its QEMU
 * @bus: number of its bus
 * @dev: its number there
 * @bar: address of its registers
 */
typedef struct Device {
    AgeGuest *g;
    QTestState *qts;
    unsigned bus;
    unsigned dev;
    uint64_t bar;
} Device;

/* Configuration space, of functions on any bus */

static uint64_t config_address(unsigned bus, unsigned dev, unsigned reg)
{
    unsigned bdf = bus << 8 | dev << 3;

    return age_is_x86() ? 0x80000000 | bdf << 8 | (reg & ~3) :
           0x3f000000 + (bdf << 12) + (reg & ~3);
}

static uint32_t config_readl(QTestState *qts, unsigned bus, unsigned dev,
                             unsigned reg)
{
    uint64_t addr = config_address(bus, dev, reg);

    if (age_is_x86()) {
        qtest_outl(qts, 0xcf8, addr);
        return qtest_inl(qts, 0xcfc);
    }
    return qtest_readl(qts, addr);
}

static void config_writel(QTestState *qts, unsigned bus, unsigned dev,
                          unsigned reg, uint32_t value)
{
    uint64_t addr = config_address(bus, dev, reg);

    if (age_is_x86()) {
        qtest_outl(qts, 0xcf8, addr);
        qtest_outl(qts, 0xcfc, value);
    } else {
        qtest_writel(qts, addr, value);
    }
}

static unsigned find_capability(QTestState *qts, unsigned bus, unsigned dev,
                                uint8_t id)
{
    unsigned at = config_readl(qts, bus, dev, PCI_CAPABILITY_LIST) & 0xfc;
    uint32_t head;

    for (; at; at = head >> 8 & 0xfc) {
        head = config_readl(qts, bus, dev, at);
        if ((head & 0xff) == id) {
            return at;
        }
    }
    g_assert_not_reached();
}

/* Registers */

static uint64_t get(Device *d, unsigned reg)
{
    return qtest_readq(d->qts, d->bar + reg);
}

static void set(Device *d, unsigned reg, uint64_t value)
{
    qtest_writeq(d->qts, d->bar + reg, value);
}

/* Jobs */

static void setup(Device *d, unsigned command, uint64_t addr, uint64_t length,
                  uint64_t count)
{
    set(d, AGE_DEVICE_COMMAND, command);
    set(d, AGE_DEVICE_PATTERN, AGE_DEVICE_PATTERN_SEQUENTIAL);
    set(d, AGE_DEVICE_SOURCE, addr);
    set(d, AGE_DEVICE_DESTINATION, addr);
    set(d, AGE_DEVICE_LENGTH, length);
    set(d, AGE_DEVICE_COUNT, count);
    set(d, AGE_DEVICE_REPEAT, 1);
}

static void start(Device *d)
{
    set(d, AGE_DEVICE_CONTROL, AGE_DEVICE_CONTROL_START);
}

static uint64_t wait_end(Device *d)
{
    int64_t deadline = 0;

    while (get(d, AGE_DEVICE_STATUS) & AGE_DEVICE_STATUS_BUSY) {
        age_poll(&deadline);
    }
    return get(d, AGE_DEVICE_STATUS);
}

static void wait_bytes(Device *d, uint64_t bytes)
{
    int64_t deadline = 0;

    while (get(d, AGE_DEVICE_BYTES) < bytes) {
        age_poll(&deadline);
    }
}

static void do_job(Device *d)
{
    start(d);
    g_assert_cmphex(wait_end(d), ==, AGE_DEVICE_STATUS_DONE);
}

static void fail_job(Device *d, uint64_t code)
{
    start(d);
    g_assert_cmphex(wait_end(d), ==, AGE_DEVICE_STATUS_ERROR |
                    code << AGE_DEVICE_STATUS_CODE);
    g_assert_cmphex(get(d, AGE_DEVICE_IRQ_STATUS) & AGE_DEVICE_IRQ_ERROR, ==,
                    AGE_DEVICE_IRQ_ERROR);
    set(d, AGE_DEVICE_IRQ_STATUS, AGE_DEVICE_IRQ_ALL);
}

static void start_endless(Device *d)
{
    setup(d, AGE_DEVICE_COMMAND_WRITE, d->g->memory, 64 * KiB, 64);
    set(d, AGE_DEVICE_REPEAT, 0);
    start(d);
    wait_bytes(d, 1);
}

/* Life */

static void enable(Device *d)
{
    uint64_t window = age_board_pci_window(0);

    config_writel(d->qts, d->bus, d->dev, PCI_BASE_ADDRESS_0, window);
    config_writel(d->qts, d->bus, d->dev, PCI_BASE_ADDRESS_1, window + 0x1000);
    config_writel(d->qts, d->bus, d->dev, PCI_COMMAND,
                  PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    d->bar = window;
}

static Device *start_on(const char *machine, const char *args)
{
    AgeGuestOptions options = { .machine = machine, .args = args };
    Device *d = g_new0(Device, 1);

    d->g = age_guest_start(&options);
    d->qts = d->g->qts;
    d->dev = SLOT;
    age_guest_stop(d->g);
    age_flush_all(d->qts);
    return d;
}

static Device *start_device(const char *args)
{
    Device *d = start_on(age_board_machine(), args);

    enable(d);
    return d;
}

static void quit(Device *d)
{
    age_guest_quit(d->g);
    g_free(d);
}

static void check_young(Device *d, GArray *want)
{
    age_assert_same_pages(age_all_young_pages(d->qts, "memory", true), want);
}

/* Registers read back, in halves too; the others stay what they are. */

static void check_param(Device *d, unsigned reg)
{
    uint64_t value = 0x123456789abcdef0 + reg;

    set(d, reg, value);
    g_assert_cmphex(get(d, reg), ==, value);
    g_assert_cmphex(qtest_readl(d->qts, d->bar + reg + 4), ==, value >> 32);
    qtest_writel(d->qts, d->bar + reg + 4, 0x55555555);
    g_assert_cmphex(get(d, reg), ==, 0x5555555500000000 | (uint32_t)value);
    qtest_writel(d->qts, d->bar + reg, 0xaaaaaaaa);
    g_assert_cmphex(get(d, reg), ==, 0x55555555aaaaaaaa);
    /* Not accesses of this device */
    qtest_writeb(d->qts, d->bar + reg, 1);
    qtest_writew(d->qts, d->bar + reg + 2, 1);
    qtest_writel(d->qts, d->bar + reg + 2, 1);
    qtest_readb(d->qts, d->bar + reg + 7);
    qtest_readq(d->qts, d->bar + reg + 1);
}

static void check_constant(Device *d, unsigned reg)
{
    uint64_t value = get(d, reg);

    set(d, reg, ~value);
    g_assert_cmphex(get(d, reg), ==, value);
}

static void check_constants(Device *d)
{
    check_constant(d, AGE_DEVICE_ID);
    check_constant(d, AGE_DEVICE_FEATURES);
    check_constant(d, AGE_DEVICE_STATUS);
    for (unsigned reg = AGE_DEVICE_BYTES; reg < AGE_DEVICE_BAR_SIZE;
         reg += 8) {
        check_constant(d, reg);
    }
}

static void test_registers(const void *args)
{
    Device *d = start_device(args);

    g_assert_cmphex(config_readl(d->qts, 0, SLOT, 0), ==, 0x10f01af4);
    g_assert_cmphex(get(d, AGE_DEVICE_ID), ==, AGE_DEVICE_ID_VALUE);
    g_assert_cmphex(get(d, AGE_DEVICE_FEATURES), ==,
                    AGE_DEVICE_FEATURE_YOUNG | (strstr(args, "worker") ?
                    AGE_DEVICE_FEATURE_WORKER : 0));
    g_assert_cmpuint(get(d, AGE_DEVICE_COUNT), ==, 1);
    g_assert_cmpuint(get(d, AGE_DEVICE_REPEAT), ==, 1);
    check_constants(d);
    for (unsigned reg = AGE_DEVICE_COMMAND; reg <= AGE_DEVICE_REPEAT;
         reg += 8) {
        check_param(d, reg);
    }
    set(d, AGE_DEVICE_IRQ_ENABLE, ~0ULL);
    g_assert_cmphex(get(d, AGE_DEVICE_IRQ_ENABLE), ==, AGE_DEVICE_IRQ_ALL);
    quit(d);
}

/* What becomes young */

static void young_sequential(Device *d)
{
    uint64_t base = d->g->memory + 7 * AGE_PAGE;
    GArray *want = age_pages_new();

    setup(d, AGE_DEVICE_COMMAND_READ, base + 100, AGE_PAGE, 20);
    do_job(d);
    /* The last step ends in one page more. */
    age_pages_add(want, base, 21, AGE_PAGE);
    check_young(d, want);
    check_young(d, age_pages_new());
}

static void young_stride(Device *d, unsigned command)
{
    uint64_t base = d->g->memory + 5 * AGE_PAGE;
    GArray *want = age_pages_new();

    setup(d, command, base, 8, 100);
    set(d, AGE_DEVICE_PATTERN, AGE_DEVICE_PATTERN_STRIDE);
    set(d, AGE_DEVICE_STRIDE, 3 * AGE_PAGE);
    do_job(d);
    age_pages_add(want, base, 100, 3 * AGE_PAGE);
    check_young(d, want);
}

/* A stride may be negative. */
static void young_backwards(Device *d)
{
    uint64_t base = d->g->memory;
    GArray *want = age_pages_new();

    setup(d, AGE_DEVICE_COMMAND_READ, base + 9 * AGE_PAGE, 1, 10);
    set(d, AGE_DEVICE_PATTERN, AGE_DEVICE_PATTERN_STRIDE);
    set(d, AGE_DEVICE_STRIDE, -AGE_PAGE);
    do_job(d);
    age_pages_add(want, base, 10, AGE_PAGE);
    check_young(d, want);
}

static void young_random(Device *d, uint64_t seed)
{
    g_autofree bool *hit = g_new0(bool, PAGES);
    GArray *want = age_pages_new();

    setup(d, AGE_DEVICE_COMMAND_READ, d->g->memory, 64, 1000);
    set(d, AGE_DEVICE_PATTERN, AGE_DEVICE_PATTERN_RANDOM);
    set(d, AGE_DEVICE_STRIDE, AGE_PAGE);
    set(d, AGE_DEVICE_WINDOW, PAGES * AGE_PAGE);
    set(d, AGE_DEVICE_SEED, seed);
    do_job(d);
    for (unsigned i = 0; i < 1000; i++) {
        hit[age_device_random(seed, i) % PAGES] = true;
    }
    for (unsigned i = 0; i < PAGES; i++) {
        age_pages_add(want, d->g->memory + i * AGE_PAGE, hit[i], 0);
    }
    check_young(d, want);
}

static void young_copy(Device *d)
{
    uint64_t base = d->g->memory;
    GArray *want = age_pages_new();

    setup(d, AGE_DEVICE_COMMAND_COPY, base, 32 * AGE_PAGE, 1);
    set(d, AGE_DEVICE_DESTINATION, base + 100 * AGE_PAGE);
    do_job(d);
    age_pages_add(want, base, 32, AGE_PAGE);
    age_pages_add(want, base + 100 * AGE_PAGE, 32, AGE_PAGE);
    check_young(d, want);
}

static void test_young(const void *args)
{
    Device *d = start_device(args);

    young_sequential(d);
    young_stride(d, AGE_DEVICE_COMMAND_READ);
    young_stride(d, AGE_DEVICE_COMMAND_WRITE);
    young_stride(d, AGE_DEVICE_COMMAND_FILL);
    young_backwards(d);
    young_random(d, 1);
    young_random(d, ~0ULL);
    young_copy(d);
    quit(d);
}

/* What memory becomes, and what was read of it */

static uint64_t checksum(const uint8_t *data, size_t size)
{
    uint64_t sum = AGE_DEVICE_CHECKSUM_START;

    for (size_t i = 0; i < size; i++) {
        sum = (sum ^ data[i]) * AGE_DEVICE_CHECKSUM_PRIME;
    }
    return sum;
}

static void check_words(Device *d, uint64_t addr, unsigned count,
                        uint64_t first, uint64_t step)
{
    for (unsigned i = 0; i < count; i++) {
        g_assert_cmphex(qtest_readq(d->qts, addr + 8 * i), ==,
                        first + i * step);
    }
}

static void check_read(Device *d, uint64_t addr, size_t size)
{
    g_autofree uint8_t *data = g_malloc(size);

    setup(d, AGE_DEVICE_COMMAND_READ, addr, size, 1);
    do_job(d);
    qtest_memread(d->qts, addr, data, size);
    g_assert_cmphex(get(d, AGE_DEVICE_CHECKSUM), ==, checksum(data, size));
    g_assert_cmpuint(get(d, AGE_DEVICE_BYTES), ==, size);
    g_assert_cmpuint(get(d, AGE_DEVICE_STEPS), ==, 1);
}

/* Words that count up, over the ends of steps */
static void check_write(Device *d, uint64_t addr)
{
    setup(d, AGE_DEVICE_COMMAND_WRITE, addr, 20, 120);
    set(d, AGE_DEVICE_FILL, 0x1122334455667788);
    do_job(d);
    check_words(d, addr, 300, 0x1122334455667788, 1);
    g_assert_cmpuint(get(d, AGE_DEVICE_STEPS), ==, 120);
    g_assert_cmpuint(get(d, AGE_DEVICE_BYTES), ==, 2400);
}

static void check_copy(Device *d, uint64_t from, uint64_t to)
{
    setup(d, AGE_DEVICE_COMMAND_COPY, from, 2400, 1);
    set(d, AGE_DEVICE_DESTINATION, to);
    do_job(d);
    check_words(d, to, 300, 0x1122334455667788, 1);
}

static void check_fill(Device *d, uint64_t addr)
{
    uint64_t behind = qtest_readq(d->qts, addr + 784);

    setup(d, AGE_DEVICE_COMMAND_FILL, addr, 784, 1);
    do_job(d);
    check_words(d, addr, 98, 0x1122334455667788, 0);
    g_assert_cmphex(qtest_readq(d->qts, addr + 784), ==, behind);
}

static void test_data(const void *args)
{
    Device *d = start_device(args);
    uint64_t base = d->g->memory;

    check_write(d, base);
    check_copy(d, base, base + 0x12345);
    check_fill(d, base + 8);
    check_read(d, base + 0x12340, 300000);
    setup(d, AGE_DEVICE_COMMAND_READ, base, 100, 7);
    set(d, AGE_DEVICE_REPEAT, 3);
    do_job(d);
    g_assert_cmpuint(get(d, AGE_DEVICE_STEPS), ==, 21);
    quit(d);
}

/* How the chain answers */

static QDict *answer_of(QDict *result, const char *mmu)
{
    QDict *range = qobject_to(QDict, qlist_peek(qdict_get_qlist(result,
                                                                "ranges")));
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(range, "answers"), entry) {
        QDict *answer = qobject_to(QDict, entry->value);

        if (g_str_equal(qdict_get_str(answer, "mmu"), mmu)) {
            return answer;
        }
    }
    g_assert_not_reached();
}

static QDict *harvest(Device *d, const char *options)
{
    QList *ranges = qlist_new();

    age_add_clear_range(ranges, d->g->memory, d->g->end);
    return age_harvest(d->qts, ranges, options);
}

static void check_answer(Device *d, const char *options, const char *how,
                         int young)
{
    g_autoptr(QDict) result = harvest(d, options);
    QDict *answer = answer_of(result, "dma0");

    g_assert_cmpstr(qdict_get_str(answer_of(result, "age"), "how"), ==,
                    "bitmap");
    g_assert_cmpstr(qdict_get_str(answer, "how"), ==, how);
    g_assert(qdict_haskey(answer, "reason") == !g_str_equal(how, "bitmap"));
    g_assert_cmpint(qdict_get_int(result, "young"), ==, young);
}

static void set_property(Device *d, bool on)
{
    qtest_qmp_assert_success(d->qts, "{ 'execute': 'qom-set', 'arguments': {"
                             " 'path': 'dma0', 'value': %i,"
                             " 'property': 'test-clear-young' } }", on);
}

static void test_answers(const void *args)
{
    Device *d = start_device(args);
    uint64_t base = d->g->memory;

    check_answer(d, "{}", "bitmap", 0);
    setup(d, AGE_DEVICE_COMMAND_READ, base, AGE_PAGE, 5);
    do_job(d);
    set_property(d, false);
    g_assert_cmphex(get(d, AGE_DEVICE_FEATURES) & AGE_DEVICE_FEATURE_YOUNG,
                    ==, 0);
    check_answer(d, "{}", "refused", 0);
    /* That left the bits alone, */
    set_property(d, true);
    g_assert_cmpuint(age_count(d->qts, base, d->g->end, false), ==, 5);
    set_property(d, false);
    /* and this takes them away. */
    check_answer(d, "{ 'fallback': true }", "clear-young", 1);
    check_answer(d, "{ 'fallback': true }", "clear-young", 0);
    set_property(d, true);
    g_assert_cmpuint(age_count(d->qts, base, d->g->end, false), ==, 0);
    quit(d);
}

/* What makes no sense */

static void test_invalid(const void *args)
{
    Device *d = start_device(args);
    uint64_t base = d->g->memory;

    fail_job(d, AGE_DEVICE_CODE_INVALID);
    setup(d, AGE_DEVICE_COMMAND_FILL + 1, base, 8, 1);
    fail_job(d, AGE_DEVICE_CODE_INVALID);
    setup(d, AGE_DEVICE_COMMAND_READ, base, 0, 1);
    fail_job(d, AGE_DEVICE_CODE_INVALID);
    setup(d, AGE_DEVICE_COMMAND_READ, base, 8, 1);
    set(d, AGE_DEVICE_PATTERN, ~0ULL);
    fail_job(d, AGE_DEVICE_CODE_INVALID);
    set(d, AGE_DEVICE_PATTERN, AGE_DEVICE_PATTERN_RANDOM);
    fail_job(d, AGE_DEVICE_CODE_INVALID);
    set(d, AGE_DEVICE_STRIDE, 4096);
    set(d, AGE_DEVICE_WINDOW, 4095);
    fail_job(d, AGE_DEVICE_CODE_INVALID);
    setup(d, AGE_DEVICE_COMMAND_READ, base, ~0ULL, 0);
    set(d, AGE_DEVICE_REPEAT, 0);
    do_job(d);
    g_assert_cmpuint(get(d, AGE_DEVICE_BYTES), ==, 0);
    quit(d);
}

static void test_range(const void *args)
{
    Device *d = start_device(args);

    setup(d, AGE_DEVICE_COMMAND_READ, d->g->memory, ~0ULL, ~0ULL);
    fail_job(d, AGE_DEVICE_CODE_WRAP);
    setup(d, AGE_DEVICE_COMMAND_READ, ~0ULL, 2, 1);
    fail_job(d, AGE_DEVICE_CODE_WRAP);
    g_assert_cmphex(get(d, AGE_DEVICE_ERROR_ADDRESS), ==, ~0ULL);
    setup(d, AGE_DEVICE_COMMAND_COPY, d->g->memory, 2, 1);
    set(d, AGE_DEVICE_DESTINATION, ~0ULL);
    fail_job(d, AGE_DEVICE_CODE_WRAP);
    setup(d, AGE_DEVICE_COMMAND_READ, ~0ULL, 1, 1);
    fail_job(d, AGE_DEVICE_CODE_DMA);
    quit(d);
}

static void test_end_of_memory(const void *args)
{
    Device *d = start_device(args);

    setup(d, AGE_DEVICE_COMMAND_READ, d->g->memory, 1ULL << 62, 1);
    fail_job(d, AGE_DEVICE_CODE_DMA);
    g_assert_cmphex(get(d, AGE_DEVICE_BYTES), ==, d->g->end - d->g->memory);
    g_assert_cmphex(get(d, AGE_DEVICE_ERROR_ADDRESS), ==, d->g->end);
    /* From one end of addresses to the other, step by step */
    setup(d, AGE_DEVICE_COMMAND_READ, d->g->memory, 1, 3);
    set(d, AGE_DEVICE_PATTERN, AGE_DEVICE_PATTERN_STRIDE);
    set(d, AGE_DEVICE_STRIDE, 1ULL << 63);
    fail_job(d, AGE_DEVICE_CODE_DMA);
    g_assert_cmphex(get(d, AGE_DEVICE_STEPS), ==, 1);
    quit(d);
}

static void test_own_bar(const void *args)
{
    Device *d = start_device(args);

    for (unsigned c = AGE_DEVICE_COMMAND_READ; c <= AGE_DEVICE_COMMAND_FILL;
         c++) {
        setup(d, c, d->bar, 0x1000, 1);
        set(d, AGE_DEVICE_FILL, ~0ULL);
        fail_job(d, AGE_DEVICE_CODE_DMA);
        g_assert_cmpuint(get(d, AGE_DEVICE_COMMAND), ==, c);
        setup(d, c, d->bar + AGE_DEVICE_CONTROL, 8, ~0ULL);
        fail_job(d, AGE_DEVICE_CODE_DMA);
    }
    quit(d);
}

static void test_no_master(const void *args)
{
    Device *d = start_device(args);

    setup(d, AGE_DEVICE_COMMAND_READ, d->g->memory, 64, 1);
    config_writel(d->qts, 0, SLOT, PCI_COMMAND, PCI_COMMAND_MEMORY);
    fail_job(d, AGE_DEVICE_CODE_DMA);
    check_young(d, age_pages_new());
    enable(d);
    do_job(d);
    /* The end comes in the middle of a job, too. */
    start_endless(d);
    config_writel(d->qts, 0, SLOT, PCI_COMMAND, PCI_COMMAND_MEMORY);
    g_assert_cmphex(wait_end(d), ==, AGE_DEVICE_STATUS_ERROR |
                    AGE_DEVICE_CODE_DMA << AGE_DEVICE_STATUS_CODE);
    quit(d);
}

static void test_busy(const void *args)
{
    Device *d = start_device(args);

    for (unsigned i = 0; i < 20; i++) {
        start_endless(d);
        start(d);
        set(d, AGE_DEVICE_LENGTH, 1);
        g_assert_cmpuint(get(d, AGE_DEVICE_LENGTH), ==, 64 * KiB);
        g_assert_cmphex(get(d, AGE_DEVICE_STATUS), ==,
                        AGE_DEVICE_STATUS_BUSY);
        set(d, AGE_DEVICE_CONTROL, ~0ULL);
        set(d, AGE_DEVICE_CONTROL, AGE_DEVICE_CONTROL_STOP);
        g_assert_cmphex(wait_end(d), ==, AGE_DEVICE_STATUS_STOPPED);
    }
    set(d, AGE_DEVICE_CONTROL, AGE_DEVICE_CONTROL_STOP);
    g_assert_cmphex(get(d, AGE_DEVICE_STATUS), ==, AGE_DEVICE_STATUS_STOPPED);
    quit(d);
}

/* Anything in any register, at any time; in the end it works as ever. */

static uint64_t hostile_value(Device *d)
{
    const uint64_t values[] = {
        0, 1, 2, 3, 4, 7, 4095, 4096, 64 * KiB + 1, 1ULL << 63, ~0ULL,
        d->g->memory, d->g->end - 1, d->bar, d->bar + AGE_DEVICE_CONTROL,
        (uint64_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int(),
    };

    return values[g_test_rand_int_range(0, ARRAY_SIZE(values))];
}

static void hostile_access(Device *d)
{
    unsigned reg = g_test_rand_int_range(0, AGE_DEVICE_REGS_END + 8);

    switch (g_test_rand_int_range(0, 4)) {
    case 0:
        set(d, AGE_DEVICE_CONTROL, g_test_rand_int_range(1, 4));
        break;
    case 1:
        qtest_writel(d->qts, d->bar + (reg & ~3), hostile_value(d));
        break;
    case 2:
        get(d, reg);
        break;
    default:
        set(d, reg & ~7, hostile_value(d));
        break;
    }
}

static void test_hostile(const void *args)
{
    Device *d = start_device(args);

    for (unsigned i = 0; i < 20000; i++) {
        hostile_access(d);
    }
    set(d, AGE_DEVICE_CONTROL, AGE_DEVICE_CONTROL_STOP);
    wait_end(d);
    set(d, AGE_DEVICE_IRQ_STATUS, AGE_DEVICE_IRQ_ALL);
    g_array_unref(age_all_young_pages(d->qts, "memory", true));
    young_stride(d, AGE_DEVICE_COMMAND_READ);
    quit(d);
}

/* Interrupts */

static bool intx_is_up(Device *d)
{
    return config_readl(d->qts, 0, SLOT, PCI_COMMAND) >> 16 &
           PCI_STATUS_INTERRUPT;
}

static void test_intx(const void *args)
{
    Device *d = start_device(args);

    setup(d, AGE_DEVICE_COMMAND_READ, d->g->memory, 64, 1);
    do_job(d);
    g_assert_cmphex(get(d, AGE_DEVICE_IRQ_STATUS), ==, AGE_DEVICE_IRQ_DONE);
    g_assert(!intx_is_up(d));
    set(d, AGE_DEVICE_IRQ_ENABLE, AGE_DEVICE_IRQ_DONE);
    g_assert(intx_is_up(d));
    set(d, AGE_DEVICE_IRQ_STATUS, AGE_DEVICE_IRQ_ERROR);
    g_assert(intx_is_up(d));
    set(d, AGE_DEVICE_IRQ_STATUS, AGE_DEVICE_IRQ_DONE);
    g_assert(!intx_is_up(d));
    do_job(d);
    g_assert(intx_is_up(d));
    quit(d);
}

static void enable_msix(Device *d, uint64_t addr, uint32_t data)
{
    uint64_t table = d->bar + 0x1000;
    unsigned cap = find_capability(d->qts, 0, SLOT, PCI_CAP_ID_MSIX);

    qtest_writel(d->qts, table + PCI_MSIX_ENTRY_LOWER_ADDR, addr);
    qtest_writel(d->qts, table + PCI_MSIX_ENTRY_UPPER_ADDR, 0);
    qtest_writel(d->qts, table + PCI_MSIX_ENTRY_DATA, data);
    qtest_writel(d->qts, table + PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
    config_writel(d->qts, 0, SLOT, cap, PCI_MSIX_FLAGS_ENABLE << 16);
}

/* A message is a write, here to memory, where it can be seen. */
static void test_msix(const void *args)
{
    Device *d = start_device(args);
    uint64_t message = d->g->memory + 64 * AGE_PAGE;
    int64_t deadline = 0;

    enable_msix(d, message, 0x600df00d);
    setup(d, AGE_DEVICE_COMMAND_READ, d->g->memory, 64, 1);
    do_job(d);
    g_assert_cmphex(qtest_readl(d->qts, message), ==, 0);
    set(d, AGE_DEVICE_IRQ_ENABLE, AGE_DEVICE_IRQ_DONE);
    do_job(d);
    while (qtest_readl(d->qts, message) != 0x600df00d) {
        age_poll(&deadline);
    }
    g_assert(!intx_is_up(d));
    quit(d);
}

/* Reset, stop and unplug under load */

static void test_reset(const void *args)
{
    Device *d = start_device(args);

    set(d, AGE_DEVICE_IRQ_ENABLE, AGE_DEVICE_IRQ_ALL);
    start_endless(d);
    age_guest_reset(d->g);
    enable(d);
    g_assert_cmphex(get(d, AGE_DEVICE_STATUS), ==, 0);
    g_assert_cmphex(get(d, AGE_DEVICE_BYTES), ==, 0);
    g_assert_cmphex(get(d, AGE_DEVICE_IRQ_ENABLE), ==, 0);
    g_assert_cmphex(get(d, AGE_DEVICE_COMMAND), ==, 0);
    g_assert_cmphex(get(d, AGE_DEVICE_REPEAT), ==, 1);
    start_endless(d);
    quit(d);
}

/* A machine that is stopped has its jobs rest. */
static void test_stop(const void *args)
{
    Device *d = start_device(args);
    uint64_t bytes;

    age_guest_cont(d->g);
    start_endless(d);
    for (unsigned i = 0; i < 5; i++) {
        age_guest_stop(d->g);
        bytes = get(d, AGE_DEVICE_BYTES);
        g_assert_cmphex(get(d, AGE_DEVICE_STATUS), ==,
                        AGE_DEVICE_STATUS_BUSY);
        g_usleep(1000);
        g_assert_cmpuint(get(d, AGE_DEVICE_BYTES), ==, bytes);
        age_guest_cont(d->g);
        wait_bytes(d, bytes + 1);
    }
    age_guest_stop(d->g);
    set(d, AGE_DEVICE_CONTROL, AGE_DEVICE_CONTROL_STOP);
    g_assert_cmphex(get(d, AGE_DEVICE_STATUS), ==, AGE_DEVICE_STATUS_STOPPED);
    quit(d);
}

/* Set up the root port, with its slot's power on, and the device behind it. */
static void enable_behind_port(Device *d)
{
    uint32_t window = age_board_pci_window(0) >> 16;

    config_writel(d->qts, 0, SLOT, PCI_PRIMARY_BUS, 0x00010100);
    config_writel(d->qts, 0, SLOT, PCI_MEMORY_BASE, window << 16 | window);
    config_writel(d->qts, 0, SLOT, PCI_COMMAND,
                  PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    d->bus = 1;
    d->dev = 0;
    enable(d);
}

/* What a guest does about the slot when a device comes and goes */
static void set_slot(Device *d, uint16_t control)
{
    unsigned cap = find_capability(d->qts, 0, SLOT, PCI_CAP_ID_EXP);

    config_writel(d->qts, 0, SLOT, cap + PCI_EXP_SLTCTL, control);
}

static void test_unplug(const void *args)
{
    AgeHarvester *h = age_harvester_new();
    g_autofree char *monitor = age_harvester_args(h);
    g_autofree char *all = g_strdup_printf(
        "%s %s %s", (const char *)args, monitor,
        age_is_x86() ? NATIVE_HOTPLUG : "");
    Device *d = start_on(age_is_x86() ? "q35" : age_board_machine(), all);

    enable_behind_port(d);
    age_harvester_start(h, d->g->memory, d->g->end, "{}");
    for (unsigned i = 0; i < 3; i++) {
        start_endless(d);
        age_harvester_wait(h, qatomic_read(&h->passes) + 3);
        qtest_qmp_device_del_send(d->qts, "dma0");
        set_slot(d, PCI_EXP_SLTCTL_PWR_OFF | PCI_EXP_SLTCTL_PWR_IND_OFF);
        qtest_qmp_eventwait(d->qts, "DEVICE_DELETED");
        age_harvester_wait(h, qatomic_read(&h->passes) + 3);
        qtest_qmp_device_add(d->qts, "age-device", "dma0",
                             "{ 'bus': 'rp0', 'worker': true }");
        set_slot(d, PCI_EXP_SLTCTL_PWR_IND_ON);
        enable(d);
    }
    age_harvester_stop(h);
    age_harvester_free(h);
    quit(d);
}

static void add(const char *name, GTestDataFunc func)
{
    g_autofree char *slices = g_strdup_printf("age/device/%s", name);
    g_autofree char *worker = g_strdup_printf("age/device/worker/%s", name);

    qtest_add_data_func(slices, DEV, func);
    qtest_add_data_func(worker, DEV ",worker=on", func);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    add("registers", test_registers);
    add("young", test_young);
    add("data", test_data);
    add("answers", test_answers);
    add("invalid", test_invalid);
    add("range", test_range);
    add("end-of-memory", test_end_of_memory);
    add("own-bar", test_own_bar);
    add("no-master", test_no_master);
    add("busy", test_busy);
    add("hostile", test_hostile);
    add("intx", test_intx);
    add("msix", test_msix);
    add("reset", test_reset);
    add("stop", test_stop);
    qtest_add_data_func("age/device/unplug", BEHIND_PORT, test_unplug);
    return g_test_run();
}
