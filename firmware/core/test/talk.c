/* What else is said: values, settings, commands, log lines, and frames that are none. */

#include "board.h"

/* What an item of that format holds of `value`, or "none". */
static bool goes_into(uint8_t type, int32_t value) {
    begin();
    CHECK(says(KIND_HELLO));
    board.temp.format = SG_FORMAT(type, -1);
    sg_int(&board.link, &board.temp, value);
    CHECK(sg_end(&board.link) && says(KIND_DATA) && frame.payload[4] == 0);
    if (frame.payload[5] == SG_FORMAT(SG_NONE, SG_RANGE)) {
        CHECK(frame.size == 6);
        return false;
    }
    CHECK(frame.payload[5] == board.temp.format);
    const sg_item item = {0, frame.payload[5], (uint8_t)(frame.size - 6), frame.payload + 6};
    int32_t back;
    CHECK(sg_item_int(&item, -1, &back) && back == value);
    return true;
}

static void ranges(void) {
    static const struct {
        uint8_t type, size;
        int32_t low, high;
    } types[] = {
        {SG_I8, 1, INT8_MIN, INT8_MAX},     {SG_U8, 1, 0, UINT8_MAX},   {SG_I16, 2, INT16_MIN, INT16_MAX},
        {SG_U16, 2, 0, UINT16_MAX},         {SG_U32, 4, 0, INT32_MAX},  {SG_I32, 4, INT32_MIN, INT32_MAX},
        {SG_I64, 8, INT32_MIN, INT32_MAX},  {SG_U64, 8, 0, INT32_MAX},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        CHECK(goes_into(types[i].type, types[i].low) && frame.size == 6 + types[i].size);
        CHECK(goes_into(types[i].type, types[i].high) && goes_into(types[i].type, 0));
        CHECK(types[i].high == INT32_MAX || !goes_into(types[i].type, types[i].high + 1));
        CHECK(types[i].low == INT32_MIN || !goes_into(types[i].type, types[i].low - 1));
        CHECK(types[i].low == INT32_MIN || !goes_into(types[i].type, INT32_MIN));
    }
    CHECK(!goes_into(SG_F32, 1) && !goes_into(SG_BOOL, 1) && !goes_into(SG_TEXT, 1));
}

static void items_as_numbers(void) {
    static const struct {
        uint8_t format, size, bytes[8];
        int8_t exponent;
        bool good;
        int32_t value;
    } table[] = {
        {SG_FORMAT(SG_I16, -2), 2, {0x29, 0x09}, -2, true, 2345},
        {SG_FORMAT(SG_I16, -2), 2, {0x29, 0x09}, -1, true, 234},
        {SG_FORMAT(SG_I16, -2), 2, {0x29, 0x09}, 0, true, 23},
        {SG_FORMAT(SG_I16, -2), 2, {0xD7, 0xF6}, 0, true, -23},
        {SG_FORMAT(SG_U8, 3), 1, {200}, 0, true, 200000},
        {SG_FORMAT(SG_U8, 7), 1, {214}, 0, true, 2140000000},
        {SG_FORMAT(SG_U8, 7), 1, {215}, 0, false, 0},
        {SG_FORMAT(SG_I8, 7), 1, {0x2A}, 0, true, 420000000},
        {SG_FORMAT(SG_I8, 7), 1, {0xD6}, -1, false, 0},
        {SG_FORMAT(SG_U8, 7), 1, {0}, -8, true, 0},
        {SG_FORMAT(SG_U32, 0), 4, {0, 0, 0, 0x80}, 0, false, 0},
        {SG_FORMAT(SG_I32, 0), 4, {0, 0, 0, 0x80}, 0, true, INT32_MIN},
        {SG_FORMAT(SG_I64, 0), 8, {1, 0, 0, 0, 0, 0, 0, 0}, 0, true, 1},
        {SG_FORMAT(SG_I64, 0), 8, {1, 0, 0, 0, 1, 0, 0, 0}, 0, false, 0},
        {SG_FORMAT(SG_I64, 0), 8, {0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, 0, true, -2},
        {SG_FORMAT(SG_I64, 0), 8, {0xFE, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF}, 0, false, 0},
        {SG_FORMAT(SG_U64, 0), 8, {0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, 0, false, 0},
        {SG_FORMAT(SG_F32, 0), 4, {0, 0, 0, 0}, 0, false, 0},
        {SG_FORMAT(SG_TEXT, 0), 1, {'1'}, 0, false, 0},
        {SG_FORMAT(SG_BOOL, 1), 0, {0}, 0, true, 1},
        {SG_FORMAT(SG_BOOL, 0), 0, {0}, 0, true, 0},
        {SG_FORMAT(SG_BOOL, 2), 0, {0}, 0, false, 0},
        {SG_FORMAT(SG_NONE, 1), 0, {0}, 0, false, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const sg_item item = {0, table[i].format, table[i].size, table[i].bytes};
        int32_t value = 0;
        CHECK(sg_item_int(&item, table[i].exponent, &value) == table[i].good && value == table[i].value);
    }
}

static bool result_is(uint16_t seq, uint8_t status) {
    return says(KIND_RESULT) && frame.seq == seq && frame.size == 1 && frame.payload[0] == status;
}

static void call(uint16_t seq, const char *bytes, size_t size) { tell(KIND_CALL, 0, 0, seq, bytes, size); }

#define CALL(seq, bytes) call(seq, bytes, sizeof bytes - 1)

static void settings(void) {
    begin();
    CHECK(says(KIND_HELLO));
    CALL(1, "\x00\x01\x60\x05");
    CHECK(result_is(1, SG_OK) && board.set_to == 5 && board.sets == 1);
    CALL(2, "\x00\x01\x60\x06\x02\xC0\x02ok");
    CHECK(result_is(2, SG_OK) && board.set_to == 6 && board.sets == 3 && board.set_size == 2);
    CALL(3, "\x00");
    CHECK(result_is(3, SG_OK) && board.sets == 3);
    /* What the sketch refuses, is not there, is read only, or cut off. What went before is done. */
    CALL(4, "\x00\x01\x60\x0D\x01\x60\x07");
    CHECK(result_is(4, SG_REFUSED) && board.sets == 4);
    CALL(5, "\x00\x03\x60\x05");
    CHECK(result_is(5, SG_REFUSED) && board.sets == 4);
    CALL(6, "\x00\x00\x60\x05");
    CHECK(result_is(6, SG_REFUSED) && board.sets == 4);
    CALL(7, "\x00\x01\x60\x08\x01\x70\x05");
    CHECK(result_is(7, SG_REFUSED) && board.set_to == 8 && board.sets == 5);
    CALL(8, "\x00\x02\xC0\x03ok");
    CHECK(result_is(8, SG_REFUSED) && board.sets == 5);
    CALL(9, "\x00\x02\xC0");
    CHECK(result_is(9, SG_REFUSED) && board.sets == 5);
    CALL(12, "\x00\x02\xC0\x00");
    CHECK(result_is(12, SG_OK) && board.sets == 6 && board.set_size == 0); /* an empty text */
    CALL(10, "\x00\x01");
    CHECK(result_is(10, SG_REFUSED));
    /* Each type has its size: what follows is found. */
    CALL(13, "\x00\x01\xB0\x00\x00\x00\x00\x00\x00\x00\x00");
    CHECK(result_is(13, SG_REFUSED) && board.set_size == 8);
    CALL(14, "\x00\x01\xA0\x00\x00\x00\x00");
    CHECK(result_is(14, SG_REFUSED) && board.set_size == 4);
    config.set = NULL;
    CALL(11, "\x00\x01\x60\x05");
    CHECK(result_is(11, SG_REFUSED));
    config.set = set;
}

static void commands(void) {
    begin();
    CHECK(says(KIND_HELLO));
    CALL(0, "\x11");
    CHECK(result_is(0, SG_UNKNOWN) && board.commands == 1);
    CALL(1, "\x02\xE8\x03\x00\x00");
    CHECK(result_is(1, SG_OK) && board.command == SG_INTERVAL && board.arguments_size == 4);
    CHECK(u32_at(board.arguments) == 1000);
    CALL(2, "\x10");
    for (int i = 0; i < 2; i++) {
        CHECK(says(KIND_RESULT) && frame.seq == 2 && frame.size == 7);
        CHECK(memcmp(frame.payload, "\x00\x01\x40\xF9\xFF\xFF\xFF", 7) == 0);
        CHECK(board.commands == 3 && says_nothing());
        CALL(2, "\x10"); /* again: the same answer, and nothing is done */
    }
    CHECK(says(KIND_RESULT));
    tell(KIND_CALL, 0, 0, 3, NULL, 0);
    CHECK(says_nothing());

    /* The reboot comes once the answer is on its way. */
    board.room = 0;
    CALL(4, "\x01");
    CHECK(says_nothing() && board.commands == 3);
    board.room = 5;
    CHECK(says_nothing() && board.commands == 3);
    board.room = sizeof board.wire;
    sg_poll(&board.link);
    CHECK(board.commands == 4 && board.command == SG_REBOOT && said() && frame.kind == KIND_RESULT);
    CHECK(says_nothing() && board.commands == 4);
    config.command = NULL;
    CALL(5, "\x01");
    CHECK(result_is(5, SG_UNKNOWN) && says_nothing());
    CALL(6, "\x10");
    CHECK(result_is(6, SG_UNKNOWN));
}

static void logs(void) {
    begin();
    char text[SG_TX_SIZE + 10];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    const uint8_t most = SG_TX_SIZE - 12;
    memcpy(text + most - 1, "\xC3\xA9", 2); /* does not fit: not half of it either */
    CHECK(sg_log(&board.link, text));
    CHECK(says(KIND_LOG) && frame.size == most - 1 && says(KIND_HELLO));
    memcpy(text + most - 2, "\xC3\xA9y", 3);
    CHECK(sg_log(&board.link, text));
    CHECK(says(KIND_LOG) && frame.size == most);
    /* Behind something else a line waits for its turn rather than being cut. */
    board.room = 0;
    CHECK(sg_log(&board.link, "first"));
    CHECK(!sg_log(&board.link, text));
    CHECK(sg_log(&board.link, "second"));
    CHECK(!sg_log(&board.link, text));
    board.room = sizeof board.wire;
    CHECK(says(KIND_LOG) && frame.size == 5 && said() && frame.size == 6);
}

static void damaged_frames(void) {
    begin();
    CHECK(says(KIND_HELLO));
    /* Too long, then a good one. */
    for (int i = 0; i < 2 * SG_RX_MAX + 300; i++) {
        sg_receive(&board.link, 0x41);
    }
    tell(KIND_HELLO_REQ, 0, 0, 0, NULL, 0);
    CHECK(says(KIND_HELLO) && says_nothing());
    /* The longest, and one byte longer. */
    static uint8_t arguments[SG_RX_MAX] = {0, 1, 0x60, 3};
    tell(KIND_CALL, 0, 0, 1, arguments, SG_RX_MAX - 9);
    CHECK(says(KIND_RESULT));
    tell(KIND_CALL, 0, 0, 2, arguments, SG_RX_MAX - 8);
    CHECK(says_nothing());
    /* Every bit of a frame, and every byte. */
    uint8_t wire[300];
    const size_t end = encode(wire, KIND_HELLO_REQ, 0, 0, 0, NULL, 0);
    for (size_t bit = 8; bit < 8 * (end - 1); bit++) {
        for (size_t i = 0; i < end; i++) {
            sg_receive(&board.link, (uint8_t)(wire[i] ^ (i == bit / 8 ? 1U << bit % 8 : 0)));
        }
        CHECK(says_nothing());
    }
    for (size_t left_out = 1; left_out < end - 1; left_out++) {
        for (size_t i = 0; i < end; i++) {
            if (i != left_out) {
                sg_receive(&board.link, wire[i]);
            }
        }
        CHECK(says_nothing());
    }
    /* Our own echo, kinds and versions of a later day. */
    tell(KIND_HELLO, 0, BOOT8, 0, NULL, 0);
    tell(KIND_DATA, 0, BOOT8, 0, "\0\0\0\0", 4);
    tell(0x3F, 0, BOOT8, 0, NULL, 0);
    tell(KIND_HELLO_REQ | 0x80, 0, 0, 0, NULL, 0);
    CHECK(says_nothing());
}

int main(void) {
    ranges();
    items_as_numbers();
    settings();
    commands();
    logs();
    damaged_frames();
    puts("talk: all understood");
    return 0;
}
