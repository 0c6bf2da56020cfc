/* A pool of keep-alive connections to one address, each with at most one request outstanding.
 * The owner sends on idle connections and hears about every ending through its callbacks. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "bench/load/response.h"
#include "bidder/base/status.h"

/*   CLOSED --open--> CONNECTING --> IDLE --send--> SENDING --> WAITING --answer--> IDLE
 *      ^                 |            |                |           |
 *      +-----------------+------------+----------------+-----------+  error, timeout, peer closed
 */
enum conn_state { CONN_CLOSED, CONN_CONNECTING, CONN_IDLE, CONN_SENDING, CONN_WAITING };

enum conn_failure {
    CONN_FAILED_TIMEOUT,
    CONN_FAILED_CLOSED,   /* the peer closed or reset before it answered */
    CONN_FAILED_RESPONSE, /* not HTTP, too large, or bytes behind the answer */
    CONN_FAILURES
};

struct conn_pool;

struct conn {
    struct conn_pool *pool;
    int fd;
    enum conn_state state;
    int64_t planned_ns; /* the owner's: when the request should have been sent */
    int64_t sent_ns;
    int64_t retry_ns; /* while closed: not before */
    char *out;        /* owned; the part of the request that the socket did not take */
    size_t out_len;
    size_t out_done;
    char *in; /* owned */
    size_t in_len;
};

struct conn_pool {
    int epoll_fd; /* borrowed */
    struct sockaddr_storage address;
    socklen_t address_len;
    struct conn *items; /* owned */
    unsigned count;
    unsigned up; /* connected */
    size_t in_cap;
    size_t out_cap;
    int64_t timeout_ns;
    unsigned *idle; /* owned; ring, so that all connections take turns */
    unsigned idle_first;
    unsigned idle_count;
    uint64_t connects;
    uint64_t connect_failures;
    void *context;
    void (*on_response)(void *context, struct conn *conn, const struct response *response);
    void (*on_failure)(void *context, struct conn *conn, enum conn_failure failure);
};

/* The caller has set address, count, in_cap, out_cap, timeout, callbacks, epoll. Opens nothing. */
enum status conn_pool_init(struct conn_pool *pool) MUST_USE;
void conn_pool_deinit(struct conn_pool *pool);

/* Opens closed connections whose time has come and ends those that waited too long. Call every few
 * milliseconds. */
void conn_pool_tick(struct conn_pool *pool, int64_t now_ns);

static inline bool conn_pool_has_idle(const struct conn_pool *pool)
{
    return pool->idle_count > 0;
}

/* Sends on the next idle connection; there must be one. The bytes are free for reuse on return. */
void conn_pool_send(struct conn_pool *pool, const char *bytes, size_t len, int64_t planned_ns,
                    int64_t now_ns);

unsigned conn_pool_outstanding(const struct conn_pool *pool);

/* What epoll said about this connection. */
void conn_on_event(struct conn *conn, uint32_t events);
