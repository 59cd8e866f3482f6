/* The library against the vectors that all implementations share: a board is brought to say each of
 * the board's frames, and is told each of the host's. Usage: vectors FILE */

#include "serialgate.h"

#include "check.h"

#include <string.h>

enum { VECTORS_MAX = 32, LINE_MAX_SIZE = 1024 };

typedef struct {
    char name[32];
    uint8_t bytes[256];
    size_t size;
} vector;

static vector vectors[VECTORS_MAX];
static size_t vector_count;

static void read_vectors(const char *file) {
    char line[LINE_MAX_SIZE];
    FILE *in = fopen(file, "r");
    CHECK(in != NULL);
    while (fgets(line, sizeof line, in) != NULL) {
        if (sscanf(line, "vector %31s", vectors[vector_count].name) == 1) {
            CHECK(++vector_count < VECTORS_MAX);
        } else if (strncmp(line, "hex ", 4) == 0) {
            CHECK(vector_count > 0);
            vector *last = &vectors[vector_count - 1];
            for (const char *at = line + 4; *at > ' '; at += 2) {
                unsigned byte;
                CHECK(sscanf(at, "%2x", &byte) == 1 && last->size < sizeof last->bytes);
                last->bytes[last->size++] = (uint8_t)byte;
            }
        }
    }
    fclose(in);
}

static const vector *find(const char *name) {
    for (size_t i = 0; i < vector_count; i++) {
        if (strcmp(vectors[i].name, name) == 0) {
            return &vectors[i];
        }
    }
    fprintf(stderr, "no vector %s\n", name);
    exit(1);
}

/* The board, and what it wrote. */
static struct {
    sg_link link;
    uint8_t ring[256];
    uint32_t millis;
    uint8_t out[1024];
    size_t out_size;
    uint8_t command;
    uint8_t argument;
    int commands;
} board;

static size_t take(void *context, const uint8_t *bytes, size_t size) {
    CHECK(context == &board && board.out_size + size <= sizeof board.out);
    memcpy(board.out + board.out_size, bytes, size);
    board.out_size += size;
    return size;
}

static uint32_t millis(void *context) {
    CHECK(context == &board);
    return board.millis;
}

static uint8_t command(void *context, sg_link *link, uint8_t number, const uint8_t *arguments, uint8_t size) {
    CHECK(context == &board && link == &board.link && size == 1);
    board.command = number;
    board.argument = arguments[0];
    board.commands++;
    return SG_OK;
}

static void hear(const char *name) {
    const vector *said = find(name);
    for (size_t i = 0; i < said->size; i++) {
        sg_receive(&board.link, said->bytes[i]);
    }
}

/* What the board has written since the last time is that vector. */
static void expect(const char *name) {
    const vector *expected = find(name);
    sg_poll(&board.link);
    CHECK(board.out_size == expected->size);
    CHECK(memcmp(board.out, expected->bytes, expected->size) == 0);
    board.out_size = 0;
}

static void expect_nothing(void) {
    sg_poll(&board.link);
    CHECK(board.out_size == 0);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    read_vectors(arguments[1]);
    static const uint8_t uid[] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77};
    static const sg_config config = {&board, take, millis, NULL, command, uid, sizeof uid, "greenhouse 1.0"};
    sg_channel temp = {"temp", "Cel", SG_FORMAT(SG_I16, -2), SG_GAUGE, 0, NULL};
    sg_channel hum = {"hum", "%RH", SG_FORMAT(SG_U16, -1), SG_GAUGE, 0, NULL};
    sg_begin(&board.link, &config, 0x2A, board.ring, sizeof board.ring);
    sg_add_channel(&board.link, &temp);
    sg_add_channel(&board.link, &hum);

    board.millis = 123;
    expect("hello");
    expect_nothing();
    hear("describe_req");
    expect("describe");
    hear("hello_req");
    expect("hello");

    CHECK(sg_log(&board.link, "boot"));
    expect("log");

    board.millis = 1000;
    sg_int(&board.link, &temp, 2345);
    sg_int(&board.link, &hum, 412);
    CHECK(sg_end(&board.link));
    expect("data_first");
    board.millis = 2000;
    sg_int(&board.link, &temp, -500);
    CHECK(sg_end(&board.link));
    /* An ACK is due now: only the oldest is sent, again, until it comes. */
    expect("data_first");
    expect_nothing();
    CHECK(sg_held(&board.link) == 2);
    hear("ack");
    CHECK(sg_held(&board.link) == 1 && sg_is_connected(&board.link));
    sg_poll(&board.link);
    board.out_size = 0;
    hear("nak");
    CHECK(sg_held(&board.link) == 1);
    sg_poll(&board.link);
    CHECK(board.out_size > 0); /* the same reading again, the oldest one now */
    board.out_size = 0;

    hear("call");
    expect("result");
    CHECK(board.command == 7 && board.argument == 1 && board.commands == 1);
    hear("call");
    expect("result");
    CHECK(board.commands == 1); /* the same number: done once, answered twice */
    hear("time");
    expect_nothing();

    /* The second reading behind another that is under way. */
    board.millis = 0;
    sg_begin(&board.link, &config, 0x2A, board.ring, sizeof board.ring);
    sg_add_channel(&board.link, &temp);
    sg_add_channel(&board.link, &hum);
    sg_poll(&board.link);
    board.millis = 1500;
    sg_int(&board.link, &hum, 1);
    CHECK(sg_end(&board.link));
    sg_poll(&board.link);
    board.out_size = 0;
    board.millis = 2000;
    sg_int(&board.link, &temp, -500);
    CHECK(sg_end(&board.link));
    expect("data_negative");

    /* The last number before the wrap, every other type, the largest time. */
    sg_channel flag = {"flag", "", SG_FORMAT(SG_BOOL, 0), SG_STATE, 1, NULL};
    sg_channel small = {"small", "", SG_FORMAT(SG_I8, 0), SG_GAUGE, 2, NULL};
    sg_channel ratio = {"ratio", "1", SG_FORMAT(SG_F32, 0), SG_GAUGE, 3, NULL};
    sg_channel word = {"word", "", SG_FORMAT(SG_TEXT, 0), SG_STATE, 4, NULL};
    static const uint8_t one_and_a_half[] = {0x00, 0x00, 0xC0, 0x3F};
    board.link.ring.oldest = 65535 - board.link.ring.count;
    board.link.data_at = board.link.hello_at = 1000; /* after that time, in the ring of 32 bits */
    board.millis = UINT32_MAX;
    sg_none(&board.link, &temp, 1);
    sg_bool(&board.link, &flag, true);
    sg_int(&board.link, &small, -1);
    sg_raw(&board.link, &ratio, one_and_a_half, sizeof one_and_a_half);
    sg_raw(&board.link, &word, "ok", 2);
    CHECK(sg_end(&board.link));
    expect("data_last_seq");
    puts("vectors: all as they should be");
    return 0;
}
