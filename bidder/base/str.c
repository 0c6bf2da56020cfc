#include "bidder/base/str.h"

struct str str_trim(struct str text)
{
    while (text.len && (text.ptr[0] == ' ' || text.ptr[0] == '\t')) {
        text.ptr++;
        text.len--;
    }
    while (text.len && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t')) {
        text.len--;
    }
    return text;
}

struct str str_cut(struct str *rest, char separator)
{
    const char *found = rest->len ? memchr(rest->ptr, separator, rest->len) : NULL;
    if (!found) {
        struct str all = *rest;
        *rest = STR_NONE;
        return all;
    }
    struct str head = {.ptr = rest->ptr, .len = (size_t)(found - rest->ptr)};
    rest->ptr = found + 1;
    rest->len -= head.len + 1;
    return head;
}

bool str_to_i64(struct str text, int64_t *value)
{
    size_t i = 0;
    bool negative = false;
    if (text.len && (text.ptr[0] == '-' || text.ptr[0] == '+')) {
        negative = text.ptr[0] == '-';
        i = 1;
    }
    if (i == text.len) {
        return false;
    }
    int64_t sum = 0; /* kept negative: its range holds INT64_MIN */
    for (; i < text.len; i++) {
        char c = text.ptr[i];
        if (c < '0' || c > '9' || __builtin_mul_overflow(sum, 10, &sum) ||
            __builtin_sub_overflow(sum, c - '0', &sum)) {
            return false;
        }
    }
    if (!negative && sum == INT64_MIN) {
        return false;
    }
    *value = negative ? sum : -sum;
    return true;
}

/* mantissa * 10^exponent, rounded half away from zero; false on overflow. mantissa >= 0. */
static bool scale_decimal(int64_t mantissa, int exponent, int64_t *out)
{
    for (; exponent > 0 && mantissa; exponent--) {
        if (__builtin_mul_overflow(mantissa, 10, &mantissa)) {
            return false;
        }
    }
    int64_t last_digit = 0;
    for (; exponent < 0 && (mantissa || last_digit); exponent++) {
        last_digit = mantissa % 10;
        mantissa /= 10;
    }
    *out = mantissa + (last_digit >= 5);
    return true;
}

bool str_to_micros(struct str text, int64_t *micros)
{
    size_t i = 0;
    bool negative = false;
    if (text.len && (text.ptr[0] == '-' || text.ptr[0] == '+')) {
        negative = text.ptr[0] == '-';
        i = 1;
    }
    int64_t mantissa = 0;
    int exponent = 6;
    int digits = 0;
    bool fraction = false;
    for (; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '.' && !fraction) {
            fraction = true;
            continue;
        }
        if (c < '0' || c > '9') {
            break;
        }
        digits++;
        if (mantissa > (INT64_MAX - 9) / 10) {
            if (!fraction) {
                return false;
            }
            continue; /* decimals beyond 18 digits do not reach the micro */
        }
        mantissa = mantissa * 10 + (c - '0');
        exponent -= fraction;
    }
    if (!digits) {
        return false;
    }
    if (i < text.len) { /* an exponent: 2.5e1 */
        int64_t power;
        if ((text.ptr[i] != 'e' && text.ptr[i] != 'E') ||
            !str_to_i64((struct str){text.ptr + i + 1, text.len - i - 1}, &power) || power > 40 ||
            power < -40) {
            return false;
        }
        exponent += (int)power;
    }
    int64_t value;
    if (!scale_decimal(mantissa, exponent, &value)) {
        return false;
    }
    *micros = negative ? -value : value;
    return true;
}

struct str str_of_i64(int64_t value, char out[STR_I64_BYTES])
{
    char *end = out + STR_I64_BYTES, *start = end;
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        *--start = (char)('0' + left % 10);
        left /= 10;
    } while (left);
    if (value < 0) {
        *--start = '-';
    }
    return (struct str){.ptr = start, .len = (size_t)(end - start)};
}
