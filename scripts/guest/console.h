/*
 * How the host tells a program in the guest what to do
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
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef AGE_GUEST_CONSOLE_H
#define AGE_GUEST_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A command with so many words after its own. */
typedef struct Command {
    const char *name;
    int args;
    void (*fn)(char **word);
} Command;

/* The answer to a command; the last one counts. */
void ok(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void err(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A whole number of up to @max; false, and nothing said, if it is none. */
bool number(const char *s, uint64_t max, uint64_t *value);

/* Says which program this is, in the way of an answer. */
void say_hello(const char *program, int protocol);

/* Gives the answer of the first command unasked, then carries out commands. */
void console_run(const Command *commands, size_t count)
    __attribute__((noreturn));

#endif
