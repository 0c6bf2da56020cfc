/* Each way to fill the index is the same loop around another look at 64 bytes: AVX2 where the
 * machine has it, SSE2 on every x86-64, plain C elsewhere (and as the oracle of the others). */
#include "bidder/base/json_index.h"

#include "bidder/base/bug.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define STEP   64
#define INLINE static inline __attribute__((always_inline))

INLINE bool is_special(char c)
{
    return c == '"' || c == '\\' || (signed char)c < 0x20;
}

/* Bit i: the byte at[i] is special. */
typedef uint64_t look_fn(const char *at);
/* Number of the lowest bit; anything for 0. */
typedef unsigned lowest_fn(uint64_t mask);

INLINE uint64_t look_plain(const char *at)
{
    uint64_t mask = 0;
    for (unsigned i = 0; i < STEP; i++) {
        mask |= (uint64_t)is_special(at[i]) << i;
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

AVX2 INLINE unsigned lowest_bmi(uint64_t mask)
{
    return (unsigned)_tzcnt_u64(mask);
}
#endif

INLINE unsigned lowest_plain(uint64_t mask)
{
    return (unsigned)__builtin_ctzll(mask | (uint64_t)1 << 63);
}

/* Writes the mask's offsets at `to`; returns how many. Eight are written at a time, needed or not:
 * how many there are is hard to guess for the branch predictor, "more than eight" is easier. */
INLINE unsigned put_offsets(uint32_t *to, uint64_t mask, uint32_t offset, lowest_fn *lowest)
{
    unsigned count = (unsigned)__builtin_popcountll(mask);
    for (unsigned done = 0; done < count; done += 8) {
#define PUT(i) to[done + (i)] = offset + lowest(mask), mask &= mask - 1
        PUT(0), PUT(1), PUT(2), PUT(3), PUT(4), PUT(5), PUT(6), PUT(7);
#undef PUT
    }
    return count;
}

INLINE void fill(struct json_index *index, struct str text, size_t from, look_fn *look,
                 lowest_fn *lowest)
{
    unsigned count = 0;
    BUG_ON(!text.len || text.len > UINT32_MAX || from > text.len);
    for (; text.len - from >= STEP && count < JSON_INDEX_ITEMS; from += STEP) {
        count += put_offsets(index->items + count, look(text.ptr + from), (uint32_t)from, lowest);
    }
    index->whole = count < JSON_INDEX_ITEMS;
    if (index->whole && from < text.len) {
        char last[STEP];
        memset(last, ' ', sizeof(last));
        memcpy(last, text.ptr + from, text.len - from);
        count += put_offsets(index->items + count, look(last), (uint32_t)from, lowest);
    }
    index->items[count] = index->items[count + 1] = (uint32_t)text.len - 1;
}

static void fill_plain(struct json_index *index, struct str text, size_t from)
{
    fill(index, text, from, look_plain, lowest_plain);
}

#if defined(__x86_64__)
static void fill_sse2(struct json_index *index, struct str text, size_t from)
{
    fill(index, text, from, look_sse2, lowest_plain);
}

AVX2 static void fill_avx2(struct json_index *index, struct str text, size_t from)
{
    fill(index, text, from, look_avx2, lowest_bmi);
}
#endif

/* The fastest first. */
json_index_fn *json_index_way(unsigned number)
{
    json_index_fn *ways[4] = {NULL};
    unsigned count = 0;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
        __builtin_cpu_supports("popcnt")) {
        ways[count++] = fill_avx2;
    }
    ways[count++] = fill_sse2;
#endif
    ways[count++] = fill_plain;
    return number < count ? ways[number] : NULL;
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
