/* The readings that the host does not have yet: the size of the items, the time, the items, one
 * reading behind the other. */

#include "sg_internal.h"

uint16_t sg_ring_after(const sg_link *link, uint16_t at, uint16_t count) {
    const uint16_t before_end = (uint16_t)(link->size - at);
    return (uint16_t)(count < before_end ? at + count : count - before_end);
}

void sg_ring_load(const sg_link *link, uint16_t at, uint8_t *to, uint8_t size) {
    if (link->keeper != NULL) {
        link->keeper->load(link, at, to, size);
        return;
    }
    while (size-- > 0) {
        *to++ = link->memory.ram[at];
        at = sg_ring_after(link, at, 1);
    }
}

static void store(const sg_link *link, uint16_t at, const uint8_t *from, uint8_t size) {
    if (link->keeper != NULL) {
        link->keeper->store(link, at, from, size);
        return;
    }
    while (size-- > 0) {
        link->memory.ram[at] = *from++;
        at = sg_ring_after(link, at, 1);
    }
}

static void save(sg_link *link) {
    if (link->keeper != NULL) {
        link->keeper->save(link);
    }
}

uint8_t sg_ring_items(const sg_link *link, uint16_t at) {
    uint8_t size;
    sg_ring_load(link, at, &size, 1);
    return size;
}

void sg_ring_pop(sg_link *link, uint16_t count) {
    if (count == 0) {
        return;
    }
    while (count-- > 0) {
        const uint16_t bytes = (uint16_t)(READING_OVERHEAD + sg_ring_items(link, link->ring.head));
        link->ring.head = sg_ring_after(link, link->ring.head, bytes);
        link->ring.used = (uint16_t)(link->ring.used - bytes);
        link->ring.oldest++;
        link->ring.count--;
        if (link->sent > 0) {
            link->sent--;
        } else {
            link->cursor = link->ring.head;
        }
    }
    save(link);
}

/* link->open of a reading that has no room in a frame, or in the memory. */
enum { TOO_LARGE = 255 };

/* Where the reading that is being written goes on after `open` bytes. */
static uint16_t behind(const sg_link *link, uint8_t open) {
    return sg_ring_after(link, link->ring.head, (uint16_t)(link->ring.used + open));
}

/* Adds bytes to the reading that is being written. */
static void append(sg_link *link, const uint8_t *bytes, uint8_t size) {
    /* The size is not sent. */
    enum { READING_MAX = SG_TX_SIZE - 3 - HEADER_SIZE - CRC_SIZE + 1 };
    if (link->open == 0) {
        link->open = READING_OVERHEAD;
    }
    const uint16_t wanted = (uint16_t)(link->open + size);
    if (wanted > READING_MAX || wanted > link->size) {
        link->open = TOO_LARGE;
        return;
    }
    while (wanted > link->size - link->ring.used) {
        link->ring.dropped++;
        sg_ring_pop(link, 1);
    }
    store(link, behind(link, link->open), bytes, size);
    link->open = (uint8_t)wanted;
}

bool sg_end(sg_link *link) {
    const uint8_t open = link->open;
    link->open = 0;
    if (open == 0 || open == TOO_LARGE) {
        return false;
    }
    uint8_t head[READING_OVERHEAD] = {(uint8_t)(open - READING_OVERHEAD)};
    uint32_t uptime = sg_uptime(link);
    for (uint8_t i = 1; i < READING_OVERHEAD; i++) {
        head[i] = (uint8_t)uptime;
        uptime >>= 8;
    }
    store(link, behind(link, 0), head, sizeof head);
    link->ring.used = (uint16_t)(link->ring.used + open);
    link->ring.count++;
    save(link);
    return true;
}

static void append_bare(sg_link *link, const sg_channel *channel, uint8_t format) {
    const uint8_t item[2] = {channel->number, format};
    append(link, item, sizeof item);
}

void sg_none(sg_link *link, const sg_channel *channel, uint8_t reason) {
    append_bare(link, channel, SG_FORMAT(SG_NONE, reason));
}

void sg_bool(sg_link *link, const sg_channel *channel, bool value) {
    append_bare(link, channel, SG_FORMAT(SG_BOOL, value));
}

void sg_int(sg_link *link, const sg_channel *channel, int32_t value) {
    uint8_t item[2 + 8] = {channel->number, channel->format};
    uint8_t size = sg_int_bytes(item[1], value, item + 2);
    if (size == 0) {
        item[1] = SG_FORMAT(SG_NONE, SG_RANGE);
    }
    append(link, item, (uint8_t)(2 + size));
}

void sg_raw(sg_link *link, const sg_channel *channel, const void *bytes, uint8_t size) {
    append_bare(link, channel, channel->format);
    if (channel->format >> 4 >= SG_TEXT) {
        append(link, &size, 1);
    }
    append(link, bytes, size);
}
