/*
 * As much of an Arduino core as the library uses, for a compiler of this machine: so that what the
 * library says for chips whose core is not at hand is read by a compiler at all. The names and types are
 * those of the cores; what they do here is not what a board does.
 */
#ifndef ARDUINO_H
#define ARDUINO_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { LOW = 0, HIGH = 1, INPUT = 0, OUTPUT = 1, INPUT_PULLUP = 2, CHANGE = 1, FALLING = 2, RISING = 3 };
enum { A0 = 14, A1, LED_BUILTIN = 13 };

typedef bool boolean;
typedef uint8_t byte;

#define F(text) (reinterpret_cast<const __FlashStringHelper *>(text))
#define PGM_P const char *
#define PSTR(text) (text)
#define strncpy_P strncpy
class __FlashStringHelper;

uint32_t stubMillis();
inline unsigned long millis() { return stubMillis(); }
inline unsigned long micros() { return 1000UL * stubMillis(); }
inline void pinMode(uint8_t, uint8_t) {}
inline void digitalWrite(uint8_t, uint8_t) {}
inline int digitalRead(uint8_t) { return LOW; }
inline int analogRead(uint8_t) { return 512; }
inline int digitalPinToInterrupt(int pin) { return pin; }
inline void attachInterrupt(uint8_t, void (*)(), int) {}
inline void noInterrupts() {}
inline void interrupts() {}
inline long map(long x, long from, long to, long low, long high) { return (x - from) * (high - low) / (to - from) + low; }

class Print {
  public:
    virtual ~Print() {}
    virtual size_t write(uint8_t byte) = 0;
    virtual size_t write(const uint8_t *bytes, size_t size) = 0;
    virtual int availableForWrite() { return 0; }
    virtual void flush() {}
    size_t println(const char *text) { return write(reinterpret_cast<const uint8_t *>(text), strlen(text)); }
};

class Stream : public Print {
  public:
    virtual int available() = 0;
    virtual int read() = 0;
    virtual int peek() = 0;
};

class HardwareSerial : public Stream {
  public:
    void begin(unsigned long) {}
    size_t write(uint8_t byte) override { return write(&byte, 1); }
    size_t write(const uint8_t *bytes, size_t size) override;
    int availableForWrite() override { return 128; }
    int available() override { return 0; }
    int read() override { return -1; }
    int peek() override { return -1; }
};

extern HardwareSerial Serial, Serial1;

#if defined(ESP8266) || defined(ESP32)
class EspClass {
  public:
    void restart() {}
#ifdef ESP8266
    uint32_t getChipId() { return 0x00C0FFEE; }
    uint32_t getFlashChipId() { return 0x001640EF; }
    uint32_t random() { return 0x12345678; }
#endif
};
extern EspClass ESP;
#endif

#ifdef ESP32
#define RTC_NOINIT_ATTR __attribute__((section(".rtc_noinit")))
#endif

#if defined(ARDUINO_ARCH_RP2040) && !defined(ARDUINO_ARCH_MBED)
class RP2040 {
  public:
    void reboot() {}
    uint32_t hwrand32() { return 0x12345678; }
};
extern RP2040 rp2040;
#endif

#ifdef ARDUINO_ARCH_STM32
/* Where the chip's own number is: here, 96 bits of ours. */
extern const uint32_t stubUid[3];
#define UID_BASE reinterpret_cast<uintptr_t>(stubUid)
#endif

#ifdef __arm__
inline void NVIC_SystemReset() {}
#endif

#endif
