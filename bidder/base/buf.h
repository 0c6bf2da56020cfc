/* A growing byte buffer with a limit. Failure is sticky: append freely, ask buf_failed once.
 * Reset keeps the memory, so a warm buffer does not allocate. Not thread-safe. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bidder/base/bug.h"
#include "bidder/base/str.h"

struct buf {
    char *data; /* owned; NULL until first use */
    size_t len;
    size_t cap;
    size_t limit;
    bool failed; /* the limit was hit or memory ran out; contents are cut there */
};

void buf_init(struct buf *buf, size_t limit);
void buf_deinit(struct buf *buf);

static inline void buf_reset(struct buf *buf)
{
    buf->len = 0;
    buf->failed = false;
}

static inline bool buf_failed(const struct buf *buf)
{
    return buf->failed;
}

static inline struct str buf_str(const struct buf *buf)
{
    return (struct str){.ptr = buf->data, .len = buf->len};
}

char *buf_reserve_slow(struct buf *buf, size_t more);
/* Room for more bytes; returns where they go (the caller adds to len), NULL on failure. */
static inline char *buf_reserve(struct buf *buf, size_t more)
{
    if (LIKELY(!buf->failed && buf->cap - buf->len >= more && buf->data)) {
        return buf->data + buf->len;
    }
    return buf_reserve_slow(buf, more);
}
/* Drops the first n bytes, moving the rest to the front. */
void buf_consume(struct buf *buf, size_t n);

static inline void buf_put(struct buf *buf, const void *bytes, size_t len)
{
    char *to = len ? buf_reserve(buf, len) : NULL;
    if (to) {
        memcpy(to, bytes, len);
        buf->len += len;
    }
}

static inline void buf_put_char(struct buf *buf, char c)
{
    char *to = buf_reserve(buf, 1);
    if (to) {
        *to = c;
        buf->len++;
    }
}

void buf_put_i64(struct buf *buf, int64_t value);
/* A decimal number with up to six decimals, no trailing zeros: 25000000 -> 25, 1500000 -> 1.5 */
void buf_put_micros(struct buf *buf, int64_t micros);
/* Inside JSON quotes: escapes " \ and control bytes; other bytes pass (input was valid UTF-8). */
void buf_put_json_escaped(struct buf *buf, struct str text);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline void buf_put_str(struct buf *buf, struct str text)
{
    buf_put(buf, text.ptr, text.len);
}
#define BUF_PUT_LITERAL(buf, literal) buf_put((buf), (literal), sizeof(literal) - 1)
