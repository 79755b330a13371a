/*
 * QEMU's IOMMUs, set up in the guest's place and in front of age-device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "standard-headers/linux/virtio_iommu.h"
#include "iommu.h"
#include "qmp.h"
#include "virtio.h"

/* Requester of the device's accesses: bus 0, its slot, function 0 */
#define REQUESTER           (AGE_DEV_SLOT << 3)

/* The end of memory has the tables, a page each; or the heap of virtio. */
#define HEAP                AGE_VIRTIO_HEAP

/* Where the virtio device is on the bus */
#define VIRTIO_SLOT         5
#define DOMAIN              1
#define EVENTS              32

/**
 * AgeIOMMU: an IOMMU
 *
 * @kind: which one
 * @d: the device, whose guest it is
 * @heap: guest memory for what it needs
 * @pages: pages of that which are used
 * @config: what the IOMMU knows of the device
 * @leaves: the table of the lowest level
 * @commands: how many were given
 * @command_queue: where they are
 * @virtio: it, if it is virtio's
 */
struct AgeIOMMU {
    const AgeIOMMUKind *kind;
    AgeDev *d;
    uint64_t heap;
    unsigned pages;
    uint64_t config;
    uint64_t leaves;
    unsigned commands;
    uint64_t command_queue;
    AgeVirtio *virtio;
};

static uint64_t new_page(AgeIOMMU *i)
{
    uint64_t page = i->heap + i->pages++ * AGE_PAGE;

    qtest_memset(i->d->qts, page, 0, AGE_PAGE);
    return page;
}

/*
 * Three levels of tables for @iova, as Intel and Arm have them alike: an entry
 * that leads to a table is its address and @link.  Returns the uppermost.
 */
static uint64_t new_tables(AgeIOMMU *i, uint64_t link)
{
    QTestState *qts = i->d->qts;
    uint64_t top = new_page(i), middle = new_page(i);

    i->leaves = new_page(i);
    qtest_writeq(qts, top + (AGE_IOVA >> 30 & 511) * 8, middle | link);
    qtest_writeq(qts, middle + (AGE_IOVA >> 21 & 511) * 8, i->leaves | link);
    return top;
}

static void set_leaf(AgeIOMMU *i, uint64_t iova, uint64_t entry)
{
    qtest_writeq(i->d->qts, i->leaves + (iova >> 12 & 511) * 8, entry);
}

/* Intel's: its registers, and legacy mode */

#define VTD                 0xfed90000ULL
#define VTD_GCMD            0x18
#define VTD_GCMD_SRTP       (1U << 30)
#define VTD_GCMD_TE         (1U << 31)
#define VTD_RTADDR          0x20
#define VTD_CCMD            0x28
#define VTD_CCMD_GLOBAL     (1ULL << 63 | 1ULL << 61)
#define VTD_FSTS            0x34
#define VTD_FECTL           0x38
#define VTD_FEDATA          0x3c
#define VTD_FEADDR          0x40
#define VTD_IOTLB           0xf8
#define VTD_IOTLB_GLOBAL    (1ULL << 63 | 1ULL << 60)
#define VTD_FAULT           0x22c
#define VTD_FAULT_F         (1U << 31)
#define VTD_PRESENT         1
#define VTD_BYPASS          (2 << 2)
#define VTD_39_BITS         1
#define VTD_48_BITS         2
#define VTD_DOMAIN          (DOMAIN << 8)

/* A message for the first local APIC, as NMI: that reaches any CPU. */
#define MSI_ADDRESS         0xfee00000
#define MSI_NMI             (4 << 8)

static void vtd_flush(AgeIOMMU *i)
{
    qtest_writeq(i->d->qts, VTD + VTD_CCMD, VTD_CCMD_GLOBAL);
    qtest_writeq(i->d->qts, VTD + VTD_IOTLB, VTD_IOTLB_GLOBAL);
}

static void vtd_start(AgeIOMMU *i)
{
    QTestState *qts = i->d->qts;
    uint64_t roots = new_page(i), contexts = new_page(i);
    uint64_t tables = new_tables(i, AGE_IOMMU_RW);

    qtest_writeq(qts, roots, contexts | VTD_PRESENT);
    i->config = contexts + REQUESTER * 16;
    qtest_writeq(qts, i->config, tables | VTD_PRESENT);
    qtest_writeq(qts, i->config + 8, VTD_39_BITS | VTD_DOMAIN);
    qtest_writel(qts, VTD + VTD_FEADDR, MSI_ADDRESS);
    qtest_writel(qts, VTD + VTD_FEDATA, MSI_NMI);
    qtest_writel(qts, VTD + VTD_FECTL, 0);
    qtest_writeq(qts, VTD + VTD_RTADDR, roots);
    qtest_writel(qts, VTD + VTD_GCMD, VTD_GCMD_SRTP);
    vtd_flush(i);
    qtest_writel(qts, VTD + VTD_GCMD, VTD_GCMD_TE);
}

static void vtd_map(AgeIOMMU *i, uint64_t iova, uint64_t gpa, unsigned perm)
{
    set_leaf(i, iova, gpa | perm);
}

static void vtd_unmap(AgeIOMMU *i, uint64_t iova)
{
    set_leaf(i, iova, 0);
    vtd_flush(i);
}

static void vtd_bypass(AgeIOMMU *i)
{
    qtest_writeq(i->d->qts, i->config, VTD_PRESENT | VTD_BYPASS);
    qtest_writeq(i->d->qts, i->config + 8, VTD_48_BITS | VTD_DOMAIN);
}

static unsigned vtd_faults(AgeIOMMU *i)
{
    uint32_t fault = qtest_readl(i->d->qts, VTD + VTD_FAULT);

    qtest_writel(i->d->qts, VTD + VTD_FAULT, VTD_FAULT_F);
    return !!(fault & VTD_FAULT_F);
}

/* Arm's SMMUv3: stage 1, as Linux uses it */

#define SMMU                0x09050000ULL
#define SMMU_CR0            0x20
#define SMMU_CR0_SMMUEN     (1 << 0)
#define SMMU_CR0_EVENTQEN   (1 << 2)
#define SMMU_CR0_CMDQEN     (1 << 3)
#define SMMU_IRQ_CTRL       0x50
#define SMMU_IRQ_EVENTQ     (1 << 2)
#define SMMU_STRTAB_BASE    0x80
#define SMMU_STRTAB_CFG     0x88
#define SMMU_CMDQ_BASE      0x90
#define SMMU_CMDQ_PROD      0x98
#define SMMU_CMDQ_CONS      0x9c
#define SMMU_EVENTQ_BASE    0xa0
#define SMMU_EVENTQ_PROD    0xa8
#define SMMU_EVENTQ_CONS    0xac
/* Sizes, as powers of two: entries of 64, 16 and 32 bytes, in a page each */
#define SMMU_STREAMS        6
#define SMMU_COMMANDS       8
#define SMMU_EVENTS         7
#define SMMU_TLBI_ALL       0x30
#define SMMU_STE_STAGE1     (1 | 5 << 1)
#define SMMU_STE_BYPASS     (1 | 4 << 1)
/* Context descriptor: 39 bits below, nothing above; AArch64; faults recorded */
#define SMMU_CD0            (25 | 1U << 30 | 1U << 31)
#define SMMU_CD1            (5 | 1 << 9 | 1 << 13 | 1 << 14 | 1 << 16)
#define SMMU_TABLE          3
#define SMMU_LEAF           (3 | 1 << 10)
#define SMMU_LEAF_RO        (1 << 7)

/* GICv2, with all of its interrupts let through to the CPU */
#define GICD                0x08000000ULL
#define GICD_ISENABLER      0x100
#define GICC                0x08010000ULL
#define GICC_PMR            4

static void gic_start(AgeIOMMU *i)
{
    QTestState *qts = i->d->qts;

    for (unsigned n = 1; n < 9; n++) {
        qtest_writel(qts, GICD + GICD_ISENABLER + 4 * n, ~0U);
    }
    qtest_writel(qts, GICD, 1);
    qtest_writel(qts, GICC + GICC_PMR, 0xff);
    qtest_writel(qts, GICC, 1);
}

static void smmu_start(AgeIOMMU *i)
{
    QTestState *qts = i->d->qts;
    uint64_t streams = new_page(i), context = new_page(i);
    uint64_t events = new_page(i), tables = new_tables(i, SMMU_TABLE);

    i->command_queue = new_page(i);
    i->config = streams + REQUESTER * 64;
    qtest_writeq(qts, i->config, context | SMMU_STE_STAGE1);
    qtest_writel(qts, context, SMMU_CD0);
    qtest_writel(qts, context + 4, SMMU_CD1);
    qtest_writeq(qts, context + 8, tables);
    qtest_writeq(qts, SMMU + SMMU_STRTAB_BASE, streams);
    qtest_writel(qts, SMMU + SMMU_STRTAB_CFG, SMMU_STREAMS);
    qtest_writeq(qts, SMMU + SMMU_CMDQ_BASE, i->command_queue | SMMU_COMMANDS);
    qtest_writeq(qts, SMMU + SMMU_EVENTQ_BASE, events | SMMU_EVENTS);
    qtest_writel(qts, SMMU + SMMU_IRQ_CTRL, SMMU_IRQ_EVENTQ);
    qtest_writel(qts, SMMU + SMMU_CR0, SMMU_CR0_SMMUEN | SMMU_CR0_EVENTQEN |
                 SMMU_CR0_CMDQEN);
    gic_start(i);
}

static void smmu_map(AgeIOMMU *i, uint64_t iova, uint64_t gpa, unsigned perm)
{
    set_leaf(i, iova, gpa | SMMU_LEAF |
             (perm & AGE_IOMMU_WRITE ? 0 : SMMU_LEAF_RO));
}

static void smmu_unmap(AgeIOMMU *i, uint64_t iova)
{
    QTestState *qts = i->d->qts;
    unsigned slot = i->commands++ % (1 << SMMU_COMMANDS);
    uint32_t mask = (2 << SMMU_COMMANDS) - 1;

    set_leaf(i, iova, 0);
    qtest_writeq(qts, i->command_queue + 16 * slot, SMMU_TLBI_ALL);
    qtest_writeq(qts, i->command_queue + 16 * slot + 8, 0);
    qtest_writel(qts, SMMU + SMMU_CMDQ_PROD, i->commands & mask);
    g_assert_cmphex(qtest_readl(qts, SMMU + SMMU_CMDQ_CONS), ==,
                    i->commands & mask);
}

static void smmu_bypass(AgeIOMMU *i)
{
    qtest_writeq(i->d->qts, i->config, SMMU_STE_BYPASS);
}

static unsigned smmu_faults(AgeIOMMU *i)
{
    QTestState *qts = i->d->qts;
    uint32_t prod = qtest_readl(qts, SMMU + SMMU_EVENTQ_PROD);
    uint32_t cons = qtest_readl(qts, SMMU + SMMU_EVENTQ_CONS);

    qtest_writel(qts, SMMU + SMMU_EVENTQ_CONS, prod);
    return (prod - cons) & ((2 << SMMU_EVENTS) - 1);
}

/* virtio's */

/* Give it a request that ends in a struct virtio_iommu_req_tail. */
static void viommu_ask(AgeIOMMU *i, const void *request, size_t size)
{
    struct virtio_iommu_req_tail tail = { .status = 0xff };

    age_virtio_ask(i->virtio, 0, request, size - sizeof(tail), &tail,
                   sizeof(tail));
    g_assert_cmpuint(tail.status, ==, VIRTIO_IOMMU_S_OK);
}

static void viommu_attach(AgeIOMMU *i, unsigned domain, unsigned flags)
{
    struct virtio_iommu_req_attach request = {
        .head.type = VIRTIO_IOMMU_T_ATTACH,
        .domain = cpu_to_le32(domain),
        .endpoint = cpu_to_le32(REQUESTER),
        .flags = cpu_to_le32(flags),
    };

    viommu_ask(i, &request, sizeof(request));
}

static void viommu_start(AgeIOMMU *i)
{
    if (!age_is_x86()) {
        gic_start(i);
    }
    i->virtio = age_virtio_start(i->d->g, VIRTIO_SLOT, i->heap, 2);
    age_guest_stop(i->d->g);
    age_flush_all(i->d->qts);
    age_virtio_lend(i->virtio, 1, i->d->end - AGE_PAGE, 64, EVENTS);
    viommu_attach(i, DOMAIN, 0);
}

static void viommu_map(AgeIOMMU *i, uint64_t iova, uint64_t gpa, unsigned perm)
{
    struct virtio_iommu_req_map request = {
        .head.type = VIRTIO_IOMMU_T_MAP,
        .domain = cpu_to_le32(DOMAIN),
        .virt_start = cpu_to_le64(iova),
        .virt_end = cpu_to_le64(iova + AGE_PAGE - 1),
        .phys_start = cpu_to_le64(gpa),
        .flags = cpu_to_le32(perm),
    };

    viommu_ask(i, &request, sizeof(request));
}

static void viommu_unmap(AgeIOMMU *i, uint64_t iova)
{
    struct virtio_iommu_req_unmap request = {
        .head.type = VIRTIO_IOMMU_T_UNMAP,
        .domain = cpu_to_le32(DOMAIN),
        .virt_start = cpu_to_le64(iova),
        .virt_end = cpu_to_le64(iova + AGE_PAGE - 1),
    };

    viommu_ask(i, &request, sizeof(request));
}

static void viommu_bypass(AgeIOMMU *i)
{
    viommu_attach(i, DOMAIN + 1, VIRTIO_IOMMU_ATTACH_F_BYPASS);
}

static unsigned viommu_faults(AgeIOMMU *i)
{
    return age_virtio_returned(i->virtio, 1);
}

static void viommu_stop(AgeIOMMU *i)
{
    age_virtio_free(i->virtio);
}

/* All of them */

#define VIRTIO_IOMMU        "-device virtio-iommu-pci,addr=5"

static const AgeIOMMUKind kinds_x86[] = {
    { "intel", "q35", "-device intel-iommu,intremap=off", vtd_start, vtd_map,
      vtd_unmap, vtd_bypass, vtd_faults, NULL },
    { "virtio", "q35", VIRTIO_IOMMU, viommu_start, viommu_map, viommu_unmap,
      viommu_bypass, viommu_faults, viommu_stop },
    { },
};

static const AgeIOMMUKind kinds_arm[] = {
    { "smmuv3", "virt,highmem-ecam=off,iommu=smmuv3", "", smmu_start, smmu_map,
      smmu_unmap, smmu_bypass, smmu_faults, NULL },
    { "virtio", "virt,highmem-ecam=off", VIRTIO_IOMMU, viommu_start,
      viommu_map, viommu_unmap, viommu_bypass, viommu_faults, viommu_stop },
    { },
};

const AgeIOMMUKind *age_iommu_kinds(void)
{
    return age_is_x86() ? kinds_x86 : kinds_arm;
}

AgeIOMMU *age_iommu_start(const AgeIOMMUKind *kind, const char *device)
{
    /* In this order, as it may be on a command line. */
    g_autofree char *args = g_strdup_printf("%s %s", device, kind->args);
    AgeIOMMU *i = g_new0(AgeIOMMU, 1);

    i->kind = kind;
    i->d = age_dev_start_on(kind->machine, args);
    i->heap = i->d->end - 2 * HEAP;
    kind->start(i);
    /* What virtio's driver has in the first window stays there. */
    i->d->window = 1;
    age_dev_enable(i->d);
    return i;
}

void age_iommu_quit(AgeIOMMU *i)
{
    if (i->kind->stop) {
        i->kind->stop(i);
    }
    age_dev_quit(i->d);
    g_free(i);
}

AgeDev *age_iommu_device(AgeIOMMU *i)
{
    return i->d;
}

void age_iommu_map(AgeIOMMU *i, uint64_t iova, uint64_t gpa, unsigned perm)
{
    i->kind->map(i, iova, gpa, perm);
}

void age_iommu_unmap(AgeIOMMU *i, uint64_t iova)
{
    i->kind->unmap(i, iova);
}

void age_iommu_bypass(AgeIOMMU *i)
{
    i->kind->bypass(i);
}

unsigned age_iommu_faults(AgeIOMMU *i)
{
    return i->kind->faults(i);
}
