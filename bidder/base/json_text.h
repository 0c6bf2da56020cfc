/* The request path's way through a JSON object: the grammar of json.h, as strict, in about half the
 * time. Three reasons for that:
 * - The ends of strings are known beforehand (json_index.h): nothing is searched, and the processor
 *   need not wait for the end of one string to start on the next.
 * - The text is taken to end with its last closer, } or ]. Every loop stops there at the latest, so
 *   only leaving a container asks whether the text goes on.
 * - The place in the text is a pointer passed and returned, not a field in memory.
 *
 *     struct json_text text;
 *     const char *at = json_text_begin(&text, body, arena, 32);
 *     if (*at == '{') {
 *         for (bool more = json_text_first(&text, &at, '}'); more;
 *              more = json_text_next(&text, &at, '}')) {
 *             struct str key;
 *             at = json_text_key(&text, at, &key);
 *             at = ... one value: json_text_skip(&text, at), or an inner loop like this one
 *         }
 *     }
 *     if (!json_text_finish(&text, at)) { text.error }
 *
 * A read is given the value's first byte and returns what stands behind the value. As with json.h
 * the first error sticks: from then on reads return a place where nothing stands, so that loops end
 * by themselves. What is rare (escapes, UTF-8, long numbers) is left to json.h. */
#pragma once

#include "bidder/base/bug.h"
#include "bidder/base/json.h"
#include "bidder/base/json_index.h"

#define JSON_TEXT_WIDE 16

struct json_text {
    const char *begin;  /* borrowed: strings returned are views into it */
    const char *end;    /* behind the last closer */
    size_t wide_places; /* from begin on: there JSON_TEXT_WIDE bytes can be read */
    struct str whole;
    const uint32_t *special; /* into index: nothing before it is at or behind the present place */
    struct arena *arena;     /* borrowed; for strings with escapes */
    uint32_t depth;
    uint32_t max_depth;
    enum json_error error;
    struct json_index index; /* from wherever it was last filled on */
};

/* The first byte of the value; of nothing when it is not an object. whole and arena must outlive
 * what is returned; *t needs no initialisation. */
const char *json_text_begin(struct json_text *t, struct str whole, struct arena *arena,
                            uint32_t max_depth);

/* Sets the error unless there is one; returns a place where nothing stands (a NUL byte). */
const char *json_text_fail(struct json_text *t, enum json_error error);

/* Whether the object was all there was, and valid. at: what reading it returned, or what
 * json_text_begin did when that was no object. */
bool json_text_finish(struct json_text *t, const char *at);

static inline enum json_type json_text_peek(const char *at)
{
    return (enum json_type)json_type_of[(unsigned char)*at];
}

/* Behind the white space at `at`. */
const char *json_text_space_run(const struct json_text *t, const char *at);

static inline const char *json_text_space(const struct json_text *t, const char *at)
{
    return LIKELY((unsigned char)*at > ' ') ? at : json_text_space_run(t, at);
}

/* Whether the text has JSON_TEXT_WIDE bytes at `at`, which may also lie outside of it. */
static inline bool json_text_holds_wide(const struct json_text *t, const char *at)
{
    return (uintptr_t)at - (uintptr_t)t->begin < t->wide_places;
}

/* --- containers ---------------------------------------------------------------------------- */

static inline bool json_text_leave(struct json_text *t, const char **at)
{
    ++*at;
    if (UNLIKELY(--t->depth && *at == t->end)) {
        *at = json_text_fail(t, JSON_ERROR_END);
    }
    return false;
}

/* Into the object or array that stands at *at (the opener is the caller's to check). True when it
 * has a member: it starts at *at. closer: } or ]. */
static inline bool json_text_first(struct json_text *t, const char **at, char closer)
{
    if (UNLIKELY(t->depth == t->max_depth)) {
        *at = json_text_fail(t, JSON_ERROR_DEPTH);
        return false;
    }
    t->depth++;
    *at = json_text_space(t, *at + 1);
    return **at != closer || json_text_leave(t, at);
}

/* Behind a member: true when another must start at *at (in objects: there or behind white space,
 * as json_text_key takes it). */
static inline bool json_text_next(struct json_text *t, const char **at, char closer)
{
    const char *here = *at;
    if (UNLIKELY(*here != ',')) {
        *at = here = json_text_space(t, here);
    }
    if (LIKELY(*here == ',')) {
        *at = closer == '}' ? here + 1 : json_text_space(t, here + 1);
        return true;
    }
    if (LIKELY(*here == closer)) {
        return json_text_leave(t, at);
    }
    *at = json_text_fail(t, JSON_ERROR_SYNTAX);
    return false;
}

/* --- strings and keys ---------------------------------------------------------------------- */

/* The string whose end the index does not say at once. */
const char *json_text_string_slow(struct json_text *t, const char *at, struct str *text);

/* The string whose quote stands at `at`; ptr NULL on errors. text NULL: it is not wanted. */
static inline __attribute__((always_inline)) const char *
json_text_string(struct json_text *t, const char *at, struct str *text)
{
    const uint32_t *special = t->special;
    uint32_t offset = (uint32_t)(at - t->begin);
    while (UNLIKELY(*special < offset)) { /* line ends between strings */
        special++;
    }
    /* Now *special is our quote, and the next one our closing quote, unless the string holds
     * something to look at, or the index was not filled that far: then it is no quote at all. */
    uint32_t close = special[1];
    if (LIKELY(t->begin[close] == '"')) {
        t->special = special + 2;
        if (text) {
            *text = (struct str){.ptr = at + 1, .len = close - offset - 1};
        }
        return t->begin + close + 1;
    }
    struct str slow; /* not the caller's, which would then have to lie in memory */
    at = json_text_string_slow(t, at, text ? &slow : NULL);
    if (text) {
        *text = slow;
    }
    return at;
}

/* The key at `at` and its colon; returns where the value stands. ptr NULL on errors. key NULL: it is
 * not wanted. */
static inline __attribute__((always_inline)) const char *
json_text_key(struct json_text *t, const char *at, struct str *key)
{
    at = LIKELY(*at == '"') ? at : json_text_space(t, at);
    if (LIKELY(*at == '"')) {
        at = json_text_string(t, at, key);
        at = LIKELY(*at == ':') ? at : json_text_space(t, at);
        if (LIKELY(*at == ':')) {
            return json_text_space(t, at + 1);
        }
    }
    if (key) {
        *key = STR_NONE;
    }
    return json_text_fail(t, JSON_ERROR_SYNTAX);
}

/* --- other values -------------------------------------------------------------------------- */

/* Any number: its text, checked; ptr NULL on errors. */
const char *json_text_number(struct json_text *t, const char *at, struct str *number);
/* One value of any type, fully checked. */
const char *json_text_skip(struct json_text *t, const char *at);

/* How many of the eight bytes at `at` are digits before the first that is none; *value is the
 * number they make. */
static inline unsigned json_digits8(const char *at, uint32_t *value)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t digits;
    memcpy(&digits, at, sizeof(digits));
    digits ^= 0x3030303030303030u;
    /* A byte's highest bit: it was no digit. A carry only disturbs bytes behind such a one. */
    uint64_t others = ((digits + 0x7676767676767676u) | digits) & 0x8080808080808080u;
    unsigned count = others ? (unsigned)__builtin_ctzll(others) / 8 : 8;
    if (UNLIKELY(!count)) {
        return 0;
    }
    digits <<= 64 - 8 * count; /* zeros in front */
    /* Neighbours join to pairs, pairs to fours, fours to the eight. */
    digits = digits * 10 + (digits >> 8);
    digits = (digits & 0x000000ff000000ffu) * (100 + ((uint64_t)1000000 << 32)) +
             (digits >> 16 & 0x000000ff000000ffu) * (1 + ((uint64_t)10000 << 32));
    *value = (uint32_t)(digits >> 32);
    return count;
#else
    unsigned count = 0;
    for (*value = 0; count < 8 && (unsigned)(at[count] - '0') <= 9; count++) {
        *value = *value * 10 + (uint32_t)(at[count] - '0');
    }
    return count;
#endif
}

/* Nearly all numbers on the wire are written so plainly that value and end are found in one go. The
 * two functions below take such a one: they return its length, or 0 when the number at `at` is
 * another, or none, and json_text_number has to say. */

/* Up to seven digits, no sign, no fraction. */
static inline unsigned json_text_small(const struct json_text *t, const char *at, uint32_t *value)
{
    if (UNLIKELY(t->end - at < 8)) {
        return 0;
    }
    unsigned count = json_digits8(at, value);
    if (UNLIKELY(count - 1 > 6) || UNLIKELY(*at == '0' && count > 1)) {
        return 0;
    }
    char behind = at[count];
    return LIKELY(behind != '.' && (behind | 0x20) != 'e') ? count : 0;
}

/* The same with up to six decimals, in micros. */
static inline unsigned json_text_small_micros(const struct json_text *t, const char *at,
                                              int64_t *micros)
{
    static const uint32_t scale[] = {1000000, 100000, 10000, 1000, 100, 10, 1};
    if (UNLIKELY(t->end - at < 17)) { /* twice eight and a point */
        return 0;
    }
    uint32_t whole, part = 0;
    unsigned count = json_digits8(at, &whole), decimals = 0;
    if (UNLIKELY(count - 1 > 6) || UNLIKELY(*at == '0' && count > 1)) {
        return 0;
    }
    if (at[count] == '.') {
        decimals = json_digits8(at + count + 1, &part);
        if (UNLIKELY(decimals - 1 > 5)) {
            return 0;
        }
        count += 1 + decimals;
    }
    if (UNLIKELY((at[count] | 0x20) == 'e')) {
        return 0;
    }
    *micros = (int64_t)whole * 1000000 + (int64_t)part * scale[decimals];
    return count;
}
