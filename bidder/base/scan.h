/* Finding the next byte that needs attention, sixteen at a time. Most texts hold few of them, so
 * everything between goes in one piece. No byte at or behind end is read: what is left behind the
 * last sixteen is covered by two loads that overlap. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline bool scan_json_forbids(unsigned char c)
{
    return c < 0x20 || c >= 0x80 || c == '"' || c == '\\';
}

static inline bool scan_markup_forbids(unsigned char c)
{
    return scan_json_forbids(c) || c == '&' || c == '\'' || c == '<' || c == '>';
}

/* Bytes that a url cannot hold, or that could end the place it stands in. */
static inline bool scan_url_forbids(unsigned char c)
{
    return c <= 0x20 || c >= 0x7f || c == '"' || c == '\'' || c == '<' || c == '>' || c == '\\' ||
           c == '`';
}

#if defined(__SSE2__)
#include <emmintrin.h>

/* The same questions about sixteen bytes: 0xff where the answer is yes. A signed comparison finds
 * controls and bytes above 0x7f in one go. */
static inline __m128i scan_is(__m128i bytes, char c)
{
    return _mm_cmpeq_epi8(bytes, _mm_set1_epi8(c));
}

static inline __m128i scan_json_forbids_16(__m128i bytes)
{
    return _mm_or_si128(_mm_or_si128(scan_is(bytes, '"'), scan_is(bytes, '\\')),
                        _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20)));
}

static inline __m128i scan_markup_forbids_16(__m128i bytes)
{
    __m128i amp = _mm_or_si128(scan_is(bytes, '&'), scan_is(bytes, '\''));
    __m128i angle = _mm_or_si128(scan_is(bytes, '<'), scan_is(bytes, '>'));
    return _mm_or_si128(scan_json_forbids_16(bytes), _mm_or_si128(amp, angle));
}

static inline __m128i scan_url_forbids_16(__m128i bytes)
{
    __m128i quotes = _mm_or_si128(scan_is(bytes, '\''), scan_is(bytes, '`'));
    __m128i angle = _mm_or_si128(scan_is(bytes, '<'), scan_is(bytes, '>'));
    __m128i ends = _mm_or_si128(scan_is(bytes, ' '), scan_is(bytes, 0x7f));
    return _mm_or_si128(_mm_or_si128(scan_json_forbids_16(bytes), quotes),
                        _mm_or_si128(angle, ends));
}

static inline __m128i scan_load(const char *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

/* Fewer than sixteen bytes, as two halves that may overlap: a hit in the second half is the first
 * one only when the first half has none, so its place there is right. */
static inline __m128i scan_load_less(const char *at, size_t count)
{
    uint64_t first = 0, last = 0;
    if (count >= 8) {
        memcpy(&first, at, 8);
        memcpy(&last, at + count - 8, 8);
    } else if (count >= 4) {
        uint32_t low, high;
        memcpy(&low, at, 4);
        memcpy(&high, at + count - 4, 4);
        first = (uint64_t)high << 32 | low;
    }
    return _mm_set_epi64x((long long)last, (long long)first);
}

typedef __m128i scan_forbids_16_fn(__m128i bytes);
#else
typedef void scan_forbids_16_fn(void); /* none: byte by byte */
#define scan_json_forbids_16   NULL
#define scan_markup_forbids_16 NULL
#define scan_url_forbids_16    NULL
#endif

/* The first byte from at on that is forbidden; end when there is none. */
static inline __attribute__((always_inline)) const char *scan_for(const char *at, const char *end,
                                                                  scan_forbids_16_fn *forbids_16,
                                                                  bool (*forbids)(unsigned char c))
{
#if defined(__SSE2__)
    for (; end - at >= 16; at += 16) {
        int mask = _mm_movemask_epi8(forbids_16(scan_load(at)));
        if (mask) {
            return at + __builtin_ctz((unsigned)mask);
        }
    }
    size_t left = (size_t)(end - at);
    if (left >= 4) {
        unsigned half = left >= 8 ? 8 : 4;
        unsigned mask = (unsigned)_mm_movemask_epi8(forbids_16(scan_load_less(at, left)));
        mask &= (1u << 2 * half) - 1;
        unsigned hit = mask ? (unsigned)__builtin_ctz(mask) : 0;
        return !mask ? end : hit < half ? at + hit : end - 2 * half + hit;
    }
#else
    (void)forbids_16;
#endif
    while (at < end && !forbids((unsigned char)*at)) {
        at++;
    }
    return at;
}

/* What JSON escapes: a quote, a backslash, a control byte; or a byte of a longer UTF-8 sequence. */
static inline const char *scan_json(const char *at, const char *end)
{
    return scan_for(at, end, scan_json_forbids_16, scan_json_forbids);
}

/* What XML or JSON escapes, or is not ASCII. */
static inline const char *scan_markup(const char *at, const char *end)
{
    return scan_for(at, end, scan_markup_forbids_16, scan_markup_forbids);
}

static inline const char *scan_url(const char *at, const char *end)
{
    return scan_for(at, end, scan_url_forbids_16, scan_url_forbids);
}
