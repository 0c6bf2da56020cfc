/* What redis.c and redis_cluster.c share. Nobody else includes this. */
#pragma once

#include "bidder/base/redis_conn.h"

#define REDIS_MAX_NODES 64
#define REDIS_SLOTS     16384
#define REDIS_NO_NODE   UINT8_MAX

/* A command kept for being sent to another node. */
struct redis_copy {
    struct redis_copy *next; /* in the free list */
    uint32_t len, cap;
    char bytes[];
};

struct redis_later_call {
    redis_fn *done;
    void *owner;
};

struct redis {
    struct redis_options options;
    struct redis_stats stats;
    struct loop *loop;
    struct loop_hook hook;
    int64_t hooked_wait_us; /* loop.before_wait_us of the turn whose hook has run */
    bool destroying;

    struct buf command; /* being built */
    uint32_t args_left;

    struct redis_conn *conns[REDIS_MAX_NODES]; /* owned */
    uint32_t conn_count;

    struct redis_later_call *later; /* owned */
    uint32_t later_count, later_cap;

    /* --- a cluster only --- */
    bool cluster;
    uint8_t *slot_nodes; /* owned; REDIS_SLOTS entries: index of conns, or REDIS_NO_NODE */
    bool slots_known;    /* every slot has a node */
    bool refreshing;     /* CLUSTER SLOTS is on its way */
    bool refresh_wanted;
    uint32_t refresh_turn; /* which node is asked next */
    struct loop_timer refresh_timer;
    struct redis_copy *free_copies;
};

/* Finds or opens the connection to an address; NULL: memory, or too many nodes. */
struct redis_conn *redis_conn_to(struct redis *redis, struct str host, int port);

/* "host:port"; the host may be an IPv6 address with colons. */
bool redis_split_address(struct str text, struct str *host, int *port);

bool redis_cluster_setup(struct redis *redis, struct str seeds);
void redis_cluster_teardown(struct redis *redis);
/* The connection that serves the key now; NULL when none is known. */
struct redis_conn *redis_cluster_conn_of(struct redis *redis, struct str key);
bool redis_cluster_is_up(const struct redis *redis);
uint16_t redis_cluster_slot(struct str key);
struct redis_copy *redis_cluster_copy(struct redis *redis, struct str command);
void redis_cluster_free_copy(struct redis *redis, struct redis_copy *copy);
void redis_cluster_changed(struct redis *redis, struct redis_conn *conn);
/* A reply in a cluster: true when it was a redirection and the call goes on elsewhere. */
bool redis_cluster_redirect(struct redis *redis, struct redis_conn *conn,
                            const struct redis_call *call, const struct redis_value *value);
