/* HTTP/1.1 response reader: status line, the three headers that matter, then a body by length, by
 * chunks or up to the end of the connection (RFC 9112, section 6.3). */
#include "bench/load/response.h"

#include <string.h>

struct head {
    unsigned status;
    bool keep_alive;
    bool is_chunked;
    bool has_length;
    size_t length;
    size_t size; /* up to and including the empty line */
};

static bool digits(struct str text, size_t *value)
{
    int64_t number;
    if (!str_to_i64(text, &number) || number < 0 || text.ptr[0] == '+') {
        return false;
    }
    *value = (size_t)number;
    return true;
}

static bool take_header(struct str line, struct head *head)
{
    /* Only the first letter is looked at for headers nobody asks for. */
    char first = line.len ? str_ascii_lower(line.ptr[0]) : 0;
    if (first != 'c' && first != 't') {
        return true;
    }
    struct str value = line;
    struct str name = str_cut(&value, ':');
    value = str_trim(value);
    if (str_eq_nocase(name, STR("content-length"))) {
        head->has_length = true;
        return digits(value, &head->length);
    }
    if (str_eq_nocase(name, STR("transfer-encoding"))) {
        head->is_chunked = str_eq_nocase(value, STR("chunked"));
        return head->is_chunked;
    }
    if (str_eq_nocase(name, STR("connection"))) {
        head->keep_alive = str_eq_nocase(value, STR("keep-alive")) ||
                           (head->keep_alive && !str_eq_nocase(value, STR("close")));
    }
    return true;
}

static enum response_result read_head(const char *bytes, size_t len, struct head *head)
{
    *head = (struct head){0};
    const char *end = memmem(bytes, len, "\r\n\r\n", 4);
    if (!end) {
        return len >= 7 && memcmp(bytes, "HTTP/1.", 7) != 0 ? RESPONSE_BAD : RESPONSE_PARTIAL;
    }
    head->size = (size_t)(end - bytes) + 4;
    if (head->size < 16 || memcmp(bytes, "HTTP/1.", 7) != 0 || bytes[8] != ' ') {
        return RESPONSE_BAD;
    }
    head->keep_alive = bytes[7] == '1';
    size_t status;
    if (!digits((struct str){.ptr = bytes + 9, .len = 3}, &status) || status < 100) {
        return RESPONSE_BAD;
    }
    head->status = (unsigned)status;
    const char *line = memchr(bytes, '\n', head->size);
    while (line + 1 < end) {
        const char *start = line + 1;
        line = memchr(start, '\n', (size_t)(end + 2 - start));
        if (!take_header((struct str){.ptr = start, .len = (size_t)(line - 1 - start)}, head)) {
            return RESPONSE_BAD;
        }
    }
    return RESPONSE_DONE;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One pass over the chunks; with join the data is moved together at into. */
static enum response_result walk_chunks(char *bytes, size_t len, char *into, size_t *body_len,
                                        size_t *used)
{
    size_t at = 0;
    *body_len = 0;
    for (;;) {
        const char *line_end = memmem(bytes + at, len - at, "\r\n", 2);
        if (!line_end) {
            return RESPONSE_PARTIAL;
        }
        size_t size = 0;
        size_t start = at;
        for (; hex_digit(str_ascii_lower(bytes[at])) >= 0 && at - start < 8; at++) {
            size = size * 16 + (size_t)hex_digit(str_ascii_lower(bytes[at]));
        }
        if (at == start || (bytes[at] != '\r' && bytes[at] != ';' && bytes[at] != ' ')) {
            return RESPONSE_BAD;
        }
        at = (size_t)(line_end - bytes) + 2;
        if (!size) { /* trailers are not expected, and skipped */
            const char *end = memmem(bytes + at - 2, len - at + 2, "\r\n\r\n", 4);
            *used = end ? (size_t)(end - bytes) + 4 : 0;
            return end ? RESPONSE_DONE : RESPONSE_PARTIAL;
        }
        if (len - at < size + 2) {
            return RESPONSE_PARTIAL;
        }
        if (into) {
            memmove(into + *body_len, bytes + at, size);
        }
        *body_len += size;
        at += size + 2;
    }
}

static enum response_result read_body(char *bytes, size_t len, bool at_eof, const struct head *head,
                                      struct response *response)
{
    size_t body_len = 0, used = 0;
    if (head->status == 204 || head->status == 304) {
        /* never a body */
    } else if (head->is_chunked) {
        enum response_result result = walk_chunks(bytes, len, NULL, &body_len, &used);
        if (result != RESPONSE_DONE) {
            return result == RESPONSE_PARTIAL && at_eof ? RESPONSE_BAD : result;
        }
        (void)walk_chunks(bytes, len, bytes, &body_len, &used);
    } else if (head->has_length) {
        if (len < head->length) {
            return at_eof ? RESPONSE_BAD : RESPONSE_PARTIAL;
        }
        body_len = used = head->length;
    } else {
        if (!at_eof) {
            return RESPONSE_PARTIAL;
        }
        body_len = used = len;
        response->keep_alive = false;
    }
    response->body = (struct str){.ptr = bytes, .len = body_len};
    response->consumed += used;
    return RESPONSE_DONE;
}

enum response_result response_read(char *bytes, size_t len, bool at_eof, struct response *response)
{
    *response = (struct response){0};
    struct head head;
    do {
        enum response_result result =
            read_head(bytes + response->consumed, len - response->consumed, &head);
        if (result != RESPONSE_DONE) {
            return result == RESPONSE_PARTIAL && at_eof ? RESPONSE_BAD : result;
        }
        response->consumed += head.size;
    } while (head.status < 200);
    response->status = head.status;
    response->keep_alive = head.keep_alive;
    return read_body(bytes + response->consumed, len - response->consumed, at_eof, &head, response);
}
