/* Each way to fill the index is the same loop around another look at 64 bytes: AVX-512 or AVX2 where
 * the machine has it, SSE2 on every x86-64, plain C elsewhere. */
#include "bidder/base/json_index.h"

#include "bidder/base/bug.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define STEP   64
#define INLINE static inline __attribute__((always_inline))

/* Bit i: the byte at[i] is special. */
typedef uint64_t look_fn(const char *at);
/* Writes the mask's offsets at `to`, plus `offset`; returns how many. */
typedef unsigned put_fn(uint32_t *to, uint64_t mask, uint32_t offset);

/* Eight bytes at a time, each with its highest bit out of the way of the sums: no carry leaves a
 * byte, so every byte's answer, in its highest bit, is exact. */
INLINE uint64_t look_plain(const char *at)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t mask = 0;
    for (unsigned i = 0; i < STEP; i += 8) {
        uint64_t bytes;
        memcpy(&bytes, at + i, sizeof(bytes));
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
        bytes = __builtin_bswap64(bytes);
#endif
        uint64_t low = bytes & ones * 0x7f;
        uint64_t visible = low + ones * 0x60;                      /* 0x20 and above */
        uint64_t no_quote = (low ^ ones * '"') + ones * 0x7f;      /* not 0 before the sum */
        uint64_t no_backslash = (low ^ ones * '\\') + ones * 0x7f; /* likewise */
        uint64_t special = (bytes | ~(visible & no_quote & no_backslash)) & ones * 0x80;
        /* Brings bit 0 of byte k to bit 56 + k, nothing twice to one place. */
        mask |= ((special >> 7) * 0x0102040810204080u >> 56) << i;
    }
    return mask;
}

#if defined(__x86_64__)
/* A signed comparison finds control bytes and those above 0x7f in one go. */
INLINE uint64_t look_sse2(const char *at)
{
    uint64_t mask = 0;
    for (unsigned i = 0; i < STEP; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(at + i));
        __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
        __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
        __m128i other = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
        __m128i special = _mm_or_si128(_mm_or_si128(quote, backslash), other);
        mask |= (uint64_t)(uint32_t)_mm_movemask_epi8(special) << i;
    }
    return mask;
}

#define AVX2 __attribute__((target("avx2,bmi,popcnt")))

AVX2 INLINE uint64_t look_avx2(const char *at)
{
    uint64_t mask = 0;
    for (unsigned i = 0; i < STEP; i += 32) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)(at + i));
        __m256i quote = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('"'));
        __m256i backslash = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\\'));
        __m256i other = _mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), bytes);
        __m256i special = _mm256_or_si256(_mm256_or_si256(quote, backslash), other);
        mask |= (uint64_t)(uint32_t)_mm256_movemask_epi8(special) << i;
    }
    return mask;
}

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vbmi2,popcnt")))

AVX512 INLINE uint64_t look_avx512(const char *at)
{
    __m512i bytes = _mm512_loadu_si512((const void *)at);
    return _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('"')) |
           _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\\')) |
           _mm512_cmplt_epi8_mask(bytes, _mm512_set1_epi8(0x20));
}

/* The bytes 0 to 63 with those dropped that the mask does not name: sixteen offsets in one go. */
AVX512 INLINE unsigned put_avx512(uint32_t *to, uint64_t mask, uint32_t offset)
{
    static const unsigned char numbers[STEP] __attribute__((aligned(64))) = {
        0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
        22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
        44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
    unsigned count = (unsigned)__builtin_popcountll(mask);
    __m512i base = _mm512_set1_epi32((int)offset);
    __m512i found = _mm512_maskz_compress_epi8(mask, _mm512_load_si512((const void *)numbers));
    _mm512_storeu_si512(
        to, _mm512_add_epi32(base, _mm512_cvtepu8_epi32(_mm512_castsi512_si128(found))));
    if (count > 16) { /* rare: written whole */
        __m128i rest[3] = {_mm512_extracti32x4_epi32(found, 1), _mm512_extracti32x4_epi32(found, 2),
                           _mm512_extracti32x4_epi32(found, 3)};
        for (unsigned i = 0; i < 3; i++) {
            _mm512_storeu_si512(to + 16 * (i + 1),
                                _mm512_add_epi32(base, _mm512_cvtepu8_epi32(rest[i])));
        }
    }
    return count;
}
#endif

/* Eight are written at a time, needed or not: how many there are is hard to guess for the branch
 * predictor, "more than eight" is easier. Bits that are not there have any number. */
#define PUT_EIGHT_AT_A_TIME(lowest)                                                                \
    unsigned count = (unsigned)__builtin_popcountll(mask);                                         \
    for (unsigned done = 0; done < count; done += 8) {                                             \
        PUT(lowest, 0), PUT(lowest, 1), PUT(lowest, 2), PUT(lowest, 3);                            \
        PUT(lowest, 4), PUT(lowest, 5), PUT(lowest, 6), PUT(lowest, 7);                            \
    }                                                                                              \
    return count
#define PUT(lowest, i) to[done + (i)] = offset + (uint32_t)(lowest), mask &= mask - 1

INLINE unsigned put_plain(uint32_t *to, uint64_t mask, uint32_t offset)
{
    PUT_EIGHT_AT_A_TIME(__builtin_ctzll(mask | (uint64_t)1 << 63));
}

#if defined(__x86_64__)
AVX2 INLINE unsigned put_avx2(uint32_t *to, uint64_t mask, uint32_t offset)
{
    PUT_EIGHT_AT_A_TIME(_tzcnt_u64(mask));
}
#endif

INLINE void fill(struct json_index *index, struct str text, size_t from, look_fn *look, put_fn *put)
{
    unsigned count = 0;
    BUG_ON(!text.len || text.len > UINT32_MAX || from > text.len);
    for (; text.len - from >= STEP && count < JSON_INDEX_ITEMS; from += STEP) {
        count += put(index->items + count, look(text.ptr + from), (uint32_t)from);
    }
    index->whole = count < JSON_INDEX_ITEMS;
    if (index->whole && from < text.len) {
        char last[STEP];
        memset(last, ' ', sizeof(last));
        memcpy(last, text.ptr + from, text.len - from);
        count += put(index->items + count, look(last), (uint32_t)from);
    }
    for (unsigned i = 0; i < 4; i++) {
        index->items[count + i] = (uint32_t)text.len - 1;
    }
}

static void fill_plain(struct json_index *index, struct str text, size_t from)
{
    fill(index, text, from, look_plain, put_plain);
}

#if defined(__x86_64__)
static void fill_sse2(struct json_index *index, struct str text, size_t from)
{
    fill(index, text, from, look_sse2, put_plain);
}

AVX2 static void fill_avx2(struct json_index *index, struct str text, size_t from)
{
    fill(index, text, from, look_avx2, put_avx2);
}

AVX512 static void fill_avx512(struct json_index *index, struct str text, size_t from)
{
    fill(index, text, from, look_avx512, put_avx512);
}
#endif

/* The fastest first. */
json_index_fn *json_index_way(unsigned number)
{
#if defined(__x86_64__)
    bool popcnt = __builtin_cpu_supports("popcnt");
    bool avx512 = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi2");
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi");
    if (popcnt && avx512 && number-- == 0) {
        return fill_avx512;
    }
    if (popcnt && avx2 && number-- == 0) {
        return fill_avx2;
    }
    if (number-- == 0) {
        return fill_sse2;
    }
#endif
    return number == 0 ? fill_plain : NULL;
}

static json_index_fn *best_way = fill_plain;

/* Before main: the machine does not change while we run. */
__attribute__((constructor)) static void choose_way(void)
{
    best_way = json_index_way(0);
}

void json_index_fill(struct json_index *index, struct str text, size_t from)
{
    best_way(index, text, from);
}
