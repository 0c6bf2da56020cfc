#include "bidder/base/buf.h"

#include <stdio.h>
#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/scan.h"

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

char *buf_reserve_slow(struct buf *buf, size_t more)
{
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
    char text[STR_I64_BYTES];
    buf_put_str(buf, str_of_i64(value, text));
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

void buf_put_json_escaped(struct buf *buf, struct str text)
{
    static const char hex[] = "0123456789abcdef";
    if (!text.len) {
        return; /* ptr may be NULL */
    }
    const char *end = text.ptr + text.len;
    const char *clean = text.ptr; /* from here on nothing needs an escape: goes in one piece */
    for (const char *at = scan_json(clean, end); at < end; at = scan_json(at + 1, end)) {
        unsigned char c = (unsigned char)*at;
        if (c >= 0x80) {
            continue;
        }
        buf_put(buf, clean, (size_t)(at - clean));
        clean = at + 1;
        if (c >= 0x20) {
            char two[2] = {'\\', (char)c};
            buf_put(buf, two, 2);
        } else {
            char six[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            buf_put(buf, six, 6);
        }
    }
    buf_put(buf, clean, (size_t)(end - clean));
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
