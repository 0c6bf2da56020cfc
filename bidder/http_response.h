/* Writes HTTP/1.1 responses into a buffer. Pure. */
#pragma once

#include "bidder/base/buf.h"
#include "bidder/base/str.h"

struct http_response {
    int status;
    struct str content_type;     /* empty: no such header */
    struct str content_encoding; /* empty: none */
    struct str headers;          /* further whole lines with CRLF, may be empty */
    struct str body;             /* borrowed until the call returns */
    bool close;                  /* say Connection: close; the connection ends behind it */
};

enum http_connection { HTTP_CONNECTION_DEFAULT, HTTP_CONNECTION_CLOSE, HTTP_CONNECTION_KEEP };

/* Appends the response. 204 and 304 have no body; head_only leaves the body out but says its
 * length. connection: what to say about it (HTTP/1.0 clients have to be told to keep it). */
void http_response_write(struct buf *out, const struct http_response *response, bool head_only,
                         enum http_connection connection);
/* For counting by status: a number below HTTP_STATUS_COUNT, and its code as text. */
#define HTTP_STATUS_COUNT 28
unsigned http_status_index(int status);
const char *http_status_label(unsigned index);

#define HTTP_CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"
