/* The request reader: every valid request cut at every byte, a table of invalid ones, limits. */
#include "tests/test.h"

#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/http.h"
#include "bidder/http_response.h"
#include "bidder/http_text.h"

static const struct http_limits limits = {
    .line_bytes = 200, .head_bytes = 600, .header_count = 8, .body_bytes = 64};

/* Feeds the text in pieces of step bytes, in memory that is never larger than what has been fed,
 * so that the sanitizer sees a read too far. *data is the caller's to free. */
static enum http_result feed(struct http_reader *reader, struct str text, size_t step, char **data)
{
    enum http_result result = HTTP_PARTIAL;
    size_t len = 0, fed = 0;
    *data = NULL;
    http_reader_init(reader, &limits);
    while (fed < text.len && result == HTTP_PARTIAL) {
        size_t piece = text.len - fed < step ? text.len - fed : step;
        char *moved = malloc(len + piece); /* a new place each time: offsets must hold */
        BUG_ON(!moved);
        if (len) {
            memcpy(moved, *data, len);
        }
        memcpy(moved + len, text.ptr + fed, piece);
        free(*data);
        *data = moved;
        len += piece;
        fed += piece;
        result = http_read(reader, *data, &len);
    }
    if (result == HTTP_DONE) {
        CHECK(reader->consumed <= len);
    }
    return result;
}

#define H  "Host: dsp.example\r\n"
#define CH H "Transfer-Encoding: chunked\r\n\r\n"

static const struct {
    const char *wire;
    enum http_method method;
    const char *path, *query, *body;
    bool keep_alive;
} valid[] = {
    {"GET / HTTP/1.1\r\n" H "\r\n", HTTP_GET, "/", "", "", true},
    {"\r\nGET / HTTP/1.1\r\n" H "\r\n", HTTP_GET, "/", "", "", true},
    {"HEAD /healthz HTTP/1.1\r\nhost:x\r\n\r\n", HTTP_HEAD, "/healthz", "", "", true},
    {"GET /notice/w?p=1.5&x=%7B HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", HTTP_GET, "/notice/w",
     "p=1.5&x=%7B", "", true},
    {"GET http://dsp.example:80/a?b HTTP/1.1\r\n" H "\r\n", HTTP_GET, "/a", "b", "", true},
    {"GET HTTP://dsp.example HTTP/1.1\r\n" H "\r\n", HTTP_GET, "/", "", "", true},
    {"OPTIONS * HTTP/1.1\r\n" H "\r\n", HTTP_OTHER, "*", "", "", true},
    {"get / HTTP/1.1\r\n" H "\r\n", HTTP_UNKNOWN, "/", "", "", true},
    {"POST /openrtb2/x HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello", HTTP_POST, "/openrtb2/x",
     "", "hello", true},
    {"POST /a HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", HTTP_POST, "/a", "", "", true},
    {"POST /a HTTP/1.1\r\n" H "Content-Length:\t 003 \t\r\n\r\na\r\n", HTTP_POST, "/a", "", "a\r\n",
     true},
    {"POST /a HTTP/1.1\r\n" H "Connection: foo, Close\r\nContent-Length: 1\r\n\r\nx", HTTP_POST,
     "/a", "", "x", false},
    {"POST /a HTTP/1.0\r\nContent-Length: 1\r\n\r\nx", HTTP_POST, "/a", "", "x", false},
    {"POST /a HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx", HTTP_POST, "/a",
     "", "x", true},
    {"GET /a HTTP/1.7\r\n" H "\r\n", HTTP_GET, "/a", "", "", true},
    {"POST /a HTTP/1.1\r\n" CH "5\r\nhello\r\n0\r\n\r\n", HTTP_POST, "/a", "", "hello", true},
    {"POST /a HTTP/1.1\r\n" CH "1\r\nh\r\n1\r\ne\r\n0A\r\n0123456789\r\n000\r\n\r\n", HTTP_POST,
     "/a", "", "he0123456789", true},
    {"POST /a HTTP/1.1\r\n" CH "2;x=y;z=\"q\"\r\n\r\n\r\n0;end\r\nX-Sum: 1\r\n\r\n", HTTP_POST,
     "/a", "", "\r\n", true},
    {"POST /a HTTP/1.1\r\n" CH "0\r\n\r\n", HTTP_POST, "/a", "", "", true},
    {"POST /a HTTP/1.1\r\n" H "TRANSFER-ENCODING:  Chunked \r\n\r\n3\r\nabc\r\n0\r\n\r\n",
     HTTP_POST, "/a", "", "abc", true},
    {"GET /a HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nok", HTTP_GET, "/a", "", "ok", true},
    {"GET /a HTTP/1.1\r\n" H "X: \xe4\xb8\xad\x80\tz and more than eight\r\n\r\n", HTTP_GET, "/a",
     "", "", true},
    {"GET /a HTTP/1.1\r\nHost:\r\nEmpty:\r\n\r\n", HTTP_GET, "/a", "", "", true},
    {"POST /a HTTP/1.1\r\n" H "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\nx", HTTP_POST, "/a",
     "", "x", true},
    {"DELETE /a HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\nx", HTTP_OTHER, "/a", "", "x", true},
};

TEST(valid_requests_in_pieces_of_every_size)
{
    for (size_t i = 0; i < COUNT_OF(valid); i++) {
        struct str text = str_from(valid[i].wire);
        for (size_t step = 1; step <= text.len; step++) {
            struct http_reader reader;
            char *data;
            enum http_result result = feed(&reader, text, step, &data);
            if (result != HTTP_DONE) {
                TEST_FAIL("case %zu step %zu: result %d %s", i, step, result, reader.reason);
            } else {
                CHECK_INT(reader.request.method, valid[i].method);
                CHECK_STR(reader.request.path, valid[i].path);
                CHECK_STR(reader.request.query, valid[i].query);
                CHECK_STR(reader.request.body, valid[i].body);
                CHECK_INT(reader.request.keep_alive, valid[i].keep_alive);
            }
            free(data);
        }
    }
}

TEST(valid_requests_cut_at_every_byte_are_partial)
{
    for (size_t i = 0; i < COUNT_OF(valid); i++) {
        struct str text = str_from(valid[i].wire);
        for (size_t cut = 0; cut < text.len; cut++) {
            struct http_reader reader;
            char *data;
            CHECK_INT(feed(&reader, (struct str){text.ptr, cut}, cut ? cut : 1, &data),
                      HTTP_PARTIAL);
            free(data);
        }
    }
}

TEST(pipelined_requests_are_consumed_one_by_one)
{
    static const char wire[] = "POST /1 HTTP/1.1\r\n" CH "3\r\nabc\r\n0\r\n\r\n"
                               "GET /2 HTTP/1.1\r\n" H "\r\n"
                               "POST /3 HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nxyz";
    static const char *const paths[] = {"/1", "/2", "/3"};
    char data[sizeof(wire)];
    size_t len = sizeof(wire) - 1, start = 0;
    memcpy(data, wire, len);
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct http_reader reader;
        size_t rest = len - start;
        http_reader_init(&reader, &limits);
        CHECK_INT(http_read(&reader, data + start, &rest), HTTP_DONE);
        CHECK_STR(reader.request.path, paths[i]);
        len = start + rest; /* chunk framing may have been cut out */
        start += reader.consumed;
    }
    CHECK_INT(start, len);
}

#define REPEAT10(x) x x x x x x x x x x

static const struct bad_case {
    const char *wire;
    int status;
    size_t len; /* when the text holds a NUL */
} invalid[] = {
    /* request line */
    {"GET\r\n", 400, 0},
    {"GET /\r\n", 400, 0},
    {"GET / \r\n", 400, 0},
    {" GET / HTTP/1.1\r\n", 400, 0},
    {"\tGET / HTTP/1.1\r\n", 400, 0},
    {"GET  / HTTP/1.1\r\n", 400, 0},
    {"GET /  HTTP/1.1\r\n", 400, 0},
    {"GET / HTTP/1.1 \r\n", 400, 0},
    {"GET / a HTTP/1.1\r\n", 400, 0},
    {"GET\t/\tHTTP/1.1\r\n", 400, 0},
    {"GET / HTTP/1.1\n", 400, 0},
    {"\nGET / HTTP/1.1\r\n", 400, 0},
    {"\rGET / HTTP/1.1\r\n", 400, 0},
    {"\r\n\r\n\r\nGET / HTTP/1.1\r\n", 400, 0},
    {"G\"T / HTTP/1.1\r\n", 400, 0},
    {"GE\x80T / HTTP/1.1\r\n", 400, 0},
    {"\x16\x03\x01\x02", 400, 0},
    {"{\"id\":1}", 400, 0},
    {"GET /\x01 HTTP/1.1\r\n", 400, 0},
    {"GET /a\0b HTTP/1.1\r\n", 400, 19},
    {"GET /\x7f HTTP/1.1\r\n", 400, 0},
    {"GET /\xc3\xa9 HTTP/1.1\r\n", 400, 0},
    {"GET /a#b HTTP/1.1\r\n", 400, 0},
    {"GET a HTTP/1.1\r\n", 400, 0},
    {"GET ftp://h/ HTTP/1.1\r\n", 400, 0},
    {"GET http:///a HTTP/1.1\r\n", 400, 0},
    {"GET http://u@h/a HTTP/1.1\r\n", 400, 0},
    {"GET h:80 HTTP/1.1\r\n", 400, 0},
    {"CONNECT h:80 HTTP/1.1\r\n", 405, 0},
    {"GET / HTTP/1\r\n", 400, 0},
    {"GET / HTTP/1.10\r\n", 400, 0},
    {"GET / HTTP/11.1\r\n", 400, 0},
    {"GET / HTTP/1,1\r\n", 400, 0},
    {"GET / http/1.1\r\n", 400, 0},
    {"GET / HTTPS/1.1\r\n", 400, 0},
    {"GET / HTTP/a.1\r\n", 400, 0},
    {"GET / HTTP/2.0\r\n", 505, 0},
    {"GET / HTTP/0.9\r\n", 505, 0},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, 0},
    {"GET /" REPEAT10("aaaaaaaaaaaaaaaaaaaa"), 414, 0},
    {REPEAT10("AAAAAAAAAAAAAAAAAAAAA"), 414, 0},
    /* headers */
    {"GET / HTTP/1.1\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\nX: y\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\n" H H "\r\n", 400, 0},
    {"GET / HTTP/1.0\r\n" H H "\r\n", 400, 0},
    {"GET / HTTP/1.1\r\n" H "host: other\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\nHost: []\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\nHost: h\xc3\xa9\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\n" H "X: a\r\n\tb\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\n" H "X\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\n" H ": x\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\n" H "X Y: z\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\n" H "X(: z\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\n" H "X\x80: z\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\n" H "X\0: z\r\n\r\n", 400, 43},
    {"GET / HTTP/1.1\r\n" H "X: a\0b\r\n\r\n", 400, 45},
    {"GET / HTTP/1.1\r\n" H "X: a\rb\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\n" H "X: long enough for a word \x01 here\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\n" H "X: long enough for a word\x7f\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\n" H "X: a\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\n" H "X: a\r\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\n" H "X: a\r\n\n", 400, 0},
    {"GET / HTTP/1.1\r\n" REPEAT10("A: b\r\n") "\r\n", 431, 0},
    {"GET / HTTP/1.1\r\nA: " REPEAT10(
         "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff"),
     431, 0},
    {"GET / HTTP/1.1\r\n" H "Content-Type: a/b\r\nContent-Type: c/d\r\n\r\n", 400, 0},
    {"GET / HTTP/1.1\r\n" H "Authorization: a\r\nAuthorization: b\r\n\r\n", 400, 0},
    /* Content-Length */
    {"POST / HTTP/1.1\r\n" H "\r\n", 411, 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: +1\r\n\r\nx", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 0x1\r\n\r\nx", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 1a\r\n\r\nx", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 1 1\r\n\r\nx", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 1.0\r\n\r\nx", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 1, 1\r\n\r\nx", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 65\r\n\r\n", 413, 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551617\r\n\r\nx", 413, 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999999999\r\n\r\nx", 413, 0},
    /* Transfer-Encoding and smuggling */
    {"POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\nx", 400, 0},
    {"POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\n", 501, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n", 501, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n", 501, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", 501, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, gzip\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, chunked\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, \r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: ,chunked\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked;q=1\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: \"chunked\"\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\x0b\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding : chunked\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n chunked\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
     400, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n", 400, 0},
    /* chunks */
    {"POST / HTTP/1.1\r\n" CH "\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" CH "x\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" CH "-1\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" CH "+1\r\nx\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" CH "0x1\r\nx\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" CH " 1\r\nx\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" CH "1 \r\nx\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" CH "1 ;a\r\nx\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" CH "1;a\x01\r\nx\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" CH "1;a\nx\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" CH "1\nx\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" CH "1\rx\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" CH "1\r\nxy\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" CH "1\r\nx\n0\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" CH "1\r\nx0\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" CH "41\r\n", 413, 0},
    {"POST / HTTP/1.1\r\n" CH "1\r\nx\r\n40\r\n", 413, 0},
    {"POST / HTTP/1.1\r\n" CH "10000000000000001\r\nx\r\n", 413, 0},
    {"POST / HTTP/1.1\r\n" CH "ffffffffffffffff\r\nx\r\n", 413, 0},
    {"POST / HTTP/1.1\r\n" CH "1;" REPEAT10("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), 400, 0},
    {"POST / HTTP/1.1\r\n" CH REPEAT10("1;" REPEAT10("aaaaaaa") "\r\nx\r\n"), 400, 0},
    {"POST / HTTP/1.1\r\n" CH "0\r\nContent-Length: 3\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" CH "0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" CH "0\r\n folded\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" CH "0\r\nX\r\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" CH "0\r\nX: y\n\r\n", 400, 0},
    {"POST / HTTP/1.1\r\n" CH "0\r\n" REPEAT10("A: b\r\n") "\r\n", 431, 0},
    {"POST / HTTP/1.1\r\n" CH "0\r\nA: " REPEAT10(REPEAT10("1234567")), 431, 0},
    /* Expect */
    {"POST / HTTP/1.1\r\n" H "Expect: 200-ok\r\nContent-Length: 1\r\n\r\nx", 417, 0},
    {"POST / HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 65\r\n\r\n", 413, 0},
};

TEST(invalid_requests_are_refused_however_they_are_cut)
{
    CHECK(COUNT_OF(invalid) >= 80);
    for (size_t i = 0; i < COUNT_OF(invalid); i++) {
        struct str text = {invalid[i].wire,
                           invalid[i].len ? invalid[i].len : strlen(invalid[i].wire)};
        for (size_t step = 1; step <= text.len; step++) {
            struct http_reader reader;
            char *data;
            enum http_result result = feed(&reader, text, step, &data);
            if (result != HTTP_BAD || reader.status != invalid[i].status) {
                TEST_FAIL("case %zu step %zu: result %d status %d (%s), expected %d: %s", i, step,
                          result, reader.status, reader.reason ? reader.reason : "-",
                          invalid[i].status, invalid[i].wire);
                step = text.len;
            }
            free(data);
        }
    }
}

TEST(limits_are_exact)
{
    char wire[1024];
    for (int extra = 0; extra < 2; extra++) {
        struct http_reader reader;
        char *data;
        int len = snprintf(wire, sizeof(wire), "GET /%0*d HTTP/1.1\r\n" H "\r\n", 186 + extra, 0);
        enum http_result result = feed(&reader, (struct str){wire, (size_t)len}, 7, &data);
        CHECK_INT(result, extra ? HTTP_BAD : HTTP_DONE);
        CHECK_INT(reader.status, extra ? 414 : 0);
        free(data);

        len = snprintf(wire, sizeof(wire), "POST / HTTP/1.1\r\n" CH "%x\r\n%0*d\r\n0\r\n\r\n",
                       64 + (unsigned)extra, 64 + extra, 0);
        result = feed(&reader, (struct str){wire, (size_t)len}, 5, &data);
        CHECK_INT(result, extra ? HTTP_BAD : HTTP_DONE);
        CHECK_INT(reader.status, extra ? 413 : 0);
        free(data);
    }
}

TEST(many_small_chunks_need_no_more_room_than_their_data)
{
    struct http_reader reader;
    char data[512];
    static const char head[] = "POST / HTTP/1.1\r\n" CH;
    size_t len = sizeof(head) - 1;
    memcpy(data, head, len);
    http_reader_init(&reader, &limits);
    CHECK_INT(http_read(&reader, data, &len), HTTP_PARTIAL);
    for (unsigned i = 0; i < 64; i++) {
        memcpy(data + len, "1\r\nx\r\n", 6);
        len += 6;
        CHECK_INT(http_read(&reader, data, &len), HTTP_PARTIAL);
        CHECK_INT(len, sizeof(head) - 1 + i + 1);
    }
    memcpy(data + len, "0\r\n\r\n", 5);
    len += 5;
    CHECK_INT(http_read(&reader, data, &len), HTTP_DONE);
    CHECK_INT(reader.request.body.len, 64);
}

TEST(fields_are_found_and_trimmed)
{
    struct http_reader reader;
    char *data;
    struct str text = STR("POST / HTTP/1.1\r\n" H "CONTENT-TYPE:\t application/json; charset=utf-8 "
                          "\r\nAccept-Encoding: br\r\naccept-encoding: gzip\r\n"
                          "X-OpenRTB-Version: 2.6\r\nContent-Length: 0\r\n\r\n");
    CHECK_INT(feed(&reader, text, text.len, &data), HTTP_DONE);
    const struct http_request *request = &reader.request;
    CHECK_STR(request->fields[HTTP_CONTENT_TYPE], "application/json; charset=utf-8");
    CHECK_STR(request->fields[HTTP_ACCEPT_ENCODING], "br"); /* the first, as http.h says */
    CHECK_STR(request->fields[HTTP_OPENRTB_VERSION], "2.6");
    CHECK_STR(request->fields[HTTP_AUTHORIZATION], "");
    CHECK(http_media_type_is(request->fields[HTTP_CONTENT_TYPE], STR("application/json")));
    CHECK(!http_media_type_is(request->fields[HTTP_CONTENT_TYPE], STR("application/jso")));
    free(data);
}

TEST(gzip_is_accepted_only_when_said)
{
    static const char *const yes[] = {"gzip", "br, GZIP;q=0.5", "*", "deflate,*;q=0.1", "x-gzip"};
    static const char *const no[] = {"", "br", "gzip;q=0", "gzip; q=0.000, *", "*;q=0", "gzipped"};
    for (size_t i = 0; i < COUNT_OF(yes); i++) {
        CHECK(http_accepts_gzip(str_from(yes[i])));
    }
    for (size_t i = 0; i < COUNT_OF(no); i++) {
        CHECK(!http_accepts_gzip(str_from(no[i])));
    }
}

TEST(query_values_are_found_by_whole_name)
{
    struct str value = STR_NONE;
    CHECK(http_query_get(STR("ab=1&b=2&c"), STR("b"), &value));
    CHECK_STR(value, "2");
    CHECK(http_query_get(STR("ab=1&b=2&c"), STR("c"), &value));
    CHECK_STR(value, "");
    CHECK(!http_query_get(STR("ab=1&b=2&c"), STR("a"), &value));
}

TEST(responses_are_written_whole)
{
    struct buf out;
    buf_init(&out, 4096);
    struct http_response response = {.status = 200,
                                     .content_type = STR("application/json"),
                                     .headers = STR("x-openrtb-version: 2.6\r\n"),
                                     .body = STR("{}")};
    http_response_write(&out, &response, false, HTTP_CONNECTION_DEFAULT);
    CHECK_STR(buf_str(&out), "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                             "x-openrtb-version: 2.6\r\nContent-Length: 2\r\n\r\n{}");
    buf_reset(&out);
    http_response_write(&out, &response, true, HTTP_CONNECTION_KEEP);
    CHECK_STR(buf_str(&out), "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                             "x-openrtb-version: 2.6\r\nConnection: keep-alive\r\n"
                             "Content-Length: 2\r\n\r\n");
    buf_reset(&out);
    response = (struct http_response){.status = 204, .close = true, .body = STR("never sent")};
    http_response_write(&out, &response, false, HTTP_CONNECTION_DEFAULT);
    CHECK_STR(buf_str(&out), "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    buf_deinit(&out);
}
