/*
 * Damaged frames: none may be taken for another than it was. Usage: damage [HOW MANY]
 * Bits flipped one by one and in bursts, bytes lost, doubled, overwritten and swapped, two frames joined.
 */

#include "serialgate.h"
#include "sg_internal.h"

#include "check.h"

#include <inttypes.h>
#include <string.h>

/* xorshift64: the same run every time. */
static uint64_t state = UINT64_C(0x9E3779B97F4A7C15);

static uint32_t below(uint32_t limit) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % limit;
}

/* The frame as it was sent, before COBS and without CRC. */
static uint8_t raw[64];
static size_t raw_size;

static size_t make(uint8_t *wire) {
    static sg_link link;
    link.tx_size = 0;
    link.ring.boot = below(256);
    raw_size = HEADER_SIZE + below(24);
    sg_frame_open(&link, KIND_DATA, (uint8_t)below(2), (uint16_t)below(65536));
    const uint32_t zeros = below(4); /* none, or up to three of four bytes */
    for (size_t i = HEADER_SIZE; i < raw_size; i++) {
        sg_frame_u8(&link, below(4) < zeros ? 0 : (uint8_t)below(256));
    }
    memcpy(raw, link.tx + 2, raw_size);
    CHECK(sg_frame_close(&link));
    memcpy(wire, link.tx, link.tx_size);
    return link.tx_size;
}

static size_t damage(uint8_t *wire, size_t size) {
    for (uint32_t times = 1 + below(3); times > 0; times--) {
        const size_t at = below((uint32_t)size);
        switch (below(6)) {
        case 0:
            wire[at] = (uint8_t)(wire[at] ^ 1U << below(8));
            break;
        case 1: /* a burst of up to 32 bits */
            for (size_t i = at; i < size && i < at + 1 + below(4); i++) {
                wire[i] = (uint8_t)(wire[i] ^ below(256));
            }
            break;
        case 2:
            memmove(wire + at, wire + at + 1, size - at - 1);
            size--;
            break;
        case 3:
            memmove(wire + at + 1, wire + at, size - at);
            size++;
            break;
        case 4:
            wire[at] = (uint8_t)below(256);
            break;
        default: {
            const size_t other = below((uint32_t)size);
            const uint8_t byte = wire[at];
            wire[at] = wire[other];
            wire[other] = byte;
            break;
        }
        }
    }
    return size;
}

int main(int count, char **arguments) {
    const uint32_t frames = count > 1 ? (uint32_t)strtoul(arguments[1], NULL, 10) : 1000000;
    uint32_t wrong = 0, unharmed = 0;
    static sg_link decoder;
    for (uint32_t i = 0; i < frames; i++) {
        uint8_t wire[128] = {0};
        const size_t size = damage(wire, make(wire));
        wire[size] = 0;
        for (size_t at = 0; at <= size; at++) {
            uint8_t found;
            const uint8_t *frame = sg_decode(&decoder, wire[at], &found);
            if (frame != NULL && found == raw_size && memcmp(frame, raw, found) == 0) {
                unharmed++; /* a delimiter more or less, two equal bytes swapped */
            } else if (frame != NULL) {
                wrong++;
            }
        }
    }
    printf("%" PRIu32 " damaged frames: %" PRIu32 " taken for another, %" PRIu32 " not harmed by it\n", frames, wrong,
           unharmed);
    CHECK(wrong == 0);
    CHECK(frames < 1000 || unharmed < frames / 4);
    return 0;
}
