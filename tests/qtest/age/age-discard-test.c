/*
 * age: memory that is discarded, by a balloon or by virtio-mem
 *
 * The drivers are in the test: what they say to the devices is not the guest's
 * doing, and leaves no trace in accessed bits.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "standard-headers/linux/virtio_mem.h"
#include "board.h"
#include "check.h"
#include "guest.h"
#include "harvester.h"
#include "qmp.h"
#include "virtio.h"

#define DEV             4
#define NUM_PAGES       1100

/* Queues of a balloon, and how many there are if it takes reports */
enum { INFLATE, DEFLATE, STATS, REPORT, NUM_QUEUES };

#define BALLOON         "-device virtio-balloon-pci,addr=4.0" \
                        ",free-page-reporting=on "

/**
 * Board: a machine
 *
 * @name: for the test
 * @x86: of which architecture
 * @machine: argument of -machine; NULL for age_board_machine()
 * @space: the address space that the guest's vCPUs are in
 */
typedef struct Board {
    const char *name;
    bool x86;
    const char *machine;
    const char *space;
} Board;

static const Board boards[] = {
    { "pc", true, NULL, "memory" },
    { "q35", true, "q35", "memory" },
    { "virt", false, NULL, "memory" },
    { "virt-secure", false, "virt,secure=on,highmem-ecam=off", "secure" },
};

static const Board *default_board(void)
{
    return &boards[age_is_x86() ? 0 : 2];
}

/**
 * Discard: a guest with a device that discards
 *
 * @g: the guest
 * @space: the address space that it is in
 * @v: the device
 * @end: what the guest may use ends here, and the driver's memory begins
 */
typedef struct Discard {
    AgeGuest *g;
    const char *space;
    AgeVirtio *v;
    uint64_t end;
} Discard;

static Discard *start(const Board *board, AgeGuestOptions *options,
                      unsigned queues)
{
    Discard *d = g_new0(Discard, 1);

    options->machine = board->machine ?: age_board_machine();
    d->space = board->space;
    d->g = age_guest_start(options);
    d->end = d->g->end - AGE_VIRTIO_HEAP;
    d->v = age_virtio_start(d->g, DEV, d->end, queues);
    return d;
}

static Discard *start_balloon(const Board *board, const char *accel)
{
    AgeGuestOptions options = { .accel = accel, .args = BALLOON };

    return start(board, &options, NUM_QUEUES);
}

static void quit(Discard *d)
{
    age_check(d->g);
    age_virtio_free(d->v);
    age_guest_quit(d->g);
    g_free(d);
}

/* Balloons */

/* Tell one of @count pages, every @stride bytes from @gpa on. */
static void tell_pages(Discard *d, unsigned queue, uint64_t gpa,
                       unsigned count, uint64_t stride)
{
    g_autofree uint32_t *pfn = g_new(uint32_t, count);

    for (unsigned i = 0; i < count; i++) {
        pfn[i] = cpu_to_le32((gpa + i * stride) / AGE_PAGE);
    }
    age_virtio_send(d->v, queue, pfn, count * sizeof(*pfn));
}

/* Every third page of the guest's is in the balloon. */
static bool in_balloon(unsigned page)
{
    return page % 3 == 1 && page < 600;
}

static void inflate_some(Discard *d)
{
    tell_pages(d, INFLATE, d->g->memory + AGE_PAGE, 200, 3 * AGE_PAGE);
}

static GArray *pages_left(Discard *d)
{
    GArray *pages = age_pages_new();

    for (unsigned i = 0; i < NUM_PAGES; i++) {
        uint64_t gpa = d->g->memory + i * AGE_PAGE;

        if (!in_balloon(i)) {
            g_array_append_val(pages, gpa);
        }
    }
    return pages;
}

/* What is in the balloon is gone, and the rest is as it was. */
static void check_inflated(Discard *d)
{
    QTestState *qts = d->g->qts;

    age_assert_same_pages(age_young_pages(qts, d->g->memory, d->end, false),
                          pages_left(d));
    age_assert_same_pages(age_mapped_pages(qts, d->space, d->g->memory,
                                           d->end), pages_left(d));
    for (unsigned i = 0; i < NUM_PAGES; i += 7) {
        uint64_t gpa = d->g->memory + i * AGE_PAGE;

        g_assert(!qtest_readb(qts, gpa + AGE_GUEST_BYTE) == in_balloon(i));
    }
}

static void test_balloon(const void *board)
{
    Discard *d = start_balloon(board, NULL);
    AgeGuest *g = d->g;

    for (unsigned i = 0; i < 4; i++) {
        uint64_t zapped = age_counter(g->qts, "zapped");

        age_guest_touch(g, AGE_GUEST_WRITE | AGE_GUEST_FLUSH, g->memory,
                        NUM_PAGES);
        inflate_some(d);
        check_inflated(d);
        g_assert_cmpuint(age_counter(g->qts, "zapped"), ==, zapped + 200);
        age_check(g);

        /* The guest has them back, and they are old until it uses them. */
        tell_pages(d, DEFLATE, g->memory + AGE_PAGE, 200, 3 * AGE_PAGE);
        check_inflated(d);
        age_flush_all(g->qts);
        age_guest_touch(g, AGE_GUEST_READ, g->memory, NUM_PAGES);
        g_assert_cmpuint(age_count(g->qts, g->memory, d->end, false), ==,
                         NUM_PAGES);
        age_check(g);
    }
    quit(d);
}

/* vCPUs are asked to drop what was discarded from their TLBs. */
static void test_flush(void)
{
    Discard *d = start_balloon(default_board(), NULL);
    AgeGuest *g = d->g;

    age_flush_all(g->qts);
    for (unsigned i = 0; i < 10; i++) {
        age_guest_touch(g, AGE_GUEST_WRITE, g->memory, 1);
        g_assert_cmpuint(age_count(g->qts, g->memory, d->end, false), ==, 1);
        tell_pages(d, INFLATE, g->memory, 1, 0);
        g_assert_cmpuint(age_count(g->qts, g->memory, d->end, false), ==, 0);
        age_wait_flushed(g->qts);
    }
    quit(d);
}

/*
 * All pages that the guest gives at a time are flushed at once, and what was
 * not mapped is not flushed.
 */
static void test_batch(void)
{
    Discard *d = start_balloon(default_board(), NULL);
    AgeGuest *g = d->g;
    uint64_t flushes = age_counter(g->qts, "flushes");

    inflate_some(d);
    age_guest_touch(g, AGE_GUEST_READ, g->memory, NUM_PAGES);
    g_assert_cmpuint(age_counter(g->qts, "flushes"), ==, flushes);
    for (unsigned i = 0; i < 10; i++) {
        inflate_some(d);
        age_wait_flushed(g->qts);
        age_guest_touch(g, AGE_GUEST_READ, g->memory, NUM_PAGES);
        g_assert_cmpuint(age_counter(g->qts, "flushes"), ==, ++flushes);
    }
    quit(d);
}

/* Free memory that is reported: so much at once that whole tables go */
static void test_report(const void *board)
{
    Discard *d = start_balloon(board, NULL);
    AgeGuest *g = d->g;
    uint64_t tables = age_all_tables(g->qts), gone = g->memory + AGE_BLOCK;

    for (unsigned i = 0; i < 3; i++) {
        age_guest_touch(g, AGE_GUEST_WRITE | AGE_GUEST_FLUSH, g->memory,
                        NUM_PAGES);
        age_wait_tables(g->qts, tables + 3);
        age_virtio_offer(d->v, REPORT, gone, AGE_BLOCK);
        age_wait_tables(g->qts, tables + 2);
        g_assert_cmpuint(age_count(g->qts, gone, gone + AGE_BLOCK, false), ==,
                         0);
        g_assert_cmpuint(age_count(g->qts, g->memory, d->end, false), ==,
                         NUM_PAGES - 512);
        age_check(g);
    }
    quit(d);
}

/* A page out of a young block: the others stay, and stay young. */
static void test_block(void)
{
    Discard *d = start_balloon(default_board(), ",page-size=2m");
    AgeGuest *g = d->g;
    uint64_t gpa = g->memory + AGE_BLOCK, gone = gpa + 7 * AGE_PAGE;
    uint64_t end = gpa + AGE_BLOCK;
    AgeLeafInfo leaf;

    age_guest_touch(g, AGE_GUEST_WRITE, gpa, 1);
    g_assert_cmpuint(age_count(g->qts, gpa, end, false), ==, 512);
    tell_pages(d, INFLATE, gone, 1, 0);
    g_assert(!age_leaf(g->qts, "memory", gone, &leaf));
    g_assert_cmpuint(age_count(g->qts, gpa, end, false), ==, 511);
    g_assert_cmpuint(age_counter(g->qts, "inherited"), ==, 511);
    age_check(g);

    age_flush_all(g->qts);
    age_guest_touch(g, AGE_GUEST_READ, gone, 1);
    g_assert_cmpuint(age_count(g->qts, gpa, end, false), ==, 1);
    g_assert(age_leaf(g->qts, "memory", gone, &leaf));
    g_assert_cmpuint(age_leaf_size(&leaf), ==, AGE_PAGE);
    quit(d);
}

/*
 * A vCPU uses what is discarded at the same time, and another client harvests:
 * no access is lost for good, and none is made up.
 */
static void test_busy(void)
{
    AgeHarvester *h = age_harvester_new();
    g_autofree char *monitor = age_harvester_args(h);
    g_autofree char *args = g_strconcat(BALLOON, monitor, NULL);
    AgeGuestOptions options = { .args = args, .cpus = 2 };
    Discard *d = start(default_board(), &options, NUM_QUEUES);
    AgeGuest *g = d->g;

    age_guest_send(g, 1, AGE_GUEST_WRITE | AGE_GUEST_FLUSH | AGE_GUEST_REPEAT,
                   g->memory, 700, AGE_PAGE);
    age_harvester_start(h, g->memory, d->end, NULL);
    for (unsigned i = 0; i < 100; i++) {
        tell_pages(d, INFLATE, g->memory + i * AGE_PAGE, 200, 3 * AGE_PAGE);
        if (i % 10 == 0) {
            age_virtio_offer(d->v, REPORT, g->memory, AGE_BLOCK);
        }
    }
    age_guest_wait_round(g, 1);
    age_harvester_wait(h, h->passes + 2);
    age_harvester_stop(h);
    for (unsigned i = 0; i < (d->end - g->memory) / AGE_PAGE; i++) {
        g_assert((h->tally.times[i] > 0) == (i < 700));
    }
    age_guest_send(g, 1, AGE_GUEST_READ, g->memory, 0, 0);
    age_guest_wait(g, 1);
    age_harvester_free(h);
    quit(d);
}

/* virtio-mem */

#define MEM(size, more) \
    "-object memory-backend-ram,id=memory,size=" size " -device" \
    " virtio-mem-pci,id=vm,memdev=memory,addr=4.0,requested-size=" size more

static Discard *start_mem(const Board *board, const char *args)
{
    AgeGuestOptions options = { .memory = "64M,maxmem=8G", .args = args };

    return start(board, &options, 1);
}

#define mem_config(d, member) \
    age_virtio_config((d)->v, offsetof(struct virtio_mem_config, member))

/* Plug or unplug blocks; the device must agree */
static void ask_mem(Discard *d, uint16_t type, uint64_t gpa, uint16_t blocks)
{
    struct virtio_mem_req request = {
        .type = cpu_to_le16(type),
        .u.plug.addr = cpu_to_le64(gpa),
        .u.plug.nb_blocks = cpu_to_le16(blocks),
    };
    struct virtio_mem_resp answer = {};

    age_virtio_ask(d->v, 0, &request, sizeof(request), &answer,
                   sizeof(answer));
    g_assert_cmpuint(le16_to_cpu(answer.type), ==, VIRTIO_MEM_RESP_ACK);
}

static uint64_t count_mapped(Discard *d, uint64_t gpa, uint64_t size)
{
    g_autoptr(GArray) pages = age_mapped_pages(d->g->qts, d->space, gpa,
                                               gpa + size);

    return pages->len;
}

/* Use memory that was just plugged: it is old, and becomes young. */
static void use_mem(Discard *d, uint64_t gpa, uint64_t size)
{
    AgeGuest *g = d->g;
    unsigned count = MIN(size / AGE_PAGE, 1500);

    g_assert_cmpuint(count_mapped(d, gpa, size), ==, 0);
    g_assert_cmpuint(age_count(g->qts, gpa, gpa + size, false), ==, 0);
    age_guest_touch(g, AGE_GUEST_WRITE | AGE_GUEST_FLUSH, gpa, count);
    g_assert_cmpuint(count_mapped(d, gpa, size), ==, count);
    g_assert_cmpuint(age_count(g->qts, gpa, gpa + size, false), ==, count);
}

static void test_mem(const void *board)
{
    Discard *d = start_mem(board, MEM("32M", ""));
    uint64_t gpa = mem_config(d, addr), block = mem_config(d, block_size);
    QTestState *qts = d->g->qts;
    uint64_t tables = age_num_tables(qts, age_arch()->leaf_level);

    for (unsigned i = 0; i < 3; i++) {
        ask_mem(d, VIRTIO_MEM_REQ_PLUG, gpa, 4);
        use_mem(d, gpa, 4 * block);
        ask_mem(d, VIRTIO_MEM_REQ_UNPLUG, gpa + block, 1);
        g_assert_cmpuint(count_mapped(d, gpa, block), ==, 512);
        g_assert_cmpuint(count_mapped(d, gpa + block, block), ==, 0);
        g_assert_cmpuint(age_count(qts, gpa, gpa + 4 * block, false), ==,
                         1500 - 512);
        age_check(d->g);

        ask_mem(d, VIRTIO_MEM_REQ_PLUG, gpa + block, 1);
        use_mem(d, gpa + block, block);
        g_assert_cmpuint(age_count(qts, gpa, gpa + 4 * block, false), ==,
                         1500);
        ask_mem(d, VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0);
        g_assert_cmpuint(count_mapped(d, gpa, 32 * MiB), ==, 0);
        age_check(d->g);
        /* The slot stays, and so may the table above those that went. */
        g_assert_cmpuint(age_num_tables(qts, age_arch()->leaf_level), ==,
                         tables);
    }
    quit(d);
}

/* The memory is there only where something is plugged, in pieces of 1 GiB. */
static void use_gibibyte(Discard *d, uint64_t gpa)
{
    uint64_t block = mem_config(d, block_size);
    QTestState *qts = d->g->qts;
    AgeSlotInfo slot;

    g_assert(!age_find_slot(qts, "memory", gpa, &slot));
    ask_mem(d, VIRTIO_MEM_REQ_PLUG, gpa, 2);
    g_assert(age_find_slot(qts, "memory", gpa, &slot));
    use_mem(d, gpa, 2 * block);
    age_check(d->g);
    ask_mem(d, VIRTIO_MEM_REQ_UNPLUG, gpa, 1);
    g_assert(age_find_slot(qts, "memory", gpa, &slot));
    g_assert_cmpuint(age_count(qts, gpa, gpa + 2 * block, false), ==,
                     block / AGE_PAGE);
    ask_mem(d, VIRTIO_MEM_REQ_UNPLUG, gpa + block, 1);
    g_assert(!age_find_slot(qts, "memory", gpa, &slot));
    g_assert_cmpuint(count_mapped(d, gpa, GiB), ==, 0);
}

static void test_mem_slots(void)
{
    Discard *d = start_mem(default_board(), MEM("3G", ",dynamic-memslots=on"));
    uint64_t gpa = mem_config(d, addr);
    uint64_t tables = age_all_tables(d->g->qts);

    for (unsigned i = 0; i < 6; i++) {
        use_gibibyte(d, gpa + i % 3 * GiB);
        age_wait_tables(d->g->qts, tables);
        age_check(d->g);
    }
    quit(d);
}

/* All that is plugged goes in a reset. */
static void test_mem_reset(void)
{
    Discard *d = start_mem(default_board(), MEM("32M", ""));
    uint64_t gpa = mem_config(d, addr);

    ask_mem(d, VIRTIO_MEM_REQ_PLUG, gpa, 2);
    use_mem(d, gpa, 4 * MiB);
    age_guest_reset(d->g);
    g_assert_cmpuint(count_mapped(d, gpa, 32 * MiB), ==, 0);
    g_assert_cmpuint(age_count(d->g->qts, gpa, gpa + 32 * MiB, false), ==, 0);
    quit(d);
}

static void add_board(const Board *board)
{
    g_autofree char *balloon = g_strdup_printf("age/discard/balloon/%s",
                                               board->name);
    g_autofree char *report = g_strdup_printf("age/discard/report/%s",
                                              board->name);
    g_autofree char *mem = g_strdup_printf("age/discard/mem/%s", board->name);

    qtest_add_data_func(balloon, board, test_balloon);
    qtest_add_data_func(report, board, test_report);
    qtest_add_data_func(mem, board, test_mem);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (unsigned i = 0; i < G_N_ELEMENTS(boards); i++) {
        if (boards[i].x86 == age_is_x86()) {
            add_board(&boards[i]);
        }
    }
    qtest_add_func("age/discard/flush", test_flush);
    qtest_add_func("age/discard/batch", test_batch);
    qtest_add_func("age/discard/block", test_block);
    qtest_add_func("age/discard/busy", test_busy);
    qtest_add_func("age/discard/mem/slots", test_mem_slots);
    qtest_add_func("age/discard/mem/reset", test_mem_reset);

    return g_test_run();
}
