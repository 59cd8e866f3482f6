#pragma once
#include <stdint.h>

inline uint32_t esp_random(void) { return 0x12345678; }
