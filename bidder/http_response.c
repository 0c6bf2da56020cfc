#include "bidder/http_response.h"

#include <assert.h>

#include "bidder/base/bug.h"

#define STATUS_LINES(X)                                                                            \
    X(200, "OK")                                                                                   \
    X(202, "Accepted")                                                                             \
    X(204, "No Content")                                                                           \
    X(302, "Found")                                                                                \
    X(304, "Not Modified")                                                                         \
    X(400, "Bad Request")                                                                          \
    X(401, "Unauthorized")                                                                         \
    X(403, "Forbidden")                                                                            \
    X(404, "Not Found")                                                                            \
    X(405, "Method Not Allowed")                                                                   \
    X(408, "Request Timeout")                                                                      \
    X(409, "Conflict")                                                                             \
    X(410, "Gone")                                                                                 \
    X(411, "Length Required")                                                                      \
    X(413, "Content Too Large")                                                                    \
    X(414, "URI Too Long")                                                                         \
    X(415, "Unsupported Media Type")                                                               \
    X(417, "Expectation Failed")                                                                   \
    X(422, "Unprocessable Content")                                                                \
    X(429, "Too Many Requests")                                                                    \
    X(431, "Request Header Fields Too Large")                                                      \
    X(500, "Internal Server Error")                                                                \
    X(501, "Not Implemented")                                                                      \
    X(502, "Bad Gateway")                                                                          \
    X(503, "Service Unavailable")                                                                  \
    X(504, "Gateway Timeout")                                                                      \
    X(505, "HTTP Version Not Supported")

/* The head as far as it does not depend on the response. */
static struct str head_of(int status)
{
    switch (status) {
#define STATUS_CASE(code, text)                                                                    \
    case code:                                                                                     \
        return STR("HTTP/1.1 " #code " " text "\r\n");
        STATUS_LINES(STATUS_CASE)
#undef STATUS_CASE
    }
    return STR_NONE;
}

static const short status_codes[] = {
#define STATUS_CODE(code, text) code,
    STATUS_LINES(STATUS_CODE)
#undef STATUS_CODE
        0 /* any other */
};
static_assert(COUNT_OF(status_codes) == HTTP_STATUS_COUNT, "the header says how many");

unsigned http_status_index(int status)
{
    unsigned i = 0;
    while (i < HTTP_STATUS_COUNT - 1 && status_codes[i] != status) {
        i++;
    }
    return i;
}

const char *http_status_label(unsigned index)
{
    static const char *const labels[] = {
#define STATUS_LABEL(code, text) #code,
        STATUS_LINES(STATUS_LABEL)
#undef STATUS_LABEL
            "other"};
    return labels[index];
}

void http_response_write(struct buf *out, const struct http_response *response, bool head_only,
                         enum http_connection connection)
{
    struct str head = head_of(response->status);
    BUG_ON(head.len == 0); /* only statuses of the table are sent */
    buf_put_str(out, head);
    if (response->content_type.len) {
        BUF_PUT_LITERAL(out, "Content-Type: ");
        buf_put_str(out, response->content_type);
        BUF_PUT_LITERAL(out, "\r\n");
    }
    if (response->content_encoding.len) {
        BUF_PUT_LITERAL(out, "Content-Encoding: ");
        buf_put_str(out, response->content_encoding);
        BUF_PUT_LITERAL(out, "\r\n");
    }
    buf_put_str(out, response->headers);
    if (connection == HTTP_CONNECTION_CLOSE || response->close) {
        BUF_PUT_LITERAL(out, "Connection: close\r\n");
    } else if (connection == HTTP_CONNECTION_KEEP) {
        BUF_PUT_LITERAL(out, "Connection: keep-alive\r\n");
    }
    bool has_body = response->status != 204 && response->status != 304;
    if (has_body) {
        BUF_PUT_LITERAL(out, "Content-Length: ");
        buf_put_i64(out, (int64_t)response->body.len);
        BUF_PUT_LITERAL(out, "\r\n");
    }
    BUF_PUT_LITERAL(out, "\r\n");
    if (has_body && !head_only) {
        buf_put_str(out, response->body);
    }
}
