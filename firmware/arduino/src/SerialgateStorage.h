/*
 * Memory in which readings outlive a reset of the board:
 *
 *   SERIALGATE_NOINIT uint8_t memory[500];
 *   SerialgateRam kept(memory, sizeof memory);
 *   Serialgate<0> link(Serial, "meter 1.0");
 *   ... link.begin(kept);
 *
 * | class            | survives         | a reading costs                                     |
 * | SerialgateRam    | reset            | nothing                                             |
 * | SerialgateFram   | loss of power    | two transfers over the bus                          |
 * | SerialgateEeprom | loss of power    | some 40 bytes written at 3.3 ms each, in which      |
 * |                  |                  | nothing else happens; a cell bears 100,000 of them  |
 */
#ifndef SERIALGATE_STORAGE_H
#define SERIALGATE_STORAGE_H

#include <Arduino.h>

#include "core/serialgate.h"

class SerialgateStorage {
  protected:
    explicit SerialgateStorage(uint16_t size);

  private:
    friend class SerialgateLink;

    virtual void load(uint16_t at, uint8_t *to, uint8_t size) = 0;
    virtual void store(uint16_t at, const uint8_t *from, uint8_t size) = 0;

    sg_storage storage_;
};

/* RAM that the start-up code leaves alone. After a loss of power its content is found to be damaged, and
 * is not used. */
#if defined(ESP32)
#define SERIALGATE_NOINIT RTC_NOINIT_ATTR
#elif defined(ARDUINO_ARCH_RP2040) && !defined(ARDUINO_ARCH_MBED)
#define SERIALGATE_NOINIT __attribute__((section(".uninitialized_data.serialgate")))
#else
#define SERIALGATE_NOINIT __attribute__((section(".noinit")))
#endif

class SerialgateRam : public SerialgateStorage {
  public:
    SerialgateRam(uint8_t *memory, uint16_t size) : SerialgateStorage(size), memory_(memory) {}

  private:
    void load(uint16_t at, uint8_t *to, uint8_t size) override { memcpy(to, memory_ + at, size); }
    void store(uint16_t at, const uint8_t *from, uint8_t size) override { memcpy(memory_ + at, from, size); }

    uint8_t *memory_;
};

/* Any other memory, by two functions of the sketch's: FRAM, MRAM, battery-backed RAM. */
class SerialgateFram : public SerialgateStorage {
  public:
    typedef void (*Reader)(uint16_t at, uint8_t *to, uint8_t size);
    typedef void (*Writer)(uint16_t at, const uint8_t *from, uint8_t size);

    SerialgateFram(Reader reader, Writer writer, uint16_t size)
        : SerialgateStorage(size), reader_(reader), writer_(writer) {}

  private:
    void load(uint16_t at, uint8_t *to, uint8_t size) override { reader_(at, to, size); }
    void store(uint16_t at, const uint8_t *from, uint8_t size) override { writer_(at, from, size); }

    Reader reader_;
    Writer writer_;
};

#ifdef __AVR__
#include <avr/eeprom.h>

/* The chip's own EEPROM, from `first` on. Its last 16 bytes hold the board's number and its boots. */
class SerialgateEeprom : public SerialgateStorage {
  public:
    explicit SerialgateEeprom(uint16_t first = 0, uint16_t size = E2END + 1 - 16)
        : SerialgateStorage(size), first_(first) {}

  private:
    void load(uint16_t at, uint8_t *to, uint8_t size) override {
        eeprom_read_block(to, reinterpret_cast<const void *>(first_ + at), size);
    }
    void store(uint16_t at, const uint8_t *from, uint8_t size) override {
        eeprom_update_block(from, reinterpret_cast<void *>(first_ + at), size);
    }

    uint16_t first_;
};
#endif

#endif
