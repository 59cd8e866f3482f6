/*
 * A board and a host on a line that loses and damages bytes, with outages and resets: every reading
 * is stored once and in order, or counted as lost. The host keeps the rules of PROTOCOL.md: it
 * acknowledges what is safe, asks for what is missing, and believes no frame with a wrong CRC.
 */

#include "serialgate.h"
#include "sg_internal.h"

#include "check.h"

#include <setjmp.h>
#include <string.h>

enum { FIFO_SIZE = 64, BYTES_PER_MS = 11, RING_SIZE = 600, STORAGE_SIZE = RING_SIZE + SG_STORAGE_OVERHEAD };

/* xorshift32: the same run for the same seed. */
static uint32_t random_state;

static uint32_t random_u32(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

static bool happens(uint32_t per_million) { return random_u32() % 1000000 < per_million; }

typedef struct {
    uint8_t bytes[4096];
    size_t size;
} fifo;

static void push(fifo *to, const uint8_t *bytes, size_t size) {
    CHECK(to->size + size <= sizeof to->bytes);
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
}

static struct {
    sg_link link;
    uint8_t ring[RING_SIZE];
    uint8_t storage[STORAGE_SIZE];
    sg_channel channel;
    fifo out;
    uint32_t now;
    uint32_t made; /* readings; the value of each is its number */
    uint32_t frames;
    bool stores;
    /* Bytes of storage until the power fails; none by default. */
    uint32_t stores_left;
    jmp_buf power_fails;
} board;

static size_t board_write(void *context, const uint8_t *bytes, size_t size) {
    (void)context;
    const size_t room = FIFO_SIZE > board.out.size ? FIFO_SIZE - board.out.size : 0;
    const size_t part = size < room ? size : room;
    push(&board.out, bytes, part);
    return part;
}

static uint32_t board_millis(void *context) {
    (void)context;
    return board.now;
}

static void storage_load(void *context, uint16_t at, void *to, uint8_t size) {
    (void)context;
    CHECK(at + size <= STORAGE_SIZE);
    memcpy(to, board.storage + at, size);
}

static void storage_store(void *context, uint16_t at, const void *from, uint8_t size) {
    (void)context;
    CHECK(at + size <= STORAGE_SIZE);
    for (uint8_t i = 0; i < size; i++) {
        if (board.stores_left != UINT32_MAX && board.stores_left-- == 0) {
            longjmp(board.power_fails, 1);
        }
        board.storage[at + i] = ((const uint8_t *)from)[i];
    }
}

static const sg_storage storage = {storage_load, storage_store, STORAGE_SIZE};
static const uint8_t uid[] = {1, 2, 3, 4};
static const sg_config config = {NULL, board_write, board_millis, NULL, NULL, uid, sizeof uid, "line 1"};

/* What outlives a restart of the host: what it has stored. */
static struct {
    uint32_t next;  /* number of the reading that is expected */
    uint32_t value; /* the next value, if none was lost */
    uint32_t stored, lost;
    uint32_t boot;
    bool knows_boot;
} stored;

/* The host as a process. */
static struct {
    bool runs, greeted;
    sg_link decoder; /* only its decoder is used */
    fifo out;
    uint32_t nak_at;
} host;

static void say(uint8_t kind, uint8_t flags, uint16_t seq) {
    sg_link sender;
    memset(&sender, 0, sizeof sender);
    sender.ring.boot = stored.boot;
    sg_frame_open(&sender, kind, flags, seq);
    CHECK(sg_frame_close(&sender));
    push(&host.out, sender.tx, sender.tx_size);
}

static uint32_t get_u32(const uint8_t *at) {
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void start_host(void) {
    memset(&host, 0, sizeof host);
    host.runs = true;
    say(KIND_HELLO_REQ, 0, 0);
}

static void hear_hello(const uint8_t *payload) {
    const uint32_t boot = get_u32(payload + 2);
    const uint32_t oldest = get_u32(payload + 10);
    if (!stored.knows_boot || stored.boot != boot) {
        stored.boot = boot;
        stored.knows_boot = true;
        stored.next = 0;
    }
    if ((int32_t)(oldest - stored.next) > 0) {
        stored.lost += oldest - stored.next;
        stored.value += oldest - stored.next;
        stored.next = oldest;
    }
    host.greeted = true;
}

static void hear_data(const uint8_t *raw, uint8_t size) {
    if (!host.greeted || raw[2] != (uint8_t)stored.boot) {
        say(KIND_HELLO_REQ, 0, 0);
        return;
    }
    const int16_t ahead = (int16_t)(uint16_t)((raw[3] | raw[4] << 8) - (uint16_t)stored.next);
    if (ahead > 0 && (raw[1] & FLAG_OLDEST) == 0) {
        if ((int32_t)(board.now - host.nak_at) >= 0) {
            host.nak_at = board.now + 100;
            say(KIND_ACK, FLAG_REWIND, (uint16_t)stored.next);
        }
        return;
    }
    if (ahead > 0) {
        const uint32_t gap = (uint16_t)ahead;
        stored.lost += gap;
        stored.value += gap;
        stored.next += gap;
    }
    if (ahead >= 0) {
        CHECK(size == HEADER_SIZE + 4 + 6); /* the time, and an i32 */
        CHECK(get_u32(raw + HEADER_SIZE + 6) == stored.value);
        stored.value++;
        stored.next++;
        stored.stored++;
    }
    say(KIND_ACK, 0, (uint16_t)stored.next);
}

static void host_receive(uint8_t byte) {
    uint8_t size;
    const uint8_t *raw = sg_decode(&host.decoder, byte, &size);
    if (raw == NULL) {
        return;
    }
    if ((raw[0] & 0x3F) == KIND_HELLO) {
        hear_hello(raw + HEADER_SIZE);
    } else if ((raw[0] & 0x3F) == KIND_DATA) {
        board.frames++;
        hear_data(raw, size);
    }
}

static void board_receive(uint8_t byte) { sg_receive(&board.link, byte); }

/* Moves the bytes of one millisecond. */
static void carry(fifo *from, uint32_t noise, bool arrives, void (*to)(uint8_t)) {
    const size_t part = from->size < BYTES_PER_MS ? from->size : BYTES_PER_MS;
    uint8_t bytes[BYTES_PER_MS];
    memcpy(bytes, from->bytes, part);
    from->size -= part;
    memmove(from->bytes, from->bytes + part, from->size);
    for (size_t i = 0; i < part; i++) {
        if (happens(noise)) {
            continue;
        }
        if (happens(noise)) {
            bytes[i] = (uint8_t)(bytes[i] ^ (1u << (random_u32() % 8)));
        }
        if (arrives) {
            to(bytes[i]);
        }
    }
}

static void make(void) {
    const uint32_t number = board.made;
    sg_int(&board.link, &board.channel, (int32_t)number);
    CHECK(sg_end(&board.link));
    board.made++;
}

static void turn(uint32_t noise) {
    board.now++;
    sg_poll(&board.link);
    carry(&board.out, noise, host.runs, host_receive);
    carry(&host.out, noise, true, board_receive);
}

static void boot(uint32_t number) {
    board.out.size = 0;
    board.channel = (sg_channel){"n", "", SG_FORMAT(SG_I32, 0), SG_COUNTER, 0, NULL};
    if (board.stores) {
        sg_begin_stored(&board.link, &config, number, &storage);
    } else {
        sg_begin(&board.link, &config, number, board.ring, sizeof board.ring);
    }
    sg_add_channel(&board.link, &board.channel);
}

static void begin(bool stores, uint32_t seed) {
    memset(&board, 0, sizeof board);
    memset(&stored, 0, sizeof stored);
    random_state = seed;
    board.stores_left = UINT32_MAX;
    board.stores = stores;
    boot(0x1234);
    start_host();
}

/* Until the host has everything, or time is up. */
static void settle(uint32_t noise) {
    for (uint32_t i = 0; i < 600000 && (sg_held(&board.link) > 0 || host.out.size > 0); i++) {
        turn(noise);
    }
    CHECK(sg_held(&board.link) == 0);
    CHECK(stored.value == board.made);
    CHECK(stored.stored + stored.lost == board.made);
}

/* `seconds` of readings every `every` milliseconds; the host is down from `off` until `on`. */
static void run(uint32_t seconds, uint32_t every, uint32_t noise, uint32_t off, uint32_t on) {
    for (uint32_t ms = 0; ms < seconds * 1000; ms++) {
        if (ms == off * 1000) {
            host.runs = false;
        } else if (ms == on * 1000) {
            start_host();
        }
        if (ms % every == 0) {
            make();
        }
        turn(noise);
    }
    settle(noise);
}

static void report(const char *what) {
    printf("%-28s made %u, stored %u, lost %u, frames heard %u\n", what, (unsigned)board.made, (unsigned)stored.stored,
           (unsigned)stored.lost, (unsigned)board.frames);
}

static void outages(void) {
    begin(false, 1);
    run(900, 1000, 0, 300, 330);
    CHECK(stored.lost == 0 && board.frames < board.made + 20);
    report("host away for 30 s at 1 Hz:");
    begin(false, 2);
    run(60, 10, 0, 20, 50);
    CHECK(stored.lost > 2000 && stored.lost == sg_dropped(&board.link));
    report("ring too small:");
    begin(false, 3);
    run(700, 10, 100, 100, 102);
    CHECK(board.made == 70000);
    report("numbers wrap at 16 bits:");
}

static void noise(void) {
    for (uint32_t seed = 1; seed <= 20; seed++) {
        begin(false, seed);
        run(300, 1000, 1000, 100, 120);
        CHECK(stored.lost == 0);
    }
    report("one byte in 500 damaged:");
}

/* A host that takes everything and is slow to say so: the ring must not be sent over and over. */
static void slow_acks(void) {
    begin(false, 4);
    for (uint32_t ms = 0; ms < 60000; ms++) {
        if (ms % 40 == 0) {
            make();
        }
        board.now++;
        sg_poll(&board.link);
        carry(&board.out, 0, true, host_receive);
        if (ms % 1500 == 0 || ms < 100) {
            while (host.out.size > 0) {
                carry(&host.out, 0, true, board_receive);
            }
        }
    }
    settle(0);
    CHECK(stored.lost == 0 && board.frames < board.made * 11 / 10);
    report("ACKs 1.5 s late:");
}

/* Resets at any moment, in the middle of a write to the storage too. */
static void resets(void) {
    begin(true, 5);
    uint32_t resets = 0;
    for (volatile uint32_t round = 0; round < 2000; round++) {
        const uint32_t made = board.made;
        if (setjmp(board.power_fails) == 0) {
            board.stores_left = random_u32() % 400;
            for (uint32_t ms = 0; ms < 300; ms++) {
                if (ms % 50 == 0) {
                    make();
                }
                turn(0);
            }
        } else {
            resets++;
        }
        board.stores_left = UINT32_MAX;
        CHECK(board.made >= made);
        boot(random_u32());
        CHECK(board.link.ring.boot == 0x1234); /* the storage was never taken for empty */
        /* The reading that was being written may have got in or not. */
        board.made = board.link.ring.oldest + board.link.ring.count;
    }
    settle(0);
    CHECK(resets > 500 && stored.lost == 0);
    report("2000 resets with a storage:");
}

int main(void) {
    outages();
    noise();
    slow_acks();
    resets();
    return 0;
}
