/* HTTP/1.x requests: a pure, incremental reader, and the response writer. No I/O here.
 *
 *   data  [ request line | headers | blank line | body | next request ... ]
 *          ^ the caller appends at the end and calls http_read until it is done
 *
 * The reader judges every line when it is complete, so the result does not depend on how the bytes
 * were cut. A chunked body is joined in place. Views into data are made when the request is
 * complete and live as long as the caller leaves data alone.
 *
 * What is refused is refused strictly, because a proxy in front may read a lax form differently
 * (request smuggling): a line must end with CRLF (a bare LF or CR is 400), no space before a colon,
 * no folded headers, one Host in 1.1, Content-Length once and digits only, never together with
 * Transfer-Encoding, no transfer coding but chunked. A bad request leaves the position of the next
 * one unknown, so the connection is closed after the answer. Errors found above the reader
 * (404, 405, 415, a bad body) keep it. */
#pragma once

#include "bidder/base/buf.h"
#include "bidder/base/status.h"
#include "bidder/base/str.h"

/* Headers somebody reads. SINGLE ones may come only once. */
#define HTTP_FIELDS(X)                                                                             \
    X(HTTP_HOST, "host", true)                                                                     \
    X(HTTP_CONTENT_TYPE, "content-type", true)                                                     \
    X(HTTP_CONTENT_ENCODING, "content-encoding", true)                                             \
    X(HTTP_ACCEPT_ENCODING, "accept-encoding", false)                                              \
    X(HTTP_AUTHORIZATION, "authorization", true)                                                   \
    X(HTTP_OPENRTB_VERSION, "x-openrtb-version", false)                                            \
    X(HTTP_CONTENT_LENGTH, "content-length", true)                                                 \
    X(HTTP_TRANSFER_ENCODING, "transfer-encoding", true)                                           \
    X(HTTP_CONNECTION, "connection", false)                                                        \
    X(HTTP_EXPECT, "expect", true)

#define HTTP_FIELD_ENUM(id, name, single) id,
enum http_field { HTTP_FIELDS(HTTP_FIELD_ENUM) HTTP_FIELD_COUNT };
#undef HTTP_FIELD_ENUM

/* Bits, so that a route can say which it takes. */
enum http_method {
    HTTP_GET = 1,
    HTTP_HEAD = 2,
    HTTP_POST = 4,
    HTTP_OTHER = 8,   /* a method of the standard that nothing here takes: 405 */
    HTTP_UNKNOWN = 16 /* a token that is no method we know: 501 */
};

struct http_limits {
    uint32_t line_bytes;   /* request line; longer: 414 */
    uint32_t head_bytes;   /* request line and headers together; more: 431 */
    uint32_t header_count; /* more: 431 */
    uint64_t body_bytes;   /* more: 413 */
};
#define HTTP_LIMITS_DEFAULT                                                                        \
    ((struct http_limits){                                                                         \
        .line_bytes = 8192, .head_bytes = 16384, .header_count = 100, .body_bytes = 1 << 20})
/* Framing of a chunked body may cost at most this much beside the data. */
#define HTTP_CHUNK_LINE_BYTES 256

struct http_request {
    enum http_method method;
    int minor;                           /* HTTP/1.minor, 0 or 1 */
    struct str path;                     /* up to the ?; begins with /, or is * */
    struct str query;                    /* behind the ?, may be empty */
    struct str fields[HTTP_FIELD_COUNT]; /* trimmed; empty when absent */
    struct str body;
    bool keep_alive; /* what the client wants */
};

enum http_result {
    HTTP_PARTIAL, /* append more and call again */
    HTTP_DONE,    /* reader->request is complete; reader->consumed bytes belong to it */
    HTTP_BAD      /* answer with reader->status and close */
};

enum http_phase {
    HTTP_PHASE_LINE,
    HTTP_PHASE_HEADERS,
    HTTP_PHASE_BODY,
    HTTP_PHASE_CHUNK_SIZE,
    HTTP_PHASE_CHUNK_DATA,
    HTTP_PHASE_CHUNK_END,
    HTTP_PHASE_TRAILERS,
    HTTP_PHASE_DONE,
    HTTP_PHASE_BAD
};

struct http_reader {
    const struct http_limits *limits; /* borrowed, outlives the reader */
    enum http_phase phase;
    int status;         /* of a bad request: 400, 411, 413, 414, 417, 431, 501, 505 */
    const char *reason; /* why it is bad, for the log and tests; static */
    size_t position;    /* everything before it has been judged */
    size_t scanned;     /* no line end before it */
    size_t head_start;
    size_t body_start;
    size_t body_end;     /* joined so far */
    uint64_t expected;   /* Content-Length, or what is left of the chunk */
    uint64_t body_limit; /* limits->body_bytes, unless lowered for this request */
    size_t extra_bytes;  /* chunk extensions and trailers so far */
    uint32_t headers;
    uint32_t fields_seen; /* bit set of enum http_field */
    struct http_span {
        uint32_t at, len;
    } target, spans[HTTP_FIELD_COUNT];
    bool chunked;
    bool close_asked, keep_asked;
    bool expect_continue; /* the client waits for 100 before it sends the body */
    size_t consumed;
    struct http_request request;
};

/* Ready for the request that begins at data[0]. */
void http_reader_init(struct http_reader *reader, const struct http_limits *limits);
/* Reads on; data[0..*len) is all that has come since the request's first byte. May move bytes and
 * shorten *len where chunk framing is cut out. Call again only after HTTP_PARTIAL. */
enum http_result http_read(struct http_reader *reader, char *data, size_t *len);
/* Bytes of a request have been seen, the request is not complete. */
bool http_reader_started(const struct http_reader *reader);
/* The head is complete and the body is not: it is time for 100 Continue when one is expected. */
bool http_reader_in_body(const struct http_reader *reader);
/* While the body is being read: the request as far as it is known, views as after HTTP_DONE. */
void http_reader_head(const struct http_reader *reader, const char *data,
                      struct http_request *head);
/* While the body is being read: it may have at most so many bytes. False: it already has more. */
bool http_reader_limit_body(struct http_reader *reader, uint64_t body_bytes);
