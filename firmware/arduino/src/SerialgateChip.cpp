#include "SerialgateChip.h"

#include <Arduino.h>
#include <string.h>

#include "core/serialgate.h"

#if defined(__AVR__)

#include <avr/boot.h>
#include <avr/eeprom.h>
#include <avr/pgmspace.h>
#include <avr/wdt.h>

/* The last 16 bytes of the EEPROM: a boot number and a chip id, each with two bytes of its CRC. */
enum { ID_SIZE = 8, CHECK_SIZE = 2, BOOT_AT = E2END + 1 - 16, ID_AT = BOOT_AT + 4 + CHECK_SIZE };

/* Not the bare CRC: that of erased memory is erased memory. */
static uint16_t check(const void *bytes, uint8_t size) {
    return static_cast<uint16_t>(sg_crc(0, bytes, size) ^ 0x5347);
}

static bool load(uint16_t at, void *to, uint8_t size) {
    uint16_t found;
    eeprom_read_block(to, reinterpret_cast<const void *>(at), size);
    eeprom_read_block(&found, reinterpret_cast<const void *>(at + size), sizeof found);
    return found == check(to, size);
}

static void store(uint16_t at, const void *from, uint8_t size) {
    const uint16_t with = check(from, size);
    eeprom_update_block(from, reinterpret_cast<void *>(at), size);
    eeprom_update_block(&with, reinterpret_cast<void *>(at + size), sizeof with);
}

/* What the RAM holds after power-on differs from chip to chip and from time to time. */
static uint32_t chance(uint32_t so_far) {
    const uint32_t noise = static_cast<uint32_t>(analogRead(A0)) << 16 ^ micros();
    so_far = sg_crc(so_far, &noise, sizeof noise);
    return sg_crc(so_far, reinterpret_cast<const void *>(RAMSTART), RAMEND + 1 - RAMSTART);
}

#ifdef SIGRD
/* Lot, wafer and place on it. False: the chip has none. */
static bool signature(uint8_t *to) {
    enum { FIRST = 0x0E };
    bool real = false;
    for (uint8_t i = 0; i < ID_SIZE + 2; i++) {
        to[i] = boot_signature_byte_get(FIRST + i);
        /* Where it cannot be read, one of these comes instead. */
        real = real || (to[i] != 0xFF && to[i] != 0 && to[i] != pgm_read_byte(FIRST + i));
    }
    return real;
}
#endif

uint8_t serialgateChipId(uint8_t *to, uint8_t size) {
#ifdef SIGRD
    if (size >= ID_SIZE + 2 && signature(to)) {
        return ID_SIZE + 2;
    }
#else
    (void)size;
#endif
    if (!load(ID_AT, to, ID_SIZE)) {
        uint32_t random = 0;
        for (uint8_t i = 0; i < ID_SIZE; i += sizeof random) {
            random = chance(random);
            memcpy(to + i, &random, sizeof random);
        }
        store(ID_AT, to, ID_SIZE);
    }
    return ID_SIZE;
}

uint32_t serialgateBootNumber() {
    uint32_t boot;
    boot = load(BOOT_AT, &boot, sizeof boot) ? boot + 1 : chance(0);
    store(BOOT_AT, &boot, sizeof boot);
    return boot;
}

void serialgateReboot() {
    wdt_enable(WDTO_15MS);
    for (;;) {
    }
}

/* A watchdog that reset the chip is still on. Most bootloaders switch it off; a chip without one does it
 * here, before main(). */
void serialgateWatchdogOff() __attribute__((naked, used, section(".init3")));

void serialgateWatchdogOff() {
    if ((MCUSR & _BV(WDRF)) != 0) {
        MCUSR &= static_cast<uint8_t>(~_BV(WDRF));
        wdt_disable();
    }
}

#else

static uint8_t idFrom(const void *bytes, uint8_t size, uint8_t *to, uint8_t most) {
    if (size > most) {
        size = most;
    }
    memcpy(to, bytes, size);
    return size;
}

#if defined(ESP32)

#include <esp_mac.h>
#include <esp_random.h>

uint8_t serialgateChipId(uint8_t *to, uint8_t size) {
    uint8_t mac[6];
    esp_efuse_mac_get_default(mac);
    return idFrom(mac, sizeof mac, to, size);
}

uint32_t serialgateBootNumber() { return esp_random(); }

void serialgateReboot() { ESP.restart(); }

#elif defined(ESP8266)

uint8_t serialgateChipId(uint8_t *to, uint8_t size) {
    const uint32_t id[2] = {ESP.getChipId(), ESP.getFlashChipId()};
    return idFrom(id, sizeof id, to, size);
}

uint32_t serialgateBootNumber() { return ESP.random(); }

void serialgateReboot() { ESP.restart(); }

#elif defined(ARDUINO_ARCH_RP2040) && !defined(ARDUINO_ARCH_MBED)

#include <pico/unique_id.h>

uint8_t serialgateChipId(uint8_t *to, uint8_t size) {
    pico_unique_board_id_t id;
    pico_get_unique_board_id(&id);
    return idFrom(id.id, sizeof id.id, to, size);
}

uint32_t serialgateBootNumber() { return rp2040.hwrand32(); }

void serialgateReboot() { rp2040.reboot(); }

#else

#if defined(UID_BASE)
/* STM32: 96 bits. */
uint8_t serialgateChipId(uint8_t *to, uint8_t size) {
    return idFrom(reinterpret_cast<const void *>(UID_BASE), 12, to, size);
}
#else
/* No number that is known here: link.setUid() gives one. All boards without would be one device. */
uint8_t serialgateChipId(uint8_t *to, uint8_t size) { return idFrom("unnamed", 7, to, size); }
#endif

/* No source of chance that is common to all of these: noise of an open input, and how long the start
 * took. link.setBoot() does better. */
uint32_t serialgateBootNumber() {
    uint32_t random = 0;
    for (uint8_t i = 0; i < 32; i++) {
        const uint32_t noise = static_cast<uint32_t>(analogRead(A0)) << 20 ^ micros();
        random = sg_crc(random, &noise, sizeof noise);
    }
    return random;
}

void serialgateReboot() {
#if defined(__arm__)
    NVIC_SystemReset();
#endif
}

#endif

#endif
