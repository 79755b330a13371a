/*
 * The guest's side of the demo and of the functional tests
 *
 * A program whose use of memory is known page by page.  It owns one area of
 * locked anonymous memory, touches the pages it is told to touch and no
 * others, and keeps account: which pages, and which page frames they lie in
 * according to its own /proc/self/pagemap.  The host holds that account
 * against what it harvests.
 *
 * The console is the only channel and the kernel may write to it as well, so
 * every line carries a number and a checksum.  The host sends
 *
 *     !NUMBER WORD... #CRC
 *
 * and repeats it while no answer comes; the answer is
 *
 *     @NUMBER ok NAME=VALUE... #CRC       or       @NUMBER err TEXT... #CRC
 *
 * A number that was answered already gets the same answer again and is not
 * carried out twice.  Lines that are not whole are ignored by both.
 *
 * The account is far too long for a serial line.  It stays in memory, and
 * the answer to "report" names the frame of its first index page, from which
 * the host reads all of it as guest-physical memory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define PROTOCOL        1
#define PAGE_SIZE       4096
#define LINE_SIZE       256
#define MAX_WORDS       8
#define MAX_THREADS     64

/* Nobody stores below this offset of a page: code for "exec" lies there. */
#define CODE_SIZE       64

/*
 * An entry of the account, one for each page of the area.  The shape says
 * which part of the background pattern the page belongs to.
 */
#define ENTRY_PFN_MASK      ((1ull << 48) - 1)
#define ENTRY_SHAPE_SHIFT   56
#define ENTRY_SHAPE_MASK    (3ull << ENTRY_SHAPE_SHIFT)
#define ENTRY_TOUCHED       (1ull << 63)

#define ENTRIES_PER_PAGE    (PAGE_SIZE / sizeof(uint64_t))

typedef enum Shape {
    SHAPE_NONE,
    SHAPE_HOT,
    SHAPE_WARM,
    SHAPE_COLD,
} Shape;

/*
 * A page of the index.  It lists the frames of the account's pages, in
 * order; frame 0 ends the list and the chain.
 */
#define INDEX_MAGIC     0x7865646e69656761ull   /* "ageindex" */
#define INDEX_SLOTS     (ENTRIES_PER_PAGE - 2)

typedef struct IndexPage {
    uint64_t magic;
    uint64_t pfn[INDEX_SLOTS];
    uint64_t next;
} IndexPage;

typedef struct Area {
    uint8_t *mem;
    size_t pages;
    uint64_t *entries;
    size_t entry_pages;
    IndexPage *index;
    size_t index_pages;
} Area;

static Area area;

/* Console */

/* CRC-16 with the polynomial 0x1021, from 0, most significant bit first. */
static uint16_t crc16(const char *s, size_t len)
{
    uint16_t crc = 0;

    while (len--) {
        crc ^= (uint16_t)((uint8_t)*s++ << 8);
        for (int i = 0; i < 8; i++) {
            crc = (uint16_t)(crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0);
        }
    }
    return crc;
}

static void console_setup(void)
{
    struct termios t;

    if (tcgetattr(STDIN_FILENO, &t) == 0) {
        cfmakeraw(&t);
        t.c_cc[VMIN] = 1;
        t.c_cc[VTIME] = 0;
        tcsetattr(STDIN_FILENO, TCSANOW, &t);
    }
}

static void console_write(const char *s, size_t len)
{
    while (len) {
        ssize_t n = write(STDOUT_FILENO, s, len);

        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            return;
        }
        if (n > 0) {
            s += n;
            len -= (size_t)n;
        }
    }
}

/* The line feed in front ends whatever the kernel may have left there. */
static void console_reply(unsigned number, const char *text)
{
    char body[LINE_SIZE];
    char line[LINE_SIZE + 16];
    int len;

    len = snprintf(body, sizeof(body), "@%u %s", number, text);
    if (len >= (int)sizeof(body)) {
        len = sizeof(body) - 1;
    }
    len = snprintf(line, sizeof(line), "\n%s #%04x\n", body,
                   crc16(body, (size_t)len));
    console_write(line, (size_t)len);
}

static char console_getc(void)
{
    char c;

    while (read(STDIN_FILENO, &c, 1) != 1) {
        usleep(1000);
    }
    return c;
}

static void console_read_line(char *line, size_t size)
{
    size_t len = 0;
    char c;

    while ((c = console_getc()) != '\n') {
        if (len < size - 1) {
            line[len++] = c;
        }
    }
    line[len] = '\0';
}

/* Cuts the checksum off a line that is whole; false for any other line. */
static bool line_check(char *line)
{
    char *mark = strrchr(line, '#');
    char *end;
    unsigned long crc;

    if (line[0] != '!' || !mark || mark == line || mark[-1] != ' ') {
        return false;
    }
    crc = strtoul(mark + 1, &end, 16);
    if (end != mark + 5 || crc != crc16(line, (size_t)(mark - 1 - line))) {
        return false;
    }
    mark[-1] = '\0';
    return true;
}

/* Answers */

static char answer[LINE_SIZE - 16];

static void __attribute__((format(printf, 1, 2))) ok(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    strcpy(answer, "ok ");
    vsnprintf(answer + 3, sizeof(answer) - 3, fmt, ap);
    va_end(ap);
}

static void __attribute__((format(printf, 1, 2))) err(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    strcpy(answer, "err ");
    vsnprintf(answer + 4, sizeof(answer) - 4, fmt, ap);
    va_end(ap);
}

/* Page frames */

/* Reads the frames of @count pages from @addr on; pages must be present. */
static bool pagemap_read(const void *addr, size_t count, uint64_t *pfn)
{
    static int fd = -1;
    off_t pos = (off_t)((uintptr_t)addr / PAGE_SIZE * sizeof(uint64_t));
    ssize_t want = (ssize_t)(count * sizeof(uint64_t));

    if (fd < 0) {
        fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0 || pread(fd, pfn, (size_t)want, pos) != want) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        /* Bit 63: present.  The frame reads as 0 without the privilege. */
        bool present = pfn[i] >> 63;

        pfn[i] &= (1ull << 55) - 1;
        if (!present || !pfn[i] || pfn[i] > ENTRY_PFN_MASK) {
            return false;
        }
    }
    return true;
}

/* Takes the area's frames anew, and counts those that are not as before. */
static bool refresh_entries(size_t *moved)
{
    uint64_t pfn[ENTRIES_PER_PAGE];

    *moved = 0;
    for (size_t i = 0; i < area.pages; i += ENTRIES_PER_PAGE) {
        size_t left = area.pages - i;
        size_t count = left < ENTRIES_PER_PAGE ? left : ENTRIES_PER_PAGE;

        if (!pagemap_read(area.mem + i * PAGE_SIZE, count, pfn)) {
            return false;
        }
        for (size_t j = 0; j < count; j++) {
            uint64_t old = area.entries[i + j];

            *moved += (old & ENTRY_PFN_MASK) != pfn[j];
            area.entries[i + j] = (old & ~ENTRY_PFN_MASK) | pfn[j];
        }
    }
    return true;
}

static bool refresh_index(void)
{
    for (size_t i = 0; i < area.index_pages; i++) {
        IndexPage *page = &area.index[i];
        size_t first = i * INDEX_SLOTS;
        size_t left = area.entry_pages - first;
        size_t count = left < INDEX_SLOTS ? left : INDEX_SLOTS;

        memset(page, 0, sizeof(*page));
        page->magic = INDEX_MAGIC;
        if (!pagemap_read(area.entries + first * ENTRIES_PER_PAGE, count,
                          page->pfn)) {
            return false;
        }
        if (i + 1 < area.index_pages &&
            !pagemap_read(page + 1, 1, &page->next)) {
            return false;
        }
    }
    return true;
}

/* The area */

static void *map_locked(size_t pages, int prot, int advice)
{
    size_t size = pages * PAGE_SIZE;
    void *p = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED) {
        return NULL;
    }
    madvise(p, size, advice);
    if (mlock(p, size) < 0) {
        munmap(p, size);
        return NULL;
    }
    return p;
}

static void unmap(void *p, size_t pages)
{
    if (p) {
        munmap(p, pages * PAGE_SIZE);
    }
}

static void area_free(void)
{
    unmap(area.mem, area.pages);
    unmap(area.entries, area.entry_pages);
    unmap(area.index, area.index_pages);
    memset(&area, 0, sizeof(area));
}

/* Gives each page content of its own, and a function that only returns. */
static void area_fill(void)
{
#if defined(__x86_64__)
    static const uint8_t code[] = { 0xc3 };
#elif defined(__aarch64__)
    static const uint8_t code[] = { 0xc0, 0x03, 0x5f, 0xd6 };
#else
#error "no code for this architecture"
#endif

    for (size_t i = 0; i < area.pages; i++) {
        uint8_t *page = area.mem + i * PAGE_SIZE;

        memcpy(page, code, sizeof(code));
        memcpy(page + CODE_SIZE, &i, sizeof(i));
    }
    __builtin___clear_cache((char *)area.mem,
                            (char *)area.mem + area.pages * PAGE_SIZE);
}

static bool area_alloc(size_t pages, bool thp)
{
    const int rw = PROT_READ | PROT_WRITE;

    area_free();
    area.pages = pages;
    area.entry_pages = (pages + ENTRIES_PER_PAGE - 1) / ENTRIES_PER_PAGE;
    area.index_pages = (area.entry_pages + INDEX_SLOTS - 1) / INDEX_SLOTS;
    area.mem = map_locked(pages, rw | PROT_EXEC,
                          thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    area.entries = map_locked(area.entry_pages, rw, MADV_NOHUGEPAGE);
    area.index = map_locked(area.index_pages, rw, MADV_NOHUGEPAGE);
    if (!area.mem || !area.entries || !area.index) {
        area_free();
        return false;
    }
    area_fill();
    return true;
}

/*
 * Says that page @i was touched.  Called after the access: a page that is
 * on the account has been touched for sure.  Several threads may meet here.
 */
static void account(size_t i)
{
    if (!(__atomic_load_n(&area.entries[i], __ATOMIC_RELAXED) &
          ENTRY_TOUCHED)) {
        __atomic_fetch_or(&area.entries[i], ENTRY_TOUCHED, __ATOMIC_RELAXED);
    }
}

static void account_reset(void)
{
    for (size_t i = 0; i < area.pages; i++) {
        area.entries[i] &= ~(ENTRY_TOUCHED | ENTRY_SHAPE_MASK);
    }
}

static void account_shape(size_t first, size_t count, Shape shape)
{
    for (size_t i = first; i < first + count; i++) {
        area.entries[i] &= ~ENTRY_SHAPE_MASK;
        area.entries[i] |= (uint64_t)shape << ENTRY_SHAPE_SHIFT;
    }
}

/* Touching one page */

typedef enum Op {
    OP_LOAD,
    OP_STORE,
    OP_ATOMIC,
    OP_EXEC,
    OP_MIX,         /* one of those above, by page */
    OP_STRADDLE,    /* a load across the end of the page */
    OP__MAX,
} Op;

static const char *const op_names[OP__MAX] = {
    [OP_LOAD] = "load",
    [OP_STORE] = "store",
    [OP_ATOMIC] = "atomic",
    [OP_EXEC] = "exec",
    [OP_MIX] = "mix",
    [OP_STRADDLE] = "straddle",
};

typedef volatile uint64_t Cell; /* volatile: the access itself counts */

typedef struct __attribute__((packed)) UnalignedCell {
    Cell v;
} UnalignedCell;

/* The finalizer of the splitmix64 generator: a good hash of a counter. */
static uint64_t hash64(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

static void touch_page(size_t i, Op op, uint64_t salt)
{
    uint8_t *page = area.mem + i * PAGE_SIZE;
    uint64_t h = hash64(i ^ salt);
    size_t room = (PAGE_SIZE - CODE_SIZE) / sizeof(Cell);
    Cell *cell = (Cell *)(page + CODE_SIZE) + h % room;

    if (op == OP_MIX) {
        op = (Op)((h >> 32) % OP_MIX);
    }
    if (op == OP_STRADDLE && i + 1 == area.pages) {
        op = OP_LOAD;       /* nothing lies behind the last page */
    }
    switch (op) {
    case OP_STORE:
        *cell = h;
        break;
    case OP_ATOMIC:
        __atomic_fetch_add(cell, 1, __ATOMIC_SEQ_CST);
        break;
    case OP_EXEC:
        ((void (*)(void))page)();
        break;
    case OP_STRADDLE:
        (void)((UnalignedCell *)(page + PAGE_SIZE - 4))->v;
        account(i + 1);
        break;
    default:
        (void)*cell;
        break;
    }
    account(i);
}

/* Touching by pattern, once */

typedef enum PatternKind {
    PATTERN_ALL,
    PATTERN_EVERY,
    PATTERN_RANDOM,
} PatternKind;

typedef struct Pattern {
    PatternKind kind;
    uint64_t step;      /* EVERY: every step-th page ... */
    uint64_t first;     /* ... from this one on */
    uint64_t seed;      /* RANDOM: of this seed ... */
    uint64_t permille;  /* ... so many pages of a thousand */
} Pattern;

/* "all", "every:STEP:FIRST" or "random:SEED:PERMILLE" */
static bool pattern_parse(const char *s, Pattern *p)
{
    char rest;

    memset(p, 0, sizeof(*p));
    if (!strcmp(s, "all")) {
        p->kind = PATTERN_ALL;
        return true;
    }
    if (sscanf(s, "every:%" SCNu64 ":%" SCNu64 "%c",
               &p->step, &p->first, &rest) == 2) {
        p->kind = PATTERN_EVERY;
        return p->step > 0 && p->first < p->step;
    }
    if (sscanf(s, "random:%" SCNu64 ":%" SCNu64 "%c",
               &p->seed, &p->permille, &rest) == 2) {
        p->kind = PATTERN_RANDOM;
        return p->permille <= 1000;
    }
    return false;
}

static bool pattern_has(const Pattern *p, size_t i)
{
    switch (p->kind) {
    case PATTERN_EVERY:
        return i % p->step == p->first;
    case PATTERN_RANDOM:
        return hash64(i + hash64(p->seed)) % 1000 < p->permille;
    default:
        return true;
    }
}

/* Threads */

typedef struct Worker {
    pthread_t tid;
    unsigned nr;
    unsigned count;
    void *job;
    uint64_t done;
} Worker;

/* Pins the calling thread: worker N runs on CPU N, as long as there is one. */
static void worker_pin(const Worker *w)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(w->nr % (unsigned)sysconf(_SC_NPROCESSORS_ONLN), &set);
    sched_setaffinity(0, sizeof(set), &set);
}

/* Waits for the workers and returns the sum of what each has done. */
static uint64_t workers_join(Worker *w, unsigned count)
{
    uint64_t done = 0;

    for (unsigned i = 0; i < count; i++) {
        pthread_join(w[i].tid, NULL);
        done += w[i].done;
    }
    return done;
}

/* Returns how many could be started. */
static unsigned workers_start(Worker *w, unsigned count,
                              void *(*fn)(void *), void *job)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        w[i] = (Worker) { .nr = i, .count = count, .job = job };
        if (pthread_create(&w[i].tid, NULL, fn, &w[i])) {
            break;
        }
    }
    return i;
}

typedef struct TouchJob {
    Pattern pattern;
    Op op;
    uint64_t salt;
} TouchJob;

/* Neighbouring pages fall to different workers, on purpose. */
static void touch_share(Worker *w, const TouchJob *job)
{
    for (size_t i = w->nr; i < area.pages; i += w->count) {
        if (pattern_has(&job->pattern, i)) {
            touch_page(i, job->op, job->salt);
            w->done++;
        }
    }
}

static void *touch_worker(void *opaque)
{
    Worker *w = opaque;

    worker_pin(w);
    touch_share(w, w->job);
    return NULL;
}

/* Touching by pattern, again and again */

/*
 * Workers that hold on to their processors between two turns: they spin, so
 * that neither the scheduler nor a system call has reason to drop what the
 * TLB holds.  A page of an earlier turn is then touched again through the
 * translation of that turn.
 */
typedef struct HoldJob {
    TouchJob touch;
    unsigned turn;      /* workers take their turns up to this one */
    unsigned finished;  /* workers that have done the last turn */
    bool stop;
} HoldJob;

static HoldJob hold;
static Worker hold_workers[MAX_THREADS];
static unsigned hold_count;

static void *hold_worker(void *opaque)
{
    Worker *w = opaque;
    HoldJob *job = w->job;
    unsigned turn = 0;

    worker_pin(w);
    while (!__atomic_load_n(&job->stop, __ATOMIC_ACQUIRE)) {
        if (__atomic_load_n(&job->turn, __ATOMIC_ACQUIRE) != turn) {
            turn++;
            touch_share(w, &job->touch);
            __atomic_fetch_add(&job->finished, 1, __ATOMIC_RELEASE);
        }
    }
    return NULL;
}

/* Has the workers take one turn, and waits for them. */
static void hold_next(void)
{
    __atomic_store_n(&hold.finished, 0, __ATOMIC_RELAXED);
    __atomic_fetch_add(&hold.turn, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&hold.finished, __ATOMIC_ACQUIRE) < hold_count) {
        usleep(1000);
    }
}

static uint64_t hold_release(void)
{
    uint64_t done;

    __atomic_store_n(&hold.stop, true, __ATOMIC_RELEASE);
    done = workers_join(hold_workers, hold_count);
    hold_count = 0;
    return done;
}

/* The background pattern */

/*
 * The area is cut in three: @hot pages that are touched all the time, @warm
 * pages of which a window of @window is touched and moves on by its own
 * length every @period_ms, and the cold rest that nobody touches.
 */
typedef struct RunJob {
    size_t hot;
    size_t warm;
    size_t window;
    uint64_t period_ms;
    uint64_t start_ms;
    bool stop;
} RunJob;

static RunJob run;
static Worker run_workers[MAX_THREADS];
static unsigned run_count;

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void run_pass(const Worker *w, const RunJob *job, uint64_t pass)
{
    uint64_t step = (now_ms() - job->start_ms) / job->period_ms;
    Op op = pass & 1 ? OP_STORE : OP_LOAD;

    for (size_t i = w->nr; i < job->hot; i += w->count) {
        touch_page(i, op, pass);
    }
    for (size_t i = w->nr; i < job->window; i += w->count) {
        touch_page(job->hot + (step * job->window + i) % job->warm, op, pass);
    }
}

static void *run_worker(void *opaque)
{
    Worker *w = opaque;
    const RunJob *job = w->job;

    worker_pin(w);
    while (!__atomic_load_n(&job->stop, __ATOMIC_RELAXED)) {
        run_pass(w, job, w->done++);
        usleep(10000);
    }
    return NULL;
}

static uint64_t run_stop(void)
{
    uint64_t passes;

    __atomic_store_n(&run.stop, true, __ATOMIC_RELAXED);
    passes = workers_join(run_workers, run_count);
    run_count = 0;
    return passes;
}

/* Commands */

static bool number(const char *s, uint64_t max, uint64_t *value)
{
    char *end;

    errno = 0;
    *value = strtoull(s, &end, 10);
    return *s >= '0' && *s <= '9' && !*end && !errno && *value <= max;
}

static bool idle(void)
{
    if (run_count || hold_count) {
        err("workers are running");
        return false;
    }
    return true;
}

static bool allocated(void)
{
    if (!area.mem) {
        err("nothing is allocated");
        return false;
    }
    return true;
}

static void cmd_hello(char **word)
{
    struct utsname u;

    (void)word;
    uname(&u);
    ok("workload=%d arch=%s kernel=%s cpus=%ld page-size=%ld ram-pages=%ld",
       PROTOCOL, u.machine, u.release, sysconf(_SC_NPROCESSORS_ONLN),
       sysconf(_SC_PAGESIZE), sysconf(_SC_PHYS_PAGES));
}

/* alloc PAGES small|thp */
static void cmd_alloc(char **word)
{
    uint64_t pages;
    size_t moved;

    if (!idle()) {
        return;
    }
    if (!number(word[1], 1u << 30, &pages) || !pages ||
        (strcmp(word[2], "small") && strcmp(word[2], "thp"))) {
        err("alloc: bad argument");
    } else if (!area_alloc(pages, !strcmp(word[2], "thp"))) {
        err("alloc: %s", strerror(errno));
    } else if (!refresh_entries(&moved)) {
        err("alloc: cannot read the pagemap");
    } else {
        ok("pages=%zu", area.pages);
    }
}

/* The arguments that "touch" and "hold" have in common */
static bool touch_parse(char **word, TouchJob *job, unsigned *threads)
{
    static uint64_t turn;
    uint64_t n;

    if (!allocated() || !idle()) {
        return false;
    }
    *job = (TouchJob) { .op = OP_LOAD, .salt = hash64(turn++) };
    while (job->op < OP__MAX && strcmp(word[2], op_names[job->op])) {
        job->op++;
    }
    if (!pattern_parse(word[1], &job->pattern) || job->op == OP__MAX ||
        !number(word[3], MAX_THREADS, &n) || !n) {
        err("%s: bad argument", word[0]);
        return false;
    }
    *threads = (unsigned)n;
    return true;
}

/* touch PATTERN OP THREADS */
static void cmd_touch(char **word)
{
    Worker workers[MAX_THREADS];
    TouchJob job;
    unsigned threads, started;
    uint64_t done;

    if (!touch_parse(word, &job, &threads)) {
        return;
    }
    started = workers_start(workers, threads, touch_worker, &job);
    done = workers_join(workers, started);
    if (started < threads) {
        err("touch: only %u threads could be started", started);
    } else {
        ok("touched=%" PRIu64, done);
    }
}

/* hold PATTERN OP THREADS: the first turn */
static void cmd_hold(char **word)
{
    TouchJob job;
    unsigned threads;

    if (!touch_parse(word, &job, &threads)) {
        return;
    }
    hold = (HoldJob) { .touch = job };
    hold_count = workers_start(hold_workers, threads, hold_worker, &hold);
    if (hold_count < threads) {
        err("hold: only %u threads could be started", hold_count);
        hold_release();
        return;
    }
    hold_next();
    ok("turn=%u", hold.turn);
}

/* The next turn */
static void cmd_again(char **word)
{
    (void)word;
    if (!hold_count) {
        err("nobody holds");
    } else {
        hold_next();
        ok("turn=%u", hold.turn);
    }
}

static void cmd_release(char **word)
{
    (void)word;
    if (!hold_count) {
        err("nobody holds");
    } else {
        ok("touched=%" PRIu64, hold_release());
    }
}

/* run HOT WARM WINDOW PERIOD-MS THREADS */
static void cmd_run(char **word)
{
    uint64_t hot, warm, window, period, threads;

    if (!allocated() || !idle()) {
        return;
    }
    if (!number(word[1], area.pages, &hot) ||
        !number(word[2], area.pages - hot, &warm) || !warm ||
        !number(word[3], warm, &window) ||
        !number(word[4], 3600000, &period) || !period ||
        !number(word[5], MAX_THREADS, &threads) || !threads) {
        err("run: bad argument");
        return;
    }
    account_shape(0, hot, SHAPE_HOT);
    account_shape(hot, warm, SHAPE_WARM);
    account_shape(hot + warm, area.pages - hot - warm, SHAPE_COLD);
    run = (RunJob) {
        .hot = hot, .warm = warm, .window = window, .period_ms = period,
        .start_ms = now_ms(),
    };
    run_count = workers_start(run_workers, (unsigned)threads, run_worker,
                              &run);
    if (run_count < threads) {
        err("run: only %u threads could be started", run_count);
        run_stop();
    } else {
        ok("threads=%u", run_count);
    }
}

static void cmd_stop(char **word)
{
    (void)word;
    if (!run_count) {
        err("the background pattern is not running");
    } else {
        ok("passes=%" PRIu64, run_stop());
    }
}

/* Workers that hold touch nothing between their turns. */
static bool at_rest(void)
{
    return allocated() && (hold_count || idle());
}

static void cmd_reset(char **word)
{
    (void)word;
    if (at_rest()) {
        account_reset();
        ok("pages=%zu", area.pages);
    }
}

/* The sum lets the host see that it read what was written. */
static void cmd_report(char **word)
{
    uint64_t pfn, sum = 0;
    size_t moved, touched = 0;

    (void)word;
    if (!at_rest()) {
        return;
    }
    if (!refresh_entries(&moved) || !refresh_index() ||
        !pagemap_read(area.index, 1, &pfn)) {
        err("report: cannot read the pagemap");
        return;
    }
    for (size_t i = 0; i < area.pages; i++) {
        sum += area.entries[i];
        touched += area.entries[i] >> 63;
    }
    ok("index=%" PRIu64 " pages=%zu touched=%zu moved=%zu sum=%" PRIu64,
       pfn, area.pages, touched, moved, sum);
}

typedef struct Command {
    const char *name;
    int args;
    void (*fn)(char **word);
} Command;

static const Command commands[] = {
    { "hello", 0, cmd_hello },
    { "alloc", 2, cmd_alloc },
    { "touch", 3, cmd_touch },
    { "hold", 3, cmd_hold },
    { "again", 0, cmd_again },
    { "release", 0, cmd_release },
    { "run", 5, cmd_run },
    { "stop", 0, cmd_stop },
    { "reset", 0, cmd_reset },
    { "report", 0, cmd_report },
};

static int split(char *line, char **word)
{
    int n = 0;
    char *save;
    char *w = strtok_r(line, " ", &save);

    while (w && n < MAX_WORDS) {
        word[n++] = w;
        w = strtok_r(NULL, " ", &save);
    }
    return n;
}

static void carry_out(char *line)
{
    char *word[MAX_WORDS];
    int n = split(line, word);

    for (size_t i = 0; n && i < sizeof(commands) / sizeof(*commands); i++) {
        if (strcmp(word[0], commands[i].name)) {
            continue;
        }
        if (commands[i].args != n - 1) {
            err("%s: takes %d arguments", word[0], commands[i].args);
        } else {
            commands[i].fn(word);
        }
        return;
    }
    err("no such command");
}

int main(void)
{
    char line[LINE_SIZE];
    unsigned last = 0;

    console_setup();
    cmd_hello(NULL);
    console_reply(0, answer);
    for (;;) {
        unsigned long number;
        char *rest;

        console_read_line(line, sizeof(line));
        if (!line_check(line)) {
            continue;
        }
        number = strtoul(line + 1, &rest, 10);
        if (number != last) {
            carry_out(rest);
            last = (unsigned)number;
        }
        console_reply(last, answer);
    }
}
