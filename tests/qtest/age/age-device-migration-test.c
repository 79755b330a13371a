/*
 * age-device: migration, to the same accelerator and to another
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "board.h"
#include "device.h"
#include "qmp.h"

#define MAGIC       0xfeedfacecafebeefULL
#define MESSAGE     0x600df00d
/*
 * What is read, again and again: words from FIRST on.  Steps are longer than
 * what the device does at a time, and more than it does without a break.
 */
#define FIRST       0x0102030405060708ULL
#define STEP        (192 * KiB + 8)
#define SIZE        (7 * STEP)

#define NUM_REGS    (AGE_DEVICE_REGS_END / 8)

/**
 * State: what the device is doing when it is migrated
 *
 * @name: of the test
 * @prepare: get there
 * @go_on: called on each machine that it came to; may be NULL
 * @finish: called on the last one
 */
typedef struct State {
    const char *name;
    void (*prepare)(AgeDev *d);
    void (*go_on)(AgeDev *d);
    void (*finish)(AgeDev *d);
} State;

/* Migration to a file, and from it */

static char *file_name(void)
{
    return g_strdup_printf("%s/age-migration-%d", g_get_tmp_dir(), getpid());
}

/* Returns whether it succeeded */
static bool wait_migrated(QTestState *qts)
{
    int64_t deadline = 0;

    for (;;) {
        g_autoptr(QDict) info = qtest_qmp_assert_success_ref(
            qts, "{ 'execute': 'query-migrate' }");
        const char *status = qdict_get_try_str(info, "status");

        if (status && g_str_equal(status, "completed")) {
            return true;
        }
        if (status && g_str_equal(status, "failed")) {
            return false;
        }
        age_poll(&deadline);
    }
}

static void begin_saving(AgeDev *d, const char *uri)
{
    qtest_qmp_assert_success(d->qts, "{ 'execute': 'migrate',"
                             " 'arguments': { 'uri': %s } }", uri);
}

static void begin_loading(AgeDev *d, const char *uri)
{
    qtest_qmp_assert_success(d->qts, "{ 'execute': 'migrate-incoming',"
                             " 'arguments': { 'uri': %s,"
                             " 'exit-on-error': false } }", uri);
}

static void save(AgeDev *d)
{
    g_autofree char *name = file_name();
    g_autofree char *uri = g_strdup_printf("file:%s", name);

    begin_saving(d, uri);
    g_assert(wait_migrated(d->qts));
}

/* A machine with the device in it, which has everything from @old */
static AgeDev *start_incoming(const AgeDev *old, const char *args, bool tcg)
{
    AgeGuestOptions options = {
        .machine = age_board_machine(),
        .args = args,
        .tcg = tcg,
        .incoming = true,
    };
    AgeDev *d = g_memdup2(old, sizeof(*old));

    d->g = age_guest_start(&options);
    d->qts = d->g->qts;
    return d;
}

static bool load(AgeDev *d)
{
    g_autofree char *name = file_name();
    g_autofree char *uri = g_strdup_printf("file:%s", name);

    begin_loading(d, uri);
    return wait_migrated(d->qts);
}

static void get_all(AgeDev *d, uint64_t *regs)
{
    for (unsigned i = 0; i < NUM_REGS; i++) {
        regs[i] = age_dev_get(d, 8 * i);
    }
}

/* To another machine, where all that can be seen is the same */
static AgeDev *migrate(AgeDev *from, const char *args, bool tcg)
{
    AgeDev *to = start_incoming(from, args, tcg);
    uint64_t before[NUM_REGS], after[NUM_REGS];

    save(from);
    get_all(from, before);
    g_assert(load(to));
    get_all(to, after);
    g_assert_cmpmem(after, sizeof(after), before, sizeof(before));
    g_assert(age_dev_intx(to) == age_dev_intx(from));
    g_assert(age_dev_msix_pending(to) == age_dev_msix_pending(from));
    if (!tcg) {
        /* Accessed bits stay behind. */
        g_assert_cmpuint(age_count(to->qts, to->memory, to->end, false), ==,
                         0);
    }
    age_dev_quit(from);
    return to;
}

static void test_migration(const State *state, const char *args)
{
    static const bool tcg[] = { false, true, false };
    AgeDev *d = age_dev_start(args);
    g_autofree char *name = file_name();

    state->prepare(d);
    for (unsigned i = 0; i < G_N_ELEMENTS(tcg); i++) {
        d = migrate(d, args, tcg[i]);
        if (state->go_on) {
            state->go_on(d);
        }
    }
    state->finish(d);
    age_flush_all(d->qts);
    age_dev_check_stride(d, AGE_DEVICE_COMMAND_WRITE);
    age_dev_quit(d);
    unlink(name);
}

/* Idle, with something in each register */

static void idle_prepare(AgeDev *d)
{
    for (unsigned reg = AGE_DEVICE_COMMAND; reg <= AGE_DEVICE_REPEAT;
         reg += 8) {
        age_dev_set(d, reg, MAGIC * (reg + 1));
    }
    age_dev_set(d, AGE_DEVICE_IRQ_ENABLE, AGE_DEVICE_IRQ_ERROR);
}

static void idle_finish(AgeDev *d)
{
    for (unsigned reg = AGE_DEVICE_COMMAND; reg <= AGE_DEVICE_REPEAT;
         reg += 8) {
        g_assert_cmphex(age_dev_get(d, reg), ==, MAGIC * (reg + 1));
    }
    age_dev_fail(d, AGE_DEVICE_CODE_INVALID);
    g_assert(age_dev_intx(d));
}

/* A job that is done, or failed, with an interrupt that nobody cared for */

static void done_prepare(AgeDev *d)
{
    age_dev_set(d, AGE_DEVICE_IRQ_ENABLE, AGE_DEVICE_IRQ_ALL);
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, d->memory, 1000, 7);
    age_dev_do(d);
    g_assert(age_dev_intx(d));
    g_assert_cmpuint(age_count(d->qts, d->memory, d->end, false), ==, 2);
}

static void done_finish(AgeDev *d)
{
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_STATUS), ==,
                    AGE_DEVICE_STATUS_DONE);
    g_assert_cmpuint(age_dev_get(d, AGE_DEVICE_BYTES), ==, 7000);
    g_assert(age_dev_intx(d));
    age_dev_set(d, AGE_DEVICE_IRQ_STATUS, AGE_DEVICE_IRQ_DONE);
    g_assert(!age_dev_intx(d));
}

static void failed_prepare(AgeDev *d)
{
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, d->end - 64, 65, 1);
    age_dev_fail(d, AGE_DEVICE_CODE_DMA);
}

static void failed_finish(AgeDev *d)
{
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_ERROR_ADDRESS), ==,
                    d->end - 64);
    g_assert(!age_dev_intx(d));
    age_dev_set(d, AGE_DEVICE_IRQ_ENABLE, AGE_DEVICE_IRQ_ERROR);
    g_assert(age_dev_intx(d));
}

/* A message that waits for its vector to be unmasked */

static void message_prepare(AgeDev *d)
{
    age_dev_use_msix(d, d->end - AGE_PAGE, MESSAGE, true);
    age_dev_set(d, AGE_DEVICE_IRQ_ENABLE, AGE_DEVICE_IRQ_DONE);
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, d->memory, 8, 1);
    age_dev_do(d);
    g_assert(age_dev_msix_pending(d));
}

static void message_finish(AgeDev *d)
{
    int64_t deadline = 0;

    g_assert(age_dev_msix_pending(d));
    age_dev_mask_msix(d, false);
    while (qtest_readl(d->qts, d->end - AGE_PAGE) != MESSAGE) {
        age_poll(&deadline);
    }
    g_assert(!age_dev_msix_pending(d));
}

/* A job that rests as the machine does, and goes on where it was */

static void set_endless(AgeDev *d)
{
    age_dev_setup(d, AGE_DEVICE_COMMAND_WRITE, d->memory, SIZE, 1);
    age_dev_set(d, AGE_DEVICE_FILL, FIRST);
    age_dev_do(d);
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, d->memory, STEP, SIZE / STEP);
    age_dev_set(d, AGE_DEVICE_FILL, MAGIC);
    age_dev_set(d, AGE_DEVICE_REPEAT, 0);
}

static void running_prepare(AgeDev *d)
{
    set_endless(d);
    age_guest_cont(d->g);
    age_dev_go(d);
    age_dev_wait_bytes(d, 1);
    age_guest_stop(d->g);
}

/* It was started while the machine was stopped, and saving it has it rest. */
static void started_prepare(AgeDev *d)
{
    set_endless(d);
    age_dev_go(d);
    age_dev_wait_bytes(d, 1);
}

static void running_go_on(AgeDev *d)
{
    uint64_t bytes = age_dev_get(d, AGE_DEVICE_BYTES);

    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_STATUS), ==,
                    AGE_DEVICE_STATUS_BUSY);
    age_guest_cont(d->g);
    age_dev_wait_bytes(d, bytes + 1);
    age_guest_stop(d->g);
}

/* Of so many bytes as a job has read, with nothing left out and none twice */
static uint64_t checksum(uint64_t bytes)
{
    uint64_t sum = AGE_DEVICE_CHECKSUM_START;

    for (uint64_t i = 0; i < bytes; i++) {
        uint64_t at = i % SIZE, word = FIRST + at / 8;

        sum = (sum ^ (word >> at % 8 * 8 & 0xff)) * AGE_DEVICE_CHECKSUM_PRIME;
    }
    return sum;
}

static void running_finish(AgeDev *d)
{
    uint64_t bytes;

    age_dev_stop(d);
    bytes = age_dev_get(d, AGE_DEVICE_BYTES);
    g_assert_cmpuint(age_dev_get(d, AGE_DEVICE_STEPS), ==, bytes / STEP);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_CHECKSUM), ==, checksum(bytes));
}

/*
 * From a machine that runs, through a socket.  The main loop connects it when
 * nothing else is to be done: a job must not keep it from that.
 */
static void test_live(const void *args)
{
    AgeDev *from = age_dev_start(args);
    AgeDev *to = start_incoming(from, args, false);
    g_autofree char *name = file_name();
    g_autofree char *uri = g_strdup_printf("unix:%s", name);

    set_endless(from);
    age_guest_cont(from->g);
    age_dev_go(from);
    age_dev_wait_bytes(from, 1);
    begin_loading(to, uri);
    begin_saving(from, uri);
    g_assert(wait_migrated(from->qts));
    g_assert(wait_migrated(to->qts));
    age_dev_quit(from);
    running_go_on(to);
    running_finish(to);
    age_dev_quit(to);
    unlink(name);
}

/* Streams in which a field of the device is not what it was */

enum {
    AT_STATUS = -12, AT_IRQ_STATUS, AT_IRQ_ENABLE, AT_COMMAND, AT_PATTERN,
    AT_SOURCE, AT_DESTINATION, AT_LENGTH, AT_COUNT, AT_STRIDE, AT_WINDOW,
    AT_SEED, AT_FILL, AT_REPEAT, AT_PASS, AT_STEP, AT_OFFSET, AT_BYTES,
    AT_STEPS, AT_CHECKSUM, AT_ERROR_ADDRESS, AT_END,
};

/* What must become of it; some depend on where the job happens to be. */
typedef enum Fate { LOADED, REFUSED, EITHER } Fate;

typedef struct Corruption {
    int field;
    uint64_t value;
    Fate fate;
} Corruption;

static const Corruption corruptions[] = {
    { AT_OFFSET, ~0ULL, REFUSED },
    { AT_OFFSET, STEP, REFUSED },
    { AT_STEP, SIZE / STEP, REFUSED },
    { AT_STEP, ~0ULL, REFUSED },
    { AT_LENGTH, 0, EITHER },
    { AT_COUNT, 0, EITHER },
    { AT_STATUS, 0 },
    { AT_STATUS, ~0ULL },
    { AT_STATUS, AGE_DEVICE_STATUS_DONE },
    { AT_IRQ_STATUS, ~0ULL },
    { AT_IRQ_ENABLE, ~0ULL },
    { AT_COMMAND, 0 },
    { AT_COMMAND, ~0ULL },
    { AT_PATTERN, ~0ULL },
    { AT_PATTERN, AGE_DEVICE_PATTERN_RANDOM },
    { AT_SOURCE, ~0ULL },
    { AT_SOURCE, 1ULL << 63 },
    { AT_LENGTH, ~0ULL },
    { AT_COUNT, ~0ULL },
    { AT_OFFSET, STEP - 1 },
    { AT_PASS, ~0ULL },
    { AT_BYTES, ~0ULL },
    { AT_BYTES, 0 },
    { AT_STEPS, ~0ULL },
    { AT_ERROR_ADDRESS, ~0ULL },
};

/* Where the device's state is: a value that only it has tells. */
static uint64_t *find_fields(char *data, size_t size)
{
    uint64_t magic = cpu_to_be64(MAGIC);
    char *found = memmem(data, size, &magic, sizeof(magic));
    char *next = found + sizeof(magic);

    g_assert_nonnull(found);
    g_assert_null(memmem(next, data + size - next, &magic, sizeof(magic)));
    return (uint64_t *)found;
}

static void write_corrupted(const char *data, size_t size,
                            const Corruption *c)
{
    g_autofree char *copy = g_memdup2(data, size);
    g_autofree char *name = file_name();
    GError *err = NULL;

    stq_be_p(find_fields(copy, size) + c->field, c->value);
    g_file_set_contents(name, copy, size, &err);
    g_assert_no_error(err);
}

/* Whatever the device was told, it can be stopped and does its work again. */
static void check_alive(AgeDev *d)
{
    age_guest_cont(d->g);
    age_dev_set(d, AGE_DEVICE_CONTROL, AGE_DEVICE_CONTROL_STOP);
    g_assert_cmphex(age_dev_wait(d) & AGE_DEVICE_STATUS_BUSY, ==, 0);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_IRQ_STATUS) &
                    ~AGE_DEVICE_IRQ_ALL, ==, 0);
    age_guest_stop(d->g);
    age_flush_all(d->qts);
    age_dev_check_stride(d, AGE_DEVICE_COMMAND_WRITE);
}

static void check_corruption(const AgeDev *old, const char *args,
                             const char *data, size_t size,
                             const Corruption *c)
{
    AgeDev *d = start_incoming(old, args, false);
    bool loaded;

    write_corrupted(data, size, c);
    loaded = load(d);
    g_assert(c->fate == EITHER || loaded == (c->fate == LOADED));
    if (loaded) {
        check_alive(d);
    }
    age_dev_quit(d);
}

static void test_corrupted(const void *args)
{
    AgeDev *d = age_dev_start(args);
    g_autofree char *name = file_name();
    g_autofree char *data = NULL;
    GError *err = NULL;
    gsize size;

    running_prepare(d);
    save(d);
    g_file_get_contents(name, &data, &size, &err);
    g_assert_no_error(err);
    for (unsigned i = 0; i < G_N_ELEMENTS(corruptions); i++) {
        check_corruption(d, args, data, size, &corruptions[i]);
    }
    age_dev_quit(d);
    unlink(name);
}

static const State states[] = {
    { "idle", idle_prepare, NULL, idle_finish },
    { "done", done_prepare, NULL, done_finish },
    { "failed", failed_prepare, NULL, failed_finish },
    { "message", message_prepare, NULL, message_finish },
    { "running", running_prepare, running_go_on, running_finish },
    { "started", started_prepare, running_go_on, running_finish },
};

static void test_slices(const void *state)
{
    test_migration(state, AGE_DEV);
}

static void test_worker(const void *state)
{
    test_migration(state, AGE_DEV_WORKER);
}

static void add(const State *state)
{
    g_autofree char *slices = g_strdup_printf("age/device/migration/%s",
                                              state->name);
    g_autofree char *worker = g_strdup_printf(
        "age/device/worker/migration/%s", state->name);

    qtest_add_data_func(slices, state, test_slices);
    qtest_add_data_func(worker, state, test_worker);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (unsigned i = 0; i < G_N_ELEMENTS(states); i++) {
        add(&states[i]);
    }
    age_dev_add_test("migration/live", test_live);
    age_dev_add_test("migration/corrupted", test_corrupted);
    return g_test_run();
}
