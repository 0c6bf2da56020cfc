/* Finding the next byte that needs attention, sixteen at a time. Most texts hold few of them, so
 * everything between goes in one piece. No byte at or behind end is read. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* The first byte from at on that is not plain printable ASCII: a quote, a backslash, a control
 * byte or a byte of a longer UTF-8 sequence; end when there is none. A signed comparison finds
 * controls and bytes above 0x7f in one go. */
static inline const char *scan_json(const char *at, const char *end)
{
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');
    const __m128i space = _mm_set1_epi8(0x20);
    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i special = _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)),
            _mm_cmplt_epi8(bytes, space));
        int mask = _mm_movemask_epi8(special);
        if (mask) {
            return at + __builtin_ctz((unsigned)mask);
        }
    }
#else
    /* Eight at a time; a hit only says "somewhere in here", the loop below finds where. */
    const uint64_t ones = 0x0101010101010101u;
    for (; end - at >= 8; at += 8) {
        uint64_t w;
        memcpy(&w, at, sizeof(w));
        uint64_t quote = w ^ (ones * '"'), backslash = w ^ (ones * '\\');
        uint64_t special = (w - ones * 0x20) | w | (quote - ones) | (backslash - ones);
        if (special & (ones * 0x80)) {
            break;
        }
    }
#endif
    while (at < end && (signed char)*at >= 0x20 && *at != '"' && *at != '\\') {
        at++;
    }
    return at;
}

/* Bytes that a url cannot hold, or that could end the place it stands in. */
static inline bool scan_url_forbids(unsigned char c)
{
    return c <= 0x20 || c >= 0x7f || c == '"' || c == '\'' || c == '<' || c == '>' || c == '\\' ||
           c == '`';
}

/* The first such byte from at on; end when there is none. */
static inline const char *scan_url(const char *at, const char *end)
{
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"'), apostrophe = _mm_set1_epi8('\'');
    const __m128i less = _mm_set1_epi8('<'), greater = _mm_set1_epi8('>');
    const __m128i backslash = _mm_set1_epi8('\\'), backtick = _mm_set1_epi8('`');
    const __m128i blank = _mm_set1_epi8(0x21), delete = _mm_set1_epi8(0x7f);
    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i quotes = _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, apostrophe)),
            _mm_or_si128(_mm_cmpeq_epi8(bytes, less), _mm_cmpeq_epi8(bytes, greater)));
        __m128i slashes =
            _mm_or_si128(_mm_cmpeq_epi8(bytes, backslash), _mm_cmpeq_epi8(bytes, backtick));
        __m128i ends = _mm_or_si128(_mm_cmplt_epi8(bytes, blank), _mm_cmpeq_epi8(bytes, delete));
        int mask = _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quotes, slashes), ends));
        if (mask) {
            return at + __builtin_ctz((unsigned)mask);
        }
    }
#endif
    while (at < end && !scan_url_forbids((unsigned char)*at)) {
        at++;
    }
    return at;
}

/* The first byte from at on that XML or JSON would escape, or that is not ASCII; end when there is
 * none. */
static inline const char *scan_markup(const char *at, const char *end)
{
#if defined(__SSE2__)
    const __m128i amp = _mm_set1_epi8('&'), apostrophe = _mm_set1_epi8('\'');
    const __m128i less = _mm_set1_epi8('<'), greater = _mm_set1_epi8('>');
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\');
    const __m128i space = _mm_set1_epi8(0x20);
    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i quotes = _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, apostrophe)),
            _mm_or_si128(_mm_cmpeq_epi8(bytes, less), _mm_cmpeq_epi8(bytes, greater)));
        __m128i others =
            _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, amp), _mm_cmpeq_epi8(bytes, backslash)),
                         _mm_cmplt_epi8(bytes, space));
        int mask = _mm_movemask_epi8(_mm_or_si128(quotes, others));
        if (mask) {
            return at + __builtin_ctz((unsigned)mask);
        }
    }
#endif
    while (at < end && (signed char)*at >= 0x20 && *at != '&' && *at != '\'' && *at != '<' &&
           *at != '>' && *at != '"' && *at != '\\') {
        at++;
    }
    return at;
}
