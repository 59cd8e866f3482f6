/* Whole numbers: in and out of the bytes of an item. */

#include "sg_internal.h"

/* Bytes of a value of this type; texts and bytes are told by the byte before them. */
uint8_t sg_type_size(uint8_t format) {
    switch (format >> 4) {
    case SG_I8:
    case SG_U8:
        return 1;
    case SG_I16:
    case SG_U16:
        return 2;
    case SG_I32:
    case SG_U32:
    case SG_F32:
        return 4;
    case SG_I64:
    case SG_U64:
    case SG_F64:
        return 8;
    default:
        return 0;
    }
}

static bool is_unsigned(uint8_t format) { return format >> 4 >= SG_U8; }

static bool is_whole(uint8_t format) { return format >> 4 >= SG_I8 && format >> 4 <= SG_U64; }

uint8_t sg_int_bytes(uint8_t format, int32_t value, uint8_t *to) {
    const uint8_t size = sg_type_size(format);
    if (!is_whole(format) || (value < 0 && is_unsigned(format))) {
        return 0;
    }
    if (size < 4) {
        const int32_t limit = (int32_t)1 << (8 * size - (is_unsigned(format) ? 0 : 1));
        if (value >= limit || value < -limit) {
            return 0;
        }
    }
    uint32_t bits = (uint32_t)value;
    for (uint8_t i = 0; i < size; i++) {
        if (i == 4) {
            bits = value < 0 ? UINT32_MAX : 0;
        }
        to[i] = (uint8_t)bits;
        bits >>= 8;
    }
    return size;
}

bool sg_item_int(const sg_item *item, int8_t exponent, int32_t *value) {
    if (!is_whole(item->format) || item->size == 0) {
        return false;
    }
    const bool negative = !is_unsigned(item->format) && (item->bytes[item->size - 1] & 0x80) != 0;
    const uint8_t fill = negative ? 0xFF : 0;
    uint32_t bits = 0;
    for (uint8_t i = 0; i < 4 || i < item->size; i++) {
        const uint8_t byte = i < item->size ? item->bytes[i] : fill;
        if (i < 4) {
            bits |= (uint32_t)byte << (8 * i);
        } else if (byte != fill) {
            return false;
        }
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
