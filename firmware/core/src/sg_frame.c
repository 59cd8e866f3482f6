/* Frames: 00 | COBS( kind flags boot8 seq seq payload... crc crc crc crc ) | 00 */

#include "sg_internal.h"

#include <string.h>

#if SG_TX_SIZE > 255 || SG_TX_SIZE < 64
#error "SG_TX_SIZE is 64 to 255 bytes"
#endif
#if SG_RX_MAX > 254 || SG_RX_MAX < 16
#error "SG_RX_MAX is 16 to 254 bytes"
#endif

/* Two bits of the first byte are the protocol's version. */
enum { VERSION = 0x40, VERSION_MASK = 0xC0 };

uint32_t sg_crc(uint32_t crc, const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    crc = ~crc;
    while (size-- > 0) {
        crc ^= *at++;
        for (uint8_t bit = 0; bit < 8; bit++) {
            crc = (crc & 1) != 0 ? (crc >> 1) ^ UINT32_C(0xEDB88320) : crc >> 1;
        }
    }
    return ~crc;
}

/* Behind the payload there must be room for the CRC and the delimiter. */
enum { PAYLOAD_END = SG_TX_SIZE - CRC_SIZE - 1 };

uint8_t sg_frame_room(const sg_link *link) { return link->tx_end == 0 ? 0 : (uint8_t)(PAYLOAD_END - link->tx_end); }

void sg_frame_bytes(sg_link *link, const void *bytes, size_t size) {
    if (size > sg_frame_room(link)) {
        link->tx_end = 0;
    } else {
        memcpy(link->tx + link->tx_end, bytes, size);
        link->tx_end = (uint8_t)(link->tx_end + size);
    }
}

void sg_frame_u8(sg_link *link, uint8_t value) { sg_frame_bytes(link, &value, 1); }

void sg_frame_open(sg_link *link, uint8_t kind, uint8_t flags, uint16_t seq) {
    /* The leading delimiter and the first code of COBS go before it. */
    const uint16_t start = (uint16_t)(link->tx_size + 2);
    link->tx_end = start < PAYLOAD_END ? (uint8_t)start : 0;
    const uint8_t header[HEADER_SIZE] = {(uint8_t)(VERSION | kind), flags, (uint8_t)link->ring.boot, (uint8_t)seq,
                                         (uint8_t)(seq >> 8)};
    sg_frame_bytes(link, header, sizeof header);
}

static void put_u32(uint8_t *to, uint32_t value) {
    for (uint8_t i = 0; i < 4; i++) {
        *to++ = (uint8_t)value;
        value >>= 8;
    }
}

void sg_frame_u32(sg_link *link, uint32_t value) {
    uint8_t bytes[4];
    put_u32(bytes, value);
    sg_frame_bytes(link, bytes, sizeof bytes);
}

void sg_frame_text(sg_link *link, const char *text) {
    const size_t size = strlen(text);
    const uint8_t counted = size > 255 ? 255 : (uint8_t)size;
    sg_frame_u8(link, counted);
    sg_frame_bytes(link, text, counted);
}

bool sg_frame_close(sg_link *link) {
    if (link->tx_end == 0) {
        return false;
    }
    uint8_t *start = link->tx + link->tx_size;
    uint8_t *raw = start + 2;
    uint8_t *end = link->tx + link->tx_end;
    put_u32(end, sg_crc(0, raw, (size_t)(end - raw)));
    end += CRC_SIZE;
    /* COBS in place: each zero becomes the distance to the next one. Blocks of 255 do not occur. */
    *start = 0;
    *end = 0;
    uint8_t *code = raw - 1;
    for (uint8_t *at = raw; at <= end; at++) {
        if (*at == 0) {
            *code = (uint8_t)(at - code);
            code = at;
        }
    }
    link->tx_size = (uint8_t)(end + 1 - link->tx);
    return true;
}

static void keep(sg_link *link, uint8_t byte) {
    if (link->rx_size < SG_RX_MAX) {
        link->rx[link->rx_size++] = byte;
    } else {
        link->flags |= SKIPS;
    }
}

static uint8_t complete(const sg_link *link) {
    if ((link->flags & SKIPS) != 0 || link->rx_left != 0 || link->rx_size < HEADER_SIZE + CRC_SIZE ||
        (link->rx[0] & VERSION_MASK) != VERSION) {
        return 0;
    }
    const uint8_t size = (uint8_t)(link->rx_size - CRC_SIZE);
    uint8_t crc[CRC_SIZE];
    put_u32(crc, sg_crc(0, link->rx, size));
    return memcmp(crc, link->rx + size, CRC_SIZE) == 0 ? size : 0;
}

uint8_t sg_decode(sg_link *link, uint8_t byte) {
    if (byte == 0) {
        const uint8_t size = complete(link);
        link->flags &= (uint8_t)~SKIPS;
        link->rx_size = link->rx_code = link->rx_left = 0;
        return size;
    }
    if (link->rx_left != 0) {
        link->rx_left--;
        keep(link, byte);
        return 0;
    }
    /* A zero was left out before each block but the first, unless the block before was full. */
    if (link->rx_code != 0 && link->rx_code != 0xFF) {
        keep(link, 0);
    }
    link->rx_code = byte;
    link->rx_left = (uint8_t)(byte - 1);
    return 0;
}
