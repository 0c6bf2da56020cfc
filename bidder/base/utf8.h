/* Valid UTF-8: no overlong form, no surrogate, nothing beyond U+10FFFF (Unicode 15, table 3-7). */
#pragma once

#include "bidder/base/str.h"

/* Length of the sequence at `at`, which is before end; 0 when it is not valid. */
static inline size_t utf8_length(const char *at, const char *end)
{
    const unsigned char *s = (const unsigned char *)at;
    size_t have = (size_t)(end - at);
    size_t length = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (s[0] > 0xf4 || length > have) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) {
        return 0;
    }
    return length;
}

static inline bool utf8_valid(struct str text)
{
    for (size_t i = 0; i < text.len;) {
        uint64_t eight; /* from i on, or the last eight */
        if (text.len >= sizeof(eight)) {
            size_t last = text.len - sizeof(eight), from = i < last ? i : last;
            memcpy(&eight, text.ptr + from, sizeof(eight));
            if (!(eight & 0x8080808080808080u)) { /* most texts are ASCII */
                i = from + sizeof(eight);
                continue;
            }
        }
        size_t length =
            (signed char)text.ptr[i] >= 0 ? 1 : utf8_length(text.ptr + i, text.ptr + text.len);
        if (!length) {
            return false;
        }
        i += length;
    }
    return true;
}
