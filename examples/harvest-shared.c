/*
 * Print what a guest uses within a second, by a bitmap in shared memory
 *
 * usage: harvest-shared SOCKET START END [SECONDS]
 *
 * START and END are guest-physical addresses.  The bitmap is a file in /dev/shm
 * that is mapped here, and in QEMU as a memory backend: neither the command nor
 * the answer has to carry it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PAGE    4096

/* Removed when the program ends, whatever ends it */
static char bits_path[64];

static FILE *connect_to(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (strlen(path) >= sizeof(address.sun_path)) {
        errx(1, "%s: too long for the name of a socket", path);
    }
    strcpy(address.sun_path, path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address))) {
        err(1, "%s", path);
    }
    return fdopen(fd, "r");
}

/* Carry out a command; the greeting and events that come first are skipped. */
static bool ask(FILE *qmp, const char *command)
{
    char *line = NULL;
    size_t size = 0;
    bool ok;

    dprintf(fileno(qmp), "%s\n", command);
    do {
        if (getline(&line, &size, qmp) < 0) {
            errx(1, "QEMU has gone");
        }
        ok = !strncmp(line, "{\"return\"", 9);
    } while (!ok && strncmp(line, "{\"error\"", 8));
    if (!ok) {
        fprintf(stderr, "harvest-shared: %s", line);
    }
    free(line);
    return ok;
}

static void remove_bits(void)
{
    unlink(bits_path);
}

/* A memory backend is a whole number of pages, and so is the file. */
static uint8_t *map_bits(size_t size)
{
    uint8_t *bits;
    int fd;

    snprintf(bits_path, sizeof(bits_path), "/dev/shm/age-bits-%d", getpid());
    fd = open(bits_path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0 || atexit(remove_bits) || ftruncate(fd, size)) {
        err(1, "%s", bits_path);
    }
    bits = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (bits == MAP_FAILED) {
        err(1, "%s", bits_path);
    }
    close(fd);
    return bits;
}

static bool share_bits(FILE *qmp, size_t size)
{
    char command[512];

    snprintf(command, sizeof(command), "{ \"execute\": \"object-add\", "
             "\"arguments\": { \"qom-type\": \"memory-backend-file\", "
             "\"id\": \"age-bits\", \"share\": true, \"size\": %zu, "
             "\"mem-path\": \"%s\" } }", size, bits_path);
    return ask(qmp, command) &&
           ask(qmp, "{ \"execute\": \"age-share-memory\", "
               "\"arguments\": { \"memory\": \"age-bits\" } }");
}

static void unshare_bits(FILE *qmp)
{
    ask(qmp, "{ \"execute\": \"age-unshare-memory\", "
        "\"arguments\": { \"memory\": \"age-bits\" } }");
    ask(qmp, "{ \"execute\": \"object-del\", "
        "\"arguments\": { \"id\": \"age-bits\" } }");
}

/* A bit goes in as 1, to clear it, and comes back as 0 if the page is young. */
static bool harvest(FILE *qmp, uint64_t start, uint64_t end, uint8_t *bits,
                    size_t size)
{
    char command[512];

    memset(bits, 0xff, size);
    snprintf(command, sizeof(command),
             "{ \"execute\": \"age-test-clear-young\", \"arguments\": { "
             "\"ranges\": [ { \"start\": %" PRIu64 ", \"end\": %" PRIu64 ", "
             "\"memory\": \"age-bits\" } ], \"flush\": \"request\" } }",
             start, end);
    return ask(qmp, command);
}

/* The last page of the range has bit 0. */
static int is_young(const uint8_t *bits, uint64_t end, uint64_t address)
{
    uint64_t bit = (end - address) / PAGE - 1;

    return !(bits[bit / 8] >> bit % 8 & 1);
}

static void print_young(const uint8_t *bits, uint64_t start, uint64_t end)
{
    uint64_t pages = 0;

    for (uint64_t a = start, first; a < end; a += PAGE) {
        if (!is_young(bits, end, a)) {
            continue;
        }
        for (first = a; a < end && is_young(bits, end, a); a += PAGE) {
            pages++;
        }
        printf("0x%" PRIx64 "-0x%" PRIx64 "\n", first, a);
    }
    printf("%" PRIu64 " pages of 4 KiB\n", pages);
}

int main(int argc, char **argv)
{
    uint64_t start, end;
    size_t size;
    uint8_t *bits;
    FILE *qmp;
    bool ok;

    if (argc != 4 && argc != 5) {
        errx(1, "usage: harvest-shared SOCKET START END [SECONDS]");
    }
    start = strtoull(argv[2], NULL, 0);
    end = strtoull(argv[3], NULL, 0);
    if (start % PAGE || end % PAGE || start >= end) {
        errx(1, "START and END must be multiples of 4096, START below END");
    }
    size = ((end - start) / PAGE / 8 + PAGE) / PAGE * PAGE;

    qmp = connect_to(argv[1]);
    bits = map_bits(size);
    if (!ask(qmp, "{ \"execute\": \"qmp_capabilities\" }") ||
        !share_bits(qmp, size)) {
        return 1;
    }
    ok = harvest(qmp, start, end, bits, size);
    if (ok) {
        usleep((argc == 5 ? atof(argv[4]) : 1) * 1000000);
        ok = harvest(qmp, start, end, bits, size);
    }
    unshare_bits(qmp);
    if (ok) {
        print_young(bits, start, end);
    }
    return !ok;
}
