/* Owns the listeners, all connections' memory, the buffer pool and the sweep for deadlines.
 *
 * Deadlines are looked at by a sweep instead of a timer each: a request then costs no timer
 * operation, and a time-out is late by at most SERVER_SWEEP_US times the sweeps that the open
 * connections need. */
#include "bidder/server.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bidder/base/bug.h"
#include "bidder/base/log.h"
#include "bidder/conn.h"

METRIC_DEFINE(server, SERVER_METRICS);

#define ACCEPT_PAUSE_US 100000

const char *conn_close_text(unsigned reason)
{
    static const char *const texts[CONN_CLOSE_COUNT] = {
        "peer", "aborted",      "reset",        "asked",         "bad_request",     "refused",
        "idle", "head_timeout", "body_timeout", "write_timeout", "handler_timeout", "out_limit",
        "drain"};
    return texts[reason];
}

const char *server_call_text(unsigned call)
{
    static const char *const texts[SERVER_CALL_COUNT] = {"accept", "recv", "send"};
    return texts[call];
}

void server_count(struct server *server, enum server_metric id, unsigned label, uint64_t n)
{
    if (server->options.counted) {
        metric_add(&server_metrics, id, label, n);
    }
}

struct server_options server_options_default(void)
{
    return (struct server_options){
        .limits = HTTP_LIMITS_DEFAULT,
        .max_connections = 10000,
        .out_bytes = 16 << 20,
        .head_timeout_us = 10000000,
        .body_timeout_us = 10000000,
        .write_timeout_us = 10000000,
        .idle_timeout_us = 180000000,
        .handle_timeout_us = 30000000,
        .linger_timeout_us = 2000000,
    };
}

/* --- buffers -------------------------------------------------------------------------------- */

void server_borrow_buf(struct server *server, struct buf *buf, size_t limit)
{
    if (server->pooled) {
        *buf = server->pool[--server->pooled];
        buf->limit = limit;
    } else {
        buf_init(buf, limit);
        (void)buf_reserve(buf, limit < SERVER_RECV_BYTES ? limit : SERVER_RECV_BYTES);
    }
}

void server_return_buf(struct server *server, struct buf *buf)
{
    if (!buf->data) {
        return;
    }
    if (buf->cap > SERVER_POOL_BUF_BYTES || server->pooled == SERVER_POOL_BUFS) {
        buf_deinit(buf);
    } else {
        buf_reset(buf);
        server->pool[server->pooled++] = *buf;
    }
    buf_init(buf, 0);
}

/* --- connections ---------------------------------------------------------------------------- */

void server_ready_later(struct server *server, struct conn *conn)
{
    if (!conn->ready) {
        conn->ready = true;
        conn->next = NULL;
        *server->ready_tail = conn;
        server->ready_tail = &conn->next;
        server->ready_count++;
        server->loop->again = true;
    }
}

bool server_send_later(struct server *server, struct conn *conn)
{
    if (server->answered_count == SERVER_ANSWERS_PER_TURN) {
        return false;
    }
    conn->answered = true;
    server->answered[server->answered_count++] = conn->slot;
    /* What is answered behind this turn's hook must not wait for the next event. */
    server->loop->again |= server->sent_wait_us == server->loop->before_wait_us;
    return true;
}

static void check_drained(struct server *server)
{
    if (server->draining && server->open == 0 && server->drained) {
        void (*drained)(void *) = server->drained;
        server->drained = NULL;
        drained(server->drained_context);
    }
}

static void unlink_ready(struct server *server, struct conn *conn)
{
    struct conn **at = &server->ready;
    while (*at != conn) {
        at = &(*at)->next;
    }
    *at = conn->next;
    if (!*at) {
        server->ready_tail = at;
    }
    server->ready_count--;
    conn->ready = false;
}

void server_release_conn(struct server *server, struct conn *conn)
{
    if (conn->ready) { /* before the free list takes the link */
        unlink_ready(server, conn);
    }
    conn->next = server->free;
    server->free = conn;
    server->open--;
    if (server->options.counted) {
        metric_set(&server_metrics, SERVER_OPEN, 0, server->open);
    }
    check_drained(server);
}

static struct conn *take_conn(struct server *server)
{
    struct conn *conn = server->free;
    if (conn) {
        server->free = conn->next;
    } else if (server->high_slot < server->options.max_connections) {
        conn = &server->conns[server->high_slot];
        conn->slot = server->high_slot++;
        conn->server = server;
    } else {
        return NULL;
    }
    conn->next = NULL;
    server->open++;
    if (server->options.counted) {
        metric_set(&server_metrics, SERVER_OPEN, 0, server->open);
    }
    return conn;
}

/* --- accepting ------------------------------------------------------------------------------ */

static void pause_accepting(struct server *server)
{
    for (unsigned i = 0; i < server->listener_count; i++) {
        loop_io_stop(&server->listeners[i]);
    }
    loop_timer_start(&server->accept_pause, ACCEPT_PAUSE_US);
}

static void on_accept_pause(void *context)
{
    struct server *server = context;
    for (unsigned i = 0; i < server->listener_count; i++) {
        loop_io_start(&server->listeners[i]);
    }
}

static void turn_away(struct server *server, int fd)
{
    static const char answer[] =
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    ssize_t sent = send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL);
    (void)sent; /* the client may be gone */
    close(fd);
    server_count(server, SERVER_REFUSED, 0, 1);
}

/* Takes at most count connections; false when the queue is empty or cannot be read now. */
static bool accept_some(struct server *server, int listener, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        server_count(server, SERVER_CALLS, SERVER_CALL_ACCEPT, 1);
        if (fd < 0 && (errno == ECONNABORTED || errno == EINTR)) {
            continue;
        }
        if (fd < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK) {
                log_warn("accept: %s", strerror(errno)); /* at most every ACCEPT_PAUSE_US */
                server_count(server, SERVER_REFUSED, 0, 1);
                pause_accepting(server);
            }
            return false;
        }
        struct conn *conn = take_conn(server);
        if (!conn) {
            turn_away(server, fd);
            continue;
        }
        server_count(server, SERVER_ACCEPTED, 0, 1);
        conn_open(conn, fd);
    }
    return true;
}

static void on_listener(void *context, int fd, short events)
{
    (void)events;
    accept_some(context, fd, SERVER_ACCEPTS_PER_WAKE);
}

static void on_send(void *context)
{
    struct server *server = context;
    unsigned count = server->answered_count;
    for (unsigned i = 0; i < count; i++) {
        struct conn *conn = &server->conns[server->answered[i]];
        if (conn->answered) {
            conn->answered = false;
            conn_advance(conn); /* may answer more: those are sent next turn */
        }
    }
    server->answered_count -= count;
    memmove(server->answered, server->answered + count,
            server->answered_count * sizeof(server->answered[0]));
    server->sent_wait_us = server->loop->before_wait_us;
    server->loop->again |= server->answered_count != 0;
}

enum status server_listen(struct server *server, int fd)
{
    if (server->listener_count == SERVER_LISTENERS_MAX || server->draining) {
        return STATUS_LIMIT;
    }
    unsigned at = server->listener_count++;
    server->listener_fds[at] = fd;
    loop_io_init(&server->listeners[at], server->loop, fd, EV_READ | EV_PERSIST, on_listener,
                 server);
    loop_io_start(&server->listeners[at]);
    if (!server->send_hook.fn) { /* now, so that it stands behind the hooks of what handlers use */
        loop_hook_add(server->loop, &server->send_hook, on_send, server);
    }
    return STATUS_OK;
}

/* --- the sweep and the turn's end ----------------------------------------------------------- */

static void on_sweep(void *context)
{
    struct server *server = context;
    int64_t now_us = server->loop->turn_us;
    uint32_t count =
        server->high_slot < SERVER_SWEEP_CONNS ? server->high_slot : SERVER_SWEEP_CONNS;
    loop_timer_start(&server->sweep, SERVER_SWEEP_US);
    for (uint32_t i = 0; i < count; i++) {
        server->sweep_at = server->sweep_at + 1 < server->high_slot ? server->sweep_at + 1 : 0;
        struct conn *conn = &server->conns[server->sweep_at];
        if (conn->state != CONN_FREE && now_us >= conn->deadline_us) {
            conn_expire(conn);
        }
    }
}

static void on_turn_end(void *context)
{
    struct server *server = context;
    int64_t end_us = 0;
    server_count(server, SERVER_TURNS, 0, 1);
    for (unsigned i = server->ready_count; i && server->ready; i--) {
        struct conn *conn = server->ready;
        unlink_ready(server, conn);
        conn_go_on(conn); /* may append it again, for the next turn */
        int64_t now_us = clock_mono_us();
        end_us = end_us ? end_us : now_us + SERVER_BACKLOG_TURN_US;
        if (now_us >= end_us) {
            break;
        }
    }
    server->turn_requests = 0;
    server->loop->again |= server->ready != NULL;
}

/* --- answers -------------------------------------------------------------------------------- */

bool server_respond(struct server *server, uint64_t ticket, const struct http_response *response)
{
    uint32_t slot = (uint32_t)ticket;
    struct conn *conn = slot < server->high_slot ? &server->conns[slot] : NULL;
    if (!conn || conn->generation != (uint32_t)(ticket >> 32) ||
        (conn->state != CONN_HANDLING && conn->state != CONN_ABANDONED)) {
        server_count(server, SERVER_VOID, 0, 1);
        return false;
    }
    bool sent = conn_respond(conn, response);
    server_count(server, SERVER_VOID, 0, !sent);
    return sent;
}

const struct http_request *server_request_of(const struct server *server, uint64_t ticket)
{
    uint32_t slot = (uint32_t)ticket;
    const struct conn *conn = slot < server->high_slot ? &server->conns[slot] : NULL;
    bool waits =
        conn && conn->generation == (uint32_t)(ticket >> 32) && conn->state == CONN_HANDLING;
    return waits ? &conn->reader.request : NULL;
}

bool server_respond_status(struct server *server, uint64_t ticket, int status)
{
    return server_respond(server, ticket, &(struct http_response){.status = status});
}

/* --- life ----------------------------------------------------------------------------------- */

enum status server_create(struct loop *loop, const struct server_options *options,
                          struct server **out)
{
    BUG_ON(!options->handler || options->max_connections == 0);
    struct server *server = calloc(1, sizeof(*server));
    /* Untouched connections cost no memory: the kernel commits pages when they are used. */
    struct conn *conns = calloc(options->max_connections, sizeof(*conns));
    if (!server || !conns) {
        free(server);
        free(conns);
        return STATUS_NO_MEMORY;
    }
    server->loop = loop;
    server->ready_tail = &server->ready;
    server->options = *options;
    server->conns = conns;
    loop_timer_init(&server->sweep, loop, on_sweep, server);
    loop_timer_start(&server->sweep, SERVER_SWEEP_US);
    loop_timer_init(&server->accept_pause, loop, on_accept_pause, server);
    loop_hook_add(loop, &server->hook, on_turn_end, server);
    server->sent_wait_us = -1;
    *out = server;
    return STATUS_OK;
}

static void close_listeners(struct server *server)
{
    for (unsigned i = 0; i < server->listener_count; i++) {
        loop_io_stop(&server->listeners[i]);
        close(server->listener_fds[i]);
    }
    server->listener_count = 0;
    loop_timer_stop(&server->accept_pause);
}

void server_destroy(struct server **out)
{
    struct server *server = *out;
    if (!server) {
        return;
    }
    server->drained = NULL;
    close_listeners(server);
    for (uint32_t i = 0; i < server->high_slot; i++) {
        if (server->conns[i].state != CONN_FREE && server->conns[i].state != CONN_ABANDONED) {
            conn_close(&server->conns[i], CONN_CLOSE_DRAIN);
        }
        buf_deinit(&server->conns[i].in); /* of requests that were never answered */
        buf_deinit(&server->conns[i].out);
    }
    loop_timer_stop(&server->sweep);
    loop_hook_remove(server->loop, &server->hook);
    loop_hook_remove(server->loop, &server->send_hook);
    while (server->pooled) {
        buf_deinit(&server->pool[--server->pooled]);
    }
    free(server->conns);
    free(server);
    *out = NULL;
}

void server_drain(struct server *server, int64_t grace_us, void (*drained)(void *context),
                  void *context)
{
    if (server->draining) {
        return;
    }
    /* Clients in the accept queue have connected: they are answered, not reset. */
    for (unsigned i = 0; i < server->listener_count; i++) {
        while (accept_some(server, server->listener_fds[i], SERVER_ACCEPTS_PER_WAKE)) {
        }
    }
    close_listeners(server);
    server->draining = true;
    server->drained = drained;
    server->drained_context = context;
    server->drain_until_us = clock_mono_us() + grace_us;
    for (uint32_t i = 0; i < server->high_slot; i++) {
        conn_drain(&server->conns[i]);
    }
    check_drained(server);
}

uint32_t server_open_connections(const struct server *server)
{
    return server->open;
}
