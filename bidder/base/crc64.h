/* CRC-64 (Jones polynomial ad93d23594c935a9, reflected): the checksum of what Redis dumps. */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint64_t crc64(const void *bytes, size_t len);
