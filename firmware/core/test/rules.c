/* The rules of PROTOCOL.md for a board, one by one: HELLO, go-back-N, the ring, a storage. */

#include "board.h"

static void reset_stored(void) {
    board.wire_size = board.wire_read = 0;
    sg_begin_stored(&board.link, &config, BOOT + 1, &storage);
    add_channels();
}

static bool says_data(uint16_t seq, bool oldest) {
    return says(KIND_DATA) && frame.seq == seq && frame.flags == (oldest ? FLAG_OLDEST : 0) && frame.boot8 == BOOT8;
}

static void ack(uint16_t next) { tell(KIND_ACK, 0, BOOT8, next, NULL, 0); }

static void nak(uint16_t next) { tell(KIND_ACK, FLAG_REWIND, BOOT8, next, NULL, 0); }

/* A reading of 4 + 5 bytes in the ring: seven of them fit. */
static void measure(int16_t value) {
    sg_int(&board.link, &board.temp, value);
    CHECK(sg_end(&board.link));
}

static void hellos(void) {
    begin();
    CHECK(says(KIND_HELLO) && says_nothing());
    CHECK(u32_at(frame.payload + 2) == BOOT && u32_at(frame.payload + 6) == 0);
    for (int i = 1; i <= 3; i++) {
        board.millis += 4999;
        CHECK(says_nothing());
        board.millis += 1;
        CHECK(says(KIND_HELLO) && u32_at(frame.payload + 6) == (uint32_t)(5000 * i));
    }
    CHECK(!sg_is_connected(&board.link));
    ack(0);
    CHECK(sg_is_connected(&board.link));
    /* The one that was due comes, and the next ones once a minute. */
    board.millis += 5000;
    for (int i = 0; i < 2; i++) {
        CHECK(says(KIND_HELLO));
        board.millis += 59999;
        CHECK(says_nothing());
        board.millis += 1;
    }
    CHECK(says(KIND_HELLO));
    tell(KIND_HELLO_REQ, 0, 0, 0, NULL, 0);
    CHECK(says(KIND_HELLO));
    board.millis += 59999;
    CHECK(says_nothing());
}

static void long_names(void) {
    begin();
    static char firmware[100];
    memset(firmware, 'f', sizeof firmware - 1);
    config.firmware = firmware;
    CHECK(says(KIND_HELLO));
    const uint8_t room = SG_TX_SIZE - 42 - sizeof uid;
    CHECK(frame.size == 30 + sizeof uid + room && frame.payload[29 + sizeof uid] == room);
    board.temp.name = firmware;
    const uint8_t channel = 0;
    tell(KIND_DESCRIBE_REQ, 0, 0, 7, &channel, 1);
    CHECK(says_nothing()); /* has no room in a frame */
    const uint8_t other = 1;
    tell(KIND_DESCRIBE_REQ, 0, 0, 7, &other, 1);
    CHECK(says(KIND_DESCRIBE) && frame.seq == 7 && frame.payload[0] == 1);
    const uint8_t none = 3;
    tell(KIND_DESCRIBE_REQ, 0, 0, 7, &none, 1);
    tell(KIND_DESCRIBE_REQ, 0, 0, 7, NULL, 0);
    CHECK(says_nothing());
}

static void retransmission(void) {
    begin();
    CHECK(says(KIND_HELLO));
    measure(0);
    measure(1);
    CHECK(says(KIND_DATA) && frame.flags == FLAG_OLDEST && said() && frame.seq == 1 && frame.flags == 0);
    board.millis += 999;
    CHECK(says_nothing());
    board.millis += 1;
    CHECK(says_data(0, true) && says_nothing());
    static const uint32_t waits[] = {2000, 4000, 8000, 16000, 32000, 32000, 32000};
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        board.link.hello_at = board.link.data_at + 1; /* not the subject here */
        board.millis += waits[i] - 1;
        if (sg_held(&board.link) < 5) {
            measure(2); /* a new reading is no reason to send */
        }
        CHECK(says_nothing());
        board.millis += 1;
        CHECK(says_data(0, true) && says_nothing());
    }
    CHECK(!sg_is_connected(&board.link));

    /* A host that is there again gets the oldest at once, and asks in vain for nothing. */
    tell(KIND_HELLO_REQ, 0, 0, 0, NULL, 0);
    CHECK(says(KIND_HELLO) && said() && frame.kind == KIND_DATA && frame.seq == 0 && !said());
    board.millis += 1999;
    CHECK(says_nothing());
    board.millis += 1;
    CHECK(says_data(0, true));

    /* An ACK, even of nothing new, opens the way for those that were not sent yet. */
    ack(0);
    CHECK(sg_is_connected(&board.link));
    CHECK(says(KIND_DATA) && frame.seq == 2);
    while (said()) {
        CHECK(frame.kind == KIND_DATA);
    }
    CHECK(frame.seq == sg_held(&board.link) - 1);
}

static void acks(void) {
    begin();
    CHECK(says(KIND_HELLO));
    for (int16_t i = 0; i < 5; i++) {
        measure(i);
    }
    CHECK(says_data(0, true));
    while (said()) {
    }
    /* An ACK of nothing new does not put off what is due. */
    board.millis += 900;
    ack(0);
    board.millis += 100;
    CHECK(says_data(0, true) && says_nothing());
    ack(2);
    CHECK(sg_held(&board.link) == 3);
    /* One of something new does. */
    board.millis += 999;
    ack(3);
    board.millis += 999;
    CHECK(sg_held(&board.link) == 2 && says_nothing());
    board.millis += 1;
    CHECK(says_data(3, true));
    /* Those of another boot, of numbers that we do not hold: nothing. */
    tell(KIND_ACK, 0, BOOT8 + 1, 5, NULL, 0);
    ack(6);
    ack(2);
    CHECK(sg_held(&board.link) == 2 && !sg_is_connected(&board.link) && says_nothing());
    ack(5);
    CHECK(sg_held(&board.link) == 0 && sg_is_connected(&board.link));
    /* With nothing held, nothing is due but a HELLO. */
    board.millis += 5000;
    CHECK(says(KIND_HELLO) && says_nothing());
}

static void naks(void) {
    begin();
    CHECK(says(KIND_HELLO));
    for (int16_t i = 0; i < 4; i++) {
        measure(i);
    }
    CHECK(says_data(0, true));
    while (said()) {
    }
    nak(1);
    CHECK(sg_held(&board.link) == 3);
    CHECK(says_data(1, true) && said() && frame.seq == 2 && frame.flags == 0 && said() && frame.seq == 3 && !said());
    /* The host waits for a reading that was dropped: the oldest we have tells it so. */
    nak(0);
    CHECK(sg_held(&board.link) == 3 && says_data(1, true));
    while (said()) {
    }
    /* After a NAK the wait begins anew. */
    board.millis += 999;
    CHECK(says_nothing());
    board.millis += 1;
    CHECK(says_data(1, true) && says_nothing());
}

static void full_ring(void) {
    begin();
    CHECK(says(KIND_HELLO));
    for (int16_t i = 0; i < 3; i++) {
        measure(i);
    }
    CHECK(says_data(0, true));
    while (said()) {
    }
    for (int16_t i = 3; i < 9; i++) {
        measure(i);
    }
    CHECK(sg_held(&board.link) == 7 && sg_dropped(&board.link) == 2);
    /* Number 2 was sent; 3 is the next. */
    CHECK(says_data(3, false));
    while (said()) {
    }
    for (int16_t i = 9; i < 30; i++) {
        measure(i);
    }
    /* Others took the place of all that were sent. */
    CHECK(sg_held(&board.link) == 7 && sg_dropped(&board.link) == 23 && says_data(23, true));
    tell(KIND_HELLO_REQ, 0, 0, 0, NULL, 0);
    while (said()) {
    }
    CHECK(says(KIND_HELLO));
    CHECK(u32_at(frame.payload + 10) == 23 && u32_at(frame.payload + 14) == 30 && u32_at(frame.payload + 18) == 23);
}

static void readings_too_large(void) {
    begin();
    CHECK(says(KIND_HELLO));
    static const uint8_t bytes[255];
    CHECK(!sg_end(&board.link)); /* nothing */
    measure(1);
    sg_int(&board.link, &board.temp, 2);
    sg_raw(&board.link, &board.name, bytes, 60);
    sg_int(&board.link, &board.temp, 3);
    CHECK(!sg_end(&board.link) && sg_held(&board.link) == 1 && sg_dropped(&board.link) == 0);
    sg_raw(&board.link, &board.name, bytes, 255);
    CHECK(!sg_end(&board.link));
    measure(2);
    CHECK(says_data(0, true) && u32_at(frame.payload) == 0 && frame.payload[6] == 1);
    CHECK(said() && frame.seq == 1 && frame.payload[6] == 2);

    /* The largest that the ring holds, and that a frame holds. */
    sg_begin(&board.link, &config, BOOT, board.ring, 40);
    add_channels();
    sg_raw(&board.link, &board.name, bytes, 40 - 5 - 3);
    CHECK(sg_end(&board.link) && sg_held(&board.link) == 1);
    sg_raw(&board.link, &board.name, bytes, 40 - 5 - 3 + 1);
    CHECK(!sg_end(&board.link) && sg_held(&board.link) == 0 && sg_dropped(&board.link) == 1);
    static uint8_t large[512];
    const uint8_t most = SG_TX_SIZE - 12 - 4 - 3;
    sg_begin(&board.link, &config, BOOT, large, sizeof large);
    add_channels();
    CHECK(says(KIND_HELLO));
    sg_raw(&board.link, &board.name, bytes, most + 1);
    CHECK(!sg_end(&board.link));
    sg_raw(&board.link, &board.name, bytes, most);
    CHECK(sg_end(&board.link) && says(KIND_DATA) && frame.size == 4 + 3 + most);
    sg_begin(&board.link, &config, BOOT, large, 0);
    sg_none(&board.link, &board.temp, 1);
    CHECK(!sg_end(&board.link));
}

static void slow_line(size_t room) {
    begin();
    board.room = room;
    for (int16_t i = 0; i < 7; i++) {
        measure(i);
    }
    for (int i = 0; i < 300; i++) {
        sg_poll(&board.link);
    }
    CHECK(said() && frame.kind == KIND_HELLO);
    for (uint16_t i = 0; i < 7; i++) {
        CHECK(said() && frame.kind == KIND_DATA && frame.seq == i);
    }
    CHECK(!said());
}

/* Nothing is written for a while: sg_poll() returns, and what is said later is whole. */
static void stuck_line(void) {
    begin();
    CHECK(says(KIND_HELLO));
    const uint32_t schema = u32_at(frame.payload + 24);
    CHECK(schema != 0);
    board.room = 0;
    CHECK(sg_log(&board.link, "waits"));
    tell(KIND_HELLO_REQ, 0, 0, 0, NULL, 0);
    CHECK(says_nothing());
    for (int16_t i = 0; i < 7; i++) {
        measure(i);
        CHECK(says_nothing());
    }
    tell(KIND_CALL, 0, 0, 1, "\x11", 1);
    CHECK(says_nothing());
    board.room = board.link.tx_size - 1U;
    sg_poll(&board.link);
    CHECK(board.link.tx_size == 1 && said() && frame.kind == KIND_LOG);
    CHECK(!said()); /* one byte is left, the last of the answer */
    board.room = 0;
    sg_poll(&board.link);
    board.room = sizeof board.wire;
    sg_poll(&board.link);
    bool hello = false, result = false;
    uint16_t next = 0;
    while (said()) {
        hello = hello || (frame.kind == KIND_HELLO && u32_at(frame.payload + 24) == schema);
        result = result || frame.kind == KIND_RESULT;
        if (frame.kind == KIND_DATA) {
            CHECK(frame.seq == next);
            next++;
        }
    }
    CHECK(hello && result && next == 7);
}

/* An answer that has no room waits for it. */
static void full_line(void) {
    begin();
    CHECK(says(KIND_HELLO));
    board.room = 0;
    while (sg_log(&board.link, "x")) {
    }
    tell(KIND_CALL, 0, 0, 1, "\x11", 1);
    CHECK(says_nothing());
    board.room = sizeof board.wire;
    do {
        CHECK(said() || says(KIND_LOG) || frame.kind == KIND_RESULT);
    } while (frame.kind == KIND_LOG);
    CHECK(frame.kind == KIND_RESULT && frame.seq == 1 && says_nothing());
}

static void stored_readings(void) {
    begin();
    sg_begin_stored(&board.link, &config, BOOT, &storage);
    add_channels();
    CHECK(says(KIND_HELLO) && u32_at(frame.payload + 2) == BOOT);
    for (int16_t i = 0; i < 10; i++) {
        board.millis += 100;
        measure(i);
    }
    CHECK(says_data(3, true));
    while (said()) {
    }
    ack(5);
    CHECK(sg_held(&board.link) == 5);

    /* A reset: same boot number, same readings, and the clock goes on from the newest. */
    board.millis = 77;
    reset_stored();
    CHECK(sg_held(&board.link) == 5 && sg_dropped(&board.link) == 3);
    sg_poll(&board.link);
    CHECK(said() && frame.kind == KIND_HELLO && u32_at(frame.payload + 2) == BOOT);
    CHECK(u32_at(frame.payload + 6) == 1000 && u32_at(frame.payload + 10) == 5 && u32_at(frame.payload + 14) == 10);
    /* Only the oldest, again and again, until an ACK says where to go on. */
    CHECK(said() && frame.kind == KIND_DATA && frame.seq == 5 && frame.flags == FLAG_OLDEST && frame.payload[6] == 5);
    CHECK(!said());
    board.millis += 1999;
    CHECK(says_nothing());
    board.millis += 1;
    CHECK(says_data(5, true) && says_nothing());
    measure(10);
    CHECK(says_nothing());
    ack(9);
    CHECK(says_data(9, true) && u32_at(frame.payload) == 1000 && said() && frame.seq == 10);
    CHECK(u32_at(frame.payload) == 3000);
    ack(11);

    /* With nothing held, numbers and boot go on. */
    reset_stored();
    CHECK(says(KIND_HELLO) && u32_at(frame.payload + 2) == BOOT && u32_at(frame.payload + 14) == 11 && says_nothing());
    measure(11);
    CHECK(says_data(11, true) && says_nothing());
}

static void damaged_storage(void) {
    begin();
    sg_begin_stored(&board.link, &config, BOOT, &storage);
    add_channels();
    measure(0);
    measure(1); /* three records: the third is where the first was */
    board.storage[SG_STORAGE_OVERHEAD / 2] ^= 1;
    reset_stored();
    CHECK(sg_held(&board.link) == 1 && board.link.ring.boot == BOOT); /* the one before */
    board.storage[0] ^= 1;
    reset_stored();
    CHECK(sg_held(&board.link) == 0 && board.link.ring.boot == BOOT + 1); /* none: a new boot */
    measure(0);
    /* The serial number of the records wraps. */
    for (int16_t i = 0; i < 600; i++) {
        measure(i);
        reset_stored();
        CHECK(board.link.ring.oldest + board.link.ring.count == (uint32_t)i + 2);
    }
    /* A storage of another size holds nothing of ours. */
    static const sg_storage smaller = {storage_load, storage_store, STORAGE_SIZE - 1};
    sg_begin_stored(&board.link, &config, BOOT + 2, &smaller);
    CHECK(sg_held(&board.link) == 0 && board.link.ring.boot == BOOT + 2);
    static const sg_storage too_small = {storage_load, storage_store, SG_STORAGE_OVERHEAD};
    sg_begin_stored(&board.link, &config, BOOT, &too_small);
    add_channels();
    sg_none(&board.link, &board.temp, 1);
    CHECK(!sg_end(&board.link));
}

int main(void) {
    hellos();
    long_names();
    retransmission();
    acks();
    naks();
    full_ring();
    readings_too_large();
    slow_line(7);
    slow_line(1);
    stuck_line();
    full_line();
    stored_readings();
    damaged_storage();
    puts("rules: all kept");
    return 0;
}
