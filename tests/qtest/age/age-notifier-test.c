/*
 * age: the chain of secondary MMUs by itself, without an emulator
 *
 * The subscribers are made up here: each says what it was asked.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "qapi/error.h"
#include "system/age.h"

#define START   0x7f0000000000ULL
#define END     0x7f0000003000ULL

/**
 * Mmu: a subscriber
 *
 * @n: its subscription
 * @name: a letter
 * @refusal: why it can't answer for single pages, or NULL
 * @young: it has young pages
 */
typedef struct Mmu {
    AgeNotifier n;
    const char *name;
    const char *refusal;
    bool young;
} Mmu;

/* What subscribers were asked, and how they answered: one word each */
static GString *calls;
static GString *answers;

static void called(Mmu *m, const char *what)
{
    g_string_append_printf(calls, "%s%s:%s", calls->len ? " " : "", m->name,
                           what);
}

static bool take(Mmu *m)
{
    bool young = m->young;

    m->young = false;
    return young;
}

static bool can_test_clear_young(AgeNotifier *n, const char **reason)
{
    Mmu *m = container_of(n, Mmu, n);

    called(m, "can");
    *reason = m->refusal ?: *reason;
    return !m->refusal;
}

static void test_clear_young(AgeNotifier *n, AgeYoung *y)
{
    Mmu *m = container_of(n, Mmu, n);

    g_assert_cmphex(y->start, ==, START);
    g_assert_cmphex(y->end, ==, END);
    called(m, "test_clear");
    y->young[0] |= take(m) << (m->name[0] - 'a');
}

static void check_args(uint64_t start, uint64_t end)
{
    g_assert_cmphex(start, ==, START);
    g_assert_cmphex(end, ==, END);
}

static bool clear_young(AgeNotifier *n, uint64_t start, uint64_t end)
{
    check_args(start, end);
    called(container_of(n, Mmu, n), "clear");
    return take(container_of(n, Mmu, n));
}

static bool clear_flush_young(AgeNotifier *n, uint64_t start, uint64_t end)
{
    check_args(start, end);
    called(container_of(n, Mmu, n), "clear_flush");
    return take(container_of(n, Mmu, n));
}

static bool test_young(AgeNotifier *n, uint64_t start, uint64_t end)
{
    check_args(start, end);
    called(container_of(n, Mmu, n), "test");
    return container_of(n, Mmu, n)->young;
}

static void invalidate(AgeNotifier *n, uint64_t start, uint64_t end)
{
    bool all = start == 0 && end == ROUND_DOWN(UINT64_MAX, 4096);

    if (!all) {
        check_args(start, end);
    }
    called(container_of(n, Mmu, n), all ? "forget" : "invalidate");
}

static void release(AgeNotifier *n)
{
    called(container_of(n, Mmu, n), "release");
}

static const AgeNotifierOps all_ops = {
    .can_test_clear_young = can_test_clear_young,
    .test_clear_young = test_clear_young,
    .clear_young = clear_young,
    .clear_flush_young = clear_flush_young,
    .test_young = test_young,
    .invalidate = invalidate,
    .release = release,
};

/* One from before there was the call for single pages */
static const AgeNotifierOps old_ops = {
    .clear_young = clear_young,
    .clear_flush_young = clear_flush_young,
    .test_young = test_young,
};

static const AgeNotifierOps no_ops;

static void subscribe(Mmu *m, const AgeNotifierOps *ops, const char *name,
                      bool young)
{
    *m = (Mmu) { .n.ops = ops, .name = name, .young = young };
    age_notifier_register(&m->n, name, &error_abort);
}

/* The calls since the last time must be @want. */
static void check_calls(const char *want)
{
    g_assert_cmpstr(calls->str, ==, want);
    g_string_truncate(calls, 0);
}

/* It is released once, unless it does not care. */
static void unsubscribe(Mmu *m)
{
    g_autofree char *want = m->n.ops->release ?
        g_strdup_printf("%s:release", m->name) : g_strdup("");

    age_notifier_unregister(&m->n);
    drain_call_rcu();
    check_calls(want);
}

static void answered(void *opaque, const char *name, AgeHow how,
                     const char *reason, bool young)
{
    static const char *const names[] = { "bitmap", "clear", "refused" };

    g_assert(opaque == answers);
    g_string_append_printf(answers, "%s%s:%s", answers->len ? " " : "", name,
                           names[how]);
    if (reason) {
        g_string_append_printf(answers, "(%s)", reason);
    }
    if (young) {
        g_string_append(answers, "+");
    }
}

/* A harvest must return @result, and find @young: a bit for each subscriber. */
static void check(bool fallback, bool result, unsigned long young,
                  const char *want_answers, const char *want_calls)
{
    unsigned long map = 0;
    AgeYoung y = { .start = START, .end = END, .young = &map };

    g_assert(age_test_clear_young(&y, fallback, answered, answers) == result);
    g_assert_cmphex(map, ==, young);
    g_assert_cmpstr(answers->str, ==, want_answers);
    g_string_truncate(answers, 0);
    check_calls(want_calls);
}

static void test_empty(void)
{
    check(false, false, 0, "", "");
    check(true, false, 0, "", "");
    g_assert(!age_has_test_clear_young());
    g_assert(!age_clear_young(START, END));
    g_assert(!age_clear_flush_young(START, END));
    g_assert(!age_test_young(START, END));
}

/* All answer; what comes back is 0, fallback or not. */
static void test_bitmap(void)
{
    Mmu a, b;

    subscribe(&b, &all_ops, "b", true);
    subscribe(&a, &all_ops, "a", true);
    check(true, false, 3, "a:bitmap b:bitmap",
          "a:can a:test_clear b:can b:test_clear");
    check(false, false, 0, "a:bitmap b:bitmap",
          "a:can a:test_clear b:can b:test_clear");
    unsubscribe(&a);
    check(false, false, 0, "b:bitmap", "b:can b:test_clear");
    unsubscribe(&b);
    check(false, false, 0, "", "");
}

/* Who refuses is asked for nothing more, and the others all the same. */
static void test_refused(void)
{
    Mmu a, b;

    subscribe(&b, &all_ops, "b", true);
    subscribe(&a, &all_ops, "a", true);
    a.refusal = "no";
    check(false, false, 2, "a:refused(no) b:bitmap",
          "a:can b:can b:test_clear");
    g_assert(a.young);
    a.refusal = NULL;
    b.refusal = "later";
    b.young = true;
    check(false, false, 1, "a:bitmap b:refused(later)",
          "a:can a:test_clear b:can");
    g_assert(b.young);
    unsubscribe(&a);
    unsubscribe(&b);
}

/* The OR of those that fell back; what others found is not in it. */
static void test_fallback(void)
{
    Mmu a, b, c;

    subscribe(&c, &old_ops, "c", false);
    subscribe(&b, &all_ops, "b", true);
    subscribe(&a, &all_ops, "a", true);
    a.refusal = "no";
    check(true, true, 2,
          "a:clear(no)+ b:bitmap c:clear(it can't tell for single pages)",
          "a:can a:clear b:can b:test_clear c:clear");
    b.young = true;
    check(true, false, 2,
          "a:clear(no) b:bitmap c:clear(it can't tell for single pages)",
          "a:can a:clear b:can b:test_clear c:clear");
    c.young = true;
    check(false, false, 0,
          "a:refused(no) b:bitmap c:refused(it can't tell for single pages)",
          "a:can b:can b:test_clear");
    check(true, true, 0,
          "a:clear(no) b:bitmap c:clear(it can't tell for single pages)+",
          "a:can a:clear b:can b:test_clear c:clear");
    unsubscribe(&a);
    unsubscribe(&b);
    unsubscribe(&c);
}

/* It may be worth a try if any implements it, even if that refuses now. */
static void test_has(void)
{
    Mmu a, b, c;

    subscribe(&c, &no_ops, "c", false);
    subscribe(&b, &old_ops, "b", false);
    g_assert(!age_has_test_clear_young());
    subscribe(&a, &all_ops, "a", false);
    g_assert(age_has_test_clear_young());
    a.refusal = "no";
    g_assert(age_has_test_clear_young());
    check_calls("");
    unsubscribe(&a);
    g_assert(!age_has_test_clear_young());
    unsubscribe(&b);
    unsubscribe(&c);
}

/* The calls for a range as a whole: all clear, the first young one tells. */
static void test_spans(void)
{
    Mmu a, b;

    subscribe(&b, &all_ops, "b", true);
    subscribe(&a, &all_ops, "a", true);
    g_assert(age_test_young(START, END));
    check_calls("a:test");
    a.young = false;
    g_assert(age_test_young(START, END));
    check_calls("a:test b:test");
    g_assert(age_clear_young(START, END));
    check_calls("a:clear b:clear");
    g_assert(!age_clear_young(START, END));
    check_calls("a:clear b:clear");
    a.young = true;
    g_assert(age_clear_young(START, END));
    check_calls("a:clear b:clear");
    a.young = true;
    g_assert(age_clear_flush_young(START, END));
    check_calls("a:clear_flush b:clear_flush");
    g_assert(!age_clear_flush_young(START, END));
    check_calls("a:clear_flush b:clear_flush");
    g_assert(!age_test_young(START, END));
    check_calls("a:test b:test");
    unsubscribe(&a);
    unsubscribe(&b);
}

/* All are told of memory that is gone, or that all of it is another. */
static void test_discarded(void)
{
    Mmu a, b, c;

    age_discarded((void *)(uintptr_t)START, END - START);
    age_forget();
    subscribe(&c, &old_ops, "c", true);
    subscribe(&b, &all_ops, "b", true);
    subscribe(&a, &all_ops, "a", false);
    age_discarded((void *)(uintptr_t)START, END - START);
    check_calls("a:invalidate b:invalidate");
    age_forget();
    check_calls("a:forget b:forget");
    unsubscribe(&a);
    unsubscribe(&b);
    unsubscribe(&c);
}

/* Every call is optional. */
static void test_no_ops(void)
{
    Mmu a;

    subscribe(&a, &no_ops, "a", true);
    check(true, false, 0, "a:refused(it can't tell for single pages)", "");
    g_assert(!age_clear_young(START, END));
    g_assert(!age_clear_flush_young(START, END));
    g_assert(!age_test_young(START, END));
    g_assert(a.young);
    unsubscribe(&a);
}

/* Nobody is released while a reader might be looking at it. */
static void test_release(void)
{
    Mmu a;

    subscribe(&a, &all_ops, "a", false);
    rcu_read_lock();
    age_notifier_unregister(&a.n);
    check(false, false, 0, "", "");
    rcu_read_unlock();
    drain_call_rcu();
    check_calls("a:release");
}

/* A name is had once, and can be had again as soon as it is given up. */
static void test_names(void)
{
    Mmu a, b, other = { .n.ops = &all_ops, .name = "other" };
    Error *err = NULL;

    subscribe(&a, &all_ops, "a", false);
    subscribe(&b, &all_ops, "b", false);
    g_assert(!age_notifier_register(&other.n, "a", &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "another secondary MMU is named"
                    " 'a' in answers to harvests: choose another id");
    error_free(err);
    /* It is not asked. */
    g_assert(!age_test_young(START, END));
    check_calls("b:test a:test");
    rcu_read_lock();
    age_notifier_unregister(&a.n);
    g_assert(age_notifier_register(&other.n, "a", &error_abort));
    rcu_read_unlock();
    drain_call_rcu();
    check_calls("a:release");
    unsubscribe(&b);
    age_notifier_unregister(&other.n);
    drain_call_rcu();
    check_calls("other:release");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    /* There is no BQL here; this has it seem held, as Rust's tests do. */
    rust_bql_mock_lock();

    calls = g_string_new("");
    answers = g_string_new("");
    g_test_add_func("/age/notifier/empty", test_empty);
    g_test_add_func("/age/notifier/bitmap", test_bitmap);
    g_test_add_func("/age/notifier/refused", test_refused);
    g_test_add_func("/age/notifier/fallback", test_fallback);
    g_test_add_func("/age/notifier/has", test_has);
    g_test_add_func("/age/notifier/spans", test_spans);
    g_test_add_func("/age/notifier/discarded", test_discarded);
    g_test_add_func("/age/notifier/no-ops", test_no_ops);
    g_test_add_func("/age/notifier/release", test_release);
    g_test_add_func("/age/notifier/names", test_names);
    return g_test_run();
}
