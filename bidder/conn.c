#include "bidder/conn.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bidder/base/bug.h"

static size_t unread(const struct conn *conn)
{
    return conn->in.len - conn->in_start;
}

static size_t unsent(const struct conn *conn)
{
    return conn->out.len - conn->out_sent;
}

/* The only function that changes the state; each state has its deadline. */
static void set_state(struct conn *conn, enum conn_state state)
{
    const struct server_options *options = &conn->server->options;
    int64_t now_us = conn->server->loop->turn_us;
    conn->state = state;
    switch (state) {
    case CONN_FREE:
        return;
    case CONN_IDLE:
        conn->deadline_us = now_us + options->idle_timeout_us;
        if (conn->server->draining) {
            conn->deadline_us = conn->server->drain_until_us;
        }
        return;
    case CONN_HEAD:
        conn->deadline_us = now_us + options->head_timeout_us;
        return;
    case CONN_BODY:
        conn->deadline_us = now_us + options->body_timeout_us;
        return;
    case CONN_HANDLING:
        conn->deadline_us = now_us + options->handle_timeout_us;
        return;
    case CONN_CLOSING:
        conn->deadline_us = now_us + options->write_timeout_us;
        return;
    case CONN_LINGER:
        conn->deadline_us = now_us + options->linger_timeout_us;
        return;
    case CONN_ABANDONED:
        conn->deadline_us = INT64_MAX;
        return;
    }
    BUG_ON(true);
}

static void set_reading(struct conn *conn, bool on)
{
    if (on != conn->reading) {
        conn->reading = on;
        (on ? loop_io_start : loop_io_stop)(&conn->readable);
    }
}

static void set_blocked(struct conn *conn, bool on)
{
    if (on == conn->blocked) {
        return;
    }
    conn->blocked = on;
    (on ? loop_io_start : loop_io_stop)(&conn->writable);
    if (on) {
        conn->deadline_us = conn->server->loop->turn_us + conn->server->options.write_timeout_us;
    } else {
        set_state(conn, conn->state); /* its own deadline again */
    }
}

static void release(struct conn *conn)
{
    conn->generation++; /* tickets of this connection are void */
    conn->answered = false;
    server_return_buf(conn->server, &conn->in);
    server_return_buf(conn->server, &conn->out);
    set_state(conn, CONN_FREE);
    server_release_conn(conn->server, conn);
}

void conn_close(struct conn *conn, enum conn_close reason)
{
    BUG_ON(conn->state == CONN_FREE || conn->state == CONN_ABANDONED);
    set_reading(conn, false);
    if (conn->blocked) {
        conn->blocked = false;
        loop_io_stop(&conn->writable);
    }
    close(conn->fd);
    conn->fd = -1;
    server_count(conn->server, SERVER_CLOSED, reason, 1);
    if (conn->state == CONN_HANDLING) {
        set_state(conn, CONN_ABANDONED); /* the handler still reads the request */
    } else {
        release(conn);
    }
}

/* FIN now; the rest of the client's bytes must be read before close(), or the kernel answers them
 * with a reset that may overtake our last answer. */
static void start_linger(struct conn *conn)
{
    if (shutdown(conn->fd, SHUT_WR)) {
        conn_close(conn, conn->close_reason);
        return;
    }
    server_return_buf(conn->server, &conn->in);
    server_return_buf(conn->server, &conn->out);
    conn->in_start = conn->out_sent = 0;
    set_state(conn, CONN_LINGER);
    set_reading(conn, true);
}

/* Begins to close after what is in out has been sent. */
static void start_close(struct conn *conn, enum conn_close reason)
{
    conn->close_reason = reason;
    set_state(conn, CONN_CLOSING);
}

static void put_response(struct conn *conn, const struct http_response *response, bool close)
{
    const struct http_request *request = &conn->reader.request;
    enum http_connection connection = close                 ? HTTP_CONNECTION_CLOSE
                                      : request->minor == 0 ? HTTP_CONNECTION_KEEP
                                                            : HTTP_CONNECTION_DEFAULT;
    if (!conn->out.data) {
        server_borrow_buf(conn->server, &conn->out, conn->server->options.out_bytes);
    }
    http_response_write(&conn->out, response, request->method == HTTP_HEAD, connection);
    server_count(conn->server, SERVER_RESPONSES, http_status_index(response->status), 1);
}

bool conn_respond(struct conn *conn, const struct http_response *response)
{
    if (conn->state == CONN_ABANDONED) {
        release(conn);
        return false;
    }
    BUG_ON(conn->state != CONN_HANDLING);
    bool draining = conn->server->draining;
    bool close = response->close || !conn->reader.request.keep_alive || draining;
    put_response(conn, response, close);
    conn->generation++; /* the ticket is used */
    conn->in_start += conn->reader.consumed;
    http_reader_init(&conn->reader, &conn->server->options.limits);
    conn->continue_sent = false;
    if (close) {
        start_close(conn, draining ? CONN_CLOSE_DRAIN : CONN_CLOSE_ASKED);
    } else {
        set_state(conn, CONN_IDLE);
    }
    if (!conn->advancing && !server_send_later(conn->server, conn)) {
        conn_advance(conn);
    }
    return true;
}

/* An answer to a request that never became whole. */
static void refuse(struct conn *conn, int status, enum conn_close reason)
{
    struct http_response response = {.status = status, .close = true};
    put_response(conn, &response, true);
    start_close(conn, reason);
}

/* --- sending -------------------------------------------------------------------------------- */

/* Sends what there is. False when the connection has gone. */
static bool flush(struct conn *conn)
{
    bool full = false;
    while (unsent(conn) && !full) {
        size_t len = unsent(conn);
        ssize_t sent = send(conn->fd, conn->out.data + conn->out_sent, len, MSG_NOSIGNAL);
        server_count(conn->server, SERVER_CALLS, SERVER_CALL_SEND, 1);
        if (sent >= 0) {
            conn->out_sent += (size_t)sent;
            server_count(conn->server, SERVER_OUT_BYTES, 0, (uint64_t)sent);
            full = (size_t)sent < len; /* asking again would only say EAGAIN */
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            full = true;
        } else if (errno != EINTR) {
            conn_close(conn, CONN_CLOSE_RESET);
            return false;
        }
    }
    if (full) {
        set_blocked(conn, true);
        set_reading(conn, false);
        return true;
    }
    buf_reset(&conn->out);
    conn->out_sent = 0;
    if (conn->blocked) {
        set_blocked(conn, false);
    }
    return true;
}

/* Nothing left to do for now: give buffers back, listen again. */
static void settle(struct conn *conn)
{
    if (conn->state == CONN_CLOSING) {
        start_linger(conn);
        return;
    }
    server_return_buf(conn->server, &conn->out);
    if (unread(conn) == 0 && conn->state == CONN_IDLE) {
        server_return_buf(conn->server, &conn->in);
        conn->in_start = 0;
    }
    if (conn->state != CONN_HANDLING) { /* then it stays as it is: a stop and start cost a call */
        set_reading(conn, true);
    }
}

/* --- reading -------------------------------------------------------------------------------- */

static void dispatch(struct conn *conn)
{
    struct server *server = conn->server;
    struct server_request request = {
        .ticket = (uint64_t)conn->generation << 32 | conn->slot,
        .http = &conn->reader.request,
        .received_us = clock_mono_us(),
    };
    request.lag_us = request.received_us > conn->due_us ? request.received_us - conn->due_us : 0;
    set_state(conn, CONN_HANDLING);
    server->turn_requests++;
    server_count(server, SERVER_REQUESTS, 0, 1);
    if (server->options.counted) {
        metric_observe(&server_metrics, SERVER_LAG, 0, (uint64_t)request.lag_us * 1000);
    }
    server->options.handler(server->options.context, &request);
}

/* The head is here and the body is not. False: the request is refused for what it has said. */
static bool judge_head(struct conn *conn)
{
    const struct server_options *options = &conn->server->options;
    uint64_t body_bytes = options->limits.body_bytes;
    struct http_request head;
    struct http_response refusal = {.status = 400};
    http_reader_head(&conn->reader, conn->in.data + conn->in_start, &head);
    if (!options->head(options->context, &head, &body_bytes, &refusal)) {
        put_response(conn, &refusal, true);
        start_close(conn, CONN_CLOSE_REFUSED);
        return false;
    }
    if (!http_reader_limit_body(&conn->reader, body_bytes)) {
        refuse(conn, 413, CONN_CLOSE_REFUSED);
        return false;
    }
    return true;
}

static void wait_for_more(struct conn *conn)
{
    bool in_body = http_reader_in_body(&conn->reader);
    if (in_body && conn->state != CONN_BODY) {
        set_state(conn, CONN_BODY);
        if (conn->server->options.head && !judge_head(conn)) {
            return;
        }
    } else if (!in_body && conn->state == CONN_IDLE && http_reader_started(&conn->reader)) {
        set_state(conn, CONN_HEAD);
    }
    if (in_body && conn->reader.expect_continue && !conn->continue_sent) {
        conn->continue_sent = true;
        if (unread(conn) == conn->reader.position) { /* the body has not begun on its own */
            if (!conn->out.data) {
                server_borrow_buf(conn->server, &conn->out, conn->server->options.out_bytes);
            }
            BUF_PUT_LITERAL(&conn->out, HTTP_CONTINUE);
        }
    }
}

void conn_advance(struct conn *conn)
{
    unsigned handled = 0;
    conn->answered = false;
    if (conn->blocked && (!flush(conn) || conn->blocked)) {
        return;
    }
    conn->advancing = true;
    while (unread(conn) && conn->state != CONN_HANDLING && conn->state != CONN_CLOSING) {
        if (handled == SERVER_REQUESTS_PER_WAKE || unsent(conn) >= SERVER_UNSENT_BYTES) {
            server_ready_later(conn->server, conn);
            break;
        }
        size_t len = unread(conn);
        enum http_result result = http_read(&conn->reader, conn->in.data + conn->in_start, &len);
        conn->in.len = conn->in_start + len;
        if (result == HTTP_PARTIAL) {
            wait_for_more(conn);
            break;
        }
        if (result == HTTP_BAD) {
            refuse(conn, conn->reader.status, CONN_CLOSE_BAD_REQUEST);
            break;
        }
        handled++;
        dispatch(conn);
    }
    conn->advancing = false;
    if (buf_failed(&conn->out)) {
        conn_close(conn, CONN_CLOSE_OUT_LIMIT);
        return;
    }
    if (flush(conn) && !conn->blocked) {
        settle(conn);
    }
}

/* Room for the next recv. The handled bytes in front are dropped first. */
static char *make_room(struct conn *conn, size_t *room)
{
    const struct http_limits *limits = &conn->server->options.limits;
    if (!conn->in.data) {
        server_borrow_buf(conn->server, &conn->in,
                          limits->head_bytes + (size_t)limits->body_bytes + 4 * SERVER_RECV_BYTES);
    }
    if (conn->in_start) {
        buf_consume(&conn->in, conn->in_start);
        conn->in_start = 0;
    }
    size_t least = conn->in.len ? 1024 : SERVER_RECV_BYTES;
    if (conn->in.limit - conn->in.len < least) {
        least = conn->in.limit - conn->in.len;
    }
    char *at = least ? buf_reserve(&conn->in, least) : NULL;
    *room = conn->in.cap - conn->in.len;
    return at;
}

/* The client has ended its side. */
static void on_end(struct conn *conn, int error)
{
    bool between = conn->state == CONN_IDLE && unread(conn) == 0;
    conn_close(conn, error ? CONN_CLOSE_RESET : between ? CONN_CLOSE_PEER : CONN_CLOSE_ABORTED);
}

static void read_linger(struct conn *conn)
{
    static char nowhere[16384];
    for (int i = 0; i < 4; i++) {
        ssize_t got = recv(conn->fd, nowhere, sizeof(nowhere), 0);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
            conn_close(conn, conn->close_reason);
            return;
        }
        if (got < 0) {
            return;
        }
    }
}

static void read_more(struct conn *conn)
{
    size_t room;
    char *at = make_room(conn, &room);
    if (!at) { /* memory is out: the reader's limits are below the buffer's */
        refuse(conn, 503, CONN_CLOSE_OUT_LIMIT);
        conn_advance(conn);
        return;
    }
    ssize_t got = recv(conn->fd, at, room, 0);
    server_count(conn->server, SERVER_CALLS, SERVER_CALL_RECV, 1);
    if (got > 0) {
        conn->in.len += (size_t)got;
        server_count(conn->server, SERVER_IN_BYTES, 0, (uint64_t)got);
        conn_advance(conn);
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        on_end(conn, got == 0 ? 0 : errno);
    } else if (unread(conn) == 0) {
        server_return_buf(conn->server, &conn->in);
    }
}

static void on_readable(void *context, int fd, short events)
{
    (void)fd;
    (void)events;
    struct conn *conn = context;
    struct server *server = conn->server;
    if (conn->state == CONN_LINGER) {
        read_linger(conn);
        return;
    }
    if (conn->unheard) {
        return; /* queued already, since its due_us */
    }
    if (conn->state == CONN_HANDLING || conn->ready) {
        set_reading(conn, false); /* one request at a time; settle() listens again */
        return;
    }
    conn->due_us = server->loop->due_us;
    if (server->ready_count || server->turn_requests >= SERVER_REQUESTS_PER_TURN) {
        conn->unheard = true;
        server_ready_later(server, conn);
        return;
    }
    read_more(conn);
}

void conn_go_on(struct conn *conn)
{
    bool unheard = conn->unheard;
    conn->unheard = false;
    if (!unheard) {
        conn_advance(conn);
    } else if (conn->state != CONN_LINGER && !conn->blocked) { /* else the socket will call again */
        read_more(conn);
    }
}

static void on_writable(void *context, int fd, short events)
{
    (void)fd;
    (void)events;
    conn_advance(context);
}

/* --- life ----------------------------------------------------------------------------------- */

void conn_open(struct conn *conn, int fd)
{
    struct server *server = conn->server;
    conn->fd = fd;
    conn->generation++;
    conn->reading = conn->blocked = conn->advancing = conn->ready = conn->continue_sent = false;
    conn->unheard = conn->answered = false;
    conn->in_start = conn->out_sent = 0;
    http_reader_init(&conn->reader, &server->options.limits);
    loop_io_init(&conn->readable, server->loop, fd, EV_READ | EV_PERSIST, on_readable, conn);
    loop_io_init(&conn->writable, server->loop, fd, EV_WRITE | EV_PERSIST, on_writable, conn);
    set_state(conn, CONN_IDLE);
    set_reading(conn, true);
}

void conn_expire(struct conn *conn)
{
    if (conn->blocked) {
        conn_close(conn, CONN_CLOSE_WRITE_TIMEOUT);
        return;
    }
    switch (conn->state) {
    case CONN_FREE:
        return;
    case CONN_IDLE:
        start_close(conn, conn->server->draining ? CONN_CLOSE_DRAIN : CONN_CLOSE_IDLE);
        break;
    case CONN_HEAD:
        refuse(conn, 408, CONN_CLOSE_HEAD_TIMEOUT);
        break;
    case CONN_BODY:
        refuse(conn, 408, CONN_CLOSE_BODY_TIMEOUT);
        break;
    case CONN_HANDLING:
        conn_close(conn, CONN_CLOSE_HANDLER_TIMEOUT);
        return;
    case CONN_ABANDONED:
        return;
    case CONN_CLOSING:
    case CONN_LINGER:
        conn_close(conn, conn->close_reason);
        return;
    }
    conn_advance(conn);
}

void conn_drain(struct conn *conn)
{
    if (conn->state == CONN_IDLE && !conn->blocked) {
        conn->deadline_us = conn->server->drain_until_us;
    }
}
