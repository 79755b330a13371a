/*
 * age-device: what its DMA does to memory and to accessed bits
 *
 * The guest is stopped, and does not access the memory of the tests anyway.  So
 * it is known what has to be young, to the page.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qobject/qlist.h"
#include "device.h"
#include "hotplug.h"
#include "qmp.h"

/* Pages that random steps are in */
#define PAGES           4096

/* Counting up from this soon goes through all of a word. */
#define FILL            0x11ffffffffffff80ULL

/* What becomes young */

static void young_sequential(AgeDev *d)
{
    uint64_t base = d->memory + 7 * AGE_PAGE;
    GArray *want = age_pages_new();

    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, base + 100, AGE_PAGE, 20);
    age_dev_do(d);
    /* The last step ends in one page more. */
    age_pages_add(want, base, 21, AGE_PAGE);
    age_dev_check_young(d, want);
    age_dev_check_young(d, age_pages_new());
}

/* A stride may be negative. */
static void young_backwards(AgeDev *d)
{
    uint64_t base = d->memory;
    GArray *want = age_pages_new();

    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, base + 9 * AGE_PAGE, 1, 10);
    age_dev_set(d, AGE_DEVICE_PATTERN, AGE_DEVICE_PATTERN_STRIDE);
    age_dev_set(d, AGE_DEVICE_STRIDE, -AGE_PAGE);
    age_dev_do(d);
    age_pages_add(want, base, 10, AGE_PAGE);
    age_dev_check_young(d, want);
}

static void young_random(AgeDev *d, uint64_t seed)
{
    g_autofree bool *hit = g_new0(bool, PAGES);
    GArray *want = age_pages_new();

    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, d->memory, 64, 1000);
    age_dev_set(d, AGE_DEVICE_PATTERN, AGE_DEVICE_PATTERN_RANDOM);
    age_dev_set(d, AGE_DEVICE_STRIDE, AGE_PAGE);
    age_dev_set(d, AGE_DEVICE_WINDOW, PAGES * AGE_PAGE);
    age_dev_set(d, AGE_DEVICE_SEED, seed);
    age_dev_do(d);
    for (unsigned i = 0; i < 1000; i++) {
        hit[age_device_random(seed, i) % PAGES] = true;
    }
    for (unsigned i = 0; i < PAGES; i++) {
        age_pages_add(want, d->memory + i * AGE_PAGE, hit[i], 0);
    }
    age_dev_check_young(d, want);
}

static void young_copy(AgeDev *d)
{
    uint64_t base = d->memory;
    GArray *want = age_pages_new();

    age_dev_setup(d, AGE_DEVICE_COMMAND_COPY, base, 32 * AGE_PAGE, 1);
    age_dev_set(d, AGE_DEVICE_DESTINATION, base + 100 * AGE_PAGE);
    age_dev_do(d);
    age_pages_add(want, base, 32, AGE_PAGE);
    age_pages_add(want, base + 100 * AGE_PAGE, 32, AGE_PAGE);
    age_dev_check_young(d, want);
}

static void test_young(const void *args)
{
    AgeDev *d = age_dev_start(args);

    young_sequential(d);
    age_dev_check_stride(d, AGE_DEVICE_COMMAND_READ);
    age_dev_check_stride(d, AGE_DEVICE_COMMAND_WRITE);
    age_dev_check_stride(d, AGE_DEVICE_COMMAND_FILL);
    young_backwards(d);
    young_random(d, 1);
    young_random(d, ~0ULL);
    young_copy(d);
    age_dev_quit(d);
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

static void check_words(AgeDev *d, uint64_t addr, unsigned count,
                        uint64_t first, uint64_t step)
{
    for (unsigned i = 0; i < count; i++) {
        g_assert_cmphex(qtest_readq(d->qts, addr + 8 * i), ==,
                        first + i * step);
    }
}

static void check_read(AgeDev *d, uint64_t addr, size_t size)
{
    g_autofree uint8_t *data = g_malloc(size);

    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, addr, size, 1);
    age_dev_do(d);
    qtest_memread(d->qts, addr, data, size);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_CHECKSUM), ==,
                    checksum(data, size));
    g_assert_cmpuint(age_dev_get(d, AGE_DEVICE_BYTES), ==, size);
    g_assert_cmpuint(age_dev_get(d, AGE_DEVICE_STEPS), ==, 1);
}

/* Words that count up, over the ends of steps */
static void check_write(AgeDev *d, uint64_t addr)
{
    age_dev_setup(d, AGE_DEVICE_COMMAND_WRITE, addr, 20, 120);
    age_dev_set(d, AGE_DEVICE_FILL, FILL);
    age_dev_do(d);
    check_words(d, addr, 300, FILL, 1);
    g_assert_cmpuint(age_dev_get(d, AGE_DEVICE_STEPS), ==, 120);
    g_assert_cmpuint(age_dev_get(d, AGE_DEVICE_BYTES), ==, 2400);
}

static void check_copy(AgeDev *d, uint64_t from, uint64_t to)
{
    age_dev_setup(d, AGE_DEVICE_COMMAND_COPY, from, 2400, 1);
    age_dev_set(d, AGE_DEVICE_DESTINATION, to);
    age_dev_do(d);
    check_words(d, to, 300, FILL, 1);
}

static void check_fill(AgeDev *d, uint64_t addr)
{
    uint64_t behind = qtest_readq(d->qts, addr + 784);

    age_dev_setup(d, AGE_DEVICE_COMMAND_FILL, addr, 784, 1);
    age_dev_do(d);
    check_words(d, addr, 98, FILL, 0);
    g_assert_cmphex(qtest_readq(d->qts, addr + 784), ==, behind);
}

/*
 * Lengths and places around the ends of words, pages and pieces: what is read
 * back is what was written, and what is beside it stays.
 */
static void check_size(AgeDev *d, uint64_t addr, uint64_t size)
{
    uint64_t end = addr + size;

    qtest_writeb(d->qts, addr - 1, 0xaa);
    qtest_writeb(d->qts, end, 0x55);
    age_dev_setup(d, AGE_DEVICE_COMMAND_WRITE, addr, size, 1);
    age_dev_set(d, AGE_DEVICE_FILL, 0xfedcba9876543210 + size);
    age_dev_do(d);
    g_assert_cmphex(qtest_readb(d->qts, addr), ==, (0x10 + size) & 0xff);
    g_assert_cmphex(qtest_readb(d->qts, addr - 1), ==, 0xaa);
    g_assert_cmphex(qtest_readb(d->qts, end), ==, 0x55);
    check_read(d, addr, size);
    g_assert_cmpuint(age_count(d->qts, d->memory, d->end, true), ==,
                     (end - 1) / AGE_PAGE - addr / AGE_PAGE + 1);
}

static void test_sizes(const void *args)
{
    static const uint64_t sizes[] = {
        1, 7, 8, 9, 4095, 4096, 4097, 64 * KiB - 1, 64 * KiB, 64 * KiB + 1,
        128 * KiB + 5,
    };
    static const unsigned offsets[] = { 1, 8, 4095, 4096 };
    AgeDev *d = age_dev_start(args);

    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        for (unsigned k = 0; k < G_N_ELEMENTS(offsets); k++) {
            check_size(d, d->memory + offsets[k], sizes[i]);
        }
    }
    age_dev_quit(d);
}

/* A piece is read before any of it is written. */
static void check_overlap(AgeDev *d, uint64_t from, uint64_t to)
{
    const uint64_t size = 64 * KiB;
    g_autofree uint8_t *want = g_malloc(size);
    g_autofree uint8_t *got = g_malloc(size);

    age_dev_setup(d, AGE_DEVICE_COMMAND_WRITE, from, size, 1);
    age_dev_set(d, AGE_DEVICE_FILL, from);
    age_dev_do(d);
    qtest_memread(d->qts, from, want, size);
    age_dev_setup(d, AGE_DEVICE_COMMAND_COPY, from, size, 1);
    age_dev_set(d, AGE_DEVICE_DESTINATION, to);
    age_dev_do(d);
    qtest_memread(d->qts, to, got, size);
    g_assert_cmpmem(got, size, want, size);
}

static void test_overlap(const void *args)
{
    AgeDev *d = age_dev_start(args);
    uint64_t base = d->memory;

    check_overlap(d, base, base + 8);
    check_overlap(d, base + 8, base);
    check_overlap(d, base, base + 5000);
    check_overlap(d, base + 5000, base);
    check_overlap(d, base, base);
    age_dev_quit(d);
}

static void test_data(const void *args)
{
    AgeDev *d = age_dev_start(args);
    uint64_t base = d->memory;

    check_write(d, base);
    check_copy(d, base, base + 0x12345);
    check_fill(d, base + 8);
    check_read(d, base + 0x12340, 300000);
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, base, 100, 7);
    age_dev_set(d, AGE_DEVICE_REPEAT, 3);
    age_dev_do(d);
    g_assert_cmpuint(age_dev_get(d, AGE_DEVICE_STEPS), ==, 21);
    age_dev_quit(d);
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

static QDict *harvest(AgeDev *d, const char *options)
{
    QList *ranges = qlist_new();

    age_add_clear_range(ranges, d->memory, d->end);
    return age_harvest(d->qts, ranges, options);
}

static void check_answer(AgeDev *d, const char *options, const char *how,
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

static void test_answers(const void *args)
{
    AgeDev *d = age_dev_start(args);
    uint64_t base = d->memory;

    check_answer(d, "{}", "bitmap", 0);
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, base, AGE_PAGE, 5);
    age_dev_do(d);
    age_dev_set_young(d, false);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_FEATURES) &
                    AGE_DEVICE_FEATURE_YOUNG, ==, 0);
    check_answer(d, "{}", "refused", 0);
    /* That left the bits alone, */
    age_dev_set_young(d, true);
    g_assert_cmpuint(age_count(d->qts, base, d->end, false), ==, 5);
    age_dev_set_young(d, false);
    /* and this takes them away. */
    check_answer(d, "{ 'fallback': true }", "clear-young", 1);
    check_answer(d, "{ 'fallback': true }", "clear-young", 0);
    age_dev_set_young(d, true);
    g_assert_cmpuint(age_count(d->qts, base, d->end, false), ==, 0);
    age_dev_quit(d);
}

/* Devices without an id: each answers for itself, and by another name. */
static void test_no_ids(const void *args)
{
    static const char *const names[] = {
        "/machine/peripheral-anon/device[0]",
        "/machine/peripheral-anon/device[1]",
        "age",
    };
    AgeDev *d = age_dev_start("-device age-device,addr=4"
                              " -device age-device,addr=5");
    g_autoptr(QDict) result = NULL;
    QDict *range;

    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, d->memory, AGE_PAGE, 5);
    age_dev_do(d);
    qtest_qmp_assert_success(d->qts, "{ 'execute': 'qom-set', 'arguments': {"
                             " 'path': %s, 'value': false,"
                             " 'property': 'test-clear-young' } }", names[0]);
    result = harvest(d, "{}");
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        g_assert_cmpstr(qdict_get_str(answer_of(result, names[i]), "how"), ==,
                        i == 0 ? "refused" : "bitmap");
    }
    range = qobject_to(QDict, qlist_peek(qdict_get_qlist(result, "ranges")));
    g_assert_cmpuint(qlist_size(qdict_get_qlist(range, "answers")), ==, 3);
    age_dev_quit(d);
}

/* An id that others answer by is refused, and nothing stays behind. */
static void test_bad_id(const void *args)
{
    const AgeHotplug *p = age_hotplug_port();
    AgeDev *d = age_dev_start_on(p->machine, p->args);

    p->prepare(d);
    for (unsigned i = 0; i < 3; i++) {
        g_autoptr(QDict) error = qtest_qmp_assert_failure_ref(
            d->qts, "{ 'execute': 'device_add', 'arguments': {"
            " 'driver': 'age-device', 'id': 'age', 'bus': %s } }", p->bus);

        g_assert_cmpstr(qdict_get_str(error, "desc"), ==, "another secondary"
                        " MMU is named 'age' in answers to harvests:"
                        " choose another id");
    }
    age_hotplug_plug(d, p, true);
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, d->memory, AGE_PAGE, 5);
    age_dev_do(d);
    check_answer(d, "{}", "bitmap", 0);
    age_dev_quit(d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    age_dev_add_test("young", test_young);
    age_dev_add_test("data", test_data);
    age_dev_add_test("sizes", test_sizes);
    age_dev_add_test("overlap", test_overlap);
    age_dev_add_test("answers", test_answers);
    qtest_add_data_func("age/device/no-ids", NULL, test_no_ids);
    qtest_add_data_func("age/device/bad-id", NULL, test_bad_id);
    return g_test_run();
}
