/*
 * A TCG plugin that tells which pages a guest uses, for the tests of age
 *
 * It knows nothing of the accelerator: TCG calls it for each load and store,
 * atomic ones and those of helpers too, and for each translation block that
 * runs.  So it is a second witness for what a harvest finds.  What it does not
 * get to see is what the processor reads of its own accord: page tables, and
 * on x86 the descriptor tables and the stack when an interrupt comes.  For
 * the page tables it says where their roots were.
 *
 * Its argument is fd=N, a socket that QEMU inherited.  For each byte that
 * comes, all that was seen since the last one goes out, as 64-bit numbers of
 * the host: how many records there are, and the records.  The vCPUs have to be
 * stopped meanwhile.  A record is the address of a page, and SEEN_ bits.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <qemu-plugin.h>

/* A guest-physical page; FAR is for those that the map does not reach to. */
#define SEEN_LOAD       (1 << 0)
#define SEEN_STORE      (1 << 1)
#define SEEN_FAR        (1 << 2)
/* A page of QEMU's: the plugin API does not tell the guest's address. */
#define SEEN_FETCH      (1 << 3)
/*
 * A virtual page that TCG told no other address of: it holds the end of an
 * instruction that began in the page before, or DC ZVA made it zero.
 */
#define SEEN_VIRTUAL    (1 << 4)
/* A value of CR3, or of TTBR0_EL1 or TTBR1_EL1 */
#define SEEN_ROOT       (1 << 5)

#define PAGE_SHIFT      12
#define PAGE_MASK       (~UINT64_C(0) << PAGE_SHIFT)

/* One byte of SEEN_ bits for each guest-physical page */
#define MAP_PAGES       (UINT64_C(1) << (40 - PAGE_SHIFT))
#define MAP_CHUNK       (UINT64_C(1) << (30 - PAGE_SHIFT))

#define MAX_CPUS        64
#define ROOTS           2
#define NUM_GPRS        31

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

/**
 * Place: where code is, or where a root of page tables was
 *
 * @record: its record
 * @seen: whether it was used since the last time
 */
typedef struct Place {
    uint64_t record;
    bool seen;
} Place;

/**
 * RegUse: an instruction of which the plugin must know a register
 *
 * @gpr: the number of the register
 * @root: which of the roots of a vCPU it goes to; ROOTS if it is an address
 */
typedef struct RegUse {
    unsigned gpr;
    unsigned root;
} RegUse;

/* Chunks of the map are there once a page of theirs was seen. */
static uint8_t *map[MAP_PAGES / MAP_CHUNK];
static bool seen_far;

/* Places by their record */
static GMutex lock;
static GHashTable *places;

/* The root that each vCPU has; it stays in use after it was told. */
static Place *root_of[MAX_CPUS][ROOTS];

static bool is_x86;
/* From QEMU 11.0 on the handle of a register may be NULL. */
static struct qemu_plugin_register *gprs[NUM_GPRS];
static bool has_gpr[NUM_GPRS];

/* Recording */

static uint8_t *map_chunk(uint64_t page)
{
    uint8_t **chunk = &map[page / MAP_CHUNK];
    uint8_t *found = g_atomic_pointer_get(chunk);

    if (!found) {
        uint8_t *fresh = g_malloc0(MAP_CHUNK);

        if (!g_atomic_pointer_compare_and_exchange(chunk, NULL, fresh)) {
            g_free(fresh);
        }
        found = g_atomic_pointer_get(chunk);
    }
    return found;
}

static void see_page(uint64_t gpa, uint8_t kind)
{
    uint64_t page = gpa >> PAGE_SHIFT;
    uint8_t *byte;

    if (page >= MAP_PAGES) {
        seen_far = true;
        return;
    }
    byte = &map_chunk(page)[page % MAP_CHUNK];
    if (!(__atomic_load_n(byte, __ATOMIC_RELAXED) & kind)) {
        __atomic_fetch_or(byte, kind, __ATOMIC_RELAXED);
    }
}

static Place *find_place(uint64_t record)
{
    Place *place;

    g_mutex_lock(&lock);
    place = g_hash_table_lookup(places, &record);
    if (!place) {
        place = g_new0(Place, 1);
        place->record = record;
        g_hash_table_insert(places, &place->record, place);
    }
    g_mutex_unlock(&lock);
    return place;
}

static void see_address(qemu_plugin_meminfo_t info, uint64_t vaddr)
{
    struct qemu_plugin_hwaddr *hw = qemu_plugin_get_hwaddr(info, vaddr);

    if (hw && !qemu_plugin_hwaddr_is_io(hw)) {
        see_page(qemu_plugin_hwaddr_phys_addr(hw),
                 qemu_plugin_mem_is_store(info) ? SEEN_STORE : SEEN_LOAD);
    }
}

static void mem_cb(unsigned vcpu, qemu_plugin_meminfo_t info, uint64_t vaddr,
                   void *opaque)
{
    uint64_t last = vaddr + (1u << qemu_plugin_mem_size_shift(info)) - 1;

    see_address(info, vaddr);
    if ((vaddr ^ last) & PAGE_MASK) {
        see_address(info, last);
    }
}

static void place_cb(unsigned vcpu, void *opaque)
{
    Place *place = opaque;

    place->seen = true;
}

/* Instructions that matter by the value of a register */

static uint64_t read_gpr(unsigned gpr)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    uint64_t value;

    /* It returns a size, and from QEMU 11.0 on whether there is one. */
    if (has_gpr[gpr]) {
        qemu_plugin_read_register(gprs[gpr], bytes);
    }
    if (bytes->len != sizeof(value)) {
        abort();
    }
    memcpy(&value, bytes->data, sizeof(value));
    return GUINT64_FROM_LE(value);
}

static void reg_cb(unsigned vcpu, void *opaque)
{
    const RegUse *use = opaque;
    uint64_t page = read_gpr(use->gpr) & PAGE_MASK;
    Place *place;

    if (use->root == ROOTS) {
        place = find_place(page | SEEN_VIRTUAL);
    } else {
        /* Above the address is the number of an address space. */
        page &= (UINT64_C(1) << 48) - 1;
        place = root_of[vcpu % MAX_CPUS][use->root] =
            find_place(page | SEEN_ROOT);
    }
    place->seen = true;
}

/* mov %gpr, %cr3 */
static bool decode_x86(const uint8_t *code, size_t size, RegUse *use)
{
    bool rex = size == 4 && (code[0] & 0xf0) == 0x40;
    const uint8_t *op = code + rex;

    if (size - rex != 3 || op[0] != 0x0f || op[1] != 0x22 ||
        (op[2] & 0x38) != 3 << 3) {
        return false;
    }
    use->gpr = (op[2] & 7) | (rex && code[0] & 1 ? 8 : 0);
    return true;
}

/* msr ttbr0_el1, xN; msr ttbr1_el1, xN; dc zva, xN.  Nobody uses xzr. */
static bool decode_arm(const uint8_t *code, size_t size, RegUse *use)
{
    uint32_t insn;

    memcpy(&insn, code, sizeof(insn));
    insn = GUINT32_FROM_LE(insn);
    use->gpr = insn & 31;
    switch (insn & ~UINT32_C(31)) {
    case 0xd5182000:
        use->root = 0;
        break;
    case 0xd5182020:
        use->root = 1;
        break;
    case 0xd50b7420:
        use->root = ROOTS;
        break;
    default:
        return false;
    }
    return use->gpr < NUM_GPRS;
}

static void watch_register(struct qemu_plugin_insn *insn)
{
    size_t size = qemu_plugin_insn_size(insn);
    uint8_t code[4] = {};
    RegUse use = {};

    if (size < 3 || size > sizeof(code) ||
        qemu_plugin_insn_data(insn, code, sizeof(code)) != size) {
        return;
    }
    if (is_x86 ? decode_x86(code, size, &use)
               : decode_arm(code, size, &use)) {
        qemu_plugin_register_vcpu_insn_exec_cb(insn, reg_cb,
                                               QEMU_PLUGIN_CB_R_REGS,
                                               g_memdup2(&use, sizeof(use)));
    }
}

static void find_gprs(qemu_plugin_id_t id, unsigned vcpu)
{
    static const char *const x86[] = {
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
        "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
    };
    g_autoptr(GArray) regs = qemu_plugin_get_registers();

    for (unsigned i = 0; i < regs->len; i++) {
        qemu_plugin_reg_descriptor *reg =
            &g_array_index(regs, qemu_plugin_reg_descriptor, i);

        for (unsigned gpr = 0; gpr < NUM_GPRS; gpr++) {
            g_autofree char *arm = g_strdup_printf("x%u", gpr);
            const char *name = !is_x86 ? arm
                               : gpr < G_N_ELEMENTS(x86) ? x86[gpr] : "";

            if (g_str_equal(reg->name, name)) {
                gprs[gpr] = reg->handle;
                has_gpr[gpr] = true;
            }
        }
    }
}

/* Translation */

/* Each page that TCG looks up to run the block */
static void watch_fetch(struct qemu_plugin_tb *tb)
{
    uint64_t last = 0;

    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        void *host = qemu_plugin_insn_haddr(insn);
        uint64_t page = (uintptr_t)host & PAGE_MASK;
        uint64_t begin = qemu_plugin_insn_vaddr(insn);
        uint64_t end = begin + qemu_plugin_insn_size(insn) - 1;

        if (host && page != last) {
            qemu_plugin_register_vcpu_tb_exec_cb(
                tb, place_cb, QEMU_PLUGIN_CB_NO_REGS,
                find_place(page | SEEN_FETCH));
            last = page;
        }
        if ((begin ^ end) & PAGE_MASK) {
            qemu_plugin_register_vcpu_tb_exec_cb(
                tb, place_cb, QEMU_PLUGIN_CB_NO_REGS,
                find_place((end & PAGE_MASK) | SEEN_VIRTUAL));
        }
    }
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

        qemu_plugin_register_vcpu_mem_cb(insn, mem_cb, QEMU_PLUGIN_CB_NO_REGS,
                                         QEMU_PLUGIN_MEM_RW, NULL);
        watch_register(insn);
    }
    watch_fetch(tb);
}

/* Telling */

static void add_record(GArray *records, uint64_t record)
{
    g_array_append_val(records, record);
}

static void take_map(GArray *records)
{
    for (uint64_t page = 0; page < MAP_PAGES; page++) {
        uint8_t *chunk = g_atomic_pointer_get(&map[page / MAP_CHUNK]);

        if (!chunk) {
            page += MAP_CHUNK - 1;
        } else if (chunk[page % MAP_CHUNK]) {
            add_record(records, page << PAGE_SHIFT | chunk[page % MAP_CHUNK]);
            chunk[page % MAP_CHUNK] = 0;
        }
    }
    if (seen_far) {
        add_record(records, SEEN_FAR);
        seen_far = false;
    }
}

static void take_places(GArray *records)
{
    GHashTableIter iter;
    Place *place;

    g_mutex_lock(&lock);
    g_hash_table_iter_init(&iter, places);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&place)) {
        if (place->seen) {
            add_record(records, place->record);
            place->seen = false;
        }
    }
    g_mutex_unlock(&lock);

    for (unsigned i = 0; i < MAX_CPUS * ROOTS; i++) {
        Place *root = root_of[i / ROOTS][i % ROOTS];

        if (root) {
            root->seen = true;
        }
    }
}

static bool send_all(int fd, const void *data, size_t size)
{
    for (const char *p = data; size; ) {
        ssize_t sent = write(fd, p, size);

        if (sent < 0 && errno != EINTR) {
            return false;
        }
        if (sent > 0) {
            p += sent;
            size -= sent;
        }
    }
    return true;
}

static gpointer answer(gpointer opaque)
{
    int fd = GPOINTER_TO_INT(opaque);
    char byte;

    while (read(fd, &byte, 1) == 1) {
        g_autoptr(GArray) records = g_array_new(false, false,
                                                sizeof(uint64_t));
        uint64_t count;

        take_map(records);
        take_places(records);
        count = records->len;
        if (!send_all(fd, &count, sizeof(count)) ||
            !send_all(fd, records->data, count * sizeof(uint64_t))) {
            break;
        }
    }
    return NULL;
}

QEMU_PLUGIN_EXPORT
int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc,
                        char **argv)
{
    int fd = argc == 1 && g_str_has_prefix(argv[0], "fd=") ?
             atoi(argv[0] + strlen("fd=")) : -1;

    is_x86 = g_str_equal(info->target_name, "x86_64");
    if (fd < 0 || !info->system_emulation ||
        (!is_x86 && !g_str_equal(info->target_name, "aarch64"))) {
        return -1;
    }
    places = g_hash_table_new(g_int64_hash, g_int64_equal);
    g_thread_unref(g_thread_new("age-pages", answer, GINT_TO_POINTER(fd)));
    qemu_plugin_register_vcpu_init_cb(id, find_gprs);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    return 0;
}
