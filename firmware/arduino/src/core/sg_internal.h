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
    HEARD = 0x01,   /* an ACK came */
    CALLED = 0x02,  /* `call` and `result` hold something */
    ANSWERS = 0x04, /* the result is to be sent */
    REBOOTS = 0x08  /* once everything is written */
};

/* First wait for an ACK, and the longest one, in seconds. */
enum { RTO_MIN_S = 1, RTO_MAX_S = 32 };

/* A frame is put behind what waits in `tx`, one at a time. What does not fit makes it void. */
void sg_frame_open(sg_link *link, uint8_t kind, uint8_t flags, uint16_t seq);
void sg_frame_u8(sg_link *link, uint8_t value);
void sg_frame_u32(sg_link *link, uint32_t value);
void sg_frame_bytes(sg_link *link, const void *bytes, size_t size);
/* A text with its length before it. */
void sg_frame_text(sg_link *link, const char *text);
/* Room for `size` bytes that the caller fills in; NULL: it does not fit. */
uint8_t *sg_frame_reserve(sg_link *link, uint8_t size);
/* How many bytes of a text there is room for, `besides` others: all of them, or up to a character's
 * end. */
uint8_t sg_frame_fit(const sg_link *link, const char *text, uint8_t besides);
/* False: it does not fit, and nothing was put. */
bool sg_frame_close(sg_link *link);

/* Takes a byte. Once it completes a frame: where that is in `rx`, and in `size` how long it is without
 * CRC. NULL otherwise. */
const uint8_t *sg_decode(sg_link *link, uint8_t byte, uint8_t *size);

/* Bytes of a reading: its size, its time, and its items. */
enum { READING_OVERHEAD = 5 };
/* Where `count` bytes behind `at` are. */
uint16_t sg_ring_after(const sg_link *link, uint16_t at, uint16_t count);
/* Size of the items of the reading that begins `at` there. */
uint8_t sg_ring_items(const sg_link *link, uint16_t at);
/* Copies what begins `at` there. */
void sg_ring_load(const sg_link *link, uint16_t at, uint8_t *to, uint8_t size);
/* Forgets the `count` oldest readings. */
void sg_ring_pop(sg_link *link, uint16_t count);

struct sg_keeper {
    void (*load)(const sg_link *link, uint16_t at, uint8_t *to, uint8_t size);
    void (*store)(const sg_link *link, uint16_t at, const uint8_t *from, uint8_t size);
    void (*save)(sg_link *link); /* link->ring */
};

/* Puts `value` in that format; its size, or 0 where it does not fit. `to` holds eight bytes. */
uint8_t sg_int_bytes(uint8_t format, int32_t value, uint8_t *to);
/* Bytes of a value of this format; 0 where it has none, or tells its size itself. */
uint8_t sg_type_size(uint8_t format);

uint32_t sg_uptime(const sg_link *link);

#endif
