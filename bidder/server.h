/* An HTTP server on an event loop: listeners in, whole requests out to one handler, responses
 * back in the order of the requests. Bidding and the admin port both use it.
 *
 * The handler answers at once or later, exactly once, with server_respond(ticket). The request and
 * its views stay untouched until then, also when the client has gone or the handler takes longer
 * than handle_timeout_us (its client is then given up); server_respond returns false when nobody
 * waits for the answer any more.
 *
 * What goes on with one connection is in conn.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/buf.h"
#include "bidder/base/loop.h"
#include "bidder/base/metric.h"
#include "bidder/base/status.h"
#include "bidder/http.h"
#include "bidder/http_response.h"

struct conn;
struct server;

struct server_request {
    uint64_t ticket;
    const struct http_request *http; /* borrowed until answered */
    int64_t received_us;             /* now, monotonic: the request has just become whole */
    int64_t lag_us;                  /* how long it may have waited to be read: shed by it */
};

typedef void server_handler_fn(void *context, const struct server_request *request);
/* Judges a request whose body is still to come, so that nobody has to be fed who will be refused.
 * False: refusal is the answer, behind which the connection ends. *body_bytes may be lowered. Not
 * asked when the body came with the head: the handler sees every request that is not refused. */
typedef bool server_head_fn(void *context, const struct http_request *head, uint64_t *body_bytes,
                            struct http_response *refusal);

struct server_options {
    struct http_limits limits;
    uint32_t max_connections;
    size_t out_bytes;          /* unsent bytes of one connection, beyond: closed */
    int64_t head_timeout_us;   /* from a request's first byte to its blank line: 408 */
    int64_t body_timeout_us;   /* from the blank line to the last byte: 408 */
    int64_t write_timeout_us;  /* a client that does not read its answer */
    int64_t idle_timeout_us;   /* between requests */
    int64_t handle_timeout_us; /* a handler that does not answer: closed */
    int64_t linger_timeout_us; /* after our FIN, until the client's */
    server_handler_fn *handler;
    server_head_fn *head; /* may be NULL: every body is read */
    void *context;
    bool counted; /* into the metrics below: the bidding port, not the admin port */
};
/* Limits and timeouts for the bidding port; set handler and context. */
struct server_options server_options_default(void);

enum status server_create(struct loop *loop, const struct server_options *options,
                          struct server **server) MUST_USE;
/* Closes every connection at once; requests that were not answered are gone with it. */
void server_destroy(struct server **server);
/* Accepts from fd, a listening non-blocking socket; the server owns it from now on. */
enum status server_listen(struct server *server, int fd) MUST_USE;
/* Takes what waits in the accept queue, closes the listeners, answers what comes within grace_us
 * with Connection: close, then lets idle connections go. drained is called once, when the last
 * connection has gone; at once when there is none. It must not destroy the server. */
void server_drain(struct server *server, int64_t grace_us, void (*drained)(void *context),
                  void *context);
uint32_t server_open_connections(const struct server *server);

/* Answers a request. The response's views are copied. False: the ticket is void. */
bool server_respond(struct server *server, uint64_t ticket, const struct http_response *response);
/* The request a ticket stands for, until it is answered; NULL when nobody waits any more. */
const struct http_request *server_request_of(const struct server *server, uint64_t ticket);
/* The usual answer without a body. */
bool server_respond_status(struct server *server, uint64_t ticket, int status);

/* Makes a listening socket: "127.0.0.1:8080", "[::1]:8080", ":8080" (all IPv4), "unix:/path".
 * Port 0 takes a free one. reuse_port: several sockets share the port and the kernel spreads
 * connections over them. -1 and a text in *error on failure. */
int server_bind(const char *address, bool reuse_port, struct buf *error);
/* 127.0.0.0/8, ::1 or a unix socket. */
bool server_address_is_loopback(const char *address);
/* The address a socket is bound to, "127.0.0.1:43210". */
void server_bound_address(int fd, struct buf *address);

enum conn_close {
    CONN_CLOSE_PEER,        /* the client ended it between requests */
    CONN_CLOSE_ABORTED,     /* ... in the middle of one */
    CONN_CLOSE_RESET,       /* the network or a reset */
    CONN_CLOSE_ASKED,       /* Connection: close, HTTP/1.0, or the handler said so */
    CONN_CLOSE_BAD_REQUEST, /* framing lost */
    CONN_CLOSE_REFUSED,     /* refused by its head; the body is not read */
    CONN_CLOSE_IDLE,        /* idle_timeout_us */
    CONN_CLOSE_HEAD_TIMEOUT,
    CONN_CLOSE_BODY_TIMEOUT,
    CONN_CLOSE_WRITE_TIMEOUT,
    CONN_CLOSE_HANDLER_TIMEOUT,
    CONN_CLOSE_OUT_LIMIT, /* out_bytes */
    CONN_CLOSE_DRAIN,
    CONN_CLOSE_COUNT
};
const char *conn_close_text(unsigned reason);

enum server_call { SERVER_CALL_ACCEPT, SERVER_CALL_RECV, SERVER_CALL_SEND, SERVER_CALL_COUNT };
const char *server_call_text(unsigned call);

#define SERVER_METRICS(X)                                                                          \
    X(SERVER_ACCEPTED, METRIC_COUNTER, "jointcap_connections_accepted_total", NULL, NULL, 1,       \
      "Connections accepted on the bidding port.")                                                 \
    X(SERVER_REFUSED, METRIC_COUNTER, "jointcap_connections_refused_total", NULL, NULL, 1,         \
      "Connections turned away at max_connections or for want of file descriptors.")               \
    X(SERVER_OPEN, METRIC_GAUGE, "jointcap_connections_open", NULL, NULL, 1,                       \
      "Connections open now.")                                                                     \
    X(SERVER_CLOSED, METRIC_COUNTER, "jointcap_connections_closed_total", "reason",                \
      conn_close_text, CONN_CLOSE_COUNT, "Connections closed, by reason.")                         \
    X(SERVER_REQUESTS, METRIC_COUNTER, "jointcap_http_requests_total", NULL, NULL, 1,              \
      "Whole requests handed to a handler.")                                                       \
    X(SERVER_RESPONSES, METRIC_COUNTER, "jointcap_http_responses_total", "status",                 \
      http_status_label, HTTP_STATUS_COUNT, "Responses, by status.")                               \
    X(SERVER_VOID, METRIC_COUNTER, "jointcap_http_responses_void_total", NULL, NULL, 1,            \
      "Answers that came after their request was given up.")                                       \
    X(SERVER_IN_BYTES, METRIC_COUNTER, "jointcap_http_received_bytes_total", NULL, NULL, 1,        \
      "Bytes received on the bidding port.")                                                       \
    X(SERVER_OUT_BYTES, METRIC_COUNTER, "jointcap_http_sent_bytes_total", NULL, NULL, 1,           \
      "Bytes sent on the bidding port.")                                                           \
    X(SERVER_CALLS, METRIC_COUNTER, "jointcap_http_system_calls_total", "call", server_call_text,  \
      SERVER_CALL_COUNT, "System calls made for the bidding port.")                                \
    X(SERVER_TURNS, METRIC_COUNTER, "jointcap_loop_turns_total", NULL, NULL, 1,                    \
      "Turns of the event loop: each is one wait for events.")                                     \
    X(SERVER_LAG, METRIC_TIME, "jointcap_request_lag_seconds", NULL, NULL, 1,                      \
      "How long a request may have waited before the worker read it.")
METRIC_DECLARE(server, SERVER_METRICS);
