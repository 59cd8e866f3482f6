/*
 * The readings that the host does not have yet: the size of the items, the time, the items, one
 * reading behind the other. In a storage they stand behind two records of where they are: the
 * record is written after the readings it tells of, and before anything that it does not tell of is
 * overwritten, so at every moment the newer valid record is right.
 */

#include "sg_internal.h"

#include <string.h>

#if SG_STORAGE

/* Changes with the layout of the record. */
enum { LAYOUT = 1 };

typedef struct {
    uint8_t serial; /* of this record; rises by one with each */
    uint8_t layout;
    uint16_t size; /* of the storage */
    sg_ring ring;
    uint32_t crc; /* of all before it */
} record;

enum { RECORD_SIZE = SG_STORAGE_OVERHEAD / 2 };
typedef char a_record_fits_into_its_half[sizeof(record) <= RECORD_SIZE ? 1 : -1];

static uint32_t record_crc(const record *of) { return sg_crc(0, of, offsetof(record, crc)); }

static void save(sg_link *link) {
    const sg_storage *storage = link->config->storage;
    if (storage == NULL) {
        return;
    }
    record next;
    memset(&next, 0, sizeof next);
    link->slot++;
    next.serial = link->slot;
    next.layout = LAYOUT;
    next.size = storage->size;
    next.ring = link->ring;
    next.crc = record_crc(&next);
    storage->store(link->config->context, (link->slot & 1) != 0 ? RECORD_SIZE : 0, &next, sizeof next);
}

static bool load_record(const sg_link *link, uint16_t at, record *to) {
    const sg_storage *storage = link->config->storage;
    storage->load(link->config->context, at, to, sizeof *to);
    return to->crc == record_crc(to) && to->layout == LAYOUT && to->size == storage->size &&
           to->ring.head < link->size && to->ring.used <= link->size;
}

/* Takes up what a storage holds from before the reset, if there is one. */
static bool load(sg_link *link) {
    const sg_storage *storage = link->config->storage;
    if (storage == NULL) {
        return false;
    }
    link->size = storage->size > SG_STORAGE_OVERHEAD ? (uint16_t)(storage->size - SG_STORAGE_OVERHEAD) : 0;
    record found[2];
    const bool first = load_record(link, 0, &found[0]);
    const bool second = load_record(link, RECORD_SIZE, &found[1]);
    if (!first && !second) {
        return false;
    }
    const bool newer = second && (!first || (int8_t)(uint8_t)(found[1].serial - found[0].serial) > 0);
    link->slot = found[newer].serial;
    link->ring = found[newer].ring;
    return true;
}

static void load_bytes(const sg_link *link, uint16_t at, uint8_t *to, uint8_t size) {
    const sg_config *config = link->config;
    if (config->storage != NULL) {
        config->storage->load(config->context, (uint16_t)(SG_STORAGE_OVERHEAD + at), to, size);
    } else {
        memcpy(to, link->memory + at, size);
    }
}

static void store_bytes(const sg_link *link, uint16_t at, const uint8_t *from, uint8_t size) {
    const sg_config *config = link->config;
    if (config->storage != NULL) {
        config->storage->store(config->context, (uint16_t)(SG_STORAGE_OVERHEAD + at), from, size);
    } else {
        memcpy(link->memory + at, from, size);
    }
}

#else

static void save(sg_link *link) { (void)link; }

static bool load(sg_link *link) {
    (void)link;
    return false;
}

static void load_bytes(const sg_link *link, uint16_t at, uint8_t *to, uint8_t size) {
    memcpy(to, link->memory + at, size);
}

static void store_bytes(const sg_link *link, uint16_t at, const uint8_t *from, uint8_t size) {
    memcpy(link->memory + at, from, size);
}

#endif

void sg_ring_begin(sg_link *link, void *memory, uint16_t size) {
    link->memory = memory;
    link->size = size;
    if (load(link)) {
        link->flags |= LOADED;
    } else {
        link->ring.boot = link->config->boot;
        save(link);
    }
}

/* Where `offset` bytes behind the begin of the oldest reading are. */
static uint16_t place(const sg_link *link, uint16_t offset) {
    const uint16_t before_end = (uint16_t)(link->size - link->ring.head);
    return offset < before_end ? (uint16_t)(link->ring.head + offset) : (uint16_t)(offset - before_end);
}

/* How many of `size` bytes there are from `at` to the end of the memory; the others are at its begin. */
static uint8_t before_end(const sg_link *link, uint16_t at, uint8_t size) {
    const uint16_t most = (uint16_t)(link->size - at);
    return size < most ? size : (uint8_t)most;
}

void sg_ring_load(const sg_link *link, uint16_t offset, uint8_t *to, uint8_t size) {
    const uint16_t at = place(link, offset);
    const uint8_t first = before_end(link, at, size);
    load_bytes(link, at, to, first);
    load_bytes(link, 0, to + first, (uint8_t)(size - first));
}

static void put(const sg_link *link, uint16_t offset, const uint8_t *from, uint8_t size) {
    const uint16_t at = place(link, offset);
    const uint8_t first = before_end(link, at, size);
    store_bytes(link, at, from, first);
    store_bytes(link, 0, from + first, (uint8_t)(size - first));
}

uint8_t sg_ring_items(const sg_link *link, uint16_t offset) {
    uint8_t size;
    sg_ring_load(link, offset, &size, 1);
    return size;
}

static void forget(sg_link *link, uint16_t count) {
    while (count-- > 0 && link->ring.count > 0) {
        const uint16_t bytes = (uint16_t)(READING_OVERHEAD + sg_ring_items(link, 0));
        link->ring.head = place(link, bytes);
        link->ring.used = (uint16_t)(link->ring.used - bytes);
        link->ring.oldest++;
        link->ring.count--;
        if (link->sent > 0) {
            link->sent--;
            link->sent_to = (uint16_t)(link->sent_to - bytes);
        }
    }
}

void sg_ring_pop(sg_link *link, uint16_t count) {
    if (count > 0) {
        forget(link, count);
        save(link);
    }
}

/* Makes room for `size` more bytes of the reading that is being written. */
static bool reserve(sg_link *link, uint8_t size) {
    const uint16_t wanted = (uint16_t)(link->open + size);
    /* What a frame can carry, too. */
    if (wanted > SG_TX_SIZE - 3 - HEADER_SIZE - CRC_SIZE + 1 || wanted > link->size) {
        link->flags |= TOO_LARGE;
    }
    if ((link->flags & TOO_LARGE) != 0) {
        return false;
    }
    bool dropped = false;
    while (wanted > (uint16_t)(link->size - link->ring.used)) {
        forget(link, 1);
        link->ring.dropped++;
        dropped = true;
    }
    if (dropped) {
        save(link);
    }
    return true;
}

static void append(sg_link *link, const uint8_t *bytes, uint8_t size) {
    if (link->open == 0) {
        const uint32_t uptime = sg_uptime(link);
        const uint8_t head[READING_OVERHEAD] = {0, (uint8_t)uptime, (uint8_t)(uptime >> 8), (uint8_t)(uptime >> 16),
                                                (uint8_t)(uptime >> 24)};
        if (!reserve(link, sizeof head)) {
            return;
        }
        link->ring.uptime = uptime;
        put(link, link->ring.used, head, sizeof head);
        link->open = sizeof head;
    }
    if (reserve(link, size)) {
        put(link, (uint16_t)(link->ring.used + link->open), bytes, size);
        link->open = (uint16_t)(link->open + size);
    }
}

bool sg_end(sg_link *link) {
    const uint16_t open = link->open;
    const bool good = open > READING_OVERHEAD && (link->flags & TOO_LARGE) == 0;
    link->open = 0;
    link->flags &= (uint8_t)~TOO_LARGE;
    if (!good) {
        return false;
    }
    const uint8_t items = (uint8_t)(open - READING_OVERHEAD);
    put(link, link->ring.used, &items, 1);
    link->ring.used = (uint16_t)(link->ring.used + open);
    link->ring.count++;
    save(link);
    return true;
}

void sg_none(sg_link *link, const sg_channel *channel, uint8_t reason) {
    const uint8_t item[2] = {channel->number, (uint8_t)(reason & 0x0F)};
    append(link, item, sizeof item);
}

void sg_bool(sg_link *link, const sg_channel *channel, bool value) {
    const uint8_t item[2] = {channel->number, SG_FORMAT(SG_BOOL, value ? 1 : 0)};
    append(link, item, sizeof item);
}

void sg_int(sg_link *link, const sg_channel *channel, int32_t value) {
    uint8_t item[2 + 8] = {channel->number, channel->format};
    const uint8_t size = sg_int_bytes(channel->format, value, item + 2);
    if (size == 0) {
        sg_none(link, channel, SG_RANGE);
    } else {
        append(link, item, (uint8_t)(2 + size));
    }
}

void sg_raw(sg_link *link, const sg_channel *channel, const void *bytes, uint8_t size) {
    const uint8_t item[3] = {channel->number, channel->format, size};
    const bool counted = channel->format >> 4 >= SG_TEXT;
    append(link, item, counted ? 3 : 2);
    append(link, bytes, size);
}
