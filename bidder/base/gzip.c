#include "bidder/base/gzip.h"

#include <stdlib.h>
#include <zlib.h>

#include "bidder/base/bug.h"

#define GZIP_WINDOW      (15 + 16) /* 32 KiB window; + 16: the gzip format only */
#define GZIP_MEM_LEVEL   8
#define GZIP_ROOM_BYTES  4096
#define GZIP_INPUT_LIMIT ((size_t)1 << 30)

struct gzip {
    z_stream in, out;
};

struct gzip *gzip_create(int level)
{
    struct gzip *gzip = calloc(1, sizeof(*gzip));
    if (!gzip) {
        return NULL;
    }
    if (inflateInit2(&gzip->in, GZIP_WINDOW) != Z_OK) {
        free(gzip);
        return NULL;
    }
    if (deflateInit2(&gzip->out, level, Z_DEFLATED, GZIP_WINDOW, GZIP_MEM_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        inflateEnd(&gzip->in);
        free(gzip);
        return NULL;
    }
    return gzip;
}

void gzip_destroy(struct gzip **out)
{
    struct gzip *gzip = *out;
    if (gzip) {
        inflateEnd(&gzip->in);
        deflateEnd(&gzip->out);
        free(gzip);
        *out = NULL;
    }
}

static void set_input(z_stream *stream, struct str text)
{
    stream->next_in = (Bytef *)(uintptr_t)text.ptr; /* zlib only reads it */
    stream->avail_in = (uInt)text.len;
}

enum status gzip_inflate(struct gzip *gzip, struct str text, size_t limit, struct buf *out)
{
    if (text.len > GZIP_INPUT_LIMIT) {
        return STATUS_LIMIT;
    }
    z_stream *stream = &gzip->in;
    BUG_ON(inflateReset(stream) != Z_OK);
    set_input(stream, text);
    size_t left = limit;
    int result = Z_OK;
    while (result == Z_OK) {
        size_t room =
            left < GZIP_ROOM_BYTES ? left + 1 : GZIP_ROOM_BYTES; /* + 1: to see too much */
        char *at = buf_reserve(out, room);
        if (!at) {
            return STATUS_LIMIT;
        }
        stream->next_out = (Bytef *)at;
        stream->avail_out = (uInt)room;
        result = inflate(stream, Z_NO_FLUSH);
        size_t made = room - stream->avail_out;
        if (made > left) {
            return STATUS_LIMIT;
        }
        left -= made;
        out->len += made;
    }
    return result == Z_STREAM_END && stream->avail_in == 0 ? STATUS_OK : STATUS_INVALID;
}

enum status gzip_deflate(struct gzip *gzip, struct str text, struct buf *out)
{
    if (text.len > GZIP_INPUT_LIMIT) {
        return STATUS_LIMIT;
    }
    z_stream *stream = &gzip->out;
    BUG_ON(deflateReset(stream) != Z_OK);
    set_input(stream, text);
    size_t room = deflateBound(stream, (uLong)text.len);
    char *at = buf_reserve(out, room);
    if (!at) {
        return STATUS_LIMIT;
    }
    stream->next_out = (Bytef *)at;
    stream->avail_out = (uInt)room;
    int result = deflate(stream, Z_FINISH);
    BUG_ON(result != Z_STREAM_END); /* deflateBound is enough for one call */
    out->len += room - stream->avail_out;
    return STATUS_OK;
}
