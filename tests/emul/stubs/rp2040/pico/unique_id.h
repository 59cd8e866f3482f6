#pragma once
#include <stdint.h>
#include <string.h>

#define PICO_UNIQUE_BOARD_ID_SIZE_BYTES 8

typedef struct {
    uint8_t id[PICO_UNIQUE_BOARD_ID_SIZE_BYTES];
} pico_unique_board_id_t;

inline void pico_get_unique_board_id(pico_unique_board_id_t *to) { memcpy(to->id, "\xE6\x60\x58\x38\x83\x11\x22\x33", 8); }
