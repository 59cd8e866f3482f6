/* Whole numbers: in and out of the bytes of an item. */

#include "sg_internal.h"

/* Bytes of a value of this type; texts and bytes are told by the byte before them. */
uint8_t sg_type_size(uint8_t format) {
    const uint8_t type = format >> 4;
    if (type < SG_I8 || type > SG_F64) {
        return 0;
    }
    if (type >= SG_F32) {
        return type == SG_F32 ? 4 : 8;
    }
    /* 1, 2, 4, 8, with a sign and without. */
    return (uint8_t)(1U << ((type - SG_I8) & 3));
}

static bool is_unsigned(uint8_t format) { return format >> 4 >= SG_U8; }

static bool is_whole(uint8_t format) { return format >> 4 >= SG_I8 && format >> 4 <= SG_U64; }

uint8_t sg_int_bytes(uint8_t format, int32_t value, uint8_t *to) {
    if (!is_whole(format)) {
        return 0;
    }
    const uint8_t sign = value < 0 ? 0xFF : 0;
    uint32_t bits = (uint32_t)value;
    for (uint8_t i = 0; i < 8; i++) {
        to[i] = i < 4 ? (uint8_t)bits : sign;
        bits >>= 8;
    }
    /* What is left out must repeat the sign that is left. */
    const uint8_t size = sg_type_size(format);
    const uint8_t fill = !is_unsigned(format) && (to[size - 1] & 0x80) != 0 ? 0xFF : 0;
    for (uint8_t i = size; i < 8; i++) {
        if (to[i] != fill) {
            return 0;
        }
    }
    return sign == fill ? size : 0;
}

bool sg_item_int(const sg_item *item, int8_t exponent, int32_t *value) {
    if (item->format >> 4 == SG_BOOL && (item->format & 0x0E) == 0) {
        *value = item->format & 1;
        return true;
    }
    if (!is_whole(item->format)) {
        return false;
    }
    const bool negative = !is_unsigned(item->format) && (item->bytes[item->size - 1] & 0x80) != 0;
    const uint8_t fill = negative ? 0xFF : 0;
    uint32_t bits = negative ? UINT32_MAX : 0;
    for (uint8_t i = item->size; i-- > 0;) {
        if (i >= 4 && item->bytes[i] != fill) {
            return false;
        }
        bits = bits << 8 | item->bytes[i];
    }
    if (((bits & UINT32_C(0x80000000)) != 0) != negative) {
        return false;
    }
    int32_t number = negative ? -(int32_t)~bits - 1 : (int32_t)bits;
    const int8_t from = (int8_t)((item->format & 0x08) != 0 ? (item->format & 0x0F) - 16 : item->format & 0x0F);
    for (int8_t power = from; power > exponent && number != 0; power--) {
        if (number > INT32_MAX / 10 || number < INT32_MIN / 10) {
            return false;
        }
        number *= 10;
    }
    for (int8_t power = from; power < exponent && number != 0; power++) {
        number /= 10;
    }
    *value = number;
    return true;
}
