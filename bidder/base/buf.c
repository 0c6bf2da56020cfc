#include "bidder/base/buf.h"

#include <stdio.h>
#include <stdlib.h>

#include "bidder/base/bug.h"

#define BUF_FIRST_BYTES 512

void buf_init(struct buf *buf, size_t limit)
{
    *buf = (struct buf){.limit = limit};
}

void buf_deinit(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){.limit = buf->limit};
}

char *buf_reserve(struct buf *buf, size_t more)
{
    if (LIKELY(!buf->failed && buf->cap - buf->len >= more && buf->data)) {
        return buf->data + buf->len;
    }
    if (buf->failed || more > buf->limit || buf->len > buf->limit - more) {
        buf->failed = true;
        return NULL;
    }
    size_t cap = buf->cap ? buf->cap : BUF_FIRST_BYTES;
    while (cap < buf->len + more) {
        cap *= 2;
    }
    if (cap > buf->limit) {
        cap = buf->limit;
    }
    char *data = realloc(buf->data, cap ? cap : 1);
    if (!data) {
        buf->failed = true;
        return NULL;
    }
    buf->data = data;
    buf->cap = cap;
    return data + buf->len;
}

void buf_consume(struct buf *buf, size_t n)
{
    BUG_ON(n > buf->len);
    if (n < buf->len && n) {
        memmove(buf->data, buf->data + n, buf->len - n);
    }
    buf->len -= n;
}

void buf_put(struct buf *buf, const void *bytes, size_t len)
{
    char *to = len ? buf_reserve(buf, len) : NULL;
    if (to) {
        memcpy(to, bytes, len);
        buf->len += len;
    }
}

void buf_put_char(struct buf *buf, char c)
{
    char *to = buf_reserve(buf, 1);
    if (to) {
        *to = c;
        buf->len++;
    }
}

/* Writes value's digits backwards from end; returns where they start. */
static char *digits_before(char *end, uint64_t value)
{
    do {
        *--end = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    return end;
}

void buf_put_i64(struct buf *buf, int64_t value)
{
    char text[24];
    char *end = text + sizeof(text);
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    char *start = digits_before(end, magnitude);
    if (value < 0) {
        *--start = '-';
    }
    buf_put(buf, start, (size_t)(end - start));
}

void buf_put_micros(struct buf *buf, int64_t micros)
{
    uint64_t magnitude = micros < 0 ? 0 - (uint64_t)micros : (uint64_t)micros;
    if (micros < 0) {
        buf_put_char(buf, '-');
    }
    char text[24];
    char *end = text + sizeof(text);
    char *start = digits_before(end, magnitude / 1000000);
    buf_put(buf, start, (size_t)(end - start));
    uint64_t rest = magnitude % 1000000;
    if (!rest) {
        return;
    }
    start = digits_before(end, rest + 1000000); /* the leading 1 keeps the zeros, then becomes . */
    *start = '.';
    while (end[-1] == '0') {
        end--;
    }
    buf_put(buf, start, (size_t)(end - start));
}

/* Eight bytes at once: the high bit of each byte that is `"`, `\` or below 0x20, and perhaps of one
 * above such a byte; 0 only when there is none. (The usual trick: x - 1 borrows into the high bit
 * of a zero byte.) */
static inline uint64_t json_special(const char *eight)
{
    const uint64_t ones = 0x0101010101010101ull, tops = 0x8080808080808080ull;
    uint64_t word;
    memcpy(&word, eight, sizeof(word));
    uint64_t quote = word ^ (ones * '"'), slash = word ^ (ones * '\\');
    uint64_t control = (word - ones * 0x20) & ~word;
    return (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | control) & tops;
}

void buf_put_json_escaped(struct buf *buf, struct str text)
{
    static const char hex[] = "0123456789abcdef";
    size_t clean = 0; /* text[clean..i) needs no escape and goes in one piece */
    for (size_t i = 0; i < text.len; i++) {
        while (text.len - i >= 8 && !json_special(text.ptr + i)) {
            i += 8;
        }
        if (i == text.len) {
            break;
        }
        unsigned char c = (unsigned char)text.ptr[i];
        if (LIKELY(c >= 0x20 && c != '"' && c != '\\')) {
            continue;
        }
        buf_put(buf, text.ptr + clean, i - clean);
        clean = i + 1;
        if (c >= 0x20) {
            char two[2] = {'\\', (char)c};
            buf_put(buf, two, 2);
        } else {
            char six[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            buf_put(buf, six, 6);
        }
    }
    buf_put(buf, text.ptr + clean, text.len - clean);
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    BUG_ON(need < 0);
    char *to = buf_reserve(buf, (size_t)need + 1);
    if (!to) {
        return;
    }
    va_start(args, format);
    vsnprintf(to, (size_t)need + 1, format, args);
    va_end(args);
    buf->len += (size_t)need;
}
