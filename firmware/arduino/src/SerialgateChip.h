/* What differs from chip to chip. Not for sketches. */
#ifndef SERIALGATE_CHIP_H
#define SERIALGATE_CHIP_H

#include <stdint.h>

/* A number that this chip alone has, of at most `size` bytes; how many they are. */
uint8_t serialgateChipId(uint8_t *to, uint8_t size);

/* A number that no boot before had: counted where there is EEPROM, else at random. */
uint32_t serialgateBootNumber();

/* Reboots, where the chip can. */
void serialgateReboot();

#endif
