/* Owns sockets and their buffers; edge-triggered, so that a request costs one send, one recv and a
 * share of one epoll_wait. The state machine is drawn in conn.h; conn_set_state changes it. */
#include "bench/load/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"

#define RETRY_NS 100000000

static void conn_set_state(struct conn *conn, enum conn_state state)
{
    struct conn_pool *pool = conn->pool;
    bool was_up = conn->state >= CONN_IDLE, is_up = state >= CONN_IDLE;
    pool->up += (unsigned)is_up - (unsigned)was_up;
    if (state == CONN_IDLE) {
        unsigned at = (pool->idle_first + pool->idle_count++) % pool->count;
        pool->idle[at] = (unsigned)(conn - pool->items);
    }
    conn->state = state;
}

static void idle_remove(struct conn *conn)
{
    struct conn_pool *pool = conn->pool;
    unsigned self = (unsigned)(conn - pool->items);
    unsigned kept = 0;
    for (unsigned i = 0; i < pool->idle_count; i++) {
        unsigned value = pool->idle[(pool->idle_first + i) % pool->count];
        if (value != self) {
            pool->idle[(pool->idle_first + kept++) % pool->count] = value;
        }
    }
    pool->idle_count = kept;
}

static void conn_close(struct conn *conn, int64_t retry_ns)
{
    if (conn->state == CONN_IDLE) {
        idle_remove(conn);
    }
    close(conn->fd); /* which also takes it out of epoll */
    conn->fd = -1;
    conn->in_len = conn->out_len = conn->out_done = 0;
    conn->retry_ns = retry_ns;
    conn_set_state(conn, CONN_CLOSED);
}

static void conn_fail(struct conn *conn, enum conn_failure failure)
{
    bool had_request = conn->state == CONN_SENDING || conn->state == CONN_WAITING;
    if (conn->state == CONN_CONNECTING) {
        conn->pool->connect_failures++;
    }
    if (had_request) {
        conn->pool->on_failure(conn->pool->context, conn, failure);
    }
    conn_close(conn, had_request ? 0 : clock_mono_ns() + RETRY_NS);
}

static void conn_open(struct conn *conn, int64_t now_ns)
{
    struct conn_pool *pool = conn->pool;
    conn->fd = socket(pool->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->fd < 0) {
        pool->connect_failures++;
        conn->retry_ns = now_ns + RETRY_NS;
        return;
    }
    int on = 1;
    (void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    conn->sent_ns = now_ns;
    conn_set_state(conn, CONN_CONNECTING);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = conn};
    if (epoll_ctl(pool->epoll_fd, EPOLL_CTL_ADD, conn->fd, &event) != 0 ||
        (connect(conn->fd, (struct sockaddr *)&pool->address, pool->address_len) != 0 &&
         errno != EINPROGRESS)) {
        conn_fail(conn, CONN_FAILED_CLOSED);
    }
}

enum status conn_pool_init(struct conn_pool *pool)
{
    pool->items = calloc(pool->count, sizeof(*pool->items));
    pool->idle = calloc(pool->count, sizeof(*pool->idle));
    if (!pool->items || !pool->idle) {
        return STATUS_NO_MEMORY;
    }
    for (unsigned i = 0; i < pool->count; i++) {
        struct conn *conn = &pool->items[i];
        conn->pool = pool;
        conn->fd = -1;
        conn->in = malloc(pool->in_cap);
        conn->out = malloc(pool->out_cap);
        if (!conn->in || !conn->out) {
            return STATUS_NO_MEMORY;
        }
    }
    return STATUS_OK;
}

void conn_pool_deinit(struct conn_pool *pool)
{
    for (unsigned i = 0; pool->items && i < pool->count; i++) {
        if (pool->items[i].fd >= 0) {
            close(pool->items[i].fd);
        }
        free(pool->items[i].in);
        free(pool->items[i].out);
    }
    free(pool->items);
    free(pool->idle);
    pool->items = NULL;
    pool->idle = NULL;
}

void conn_pool_tick(struct conn_pool *pool, int64_t now_ns)
{
    for (unsigned i = 0; i < pool->count; i++) {
        struct conn *conn = &pool->items[i];
        bool is_busy = conn->state != CONN_CLOSED && conn->state != CONN_IDLE;
        if (is_busy && now_ns - conn->sent_ns > pool->timeout_ns) {
            conn_fail(conn, CONN_FAILED_TIMEOUT);
        }
        if (conn->state == CONN_CLOSED && now_ns >= conn->retry_ns) {
            conn_open(conn, now_ns);
        }
    }
}

/* False when the connection broke. */
static bool conn_flush(struct conn *conn)
{
    while (conn->out_done < conn->out_len) {
        ssize_t sent = send(conn->fd, conn->out + conn->out_done, conn->out_len - conn->out_done,
                            MSG_NOSIGNAL);
        if (sent < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        conn->out_done += (size_t)sent;
    }
    conn_set_state(conn, CONN_WAITING);
    return true;
}

void conn_pool_send(struct conn_pool *pool, const char *bytes, size_t len, int64_t planned_ns,
                    int64_t now_ns)
{
    BUG_ON(!pool->idle_count || len > pool->out_cap);
    struct conn *conn = &pool->items[pool->idle[pool->idle_first]];
    pool->idle_first = (pool->idle_first + 1) % pool->count;
    pool->idle_count--;
    conn->planned_ns = planned_ns;
    conn->sent_ns = now_ns;
    ssize_t sent = send(conn->fd, bytes, len, MSG_NOSIGNAL);
    if (sent == (ssize_t)len) {
        conn_set_state(conn, CONN_WAITING);
        return;
    }
    conn_set_state(conn, CONN_SENDING);
    if (sent < 0 && errno != EAGAIN) {
        conn_fail(conn, CONN_FAILED_CLOSED);
        return;
    }
    size_t done = sent < 0 ? 0 : (size_t)sent;
    conn->out_done = 0;
    conn->out_len = len - done;
    memcpy(conn->out, bytes + done, conn->out_len);
}

unsigned conn_pool_outstanding(const struct conn_pool *pool)
{
    unsigned busy = 0;
    for (unsigned i = 0; i < pool->count; i++) {
        busy += pool->items[i].state == CONN_SENDING || pool->items[i].state == CONN_WAITING;
    }
    return busy;
}

/* Reads what is there; one complete answer ends the request. Without the peer's end among the
 * events a short read means that nothing is left: whatever comes next brings a new edge. */
static void conn_read(struct conn *conn, bool peer_ended)
{
    struct conn_pool *pool = conn->pool;
    bool at_eof = false, is_drained = false;
    while (!is_drained && conn->in_len < pool->in_cap) {
        size_t room = pool->in_cap - conn->in_len;
        ssize_t got = recv(conn->fd, conn->in + conn->in_len, room, 0);
        if (got <= 0) {
            at_eof = got == 0 || (errno != EAGAIN && errno != EINTR);
            break;
        }
        conn->in_len += (size_t)got;
        is_drained = (size_t)got < room && !peer_ended;
    }
    if (conn->state != CONN_WAITING) { /* an answer before the request was out, or while idle */
        if (at_eof || conn->in_len) {
            conn_fail(conn, at_eof ? CONN_FAILED_CLOSED : CONN_FAILED_RESPONSE);
        }
        return;
    }
    struct response response;
    enum response_result result = response_read(conn->in, conn->in_len, at_eof, &response);
    if (result == RESPONSE_PARTIAL && !at_eof && conn->in_len < pool->in_cap) {
        return;
    }
    if (result != RESPONSE_DONE || response.consumed != conn->in_len) {
        conn_fail(conn, at_eof ? CONN_FAILED_CLOSED : CONN_FAILED_RESPONSE);
        return;
    }
    pool->on_response(pool->context, conn, &response);
    conn->in_len = 0;
    if (response.keep_alive && !at_eof) {
        conn_set_state(conn, CONN_IDLE);
    } else {
        conn_close(conn, 0);
    }
}

void conn_on_event(struct conn *conn, uint32_t events)
{
    if (conn->state == CONN_CLOSED) { /* closed earlier in this batch of events */
        return;
    }
    if (conn->state == CONN_CONNECTING) {
        int error = 0;
        socklen_t len = sizeof(error);
        (void)getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error || (events & (EPOLLERR | EPOLLHUP))) {
            conn_fail(conn, CONN_FAILED_CLOSED);
        } else if (events & EPOLLOUT) {
            conn->pool->connects++;
            conn_set_state(conn, CONN_IDLE);
        }
        return;
    }
    if (conn->state == CONN_SENDING && (events & EPOLLOUT) && !conn_flush(conn)) {
        conn_fail(conn, CONN_FAILED_CLOSED);
        return;
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        conn_read(conn, (events & ~(uint32_t)(EPOLLIN | EPOLLOUT)) != 0);
    }
}
