#pragma once
#include <stdint.h>
#include <string.h>

typedef int esp_err_t;

inline esp_err_t esp_efuse_mac_get_default(uint8_t *mac) {
    memcpy(mac, "\x24\x0A\xC4\x01\x02\x03", 6);
    return 0;
}
