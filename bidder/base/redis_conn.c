/* Why hiredis's reader but not its asynchronous context: that one allocates for every command and
 * knows no deadlines; sending is a buffer and a ring here.
 *
 *   send -> out buffer + ring entry      (end of turn) -> one write
 *   read -> reader -> oldest ring entry -> on_call
 *   timer -> entries past their deadline -> on_call(LATE), entry stays until its reply came
 */
#include <hiredis/hiredis.h>

#include "bidder/base/redis_reply.h"

#include "bidder/base/redis_conn.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bidder/base/bug.h"
#include "bidder/base/log.h"

#define BACKOFF_MIN_US  20000
#define BACKOFF_MAX_US  2000000
#define STALL_LATE      8        /* so many late calls in a row, and ... */
#define STALL_SILENT_US 20000    /* ... not a byte for so long: the server hangs */
#define DEAD_US         15000000 /* silent for so long: the connection is given up */
#define OUT_LIMIT       ((size_t)32 << 20)
#define READ_BYTES      65536
#define TIMER_LEAST_US  1000

static void conn_down(struct redis_conn *conn, const char *why);

static uint32_t ring_count(const struct redis_conn *conn)
{
    return conn->tail - conn->head;
}

static void timer_arm(struct redis_conn *conn, int64_t at_us, int64_t now_us)
{
    conn->timer_at_us = at_us;
    loop_timer_start(&conn->timer, at_us - now_us);
}

/* --- up and down ---------------------------------------------------------------------------- */

static void reconnect_later(struct redis_conn *conn)
{
    conn->timer_at_us = INT64_MAX;
    if (!conn->wanted) {
        return;
    }
    /* Half to all of the backoff, so that workers do not come back in step. */
    int64_t wait_us =
        conn->backoff_us / 2 + (int64_t)prng_below(&conn->prng, (uint64_t)conn->backoff_us / 2);
    conn->backoff_us =
        conn->backoff_us * 2 > BACKOFF_MAX_US ? BACKOFF_MAX_US : conn->backoff_us * 2;
    timer_arm(conn, clock_mono_us() + wait_us, clock_mono_us());
}

static void conn_down(struct redis_conn *conn, const char *why)
{
    bool was_up = conn->state == REDIS_CONN_UP;
    conn->state = REDIS_CONN_DOWN;
    conn->stalled = false;
    if (conn->fd >= 0) {
        loop_io_stop(&conn->read_io);
        loop_io_stop(&conn->write_io);
        close(conn->fd);
        conn->fd = -1;
    }
    conn->write_waits = false;
    loop_timer_stop(&conn->timer);
    redis_reply_reader_deinit(conn->reader);
    buf_reset(&conn->out);
    conn->out_sent = 0;
    if (was_up) {
        conn->stats->disconnects++;
        log_warn("redis %s:%d: connection lost (%s), %u commands pending", conn->host, conn->port,
                 why, ring_count(conn));
    }
    reconnect_later(conn);
    while (conn->head != conn->tail) {
        struct redis_call call = conn->ring[conn->head++ & conn->ring_mask];
        conn->on_call(conn->owner, conn, &call, REDIS_DISCONNECTED, NULL);
    }
    if (was_up) {
        conn->on_change(conn->owner, conn);
    }
}

static void conn_up(struct redis_conn *conn)
{
    conn->state = REDIS_CONN_UP;
    conn->heard_us = clock_mono_us();
    conn->late_streak = 0;
    conn->stats->reconnects++;
    loop_timer_stop(&conn->timer);
    conn->timer_at_us = INT64_MAX;
    loop_io_start(&conn->read_io);
    log_info("redis %s:%d: connected", conn->host, conn->port);
    conn->on_change(conn->owner, conn);
}

static void on_readable(void *context, int fd, short events);
static void on_writable(void *context, int fd, short events);

static void conn_start(struct redis_conn *conn)
{
    redisContext *context = conn->port ? redisConnectNonBlock(conn->host, conn->port)
                                       : redisConnectUnixNonBlock(conn->host);
    conn->fd = -1;
    if (context && !context->err) {
        conn->fd = redisFreeKeepFd(context);
    } else if (context) {
        redisFree(context);
    }
    if (conn->fd < 0 || !redis_reply_reader_init(conn->reader)) {
        if (conn->fd >= 0) {
            close(conn->fd);
            conn->fd = -1;
        }
        reconnect_later(conn);
        return;
    }
    conn->state = REDIS_CONN_CONNECTING;
    loop_io_init(&conn->read_io, conn->loop, conn->fd, EV_READ | EV_PERSIST, on_readable, conn);
    loop_io_init(&conn->write_io, conn->loop, conn->fd, EV_WRITE, on_writable, conn);
    loop_io_start(&conn->write_io);
    int64_t now_us = clock_mono_us();
    timer_arm(conn, now_us + conn->options->connect_timeout_us, now_us);
}

/* --- deadlines ------------------------------------------------------------------------------ */

static void check_deadlines(struct redis_conn *conn, int64_t now_us)
{
    int64_t next_us = INT64_MAX;
    uint32_t end = conn->tail; /* callbacks may queue more */
    for (uint32_t i = conn->head; i != end; i++) {
        struct redis_call *call = &conn->ring[i & conn->ring_mask];
        if (call->late || !call->done) {
            continue;
        }
        if (call->deadline_us > now_us) {
            next_us = call->deadline_us < next_us ? call->deadline_us : next_us;
            continue;
        }
        struct redis_call late = *call;
        call->late = true;
        call->done = NULL;
        conn->late_streak++;
        conn->stats->late++;
        conn->on_call(conn->owner, conn, &late, REDIS_LATE, NULL);
    }
    if (conn->state != REDIS_CONN_UP || conn->head == conn->tail) {
        return;
    }
    if (!conn->stalled && conn->late_streak >= STALL_LATE &&
        now_us - conn->heard_us >= STALL_SILENT_US) {
        conn->stalled = true;
        conn->stats->stalls++;
        log_warn("redis %s:%d: silent for %lld ms, breaker open", conn->host, conn->port,
                 (long long)(now_us - conn->heard_us) / 1000);
        conn->on_change(conn->owner, conn);
    }
    if (now_us - conn->heard_us >= DEAD_US) {
        conn_down(conn, "silent");
        return;
    }
    /* Also while only late calls are left: to notice that the server is dead. */
    int64_t dead_us = conn->heard_us + DEAD_US;
    next_us = dead_us < next_us ? dead_us : next_us;
    if (next_us < conn->timer_at_us) {
        int64_t least_us = now_us + TIMER_LEAST_US;
        timer_arm(conn, next_us < least_us ? least_us : next_us, now_us);
    }
}

static void on_timer(void *context)
{
    struct redis_conn *conn = context;
    conn->timer_at_us = INT64_MAX;
    switch (conn->state) {
    case REDIS_CONN_DOWN:
        conn_start(conn);
        return;
    case REDIS_CONN_CONNECTING:
        conn_down(conn, "connect timeout");
        return;
    case REDIS_CONN_UP:
        check_deadlines(conn, clock_mono_us());
        return;
    }
}

/* --- bytes ---------------------------------------------------------------------------------- */

void redis_conn_flush(struct redis_conn *conn)
{
    if (conn->state != REDIS_CONN_UP || conn->write_waits || conn->out.len == conn->out_sent) {
        return;
    }
    size_t left = conn->out.len - conn->out_sent;
    ssize_t sent = send(conn->fd, conn->out.data + conn->out_sent, left, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        conn_down(conn, strerror(errno));
        return;
    }
    conn->out_sent += sent > 0 ? (size_t)sent : 0;
    if (conn->out_sent == conn->out.len) {
        buf_reset(&conn->out);
        conn->out_sent = 0;
        return;
    }
    conn->write_waits = true;
    loop_io_start(&conn->write_io);
}

static void on_writable(void *context, int fd, short events)
{
    struct redis_conn *conn = context;
    (void)events;
    if (conn->state == REDIS_CONN_CONNECTING) {
        int error = 0;
        socklen_t len = sizeof(error);
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) || error) {
            conn_down(conn, strerror(error));
            return;
        }
        conn_up(conn);
        return;
    }
    conn->write_waits = false;
    redis_conn_flush(conn);
}

/* A server that hung is taken back once nothing of the time it hung is in front of us any more. */
static void leave_stall(struct redis_conn *conn)
{
    if (conn->head != conn->tail && conn->ring[conn->head & conn->ring_mask].late) {
        return;
    }
    conn->stalled = false;
    log_info("redis %s:%d: answers again", conn->host, conn->port);
    conn->on_change(conn->owner, conn);
}

static bool take_replies(struct redis_conn *conn)
{
    const struct redis_value *value;
    int more;
    while ((more = redis_reply_next(conn->reader, &value)) > 0) {
        if (conn->head == conn->tail) {
            return false; /* an answer to nothing */
        }
        struct redis_call call = conn->ring[conn->head++ & conn->ring_mask];
        conn->backoff_us = BACKOFF_MIN_US; /* it speaks our language */
        conn->heard_us = conn->read_us;
        conn->late_streak = 0;
        conn->stats->swallowed += call.late;
        conn->stats->replies += !call.late;
        conn->stats->errors += value->type == REDIS_ERROR;
        conn->on_call(conn->owner, conn, &call, REDIS_OK, value);
        redis_reply_done(conn->reader);
    }
    return more == 0;
}

static void on_readable(void *context, int fd, short events)
{
    static char bytes[READ_BYTES]; /* one thread, and used up before we return */
    struct redis_conn *conn = context;
    (void)events;
    ssize_t got = recv(fd, bytes, sizeof(bytes), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        conn_down(conn, got ? strerror(errno) : "closed by the server");
        return;
    }
    conn->read_us = clock_mono_us();
    if (!redis_reply_feed(conn->reader, bytes, (size_t)got) || !take_replies(conn)) {
        conn->stats->broken++;
        conn_down(conn, "broken protocol");
        return;
    }
    if (conn->stalled) {
        leave_stall(conn);
    }
}

bool redis_conn_send(struct redis_conn *conn, struct str command, const struct redis_call *call)
{
    /* What nobody waits for (confirm, release) goes also to a server that hangs: it will be done
     * when the server is back. */
    if (conn->state != REDIS_CONN_UP || (conn->stalled && call->done)) {
        conn->stats->refused++;
        return false;
    }
    if (ring_count(conn) > conn->ring_mask || ring_count(conn) >= conn->options->max_in_flight ||
        command.len > OUT_LIMIT - conn->out.len) {
        conn->stats->overloaded++;
        return false;
    }
    size_t before = conn->out.len;
    buf_put_str(&conn->out, command);
    if (buf_failed(&conn->out)) {
        conn->out.failed = false;
        conn->out.len = before;
        conn->stats->overloaded++;
        return false;
    }
    if (conn->head == conn->tail) {
        conn->heard_us = clock_mono_us(); /* the server had nothing to say before this */
    }
    conn->ring[conn->tail++ & conn->ring_mask] = *call;
    conn->stats->commands++;
    if (call->done && call->deadline_us < conn->timer_at_us) {
        timer_arm(conn, call->deadline_us, clock_mono_us());
    }
    return true;
}

/* --- life ----------------------------------------------------------------------------------- */

struct redis_conn *redis_conn_create(struct loop *loop, const struct redis_options *options,
                                     struct redis_stats *stats, struct str host, int port,
                                     redis_call_fn *on_call, redis_change_fn *on_change,
                                     void *owner)
{
    struct redis_conn *conn = calloc(1, sizeof(*conn));
    if (!conn) {
        return NULL;
    }
    *conn = (struct redis_conn){.fd = -1,
                                .port = port,
                                .options = options,
                                .stats = stats,
                                .on_call = on_call,
                                .on_change = on_change,
                                .owner = owner,
                                .loop = loop,
                                .wanted = true,
                                .backoff_us = BACKOFF_MIN_US,
                                .timer_at_us = INT64_MAX};
    conn->prng.state = (uint64_t)clock_mono_ns() ^ (uint64_t)getpid() << 32 ^ (uintptr_t)conn;
    uint32_t size = 16;
    while (size < options->max_in_flight) {
        size *= 2;
    }
    conn->ring_mask = size - 1;
    conn->ring = calloc(size, sizeof(*conn->ring));
    conn->reader = calloc(1, sizeof(*conn->reader));
    conn->host = malloc(host.len + 1);
    buf_init(&conn->out, OUT_LIMIT);
    loop_timer_init(&conn->timer, loop, on_timer, conn);
    if (!conn->ring || !conn->reader || !conn->host) {
        redis_conn_destroy(&conn);
        return NULL;
    }
    memcpy(conn->host, host.ptr, host.len);
    conn->host[host.len] = '\0';
    conn_start(conn);
    return conn;
}

void redis_conn_destroy(struct redis_conn **conn_at)
{
    struct redis_conn *conn = *conn_at;
    if (!conn) {
        return;
    }
    conn->wanted = false;
    if (conn->state != REDIS_CONN_DOWN) {
        conn->state = REDIS_CONN_CONNECTING; /* we leave; nothing was lost */
        conn_down(conn, "closing");
    }
    loop_timer_stop(&conn->timer);
    buf_deinit(&conn->out);
    free(conn->reader);
    free(conn->ring);
    free(conn->host);
    free(conn);
    *conn_at = NULL;
}
