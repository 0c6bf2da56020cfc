/* The strict reader: see json.h for use. Nothing here allocates but json_read_string, for strings
 * with escapes. No byte at or behind r->end is read: bodies come unterminated. */
#include "bidder/base/json.h"

#include "bidder/base/bug.h"
#include "bidder/base/scan.h"
#include "bidder/base/utf8.h"

void json_reader_init(struct json_reader *r, struct str text, struct arena *arena,
                      uint32_t max_depth)
{
    /* A view of length 0 may have no pointer; arithmetic on NULL is not ours to do. */
    const char *begin = text.len ? text.ptr : "";
    *r = (struct json_reader){.begin = begin,
                              .at = begin,
                              .end = begin + text.len,
                              .arena = arena,
                              .max_depth = max_depth};
}

/* Sets the error at `where` unless there is one, and empties the reader: every later call then
 * meets the end and answers false. */
static __attribute__((cold, noinline)) bool fail_at(struct json_reader *r, const char *where,
                                                    enum json_error error)
{
    if (!r->error) {
        r->error = error;
        r->error_offset = (size_t)(where - r->begin);
    }
    r->at = r->end;
    return false;
}

/* What stands here cannot: the end is told apart because a cut body is worth knowing. */
static bool fail_unexpected(struct json_reader *r)
{
    return fail_at(r, r->at, r->at == r->end ? JSON_ERROR_END : JSON_ERROR_SYNTAX);
}

void json_fail(struct json_reader *r, enum json_error error)
{
    fail_at(r, r->at, error);
}

#define DIGITS(type)                                                                               \
    ['0'] = (type), ['1'] = (type), ['2'] = (type), ['3'] = (type), ['4'] = (type),                \
    ['5'] = (type), ['6'] = (type), ['7'] = (type), ['8'] = (type), ['9'] = (type)

const uint8_t json_type_of[256] = {
    ['{'] = JSON_OBJECT, ['['] = JSON_ARRAY, ['"'] = JSON_STRING, ['t'] = JSON_BOOL,
    ['f'] = JSON_BOOL,   ['n'] = JSON_NULL,  ['-'] = JSON_NUMBER, DIGITS(JSON_NUMBER),
};

size_t json_offset(struct json_reader *r)
{
    json_skip_space(r);
    return (size_t)(r->at - r->begin);
}

/* A read of another type than stands here. */
static bool fail_type(struct json_reader *r)
{
    return json_peek(r) == JSON_INVALID ? fail_unexpected(r) : fail_at(r, r->at, JSON_ERROR_TYPE);
}

/* --- objects and arrays -------------------------------------------------------------------- */

static inline bool container_begin(struct json_reader *r, char opener)
{
    json_skip_space(r);
    if (UNLIKELY(r->at == r->end || *r->at != opener)) {
        return fail_type(r);
    }
    if (UNLIKELY(r->depth == r->max_depth)) {
        return fail_at(r, r->at, JSON_ERROR_DEPTH);
    }
    r->depth++;
    r->at++;
    r->fresh = true;
    return true;
}

/* Stands before a member (true), or consumed the closer (false). */
static inline bool container_next(struct json_reader *r, char closer)
{
    json_skip_space(r);
    if (UNLIKELY(r->at == r->end)) {
        return fail_unexpected(r);
    }
    if (*r->at == closer) {
        r->at++;
        r->depth--;
        r->fresh = false;
        return false;
    }
    if (!r->fresh) {
        if (UNLIKELY(*r->at != ',')) {
            return fail_unexpected(r);
        }
        r->at++;
        json_skip_space(r);
    }
    r->fresh = false;
    return true;
}

bool json_object_begin(struct json_reader *r)
{
    return container_begin(r, '{');
}

bool json_array_begin(struct json_reader *r)
{
    return container_begin(r, '[');
}

bool json_array_next(struct json_reader *r)
{
    if (!container_next(r, ']')) {
        return false;
    }
    /* [1,] must fail here: the caller's read would, but a caller that peeks would loop. */
    return json_peek(r) == JSON_INVALID ? fail_unexpected(r) : true;
}

/* --- strings ------------------------------------------------------------------------------- */

/* The four hex digits at `at`, or -1. */
static int hex4(const char *at, const char *end)
{
    if (end - at < 4) {
        return -1;
    }
    int value = 0;
    for (int i = 0; i < 4; i++) {
        char c = str_ascii_lower(at[i]);
        if (c >= '0' && c <= '9') {
            value = value * 16 + (c - '0');
        } else if (c >= 'a' && c <= 'f') {
            value = value * 16 + (c - 'a' + 10);
        } else {
            return -1;
        }
    }
    return value;
}

/* Checks the escape at `at` (a backslash). Its length in the text, or 0 with the error set. */
static size_t check_escape(struct json_reader *r, const char *at)
{
    if (r->end - at < 2) {
        return fail_at(r, r->end, JSON_ERROR_END);
    }
    if (at[1] != 'u') {
        if (at[1] == '\0' || !strchr("\"\\/bfnrt", at[1])) {
            return fail_at(r, at, JSON_ERROR_ESCAPE);
        }
        return 2;
    }
    int unit = hex4(at + 2, r->end);
    if (unit < 0) {
        return fail_at(r, at, JSON_ERROR_ESCAPE);
    }
    if (unit < 0xd800 || unit > 0xdfff) {
        return 6;
    }
    int low = r->end - at >= 12 && at[6] == '\\' && at[7] == 'u' ? hex4(at + 8, r->end) : -1;
    if (unit > 0xdbff || low < 0xdc00 || low > 0xdfff) {
        return fail_at(r, at, JSON_ERROR_SURROGATE);
    }
    return 12;
}

static char *put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    } else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 0x3f));
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    }
    return to;
}

/* Unescapes a checked string into the arena; it never gets longer. */
static __attribute__((noinline)) struct str unescape(struct json_reader *r, struct str raw)
{
    char *out = r->arena ? arena_alloc(r->arena, raw.len) : NULL;
    if (!out) {
        fail_at(r, raw.ptr, JSON_ERROR_MEMORY);
        return STR_NONE;
    }
    char *to = out;
    const char *at = raw.ptr, *end = raw.ptr + raw.len;
    while (at < end) {
        const char *backslash = memchr(at, '\\', (size_t)(end - at));
        size_t clean = (size_t)((backslash ? backslash : end) - at);
        memcpy(to, at, clean);
        to += clean;
        at += clean;
        if (!backslash) {
            break;
        }
        if (at[1] != 'u') {
            static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
            *to++ = into[strchr(from, at[1]) - from];
            at += 2;
            continue;
        }
        uint32_t c = (uint32_t)hex4(at + 2, end);
        at += 6;
        if (c >= 0xd800 && c <= 0xdfff) {
            c = 0x10000 + ((c - 0xd800) << 10) + ((uint32_t)hex4(at + 2, end) - 0xdc00);
            at += 6;
        }
        to = put_utf8(to, c);
    }
    return (struct str){.ptr = out, .len = (size_t)(to - out)};
}

/* Steps over what find_special stopped at, unless it is the closing quote. NULL: error set. */
static __attribute__((noinline)) const char *step_special(struct json_reader *r, const char *at,
                                                          bool *escaped)
{
    size_t length;
    if (at == r->end) {
        fail_at(r, at, JSON_ERROR_END);
        return NULL;
    }
    if (*at == '\\') {
        *escaped = true;
        length = check_escape(r, at);
        return length ? at + length : NULL;
    }
    if ((unsigned char)*at < 0x20) {
        fail_at(r, at, JSON_ERROR_CONTROL);
        return NULL;
    }
    while (at < r->end && (unsigned char)*at >= 0x80) { /* they come in runs */
        length = utf8_length(at, r->end);
        if (!length) {
            fail_at(r, at, JSON_ERROR_UTF8);
            return NULL;
        }
        at += length;
    }
    return at;
}

/* Consumes the string whose quote stands at r->at, checked. Returns what stands between the
 * quotes; ptr is NULL on errors. */
static inline __attribute__((always_inline)) struct str scan_string(struct json_reader *r,
                                                                    bool *escaped)
{
    const char *start = r->at + 1;
    const char *at = scan_json(start, r->end);
    *escaped = false;
    while (UNLIKELY(at == r->end) || UNLIKELY(*at != '"')) {
        at = step_special(r, at, escaped);
        if (UNLIKELY(!at)) {
            return STR_NONE;
        }
        at = scan_json(at, r->end);
    }
    r->at = at + 1;
    return (struct str){.ptr = start, .len = (size_t)(at - start)};
}

/* The string at r->at, which is a quote. */
static inline __attribute__((always_inline)) struct str take_string_here(struct json_reader *r)
{
    bool escaped;
    struct str raw = scan_string(r, &escaped);
    return UNLIKELY(escaped) && raw.ptr ? unescape(r, raw) : raw;
}

struct str json_take_string(struct json_reader *r)
{
    json_skip_space(r);
    if (UNLIKELY(r->at == r->end || *r->at != '"')) {
        fail_type(r);
        return STR_NONE;
    }
    return take_string_here(r);
}

bool json_read_string(struct json_reader *r, struct str *value)
{
    struct str text = json_take_string(r);
    if (text.ptr) {
        *value = text;
    }
    return text.ptr != NULL;
}

/* --- keys ---------------------------------------------------------------------------------- */

/* Behind a key: its colon. */
static inline bool take_colon(struct json_reader *r)
{
    json_skip_space(r);
    if (UNLIKELY(r->at == r->end || *r->at != ':')) {
        return fail_unexpected(r);
    }
    r->at++;
    return true;
}

/* Before a member: true when its key's quote stands at r->at. */
static inline bool next_key(struct json_reader *r)
{
    if (!container_next(r, '}')) {
        return false;
    }
    return LIKELY(r->at != r->end && *r->at == '"') ? true : fail_unexpected(r);
}

struct str json_take_key(struct json_reader *r)
{
    if (!next_key(r)) {
        return STR_NONE;
    }
    struct str key = take_string_here(r);
    return LIKELY(key.ptr && take_colon(r)) ? key : STR_NONE;
}

bool json_object_next_at(struct json_reader *r, struct str *key, size_t *offset)
{
    if (!next_key(r)) {
        return false;
    }
    *offset = (size_t)(r->at - r->begin);
    *key = take_string_here(r);
    return key->ptr && take_colon(r);
}

bool json_object_next(struct json_reader *r, struct str *key)
{
    *key = json_take_key(r);
    return key->ptr != NULL;
}

/* --- numbers, literals --------------------------------------------------------------------- */

static inline const char *skip_digits(const char *at, const char *end)
{
    while (at < end && (unsigned)(*at - '0') <= 9) {
        at++;
    }
    return at;
}

/* Behind the number that starts at `at`; NULL when it breaks the grammar. */
static inline const char *number_end(const char *at, const char *end)
{
    if (at < end && *at == '-') {
        at++;
    }
    const char *digits = at;
    at = skip_digits(at, end);
    if (at == digits || (*digits == '0' && at - digits > 1)) {
        return NULL;
    }
    if (at < end && *at == '.') {
        digits = ++at;
        at = skip_digits(at, end);
        if (at == digits) {
            return NULL;
        }
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-')) {
            at++;
        }
        digits = at;
        at = skip_digits(at, end);
        if (at == digits) {
            return NULL;
        }
    }
    return at;
}

bool json_number_valid(struct str text)
{
    return text.len && number_end(text.ptr, text.ptr + text.len) == text.ptr + text.len;
}

struct str json_take_number(struct json_reader *r)
{
    json_skip_space(r);
    if (UNLIKELY(r->at == r->end || (*r->at != '-' && (unsigned)(*r->at - '0') > 9))) {
        fail_type(r);
        return STR_NONE;
    }
    const char *start = r->at;
    const char *end = number_end(start, r->end);
    if (UNLIKELY(!end)) {
        fail_at(r, start, JSON_ERROR_NUMBER);
        return STR_NONE;
    }
    r->at = end;
    return (struct str){.ptr = start, .len = (size_t)(end - start)};
}

bool json_read_number(struct json_reader *r, struct str *text)
{
    *text = json_take_number(r);
    return text->ptr != NULL;
}

static bool read_literal(struct json_reader *r, struct str word)
{
    if ((size_t)(r->end - r->at) < word.len || memcmp(r->at, word.ptr, word.len) != 0) {
        return fail_at(r, r->at, JSON_ERROR_LITERAL);
    }
    r->at += word.len;
    return true;
}

bool json_read_bool(struct json_reader *r, bool *value)
{
    if (json_peek(r) != JSON_BOOL) {
        return fail_type(r);
    }
    bool yes = *r->at == 't';
    if (!read_literal(r, yes ? STR("true") : STR("false"))) {
        return false;
    }
    *value = yes;
    return true;
}

bool json_read_null(struct json_reader *r)
{
    return json_peek(r) == JSON_NULL ? read_literal(r, STR("null")) : fail_type(r);
}

/* --- skipping, finishing ------------------------------------------------------------------- */

/* A member's key, for which nobody asks: not unescaped. */
static bool skip_key(struct json_reader *r)
{
    bool escaped;
    return next_key(r) && scan_string(r, &escaped).ptr && take_colon(r);
}

/* Recursion is bounded by max_depth. */
bool json_skip(struct json_reader *r)
{
    bool ignored;
    switch (json_peek(r)) {
    case JSON_OBJECT:
        json_object_begin(r);
        while (skip_key(r)) {
            json_skip(r);
        }
        break;
    case JSON_ARRAY:
        json_array_begin(r);
        while (json_array_next(r)) {
            json_skip(r);
        }
        break;
    case JSON_STRING:
        scan_string(r, &ignored);
        break;
    case JSON_NUMBER:
        json_take_number(r);
        break;
    case JSON_BOOL:
        json_read_bool(r, &ignored);
        break;
    case JSON_NULL:
        json_read_null(r);
        break;
    case JSON_INVALID:
    case JSON_TYPE_COUNT:
        fail_unexpected(r);
        break;
    }
    return !r->error;
}

bool json_finish(struct json_reader *r)
{
    json_skip_space(r);
    if (!r->error && r->at != r->end) {
        fail_at(r, r->at, JSON_ERROR_TRAILING);
    }
    return !r->error;
}
