/* A strict JSON reader (RFC 8259): one pass over the text, nothing allocated but the strings that
 * hold escapes, which are unescaped into the caller's arena. The caller pulls:
 *
 *     struct json_reader r;
 *     json_reader_init(&r, text, arena, 32);
 *     struct str key;
 *     json_object_begin(&r);
 *     while (json_object_next(&r, &key)) {
 *         ... exactly one of: a json_read_x, json_skip, or begin + loop of an inner value
 *     }
 *     if (!json_finish(&r)) { r.error, r.error_offset }
 *
 * The first error sticks: from then on everything answers false, so loops end by themselves and
 * only json_finish need be asked. Strict means: valid UTF-8 without BOM, no control byte in a
 * string, no lone surrogate escape, numbers by the grammar, nothing behind the value. Duplicate
 * keys are passed on; which one counts is the caller's rule. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/arena.h"
#include "bidder/base/buf.h"
#include "bidder/base/str.h"

enum json_type {
    JSON_INVALID, /* the end, an error, or a byte no value starts with */
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
    JSON_TYPE_COUNT
};

enum json_error {
    JSON_OK = 0,
    JSON_ERROR_END,       /* the text ends inside a value */
    JSON_ERROR_SYNTAX,    /* a byte that cannot stand here */
    JSON_ERROR_LITERAL,   /* neither true, false nor null */
    JSON_ERROR_NUMBER,    /* 01, 1., .5, +1, 1e */
    JSON_ERROR_CONTROL,   /* a byte below 0x20 in a string */
    JSON_ERROR_ESCAPE,    /* \x, \u12 */
    JSON_ERROR_SURROGATE, /* half of a \uD800 pair */
    JSON_ERROR_UTF8,      /* not UTF-8, overlong, surrogate or beyond U+10FFFF */
    JSON_ERROR_DEPTH,     /* nested deeper than the caller allows */
    JSON_ERROR_TRAILING,  /* something stands behind the value */
    JSON_ERROR_TYPE,      /* the caller asked for another type than stands here */
    JSON_ERROR_MEMORY,    /* the arena is full */
    JSON_ERROR_COUNT
};

struct json_reader {
    const char *begin; /* borrowed: strings returned are views into it */
    const char *at;
    const char *end;
    struct arena *arena; /* borrowed; for strings with escapes */
    uint32_t depth;
    uint32_t max_depth;
    bool fresh; /* just behind a [ or {: no comma before the next member */
    enum json_error error;
    size_t error_offset;
};

/* text and arena must outlive the reader and what it returns. */
void json_reader_init(struct json_reader *r, struct str text, struct arena *arena,
                      uint32_t max_depth);

/* By the first byte of a value: an enum json_type. */
extern const uint8_t json_type_of[256];

static inline void json_skip_space(struct json_reader *r)
{
    const char *at = r->at;
    while (at < r->end && (unsigned char)*at <= ' ' &&
           (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) {
        at++;
    }
    r->at = at;
}

/* What stands next. JSON_INVALID does not set the error: the read that follows does. */
static inline enum json_type json_peek(struct json_reader *r)
{
    json_skip_space(r);
    return r->at == r->end ? JSON_INVALID : (enum json_type)json_type_of[(unsigned char)*r->at];
}

/* Offset of the value that stands next. */
size_t json_offset(struct json_reader *r);

/* Enter an object, then once per member; the value must be consumed before the next call.
 * json_object_next is false behind the last member (the } is consumed) and on errors. */
bool json_object_begin(struct json_reader *r);
bool json_object_next(struct json_reader *r, struct str *key);
/* Where the key just returned by json_object_next starts (its quote) is in *offset. */
bool json_object_next_at(struct json_reader *r, struct str *key, size_t *offset);
bool json_array_begin(struct json_reader *r);
bool json_array_next(struct json_reader *r);

/* *value is a view into the text when nothing was escaped, else into the arena. It may hold NUL
 * bytes (\u0000). */
bool json_read_string(struct json_reader *r, struct str *value);
/* The number's text, checked against the grammar. */
bool json_read_number(struct json_reader *r, struct str *text);
bool json_read_bool(struct json_reader *r, bool *value);
bool json_read_null(struct json_reader *r);
/* Consumes one value of any type, fully checked. */
bool json_skip(struct json_reader *r);

/* The same by value, ptr NULL for false: for the request path, where a view that goes through
 * memory in two halves and is copied as a whole costs a stalled load. */
struct str json_take_key(struct json_reader *r);
struct str json_take_string(struct json_reader *r);
struct str json_take_number(struct json_reader *r);

/* Only white space may be left. Says whether the whole text was valid. */
bool json_finish(struct json_reader *r);

/* Sets the error for a reason of the caller's, at the present offset, unless there is one. */
void json_fail(struct json_reader *r, enum json_error error);

/* snake_case, for metrics; and a half sentence for people ("a control byte in a string"). */
const char *json_error_name(enum json_error error);
const char *json_error_text(enum json_error error);

/* --- numbers ------------------------------------------------------------------------------- */

/* True when the whole text follows JSON's grammar of a number. */
bool json_number_valid(struct str text);

/* Of a valid number's text. Exact decimal arithmetic without floats; what does not fit saturates.
 * Integers cut the fraction off (toward zero); micros round half away from zero. */
int64_t json_number_to_i64(struct str number);
int32_t json_number_to_i32(struct str number);
int64_t json_number_to_micros(struct str number);

/* --- places -------------------------------------------------------------------------------- */

/* Line and column of an offset, both from 1; a column is a byte. */
void json_position(struct str text, size_t offset, uint32_t *line, uint32_t *column);
/* Appends "/key" of a JSON pointer (RFC 6901: ~ and / escaped). */
void json_pointer_put(struct buf *pointer, struct str key);
