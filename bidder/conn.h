/* One client connection. Private to server.c and conn.c.
 *
 *            bytes           head complete        request whole
 *   IDLE ------------> HEAD --------------> BODY ---------------> HANDLING
 *    ^ ^                |  (no body) ------------------------------^   |
 *    | |                | bad request, 408                             | server_respond
 *    | |                v                                              v
 *    | |             CLOSING <------ the answer says close ------- [answer in out]
 *    | |                | all sent                                     | else
 *    | |                v                                              |
 *    | |             LINGER  FIN sent; bytes are thrown away until     |
 *    | |                | the client's FIN, so that no reset eats      |
 *    | |                v the answer                                   |
 *    | |              FREE                                             |
 *    | +------------ pipelined bytes: HEAD again <---------------------+
 *    +-------------- nothing more
 *
 * A connection that is lost while HANDLING becomes ABANDONED: its socket is closed, its request
 * stays until the handler answers, and the answer is dropped.
 *
 * Beside the state: blocked is set while the socket does not take the answer. Then neither new
 * bytes are read nor further requests handled, so one connection holds at most the answers of
 * one wake-up. While HANDLING, bytes that arrive stay in the socket.
 *
 * A turn of the loop takes a bounded number of requests, so that answers of Redis never wait behind
 * more than that. Connections beyond it queue in the ready list, unheard, and what they then wait
 * counts as the lag by which requests are shed.
 *
 * Buffers belong to the connection only while they hold something; in between they lie in the
 * server's pool, last in first out, so a few warm ones serve many quiet connections.
 *
 *   in   [ handled | request being read or handled | pipelined ]      in_start = end of handled
 *   out  [ sent | unsent ]                                            out_sent = end of sent */
#pragma once

#include "bidder/server.h"

#define SERVER_LISTENERS_MAX     4
#define SERVER_POOL_BUFS         256
#define SERVER_POOL_BUF_BYTES    (64 * 1024) /* larger ones are freed, not pooled */
#define SERVER_ACCEPTS_PER_WAKE  64
#define SERVER_REQUESTS_PER_WAKE 16
#define SERVER_REQUESTS_PER_TURN                                                                   \
    64 /* taken as they come; further ones queue, in their order, ... */
#define SERVER_ANSWERS_PER_TURN 256         /* sent together at its end; further ones at once */
#define SERVER_BACKLOG_TURN_US  1000        /* ... and so much time of a turn goes into the queue */
#define SERVER_UNSENT_BYTES     (64 * 1024) /* further pipelined requests wait until they are sent */
#define SERVER_SWEEP_US         50000
#define SERVER_SWEEP_CONNS      1024 /* looked at per sweep: bounds the pause */
#define SERVER_RECV_BYTES       8192 /* free room in a fresh buffer */

enum conn_state {
    CONN_FREE,
    CONN_IDLE,
    CONN_HEAD,
    CONN_BODY,
    CONN_HANDLING,
    CONN_CLOSING,
    CONN_LINGER,
    CONN_ABANDONED
};

struct conn {
    struct server *server;
    struct loop_io readable, writable;
    struct conn *next; /* in the server's free list or ready list */
    int64_t deadline_us;
    int64_t due_us; /* when the bytes last read may have come */
    uint32_t slot, generation;
    int fd;
    enum conn_state state;
    enum conn_close close_reason; /* once CLOSING */
    bool reading;                 /* readable is armed */
    bool blocked;                 /* writable is armed */
    bool advancing;               /* conn_advance is on the stack */
    bool ready;                   /* in the ready list */
    bool answered;                /* its answer waits in out for the end of the turn */
    bool unheard;                 /* there because its bytes still lie in the socket */
    bool continue_sent;
    struct buf in, out;
    size_t in_start, out_sent;
    struct http_reader reader;
};

struct server {
    struct loop *loop; /* borrowed */
    struct server_options options;
    struct conn *conns; /* owned, max_connections of them */
    struct conn *free;
    struct conn *ready,
        **ready_tail; /* first in, first out: go on at the end of the turn, or later */
    unsigned ready_count;
    unsigned turn_requests; /* handled in this turn */
    struct loop_io listeners[SERVER_LISTENERS_MAX];
    int listener_fds[SERVER_LISTENERS_MAX];
    unsigned listener_count;
    uint32_t open;
    uint32_t high_slot; /* conns beyond have never been used */
    uint32_t sweep_at;
    struct loop_timer sweep;
    struct loop_timer accept_pause;
    struct loop_hook hook, send_hook;
    uint32_t answered[SERVER_ANSWERS_PER_TURN]; /* slots; void when the connection says otherwise */
    unsigned answered_count;
    int64_t sent_wait_us; /* names the turn whose send_hook has run */
    struct buf pool[SERVER_POOL_BUFS];
    unsigned pooled;
    bool draining;
    int64_t drain_until_us;
    void (*drained)(void *context);
    void *drained_context;
};

/* server.c, for conn.c */
void server_count(struct server *server, enum server_metric id, unsigned label, uint64_t n);
void server_borrow_buf(struct server *server, struct buf *buf, size_t limit);
void server_return_buf(struct server *server, struct buf *buf);
/* The connection goes on at the end of this turn or of a later one, without waiting for the socket.
 */
void server_ready_later(struct server *server, struct conn *conn);
/* Answers of a turn are sent together at its end, when Redis has its commands: a client that sleeps
 * is then woken once for all of them. False: no room, send it now. */
bool server_send_later(struct server *server, struct conn *conn);
void server_release_conn(struct server *server, struct conn *conn);

/* conn.c, for server.c */
void conn_open(struct conn *conn, int fd);
/* Handles what has been read, as far as it goes, and sends. May free the connection. */
void conn_advance(struct conn *conn);
/* Taken from the ready list. May free the connection. */
void conn_go_on(struct conn *conn);
/* The deadline has passed. */
void conn_expire(struct conn *conn);
/* Draining has begun. */
void conn_drain(struct conn *conn);
/* Without ceremony. */
void conn_close(struct conn *conn, enum conn_close reason);
/* The request's answer; the state is HANDLING or ABANDONED (then false). */
bool conn_respond(struct conn *conn, const struct http_response *response);
