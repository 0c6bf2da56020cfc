#include "bidder/ctl_http.h"

#include <errno.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_ANSWER_BYTES ((size_t)256 << 20)
#define READ_BYTES       65536

/* --- answers -------------------------------------------------------------------------------- */

/* Takes a line without its end; false when there is no whole one. */
static bool take_line(struct str *rest, struct str *line)
{
    const char *end = rest->len ? memchr(rest->ptr, '\n', rest->len) : NULL;
    if (!end) {
        return false;
    }
    *line = (struct str){rest->ptr, (size_t)(end - rest->ptr)};
    if (line->len && line->ptr[line->len - 1] == '\r') {
        line->len--;
    }
    size_t taken = (size_t)(end - rest->ptr) + 1;
    *rest = (struct str){rest->ptr + taken, rest->len - taken};
    return true;
}

static bool parse_hex(struct str text, size_t *number)
{
    *number = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = str_ascii_lower(text.ptr[i]);
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0 || *number > MAX_ANSWER_BYTES) {
            return false;
        }
        *number = *number * 16 + (size_t)digit;
    }
    return text.len > 0;
}

static enum status read_chunks(struct str rest, struct buf *body)
{
    struct str line;
    size_t size;
    for (;;) {
        if (!take_line(&rest, &line)) {
            return STATUS_LIMIT;
        }
        struct str number = str_trim(str_cut(&line, ';'));
        if (!parse_hex(number, &size)) {
            return STATUS_INVALID;
        }
        if (size == 0) {
            break; /* trailers tell us nothing */
        }
        if (rest.len < size + 2) {
            return STATUS_LIMIT;
        }
        buf_put(body, rest.ptr, size);
        rest = (struct str){rest.ptr + size, rest.len - size};
        if (!take_line(&rest, &line) || line.len) {
            return STATUS_INVALID;
        }
    }
    do {
        if (!take_line(&rest, &line)) {
            return STATUS_LIMIT;
        }
    } while (line.len);
    return STATUS_OK;
}

struct head {
    int64_t status, length; /* length -1 = not said */
    bool chunked;
};

static enum status read_head(struct str *rest, struct head *head)
{
    struct str line;
    *head = (struct head){.length = -1};
    if (!take_line(rest, &line)) {
        return STATUS_LIMIT;
    }
    struct str words = line;
    struct str version = str_cut(&words, ' ');
    if (!str_starts(version, STR("HTTP/1.")) || !str_to_i64(str_cut(&words, ' '), &head->status) ||
        head->status < 100 || head->status > 599) {
        return STATUS_INVALID;
    }
    for (;;) {
        if (!take_line(rest, &line)) {
            return STATUS_LIMIT;
        }
        if (!line.len) {
            return STATUS_OK;
        }
        struct str value = line;
        struct str name = str_cut(&value, ':');
        value = str_trim(value);
        if (str_eq_nocase(name, STR("content-length")) &&
            (!str_to_i64(value, &head->length) || head->length < 0)) {
            return STATUS_INVALID;
        }
        if (str_eq_nocase(name, STR("transfer-encoding"))) {
            head->chunked = str_eq_nocase(value, STR("chunked"));
        }
    }
}

enum status ctl_http_parse(struct str bytes, bool complete, int *status_code, struct buf *body)
{
    struct str rest = bytes;
    struct head head;
    enum status status;
    do {
        status = read_head(&rest, &head);
    } while (status == STATUS_OK && head.status < 200); /* 100 Continue and the like */
    if (status != STATUS_OK) {
        return complete ? STATUS_INVALID : status;
    }
    *status_code = (int)head.status;
    size_t before = body->len;
    if (head.chunked) {
        status = read_chunks(rest, body);
    } else if (head.length >= 0) {
        status = rest.len < (size_t)head.length ? STATUS_LIMIT : STATUS_OK;
        buf_put(body, rest.ptr, status == STATUS_OK ? (size_t)head.length : 0);
    } else if (head.status != 204 && head.status != 304) {
        status = complete ? STATUS_OK : STATUS_LIMIT;
        buf_put(body, rest.ptr, complete ? rest.len : 0);
    }
    if (status != STATUS_OK) {
        body->len = before;
    }
    return status == STATUS_LIMIT && complete ? STATUS_INVALID : status;
}

/* --- connection ----------------------------------------------------------------------------- */

static int connect_to(int family, const struct sockaddr *address, socklen_t length, int timeout_s)
{
    int fd = socket(family, SOCK_STREAM, 0);
    if (fd < 0) {
        return -1;
    }
    struct timeval timeout = {.tv_sec = timeout_s};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    if (connect(fd, address, length)) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

static int connect_unix(struct str path, int timeout_s)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path.len >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path.ptr, path.len);
    return connect_to(AF_UNIX, (struct sockaddr *)&address, sizeof(address), timeout_s);
}

static int connect_inet(const char *text, int timeout_s, const char **why)
{
    const char *colon = strrchr(text, ':');
    char host[256];
    size_t length = colon ? (size_t)(colon - text) : sizeof(host);
    if (length >= sizeof(host)) {
        *why = "expected HOST:PORT or unix:PATH";
        return -1;
    }
    bool bracket = length >= 2 && text[0] == '[' && text[length - 1] == ']';
    memcpy(host, text + bracket, length - 2 * (size_t)bracket);
    host[length - 2 * (size_t)bracket] = '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int failed = getaddrinfo(host, colon + 1, &hints, &found);
    if (failed) {
        *why = gai_strerror(failed);
        return -1;
    }
    int fd = -1;
    for (struct addrinfo *at = found; at && fd < 0; at = at->ai_next) {
        fd = connect_to(at->ai_family, at->ai_addr, at->ai_addrlen, timeout_s);
    }
    freeaddrinfo(found);
    return fd;
}

static void put_request(const struct ctl_http_request *request, struct buf *out)
{
    bool unix_socket = strncmp(request->address, "unix:", 5) == 0;
    buf_printf(out, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", request->method,
               request->path, unix_socket ? "localhost" : request->address);
    if (request->token.len) {
        buf_printf(out, "Authorization: Bearer %.*s\r\n", STR_ARG(request->token));
    }
    if (request->content_type) {
        buf_printf(out, "Content-Type: %s\r\n", request->content_type);
    }
    if (request->body.len || strcmp(request->method, "GET") != 0) {
        buf_printf(out, "Content-Length: %zu\r\n", request->body.len);
    }
    BUF_PUT_LITERAL(out, "\r\n");
    buf_put_str(out, request->body);
}

/* A server that refuses early may close while we still send: its answer is read all the same. */
static void send_all(int fd, struct str bytes)
{
    while (bytes.len) {
        ssize_t sent = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent <= 0) {
            return;
        }
        bytes = (struct str){bytes.ptr + sent, bytes.len - (size_t)sent};
    }
}

static enum status receive(int fd, int *status_code, struct buf *body, struct buf *error)
{
    struct buf bytes;
    buf_init(&bytes, MAX_ANSWER_BYTES);
    enum status status = STATUS_LIMIT;
    size_t next_try = 1; /* parse again only when the answer doubled or ended: no quadratic work */
    while (status == STATUS_LIMIT) {
        char *to = buf_reserve(&bytes, READ_BYTES);
        ssize_t got = to ? recv(fd, to, READ_BYTES, 0) : -1;
        if (got < 0 && errno == EINTR && to) {
            continue;
        }
        bytes.len += got > 0 ? (size_t)got : 0;
        if (got < 0 && !bytes.len) {
            buf_printf(error, "%s", errno == EAGAIN ? "no answer in time" : strerror(errno));
            status = STATUS_IO;
        } else if (got <= 0 || bytes.len >= next_try) {
            status = ctl_http_parse(buf_str(&bytes), got <= 0, status_code, body);
            next_try = bytes.len + bytes.len / 2;
        }
    }
    if (status == STATUS_INVALID) {
        buf_printf(error, "the answer is not complete HTTP");
    }
    buf_deinit(&bytes);
    return status;
}

enum status ctl_http(const struct ctl_http_request *request, int *status_code, struct buf *body,
                     struct buf *error)
{
    const char *why = NULL;
    struct str address = str_from(request->address);
    int fd = str_starts(address, STR("unix:"))
                 ? connect_unix((struct str){address.ptr + 5, address.len - 5}, request->timeout_s)
                 : connect_inet(request->address, request->timeout_s, &why);
    if (fd < 0) {
        buf_printf(error, "%s", why ? why : strerror(errno));
        return STATUS_IO;
    }
    struct buf out;
    buf_init(&out, request->body.len + 65536);
    put_request(request, &out);
    enum status status = STATUS_NO_MEMORY;
    if (!buf_failed(&out)) {
        send_all(fd, buf_str(&out));
        status = receive(fd, status_code, body, error);
    }
    buf_deinit(&out);
    close(fd);
    return status;
}
