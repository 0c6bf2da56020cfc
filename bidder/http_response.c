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

/* More than all that is written besides the response's own texts: the longest status line has 47
 * bytes, the names of the headers, the length and the line ends have 96. */
#define HEAD_BYTES 192

static inline char *put(char *to, struct str text)
{
    if (text.len) {
        memcpy(to, text.ptr, text.len);
    }
    return to + text.len;
}

static char *put_head(char *to, const struct http_response *response, bool has_body,
                      enum http_connection connection)
{
    struct str head = head_of(response->status);
    char digits[STR_I64_BYTES];
    BUG_ON(head.len == 0); /* only statuses of the table are sent */
    to = put(to, head);
    if (response->content_type.len) {
        to = put(to, STR("Content-Type: "));
        to = put(to, response->content_type);
        to = put(to, STR("\r\n"));
    }
    if (response->content_encoding.len) {
        to = put(to, STR("Content-Encoding: "));
        to = put(to, response->content_encoding);
        to = put(to, STR("\r\n"));
    }
    to = put(to, response->headers);
    if (connection == HTTP_CONNECTION_CLOSE || response->close) {
        to = put(to, STR("Connection: close\r\n"));
    } else if (connection == HTTP_CONNECTION_KEEP) {
        to = put(to, STR("Connection: keep-alive\r\n"));
    }
    if (has_body) {
        to = put(to, STR("Content-Length: "));
        to = put(to, str_of_i64((int64_t)response->body.len, digits));
        to = put(to, STR("\r\n"));
    }
    return put(to, STR("\r\n"));
}

void http_response_write(struct buf *out, const struct http_response *response, bool head_only,
                         enum http_connection connection)
{
    bool has_body = response->status != 204 && response->status != 304;
    struct str body = has_body && !head_only ? response->body : STR_NONE;
    size_t most = HEAD_BYTES + response->content_type.len + response->content_encoding.len +
                  response->headers.len + body.len;
    char *start = buf_reserve(out, most);
    if (start) {
        char *end = put(put_head(start, response, has_body, connection), body);
        out->len += (size_t)(end - start);
    }
}
