/*
 * Readings in a memory that loses its power at each byte of each write, clean and in the middle of the
 * byte, and once more at each byte of the next write. Whatever the moment: no reading comes back
 * wrong, no number is given twice, and at most the reading that was being written is missing. What had to
 * give way to it may be gone already.
 */

#include "serialgate.h"
#include "sg_internal.h"

#include "check.h"

#include <setjmp.h>
#include <string.h>

/* A prime number of bytes for readings of 11 and 17: each of them comes to lie across the end. */
enum { RING_SIZE = 61, STORAGE_SIZE = RING_SIZE + SG_STORAGE_OVERHEAD, BOOT = 7, NEVER = -1 };

/* What becomes of the byte at which the power fails. */
typedef enum { AS_IT_WAS, MIXED, ERASED, BYTES } torn;

static uint8_t memory[STORAGE_SIZE];
static int bytes_left; /* until the power fails */
static torn failing;
static jmp_buf power_fails;
static uint32_t now;
static sg_link link;
static sg_channel counter, twice;
static uint8_t out[256]; /* what the board writes */

static void fram_load(void *context, uint16_t at, void *to, uint8_t size) {
    (void)context;
    CHECK(at + size <= STORAGE_SIZE);
    memcpy(to, memory + at, size);
}

static void fram_store(void *context, uint16_t at, const void *from, uint8_t size) {
    (void)context;
    CHECK(at + size <= STORAGE_SIZE);
    for (uint8_t i = 0; i < size; i++) {
        const uint8_t byte = ((const uint8_t *)from)[i];
        if (bytes_left == 0) {
            if (failing == MIXED) {
                memory[at + i] = (uint8_t)((memory[at + i] & 0x0F) | (byte & 0xF0));
            } else if (failing == ERASED) {
                memory[at + i] = 0xFF;
            }
            longjmp(power_fails, 1);
        }
        if (bytes_left != NEVER) {
            bytes_left--;
        }
        memory[at + i] = byte;
    }
}

static size_t write_out(void *context, const uint8_t *bytes, size_t size) {
    (void)context;
    CHECK(size <= sizeof out);
    memcpy(out, bytes, size);
    return size;
}

static uint32_t millis(void *context) {
    (void)context;
    return now;
}

static const sg_storage fram = {fram_load, fram_store, STORAGE_SIZE};
static const uint8_t uid[] = {1};
static const sg_config config = {NULL, write_out, millis, NULL, NULL, uid, sizeof uid, "power 1"};

/* The value of reading `number`, and when it is measured. */
static int32_t value_of(uint32_t number) { return (int32_t)(number * 2654435761U); }
static uint32_t time_of(uint32_t number) { return 1000 * (number + 1); }

static void power_on(void) {
    bytes_left = NEVER;
    counter = (sg_channel){"n", "", SG_FORMAT(SG_I32, 0), SG_COUNTER, 0, NULL};
    twice = counter;
    now = 0;
    sg_begin_stored(&link, &config, BOOT, &fram);
    sg_add_channel(&link, &counter);
    sg_add_channel(&link, &twice);
}

static uint32_t oldest(void) { return link.ring.oldest; }
static uint32_t next(void) { return link.ring.oldest + link.ring.count; }

/* Every third reading is a longer one. */
static void measure(void) {
    const uint32_t number = next();
    link.started = now - time_of(number);
    sg_int(&link, &counter, value_of(number));
    if (number % 3 == 0) {
        sg_int(&link, &twice, value_of(number));
    }
    CHECK(sg_end(&link));
}

static uint32_t u32_at(const uint8_t *at) {
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Everything that is held is what was measured. */
static void look(void) {
    uint16_t at = link.ring.head, used = 0;
    for (uint32_t number = oldest(); number != next(); number++) {
        const uint8_t items = number % 3 == 0 ? 12 : 6;
        uint8_t bytes[READING_OVERHEAD + 12];
        CHECK(sg_ring_items(&link, at) == items);
        sg_ring_load(&link, at, bytes, (uint8_t)(READING_OVERHEAD + items));
        CHECK(u32_at(bytes + 1) == time_of(number));
        for (uint8_t i = READING_OVERHEAD; i < READING_OVERHEAD + items; i = (uint8_t)(i + 6)) {
            CHECK(bytes[i] == (i > READING_OVERHEAD) && bytes[i + 1] == SG_FORMAT(SG_I32, 0));
            CHECK(u32_at(bytes + i + 2) == (uint32_t)value_of(number));
        }
        at = sg_ring_after(&link, at, (uint16_t)(READING_OVERHEAD + items));
        used = (uint16_t)(used + READING_OVERHEAD + items);
    }
    CHECK(used == link.ring.used && used <= RING_SIZE);
    CHECK(link.ring.boot == BOOT);
}

/* What is done while the power fails: a reading, or an ACK of that many. */
static void act(int acknowledged) {
    if (acknowledged == 0) {
        measure();
    } else {
        sg_ring_pop(&link, (uint16_t)acknowledged);
    }
}

/* Does it, and loses the power after `left` bytes; false: it was done before that. */
static bool fails(int acknowledged, int left, torn byte) {
    if (setjmp(power_fails) != 0) {
        return true;
    }
    failing = byte;
    bytes_left = left;
    act(acknowledged);
    bytes_left = NEVER;
    return false;
}

static long cuts;

/* From the state in `memory`: the power fails at each byte of it, then at each byte of the reading that
 * follows. */
static void cut_everywhere(int acknowledged) {
    uint8_t before[STORAGE_SIZE];
    memcpy(before, memory, sizeof before);
    power_on();
    look();
    const uint32_t first_oldest = oldest(), first_next = next();
    act(acknowledged);
    const uint32_t last_oldest = oldest(), last_next = next();
    for (torn byte = AS_IT_WAS; byte < BYTES; byte++) {
        for (int left = 0;; left++) {
            memcpy(memory, before, sizeof before);
            power_on();
            if (!fails(acknowledged, left, byte)) {
                break;
            }
            cuts++;
            power_on();
            look();
            CHECK(oldest() >= first_oldest && oldest() <= last_oldest);
            CHECK(next() == first_next || next() == last_next);

            uint8_t after[STORAGE_SIZE];
            memcpy(after, memory, sizeof after);
            const uint32_t kept_oldest = oldest(), kept_next = next();
            for (int again = 0;; again += 7) {
                memcpy(memory, after, sizeof after);
                power_on();
                const bool failed = fails(0, again, byte);
                const uint32_t made_oldest = oldest();
                power_on();
                look();
                CHECK(oldest() >= kept_oldest && oldest() <= made_oldest);
                CHECK(next() == kept_next + 1 || (failed && next() == kept_next));
                if (!failed) {
                    break;
                }
            }
        }
    }
    memcpy(memory, before, sizeof before);
}

/* Loses the power in the first record of all. */
static void begin_and_fail(int left) {
    failing = MIXED;
    bytes_left = left;
    if (setjmp(power_fails) == 0) {
        sg_begin_stored(&link, &config, BOOT, &fram);
    }
}

int main(void) {
    static const uint8_t blank[] = {0x00, 0xFF, 0xA5};
    for (size_t i = 0; i < sizeof blank; i++) {
        for (int left = 0; left < SG_STORAGE_OVERHEAD; left++) {
            memset(memory, blank[i], sizeof memory);
            begin_and_fail(left);
            power_on();
            CHECK(link.ring.count == 0 && link.ring.boot == BOOT);
        }
        power_on();
        for (int round = 0; round < 70; round++) {
            const int held = link.ring.count;
            cut_everywhere(0);
            for (int acknowledged = 1; acknowledged <= held; acknowledged++) {
                cut_everywhere(acknowledged);
            }
            power_on();
            /* Now and then the gateway is there. */
            if (round % 7 == 6) {
                act(held > 2 ? held - 1 : 1);
            } else {
                act(0);
            }
        }
    }
    printf("power: %ld cuts, no reading wrong\n", cuts);
    return 0;
}
