/* What is said when: HELLO, DATA with go-back-N, answers. */

#include "sg_internal.h"

#include <string.h>

/* Between two HELLOs, until the first ACK and after it, in milliseconds. */
enum { HELLO_SEARCHING_MS = 5000 };
#define HELLO_HEARTBEAT_MS UINT32_C(60000)

/* Waits for an ACK, in seconds: the first, and the longest. */
enum { RTO_MIN_S = 1, RTO_MAX_S = 32 };

/* HELLO: channels can be described, commands are taken. */
enum { CAPS = 0x03, MINOR = 0 };

static uint32_t now(const sg_link *link) { return link->config->millis(link->config->context); }

uint32_t sg_uptime(const sg_link *link) { return now(link) - link->started; }

/* Whether `at` has come. Right for 24 days, which is longer than anything is waited for. */
static bool is_due(uint32_t at, uint32_t now_ms) { return (int32_t)(now_ms - at) >= 0; }

static uint32_t seconds(uint8_t count) { return UINT32_C(1000) * count; }

void sg_begin(sg_link *link, const sg_config *config, void *ring, uint16_t size) {
    memset(link, 0, sizeof *link);
    link->config = config;
    sg_ring_begin(link, ring, size);
    link->hello_at = now(link);
    /* Readings of before the reset keep their order in time; the reset itself takes none. */
    link->started = link->hello_at - link->ring.uptime;
    /* What was sent before the reset may not have come: only the oldest, until an ACK says more. */
    link->rto_s = (link->flags & LOADED) != 0 ? RTO_MIN_S : 0;
    link->data_at = link->hello_at;
}

void sg_add_channel(sg_link *link, sg_channel *channel) {
    sg_channel **end = &link->channels;
    uint8_t number = 0;
    while (*end != NULL) {
        end = &(*end)->next;
        number++;
    }
    channel->number = number;
    channel->next = NULL;
    *end = channel;
}

bool sg_is_connected(const sg_link *link) { return (link->flags & HEARD) != 0 && link->rto_s == 0; }

static uint32_t crc_text(uint32_t crc, const char *text) {
    const size_t size = strlen(text);
    const uint8_t counted = size > 255 ? 255 : (uint8_t)size;
    return sg_crc(sg_crc(crc, &counted, 1), text, counted);
}

static bool hello(sg_link *link) {
    uint32_t schema = 0;
    uint8_t channels = 0;
    for (const sg_channel *channel = link->channels; channel != NULL; channel = channel->next) {
        const uint8_t head[3] = {channel->number, channel->format, channel->class_};
        schema = crc_text(crc_text(sg_crc(schema, head, sizeof head), channel->unit), channel->name);
        channels++;
    }
    sg_frame_open(link, KIND_HELLO, 0, 0);
    sg_frame_u8(link, MINOR);
    sg_frame_u8(link, CAPS);
    sg_frame_u32(link, link->ring.boot);
    sg_frame_u32(link, sg_uptime(link));
    sg_frame_u32(link, link->ring.oldest);
    sg_frame_u32(link, link->ring.oldest + link->ring.count);
    sg_frame_u32(link, link->ring.dropped);
    sg_frame_u8(link, SG_RX_MAX);
    sg_frame_u8(link, channels);
    sg_frame_u32(link, schema);
    sg_frame_u8(link, link->config->uid_size);
    sg_frame_bytes(link, link->config->uid, link->config->uid_size);
    sg_frame_text(link, link->config->firmware);
    return sg_frame_close(link);
}

static bool describe(sg_link *link, uint16_t seq, uint8_t number) {
    const sg_channel *channel = link->channels;
    while (channel != NULL && channel->number != number) {
        channel = channel->next;
    }
    if (channel == NULL) {
        return false;
    }
    sg_frame_open(link, KIND_DESCRIBE, 0, seq);
    sg_frame_u8(link, number);
    sg_frame_u8(link, channel->format);
    sg_frame_u8(link, channel->class_);
    sg_frame_text(link, channel->unit);
    sg_frame_text(link, channel->name);
    return sg_frame_close(link);
}

static bool result(sg_link *link) {
    sg_frame_open(link, KIND_RESULT, 0, link->call);
    sg_frame_bytes(link, link->result, link->result_size);
    return sg_frame_close(link);
}

/* The reading that lies `index` readings and `offset` bytes behind the oldest one. */
static bool data(sg_link *link, uint16_t index, uint16_t offset) {
    const uint8_t size = (uint8_t)(READING_OVERHEAD - 1 + sg_ring_items(link, offset));
    const uint16_t seq = (uint16_t)(link->ring.oldest + index);
    sg_frame_open(link, KIND_DATA, index == 0 ? FLAG_OLDEST : 0, seq);
    if (size > sg_frame_room(link)) {
        return false;
    }
    /* Straight from the ring: there is no room for it twice. */
    sg_ring_load(link, (uint16_t)(offset + 1), link->tx + link->tx_end, size);
    link->tx_end = (uint8_t)(link->tx_end + size);
    return sg_frame_close(link);
}

bool sg_log(sg_link *link, const char *text) {
    sg_frame_open(link, KIND_LOG, 0, 0);
    const uint8_t room = sg_frame_room(link);
    size_t size = strlen(text);
    if (size > room && link->tx_size > 0) {
        return false;
    }
    while (size > room || (size > 0 && size == room && (text[size] & 0xC0) == 0x80)) {
        size--;
    }
    sg_frame_bytes(link, text, size);
    return sg_frame_close(link);
}

/* Puts the next DATA that is to be sent, if there is one. */
static bool next_data(sg_link *link) {
    const uint32_t now_ms = now(link);
    if (link->ring.count == 0) {
        return false;
    }
    if (link->rto_s == 0 && link->sent > 0 && is_due(link->data_at, now_ms)) {
        link->rto_s = RTO_MIN_S;
        link->data_at = now_ms;
    }
    if (link->rto_s != 0) {
        if (!is_due(link->data_at, now_ms) || !data(link, 0, 0)) {
            return false;
        }
        link->rto_s = link->rto_s < RTO_MAX_S / 2 ? (uint8_t)(link->rto_s * 2) : RTO_MAX_S;
        link->data_at = now_ms + seconds(link->rto_s);
        if (link->sent == 0) {
            link->sent = 1;
            link->sent_to = (uint16_t)(READING_OVERHEAD + sg_ring_items(link, 0));
        }
        return true;
    }
    if (link->sent >= link->ring.count || !data(link, link->sent, link->sent_to)) {
        return false;
    }
    if (link->sent == 0) {
        link->data_at = now_ms + seconds(RTO_MIN_S);
    }
    link->sent_to = (uint16_t)(link->sent_to + READING_OVERHEAD + sg_ring_items(link, link->sent_to));
    link->sent++;
    return true;
}

/* Puts the next frame, if there is one and it fits. */
static bool next_frame(sg_link *link) {
    if ((link->flags & ANSWERS) != 0) {
        if (!result(link)) {
            return false;
        }
        link->flags &= (uint8_t)~ANSWERS;
        return true;
    }
    const uint32_t now_ms = now(link);
    if (is_due(link->hello_at, now_ms)) {
        if (!hello(link)) {
            return false;
        }
        link->hello_at = now_ms + ((link->flags & HEARD) != 0 ? HELLO_HEARTBEAT_MS : HELLO_SEARCHING_MS);
        return true;
    }
    return next_data(link);
}

static void drain(sg_link *link) {
    if (link->tx_size == 0) {
        return;
    }
    const size_t taken = link->config->write(link->config->context, link->tx, link->tx_size);
    if (taken > 0 && taken <= link->tx_size) {
        link->tx_size = (uint8_t)(link->tx_size - taken);
        memmove(link->tx, link->tx + taken, link->tx_size);
    }
}

void sg_poll(sg_link *link) {
    drain(link);
    while (next_frame(link)) {
        drain(link);
    }
    if ((link->flags & (REBOOTS | ANSWERS)) == REBOOTS && link->tx_size == 0) {
        link->flags &= (uint8_t)~REBOOTS;
        link->config->command(link->config->context, link, SG_REBOOT, NULL, 0);
    }
}

static void acknowledge(sg_link *link, uint16_t next, bool rewind) {
    const uint16_t ahead = (uint16_t)(next - (uint16_t)link->ring.oldest);
    /* A number that we do not hold says nothing, except in a NAK: then the host waits for readings
     * that were dropped here, and the oldest we have tells it so. */
    if (ahead > link->ring.count && !rewind) {
        return;
    }
    const uint16_t count = ahead <= link->ring.count ? ahead : 0;
    sg_ring_pop(link, count);
    if (rewind) {
        link->sent = 0;
        link->sent_to = 0;
    }
    /* An ACK of nothing new must not put off what is due. */
    if (count > 0 || rewind || link->rto_s != 0) {
        link->rto_s = 0;
        link->data_at = now(link) + seconds(RTO_MIN_S);
    }
    if ((link->flags & HEARD) == 0) {
        link->flags |= HEARD;
        link->hello_at = now(link) + HELLO_HEARTBEAT_MS;
    }
}

/* Sets one channel after the other; the first that is refused ends it. */
static uint8_t set(sg_link *link, const uint8_t *at, uint8_t left) {
    while (left >= 2) {
        sg_item item = {at[0], at[1], sg_type_size(at[1]), at + 2};
        uint8_t size = (uint8_t)(2 + item.size);
        if (item.format >> 4 >= SG_TEXT && left > 2) {
            item.size = at[2];
            item.bytes++;
            if (item.size > left - 3) {
                return SG_REFUSED;
            }
            size = (uint8_t)(3 + item.size);
        }
        const sg_channel *channel = link->channels;
        while (channel != NULL && channel->number != item.channel) {
            channel = channel->next;
        }
        if (size > left || channel == NULL || (channel->class_ & SG_WRITABLE) == 0 || link->config->set == NULL ||
            !link->config->set(link->config->context, &item)) {
            return SG_REFUSED;
        }
        at += size;
        left = (uint8_t)(left - size);
    }
    return left == 0 ? SG_OK : SG_REFUSED;
}

static void call(sg_link *link, uint16_t seq, const uint8_t *payload, uint8_t size) {
    link->flags |= ANSWERS;
    if ((link->flags & CALLED) != 0 && link->call == seq) {
        return; /* The host did not get the answer; the deed is done. */
    }
    link->flags |= CALLED;
    link->call = seq;
    link->result_size = 1;
    uint8_t status = SG_UNKNOWN;
    if (payload[0] == SG_SET) {
        status = set(link, payload + 1, (uint8_t)(size - 1));
    } else if (link->config->command == NULL) {
        status = SG_UNKNOWN;
    } else if (payload[0] == SG_REBOOT) {
        link->flags |= REBOOTS;
        status = SG_OK;
    } else {
        status = link->config->command(link->config->context, link, payload[0], payload + 1, (uint8_t)(size - 1));
    }
    link->result[0] = status;
}

bool sg_result_int(sg_link *link, uint8_t channel, int32_t value) {
    uint8_t item[2 + 8] = {channel, SG_FORMAT(SG_I32, 0)};
    const uint8_t size = (uint8_t)(2 + sg_int_bytes(item[1], value, item + 2));
    if (link->result_size + size > sizeof link->result) {
        return false;
    }
    memcpy(link->result + link->result_size, item, size);
    link->result_size = (uint8_t)(link->result_size + size);
    return true;
}

void sg_receive(sg_link *link, uint8_t byte) {
    const uint8_t size = sg_decode(link, byte);
    if (size == 0) {
        return;
    }
    const uint8_t *raw = link->rx;
    const uint16_t seq = (uint16_t)(raw[3] | raw[4] << 8);
    const uint8_t *payload = raw + HEADER_SIZE;
    const uint8_t left = (uint8_t)(size - HEADER_SIZE);
    switch (raw[0] & 0x3F) {
    case KIND_ACK:
        if (raw[2] == (uint8_t)link->ring.boot) {
            acknowledge(link, seq, (raw[1] & FLAG_REWIND) != 0);
        }
        break;
    case KIND_HELLO_REQ:
        link->hello_at = now(link);
        /* There is a host again: no need to wait longer with the oldest reading. */
        if (link->rto_s != 0) {
            link->rto_s = RTO_MIN_S;
            link->data_at = link->hello_at;
        }
        break;
    case KIND_DESCRIBE_REQ:
        if (left > 0) {
            describe(link, seq, payload[0]);
        }
        break;
    case KIND_CALL:
        if (left > 0) {
            call(link, seq, payload, left);
        }
        break;
    default:
        break;
    }
}
