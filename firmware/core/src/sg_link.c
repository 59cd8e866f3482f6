/* What is said when: HELLO, DATA with go-back-N, answers. */

#include "sg_internal.h"

#include <string.h>

/* Between two HELLOs, until the first ACK and after it, in seconds. */
enum { HELLO_SEARCHING_S = 5, HELLO_HEARTBEAT_S = 60 };

/* HELLO: channels can be described, commands are taken. */
enum { CAPS = 0x03, MINOR = 0 };

uint32_t sg_uptime(const sg_link *link) { return link->config->millis(link->config->context) - link->started; }

/* Whether `at` has come. Right for 24 days, which is longer than anything is waited for. */
static bool is_due(const sg_link *link, uint32_t at) { return (int32_t)(sg_uptime(link) - at) >= 0; }

static uint32_t in_seconds(const sg_link *link, uint8_t seconds) { return sg_uptime(link) + (uint16_t)(1000U * seconds); }

void sg_begin(sg_link *link, const sg_config *config, uint32_t boot, void *ring, uint16_t size) {
    memset(link, 0, sizeof *link);
    link->config = config;
    link->memory.ram = ring;
    link->size = size;
    link->ring.boot = boot;
    link->started = sg_uptime(link);
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

static const sg_channel *find(const sg_link *link, uint8_t number) {
    const sg_channel *channel = link->channels;
    while (channel != NULL && channel->number != number) {
        channel = channel->next;
    }
    return channel;
}

static void describe(sg_link *link, uint16_t seq, const sg_channel *channel) {
    sg_frame_open(link, KIND_DESCRIBE, 0, seq);
    sg_frame_u8(link, channel->number);
    sg_frame_u8(link, channel->format);
    sg_frame_u8(link, channel->class_);
    sg_frame_text(link, channel->unit);
    sg_frame_text(link, channel->name);
}

static bool hello(sg_link *link) {
    if (link->tx_size > 0) {
        return false;
    }
    /* The schema's CRC is that of all DESCRIBEs' payloads, which are put here and taken back. */
    uint32_t schema = 0;
    uint8_t channels = 0;
    for (const sg_channel *channel = link->channels; channel != NULL; channel = channel->next) {
        enum { BEFORE = 2 + HEADER_SIZE };
        describe(link, 0, channel);
        schema = sg_crc(schema, link->tx + BEFORE, (size_t)(link->tx_end - BEFORE));
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
    const uint8_t fit = sg_frame_fit(link, link->config->firmware, 1);
    sg_frame_u8(link, fit);
    sg_frame_bytes(link, link->config->firmware, fit);
    return sg_frame_close(link);
}

static bool result(sg_link *link) {
    sg_frame_open(link, KIND_RESULT, 0, link->call);
    sg_frame_bytes(link, link->result, link->result_size);
    return sg_frame_close(link);
}

/* The reading that is `index` behind the oldest one and begins `at` there. */
static bool data(sg_link *link, uint16_t index, uint16_t at, uint8_t items) {
    sg_frame_open(link, KIND_DATA, index == 0 ? FLAG_OLDEST : 0, (uint16_t)(link->ring.oldest + index));
    const uint8_t size = (uint8_t)(READING_OVERHEAD - 1 + items);
    uint8_t *to = sg_frame_reserve(link, size);
    if (to != NULL) {
        sg_ring_load(link, sg_ring_after(link, at, 1), to, size);
    }
    return sg_frame_close(link);
}

bool sg_log(sg_link *link, const char *text) {
    sg_frame_open(link, KIND_LOG, 0, 0);
    const uint8_t fit = sg_frame_fit(link, text, 0);
    if (text[fit] != 0 && link->tx_size > 0) {
        return false; /* later there is more room */
    }
    sg_frame_bytes(link, text, fit);
    return sg_frame_close(link);
}

/* Puts the next DATA that is to be sent, if there is one. */
static bool next_data(sg_link *link) {
    if (link->rto_s == 0 && link->sent > 0 && is_due(link, link->data_at)) {
        link->rto_s = RTO_MIN_S;
    }
    const bool probing = link->rto_s != 0;
    const uint16_t index = probing ? 0 : link->sent;
    const uint16_t at = probing ? link->ring.head : link->cursor;
    if (index >= link->ring.count || (probing && !is_due(link, link->data_at))) {
        return false;
    }
    const uint8_t items = sg_ring_items(link, at);
    if (!data(link, index, at, items)) {
        return false;
    }
    if (probing && link->rto_s < RTO_MAX_S) {
        link->rto_s = (uint8_t)(link->rto_s * 2);
    }
    if (index == 0) {
        link->data_at = in_seconds(link, probing ? link->rto_s : RTO_MIN_S);
    }
    if (index == link->sent) {
        link->sent++;
        link->cursor = sg_ring_after(link, at, (uint16_t)(READING_OVERHEAD + items));
    }
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
    if (is_due(link, link->hello_at)) {
        if (!hello(link)) {
            return false;
        }
        link->hello_at = in_seconds(link, (link->flags & HEARD) != 0 ? HELLO_HEARTBEAT_S : HELLO_SEARCHING_S);
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
        link->cursor = link->ring.head;
    }
    /* An ACK of nothing new must not put off what is due. */
    if (count > 0 || rewind || link->rto_s != 0) {
        link->rto_s = 0;
        link->data_at = in_seconds(link, RTO_MIN_S);
    }
    link->flags |= HEARD;
}

/* Sets one channel after the other; the first that is refused ends it. */
static uint8_t set(sg_link *link, const uint8_t *at, uint8_t left) {
    while (left >= 2) {
        sg_item item = {at[0], at[1], sg_type_size(at[1]), at + 2};
        left = (uint8_t)(left - 2);
        if (item.format >> 4 >= SG_TEXT) {
            if (left == 0) {
                return SG_REFUSED;
            }
            item.size = *item.bytes++;
            left--;
        }
        const sg_channel *channel = find(link, item.channel);
        if (item.size > left || channel == NULL || (channel->class_ & SG_WRITABLE) == 0 || link->config->set == NULL ||
            !link->config->set(link->config->context, &item)) {
            return SG_REFUSED;
        }
        left = (uint8_t)(left - item.size);
        at = item.bytes + item.size;
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
    enum { SIZE = 2 + sizeof value };
    if (link->result_size > sizeof link->result - SIZE) {
        return false;
    }
    uint8_t *to = link->result + link->result_size;
    to[0] = channel;
    to[1] = SG_FORMAT(SG_I32, 0);
    sg_int_bytes(to[1], value, to + 2);
    link->result_size = (uint8_t)(link->result_size + SIZE);
    return true;
}

void sg_receive(sg_link *link, uint8_t byte) {
    uint8_t size;
    const uint8_t *raw = sg_decode(link, byte, &size);
    if (raw == NULL) {
        return;
    }
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
        link->hello_at = sg_uptime(link);
        /* There is a host again: no need to wait longer with the oldest reading. */
        if (link->rto_s != 0) {
            link->rto_s = RTO_MIN_S;
            link->data_at = link->hello_at;
        }
        break;
    case KIND_DESCRIBE_REQ: {
        const sg_channel *channel = left > 0 ? find(link, payload[0]) : NULL;
        if (channel != NULL) {
            describe(link, seq, channel);
            sg_frame_close(link);
        }
        break;
    }
    case KIND_CALL:
        if (left > 0) {
            call(link, seq, payload, left);
        }
        break;
    default:
        break;
    }
}
