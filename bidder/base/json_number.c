/* JSON numbers into integers, exactly; names, places. See json.h. */
#include "bidder/base/json.h"

/* A number's text as sign * (mantissa + a rest below 1) * 10^exponent. */
struct decimal {
    uint64_t mantissa; /* the first 19 significant digits at most */
    int64_t exponent;
    bool negative;
    bool rest_rounds_up; /* the first digit that found no room is 5 or more */
};

#define MAX_DIGITS 19

static struct decimal decimal_of(struct str number)
{
    struct decimal d = {0};
    size_t i = 0;
    int digits = 0;
    bool fraction = false, dropped = false;
    if (number.len && number.ptr[0] == '-') {
        d.negative = true;
        i = 1;
    }
    for (; i < number.len; i++) {
        char c = number.ptr[i];
        if (c == '.') {
            fraction = true;
            continue;
        }
        if (c < '0' || c > '9') {
            break;
        }
        if (digits < MAX_DIGITS) {
            d.mantissa = d.mantissa * 10 + (uint64_t)(c - '0');
            digits += d.mantissa != 0;
            d.exponent -= fraction;
            continue;
        }
        d.exponent += !fraction;
        d.rest_rounds_up |= !dropped && c >= '5';
        dropped = true;
    }
    if (i == number.len) {
        return d;
    }
    bool negative = false;
    int64_t power = 0;
    for (i++; i < number.len; i++) { /* behind the e */
        char c = number.ptr[i];
        if (c == '-' || c == '+') {
            negative = c == '-';
        } else if (power < INT32_MAX) { /* far beyond any body's length: no digit is missed */
            power = power * 10 + (c - '0');
        }
    }
    d.exponent += negative ? -power : power;
    return d;
}

/* The decimal times 10^shift as an integer. */
static int64_t scale(struct decimal d, int shift, bool round)
{
    int64_t limit = d.negative ? INT64_MIN : INT64_MAX;
    if (!d.mantissa) {
        return 0;
    }
    int64_t exponent = d.exponent + shift;
    bool up = d.rest_rounds_up; /* counts only when no digit of the mantissa is cut below */
    for (; exponent > 0; exponent--) {
        if (d.mantissa > (uint64_t)INT64_MAX / 10) {
            return limit;
        }
        d.mantissa *= 10;
    }
    for (; exponent < 0; exponent++) {
        if (!d.mantissa) { /* one more division than digits: nothing is left to round */
            return 0;
        }
        up = d.mantissa % 10 >= 5;
        d.mantissa /= 10;
    }
    d.mantissa += round && up;
    if (d.mantissa > (uint64_t)INT64_MAX) {
        return limit;
    }
    return d.negative ? -(int64_t)d.mantissa : (int64_t)d.mantissa;
}

int64_t json_number_to_i64(struct str number)
{
    /* Nearly all numbers on the wire: a few digits, no sign. */
    if (number.len <= 9) {
        int64_t value = 0;
        size_t i = 0;
        while (i < number.len && (unsigned)(number.ptr[i] - '0') <= 9) {
            value = value * 10 + (number.ptr[i] - '0');
            i++;
        }
        if (i == number.len) {
            return value;
        }
    }
    return scale(decimal_of(number), 0, false);
}

int32_t json_number_to_i32(struct str number)
{
    int64_t value = json_number_to_i64(number);
    return value > INT32_MAX ? INT32_MAX : value < INT32_MIN ? INT32_MIN : (int32_t)value;
}

int64_t json_number_to_micros(struct str number)
{
    return scale(decimal_of(number), 6, true);
}

/* --- names and places ---------------------------------------------------------------------- */

const char *json_error_name(enum json_error error)
{
    static const char *const names[JSON_ERROR_COUNT] = {
        "ok",        "end",  "syntax", "literal",  "number", "control", "escape",
        "surrogate", "utf8", "depth",  "trailing", "type",   "memory"};
    return (unsigned)error < JSON_ERROR_COUNT ? names[error] : "?";
}

const char *json_error_text(enum json_error error)
{
    static const char *const texts[JSON_ERROR_COUNT] = {
        "no error",
        "the text ends too early",
        "a character that cannot stand here",
        "neither true, false nor null",
        "not a number as JSON writes them",
        "a control character in a string",
        "an unknown escape in a string",
        "half of a surrogate pair in a string",
        "not valid UTF-8",
        "nested too deeply",
        "something stands behind the end of the document",
        "a value of another type was expected",
        "too large for the memory set aside"};
    return (unsigned)error < JSON_ERROR_COUNT ? texts[error] : "?";
}

void json_position(struct str text, size_t offset, uint32_t *line, uint32_t *column)
{
    *line = 1;
    *column = 1;
    for (size_t i = 0; i < offset && i < text.len; i++) {
        ++*column;
        if (text.ptr[i] == '\n') {
            ++*line;
            *column = 1;
        }
    }
}

void json_pointer_put(struct buf *pointer, struct str key)
{
    buf_put_char(pointer, '/');
    for (size_t i = 0; i < key.len; i++) {
        if (key.ptr[i] == '~') {
            BUF_PUT_LITERAL(pointer, "~0");
        } else if (key.ptr[i] == '/') {
            BUF_PUT_LITERAL(pointer, "~1");
        } else {
            buf_put_char(pointer, key.ptr[i]);
        }
    }
}
