/* Frames: 00 | COBS( kind flags boot8 seq seq payload... crc crc crc crc ) | 00 */

#include "sg_internal.h"

#include <string.h>

#if SG_TX_SIZE > 253 || SG_TX_SIZE < 64
#error "SG_TX_SIZE is 64 to 253 bytes"
#endif
#if SG_RX_MAX > 253 || SG_RX_MAX < 16
#error "SG_RX_MAX is 16 to 253 bytes"
#endif

/* Two bits of the first byte are the protocol's version. */
enum { VERSION = 0x40, VERSION_MASK = 0xC0 };

/* The CRC of anything with its CRC behind it. */
#define CRC_OF_GOOD UINT32_C(0x2144DF1C)

uint32_t sg_crc(uint32_t crc, const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    crc = ~crc;
    while (size-- > 0) {
        crc ^= *at++;
        for (uint8_t bit = 0; bit < 8; bit++) {
            const bool carry = (crc & 1) != 0;
            crc >>= 1;
            if (carry) {
                crc ^= UINT32_C(0xEDB88320);
            }
        }
    }
    return ~crc;
}

/* Behind the payload there must be room for the CRC and the delimiter. A frame that is too long goes
 * one byte further, and no more. */
enum { PAYLOAD_END = SG_TX_SIZE - CRC_SIZE - 1 };

void sg_frame_u8(sg_link *link, uint8_t value) {
    if (link->tx_end <= PAYLOAD_END) {
        link->tx[link->tx_end++] = value;
    }
}

void sg_frame_bytes(sg_link *link, const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    while (size-- > 0) {
        sg_frame_u8(link, *at++);
    }
}

void sg_frame_u32(sg_link *link, uint32_t value) {
    for (uint8_t i = 0; i < 4; i++) {
        sg_frame_u8(link, (uint8_t)value);
        value >>= 8;
    }
}

void sg_frame_text(sg_link *link, const char *text) {
    const size_t size = strlen(text);
    sg_frame_u8(link, (uint8_t)size); /* a longer one does not fit anyway */
    sg_frame_bytes(link, text, size);
}

uint8_t *sg_frame_reserve(sg_link *link, uint8_t size) {
    const uint8_t at = link->tx_end;
    if (at > PAYLOAD_END || size > PAYLOAD_END - at) {
        link->tx_end = PAYLOAD_END + 1;
        return NULL;
    }
    link->tx_end = (uint8_t)(at + size);
    return link->tx + at;
}

uint8_t sg_frame_fit(const sg_link *link, const char *text, uint8_t besides) {
    const uint8_t at = (uint8_t)(link->tx_end + besides);
    const uint8_t room = (uint8_t)(at < PAYLOAD_END ? PAYLOAD_END - at : 0);
    const size_t size = strlen(text);
    if (size <= room) {
        return (uint8_t)size;
    }
    uint8_t fit = room;
    while (fit > 0 && ((uint8_t)text[fit] & 0xC0) == 0x80) {
        fit--;
    }
    return fit;
}

void sg_frame_open(sg_link *link, uint8_t kind, uint8_t flags, uint16_t seq) {
    /* The leading delimiter and the first code of COBS go before it. */
    link->tx_end = (uint8_t)(link->tx_size + 2);
    sg_frame_u8(link, VERSION | kind);
    sg_frame_u8(link, flags);
    sg_frame_u8(link, (uint8_t)link->ring.boot);
    sg_frame_u8(link, (uint8_t)seq);
    sg_frame_u8(link, (uint8_t)(seq >> 8));
}

bool sg_frame_close(sg_link *link) {
    if (link->tx_end > PAYLOAD_END) {
        return false;
    }
    uint8_t *code = link->tx + link->tx_size;
    uint8_t *at = link->tx + link->tx_end;
    *code++ = 0;
    uint32_t crc = sg_crc(0, code + 1, (size_t)(at - code - 1));
    for (uint8_t i = 0; i < CRC_SIZE; i++) {
        *at++ = (uint8_t)crc;
        crc >>= 8;
    }
    *at = 0;
    link->tx_size = (uint8_t)(at + 1 - link->tx);
    /* COBS in place: each zero becomes the distance to the next one. None is as far as 255. */
    uint8_t distance = 1;
    while (--at != code) {
        if (*at == 0) {
            *at = distance;
            distance = 0;
        }
        distance++;
    }
    *code = distance;
    return true;
}

/* The size of a frame that was too long, until it ends. */
enum { TOO_LONG = 255 };

/* Puts the zeros back, over the codes that stand in their places. False: they lead past the end. */
static bool unstuff(sg_link *link) {
    uint16_t at = 0;
    while (at < link->rx_size) {
        const uint8_t code = link->rx[at];
        link->rx[at] = 0;
        at = (uint16_t)(at + code);
    }
    return at == link->rx_size;
}

const uint8_t *sg_decode(sg_link *link, uint8_t byte, uint8_t *size) {
    if (byte != 0) {
        if (link->rx_size < sizeof link->rx) {
            link->rx[link->rx_size++] = byte;
        } else {
            link->rx_size = TOO_LONG;
        }
        return NULL;
    }
    const uint8_t *raw = link->rx + 1;
    const bool sized = link->rx_size > HEADER_SIZE + CRC_SIZE && link->rx_size != TOO_LONG;
    *size = (uint8_t)(link->rx_size - 1 - CRC_SIZE);
    const bool good = sized && unstuff(link) && (raw[0] & VERSION_MASK) == VERSION &&
                      sg_crc(0, raw, (size_t)(*size + CRC_SIZE)) == CRC_OF_GOOD;
    link->rx_size = 0;
    return good ? raw : NULL;
}
