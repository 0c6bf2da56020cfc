/* One connection to one Redis server. Internal to the redis modules.
 *
 *   DOWN --timer--> CONNECTING --writable--> UP --lost, broken protocol, silent--> DOWN
 *                       \--refused, timeout--> DOWN
 *
 * An UP connection may be stalled: commands wait and nothing comes back. Then it takes no further
 * commands that somebody waits for (circuit breaker) until the server has caught up. */
#pragma once

#include "bidder/base/buf.h"
#include "bidder/base/loop.h"
#include "bidder/base/prng.h"
#include "bidder/base/redis.h"

struct redis_reply_reader;
struct redis_conn;

/* A command on its way; kept in sending order, which is the order of the replies. */
struct redis_call {
    redis_fn *done; /* NULL: nobody waits, or it was late already */
    void *owner;
    int64_t deadline_us;
    struct redis_copy *copy; /* cluster: the command, to send it elsewhere; else NULL */
    uint8_t redirects;
    bool late;
    bool internal; /* ASKING: its reply is nobody's */
};

/* What happened to a call; the connection keeps nothing of it afterwards. call->done has not been
 * called. */
typedef void redis_call_fn(void *owner, struct redis_conn *conn, const struct redis_call *call,
                           enum redis_result result, const struct redis_value *value);
/* Came up or went down. */
typedef void redis_change_fn(void *owner, struct redis_conn *conn);

enum redis_conn_state { REDIS_CONN_DOWN, REDIS_CONN_CONNECTING, REDIS_CONN_UP };

struct redis_conn {
    enum redis_conn_state state;
    bool stalled;
    bool wanted; /* false: not reconnected once it is down */
    char *host;  /* owned; a path when port is 0 */
    int port;
    uint32_t number; /* redis_node_of */
    const struct redis_options *options;
    struct redis_stats *stats;
    redis_call_fn *on_call;
    redis_change_fn *on_change;
    void *owner;
    struct loop *loop;

    int fd;
    struct loop_io read_io, write_io;
    struct loop_timer timer; /* reconnect, connect timeout or deadlines, by state */
    int64_t timer_at_us;     /* INT64_MAX: not armed */
    bool write_waits;
    struct prng prng;
    int64_t backoff_us;

    struct redis_reply_reader *reader; /* owned; while connected */
    struct buf out;
    size_t out_sent;
    struct redis_call *ring; /* owned; ring[head & mask] is the oldest */
    uint32_t ring_mask, head, tail;
    uint32_t late_streak; /* late calls since the last reply */
    int64_t read_us;      /* when bytes last came */
    int64_t heard_us;     /* when a reply was last complete, or the server had nothing to say */
};

struct redis_conn *redis_conn_create(struct loop *loop, const struct redis_options *options,
                                     struct redis_stats *stats, struct str host, int port,
                                     redis_call_fn *on_call, redis_change_fn *on_change,
                                     void *owner);
/* Pending calls end with REDIS_DISCONNECTED. */
void redis_conn_destroy(struct redis_conn **conn);
/* Queues a command; false: not up, stalled, or no room (counted). */
bool redis_conn_send(struct redis_conn *conn, struct str command, const struct redis_call *call);
/* Writes what is queued: once per loop turn. */
void redis_conn_flush(struct redis_conn *conn);
static inline bool redis_conn_is_up(const struct redis_conn *conn)
{
    return conn->state == REDIS_CONN_UP && !conn->stalled;
}
