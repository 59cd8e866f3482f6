/*
 * Serialgate on an Arduino Uno without Arduino: an ATmega328P at 16 MHz, 115200 baud. Once a second it
 * sends a count and the voltage at ADC0; it sleeps in between.
 */

#include "serialgate.h"

#include <avr/eeprom.h>
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include <avr/wdt.h>
#include <util/atomic.h>

enum { OUT_SIZE = 64, IN_SIZE = 64, RING_SIZE = 1100, TICKS_PER_MS = F_CPU / 64 / 1000 };
/* 117647 baud, as near as 16 MHz come to it: 2.1 % are well within what a UART takes. */
enum { UBRR_115200 = 16 };

static volatile uint32_t milliseconds;
static uint8_t out[OUT_SIZE], in[IN_SIZE];
static volatile uint8_t out_begin, out_end, in_begin, in_end;

ISR(TIMER0_COMPA_vect) { milliseconds++; }

ISR(USART_RX_vect) {
    const uint8_t byte = UDR0;
    const uint8_t next = (uint8_t)((in_end + 1) % IN_SIZE);
    if (next != in_begin) { /* or it is lost, and the frame with it, and sent again */
        in[in_end] = byte;
        in_end = next;
    }
}

ISR(USART_UDRE_vect) {
    if (out_begin == out_end) {
        UCSR0B &= (uint8_t)~_BV(UDRIE0);
    } else {
        UDR0 = out[out_begin];
        out_begin = (uint8_t)((out_begin + 1) % OUT_SIZE);
    }
}

static size_t put(void *context, const uint8_t *bytes, size_t size) {
    (void)context;
    size_t taken = 0;
    while (taken < size && (out_end + 1) % OUT_SIZE != out_begin) {
        out[out_end] = bytes[taken++];
        out_end = (uint8_t)((out_end + 1) % OUT_SIZE);
    }
    UCSR0B |= _BV(UDRIE0);
    return taken;
}

static uint32_t millis(void *context) {
    (void)context;
    uint32_t now;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE) { now = milliseconds; }
    return now;
}

static uint32_t interval = 1000;

static uint8_t command(void *context, sg_link *link, uint8_t number, const uint8_t *arguments, uint8_t size) {
    (void)context;
    (void)link;
    if (number == SG_REBOOT) {
        wdt_enable(WDTO_15MS);
        for (;;) {
        }
    }
    if (number != SG_INTERVAL) {
        return SG_UNKNOWN;
    }
    uint32_t wanted = 0;
    for (uint8_t i = 4; i-- > 0 && size >= 4;) {
        wanted = wanted << 8 | arguments[i];
    }
    if (wanted < 10) {
        return SG_REFUSED;
    }
    interval = wanted;
    return SG_OK;
}

/* Counts the boots. A chip whose EEPROM is erased begins anew, and then needs a new uid: a number must not
 * come twice. */
static uint32_t boot_number(void) {
    static uint32_t EEMEM stored;
    const uint32_t boot = eeprom_read_dword(&stored) + 1;
    eeprom_update_dword(&stored, boot);
    return boot;
}

static void begin_hardware(void) {
    MCUSR = 0;
    wdt_disable();
    TCCR0A = _BV(WGM01);
    TCCR0B = _BV(CS01) | _BV(CS00);
    OCR0A = TICKS_PER_MS - 1;
    TIMSK0 = _BV(OCIE0A);
    UBRR0 = UBRR_115200;
    UCSR0A = _BV(U2X0);
    UCSR0B = _BV(RXCIE0) | _BV(RXEN0) | _BV(TXEN0);
    ADMUX = _BV(REFS0);
    ADCSRA = _BV(ADEN) | _BV(ADPS2) | _BV(ADPS1) | _BV(ADPS0);
    sei();
}

static uint16_t measure(void) {
    ADCSRA |= _BV(ADSC);
    while ((ADCSRA & _BV(ADSC)) != 0) { /* a tenth of a millisecond */
    }
    return ADC;
}

int main(void) {
    static sg_link link;
    static uint8_t ring[RING_SIZE];
    static const uint8_t uid[] = {'a', 'v', 'r', '-', 'u', 'n', 'o', 1};
    static const sg_config config = {NULL, put, millis, NULL, command, uid, sizeof uid, "avr-uno 1.0"};
    static sg_channel number = {"n", "1", SG_FORMAT(SG_U32, 0), SG_COUNTER, 0, NULL};
    static sg_channel volts = {"volts", "V", SG_FORMAT(SG_I16, -2), SG_GAUGE, 0, NULL};
    begin_hardware();
    sg_begin(&link, &config, boot_number(), ring, sizeof ring);
    sg_add_channel(&link, &number);
    sg_add_channel(&link, &volts);
    uint32_t last = 0;
    int32_t made = 0;
    for (;;) {
        while (in_begin != in_end) {
            sg_receive(&link, in[in_begin]);
            in_begin = (uint8_t)((in_begin + 1) % IN_SIZE);
        }
        sg_poll(&link);
        if (millis(NULL) - last >= interval) {
            last += interval;
            sg_int(&link, &number, made++);
            sg_int(&link, &volts, (int32_t)(measure() * UINT32_C(500) / 1024));
            sg_end(&link);
        }
        sleep_mode(); /* until the next interrupt: a millisecond at most */
    }
}
