/*
 * A virtio device whose driver is the test
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_AGE_VIRTIO_H
#define TESTS_AGE_VIRTIO_H

#include "guest.h"

typedef struct AgeVirtio AgeVirtio;

/* The memory that it uses begins there, and is so large. */
#define AGE_VIRTIO_HEAP     (1024 * 1024)

/**
 * age_virtio_start: find a device and make it work
 * @g: the guest, of age_board_machine() or q35
 * @dev: its number on the PCI bus
 * @heap: where in guest memory buffers and rings go
 * @queues: number of queues that are used
 *
 * Stops the guest for that long: a BAR whose size is asked for goes to the end
 * of the address space, where the code of a guest on x86 is.
 */
AgeVirtio *age_virtio_start(AgeGuest *g, unsigned dev, uint64_t heap,
                            unsigned queues);
void age_virtio_free(AgeVirtio *v);

/* Read from its configuration space */
uint64_t age_virtio_config(AgeVirtio *v, unsigned offset);

/* Send @size bytes, and wait until the device gives the buffer back. */
void age_virtio_send(AgeVirtio *v, unsigned queue, const void *data,
                     size_t size);

/* Likewise, and get an answer of @answer_size bytes */
void age_virtio_ask(AgeVirtio *v, unsigned queue, const void *data,
                    size_t size, void *answer, size_t answer_size);

/*
 * Give the device @count buffers of @size bytes, from @gpa on, to write to when
 * it likes; and how many came back since that or since this was asked last.
 * The queue serves nothing else.
 */
void age_virtio_lend(AgeVirtio *v, unsigned queue, uint64_t gpa, uint32_t size,
                     unsigned count);
unsigned age_virtio_returned(AgeVirtio *v, unsigned queue);

/* Offer the device guest memory to write to, and wait until it gives it back */
void age_virtio_offer(AgeVirtio *v, unsigned queue, uint64_t gpa,
                      uint32_t size);

#endif /* TESTS_AGE_VIRTIO_H */
