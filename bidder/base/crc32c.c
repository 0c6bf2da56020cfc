/* CRC-32C over eight bytes a step: by the instruction that processors have for it, else with eight
 * tables. The tables take 8 KB of a cache that has better uses, so it is not only about the steps.
 */
#include "bidder/base/crc32c.h"

#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* reflected */

static uint32_t tables[8][256];

__attribute__((constructor)) static void make_tables(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
        }
        tables[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++) {
        for (int t = 1; t < 8; t++) {
            tables[t][i] = tables[t - 1][i] >> 8 ^ tables[0][tables[t - 1][i] & 255];
        }
    }
}

uint32_t crc32c_by_tables(uint32_t crc, const void *bytes, size_t len)
{
    const uint8_t *in = bytes;
    crc = ~crc;
    for (; len >= 8; len -= 8, in += 8) {
        uint32_t low = crc ^ ((uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 |
                              (uint32_t)in[3] << 24);
        crc = tables[7][low & 255] ^ tables[6][low >> 8 & 255] ^ tables[5][low >> 16 & 255] ^
              tables[4][low >> 24] ^ tables[3][in[4]] ^ tables[2][in[5]] ^ tables[1][in[6]] ^
              tables[0][in[7]];
    }
    for (; len; len--) {
        crc = crc >> 8 ^ tables[0][(crc ^ *in++) & 255];
    }
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const uint8_t *in,
                                                                 size_t len)
{
    uint64_t sum = ~crc;
    for (; len >= 8; len -= 8, in += 8) {
        uint64_t eight;
        memcpy(&eight, in, sizeof(eight));
        sum = __builtin_ia32_crc32di(sum, eight);
    }
    crc = (uint32_t)sum;
    for (; len; len--) {
        crc = __builtin_ia32_crc32qi(crc, *in++);
    }
    return ~crc;
}
#endif

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) {
        return by_instruction(crc, bytes, len);
    }
#endif
    return crc32c_by_tables(crc, bytes, len);
}
