/*
 * A guest for the age tests that accesses what it is told to, and no more
 *
 * It is the firmware of its machine, so nothing runs before it.  A test
 * writes commands to a mailbox in guest memory, through qtest, which does not
 * go through the vCPUs' MMU and so leaves no trace in accessed bits.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_AGE_GUEST_H
#define TESTS_AGE_GUEST_H

#include "libqtest.h"
#include "mailbox.h"

#define AGE_PAGE        UINT64_C(4096)
#define AGE_BLOCK       (512 * AGE_PAGE)

/**
 * AgeArch: what tests must know about a target
 *
 * @name: as qtest_get_arch() has it
 * @machine: the machine to use unless a test wants another
 * @cpu: the CPU type
 * @args: further arguments of QEMU
 * @ram: guest-physical address of RAM
 * @code: guest-physical address of the one page of code
 * @tables: number of pages of guest page tables
 * @image: the code
 * @image_size: its size
 * @image_offset: where it goes in the firmware file
 * @file_size: size of the firmware file
 * @ret: instruction for %AGE_GUEST_EXEC to call
 * @format: format of the accelerator's tables
 * @root_level: their levels, as the architecture counts
 * @leaf_level: level of a leaf that maps one page
 * @accessed: the accessed flag in a leaf
 * @dirty: the dirty flag in a leaf
 * @address: bits of the frame in a leaf
 */
typedef struct AgeArch {
    const char *name;
    const char *machine;
    const char *cpu;
    const char *args;
    uint64_t ram;
    uint64_t code;
    unsigned tables;
    const uint8_t *image;
    size_t image_size;
    size_t image_offset;
    size_t file_size;
    uint32_t ret;
    const char *format;
    int root_level;
    int leaf_level;
    uint64_t accessed;
    uint64_t dirty;
    uint64_t address;
} AgeArch;

/* The target of the emulator under test */
const AgeArch *age_arch(void);

static inline bool age_is_x86(void)
{
    return age_arch()->ram == AGE_X86_RAM;
}

/**
 * AgeGuestOptions: how to start a guest
 *
 * @machine: machine with its properties; NULL for the default
 * @accel: properties for -accel age, each with a comma before it, or NULL
 * @cpus: number of vCPUs; 0 means 1
 * @memory: argument of -m; NULL for %AGE_GUEST_MIB
 * @args: further arguments of QEMU, or NULL
 * @oob: use out-of-band commands
 * @tcg: use -accel tcg instead
 * @incoming: it waits for migrate-incoming, and is what it was elsewhere
 * @unconnected: nor does it talk to anybody before age_guest_connect()
 */
typedef struct AgeGuestOptions {
    const char *machine;
    const char *accel;
    unsigned cpus;
    const char *memory;
    const char *args;
    bool oob;
    bool tcg;
    bool incoming;
    bool unconnected;
} AgeGuestOptions;

#define AGE_GUEST_MIB   64

/**
 * AgeGuest: a guest that runs
 *
 * @qts: the QEMU it runs in
 * @memory: guest-physical address of the first page that is all the test's:
 *     the guest does not access memory from here on of its own accord
 * @end: address behind the last one, if it has %AGE_GUEST_MIB of memory
 * @cpus: number of vCPUs
 * @seq: number of the last command of each
 * @oob: it has out-of-band commands
 * @firmware: name of its firmware, until that is read
 */
typedef struct AgeGuest {
    QTestState *qts;
    uint64_t memory;
    uint64_t end;
    unsigned cpus;
    uint32_t seq[AGE_MAX_CPUS];
    bool oob;
    char *firmware;
} AgeGuest;

/*
 * Start a guest and wait until it takes commands, unless it is incoming.  NULL
 * is the defaults.
 */
AgeGuest *age_guest_start(const AgeGuestOptions *options);

/* Connect to the QEMU of a guest that is not connected. */
void age_guest_connect(AgeGuest *g);

/* Quit QEMU */
void age_guest_quit(AgeGuest *g);

/* Write the firmware file; the caller unlinks and frees what is returned. */
char *age_guest_firmware(void);

/* Wait until the guest takes commands for a vCPU, for the first time or anew */
void age_guest_wait_ready(AgeGuest *g, unsigned cpu);

/* Forget that it does, before it begins anew */
void age_guest_not_ready(AgeGuest *g, unsigned cpu);

/* Reset the machine and wait until the guest takes commands again. */
void age_guest_reset(AgeGuest *g);

/* Stop all vCPUs, and let them go on */
void age_guest_stop(AgeGuest *g);
void age_guest_cont(AgeGuest *g);

/* Guest-physical address of a vCPU's mailbox, which is a page */
uint64_t age_guest_mailbox(unsigned cpu);

/**
 * age_guest_send: give a vCPU a command
 * @g: the guest
 * @cpu: number of the vCPU
 * @what: AGE_GUEST_ bits
 * @start: first address
 * @count: number of addresses
 * @stride: from one to the next
 *
 * Ends a command with %AGE_GUEST_REPEAT; any other must be done already.
 */
void age_guest_send(AgeGuest *g, unsigned cpu, unsigned what, uint64_t start,
                    uint64_t count, uint64_t stride);

/* Wait until a vCPU has done its last command */
void age_guest_wait(AgeGuest *g, unsigned cpu);

/* How often a vCPU has done a command, repetitions of one included */
uint64_t age_guest_rounds(AgeGuest *g, unsigned cpu);

/* Wait until a vCPU began a round after now, and has done it */
void age_guest_wait_round(AgeGuest *g, unsigned cpu);

/* Have the first vCPU do something to @count pages side by side, and wait */
void age_guest_touch(AgeGuest *g, unsigned what, uint64_t start,
                     uint64_t count);

/* Put instructions to be called at the beginning of @count pages */
void age_guest_put_code(AgeGuest *g, uint64_t start, uint64_t count);

/**
 * age_poll: between two looks at what is awaited
 * @deadline: zero before the first
 *
 * Sleeps a little.  Fails the test if nothing has come for long.
 */
void age_poll(int64_t *deadline);

#endif /* TESTS_AGE_GUEST_H */
