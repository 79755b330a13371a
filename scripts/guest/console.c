/*
 * How the host tells a program in the guest what to do
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <termios.h>
#include <unistd.h>
#include "console.h"

#define LINE_SIZE       256
#define MAX_WORDS       8

/* Lines */

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

void ok(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    strcpy(answer, "ok ");
    vsnprintf(answer + 3, sizeof(answer) - 3, fmt, ap);
    va_end(ap);
}

void err(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    strcpy(answer, "err ");
    vsnprintf(answer + 4, sizeof(answer) - 4, fmt, ap);
    va_end(ap);
}

void say_hello(const char *program, int protocol)
{
    struct utsname u;

    uname(&u);
    ok("%s=%d arch=%s kernel=%s cpus=%ld page-size=%ld ram-pages=%ld",
       program, protocol, u.machine, u.release,
       sysconf(_SC_NPROCESSORS_ONLN), sysconf(_SC_PAGESIZE),
       sysconf(_SC_PHYS_PAGES));
}

/* Commands */

bool number(const char *s, uint64_t max, uint64_t *value)
{
    char *end;

    errno = 0;
    *value = strtoull(s, &end, 10);
    return *s >= '0' && *s <= '9' && !*end && !errno && *value <= max;
}

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

static void carry_out(const Command *commands, size_t count, char *line)
{
    char *word[MAX_WORDS];
    int n = split(line, word);

    for (size_t i = 0; n && i < count; i++) {
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

void console_run(const Command *commands, size_t count)
{
    char line[LINE_SIZE];
    unsigned last = 0;

    console_setup();
    commands[0].fn(NULL);
    console_reply(0, answer);
    for (;;) {
        unsigned long request;
        char *rest;

        console_read_line(line, sizeof(line));
        if (!line_check(line)) {
            continue;
        }
        request = strtoul(line + 1, &rest, 10);
        if (request != last) {
            carry_out(commands, count, rest);
            last = (unsigned)request;
        }
        console_reply(last, answer);
    }
}
