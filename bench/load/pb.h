/* Steps through the fields of a protobuf message. For finding a few of them; no validator. */
#pragma once

#include <stdbool.h>

#include "bidder/base/str.h"

struct pb_field {
    unsigned number;
    unsigned wire;
    /* Length-delimited: the contents; fixed 64 or 32 bits: those bytes; else empty. */
    struct str bytes;
};

/* Takes the next field off *rest. False when it is no whole field. */
static inline bool pb_next(struct str *rest, struct pb_field *field)
{
    uint64_t value[2] = {0, 0}; /* key; then length or varint */
    unsigned wire = 2;
    for (unsigned part = 0; part < 2 && (part == 0 || wire == 2 || wire == 0); part++) {
        unsigned shift = 0;
        do {
            if (!rest->len || shift > 63) {
                return false;
            }
            value[part] |= (uint64_t)(*rest->ptr & 0x7f) << shift;
            shift += 7;
            rest->len--;
        } while (*rest->ptr++ & 0x80);
        wire = value[0] & 7;
    }
    if (wire == 3 || wire == 4 || wire > 5) {
        return false;
    }
    uint64_t size = wire == 2 ? value[1] : wire == 1 ? 8 : wire == 5 ? 4 : 0;
    if (size > rest->len) {
        return false;
    }
    *field = (struct pb_field){.number = (unsigned)(value[0] >> 3),
                               .wire = wire,
                               .bytes = {.ptr = rest->ptr, .len = size}};
    rest->ptr += size;
    rest->len -= size;
    return true;
}
