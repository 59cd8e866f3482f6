/*
 * Serialgate wire protocol, version 1: the side of the board.
 *
 *   sg_int(), sg_end() ──> ring ──sg_poll()──> write()      An ACK pops, a NAK rewinds. When no
 *                           ^                     |         ACK comes, only the oldest reading is
 *                           └──── sg_receive() <──┘         sent, after 1, 2, 4 ... 32 seconds.
 *
 * C99. No allocation, no globals, no stdio, no floating point. Nothing here waits: whoever calls
 * sg_poll() often gets everything else for it. Not for use from interrupts.
 *
 * The protocol: PROTOCOL.md. Licence: Apache-2.0.
 */
#ifndef SERIALGATE_H
#define SERIALGATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Longest frame that is taken from the host, in bytes before COBS, 16 to 253: `rxmax` of
 * HELLO. */
#ifndef SG_RX_MAX
#ifdef __AVR__
#define SG_RX_MAX 48
#else
#define SG_RX_MAX 64
#endif
#endif

/* Bytes that wait to be written, 64 to 253. A frame is twelve bytes longer than its payload. The
 * largest reading must fit, and each DESCRIBE: five bytes, name and unit. HELLO always does: where
 * uid and firmware are together longer than SG_TX_SIZE - 42, the firmware's name is cut off. */
#ifndef SG_TX_SIZE
#ifdef __AVR__
#define SG_TX_SIZE 72
#else
#define SG_TX_SIZE 96
#endif
#endif

/* Items of the answer to a command, in bytes; kept for a host that did not get it. */
#ifndef SG_RESULT_MAX
#define SG_RESULT_MAX 8
#endif

/* Types of values: the high nibble of a format. */
enum {
    SG_NONE = 0x0,
    SG_BOOL = 0x1,
    SG_I8 = 0x2,
    SG_I16 = 0x3,
    SG_I32 = 0x4,
    SG_I64 = 0x5,
    SG_U8 = 0x6,
    SG_U16 = 0x7,
    SG_U32 = 0x8,
    SG_U64 = 0x9,
    SG_F32 = 0xA,
    SG_F64 = 0xB,
    SG_TEXT = 0xC,
    SG_BYTES = 0xD
};

/* A format: a type and a decimal exponent, -8 to 7. SG_FORMAT(SG_I16, -2) holds 23.45 as 2345. */
#define SG_FORMAT(type, exponent) ((uint8_t)(((type) << 4) | ((exponent) & 0x0F)))

/* What a channel measures. */
enum {
    SG_GAUGE = 0,
    SG_COUNTER = 1,
    SG_STATE = 2,
    SG_EVENT = 3,
    SG_WRITABLE = 0x80 /* to be added to one of the others: the host may set it */
};

/* Answers to commands. Others are the sketch's own. */
enum { SG_OK = 0, SG_UNKNOWN = 1, SG_REFUSED = 2 };

/* Commands. Those from SG_OWN on are the sketch's own. */
enum { SG_SET = 0, SG_REBOOT = 1, SG_INTERVAL = 2, SG_OWN = 16 };

/* One quantity that the board measures or does. Filled by the sketch, linked by sg_add_channel(). */
typedef struct sg_channel {
    const char *name; /* "temp" */
    const char *unit; /* SenML or UCUM: "Cel", "%RH"; "" for none */
    uint8_t format;   /* SG_FORMAT() */
    uint8_t class_;   /* SG_GAUGE and so on */
    uint8_t number;   /* given by sg_add_channel() */
    struct sg_channel *next;
} sg_channel;

/* A value that the host sets. */
typedef struct {
    uint8_t channel;
    uint8_t format;
    uint8_t size;         /* of `bytes` */
    const uint8_t *bytes; /* little-endian */
} sg_item;

struct sg_link;

/* Memory that outlives a reset of the board: FRAM, EEPROM, or RAM that the start-up code leaves
 * alone. `at` counts from 0. */
typedef struct {
    void (*load)(void *context, uint16_t at, void *to, uint8_t size);
    void (*store)(void *context, uint16_t at, const void *from, uint8_t size);
    uint16_t size; /* bytes that there are; SG_STORAGE_OVERHEAD of them hold no readings */
} sg_storage;

/* Two records of where things are in an sg_storage, written in turn. */
#define SG_STORAGE_OVERHEAD 64

/* What the library needs of the sketch. Must outlive the link. */
typedef struct {
    void *context;
    /* Takes as many of `size` bytes as it can without waiting; tells how many those are. */
    size_t (*write)(void *context, const uint8_t *bytes, size_t size);
    /* Milliseconds since some moment; wraps at 2^32. */
    uint32_t (*millis)(void *context);
    /* Sets a writable channel; tells whether it did. May be NULL. */
    bool (*set)(void *context, const sg_item *item);
    /* Does a command of the sketch's own, or SG_REBOOT (after the answer is written) or SG_INTERVAL
     * (arguments: u32, milliseconds). May answer with sg_result_int(). May be NULL. */
    uint8_t (*command)(void *context, struct sg_link *link, uint8_t command, const uint8_t *arguments,
                       uint8_t size);
    const uint8_t *uid; /* names this board among all others */
    uint8_t uid_size;   /* 1 to 16 bytes */
    const char *firmware; /* "name version" */
} sg_config;

/* Where the readings are. */
typedef struct {
    uint32_t boot;    /* of the readings */
    uint32_t oldest;  /* number of the oldest that is held */
    uint32_t dropped; /* since boot, because there was no room */
    uint16_t head;    /* where the oldest begins */
    uint16_t used;    /* bytes of all of them */
    uint16_t count;
} sg_ring;

/* How readings get into a storage and out of it; NULL where they are in RAM. */
struct sg_keeper;

/* The link. The fields are the library's own. */
typedef struct sg_link {
    const sg_config *config;
    sg_channel *channels;
    const struct sg_keeper *keeper;
    union {
        uint8_t *ram;
        const sg_storage *storage;
    } memory;
    uint16_t size; /* of the memory, for readings */
    sg_ring ring;
    uint16_t sent;   /* readings that were sent since the last rewind, from the oldest on */
    uint16_t cursor; /* where the next one begins */
    uint16_t call;   /* number of the last command */
    uint32_t started; /* millis() when uptime was 0 */
    uint32_t hello_at;
    uint32_t data_at; /* when an ACK is due, or when to send the oldest again */
    uint8_t rto_s;    /* seconds between two of those; 0: not probing */
    uint8_t flags;
    uint8_t open;    /* bytes of the reading that is being written, behind the others; 255: too many */
    uint8_t slot;    /* of the storage, that was written last */
    uint8_t tx_size; /* bytes of whole frames */
    uint8_t tx_end;  /* of the frame that is being put behind those */
    uint8_t rx_size;
    uint8_t result_size;
    uint8_t result[SG_RESULT_MAX + 1]; /* status and items of the last command */
    uint8_t rx[SG_RX_MAX + 1];         /* as it comes: with COBS */
    uint8_t tx[SG_TX_SIZE];
} sg_link;

/* Begins. `boot` rises with each boot: from EEPROM or flash, else at random. `ring` holds `size`
 * bytes of readings: the values' bytes and five for each reading and two for each value. */
void sg_begin(sg_link *link, const sg_config *config, uint32_t boot, void *ring, uint16_t size);

/* The same with readings in a storage: those from before the reset are kept, and with them goes
 * the boot number of before. `boot` counts where there are none. */
void sg_begin_stored(sg_link *link, const sg_config *config, uint32_t boot, const sg_storage *storage);

/* Adds a channel, which must outlive the link. All of them before the first sg_poll(). */
void sg_add_channel(sg_link *link, sg_channel *channel);

/* Takes a byte from the host. */
void sg_receive(sg_link *link, uint8_t byte);

/* Sends what there is to send. Call it often. */
void sg_poll(sg_link *link);

/* One reading is any number of values and sg_end(), whose time is the reading's. */
void sg_none(sg_link *link, const sg_channel *channel, uint8_t reason);
void sg_bool(sg_link *link, const sg_channel *channel, bool value);
/* `value` in units of the channel's exponent, in its type: a whole one of at most 32 bits. One that
 * the type cannot hold is sent as "none", reason SG_RANGE. */
void sg_int(sg_link *link, const sg_channel *channel, int32_t value);
/* `size` bytes of any other type, little-endian. */
void sg_raw(sg_link *link, const sg_channel *channel, const void *bytes, uint8_t size);

/* Ends the reading. The oldest ones give way to it. False: it is larger than the ring or a frame,
 * or holds nothing, and is dropped. */
bool sg_end(sg_link *link);

/* Reasons of sg_none(). Others are the sketch's own, up to 15. */
enum { SG_UNREADABLE = 1, SG_RANGE = 2 };

/* Sends a line for the device log, cut off where it does not fit. False: no room right now. */
bool sg_log(sg_link *link, const char *text);

/* Adds a value to the answer to the present command. False: no room. */
bool sg_result_int(sg_link *link, uint8_t channel, int32_t value);

/* A value that the host sets, in units of 10^exponent, rounded towards zero. False: it is no number,
 * or not one of 32 bits then. */
bool sg_item_int(const sg_item *item, int8_t exponent, int32_t *value);

/* Readings that are held, and how many were dropped since boot. */
static inline uint16_t sg_held(const sg_link *link) { return link->ring.count; }
static inline uint32_t sg_dropped(const sg_link *link) { return link->ring.dropped; }

/* Whether the host has acknowledged anything since the last start of either side. */
bool sg_is_connected(const sg_link *link);

/* CRC-32 (IEEE 802.3) of `size` more bytes; begin with 0. */
uint32_t sg_crc(uint32_t crc, const void *bytes, size_t size);

#ifdef __cplusplus
}
#endif

#endif
