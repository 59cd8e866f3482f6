/* What the files of the library share. Not for sketches. */
#ifndef SG_INTERNAL_H
#define SG_INTERNAL_H

#include "serialgate.h"

/* Kinds of frames. */
enum {
    KIND_HELLO = 0x01,
    KIND_DATA = 0x02,
    KIND_DESCRIBE = 0x03,
    KIND_RESULT = 0x04,
    KIND_LOG = 0x05,
    KIND_ACK = 0x21,
    KIND_HELLO_REQ = 0x22,
    KIND_DESCRIBE_REQ = 0x23,
    KIND_CALL = 0x24
};

/* A frame begins with kind, flags, boot8, and seq, and ends with a CRC. */
enum { HEADER_SIZE = 5, CRC_SIZE = 4 };

/* Flag of DATA: the oldest reading that the board holds. Of ACK: send everything again from there. */
enum { FLAG_OLDEST = 0x01, FLAG_REWIND = 0x01 };

/* Bits of sg_link.flags. */
enum {
    HEARD = 0x01,     /* an ACK came */
    CALLED = 0x02,    /* `call` and `result` hold something */
    ANSWERS = 0x04,   /* the result is to be sent */
    REBOOTS = 0x08,   /* once everything is written */
    TOO_LARGE = 0x10, /* the reading that is being written */
    SKIPS = 0x20,     /* the decoder waits for the next delimiter */
    LOADED = 0x40     /* `ring` came from the storage */
};

/* A frame is put behind what waits in `tx`, one at a time. */
void sg_frame_open(sg_link *link, uint8_t kind, uint8_t flags, uint16_t seq);
void sg_frame_bytes(sg_link *link, const void *bytes, size_t size);
void sg_frame_u8(sg_link *link, uint8_t value);
void sg_frame_u32(sg_link *link, uint32_t value);
void sg_frame_text(sg_link *link, const char *text);
/* Room that is left for the payload. */
uint8_t sg_frame_room(const sg_link *link);
/* False: it does not fit, and nothing was put. */
bool sg_frame_close(sg_link *link);

/* Takes a byte; the size of the frame in `rx` that it completes, without CRC, or 0. */
uint8_t sg_decode(sg_link *link, uint8_t byte);

void sg_ring_begin(sg_link *link, void *memory, uint16_t size);
/* Size of the items of the reading that lies `offset` bytes behind the oldest one. */
uint8_t sg_ring_items(const sg_link *link, uint16_t offset);
/* Bytes of a reading: its size, its time, and its items. */
enum { READING_OVERHEAD = 5 };
/* Copies `size` bytes from `offset` bytes behind the oldest reading's begin. */
void sg_ring_load(const sg_link *link, uint16_t offset, uint8_t *to, uint8_t size);
/* Forgets the `count` oldest readings. */
void sg_ring_pop(sg_link *link, uint16_t count);

/* Bytes of a value of this format; 0 where it has none, or tells its size itself. */
uint8_t sg_type_size(uint8_t format);
/* Puts `value` in that format; its size, or 0 where it does not fit. `to` holds eight bytes. */
uint8_t sg_int_bytes(uint8_t format, int32_t value, uint8_t *to);

uint32_t sg_uptime(const sg_link *link);

#endif
