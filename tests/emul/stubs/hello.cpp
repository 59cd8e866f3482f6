/*
 * What a board of each chip says first: its bytes go to standard output.
 */

#include <Arduino.h>
#include <Serialgate.h>

#include <stdio.h>

HardwareSerial Serial, Serial1;
#if defined(ESP8266) || defined(ESP32)
EspClass ESP;
#endif
#if defined(ARDUINO_ARCH_RP2040) && !defined(ARDUINO_ARCH_MBED)
RP2040 rp2040;
#endif
#ifdef ARDUINO_ARCH_STM32
const uint32_t stubUid[3] = {0x00010203, 0x04050607, 0x08090A0B};
#endif

static uint32_t now;

uint32_t stubMillis() { return now; }

size_t HardwareSerial::write(const uint8_t *bytes, size_t size) { return fwrite(bytes, 1, size, stdout); }

SERIALGATE_NOINIT uint8_t memory[200];
SerialgateRam kept(memory, sizeof memory);
Serialgate<0> link(Serial, "stub 1.0");
SerialgateChannel temp(link, "temp", "Cel", 2);

int main() {
    link.begin(kept);
    for (; now < 100; now++) {
        link.poll();
        if (now == 50) {
            temp.send(23.45);
        }
    }
}
