/*
 * The bitmap of a range that is harvested, as the client has it and as words
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/base64.h"
#include "qemu/bitmap.h"
#include "qemu/bswap.h"
#include "qemu/rcu.h"
#include "qapi/error.h"
#include "harvest-map.h"
#include "shared-memory.h"

static size_t words_of(uint64_t pages)
{
    return BITS_TO_LONGS(pages);
}

/* Convert between the words of the host and those of the wire, in place */
static void swap_words(unsigned long *map, size_t words)
{
    for (size_t i = 0; HOST_BIG_ENDIAN && i < words; i++) {
        map[i] = bswap64(map[i]);
    }
}

void age_harvest_map_clear(HarvestMap *map)
{
    g_free(map->bits);
}

/* Bitmaps in text */

/*
 * Is the padding of @text right?  GLib's decoder does not mind if it is not,
 * and returns less than was meant.
 */
static bool well_padded(const char *text)
{
    size_t chars = 0, padding = 0;

    for (; *text; text++) {
        if (*text == '\n') {
            continue;
        }
        if (*text != '=' && padding) {
            return false;
        }
        padding += *text == '=';
        chars++;
    }
    return chars % 4 == 0 && padding <= 2;
}

static bool parse_text(HarvestMap *map, const AgeRangeCheck *check,
                       Error **errp)
{
    const AgeRange *range = qapi_AgeRangeArg_base(map->arg);
    g_autofree uint8_t *bytes = NULL;
    size_t words;

    if (well_padded(map->arg->bitmap)) {
        bytes = qbase64_decode(map->arg->bitmap, -1, &map->bytes, NULL);
    }
    if (!bytes) {
        age_range_error(check, range, errp,
                        "has a bitmap that is not base64");
        return false;
    }
    if (map->bytes < DIV_ROUND_UP(map->pages, 8)) {
        age_range_error(check, range, errp,
                        "has a bitmap of %zu bits for %" PRIu64 " pages",
                        map->bytes * 8, map->pages);
        return false;
    }
    words = DIV_ROUND_UP(map->bytes, sizeof(unsigned long));
    map->bits = g_new0(unsigned long, words);
    memcpy(map->bits, bytes, map->bytes);
    swap_words(map->bits, words);
    return true;
}

/* Bitmaps in memory */

static uint64_t offset_of(const HarvestMap *map)
{
    return map->arg->has_offset ? map->arg->offset : 0;
}

/* Has the bitmap a place in @size bytes of memory? */
static bool fits_memory(const HarvestMap *map, uint64_t size)
{
    uint64_t offset = offset_of(map);

    return offset <= size && size - offset >= map->bytes;
}

/* The client's memory, which has a place for the bitmap; under RCU */
static const uint8_t *find_memory(const HarvestMap *map,
                                  const AgeRangeCheck *check, Error **errp)
{
    const AgeRange *range = qapi_AgeRangeArg_base(map->arg);
    const char *id = map->arg->memory;
    uint64_t offset = offset_of(map);
    uint64_t size;
    uint8_t *host = age_shared_find(id, &size);

    if (!host) {
        age_range_error(check, range, errp, "names memory '%s', which was not "
                        "made known by age-share-memory", id);
        return NULL;
    }
    if (!QEMU_IS_ALIGNED(offset, sizeof(uint64_t))) {
        age_range_error(check, range, errp, "has its bitmap at offset %" PRIu64
                        ", which is no multiple of 8", offset);
        return NULL;
    }
    if (!fits_memory(map, size)) {
        age_range_error(check, range, errp, "has a bitmap of %zu bytes at "
                        "offset %" PRIu64 " of memory '%s', which is of "
                        "%" PRIu64 " bytes", map->bytes, offset, id, size);
        return NULL;
    }
    return host;
}

/*
 * Harvest by a copy.  Whoever is asked more than once what to do with a page
 * must get the same answer, even if the client changes its mind.
 */
static bool copy_memory(HarvestMap *map, const AgeRangeCheck *check,
                        Error **errp)
{
    size_t words = words_of(map->pages);
    const uint8_t *host;

    map->bytes = DIV_ROUND_UP(map->pages, 8);
    RCU_READ_LOCK_GUARD();
    host = find_memory(map, check, errp);
    if (!host) {
        return false;
    }
    map->memory = host;
    map->bits = g_new0(unsigned long, words);
    memcpy(map->bits, host + offset_of(map), map->bytes);
    swap_words(map->bits, words);
    return true;
}

/* Either */

bool age_harvest_map_parse(HarvestMap *map, const AgeRangeCheck *check,
                           Error **errp)
{
    const AgeRangeArg *arg = map->arg;
    const AgeRange *range = qapi_AgeRangeArg_base(arg);

    if (arg->memory && arg->bitmap) {
        age_range_error(check, range, errp,
                        "has a bitmap in text and one in memory");
        return false;
    }
    if (arg->has_offset && !arg->memory) {
        age_range_error(check, range, errp,
                        "has an offset, but names no memory");
        return false;
    }
    if (arg->memory) {
        return copy_memory(map, check, errp);
    }
    return !arg->bitmap || parse_text(map, check, errp);
}

/* What is meant if none was given */
static void fill_in(HarvestMap *map)
{
    size_t words = words_of(map->pages);

    if (map->bits) {
        return;
    }
    map->bytes = DIV_ROUND_UP(map->pages, 8);
    map->bits = g_new0(unsigned long, words);
    if (!map->test) {
        memset(map->bits, 0xff, words * sizeof(unsigned long));
    }
}

/* The bitmap as the seed of this interface has it: young bits flipped */
static void flip_young(HarvestMap *map, const AgeSparse *young)
{
    age_sparse_flip(young, map->bits);
    swap_words(map->bits, DIV_ROUND_UP(map->bytes, sizeof(unsigned long)));
}

char *age_harvest_map_text(HarvestMap *map, const AgeSparse *young)
{
    fill_in(map);
    flip_young(map, young);
    return g_base64_encode((uint8_t *)map->bits, map->bytes);
}

bool age_harvest_map_to_memory(HarvestMap *map, const AgeSparse *young)
{
    uint64_t size;
    uint8_t *host;

    RCU_READ_LOCK_GUARD();
    host = age_shared_find(map->arg->memory, &size);
    if (host != map->memory || !fits_memory(map, size)) {
        return false;
    }
    fill_in(map);
    flip_young(map, young);
    memcpy(host + offset_of(map), map->bits, map->bytes);
    return true;
}
