/*
 * A virtio device whose driver is the test
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "libqos/generic-pcihost.h"
#include "libqos/libqos-malloc.h"
#include "libqos/pci-pc.h"
#include "libqos/virtio-pci.h"
#include "libqos/virtio.h"
#include "virtio.h"

/* Where age_board_machine() has the configuration space on Arm */
#define ARM_PCI_ECAM    0x3f000000
#define MAX_QUEUES      4

struct AgeVirtio {
    QTestState *qts;
    QPCIBusPC pc;
    QGenericPCIBus generic;
    QGuestAllocator alloc;
    QVirtioPCIDevice pci;
    QVirtQueue *queue[MAX_QUEUES];
    unsigned num_queues;
};

static QPCIBus *init_bus(AgeVirtio *v)
{
    if (age_is_x86()) {
        qpci_init_pc(&v->pc, v->qts, &v->alloc);
        return &v->pc.bus;
    }
    qpci_init_generic(&v->generic, v->qts, &v->alloc, false);
    v->generic.ecam_alloc_ptr = ARM_PCI_ECAM;
    return &v->generic.bus;
}

AgeVirtio *age_virtio_start(AgeGuest *g, unsigned dev, uint64_t heap,
                            unsigned queues)
{
    AgeVirtio *v = g_new0(AgeVirtio, 1);
    QPCIAddress address = { .devfn = QPCI_DEVFN(dev, 0) };
    QVirtioDevice *vdev = &v->pci.vdev;

    g_assert_cmpuint(queues, <=, MAX_QUEUES);
    v->qts = g->qts;
    v->num_queues = queues;
    alloc_init(&v->alloc, 0, heap, heap + AGE_VIRTIO_HEAP, AGE_PAGE);
    age_guest_stop(g);
    virtio_pci_init(&v->pci, init_bus(v), &address);
    qvirtio_pci_start_hw(&v->pci.obj);
    age_guest_cont(g);

    qvirtio_set_features(vdev, qvirtio_get_features(vdev) &
                         ~(QVIRTIO_F_BAD_FEATURE |
                           (1ull << VIRTIO_RING_F_INDIRECT_DESC) |
                           (1ull << VIRTIO_RING_F_EVENT_IDX)));
    for (unsigned i = 0; i < queues; i++) {
        v->queue[i] = qvirtqueue_setup(vdev, &v->alloc, i);
    }
    qvirtio_set_driver_ok(vdev);
    return v;
}

void age_virtio_free(AgeVirtio *v)
{
    for (unsigned i = 0; i < v->num_queues; i++) {
        qvirtqueue_cleanup(v->pci.vdev.bus, v->queue[i], &v->alloc);
    }
    qvirtio_pci_destructor(&v->pci.obj);
    alloc_destroy(&v->alloc);
    g_free(v);
}

uint64_t age_virtio_config(AgeVirtio *v, unsigned offset)
{
    return qvirtio_config_readq(&v->pci.vdev, offset);
}

/* One request at a time, so the descriptors of the last one are free. */
static void start_request(QVirtQueue *vq)
{
    vq->free_head = 0;
    vq->num_free = vq->size;
}

static void do_request(AgeVirtio *v, QVirtQueue *vq)
{
    int64_t deadline = 0;
    uint32_t head;

    qvirtqueue_kick(v->qts, &v->pci.vdev, vq, 0);
    while (!qvirtqueue_get_buf(v->qts, vq, &head, NULL)) {
        age_poll(&deadline);
    }
    g_assert_cmpuint(head, ==, 0);
}

void age_virtio_send(AgeVirtio *v, unsigned queue, const void *data,
                     size_t size)
{
    QVirtQueue *vq = v->queue[queue];
    uint64_t buffer = guest_alloc(&v->alloc, size);

    qtest_memwrite(v->qts, buffer, data, size);
    start_request(vq);
    qvirtqueue_add(v->qts, vq, buffer, size, false, false);
    do_request(v, vq);
    guest_free(&v->alloc, buffer);
}

void age_virtio_ask(AgeVirtio *v, unsigned queue, const void *data,
                    size_t size, void *answer, size_t answer_size)
{
    QVirtQueue *vq = v->queue[queue];
    uint64_t buffer = guest_alloc(&v->alloc, size + answer_size);

    qtest_memwrite(v->qts, buffer, data, size);
    start_request(vq);
    qvirtqueue_add(v->qts, vq, buffer, size, false, true);
    qvirtqueue_add(v->qts, vq, buffer + size, answer_size, true, false);
    do_request(v, vq);
    qtest_memread(v->qts, buffer + size, answer, answer_size);
    guest_free(&v->alloc, buffer);
}

void age_virtio_lend(AgeVirtio *v, unsigned queue, uint64_t gpa, uint32_t size,
                     unsigned count)
{
    QVirtQueue *vq = v->queue[queue];

    for (unsigned i = 0; i < count; i++) {
        uint32_t head = qvirtqueue_add(v->qts, vq, gpa + i * size, size, true,
                                       false);

        qvirtqueue_kick(v->qts, &v->pci.vdev, vq, head);
    }
}

unsigned age_virtio_returned(AgeVirtio *v, unsigned queue)
{
    unsigned count = 0;

    while (qvirtqueue_get_buf(v->qts, v->queue[queue], NULL, NULL)) {
        count++;
    }
    return count;
}

void age_virtio_offer(AgeVirtio *v, unsigned queue, uint64_t gpa,
                      uint32_t size)
{
    QVirtQueue *vq = v->queue[queue];

    start_request(vq);
    qvirtqueue_add(v->qts, vq, gpa, size, true, false);
    do_request(v, vq);
}
