/*
 * The number of the harvest, in every interleaving and on every processor that
 * weak-memory.h can think of
 *
 * One page is young.  A harvester clears its flag and stamps it, while somebody
 * reads what was stamped and is given a number to ask with next time.  If the
 * answer has not the page, the next one must: its flag is set still, or its
 * stamp is behind the number.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "accel/age/pt/clock.h"
#include "weak-memory.h"

/* In which way things are done, of which only the first is right */
typedef enum Variant {
    RIGHT,
    NUMBER_NOT_READ_AGAIN,
    TOLD_AFTER_CLEARING,
    ENDED_BEFORE_STAMP,
    NEXT_WITHOUT_TELLERS,
    TELLERS_NOT_ACQUIRED,
    NEXT_AFTER_SCAN,
    FORGOTTEN_AT_ONCE,
    FORGOTTEN_ALL,
    ZAP_TOLD_BEFORE,
    ZAP_NOT_LOOKED_FOR,
} Variant;

/**
 * Stage: a page, its stamp, and the number
 *
 * @variant: what is tried
 * @clock: the number
 * @teller: the place of the harvester
 * @hooked: what leads to the table that has the page
 * @seq: changes before a zap takes that away, as AgePageTable.seq
 * @epoch: changes after that, as AgePageTable.epoch
 * @accessed: the flag of the page
 * @stamp: what it was stamped with
 * @told: the answer has the page
 * @next: the number that was handed out
 * @settled: whoever forgets need not wait
 * @done: that has been found out
 */
typedef struct Stage {
    Variant variant;
    AgeClock clock;
    AgeTeller *teller;
    uint64_t hooked;
    uint64_t seq;
    uint64_t epoch;
    uint64_t accessed;
    uint64_t stamp;
    bool told;
    uint64_t next;
    bool settled;
    uint32_t done;
} Stage;

static void setup(void *opaque)
{
    Stage *s = opaque;

    age_clock_init(&s->clock, 1);
    s->teller = age_clock_join(&s->clock);
    s->hooked = s->accessed = 1;
    s->seq = s->epoch = 0;
    s->stamp = 0;
    s->told = s->settled = false;
    s->done = 0;
    weak_watch(&s->clock.now, sizeof(s->clock.now));
    weak_watch(&s->teller->number, sizeof(s->teller->number));
    weak_watch(&s->hooked, sizeof(s->hooked));
    weak_watch(&s->seq, sizeof(s->seq));
    weak_watch(&s->epoch, sizeof(s->epoch));
    weak_watch(&s->accessed, sizeof(s->accessed));
    weak_watch(&s->stamp, sizeof(s->stamp));
    weak_watch(&s->done, sizeof(s->done));
}

static void stage_clear(Stage *s)
{
    age_clock_leave(s->teller);
    age_clock_destroy(&s->clock);
}

/* As age_clock_begin(), but for what is tried */
static uint64_t begin(Stage *s)
{
    uint64_t number;

    if (s->variant != NUMBER_NOT_READ_AGAIN) {
        return age_clock_begin(&s->clock, s->teller);
    }
    number = qatomic_read(&s->clock.now);
    qatomic_set(&s->teller->number, number);
    /* As there */
    smp_mb();
    return number;
}

static void harvest(Stage *s)
{
    bool late = s->variant == TOLD_AFTER_CLEARING;
    uint64_t number = late ? qatomic_read(&s->clock.now) : begin(s);
    bool young = qatomic_fetch_and(&s->accessed, 0);

    if (late) {
        qatomic_set(&s->teller->number, number);
        /* As there */
        smp_mb();
    }
    if (s->variant == ENDED_BEFORE_STAMP) {
        age_clock_end(s->teller);
    }
    if (young) {
        qatomic_set(&s->stamp, number);
    }
    age_clock_end(s->teller);
}

/* As age_clock_settled(), but for what is tried */
static uint64_t settled(Stage *s)
{
    uint64_t now, number;

    if (s->variant == NEXT_WITHOUT_TELLERS) {
        return qatomic_read(&s->clock.now) - 1;
    }
    if (s->variant != TELLERS_NOT_ACQUIRED) {
        return age_clock_settled(&s->clock);
    }
    now = qatomic_read(&s->clock.now);
    /* As there */
    smp_mb();
    number = qatomic_read(&s->teller->number);
    return (number ? MIN(number, now) : now) - 1;
}

static void read_stamps(Stage *s)
{
    if (s->variant == NEXT_AFTER_SCAN) {
        s->told = qatomic_read(&s->stamp);
    }
    s->next = settled(s);
    if (s->variant != NEXT_AFTER_SCAN) {
        s->told = qatomic_read(&s->stamp);
    }
}

static void play_read(unsigned self, void *opaque)
{
    Stage *s = opaque;

    if (self == 0) {
        harvest(s);
        return;
    }
    age_clock_tick(&s->clock);
    read_stamps(s);
}

static bool check_read(void *opaque)
{
    Stage *s = opaque;
    bool ok = s->told || s->accessed || s->stamp > s->next;

    stage_clear(s);
    return ok;
}

static bool explore(Stage *s, WeakScene *scene)
{
    unsigned runs;
    bool ok;

    scene->preemptions = 5;
    scene->setup = setup;
    scene->opaque = s;
    ok = weak_explore(scene, &runs);
    g_test_message("%u runs, %s", runs, ok ? "all right" : "one is wrong");
    return ok;
}

static bool explore_read(Variant variant, unsigned no_mb)
{
    Stage s = { .variant = variant };
    WeakScene scene = {
        .threads = 2,
        .no_mb = no_mb,
        .play = play_read,
        .check = check_read,
    };

    return explore(&s, &scene);
}

static void test_read(void)
{
    g_assert_true(explore_read(RIGHT, 0));
    g_assert_false(explore_read(NUMBER_NOT_READ_AGAIN, 0));
    g_assert_false(explore_read(TOLD_AFTER_CLEARING, 0));
    g_assert_false(explore_read(ENDED_BEFORE_STAMP, 0));
    g_assert_false(explore_read(NEXT_WITHOUT_TELLERS, 0));
    g_assert_false(explore_read(TELLERS_NOT_ACQUIRED, 0));
    g_assert_false(explore_read(NEXT_AFTER_SCAN, 0));
    /* Without the harvester's barrier, and without the reader's */
    g_assert_false(explore_read(RIGHT, 1 << 0));
    g_assert_false(explore_read(RIGHT, 1 << 1));
}

/* One has the number go on, and another reads without doing so. */
static void play_other_tick(unsigned self, void *opaque)
{
    Stage *s = opaque;

    if (self == 0) {
        harvest(s);
    } else if (self == 1) {
        age_clock_tick(&s->clock);
    } else {
        read_stamps(s);
    }
}

static bool explore_other_tick(unsigned no_mb)
{
    Stage s = {};
    WeakScene scene = {
        .threads = 3,
        .no_mb = no_mb,
        .play = play_other_tick,
        .check = check_read,
    };

    return explore(&s, &scene);
}

static void test_other_tick(void)
{
    g_assert_true(explore_other_tick(0));
    g_assert_false(explore_other_tick(1 << 0));
    g_assert_false(explore_other_tick(1 << 2));
}

/* In one step, as there is a lock for that */
static void forget(Stage *s, uint64_t number)
{
    for (uint64_t stamp = 1; stamp <= number; stamp++) {
        qatomic_cmpxchg(&s->stamp, stamp, 0);
    }
}

/* A run in which one would have to wait tells nothing. */
static void forget_zapped(Stage *s)
{
    uint64_t number = age_clock_tick(&s->clock);

    s->settled = s->variant == FORGOTTEN_AT_ONCE ||
                 age_clock_settled(&s->clock) >= number;
    qatomic_set(&s->done, s->settled);
    if (s->settled) {
        forget(s, s->variant == FORGOTTEN_ALL ? number + 1 : number);
    }
}

/* The page is zapped and forgotten. */
static void play_forget(unsigned self, void *opaque)
{
    Stage *s = opaque;

    if (self == 0) {
        harvest(s);
        return;
    }
    qatomic_xchg(&s->accessed, 0);
    forget_zapped(s);
}

/* Nothing of before is left. */
static bool check_forget(void *opaque)
{
    Stage *s = opaque;
    bool ok = !s->settled || !s->stamp;

    stage_clear(s);
    return ok;
}

/* The page is accessed again, when nobody can stamp with the old number. */
static void play_forget_touch(unsigned self, void *opaque)
{
    Stage *s = opaque;

    if (self == 2) {
        s->told = qatomic_load_acquire(&s->done);
        qatomic_set(&s->accessed, 1);
    } else {
        play_forget(self, opaque);
    }
}

/* That is not forgotten. */
static bool check_forget_touch(void *opaque)
{
    Stage *s = opaque;
    bool ok = !s->settled || !s->told || s->accessed || s->stamp;

    stage_clear(s);
    return ok;
}

/* As begin_stamping() of harvest.c, and what comes before and after */
static void harvest_table(Stage *s)
{
    uint64_t *told = s->variant == ZAP_TOLD_BEFORE ? &s->seq : &s->epoch;
    uint64_t was = qatomic_load_acquire(told);
    uint64_t number;

    if (!qatomic_load_acquire(&s->hooked)) {
        return;
    }
    number = begin(s);
    if ((s->variant == ZAP_NOT_LOOKED_FOR ||
         qatomic_load_acquire(told) == was ||
         qatomic_load_acquire(&s->hooked)) &&
        qatomic_fetch_and(&s->accessed, 0)) {
        qatomic_set(&s->stamp, number);
    }
    age_clock_end(s->teller);
}

/* The table that has the page is unhooked as it is, and the page forgotten. */
static void play_unhook(unsigned self, void *opaque)
{
    Stage *s = opaque;

    if (self == 0) {
        harvest_table(s);
        return;
    }
    qatomic_inc(&s->seq);
    /* As in age_pt_zap() */
    smp_mb();
    qatomic_set(&s->hooked, 0);
    /* As in age_pt_next_epoch() */
    smp_mb();
    qatomic_inc(&s->epoch);
    forget_zapped(s);
}

static bool explore_unhook(Variant variant, unsigned no_mb)
{
    Stage s = { .variant = variant };
    WeakScene scene = {
        .threads = 2,
        .no_mb = no_mb,
        .play = play_unhook,
        .check = check_forget,
    };

    return explore(&s, &scene);
}

static void test_unhook(void)
{
    g_assert_true(explore_unhook(RIGHT, 0));
    g_assert_false(explore_unhook(ZAP_TOLD_BEFORE, 0));
    g_assert_false(explore_unhook(ZAP_NOT_LOOKED_FOR, 0));
    /* Without the harvester's barrier */
    g_assert_false(explore_unhook(RIGHT, 1 << 0));
}

static bool explore_forget(Variant variant, bool touch, unsigned no_mb)
{
    Stage s = { .variant = variant };
    WeakScene scene = {
        .threads = touch ? 3 : 2,
        .no_mb = no_mb,
        .play = touch ? play_forget_touch : play_forget,
        .check = touch ? check_forget_touch : check_forget,
    };

    return explore(&s, &scene);
}

static void test_forget(void)
{
    g_assert_true(explore_forget(RIGHT, false, 0));
    g_assert_false(explore_forget(FORGOTTEN_AT_ONCE, false, 0));
    g_assert_true(explore_forget(RIGHT, true, 0));
    g_assert_false(explore_forget(FORGOTTEN_ALL, true, 0));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/age/order/clock-read", test_read);
    g_test_add_func("/age/order/clock-other-tick", test_other_tick);
    g_test_add_func("/age/order/clock-forget", test_forget);
    g_test_add_func("/age/order/clock-unhook", test_unhook);
    return g_test_run();
}
