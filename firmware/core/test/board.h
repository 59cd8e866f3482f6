/* A board whose clock and line the test moves, and its host. */
#ifndef BOARD_H
#define BOARD_H

#include "serialgate.h"
#include "sg_internal.h"

#include "check.h"

#include <string.h>

enum { RING_SIZE = 64, STORAGE_SIZE = 64 + SG_STORAGE_OVERHEAD, BOOT = 0x12345678, BOOT8 = 0x78 };

static struct {
    sg_link link;
    uint8_t ring[RING_SIZE];
    uint8_t storage[STORAGE_SIZE];
    sg_channel temp, lamp, name;
    uint32_t millis;
    size_t room; /* bytes that are taken from the board at once */
    uint8_t wire[1024];
    size_t wire_size;
    size_t wire_read;
    /* What the sketch was asked for. */
    uint8_t command, arguments[16], arguments_size;
    int commands;
    int32_t set_to;
    uint8_t set_size;
    int sets;
} board;

static size_t take(void *context, const uint8_t *bytes, size_t size) {
    CHECK(context == &board);
    const size_t part = size < board.room ? size : board.room;
    CHECK(board.wire_size + part <= sizeof board.wire);
    memcpy(board.wire + board.wire_size, bytes, part);
    board.wire_size += part;
    return part;
}

static uint32_t millis(void *context) {
    CHECK(context == &board);
    return board.millis;
}

static bool set(void *context, const sg_item *item) {
    CHECK(context == &board);
    board.sets++;
    board.set_size = item->size;
    if (item->format >> 4 == SG_TEXT) {
        return item->size == 0 || (item->size == 2 && memcmp(item->bytes, "ok", 2) == 0);
    }
    return sg_item_int(item, 0, &board.set_to) && board.set_to != 13;
}

static uint8_t command(void *context, sg_link *link, uint8_t number, const uint8_t *arguments, uint8_t size) {
    CHECK(context == &board && link == &board.link && size <= sizeof board.arguments);
    board.command = number;
    board.commands++;
    board.arguments_size = size;
    if (size > 0) {
        memcpy(board.arguments, arguments, size);
    }
    if (number == SG_OWN) {
        CHECK(sg_result_int(link, 1, -7));
        CHECK(!sg_result_int(link, 1, 8)); /* six bytes each, and there are eight */
    }
    return number <= SG_OWN ? SG_OK : SG_UNKNOWN;
}

static void storage_load(void *context, uint16_t at, void *to, uint8_t size) {
    CHECK(context == &board && size > 0 && at + size <= STORAGE_SIZE);
    memcpy(to, board.storage + at, size);
}

static void storage_store(void *context, uint16_t at, const void *from, uint8_t size) {
    CHECK(context == &board && size > 0 && at + size <= STORAGE_SIZE);
    memcpy(board.storage + at, from, size);
}

static const sg_storage storage = {storage_load, storage_store, STORAGE_SIZE};
static const uint8_t uid[] = {1, 2, 3, 4};
static sg_config config;

static void add_channels(void) {
    board.temp = (sg_channel){"temp", "Cel", SG_FORMAT(SG_I16, -2), SG_GAUGE, 99, NULL};
    board.lamp = (sg_channel){"lamp", "", SG_FORMAT(SG_U8, 0), SG_STATE | SG_WRITABLE, 99, NULL};
    board.name = (sg_channel){"name", "", SG_FORMAT(SG_TEXT, 0), SG_STATE | SG_WRITABLE, 99, NULL};
    sg_add_channel(&board.link, &board.temp);
    sg_add_channel(&board.link, &board.lamp);
    sg_add_channel(&board.link, &board.name);
}

static void begin(void) {
    memset(&board, 0, sizeof board);
    board.room = sizeof board.wire;
    board.millis = UINT32_MAX - 2000; /* the wrap is never far */
    config = (sg_config){&board, take, millis, set, command, uid, sizeof uid, "rules 1"};
    sg_begin(&board.link, &config, BOOT, board.ring, sizeof board.ring);
    add_channels();
}

/* One frame from the board. */
static struct {
    uint8_t kind, flags, boot8, size;
    uint16_t seq;
    uint8_t payload[256];
} frame;

/* The next frame that the board has written, if there is one. */
static bool said(void) {
    static sg_link decoder;
    while (board.wire_read < board.wire_size) {
        uint8_t size;
        const uint8_t *raw = sg_decode(&decoder, board.wire[board.wire_read++], &size);
        if (raw != NULL) {
            frame.kind = raw[0] & 0x3F;
            frame.flags = raw[1];
            frame.boot8 = raw[2];
            frame.seq = (uint16_t)(raw[3] | raw[4] << 8);
            frame.size = (uint8_t)(size - HEADER_SIZE);
            memcpy(frame.payload, raw + HEADER_SIZE, frame.size);
            return true;
        }
    }
    board.wire_size = board.wire_read = 0;
    return false;
}

static bool says(uint8_t kind) {
    sg_poll(&board.link);
    return said() && frame.kind == kind;
}

static bool says_nothing(void) {
    sg_poll(&board.link);
    return !said();
}

static uint32_t u32_at(const uint8_t *at) {
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* A frame of the host on the wire; its size. */
static size_t encode(uint8_t *wire, uint8_t kind, uint8_t flags, uint8_t boot8, uint16_t seq, const void *payload,
                     size_t size) {
    uint8_t raw[300] = {(uint8_t)(0x40 | kind), flags, boot8, (uint8_t)seq, (uint8_t)(seq >> 8)};
    CHECK(HEADER_SIZE + size + CRC_SIZE <= 254);
    if (size > 0) {
        memcpy(raw + HEADER_SIZE, payload, size);
    }
    size += HEADER_SIZE;
    const uint32_t crc = sg_crc(0, raw, size);
    for (int i = 0; i < CRC_SIZE; i++) {
        raw[size++] = (uint8_t)(crc >> 8 * i);
    }
    size_t at = 0;
    wire[at++] = 0;
    for (size_t block = 0; block <= size;) {
        const size_t zero = block + strlen((const char *)raw + block);
        const size_t end = zero < size ? zero : size;
        wire[at++] = (uint8_t)(end - block + 1);
        memcpy(wire + at, raw + block, end - block);
        at += end - block;
        block = end + 1;
    }
    wire[at++] = 0;
    return at;
}

static void tell(uint8_t kind, uint8_t flags, uint8_t boot8, uint16_t seq, const void *payload, size_t size) {
    uint8_t wire[300];
    const size_t end = encode(wire, kind, flags, boot8, seq, payload, size);
    for (size_t i = 0; i < end; i++) {
        sg_receive(&board.link, wire[i]);
    }
}

#endif
