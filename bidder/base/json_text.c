/* Beginning and end of json_text.h's way through a text, skipping, and what is rare: that the reader
 * of json.h decides. */
#include "bidder/base/json_text.h"

#include "bidder/base/utf8.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* A place where nothing stands. */
static const char nowhere[1];

static inline bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Sixteen at a time: a line end and the next line's indentation. */
__attribute__((noinline)) const char *json_text_space_run(const struct json_text *t, const char *at)
{
    if (!is_space(*at)) { /* a control byte, or the place where nothing stands */
        return at;
    }
#if defined(__SSE2__)
    while (t->end - at >= 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i lines = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n')),
                                     _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\r')));
        __m128i blanks = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(' ')),
                                      _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t')));
        unsigned other = 0xffff ^ (unsigned)_mm_movemask_epi8(_mm_or_si128(lines, blanks));
        if (other) {
            return at + __builtin_ctz(other);
        }
        at += 16;
    }
#else
    (void)t;
#endif
    while (is_space(*at)) { /* the last closer ends it */
        at++;
    }
    return at;
}

const char *json_text_begin(struct json_text *t, struct str whole, struct arena *arena,
                            uint32_t max_depth)
{
    size_t len = whole.len;
    while (len && whole.ptr[len - 1] != '}' && whole.ptr[len - 1] != ']') {
        len--;
    }
    t->begin = whole.ptr;
    t->end = whole.ptr + len;
    t->wide_places = len < JSON_TEXT_WIDE ? 0 : len - JSON_TEXT_WIDE + 1;
    t->whole = whole;
    t->special = t->index.items;
    t->arena = arena;
    t->depth = 0;
    t->max_depth = max_depth;
    t->error = JSON_OK;
    const char *at = len ? json_text_space(t, whole.ptr) : nowhere;
    if (*at != '{') {
        return nowhere;
    }
    json_index_fill(&t->index, (struct str){.ptr = t->begin, .len = len}, 0);
    return at;
}

__attribute__((cold, noinline)) const char *json_text_fail(struct json_text *t,
                                                           enum json_error error)
{
    t->error = t->error ? t->error : error;
    return nowhere;
}

/* Why the whole is not one valid object: the reader says it, as it also sees what stands behind the
 * last closer. A full arena and our depth are none of its business. */
static __attribute__((cold, noinline)) bool explain(struct json_text *t)
{
    struct json_reader r;
    if (t->error == JSON_ERROR_MEMORY || t->error == JSON_ERROR_DEPTH) {
        return false;
    }
    json_reader_init(&r, t->whole, NULL, t->max_depth);
    if (json_peek(&r) != JSON_OBJECT && t->error == JSON_OK) {
        json_skip(&r); /* another value: valid or not */
        json_finish(&r);
        t->error = r.error;
        return !r.error;
    }
    json_skip(&r);
    json_finish(&r);
    t->error = r.error ? r.error : JSON_ERROR_SYNTAX;
    return false;
}

bool json_text_finish(struct json_text *t, const char *at)
{
    if (LIKELY(at == t->end)) {
        const char *end = t->whole.ptr + t->whole.len;
        while (at < end && is_space(*at)) {
            at++;
        }
        if (LIKELY(at == end)) {
            return true;
        }
    }
    return explain(t);
}

/* --- what json.h decides ------------------------------------------------------------------- */

/* The careful reader, standing where we stand. */
static struct json_reader reader_at(const struct json_text *t, const char *at)
{
    return (struct json_reader){
        .begin = t->begin, .at = at, .end = t->end, .arena = t->arena, .max_depth = 1};
}

/* Where it stands now, its error ours. */
static const char *adopt(struct json_text *t, const struct json_reader *r)
{
    if (r->error) {
        return json_text_fail(t, r->error);
    }
    while (*t->special < (size_t)(r->at - t->begin)) {
        t->special++;
    }
    return r->at;
}

/* From the special byte behind a string's quote on: over long characters, every byte of which is in
 * the index. Returns where the first other special byte is, or the index ends, or what is not
 * UTF-8. */
static const uint32_t *skip_long_characters(const struct json_text *t, const uint32_t *special)
{
    while ((signed char)t->begin[*special] < 0) {
        size_t length = utf8_length(t->begin + *special, t->end);
        if (!length || special[length - 1] != *special + length - 1) {
            break;
        }
        special += length;
    }
    return special;
}

/* Reasons to come here: the string holds long characters or escapes, or the index ends inside it,
 * or it is invalid. The first is decided here. */
__attribute__((noinline)) const char *json_text_string_slow(struct json_text *t, const char *at,
                                                            struct str *text)
{
    size_t offset = (size_t)(at - t->begin), len = (size_t)(t->end - t->begin);
    while (*t->special < offset) {
        t->special++;
    }
    if (t->special[1] == len - 1 && !t->index.whole) {
        json_index_fill(&t->index, (struct str){.ptr = t->begin, .len = len}, offset);
        t->special = t->index.items;
    }
    const uint32_t *close = skip_long_characters(t, t->special + 1);
    if (t->begin[*close] == '"') {
        t->special = close + 1;
        if (text) {
            *text = (struct str){.ptr = at + 1, .len = *close - offset - 1};
        }
        return t->begin + *close + 1;
    }
    struct json_reader r = reader_at(t, at);
    if (text) {
        *text = json_take_string(&r);
    } else {
        json_skip(&r);
    }
    return adopt(t, &r);
}

const char *json_text_number(struct json_text *t, const char *at, struct str *number)
{
    struct json_reader r = reader_at(t, at);
    *number = json_take_number(&r);
    return adopt(t, &r);
}

/* --- skipping ------------------------------------------------------------------------------ */

static const char *skip_number(struct json_text *t, const char *at)
{
    uint32_t value;
    struct str text;
    unsigned length = json_text_small(t, at, &value);
    return LIKELY(length) ? at + length : json_text_number(t, at, &text);
}

static const char *skip_literal(struct json_text *t, const char *at)
{
    struct json_reader r = reader_at(t, at);
    json_skip(&r);
    return adopt(t, &r);
}

/* Recursion is bounded by max_depth. */
const char *json_text_skip(struct json_text *t, const char *at)
{
    switch (json_text_peek(at)) {
    case JSON_STRING:
        return json_text_string(t, at, NULL);
    case JSON_NUMBER:
        return skip_number(t, at);
    case JSON_OBJECT:
        for (bool more = json_text_first(t, &at, '}'); more; more = json_text_next(t, &at, '}')) {
            at = json_text_skip(t, json_text_key(t, at, NULL));
        }
        return at;
    case JSON_ARRAY:
        for (bool more = json_text_first(t, &at, ']'); more; more = json_text_next(t, &at, ']')) {
            at = json_text_skip(t, at);
        }
        return at;
    case JSON_BOOL:
    case JSON_NULL:
        return skip_literal(t, at);
    case JSON_INVALID:
    case JSON_TYPE_COUNT:
        break;
    }
    return json_text_fail(t, JSON_ERROR_SYNTAX);
}
