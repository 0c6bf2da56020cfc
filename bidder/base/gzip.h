/* gzip of request and response bodies. The zlib streams are made once and reused, so a warm
 * request allocates nothing; what inflates is limited, because a few bytes can become gigabytes. */
#pragma once

#include "bidder/base/buf.h"
#include "bidder/base/status.h"
#include "bidder/base/str.h"

struct gzip;

/* level: zlib's, 1 (fast) to 9. NULL when memory is out. */
struct gzip *gzip_create(int level);
void gzip_destroy(struct gzip **gzip);

/* Appends what text inflates to. STATUS_LIMIT: more than limit bytes; STATUS_INVALID: no whole gzip
 * member, or bytes behind it. out then holds a part. */
enum status gzip_inflate(struct gzip *gzip, struct str text, size_t limit,
                         struct buf *out) MUST_USE;
/* Appends one gzip member. STATUS_LIMIT: out's limit. */
enum status gzip_deflate(struct gzip *gzip, struct str text, struct buf *out) MUST_USE;
