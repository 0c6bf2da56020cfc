/* The slot map of a Redis cluster, and redirections.
 *
 *   key -> CRC16 of its {tag} mod 16384 -> slot_nodes -> connection
 *
 * The map is learned from any node (CLUSTER SLOTS): at the start, when a node says MOVED, when a
 * connection changes, and every REFRESH_US while some slot has no node that is up. A failover shows
 * as a lost connection, then as a new map. One connection per node, opened when first named. */
#include "bidder/base/redis_private.h"

#include "bidder/base/redis_reply.h"

#include "bidder/base/bug.h"
#include "bidder/base/log.h"

#define REFRESH_US       150000
#define REFRESH_CALM_US  10000000 /* while all is well */
#define REFRESH_REPLY_US 1000000
#define REFRESH_LEAST_US 20000
#define MAX_REDIRECTS    5
#define COPY_BYTES       256

/* CRC-16/XMODEM (polynomial 0x1021, start 0), as the cluster specification names it. */
static uint16_t crc16(struct str text)
{
    uint16_t crc = 0;
    for (size_t i = 0; i < text.len; i++) {
        crc ^= (uint16_t)((unsigned char)text.ptr[i] << 8);
        for (int bit = 0; bit < 8; bit++) {
            crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
        }
    }
    return crc;
}

uint16_t redis_cluster_slot(struct str key)
{
    const char *open = key.len ? memchr(key.ptr, '{', key.len) : NULL;
    if (open) {
        const char *start = open + 1;
        const char *close = memchr(start, '}', (size_t)(key.ptr + key.len - start));
        if (close && close > start) {
            key = (struct str){start, (size_t)(close - start)};
        }
    }
    return crc16(key) % REDIS_SLOTS;
}

/* --- copies of commands --------------------------------------------------------------------- */

struct redis_copy *redis_cluster_copy(struct redis *redis, struct str command)
{
    struct redis_copy *copy = redis->free_copies;
    if (copy && copy->cap >= command.len) {
        redis->free_copies = copy->next;
    } else {
        size_t cap = command.len > COPY_BYTES ? command.len : COPY_BYTES;
        copy = malloc(sizeof(*copy) + cap);
        if (!copy) {
            return NULL;
        }
        copy->cap = (uint32_t)cap;
    }
    copy->len = (uint32_t)command.len;
    memcpy(copy->bytes, command.ptr, command.len);
    return copy;
}

void redis_cluster_free_copy(struct redis *redis, struct redis_copy *copy)
{
    if (copy && copy->cap == COPY_BYTES) {
        copy->next = redis->free_copies;
        redis->free_copies = copy;
    } else {
        free(copy);
    }
}

/* --- the map -------------------------------------------------------------------------------- */

static void refresh_at(struct redis *redis, int64_t after_us)
{
    loop_timer_stop(&redis->refresh_timer);
    loop_timer_start(&redis->refresh_timer, after_us);
}

/* One entry of CLUSTER SLOTS: [first, last, [host, port, ...] master, replicas ...]. */
static bool take_range(struct redis *redis, const struct redis_conn *from,
                       const struct redis_value *range, uint8_t *map)
{
    if (range->type != REDIS_ARRAY || range->count < 3 || range->items[0].type != REDIS_INT ||
        range->items[1].type != REDIS_INT || range->items[2].type != REDIS_ARRAY) {
        return false;
    }
    int64_t first = range->items[0].integer, last = range->items[1].integer;
    const struct redis_value *master = &range->items[2];
    if (first < 0 || last >= REDIS_SLOTS || first > last || master->count < 2 ||
        (master->items[0].type != REDIS_STRING && master->items[0].type != REDIS_NIL) ||
        master->items[1].type != REDIS_INT || master->items[1].integer < 1 ||
        master->items[1].integer > 65535) {
        return false;
    }
    struct str host = master->items[0].text; /* empty: the address we asked at */
    host = host.len ? host : str_from(from->host);
    struct redis_conn *conn = redis_conn_to(redis, host, (int)master->items[1].integer);
    if (!conn) {
        return false;
    }
    memset(map + first, (int)conn->number, (size_t)(last - first) + 1);
    return true;
}

static void on_slots(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct redis *redis = owner;
    uint8_t map[REDIS_SLOTS];
    redis->refreshing = false;
    if (redis->destroying) {
        return;
    }
    refresh_at(redis, REFRESH_US);
    if (result != REDIS_OK || value->type != REDIS_ARRAY) {
        return;
    }
    const struct redis_conn *from = redis->conns[redis->refresh_turn];
    memset(map, REDIS_NO_NODE, sizeof(map));
    for (uint32_t i = 0; i < value->count; i++) {
        if (!take_range(redis, from, &value->items[i], map)) {
            return;
        }
    }
    bool known = !memchr(map, REDIS_NO_NODE, sizeof(map));
    if (known && !redis->slots_known) {
        log_info("redis cluster: all slots known");
    }
    memcpy(redis->slot_nodes, map, sizeof(map));
    redis->slots_known = known;
    if (known && redis_cluster_is_up(redis) && !redis->refresh_wanted) {
        refresh_at(redis, REFRESH_CALM_US);
    }
    redis->refresh_wanted = false;
}

/* Asks the next node that is up. */
static void refresh(struct redis *redis)
{
    for (uint32_t i = 1; i <= redis->conn_count && !redis->refreshing; i++) {
        uint32_t at = (redis->refresh_turn + i) % redis->conn_count;
        if (!redis_conn_is_up(redis->conns[at])) {
            continue;
        }
        struct redis_call call = {
            .done = on_slots, .owner = redis, .deadline_us = clock_mono_us() + REFRESH_REPLY_US};
        redis->refresh_turn = at;
        redis->refreshing =
            redis_conn_send(redis->conns[at], STR("*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n"), &call);
    }
    refresh_at(redis, redis->refreshing ? 2 * REFRESH_REPLY_US : REFRESH_US);
    redis->loop->again |= redis->refreshing; /* sent by the end of this or the next turn */
}

static void on_refresh_timer(void *context)
{
    struct redis *redis = context;
    redis->refreshing = false; /* whatever was asked before has had its time */
    refresh(redis);
}

void redis_cluster_changed(struct redis *redis, struct redis_conn *conn)
{
    (void)conn;
    redis->refresh_wanted = true;
    if (!redis->refreshing) {
        refresh_at(redis, REFRESH_LEAST_US);
    }
}

bool redis_cluster_is_up(const struct redis *redis)
{
    if (!redis->slots_known) {
        return false;
    }
    bool used[REDIS_MAX_NODES] = {false};
    for (uint32_t i = 0; i < REDIS_SLOTS; i++) {
        used[redis->slot_nodes[i]] = true;
    }
    for (uint32_t i = 0; i < redis->conn_count; i++) {
        if (used[i] && !redis_conn_is_up(redis->conns[i])) {
            return false;
        }
    }
    return true;
}

struct redis_conn *redis_cluster_conn_of(struct redis *redis, struct str key)
{
    uint8_t node = redis->slot_nodes[redis_cluster_slot(key)];
    return node == REDIS_NO_NODE ? NULL : redis->conns[node];
}

/* --- redirections --------------------------------------------------------------------------- */

static void send_on(struct redis *redis, struct redis_conn *to, const struct redis_call *call,
                    bool asking)
{
    struct redis_call next = *call;
    next.redirects++;
    if (asking) {
        struct redis_call ask = {.deadline_us = INT64_MAX, .internal = true};
        if (!redis_conn_send(to, STR("*1\r\n$6\r\nASKING\r\n"), &ask)) {
            to = NULL;
        }
    }
    if (!to || !redis_conn_send(to, (struct str){call->copy->bytes, call->copy->len}, &next)) {
        redis_cluster_free_copy(redis, call->copy);
        if (call->done) {
            call->done(call->owner, REDIS_DISCONNECTED, NULL);
        }
        return;
    }
    redis->loop->again = true; /* the hook may have run; costs a poll, and moves are rare */
}

/* "MOVED 3999 127.0.0.1:6381" or "ASK 3999 127.0.0.1:6381" */
bool redis_cluster_redirect(struct redis *redis, struct redis_conn *conn,
                            const struct redis_call *call, const struct redis_value *value)
{
    if (value->type != REDIS_ERROR || !call->copy || call->late) {
        return false; /* a late command has been given up: it must not be done elsewhere */
    }
    struct str rest = value->text;
    struct str word = str_cut(&rest, ' ');
    bool moved = str_eq(word, STR("MOVED"));
    if (str_eq(word, STR("CLUSTERDOWN"))) {
        redis_cluster_changed(redis, conn);
    }
    int64_t slot;
    struct str host;
    int port;
    if ((!moved && !str_eq(word, STR("ASK"))) || call->redirects >= MAX_REDIRECTS ||
        !str_to_i64(str_cut(&rest, ' '), &slot) || slot < 0 || slot >= REDIS_SLOTS ||
        !redis_split_address(rest, &host, &port)) {
        return false;
    }
    struct redis_conn *to = redis_conn_to(redis, host.len ? host : str_from(conn->host), port);
    if (!to) {
        return false;
    }
    if (moved) {
        redis->stats.moved++;
        redis->slot_nodes[slot] = (uint8_t)to->number;
        redis_cluster_changed(redis, to);
    } else {
        redis->stats.asked++;
    }
    redis->stats.errors--; /* not the caller's error */
    send_on(redis, to, call, !moved);
    return true;
}

/* --- life ----------------------------------------------------------------------------------- */

bool redis_cluster_setup(struct redis *redis, struct str seeds)
{
    redis->cluster = true;
    redis->slot_nodes = malloc(REDIS_SLOTS);
    loop_timer_init(&redis->refresh_timer, redis->loop, on_refresh_timer, redis);
    if (!redis->slot_nodes) {
        return false;
    }
    memset(redis->slot_nodes, REDIS_NO_NODE, REDIS_SLOTS);
    while (seeds.len) {
        struct str seed = str_trim(str_cut(&seeds, ',')), host;
        int port;
        if (!redis_split_address(seed, &host, &port) || !redis_conn_to(redis, host, port)) {
            return false;
        }
    }
    refresh_at(redis, REFRESH_LEAST_US);
    return redis->conn_count > 0;
}

void redis_cluster_teardown(struct redis *redis)
{
    loop_timer_stop(&redis->refresh_timer);
    while (redis->free_copies) {
        struct redis_copy *copy = redis->free_copies;
        redis->free_copies = copy->next;
        free(copy);
    }
    free(redis->slot_nodes);
}
