/*
 * The library as a filter, for a test of another implementation against it.
 *
 *   peer frames     reads a line's bytes, and writes each frame in it that is good, encoded anew
 *   peer readings   reads what a sketch measures, one thing a line, and writes what the board sends:
 *                     channel FORMAT CLASS UNIT NAME   first, for all channels; UNIT "-" is none
 *                     int CHANNEL VALUE    none CHANNEL REASON    bool CHANNEL VALUE
 *                     raw CHANNEL BYTES    in hex; "-" is no bytes
 *                     end MILLISECONDS     the reading's time
 */

#include "serialgate.h"
#include "sg_internal.h"

#include "check.h"

#include <inttypes.h>
#include <string.h>

enum { CHANNELS_MAX = 16 };

static void write_out(sg_link *link) {
    CHECK(fwrite(link->tx, 1, link->tx_size, stdout) == link->tx_size);
    link->tx_size = 0;
}

static void frames(void) {
    static sg_link link;
    for (int byte = getchar(); byte != EOF; byte = getchar()) {
        uint8_t size;
        const uint8_t *raw = sg_decode(&link, (uint8_t)byte, &size);
        if (raw != NULL) {
            link.ring.boot = raw[2];
            sg_frame_open(&link, raw[0] & 0x3F, raw[1], (uint16_t)(raw[3] | raw[4] << 8));
            sg_frame_bytes(&link, raw + HEADER_SIZE, (size_t)(size - HEADER_SIZE));
            CHECK(sg_frame_close(&link));
            write_out(&link);
        }
    }
}

static uint32_t now;

static uint32_t millis(void *context) {
    (void)context;
    return now;
}

static size_t put(void *context, const uint8_t *bytes, size_t size) {
    (void)context;
    return fwrite(bytes, 1, size, stdout);
}

static void acknowledge_all(sg_link *link) {
    static sg_link host;
    host.ring.boot = link->ring.boot;
    sg_frame_open(&host, KIND_ACK, 0, (uint16_t)(link->ring.oldest + link->ring.count));
    CHECK(sg_frame_close(&host));
    for (uint8_t i = 0; i < host.tx_size; i++) {
        sg_receive(link, host.tx[i]);
    }
    host.tx_size = 0;
}

static void readings(void) {
    static sg_link link;
    static uint8_t ring[300];
    static sg_channel channels[CHANNELS_MAX];
    static char units[CHANNELS_MAX][32], names[CHANNELS_MAX][32];
    static const uint8_t uid[] = {0xDE, 0xAD, 0, 0xBE, 0xEF};
    static const sg_config config = {NULL, put, millis, NULL, NULL, uid, sizeof uid, "peer 1"};
    sg_begin(&link, &config, UINT32_C(0xC0FFEE00), ring, sizeof ring);
    uint8_t count = 0;
    char line[1024];
    while (fgets(line, sizeof line, stdin) != NULL) {
        unsigned channel, format, class_;
        char text[600];
        int32_t value;
        if (sscanf(line, "channel %u %u %31s %31s", &format, &class_, units[count], names[count]) == 4) {
            CHECK(count < CHANNELS_MAX);
            const char *unit = strcmp(units[count], "-") == 0 ? "" : units[count];
            channels[count] = (sg_channel){names[count], unit, (uint8_t)format, (uint8_t)class_, 0, NULL};
            sg_add_channel(&link, &channels[count]);
            count++;
            /* Each is described at once; HELLO comes with the first reading. */
            sg_link host;
            memset(&host, 0, sizeof host);
            sg_frame_open(&host, KIND_DESCRIBE_REQ, 0, count);
            sg_frame_u8(&host, (uint8_t)(count - 1));
            CHECK(sg_frame_close(&host));
            for (uint8_t i = 0; i < host.tx_size; i++) {
                sg_receive(&link, host.tx[i]);
            }
            write_out(&link);
        } else if (sscanf(line, "int %u %" SCNd32, &channel, &value) == 2) {
            sg_int(&link, &channels[channel], value);
        } else if (sscanf(line, "none %u %" SCNd32, &channel, &value) == 2) {
            sg_none(&link, &channels[channel], (uint8_t)value);
        } else if (sscanf(line, "bool %u %" SCNd32, &channel, &value) == 2) {
            sg_bool(&link, &channels[channel], value != 0);
        } else if (sscanf(line, "raw %u %599s", &channel, text) == 2) {
            uint8_t bytes[255], size = 0;
            for (const char *at = text; at[0] != '-' && at[0] != 0; at += 2) {
                unsigned byte;
                CHECK(sscanf(at, "%2x", &byte) == 1 && size < sizeof bytes);
                bytes[size++] = (uint8_t)byte;
            }
            sg_raw(&link, &channels[channel], bytes, size);
        } else {
            CHECK(sscanf(line, "end %" SCNu32, &now) == 1);
            CHECK(sg_end(&link));
            sg_poll(&link);
            acknowledge_all(&link);
        }
    }
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    if (strcmp(arguments[1], "frames") == 0) {
        frames();
    } else {
        CHECK(strcmp(arguments[1], "readings") == 0);
        readings();
    }
    return 0;
}
