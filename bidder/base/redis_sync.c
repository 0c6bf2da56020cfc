/* The blocking client of command-line tools. A connection per node; a cluster's slot map is learned
 * when connecting (CLUSTER SLOTS), then from MOVED answers. */
#include <hiredis/hiredis.h>

#include "bidder/base/redis_reply.h"

#include "bidder/base/bug.h"
#include "bidder/base/redis_private.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define COMMAND_LIMIT ((size_t)16 << 20)
#define MAX_REDIRECTS 5

struct sync_node {
    char *host; /* owned */
    int port;   /* 0: host is a path */
    int fd;
    struct redis_reply_reader reader;
};

/* A queued command: its bytes in queue, and who it goes to. */
struct sync_queued {
    size_t start, end;
    uint8_t node;
};
#define MAX_QUEUED 4096

struct redis_sync {
    struct timeval timeout;
    struct buf queue;           /* bytes of queued commands */
    struct sync_queued *queued; /* owned; MAX_QUEUED, made when first needed */
    uint32_t queued_count;
    struct buf command;
    bool cluster;
    struct sync_node nodes[REDIS_MAX_NODES];
    uint32_t node_count;
    uint8_t slot_nodes[REDIS_SLOTS]; /* 0, the first node, until told otherwise */
    uint8_t masters[REDIS_MAX_NODES];
    uint32_t master_count;
    struct sync_node *answered; /* whose reader holds the last value */
};

static struct sync_node *node_open(struct redis_sync *sync, struct str host, int port,
                                   struct buf *error)
{
    if (sync->node_count == REDIS_MAX_NODES) {
        return NULL;
    }
    struct sync_node *node = &sync->nodes[sync->node_count];
    *node = (struct sync_node){.host = malloc(host.len + 1), .port = port, .fd = -1};
    if (!node->host) {
        return NULL;
    }
    memcpy(node->host, host.ptr, host.len);
    node->host[host.len] = '\0';
    redisContext *context = port ? redisConnectWithTimeout(node->host, port, sync->timeout)
                                 : redisConnectUnixWithTimeout(node->host, sync->timeout);
    if (context && !context->err) {
        redisSetTimeout(context, sync->timeout);
        node->fd = redisFreeKeepFd(context);
    } else {
        if (error) {
            buf_printf(error, "%s:%d: %s", node->host, port,
                       context ? context->errstr : "out of memory");
        }
        if (context) {
            redisFree(context);
        }
    }
    if (node->fd < 0 || !redis_reply_reader_init(&node->reader)) {
        if (node->fd >= 0) {
            close(node->fd);
        }
        free(node->host);
        return NULL;
    }
    sync->node_count++;
    return node;
}

static struct sync_node *node_to(struct redis_sync *sync, struct str host, int port)
{
    for (uint32_t i = 0; i < sync->node_count; i++) {
        if (sync->nodes[i].port == port && str_eq(str_from(sync->nodes[i].host), host)) {
            return &sync->nodes[i];
        }
    }
    return node_open(sync, host, port, NULL);
}

static bool send_all(const struct sync_node *node, struct str bytes)
{
    while (bytes.len) {
        ssize_t sent = send(node->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent <= 0) {
            return false;
        }
        bytes = (struct str){bytes.ptr + sent, bytes.len - (size_t)sent};
    }
    return true;
}

/* NULL: the connection is lost or silent. */
static const struct redis_value *receive(struct redis_sync *sync, struct sync_node *node)
{
    const struct redis_value *value;
    for (;;) {
        int more = redis_reply_next(&node->reader, &value);
        if (more) {
            sync->answered = more > 0 ? node : NULL;
            return more > 0 ? value : NULL;
        }
        char bytes[16384];
        ssize_t got = recv(node->fd, bytes, sizeof(bytes), 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0 || !redis_reply_feed(&node->reader, bytes, (size_t)got)) {
            return NULL;
        }
    }
}

static const struct redis_value *ask(struct redis_sync *sync, struct sync_node *node,
                                     struct str command)
{
    if (sync->answered) {
        redis_reply_done(&sync->answered->reader);
        sync->answered = NULL;
    }
    return send_all(node, command) ? receive(sync, node) : NULL;
}

/* The node a MOVED or ASK error names; NULL when the value is none. */
static struct sync_node *redirected(struct redis_sync *sync, const struct sync_node *from,
                                    const struct redis_value *value, bool *asking)
{
    if (!sync->cluster || value->type != REDIS_ERROR) {
        return NULL;
    }
    struct str rest = value->text, host;
    struct str word = str_cut(&rest, ' ');
    int64_t slot;
    int port;
    *asking = str_eq(word, STR("ASK"));
    if ((!*asking && !str_eq(word, STR("MOVED"))) || !str_to_i64(str_cut(&rest, ' '), &slot) ||
        slot < 0 || slot >= REDIS_SLOTS || !redis_split_address(rest, &host, &port)) {
        return NULL;
    }
    struct sync_node *to = node_to(sync, host.len ? host : str_from(from->host), port);
    if (to && !*asking) {
        sync->slot_nodes[slot] = (uint8_t)(to - sync->nodes);
    }
    return to;
}

static struct sync_node *node_of(struct redis_sync *sync, uint32_t argc, const struct str *argv)
{
    if (!sync->cluster || argc < 2) {
        return &sync->nodes[0];
    }
    /* Commands we use have their key second, scripts behind the number of keys. */
    bool script = argc > 3 && str_starts(argv[0], STR("EVAL"));
    return &sync->nodes[sync->slot_nodes[redis_cluster_slot(argv[script ? 3 : 1])]];
}

/* Sends a command's bytes until a node answers something else than "elsewhere". */
static const struct redis_value *ask_around(struct redis_sync *sync, struct sync_node *node,
                                            bool asking, struct str command)
{
    for (int redirects = 0;; redirects++) {
        if (asking && !ask(sync, node, STR("*1\r\n$6\r\nASKING\r\n"))) {
            return NULL;
        }
        const struct redis_value *value = ask(sync, node, command);
        struct sync_node *next = value ? redirected(sync, node, value, &asking) : NULL;
        if (!next || redirects == MAX_REDIRECTS) {
            return value;
        }
        node = next;
    }
}

/* --- the slot map --------------------------------------------------------------------------- */

static void add_master(struct redis_sync *sync, uint8_t node)
{
    for (uint32_t i = 0; i < sync->master_count; i++) {
        if (sync->masters[i] == node) {
            return;
        }
    }
    sync->masters[sync->master_count++] = node;
}

/* [first, last, [host, port, ...] master, replicas ...]; how many slots, 0 when it is none. */
static int64_t learn_range(struct redis_sync *sync, const struct sync_node *from,
                           const struct redis_value *range)
{
    if (range->type != REDIS_ARRAY || range->count < 3 || range->items[0].type != REDIS_INT ||
        range->items[1].type != REDIS_INT || range->items[2].type != REDIS_ARRAY ||
        range->items[2].count < 2 || range->items[2].items[1].type != REDIS_INT) {
        return 0;
    }
    int64_t first = range->items[0].integer, last = range->items[1].integer;
    int64_t port = range->items[2].items[1].integer;
    struct str host = range->items[2].items[0].text; /* empty: the address we asked at */
    if (first < 0 || last >= REDIS_SLOTS || first > last || port < 1 || port > 65535) {
        return 0;
    }
    struct sync_node *node = node_to(sync, host.len ? host : str_from(from->host), (int)port);
    if (!node) {
        return 0;
    }
    add_master(sync, (uint8_t)(node - sync->nodes));
    memset(sync->slot_nodes + first, (int)(node - sync->nodes), (size_t)(last - first) + 1);
    return last - first + 1;
}

/* Asks one node after the other; true when every slot has a master that can be reached. */
static bool learn_slots(struct redis_sync *sync)
{
    uint32_t nodes = sync->node_count;
    for (uint32_t n = 0; n < nodes; n++) {
        const struct redis_value *value =
            ask(sync, &sync->nodes[n], STR("*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n"));
        int64_t slots = 0;
        sync->master_count = 0;
        for (uint32_t i = 0; value && value->type == REDIS_ARRAY && i < value->count; i++) {
            slots += learn_range(sync, &sync->nodes[n], &value->items[i]);
        }
        if (slots == REDIS_SLOTS) {
            return true;
        }
    }
    return false;
}

uint32_t redis_sync_masters(struct redis_sync *sync)
{
    if (!sync->cluster) {
        return 1;
    }
    return learn_slots(sync) ? sync->master_count : 0;
}

/* --- life ----------------------------------------------------------------------------------- */

struct redis_sync *redis_sync_connect(const char *address, int64_t timeout_us, struct buf *error)
{
    struct redis_sync *sync = calloc(1, sizeof(*sync));
    struct str text = str_from(address);
    static const struct str unix_prefix = {"unix:", 5}, cluster_prefix = {"cluster:", 8};
    if (!sync) {
        return NULL;
    }
    sync->timeout = (struct timeval){timeout_us / 1000000, timeout_us % 1000000};
    buf_init(&sync->command, COMMAND_LIMIT);
    buf_init(&sync->queue, COMMAND_LIMIT);
    if (str_starts(text, unix_prefix)) {
        node_open(sync, (struct str){text.ptr + 5, text.len - 5}, 0, error);
    } else {
        sync->cluster = str_starts(text, cluster_prefix);
        text = sync->cluster ? (struct str){text.ptr + 8, text.len - 8} : text;
        while (text.len && !sync->node_count) { /* the first seed that answers */
            struct str seed = str_trim(sync->cluster ? str_cut(&text, ',') : text), host;
            int port;
            text = sync->cluster ? text : STR_NONE;
            if (redis_split_address(seed, &host, &port)) {
                node_open(sync, host, port, error);
            } else {
                buf_printf(error, "\"%.*s\" is not host:port", STR_ARG(seed));
            }
        }
    }
    if (!sync->node_count) {
        redis_sync_close(&sync);
    } else if (sync->cluster) {
        (void)learn_slots(sync); /* what could not be learned now, MOVED will tell */
    }
    return sync;
}

void redis_sync_close(struct redis_sync **sync_at)
{
    struct redis_sync *sync = *sync_at;
    if (!sync) {
        return;
    }
    for (uint32_t i = 0; i < sync->node_count; i++) {
        close(sync->nodes[i].fd);
        redis_reply_reader_deinit(&sync->nodes[i].reader);
        free(sync->nodes[i].host);
    }
    buf_deinit(&sync->command);
    buf_deinit(&sync->queue);
    free(sync->queued);
    free(sync);
    *sync_at = NULL;
}

/* --- commands ------------------------------------------------------------------------------- */

static struct str build(struct redis_sync *sync, uint32_t argc, const struct str *argv)
{
    BUG_ON(sync->queued_count);
    buf_reset(&sync->command);
    redis_command_begin(&sync->command, argc);
    for (uint32_t i = 0; i < argc; i++) {
        redis_command_arg(&sync->command, argv[i]);
    }
    return buf_failed(&sync->command) ? STR_NONE : buf_str(&sync->command);
}

const struct redis_value *redis_sync_command(struct redis_sync *sync, uint32_t argc,
                                             const struct str *argv)
{
    struct str command = build(sync, argc, argv);
    return command.len ? ask_around(sync, node_of(sync, argc, argv), false, command) : NULL;
}

const struct redis_value *redis_sync_command_at(struct redis_sync *sync, uint32_t master,
                                                uint32_t argc, const struct str *argv)
{
    BUG_ON(sync->cluster && master >= sync->master_count);
    struct str command = build(sync, argc, argv);
    struct sync_node *node = &sync->nodes[sync->cluster ? sync->masters[master] : 0];
    return command.len ? ask(sync, node, command) : NULL;
}

/* --- pipelines ------------------------------------------------------------------------------ */

bool redis_sync_queue(struct redis_sync *sync, uint32_t argc, const struct str *argv)
{
    if (!sync->queued) {
        sync->queued = calloc(MAX_QUEUED, sizeof(*sync->queued));
    }
    if (!sync->queued || sync->queued_count == MAX_QUEUED) {
        return false;
    }
    size_t start = sync->queue.len;
    redis_command_begin(&sync->queue, argc);
    for (uint32_t i = 0; i < argc; i++) {
        redis_command_arg(&sync->queue, argv[i]);
    }
    if (buf_failed(&sync->queue)) {
        sync->queue.len = start;
        sync->queue.failed = false;
        return false;
    }
    struct sync_node *node = node_of(sync, argc, argv);
    sync->queued[sync->queued_count++] = (struct sync_queued){
        .start = start, .end = sync->queue.len, .node = (uint8_t)(node - sync->nodes)};
    return true;
}

static struct str queued_bytes(const struct redis_sync *sync, uint32_t i)
{
    const struct sync_queued *queued = &sync->queued[i];
    return (struct str){sync->queue.data + queued->start, queued->end - queued->start};
}

/* Everything for one node, one behind the other. */
static bool send_queue(struct redis_sync *sync, uint32_t node)
{
    if (!sync->cluster) {
        return send_all(&sync->nodes[0], buf_str(&sync->queue));
    }
    bool sent = true;
    for (uint32_t i = 0; sent && i < sync->queued_count; i++) {
        sent = sync->queued[i].node != node || send_all(&sync->nodes[node], queued_bytes(sync, i));
    }
    return sent;
}

static void answered_done(struct redis_sync *sync)
{
    if (sync->answered) {
        redis_reply_done(&sync->answered->reader);
        sync->answered = NULL;
    }
}

/* The replies of one node; those that were sent to the wrong node are marked to be asked again
 * (asking again here would mix its reply among the others). */
static bool take_replies(struct redis_sync *sync, uint32_t node, redis_sync_fn *each, void *owner,
                         uint8_t *elsewhere)
{
    for (uint32_t i = 0; i < sync->queued_count; i++) {
        if (sync->queued[i].node != node) {
            continue;
        }
        const struct redis_value *value = receive(sync, &sync->nodes[node]);
        bool asking;
        if (!value) {
            return false;
        }
        if (redirected(sync, &sync->nodes[node], value, &asking)) {
            elsewhere[i / 8] = (uint8_t)(elsewhere[i / 8] | 1u << i % 8);
        } else {
            each(owner, i, value);
        }
        answered_done(sync);
    }
    return true;
}

bool redis_sync_flush(struct redis_sync *sync, redis_sync_fn *each, void *owner)
{
    uint8_t elsewhere[MAX_QUEUED / 8] = {0};
    bool good = true;
    uint32_t nodes = sync->node_count; /* those opened on the way got nothing */
    answered_done(sync);
    for (uint32_t n = 0; n < nodes; n++) {
        good = send_queue(sync, n) && good;
    }
    for (uint32_t n = 0; n < nodes; n++) {
        good = take_replies(sync, n, each, owner, elsewhere) && good;
    }
    for (uint32_t i = 0; i < sync->queued_count && good; i++) {
        if (elsewhere[i / 8] >> i % 8 & 1) { /* the node says where; an ASK is answered there */
            struct sync_node *node = &sync->nodes[sync->queued[i].node];
            const struct redis_value *value = ask_around(sync, node, false, queued_bytes(sync, i));
            good = value != NULL;
            if (good) {
                each(owner, i, value);
            }
        }
    }
    buf_reset(&sync->queue);
    sync->queued_count = 0;
    return good;
}
