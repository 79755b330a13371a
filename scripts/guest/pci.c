/*
 * PCI devices without a driver in the kernel, through sysfs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "pci.h"

#define DEVICES         "/sys/bus/pci/devices"
#define PATH_SIZE       320

#define PCI_CLASS       0x0a
#define CLASS_BRIDGE    0x0604
#define PCI_CAP_LIST    0x34
#define CAP_MSIX        0x11

/* From the capability on */
#define MSIX_CONTROL    2
#define MSIX_ENABLE     0x8000
#define MSIX_TABLE      4
#define MSIX_PENDING    8

/* Words of an entry of the table */
#define ENTRY_LOW       0
#define ENTRY_HIGH      1
#define ENTRY_DATA      2
#define ENTRY_CONTROL   3

static int open_file(const char *name, const char *file, int flags)
{
    char path[PATH_SIZE];

    snprintf(path, sizeof(path), DEVICES "/%s/%s", name, file);
    return open(path, flags | O_CLOEXEC);
}

static bool pci_open(PciDevice *pci, const char *name)
{
    size_t length = strlen(name);

    if (length >= sizeof(pci->name)) {
        return false;
    }
    memcpy(pci->name, name, length + 1);
    pci->config = open_file(name, "config", O_RDWR);
    return pci->config >= 0;
}

/* The first device that a function accepts */
static bool search(PciDevice *pci,
                   bool (*fits)(const PciDevice *pci, void *opaque),
                   void *opaque)
{
    DIR *dir = opendir(DEVICES);
    struct dirent *entry;
    bool found = false;

    while (dir && !found && (entry = readdir(dir))) {
        if (entry->d_name[0] != '.' && pci_open(pci, entry->d_name)) {
            found = fits(pci, opaque);
            if (!found) {
                pci_close(pci);
            }
        }
    }
    if (dir) {
        closedir(dir);
    }
    return found;
}

static bool has_ids(const PciDevice *pci, void *opaque)
{
    return pci_read(pci, 0, 4) == *(uint32_t *)opaque;
}

bool pci_find(PciDevice *pci, uint16_t vendor, uint16_t device)
{
    uint32_t ids = (uint32_t)device << 16 | vendor;

    return search(pci, has_ids, &ids);
}

typedef struct Found {
    PciDevice *pci;
    unsigned max;
    unsigned count;
    uint32_t ids;
} Found;

/* Takes what fits over, and has the search go on behind it. */
static bool take(const PciDevice *pci, void *opaque)
{
    Found *found = opaque;

    if (found->count < found->max && has_ids(pci, &found->ids) &&
        pci_open(&found->pci[found->count], pci->name)) {
        found->count++;
    }
    return false;
}

unsigned pci_find_all(PciDevice *pci, unsigned max, uint16_t vendor,
                      uint16_t device)
{
    Found found = { pci, max, 0, (uint32_t)device << 16 | vendor };
    PciDevice none;

    search(&none, take, &found);
    return found.count;
}

void pci_close(PciDevice *pci)
{
    close(pci->config);
    pci->config = -1;
}

bool pci_present(const PciDevice *pci)
{
    char path[PATH_SIZE];

    snprintf(path, sizeof(path), DEVICES "/%s", pci->name);
    return access(path, F_OK) == 0;
}

/* Both are little-endian, the guest and configuration space. */
uint32_t pci_read(const PciDevice *pci, unsigned offset, unsigned size)
{
    uint32_t value = 0;

    if (pread(pci->config, &value, size, offset) != (ssize_t)size) {
        return UINT32_MAX;
    }
    return value;
}

void pci_write(const PciDevice *pci, unsigned offset, unsigned size,
               uint32_t value)
{
    if (pwrite(pci->config, &value, size, offset) != (ssize_t)size) {
        perror("PCI configuration space");
    }
}

static unsigned find_capability(const PciDevice *pci, unsigned id)
{
    unsigned cap = pci_read(pci, PCI_CAP_LIST, 1) & 0xfc;

    /* There is no room for more of them. */
    for (int i = 0; cap && i < 48; i++) {
        uint32_t head = pci_read(pci, cap, 2);

        if ((head & 0xff) == id) {
            return cap;
        }
        cap = head >> 8 & 0xfc;
    }
    return 0;
}

/* Where a BAR begins; the kernel has a line for each. */
static uint64_t bar_start(const PciDevice *pci, unsigned bar)
{
    char path[PATH_SIZE], line[80];
    uint64_t start = 0;
    FILE *file;

    snprintf(path, sizeof(path), DEVICES "/%s/resource", pci->name);
    file = fopen(path, "re");
    for (unsigned i = 0; file && fgets(line, sizeof(line), file); i++) {
        if (i == bar) {
            start = strtoull(line, NULL, 16);
            break;
        }
    }
    if (file) {
        fclose(file);
    }
    return start;
}

static size_t map_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* What the kernel maps begins with the page in which the BAR does. */
void *pci_map(const PciDevice *pci, unsigned bar, unsigned offset)
{
    uint64_t place = bar_start(pci, bar) % map_size() + offset;
    uint64_t within = place % map_size();
    char file[16];
    uint8_t *page;
    int fd;

    snprintf(file, sizeof(file), "resource%u", bar);
    fd = open_file(pci->name, file, O_RDWR);
    if (fd < 0) {
        return NULL;
    }
    page = mmap(NULL, map_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                (off_t)(place - within));
    close(fd);
    return page == MAP_FAILED ? NULL : page + within;
}

void pci_unmap(void *place)
{
    if (place) {
        munmap((void *)((uintptr_t)place & -(uintptr_t)map_size()),
               map_size());
    }
}

/* MSI-X */

/* The BAR is in the three bits that the offset does not need. */
static PciWord *map_part(const Msix *msix, unsigned reg)
{
    uint32_t where = pci_read(msix->pci, msix->cap + reg, 4);

    return pci_map(msix->pci, where & 7, where & ~7u);
}

bool msix_open(Msix *msix, const PciDevice *pci)
{
    *msix = (Msix) { .pci = pci, .cap = find_capability(pci, CAP_MSIX) };
    if (!msix->cap) {
        return false;
    }
    msix->entry = map_part(msix, MSIX_TABLE);
    msix->pending = map_part(msix, MSIX_PENDING);
    if (!msix->entry || !msix->pending) {
        msix_close(msix);
        return false;
    }
    return true;
}

void msix_close(Msix *msix)
{
    pci_unmap((void *)msix->entry);
    pci_unmap((void *)msix->pending);
    msix->entry = NULL;
    msix->pending = NULL;
}

static bool msix_enabled(const Msix *msix)
{
    return pci_read(msix->pci, msix->cap + MSIX_CONTROL, 2) & MSIX_ENABLE;
}

void msix_enable(const Msix *msix, bool on)
{
    pci_write(msix->pci, msix->cap + MSIX_CONTROL, 2, on ? MSIX_ENABLE : 0);
}

/* The vector should be masked meanwhile. */
void msix_set_message(const Msix *msix, const Message *message)
{
    msix->entry[ENTRY_LOW] = (uint32_t)message->address;
    msix->entry[ENTRY_HIGH] = (uint32_t)(message->address >> 32);
    msix->entry[ENTRY_DATA] = message->data;
}

static Message msix_message(const Msix *msix)
{
    return (Message) {
        .address = msix->entry[ENTRY_LOW] |
                   (uint64_t)msix->entry[ENTRY_HIGH] << 32,
        .data = msix->entry[ENTRY_DATA],
    };
}

void msix_mask(const Msix *msix, bool on)
{
    msix->entry[ENTRY_CONTROL] = on;
}

bool msix_pending(const Msix *msix)
{
    return msix->pending[0] & 1;
}

/* Interrupts of the kernel's */

/* The number of the only interrupt that a device has, or 0 */
static unsigned only_irq(const PciDevice *pci)
{
    char path[PATH_SIZE];
    struct dirent *entry;
    unsigned irq = 0, count = 0;
    DIR *dir;

    snprintf(path, sizeof(path), DEVICES "/%s/msi_irqs", pci->name);
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] != '.') {
            irq = (unsigned)strtoul(entry->d_name, NULL, 10);
            count++;
        }
    }
    if (dir) {
        closedir(dir);
    }
    return count == 1 ? irq : 0;
}

typedef struct Lender {
    Message message;
    unsigned irq;
} Lender;

/*
 * A bridge that has a driver: this is called when there is news on hot-plug,
 * power or errors, and finds that there is none.
 */
static bool lends_message(const PciDevice *pci, void *opaque)
{
    Lender *lender = opaque;
    bool found = false;
    Msix msix;

    lender->irq = only_irq(pci);
    if (pci_read(pci, PCI_CLASS, 2) != CLASS_BRIDGE || !lender->irq ||
        !msix_open(&msix, pci)) {
        return false;
    }
    if (msix_enabled(&msix)) {
        lender->message = msix_message(&msix);
        found = true;
    }
    msix_close(&msix);
    return found;
}

bool kernel_message(Message *message, char *row, unsigned size)
{
    PciDevice pci;
    Lender lender;

    if (search(&pci, lends_message, &lender)) {
        pci_close(&pci);
        *message = lender.message;
        snprintf(row, size, "%u", lender.irq);
        return true;
    }
#ifdef __x86_64__
    /* To the first processor: that of KVM's posted interrupts, idle here */
    *message = (Message) { .address = 0xfee00000, .data = 0xf2 };
    snprintf(row, size, "PIN");
    return true;
#else
    return false;
#endif
}

/* Adds up the numbers, one for each processor. */
static uint64_t sum_of_row(const char *s)
{
    uint64_t sum = 0;
    char *end;

    for (;;) {
        uint64_t value = strtoull(s, &end, 10);

        if (end == s) {
            return sum;
        }
        sum += value;
        s = end;
    }
}

uint64_t kernel_interrupts(const char *row)
{
    FILE *file = fopen("/proc/interrupts", "re");
    size_t length = strlen(row), size = 0;
    char *line = NULL;
    uint64_t sum = 0;

    while (file && getline(&line, &size, file) > 0) {
        const char *s = line + strspn(line, " ");

        if (!strncmp(s, row, length) && s[length] == ':') {
            sum = sum_of_row(s + length + 1);
            break;
        }
    }
    free(line);
    if (file) {
        fclose(file);
    }
    return sum;
}
