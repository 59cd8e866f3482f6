/*
 * Readings in memory that outlives a reset. They stand behind two records of where they are, written
 * in turn: the record is written after the readings it tells of, and before anything that it does not
 * tell of is overwritten, so at every moment the newer valid record is right.
 *
 * Only sg_begin_stored() leads here: a sketch without a storage does not carry this code.
 */

#include "sg_internal.h"

#include <string.h>

/* Changes with the layout of the record. */
enum { LAYOUT = 2 };

typedef struct {
    uint8_t serial; /* of this record; rises by one with each */
    uint8_t layout;
    uint16_t size; /* of the storage */
    sg_ring ring;
    uint32_t uptime; /* when it was written, in milliseconds */
    uint32_t crc;    /* of all before it */
} record;

enum { RECORD_SIZE = SG_STORAGE_OVERHEAD / 2 };
typedef char a_record_fits_into_its_half[sizeof(record) <= RECORD_SIZE ? 1 : -1];

static uint32_t record_crc(const record *of) { return sg_crc(0, of, offsetof(record, crc)); }

static void save(sg_link *link) {
    const sg_storage *storage = link->memory.storage;
    record next;
    memset(&next, 0, sizeof next);
    link->slot++;
    next.serial = link->slot;
    next.layout = LAYOUT;
    next.size = storage->size;
    next.ring = link->ring;
    next.uptime = sg_uptime(link);
    next.crc = record_crc(&next);
    storage->store(link->config->context, (link->slot & 1) != 0 ? RECORD_SIZE : 0, &next, sizeof next);
}

static bool load_record(const sg_link *link, uint16_t at, record *to) {
    const sg_storage *storage = link->memory.storage;
    storage->load(link->config->context, at, to, sizeof *to);
    return to->crc == record_crc(to) && to->layout == LAYOUT && to->size == storage->size &&
           to->ring.head < link->size && to->ring.used <= link->size;
}

/* How many of `size` bytes there are from `at` to the end of the memory; the others are at its begin. */
static uint8_t before_end(const sg_link *link, uint16_t at, uint8_t size) {
    const uint16_t most = (uint16_t)(link->size - at);
    return (uint8_t)(size < most ? size : most);
}

static void load(const sg_link *link, uint16_t at, uint8_t *to, uint8_t size) {
    const sg_storage *storage = link->memory.storage;
    const uint8_t first = before_end(link, at, size);
    storage->load(link->config->context, (uint16_t)(SG_STORAGE_OVERHEAD + at), to, first);
    if (first < size) {
        storage->load(link->config->context, SG_STORAGE_OVERHEAD, to + first, (uint8_t)(size - first));
    }
}

static void store(const sg_link *link, uint16_t at, const uint8_t *from, uint8_t size) {
    const sg_storage *storage = link->memory.storage;
    const uint8_t first = before_end(link, at, size);
    storage->store(link->config->context, (uint16_t)(SG_STORAGE_OVERHEAD + at), from, first);
    if (first < size) {
        storage->store(link->config->context, SG_STORAGE_OVERHEAD, from + first, (uint8_t)(size - first));
    }
}

void sg_begin_stored(sg_link *link, const sg_config *config, uint32_t boot, const sg_storage *storage) {
    static const struct sg_keeper keeper = {load, store, save};
    const bool holds = storage->size > SG_STORAGE_OVERHEAD;
    sg_begin(link, config, boot, NULL, (uint16_t)(holds ? storage->size - SG_STORAGE_OVERHEAD : 0));
    if (!holds) {
        return; /* there is room for nothing, and sg_end() says so */
    }
    link->memory.storage = storage;
    link->keeper = &keeper;
    record found[2];
    const bool first = load_record(link, 0, &found[0]);
    const bool second = load_record(link, RECORD_SIZE, &found[1]);
    if (!first && !second) {
        save(link);
        return;
    }
    const bool newer = second && (!first || (int8_t)(uint8_t)(found[1].serial - found[0].serial) > 0);
    link->slot = found[newer].serial;
    link->ring = found[newer].ring;
    link->cursor = link->ring.head;
    /* Readings of before the reset keep their order in time; the reset itself takes none. */
    link->started -= found[newer].uptime;
    link->hello_at = link->data_at = found[newer].uptime;
    /* What was sent before the reset may not have come: only the oldest, until an ACK says more. */
    link->rto_s = RTO_MIN_S;
}
