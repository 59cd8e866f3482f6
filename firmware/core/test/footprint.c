/*
 * What the library takes of an ATmega328P: this program, less the same program that does its own
 * part only (-DWITHOUT). Readings of two channels, the log, a command; with -DSETTINGS a channel that
 * the host sets, with -DSTORAGE readings that outlive a reset.
 */

#include "serialgate.h"

#include <avr/io.h>

enum { RING_SIZE = 512 };

static size_t put(void *context, const uint8_t *bytes, size_t size) {
    (void)context;
    (void)size;
    UDR0 = *bytes;
    return 1;
}

static uint32_t millis(void *context) {
    (void)context;
    return TCNT1;
}

static uint8_t command(void *context, sg_link *link, uint8_t number, const uint8_t *arguments, uint8_t size) {
    (void)context;
    (void)link;
    PORTB = size > 0 ? arguments[0] : number;
    return PORTB;
}

#ifdef WITHOUT

int main(void) {
    for (;;) {
        const uint8_t byte = UDR0;
        put(NULL, &byte, (size_t)millis(NULL));
        command(NULL, NULL, PIND, &byte, PINC);
        if ((PIND & 1) != 0) {
            PORTD = (uint8_t)ADC;
        }
    }
}

#else

#ifdef SETTINGS
static bool set(void *context, const sg_item *item) {
    (void)context;
    int32_t value;
    if (!sg_item_int(item, 0, &value)) {
        return false;
    }
    PORTB = (uint8_t)value;
    return true;
}
#else
#define set NULL
#endif

static sg_link link;
static sg_channel temp = {"temp", "Cel", SG_FORMAT(SG_I16, -2), SG_GAUGE, 0, NULL};
static sg_channel lamp = {"lamp", "", SG_FORMAT(SG_BOOL, 0), SG_STATE | SG_WRITABLE, 0, NULL};
static const uint8_t uid[] = {1, 2, 3, 4};
static const sg_config config = {NULL, put, millis, set, command, uid, sizeof uid, "footprint 1"};

#ifdef STORAGE
static void load(void *context, uint16_t at, void *to, uint8_t size) {
    (void)context;
    (void)size;
    *(uint8_t *)to = (uint8_t)(UDR0 + at);
}

static void store(void *context, uint16_t at, const void *from, uint8_t size) {
    (void)context;
    (void)size;
    UDR0 = (uint8_t)(*(const uint8_t *)from + at);
}

static const sg_storage storage = {load, store, RING_SIZE};
#else
static uint8_t ring[RING_SIZE];
#endif

int main(void) {
#ifdef STORAGE
    sg_begin_stored(&link, &config, 1, &storage);
#else
    sg_begin(&link, &config, 1, ring, sizeof ring);
#endif
    sg_add_channel(&link, &temp);
    sg_add_channel(&link, &lamp);
    sg_log(&link, "boot");
    for (;;) {
        if ((UCSR0A & _BV(RXC0)) != 0) {
            sg_receive(&link, UDR0);
        }
        sg_poll(&link);
        if ((PIND & 1) != 0) {
            sg_int(&link, &temp, (int16_t)ADC);
            sg_bool(&link, &lamp, (PORTB & 1) != 0);
            sg_end(&link);
        }
    }
}

#endif
