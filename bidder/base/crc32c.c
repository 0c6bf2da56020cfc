/* CRC-32C over eight bytes a step with eight tables, made at first use. */
#include "bidder/base/crc32c.h"

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

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
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
