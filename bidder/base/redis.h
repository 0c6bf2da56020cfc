/* Asynchronous Redis for one event loop: one server or a cluster, behind one interface.
 *
 * Commands are sent as pre-built RESP and go out together once per loop turn. Every command gets
 * exactly one callback: its reply, or an error when the connection is lost or the deadline passes;
 * a reply that comes after its deadline is swallowed and counted and the connection stays.
 * Reconnects by itself with backoff and jitter. Not thread-safe.
 *
 * address: "unix:/path", "host:port", "cluster:host:port,host:port,..." */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/buf.h"
#include "bidder/base/status.h"
#include "bidder/base/str.h"

struct loop;
struct redis;

enum redis_type { REDIS_NIL, REDIS_INT, REDIS_STRING, REDIS_STATUS, REDIS_ERROR, REDIS_ARRAY };

/* A reply as the callback sees it; valid during the callback only. */
struct redis_value {
    enum redis_type type;
    int64_t integer;
    struct str text; /* string, status, error */
    const struct redis_value *items;
    uint32_t count;
};

enum redis_result { REDIS_OK, REDIS_LATE, REDIS_DISCONNECTED, REDIS_OVERLOADED };

/* value is NULL unless result is REDIS_OK (which includes error replies: look at value->type). */
typedef void redis_fn(void *owner, enum redis_result result, const struct redis_value *value);

struct redis_options {
    const char *address;
    int64_t connect_timeout_us;
    int64_t command_timeout_us; /* a command's deadline unless it names its own */
    uint32_t max_in_flight;     /* further commands fail at once with REDIS_OVERLOADED */
};

struct redis_stats {
    uint64_t commands;   /* queued */
    uint64_t replies;    /* in time */
    uint64_t errors;     /* of the replies: error replies */
    uint64_t late;       /* deadline passed first */
    uint64_t swallowed;  /* replies that came after their deadline */
    uint64_t overloaded; /* not queued: max_in_flight or the output buffer was full */
    uint64_t refused;    /* not queued: not connected, or the breaker was open */
    uint64_t stalls;     /* times the breaker opened: connected, but silent */
    uint64_t broken;     /* connections dropped because what came was no Redis protocol */
    uint64_t disconnects, reconnects;
    uint64_t moved, asked; /* cluster redirections followed */
};

struct redis *redis_create(struct loop *loop, const struct redis_options *options);
void redis_destroy(struct redis **redis);    /* pending callbacks get REDIS_DISCONNECTED */
bool redis_is_up(const struct redis *redis); /* connected, and for a cluster: every slot served */
const struct redis_stats *redis_stats(const struct redis *redis);

/* Calls done(owner, REDIS_DISCONNECTED, NULL) at the end of this turn: for callers whose contract
 * forbids a callback from inside the call. False when memory is out. */
bool redis_later(struct redis *redis, redis_fn *done, void *owner);

/* RESP building: redis_begin(args), redis_arg x args, then redis_send. The command lives in an
 * internal buffer until sent. key decides the node in a cluster. done may be NULL: then nobody
 * waits, there is no deadline, and an open breaker does not refuse it. deadline_us is monotonic; 0
 * = command_timeout_us from now. Returns false (and done is not called) when it could not even be
 * queued. Must not be called from redis_destroy's callbacks. */
void redis_begin(struct redis *redis, uint32_t args);
/* The same for what every bid sends: head is the command's constant beginning as RESP, as in
 * "*2\r\n$7\r\nHGETALL\r\n"; args x redis_arg follow it. */
void redis_begin_with(struct redis *redis, struct str head, uint32_t args);
void redis_arg(struct redis *redis, struct str arg);
void redis_arg_i64(struct redis *redis, int64_t value);
bool redis_send(struct redis *redis, struct str key, int64_t deadline_us, redis_fn *done,
                void *owner);

/* The node a key lives on: 0 for one server; equal numbers share a connection (order is kept). */
uint32_t redis_node_of(const struct redis *redis, struct str key);

/* Blocking client for command-line tools and start-up (no event loop): same address forms. */
struct redis_sync;
struct redis_sync *redis_sync_connect(const char *address, int64_t timeout_us, struct buf *error);
void redis_sync_close(struct redis_sync **sync);
/* argv/lens as one command; the value lives until the next call. NULL: connection lost. */
const struct redis_value *redis_sync_command(struct redis_sync *sync, uint32_t argc,
                                             const struct str *argv);

/* For what has no key (SCAN, DBSIZE): how many masters there are now, 1 without a cluster, 0 when
 * not every slot has one that can be reached; and a command for one of them. */
uint32_t redis_sync_masters(struct redis_sync *sync);
const struct redis_value *redis_sync_command_at(struct redis_sync *sync, uint32_t master,
                                                uint32_t argc, const struct str *argv);

/* Many commands in few round trips: queue them, then flush. Every queued command gets its reply, in
 * the order of queueing on each node; values live during the callback only. The callback must not
 * use sync. */
typedef void redis_sync_fn(void *owner, uint32_t index, const struct redis_value *value);
/* False: too much is queued (flush first) or memory is out. */
bool redis_sync_queue(struct redis_sync *sync, uint32_t argc, const struct str *argv);
/* Empties the queue. False: a connection was lost, some commands may have no reply. */
bool redis_sync_flush(struct redis_sync *sync, redis_sync_fn *each, void *owner) MUST_USE;
