/*
 * age-device behind an IOMMU, which the test sets up as a guest would
 *
 * With and without a worker, and what an IOMMU refuses is told by an interrupt:
 * its model must not do that but from where QEMU's devices are used.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "iommu.h"
#include "qmp.h"

#define PAGES       8
#define FILL        0x0123456789abc000ULL

/* One IOMMU, and the device in its place */
typedef struct Case {
    const AgeIOMMUKind *kind;
    const char *device;
} Case;

static AgeIOMMU *start(const void *data)
{
    const Case *c = data;

    return age_iommu_start(c->kind, c->device);
}

/* Where page @n of those that a test maps is, and where the device sees it */
static uint64_t gpa(AgeDev *d, unsigned n)
{
    return d->memory + (1000 - 3 * n) * AGE_PAGE;
}

static uint64_t iova(unsigned n)
{
    return AGE_IOVA + n * AGE_PAGE;
}

static void map(AgeIOMMU *i, unsigned first, unsigned count, unsigned perm)
{
    for (unsigned n = first; n < first + count; n++) {
        age_iommu_map(i, iova(n), gpa(age_iommu_device(i), n), perm);
    }
}

/* The pages @first and on are young, and nothing else is */
static void check_young(AgeDev *d, unsigned first, unsigned count)
{
    GArray *want = age_pages_new();

    for (unsigned n = first + count; n > first; n--) {
        age_pages_add(want, gpa(d, n - 1), 1, 0);
    }
    age_dev_check_young(d, want);
}

/* Whether page @n has what the job of setup_write() writes there */
static bool was_written(AgeDev *d, unsigned n)
{
    return qtest_readq(d->qts, gpa(d, n)) == FILL + n * AGE_PAGE / 8;
}

static void setup_write(AgeDev *d, unsigned pages)
{
    age_dev_setup(d, AGE_DEVICE_COMMAND_WRITE, AGE_IOVA, pages * AGE_PAGE, 1);
    age_dev_set(d, AGE_DEVICE_FILL, FILL);
}

/* A job that the IOMMU refuses, which it notices once */
static void check_refused(AgeIOMMU *i)
{
    AgeDev *d = age_iommu_device(i);

    age_dev_fail(d, AGE_DEVICE_CODE_DMA);
    g_assert_cmpuint(age_dev_get(d, AGE_DEVICE_BYTES), ==, 0);
    g_assert_cmpuint(age_iommu_faults(i), ==, 1);
}

static void test_mapped(const void *data)
{
    AgeIOMMU *i = start(data);
    AgeDev *d = age_iommu_device(i);

    map(i, 0, 2 * PAGES, AGE_IOMMU_RW);
    setup_write(d, PAGES);
    age_dev_do(d);
    check_young(d, 0, PAGES);
    for (unsigned n = 0; n < PAGES; n++) {
        g_assert(was_written(d, n));
    }
    age_dev_setup(d, AGE_DEVICE_COMMAND_COPY, AGE_IOVA, PAGES * AGE_PAGE, 1);
    age_dev_set(d, AGE_DEVICE_DESTINATION, iova(PAGES));
    age_dev_do(d);
    check_young(d, 0, 2 * PAGES);
    for (unsigned n = 0; n < PAGES; n++) {
        g_assert_cmphex(qtest_readq(d->qts, gpa(d, PAGES + n) + 8), ==,
                        FILL + n * AGE_PAGE / 8 + 1);
    }
    /* Over the end of a page, and not all of the next */
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, iova(3) + 4000, 200, 1);
    age_dev_do(d);
    check_young(d, 3, 2);
    g_assert_cmpuint(age_iommu_faults(i), ==, 0);
    age_iommu_quit(i);
}

static void test_unmapped(const void *data)
{
    AgeIOMMU *i = start(data);
    AgeDev *d = age_iommu_device(i);

    setup_write(d, PAGES);
    check_refused(i);
    check_young(d, 0, 0);
    /* Where the device would find memory without the IOMMU */
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, d->memory, 8, 1);
    check_refused(i);
    check_young(d, 0, 0);
    /* The second half of a piece */
    map(i, 0, PAGES / 2, AGE_IOMMU_RW);
    setup_write(d, PAGES);
    check_refused(i);
    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_ERROR_ADDRESS), ==, AGE_IOVA);
    check_young(d, 0, PAGES / 2);
    for (unsigned n = 0; n < PAGES; n++) {
        g_assert(was_written(d, n) == (n < PAGES / 2));
    }
    age_iommu_quit(i);
}

static void test_permission(const void *data)
{
    AgeIOMMU *i = start(data);
    AgeDev *d = age_iommu_device(i);

    map(i, 0, PAGES + 1, AGE_IOMMU_READ);
    setup_write(d, PAGES);
    check_refused(i);
    check_young(d, 0, 0);
    g_assert(!was_written(d, 0));
    age_dev_setup(d, AGE_DEVICE_COMMAND_READ, AGE_IOVA, PAGES * AGE_PAGE, 1);
    age_dev_do(d);
    check_young(d, 0, PAGES);
    age_dev_setup(d, AGE_DEVICE_COMMAND_COPY, AGE_IOVA, AGE_PAGE, 1);
    /* QEMU's VT-d tells of no fault if its IOTLB has the page, for reads. */
    age_dev_set(d, AGE_DEVICE_DESTINATION, iova(PAGES));
    check_refused(i);
    check_young(d, 0, 1);
    age_iommu_quit(i);
}

/* What is mapped need not be memory. */
static void test_no_memory(const void *data)
{
    AgeIOMMU *i = start(data);
    AgeDev *d = age_iommu_device(i);

    age_iommu_map(i, iova(0), d->bar, AGE_IOMMU_RW);
    age_iommu_map(i, iova(1), d->end + 64 * MiB, AGE_IOMMU_RW);
    for (unsigned n = 0; n < 2; n++) {
        age_dev_setup(d, AGE_DEVICE_COMMAND_READ, iova(n), 8, 1);
        age_dev_fail(d, AGE_DEVICE_CODE_DMA);
        age_dev_setup(d, AGE_DEVICE_COMMAND_FILL, iova(n), 8, 1);
        age_dev_fail(d, AGE_DEVICE_CODE_DMA);
    }
    check_young(d, 0, 0);
    age_iommu_quit(i);
}

/* Mappings go while a job goes on that would never end. */
static void test_goes(const void *data)
{
    AgeIOMMU *i = start(data);
    AgeDev *d = age_iommu_device(i);

    map(i, 0, PAGES, AGE_IOMMU_RW);
    for (unsigned n = 0; n < 20; n++) {
        setup_write(d, PAGES);
        age_dev_set(d, AGE_DEVICE_REPEAT, 0);
        age_dev_go(d);
        age_dev_wait_bytes(d, 1);
        age_iommu_unmap(i, iova(n % PAGES));
        g_assert_cmphex(age_dev_wait(d), ==, AGE_DEVICE_STATUS_ERROR |
                        AGE_DEVICE_CODE_DMA << AGE_DEVICE_STATUS_CODE);
        g_assert_cmpuint(age_iommu_faults(i), ==, 1);
        map(i, n % PAGES, 1, AGE_IOMMU_RW);
    }
    age_iommu_quit(i);
}

/* An IOMMU that only lets through; it may learn of that from the access. */
static void test_bypass(const void *data)
{
    AgeIOMMU *i = start(data);
    AgeDev *d = age_iommu_device(i);

    age_iommu_bypass(i);
    for (unsigned n = 0; n < 3; n++) {
        age_dev_check_stride(d, AGE_DEVICE_COMMAND_WRITE);
        age_dev_check_stride(d, AGE_DEVICE_COMMAND_READ);
    }
    g_assert_cmpuint(age_iommu_faults(i), ==, 0);
    age_iommu_quit(i);
}

/* The guest can see that there is no worker, and jobs can be stopped. */
static void test_features(const void *data)
{
    AgeIOMMU *i = start(data);
    AgeDev *d = age_iommu_device(i);

    g_assert_cmphex(age_dev_get(d, AGE_DEVICE_FEATURES), ==,
                    AGE_DEVICE_FEATURE_YOUNG);
    map(i, 0, PAGES, AGE_IOMMU_RW);
    setup_write(d, PAGES);
    age_dev_set(d, AGE_DEVICE_REPEAT, 0);
    age_dev_go(d);
    age_dev_wait_bytes(d, 1);
    age_dev_stop(d);
    age_iommu_quit(i);
}

static void add(const char *name, const AgeIOMMUKind *kind, bool worker,
                GTestDataFunc func)
{
    g_autofree char *path = g_strdup_printf(
        "age/device/%siommu/%s/%s", worker ? "worker/" : "", kind->name, name);
    Case *c = g_new(Case, 1);

    c->kind = kind;
    c->device = worker ? AGE_DEV_WORKER : AGE_DEV;
    qtest_add_data_func_full(path, c, func, g_free);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (const AgeIOMMUKind *kind = age_iommu_kinds(); kind->name; kind++) {
        for (int worker = 0; worker < 2; worker++) {
            add("mapped", kind, worker, test_mapped);
            add("unmapped", kind, worker, test_unmapped);
            add("permission", kind, worker, test_permission);
            add("no-memory", kind, worker, test_no_memory);
            add("goes", kind, worker, test_goes);
            add("bypass", kind, worker, test_bypass);
            add("features", kind, worker, test_features);
        }
    }
    return g_test_run();
}
