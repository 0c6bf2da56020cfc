/* A small blocking HTTP/1.1 client for the admin port: one request per connection. */
#pragma once

#include "bidder/base/buf.h"
#include "bidder/base/status.h"

struct ctl_http_request {
    const char *address; /* "127.0.0.1:8081", "[::1]:8081", "unix:/run/jointcap/admin.sock" */
    const char *method, *path;
    struct str token; /* sent as bearer token when not empty */
    const char *content_type;
    struct str body;
    int timeout_s; /* for connecting, and between two bytes */
};

/* Appends the answer's body. Several resolved addresses are tried in turn. STATUS_IO with a half
 * sentence in error: no connection; STATUS_INVALID: what came is not HTTP. */
enum status ctl_http(const struct ctl_http_request *request, int *status_code, struct buf *body,
                     struct buf *error) MUST_USE;

/* A whole answer in bytes -> status and body; pure. complete: the peer closed, so nothing more
 * comes. STATUS_LIMIT: more bytes are needed. */
enum status ctl_http_parse(struct str bytes, bool complete, int *status_code,
                           struct buf *body) MUST_USE;
