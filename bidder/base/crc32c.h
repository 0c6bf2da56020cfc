/* CRC-32C (Castagnoli polynomial, RFC 3720 B.4): the checksum of event records. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Of a whole piece; start with crc 0, or go on with what came back for the piece before. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);
/* The same for processors without an instruction for it. */
uint32_t crc32c_by_tables(uint32_t crc, const void *bytes, size_t len);
