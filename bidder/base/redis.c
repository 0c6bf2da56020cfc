/* Redis for one event loop: building commands, choosing the connection, once-per-turn writes.
 *
 *   redis_begin/arg -> command buffer -> redis_send -> connection's out buffer
 *   end of turn: deferred callbacks, then one write per connection that has something
 *
 * redis_conn.c owns sockets, deadlines and reconnects; redis_cluster.c the slot map. */
#include "bidder/base/redis_private.h"

#include "bidder/base/redis_reply.h"

#include "bidder/base/bug.h"

#define COMMAND_LIMIT ((size_t)1 << 20)

static void on_call(void *owner, struct redis_conn *conn, const struct redis_call *call,
                    enum redis_result result, const struct redis_value *value)
{
    struct redis *redis = owner;
    if (call->internal) {
        return;
    }
    if (redis->cluster) {
        if (result == REDIS_OK && redis_cluster_redirect(redis, conn, call, value)) {
            return;
        }
        if (result != REDIS_LATE) { /* a late call is still in the ring, with its copy */
            redis_cluster_free_copy(redis, call->copy);
        }
    }
    if (call->done && !call->late) {
        call->done(call->owner, result, value);
    }
}

static void on_change(void *owner, struct redis_conn *conn)
{
    struct redis *redis = owner;
    if (redis->cluster && !redis->destroying) {
        redis_cluster_changed(redis, conn);
    }
}

static void run_later(struct redis *redis)
{
    uint32_t count = redis->later_count; /* what callbacks add waits for the next turn */
    for (uint32_t i = 0; i < count; i++) {
        struct redis_later_call call = redis->later[i];
        call.done(call.owner, REDIS_DISCONNECTED, NULL);
    }
    redis->later_count -= count;
    if (!redis->later_count) {
        return;
    }
    memmove(redis->later, redis->later + count, redis->later_count * sizeof(*redis->later));
}

static void on_turn_end(void *context)
{
    struct redis *redis = context;
    if (redis->later_count) {
        run_later(redis);
    }
    for (uint32_t i = 0; i < redis->conn_count; i++) {
        redis_conn_flush(redis->conns[i]);
    }
    redis->hooked_wait_us = redis->loop->before_wait_us;
    redis->loop->again |= redis->later_count != 0;
}

/* Work that arrives when this turn's hook has run already must not wait for the next event. */
static void want_turn(struct redis *redis)
{
    if (redis->hooked_wait_us == redis->loop->before_wait_us) {
        redis->loop->again = true;
    }
}

bool redis_later(struct redis *redis, redis_fn *done, void *owner)
{
    if (redis->later_count == redis->later_cap) {
        uint32_t cap = redis->later_cap ? 2 * redis->later_cap : 64;
        struct redis_later_call *more = realloc(redis->later, cap * sizeof(*more));
        if (!more) {
            return false;
        }
        redis->later = more;
        redis->later_cap = cap;
    }
    redis->later[redis->later_count++] = (struct redis_later_call){.done = done, .owner = owner};
    want_turn(redis);
    return true;
}

/* --- commands ------------------------------------------------------------------------------- */

void redis_begin(struct redis *redis, uint32_t args)
{
    buf_reset(&redis->command);
    redis_command_begin(&redis->command, args);
    redis->args_left = args;
}

void redis_begin_with(struct redis *redis, struct str head, uint32_t args)
{
    buf_reset(&redis->command);
    buf_put_str(&redis->command, head);
    redis->args_left = args;
}

void redis_arg(struct redis *redis, struct str arg)
{
    BUG_ON(redis->args_left == 0);
    redis->args_left--;
    redis_command_arg(&redis->command, arg);
}

void redis_arg_i64(struct redis *redis, int64_t value)
{
    char text[STR_I64_BYTES];
    redis_arg(redis, str_of_i64(value, text));
}

bool redis_send(struct redis *redis, struct str key, int64_t deadline_us, redis_fn *done,
                void *owner)
{
    BUG_ON(redis->args_left != 0);
    struct redis_call call = {.done = done, .owner = owner, .deadline_us = INT64_MAX};
    if (buf_failed(&redis->command) || redis->destroying) {
        redis->stats.overloaded++;
        return false;
    }
    if (done) {
        call.deadline_us =
            deadline_us ? deadline_us : clock_mono_us() + redis->options.command_timeout_us;
    }
    struct redis_conn *conn = redis->conns[0];
    struct str command = buf_str(&redis->command);
    if (redis->cluster) {
        conn = redis_cluster_conn_of(redis, key);
        call.copy = conn ? redis_cluster_copy(redis, command) : NULL;
        if (!call.copy) {
            redis->stats.refused++;
            return false;
        }
    }
    if (!redis_conn_send(conn, command, &call)) {
        redis_cluster_free_copy(redis, call.copy);
        return false;
    }
    want_turn(redis);
    return true;
}

uint32_t redis_node_of(const struct redis *redis, struct str key)
{
    if (!redis->cluster) {
        return 0;
    }
    return redis->slot_nodes[redis_cluster_slot(key)];
}

/* --- life ----------------------------------------------------------------------------------- */

struct redis_conn *redis_conn_to(struct redis *redis, struct str host, int port)
{
    for (uint32_t i = 0; i < redis->conn_count; i++) {
        struct redis_conn *conn = redis->conns[i];
        if (conn->port == port && str_eq(str_from(conn->host), host)) {
            return conn;
        }
    }
    if (redis->conn_count == REDIS_MAX_NODES) {
        return NULL;
    }
    struct redis_conn *conn = redis_conn_create(redis->loop, &redis->options, &redis->stats, host,
                                                port, on_call, on_change, redis);
    if (conn) {
        conn->number = redis->conn_count;
        redis->conns[redis->conn_count++] = conn;
    }
    return conn;
}

static bool open_address(struct redis *redis)
{
    struct str address = str_from(redis->options.address);
    static const struct str unix_prefix = {"unix:", 5}, cluster_prefix = {"cluster:", 8};
    if (str_starts(address, unix_prefix)) {
        address = (struct str){address.ptr + 5, address.len - 5};
        return address.len && redis_conn_to(redis, address, 0);
    }
    if (str_starts(address, cluster_prefix)) {
        return redis_cluster_setup(redis, (struct str){address.ptr + 8, address.len - 8});
    }
    struct str host;
    int port;
    return redis_split_address(address, &host, &port) && redis_conn_to(redis, host, port);
}

bool redis_split_address(struct str text, struct str *host, int *port)
{
    size_t colon = text.len;
    while (colon && text.ptr[colon - 1] != ':') {
        colon--;
    }
    int64_t number;
    if (colon < 2 || !str_to_i64((struct str){text.ptr + colon, text.len - colon}, &number) ||
        number < 1 || number > 65535) {
        return false;
    }
    *host = (struct str){text.ptr, colon - 1};
    *port = (int)number;
    return true;
}

struct redis *redis_create(struct loop *loop, const struct redis_options *options)
{
    struct redis *redis = calloc(1, sizeof(*redis));
    if (!redis) {
        return NULL;
    }
    redis->options = *options;
    redis->loop = loop;
    redis->hooked_wait_us = -1;
    buf_init(&redis->command, COMMAND_LIMIT);
    loop_hook_add(loop, &redis->hook, on_turn_end, redis);
    if (!open_address(redis)) {
        redis_destroy(&redis);
    }
    return redis;
}

void redis_destroy(struct redis **redis_at)
{
    struct redis *redis = *redis_at;
    if (!redis) {
        return;
    }
    for (uint32_t i = 0; i < redis->conn_count; i++) {
        redis_conn_flush(redis->conns[i]); /* what nobody waits for still goes out */
    }
    redis->destroying = true;
    run_later(redis);
    for (uint32_t i = 0; i < redis->conn_count; i++) {
        redis_conn_destroy(&redis->conns[i]);
    }
    if (redis->cluster) {
        redis_cluster_teardown(redis);
    }
    loop_hook_remove(redis->loop, &redis->hook);
    buf_deinit(&redis->command);
    free(redis->later);
    free(redis);
    *redis_at = NULL;
}

bool redis_is_up(const struct redis *redis)
{
    return redis->cluster ? redis_cluster_is_up(redis) : redis_conn_is_up(redis->conns[0]);
}

const struct redis_stats *redis_stats(const struct redis *redis)
{
    return &redis->stats;
}
