/* The reader walks through phases; each handles one line or one piece of the body.
 *
 *   LINE -> HEADERS -+-> BODY ----------------------------------------> DONE
 *                    +-> CHUNK_SIZE -> CHUNK_DATA -> CHUNK_END -+        ^
 *                    |        ^------------------------------- -+        |
 *                    |        +- size 0 -> TRAILERS ---------------------+
 *                    +-> DONE
 *   any of them -> BAD
 *
 * Positions are offsets, because the caller's buffer may move between calls.
 * Rules: RFC 9110 and 9112; where they leave a choice, http.h says which one is taken. */
#include "bidder/http.h"

#include <stdint.h>

#include "bidder/base/bug.h"
#include "bidder/http_text.h"

#define HTTP_LEADING_CRLF 2 /* RFC 9112 2.2: an empty line before a request is skipped */

static const struct {
    struct str name;
    bool single;
} field_table[HTTP_FIELD_COUNT] = {
#define HTTP_FIELD_ROW(id, text, once) [id] = {{text, sizeof(text) - 1}, once},
    HTTP_FIELDS(HTTP_FIELD_ROW)
#undef HTTP_FIELD_ROW
};

static enum http_result bad(struct http_reader *reader, int status, const char *reason)
{
    reader->phase = HTTP_PHASE_BAD;
    reader->status = status;
    reader->reason = reason;
    return HTTP_BAD;
}

void http_reader_init(struct http_reader *reader, const struct http_limits *limits)
{
    *reader = (struct http_reader){.limits = limits, .body_limit = limits->body_bytes};
}

bool http_reader_started(const struct http_reader *reader)
{
    return reader->phase != HTTP_PHASE_LINE || reader->scanned > reader->head_start;
}

bool http_reader_in_body(const struct http_reader *reader)
{
    return reader->phase >= HTTP_PHASE_BODY && reader->phase <= HTTP_PHASE_TRAILERS;
}

/* --- lines ---------------------------------------------------------------------------------- */

enum line_result { LINE_PARTIAL, LINE_WHOLE, LINE_BAD };

/* Finds the line at position; *line is without its CRLF. Looks at each byte once over all calls. */
static enum line_result next_line(struct http_reader *reader, const char *data, size_t len,
                                  struct str *line)
{
    size_t from = reader->scanned > reader->position ? reader->scanned : reader->position;
    const char *end = from < len ? memchr(data + from, '\n', len - from) : NULL;
    if (!end) {
        reader->scanned = len;
        size_t so_far = len - reader->position;
        so_far -= so_far && data[len - 1] == '\r'; /* so that limits do not depend on the cut */
        *line = (struct str){data + reader->position, so_far};
        return LINE_PARTIAL;
    }
    size_t line_len = (size_t)(end - (data + reader->position));
    reader->scanned = reader->position + line_len + 1;
    if (line_len == 0 || end[-1] != '\r') {
        *line = (struct str){data + reader->position, line_len};
        return LINE_BAD;
    }
    *line = (struct str){data + reader->position, line_len - 1};
    return LINE_WHOLE;
}

static struct http_span span_of(const char *data, struct str view)
{
    return (struct http_span){.at = (uint32_t)(view.ptr - data), .len = (uint32_t)view.len};
}

static struct str view_of(const char *data, struct http_span span)
{
    return (struct str){.ptr = data + span.at, .len = span.len};
}

/* --- request line --------------------------------------------------------------------------- */

static enum http_result check_version(struct http_reader *reader, struct str version)
{
    if (version.len != 8 || memcmp(version.ptr, "HTTP/", 5) != 0 ||
        !http_is_digit(version.ptr[5]) || version.ptr[6] != '.' || !http_is_digit(version.ptr[7])) {
        return bad(reader, 400, "malformed version");
    }
    if (version.ptr[5] != '1') {
        return bad(reader, 505, "only HTTP/1.x is spoken");
    }
    reader->request.minor = version.ptr[7] != '0';
    return HTTP_PARTIAL;
}

static enum http_result read_request_line(struct http_reader *reader, const char *data, size_t len)
{
    struct str line;
    enum line_result result = next_line(reader, data, len, &line);
    if (result == LINE_WHOLE && line.len == 0) {
        reader->position += 2;
        reader->head_start = reader->position;
        if (reader->position > 2 * HTTP_LEADING_CRLF) {
            return bad(reader, 400, "too many empty lines before the request");
        }
        return HTTP_PARTIAL;
    }
    if (line.len && !http_is_token_byte(line.ptr[0])) {
        return bad(reader, 400, "no method"); /* at once: TLS, for instance */
    }
    if (line.len > reader->limits->line_bytes) {
        return bad(reader, 414, "request line too long");
    }
    if (result == LINE_PARTIAL) {
        return HTTP_PARTIAL;
    }
    if (result == LINE_BAD) {
        return bad(reader, 400, "a line does not end with CRLF");
    }
    const char *first = memchr(line.ptr, ' ', line.len);
    const char *end = line.ptr + line.len;
    const char *second = first ? memchr(first + 1, ' ', (size_t)(end - first - 1)) : NULL;
    if (!second) {
        return bad(reader, 400, "malformed request line");
    }
    struct str method = {line.ptr, (size_t)(first - line.ptr)};
    struct str target = {first + 1, (size_t)(second - first - 1)};
    if (!http_is_token(method)) {
        return bad(reader, 400, "malformed method");
    }
    reader->request.method = http_method_of(method);
    if (check_version(reader, (struct str){second + 1, (size_t)(end - second - 1)}) == HTTP_BAD) {
        return HTTP_BAD;
    }
    if (str_eq(method, STR("CONNECT"))) {
        return bad(reader, 405, "CONNECT is for proxies"); /* its framing is another one */
    }
    if (!http_target_trim(&target)) {
        return bad(reader, 400, "malformed target");
    }
    reader->target = target.len ? span_of(data, target) : (struct http_span){0, 0};
    reader->position += line.len + 2;
    reader->phase = HTTP_PHASE_HEADERS;
    return HTTP_PARTIAL;
}

/* --- headers -------------------------------------------------------------------------------- */

static enum http_field field_of(struct str name)
{
    for (unsigned i = 0; i < HTTP_FIELD_COUNT; i++) {
        if (field_table[i].name.len == name.len && str_eq_nocase(field_table[i].name, name)) {
            return (enum http_field)i;
        }
    }
    return HTTP_FIELD_COUNT;
}

/* Splits "Name: value"; a reason when it is malformed, NULL when it is well. */
static const char *split_header(struct str line, struct str *name, struct str *value)
{
    if (line.ptr[0] == ' ' || line.ptr[0] == '\t') {
        return "folded header";
    }
    size_t at = 0;
    while (at < line.len && http_is_token_byte(line.ptr[at])) {
        at++;
    }
    if (at == 0 || at == line.len || line.ptr[at] != ':') {
        return "malformed header name";
    }
    *name = (struct str){line.ptr, at};
    *value = str_trim((struct str){line.ptr + at + 1, line.len - at - 1});
    return http_is_field_value(*value) ? NULL : "control byte in a header value";
}

static void note_connection(struct http_reader *reader, struct str value)
{
    while (value.len) {
        struct str option = str_trim(str_cut(&value, ','));
        reader->close_asked |= str_eq_nocase(option, STR("close"));
        reader->keep_asked |= str_eq_nocase(option, STR("keep-alive"));
    }
}

static enum http_result take_content_length(struct http_reader *reader, struct str value)
{
    uint64_t sum = 0;
    bool overflow = false;
    for (size_t i = 0; i < value.len; i++) {
        if (!http_is_digit(value.ptr[i])) {
            return bad(reader, 400, "Content-Length is not a number");
        }
        overflow |= __builtin_mul_overflow(sum, 10, &sum);
        overflow |= __builtin_add_overflow(sum, (uint64_t)(value.ptr[i] - '0'), &sum);
    }
    if (value.len == 0) {
        return bad(reader, 400, "Content-Length is empty");
    }
    reader->expected = overflow ? UINT64_MAX : sum;
    return HTTP_PARTIAL;
}

static enum http_result take_transfer_encoding(struct http_reader *reader, struct str value)
{
    if (reader->request.minor == 0) {
        return bad(reader, 400, "Transfer-Encoding in HTTP/1.0");
    }
    if (str_eq_nocase(value, STR("chunked"))) {
        reader->chunked = true;
        return HTTP_PARTIAL;
    }
    unsigned chunked = 0;
    bool last_chunked = false;
    if (value.len && value.ptr[value.len - 1] == ',') {
        return bad(reader, 400, "malformed Transfer-Encoding");
    }
    do {
        struct str coding = str_trim(str_cut(&value, ','));
        if (!http_is_token(coding)) {
            return bad(reader, 400, "malformed Transfer-Encoding");
        }
        last_chunked = str_eq_nocase(coding, STR("chunked"));
        chunked += last_chunked;
    } while (value.len);
    if (chunked > 1 || (chunked && !last_chunked)) {
        return bad(reader, 400, "chunked must come last and once");
    }
    return bad(reader, 501, "unknown transfer coding");
}

static enum http_result take_field(struct http_reader *reader, enum http_field field,
                                   struct str value)
{
    switch (field) {
    case HTTP_HOST:
        return http_is_host(value) ? HTTP_PARTIAL : bad(reader, 400, "malformed Host");
    case HTTP_CONTENT_LENGTH:
        return take_content_length(reader, value);
    case HTTP_TRANSFER_ENCODING:
        return take_transfer_encoding(reader, value);
    case HTTP_CONNECTION:
        note_connection(reader, value);
        return HTTP_PARTIAL;
    case HTTP_EXPECT:
        if (!str_eq_nocase(value, STR("100-continue"))) {
            return bad(reader, 417, "unknown expectation");
        }
        reader->expect_continue = reader->request.minor > 0;
        return HTTP_PARTIAL;
    case HTTP_CONTENT_TYPE:
    case HTTP_CONTENT_ENCODING:
    case HTTP_ACCEPT_ENCODING:
    case HTTP_AUTHORIZATION:
    case HTTP_OPENRTB_VERSION:
    case HTTP_FIELD_COUNT:
        return HTTP_PARTIAL;
    }
    return HTTP_PARTIAL;
}

/* The blank line has come: how does the body end? */
static enum http_result end_head(struct http_reader *reader)
{
    uint32_t seen = reader->fields_seen;
    bool has_length = seen & (1u << HTTP_CONTENT_LENGTH);
    if (reader->request.minor > 0 && !(seen & (1u << HTTP_HOST))) {
        return bad(reader, 400, "no Host");
    }
    if (has_length && (seen & (1u << HTTP_TRANSFER_ENCODING))) {
        return bad(reader, 400, "Content-Length and Transfer-Encoding");
    }
    if (reader->request.method == HTTP_POST && !has_length && !reader->chunked) {
        return bad(reader, 411, "POST without a length");
    }
    if (has_length && reader->expected > reader->body_limit) {
        return bad(reader, 413, "body too large");
    }
    reader->body_start = reader->body_end = reader->position;
    reader->phase = reader->chunked ? HTTP_PHASE_CHUNK_SIZE : HTTP_PHASE_BODY;
    return HTTP_PARTIAL;
}

static enum http_result read_header(struct http_reader *reader, const char *data, size_t len)
{
    struct str line;
    enum line_result result = next_line(reader, data, len, &line);
    if (reader->position - reader->head_start + line.len > reader->limits->head_bytes) {
        return bad(reader, 431, "headers too long");
    }
    if (result == LINE_PARTIAL) {
        return HTTP_PARTIAL;
    }
    if (result == LINE_BAD) {
        return bad(reader, 400, "a line does not end with CRLF");
    }
    reader->position += line.len + 2;
    if (line.len == 0) {
        return end_head(reader);
    }
    if (++reader->headers > reader->limits->header_count) {
        return bad(reader, 431, "too many headers");
    }
    struct str name, value;
    const char *wrong = split_header(line, &name, &value);
    if (wrong) {
        return bad(reader, 400, wrong);
    }
    enum http_field field = field_of(name);
    if (field == HTTP_FIELD_COUNT) {
        return HTTP_PARTIAL;
    }
    if (reader->fields_seen & (1u << field)) {
        if (field_table[field].single) {
            return bad(reader, 400, "a header that must come once comes twice");
        }
    } else {
        reader->fields_seen |= 1u << field;
        reader->spans[field] = span_of(data, value);
    }
    return take_field(reader, field, value);
}

/* --- body ----------------------------------------------------------------------------------- */

void http_reader_head(const struct http_reader *reader, const char *data, struct http_request *head)
{
    struct str target = reader->target.len ? view_of(data, reader->target) : STR("/");
    *head = reader->request;
    head->path = str_cut(&target, '?');
    head->query = target;
    for (unsigned i = 0; i < HTTP_FIELD_COUNT; i++) {
        bool seen = reader->fields_seen & (1u << i);
        head->fields[i] = seen ? view_of(data, reader->spans[i]) : STR_NONE;
    }
    head->keep_alive =
        head->minor ? !reader->close_asked : reader->keep_asked && !reader->close_asked;
}

bool http_reader_limit_body(struct http_reader *reader, uint64_t body_bytes)
{
    BUG_ON(!http_reader_in_body(reader));
    reader->body_limit = body_bytes < reader->body_limit ? body_bytes : reader->body_limit;
    return reader->body_end - reader->body_start + reader->expected <= reader->body_limit;
}

static enum http_result finish(struct http_reader *reader, const char *data)
{
    http_reader_head(reader, data, &reader->request);
    reader->request.body =
        (struct str){data + reader->body_start, reader->body_end - reader->body_start};
    reader->consumed = reader->position;
    reader->phase = HTTP_PHASE_DONE;
    return HTTP_DONE;
}

static enum http_result read_body(struct http_reader *reader, const char *data, size_t len)
{
    if (len - reader->body_start < reader->expected) {
        reader->scanned = len;
        return HTTP_PARTIAL;
    }
    reader->body_end = reader->body_start + (size_t)reader->expected;
    reader->position = reader->body_end;
    return finish(reader, data);
}

static int hex_value(char c)
{
    return http_is_digit(c) ? c - '0' : str_ascii_lower(c) - 'a' + 10;
}

static enum http_result read_chunk_size(struct http_reader *reader, const char *data, size_t len)
{
    struct str line;
    enum line_result result = next_line(reader, data, len, &line);
    if (line.len > HTTP_CHUNK_LINE_BYTES) {
        return bad(reader, 400, "chunk line too long");
    }
    if (result == LINE_PARTIAL) {
        return HTTP_PARTIAL;
    }
    if (result == LINE_BAD) {
        return bad(reader, 400, "a line does not end with CRLF");
    }
    size_t digits = 0;
    uint64_t size = 0;
    bool overflow = false;
    for (; digits < line.len && http_is_hex(line.ptr[digits]); digits++) {
        overflow |= size >> 60 != 0;
        size = size << 4 | (unsigned)hex_value(line.ptr[digits]);
    }
    struct str extension = {line.ptr + digits, line.len - digits};
    if (digits == 0 || (extension.len && extension.ptr[0] != ';') ||
        !http_is_field_value(extension)) {
        return bad(reader, 400, "malformed chunk size");
    }
    reader->extra_bytes += extension.len;
    if (reader->extra_bytes > reader->limits->head_bytes) {
        return bad(reader, 400, "too many chunk extensions");
    }
    if (overflow || size > reader->body_limit ||
        reader->body_end - reader->body_start + size > reader->body_limit) {
        return bad(reader, 413, "body too large");
    }
    reader->position += line.len + 2;
    reader->expected = size;
    reader->phase = size ? HTTP_PHASE_CHUNK_DATA : HTTP_PHASE_TRAILERS;
    return HTTP_PARTIAL;
}

/* Moves what has come of the chunk down to the joined body. */
static enum http_result read_chunk_data(struct http_reader *reader, char *data, size_t len)
{
    size_t here = len - reader->position;
    size_t take = here < reader->expected ? here : (size_t)reader->expected;
    if (take && reader->body_end != reader->position) {
        memmove(data + reader->body_end, data + reader->position, take);
    }
    reader->body_end += take;
    reader->position += take;
    reader->expected -= take;
    if (reader->expected == 0) {
        reader->phase = HTTP_PHASE_CHUNK_END;
    }
    return HTTP_PARTIAL;
}

static enum http_result read_chunk_end(struct http_reader *reader, const char *data, size_t len)
{
    static const char crlf[] = "\r\n";
    size_t here = len - reader->position;
    here = here < 2 ? here : 2;
    if (here && memcmp(data + reader->position, crlf, here) != 0) {
        return bad(reader, 400, "a chunk is longer than its size");
    }
    if (here == 2) {
        reader->position += 2;
        reader->phase = HTTP_PHASE_CHUNK_SIZE;
    }
    return HTTP_PARTIAL;
}

/* Trailers are checked and thrown away. */
static enum http_result read_trailer(struct http_reader *reader, const char *data, size_t len)
{
    struct str line;
    enum line_result result = next_line(reader, data, len, &line);
    if (reader->extra_bytes + line.len > reader->limits->head_bytes) {
        return bad(reader, 431, "trailers too long");
    }
    if (result == LINE_PARTIAL) {
        return HTTP_PARTIAL;
    }
    if (result == LINE_BAD) {
        return bad(reader, 400, "a line does not end with CRLF");
    }
    reader->position += line.len + 2;
    reader->extra_bytes += line.len + 2;
    if (line.len == 0) {
        return finish(reader, data);
    }
    if (++reader->headers > reader->limits->header_count) {
        return bad(reader, 431, "too many headers");
    }
    struct str name, value;
    const char *wrong = split_header(line, &name, &value);
    if (wrong) {
        return bad(reader, 400, wrong);
    }
    enum http_field field = field_of(name);
    if (field == HTTP_CONTENT_LENGTH || field == HTTP_TRANSFER_ENCODING || field == HTTP_HOST) {
        return bad(reader, 400, "framing header in a trailer");
    }
    return HTTP_PARTIAL;
}

/* Cuts the judged framing out of the buffer, so that a body of many small chunks needs no more
 * room than its data. */
static void close_gap(struct http_reader *reader, char *data, size_t *len)
{
    if (reader->phase < HTTP_PHASE_CHUNK_SIZE || reader->phase > HTTP_PHASE_TRAILERS) {
        return;
    }
    size_t gap = reader->position - reader->body_end;
    if (gap) {
        memmove(data + reader->body_end, data + reader->position, *len - reader->position);
        *len -= gap;
        reader->position -= gap;
        reader->scanned = reader->scanned > gap ? reader->scanned - gap : 0;
    }
}

static enum http_result read_phase(struct http_reader *reader, char *data, size_t len)
{
    switch (reader->phase) {
    case HTTP_PHASE_LINE:
        return read_request_line(reader, data, len);
    case HTTP_PHASE_HEADERS:
        return read_header(reader, data, len);
    case HTTP_PHASE_BODY:
        return read_body(reader, data, len);
    case HTTP_PHASE_CHUNK_SIZE:
        return read_chunk_size(reader, data, len);
    case HTTP_PHASE_CHUNK_DATA:
        return read_chunk_data(reader, data, len);
    case HTTP_PHASE_CHUNK_END:
        return read_chunk_end(reader, data, len);
    case HTTP_PHASE_TRAILERS:
        return read_trailer(reader, data, len);
    case HTTP_PHASE_DONE:
    case HTTP_PHASE_BAD:
        break;
    }
    BUG_ON(true);
}

enum http_result http_read(struct http_reader *reader, char *data, size_t *len)
{
    for (;;) {
        enum http_phase phase = reader->phase;
        size_t position = reader->position;
        enum http_result result = read_phase(reader, data, *len);
        if (result != HTTP_PARTIAL) {
            return result;
        }
        if (reader->phase == phase && reader->position == position) {
            close_gap(reader, data, len);
            return HTTP_PARTIAL; /* the phase waits for bytes */
        }
    }
}
