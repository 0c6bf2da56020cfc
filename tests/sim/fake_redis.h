/* A Redis for simulations: the interface of bidder/base/redis.h over virtual time, linked instead
 * of the real one. Include it in one file. Several clients share one server.
 *
 *   client --FIFO, random delay--> server executes --FIFO, random delay--> client
 *
 * Replies come after their deadline, connections break with a prefix of what was on its way
 * executed, the server refuses and pauses, clients are killed. All from one seed: the clock and the
 * random bytes of the code under test come from here too. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bidder/base/bug.h"
#include "bidder/base/crc64.h"
#include "bidder/base/crypto.h"
#include "bidder/base/prng.h"
#include "bidder/base/redis.h"

#define FAKE_START_US ((int64_t)1800000000 * 1000000)
#define FAKE_MAX_ARGS 24
#define FAKE_ARG_MAX  40
#define FAKE_CLIENTS  8

struct fake_arg {
    char bytes[FAKE_ARG_MAX];
    uint8_t len;
};

struct fake_hash {
    struct fake_arg key;
    bool table;       /* the order of its HGETALL says nothing */
    int64_t expire_s; /* 0 = never */
    struct fake_pair {
        struct fake_arg field, value;
    } * pairs;
    uint32_t count, cap;
};

struct fake_command {
    struct redis *client;
    struct fake_command *next; /* of the client, in sending order */
    struct fake_arg args[FAKE_MAX_ARGS];
    uint32_t argc, epoch;
    redis_fn *done;
    void *owner;
    int refs; /* events that will look at it, and the client's list */
    bool answered, refused;
    enum redis_type type;
    int64_t integer;
    struct fake_pair *pairs; /* HGETALL's answer */
    uint32_t pair_count;
    const char *text;
};

struct redis {
    bool dead, down, refused;  /* refused: the last command was */
    uint32_t epoch, cut_epoch; /* of cut_epoch nothing further is executed */
    int64_t last_exec_us, last_reply_us;
    struct fake_command *building;
    struct fake_command *first, **last; /* sent and not answered */
    struct redis_stats stats;
};

struct fake_event {
    int64_t at_us;
    uint64_t order;
    void (*fn)(void *context, uint64_t number);
    void *context;
    uint64_t number;
};

static struct {
    struct prng prng;
    int64_t now_us, pause_until_us;
    struct fake_event *heap;
    uint32_t heap_count, heap_cap;
    uint64_t order;
    struct fake_hash *hashes;
    uint32_t hash_count, hash_cap;
    uint32_t slow, refuse; /* faults in 1/1000 of commands */
    bool no_restore;       /* RESTORE is forbidden */
    bool script_known;     /* EVAL was seen; forgotten now and then */
    void (*on_set)(const struct fake_hash *hash, const struct fake_arg *field, uint8_t value_len);
} fake;

/* --- clock and random bytes of the code under test ------------------------------------------ */

int clock_gettime(clockid_t clock, struct timespec *now)
{
    (void)clock;
    now->tv_sec = fake.now_us / 1000000;
    now->tv_nsec = fake.now_us % 1000000 * 1000;
    return 0;
}

bool crypto_random(void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        ((char *)bytes)[i] = (char)prng_next(&fake.prng);
    }
    return true;
}

/* Nobody looks at the name of a script here. */
void crypto_sha1_hex(struct str text, char hex[CRYPTO_SHA1_HEX])
{
    (void)text;
    memset(hex, '0', CRYPTO_SHA1_HEX);
}

/* --- events --------------------------------------------------------------------------------- */

static bool fake_before(const struct fake_event *a, const struct fake_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void fake_at(int64_t at_us, void (*fn)(void *, uint64_t), void *context, uint64_t number)
{
    if (fake.heap_count == fake.heap_cap) {
        fake.heap_cap = fake.heap_cap ? 2 * fake.heap_cap : 256;
        fake.heap = realloc(fake.heap, fake.heap_cap * sizeof(*fake.heap));
        BUG_ON(!fake.heap);
    }
    struct fake_event event = {at_us, fake.order++, fn, context, number};
    uint32_t i = fake.heap_count++;
    for (; i && fake_before(&event, &fake.heap[(i - 1) / 2]); i = (i - 1) / 2) {
        fake.heap[i] = fake.heap[(i - 1) / 2];
    }
    fake.heap[i] = event;
}

/* Runs the next event; false when there is none. */
static bool fake_step(void)
{
    if (!fake.heap_count) {
        return false;
    }
    struct fake_event event = fake.heap[0], last = fake.heap[--fake.heap_count];
    uint32_t i = 0, child;
    while ((child = 2 * i + 1) < fake.heap_count) {
        child +=
            child + 1 < fake.heap_count && fake_before(&fake.heap[child + 1], &fake.heap[child]);
        if (!fake_before(&fake.heap[child], &last)) {
            break;
        }
        fake.heap[i] = fake.heap[child];
        i = child;
    }
    fake.heap[i] = last;
    fake.now_us = event.at_us > fake.now_us ? event.at_us : fake.now_us;
    event.fn(event.context, event.number);
    return true;
}

/* --- the server ----------------------------------------------------------------------------- */

static bool fake_arg_eq(const struct fake_arg *a, const struct fake_arg *b)
{
    return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

static bool fake_arg_is(const struct fake_arg *a, const char *text)
{
    return a->len == strlen(text) && memcmp(a->bytes, text, a->len) == 0;
}

/* NULL when there is none and it is not to be made. Expired and empty hashes are gone. */
static struct fake_hash *fake_hash(const struct fake_arg *key, bool make)
{
    for (uint32_t i = 0; i < fake.hash_count; i++) {
        struct fake_hash *hash = &fake.hashes[i];
        if (!fake_arg_eq(&hash->key, key)) {
            continue;
        }
        if (hash->expire_s && hash->expire_s <= fake.now_us / 1000000) {
            hash->count = 0;
        }
        hash->expire_s = hash->count ? hash->expire_s : 0;
        return hash->count || make ? hash : NULL;
    }
    if (!make) {
        return NULL;
    }
    if (fake.hash_count == fake.hash_cap) {
        fake.hash_cap = fake.hash_cap ? 2 * fake.hash_cap : 16;
        fake.hashes = realloc(fake.hashes, fake.hash_cap * sizeof(*fake.hashes));
        BUG_ON(!fake.hashes);
    }
    struct fake_hash *hash = &fake.hashes[fake.hash_count++];
    *hash = (struct fake_hash){.key = *key, .table = prng_below(&fake.prng, 4) == 0};
    return hash;
}

static struct fake_pair *fake_find(struct fake_hash *hash, const struct fake_arg *field)
{
    for (uint32_t i = 0; hash && i < hash->count; i++) {
        if (fake_arg_eq(&hash->pairs[i].field, field)) {
            return &hash->pairs[i];
        }
    }
    return NULL;
}

/* HSET and HSETNX: 1 when the field is new. */
static int64_t fake_set(struct fake_hash *hash, const struct fake_arg *field,
                        const struct fake_arg *value, bool only_new)
{
    struct fake_pair *pair = fake_find(hash, field);
    bool is_new = !pair;
    if (is_new && hash->count == hash->cap) {
        hash->cap = hash->cap ? 2 * hash->cap : 8;
        hash->pairs = realloc(hash->pairs, hash->cap * sizeof(*hash->pairs));
        BUG_ON(!hash->pairs);
    }
    pair = is_new ? &hash->pairs[hash->count++] : pair;
    if (is_new || !only_new) {
        *pair = (struct fake_pair){.field = *field, .value = *value};
        fake.on_set(hash, field, value->len);
    }
    return is_new;
}

static int64_t fake_del(struct fake_hash *hash, const struct fake_arg *field)
{
    struct fake_pair *pair = fake_find(hash, field);
    if (!pair) {
        return 0;
    }
    size_t at = (size_t)(pair - hash->pairs);
    memmove(pair, pair + 1, (--hash->count - at) * sizeof(*pair)); /* order is kept */
    return 1;
}

static void fake_getall(struct fake_command *command, const struct fake_hash *hash)
{
    command->type = REDIS_ARRAY;
    if (!hash) {
        return;
    }
    command->pairs = malloc((hash->count + 1) * sizeof(*command->pairs));
    BUG_ON(!command->pairs);
    command->pair_count = hash->count;
    memcpy(command->pairs, hash->pairs, hash->count * sizeof(*command->pairs));
    for (uint32_t i = hash->count; hash->table && i > 1; i--) {
        uint32_t other = (uint32_t)prng_below(&fake.prng, i);
        struct fake_pair swap = command->pairs[other];
        command->pairs[other] = command->pairs[i - 1];
        command->pairs[i - 1] = swap;
    }
}

static int64_t fake_number(const struct fake_arg *arg)
{
    char text[FAKE_ARG_MAX + 1] = {0};
    memcpy(text, arg->bytes, arg->len);
    return strtoll(text, NULL, 10);
}

static int64_t fake_expire(struct fake_hash *hash, const struct fake_command *command)
{
    int64_t at_s = fake_number(&command->args[2]);
    bool nx = fake_arg_is(&command->args[3], "NX");
    BUG_ON(!nx && !fake_arg_is(&command->args[3], "GT"));
    /* No TTL counts as endless: GT leaves it. */
    if (!hash || (nx ? hash->expire_s != 0 : !hash->expire_s || at_s <= hash->expire_s)) {
        return 0;
    }
    hash->expire_s = at_s;
    return 1;
}

/* The script of freq_note.c: key, field, value and seconds to live are arguments 3 to 6. */
static int64_t fake_confirm(const struct fake_command *command)
{
    int64_t at_s = fake.now_us / 1000000 + fake_number(&command->args[6]);
    struct fake_hash *hash = fake_hash(&command->args[3], false);
    struct fake_pair *pair = fake_find(hash, &command->args[4]);
    if (!pair) {
        return 0;
    }
    hash->expire_s = at_s > hash->expire_s ? at_s : hash->expire_s;
    struct fake_arg was = pair->value;
    if (was.len != 13) {
        return -1;
    }
    fake_set(hash, &command->args[4], &command->args[5], false);
    return (int64_t)(unsigned char)was.bytes[11] << 8 | (unsigned char)was.bytes[12];
}

static void fake_error(struct fake_command *command, const char *text)
{
    command->type = REDIS_ERROR;
    command->text = text;
}

/* Only hashes of one field of 7 bytes and a value of 13. */
static void fake_restore(struct fake_command *command)
{
    const struct fake_arg *args = command->args, *dump = &args[3];
    uint64_t crc = crc64(dump->bytes, 26);
    BUG_ON(dump->len != 34 || memcmp(dump->bytes, "\4\1\7", 3) != 0 || dump->bytes[10] != 13);
    BUG_ON(memcmp(dump->bytes + 24, "\12\0", 2) != 0 || memcmp(dump->bytes + 26, &crc, 8) != 0);
    BUG_ON(!fake_arg_is(&args[4], "ABSTTL"));
    if (fake.no_restore) {
        fake_error(command, "ERR unknown command 'RESTORE'");
    } else if (fake_hash(&args[1], false)) {
        fake_error(command, "BUSYKEY Target key name already exists.");
    } else {
        struct fake_hash *hash = fake_hash(&args[1], true);
        struct fake_arg field = {.len = 7}, value = {.len = 13};
        memcpy(field.bytes, dump->bytes + 3, 7);
        memcpy(value.bytes, dump->bytes + 11, 13);
        (void)fake_set(hash, &field, &value, true);
        hash->expire_s = fake_number(&args[2]) / 1000;
        command->type = REDIS_STATUS;
        command->text = "OK";
    }
}

static void fake_script(struct fake_command *command)
{
    bool whole = fake_arg_is(&command->args[0], "EVAL");
    fake.script_known = whole || (fake.script_known && prng_below(&fake.prng, 50) != 0);
    if (fake.script_known) {
        command->integer = fake_confirm(command);
    } else {
        fake_error(command, "NOSCRIPT No matching script. Please use EVAL.");
    }
}

static void fake_execute(struct fake_command *command)
{
    const struct fake_arg *args = command->args;
    bool writes = !fake_arg_is(&args[0], "HGETALL") && !fake_arg_is(&args[0], "OBJECT");
    command->type = REDIS_INT;
    /* EXPIREAT needs no memory, and who loads did not take the write before it either. */
    bool could = !fake_arg_is(&args[0], "EXPIREAT") || !fake_arg_is(&args[3], "NX") ||
                 command->client->refused;
    command->client->refused = could && prng_below(&fake.prng, 1000) < fake.refuse;
    if (command->client->refused) {
        fake_error(command, writes && prng_below(&fake.prng, 2) ? "OOM command not allowed"
                                                                : "LOADING Redis is loading");
        return;
    }
    if (fake_arg_is(&args[0], "HSETNX") || fake_arg_is(&args[0], "HSET")) {
        command->integer = fake_set(fake_hash(&args[1], true), &args[2], &args[3],
                                    fake_arg_is(&args[0], "HSETNX"));
    } else if (fake_arg_is(&args[0], "HDEL")) {
        for (uint32_t i = 2; i < command->argc; i++) {
            command->integer += fake_del(fake_hash(&args[1], false), &args[i]);
        }
    } else if (fake_arg_is(&args[0], "HGETALL")) {
        fake_getall(command, fake_hash(&args[1], false));
    } else if (fake_arg_is(&args[0], "RESTORE")) {
        fake_restore(command);
    } else if (fake_arg_is(&args[0], "EVAL") || fake_arg_is(&args[0], "EVALSHA")) {
        fake_script(command);
    } else if (fake_arg_is(&args[0], "EXPIREAT")) {
        command->integer = fake_expire(fake_hash(&args[1], false), command);
    } else if (fake_arg_is(&args[0], "OBJECT")) {
        const struct fake_hash *hash = fake_hash(&args[2], false);
        command->type = hash ? REDIS_STRING : REDIS_NIL;
        command->text = hash && hash->table ? "hashtable" : "listpack";
    } else {
        BUG_ON(!"a command the fake knows");
    }
}

/* --- the way there and back ----------------------------------------------------------------- */

/* Not inlined: gcc does not follow the count and sees a use after free. */
__attribute__((noinline)) static void fake_release(struct fake_command *command)
{
    if (--command->refs == 0) {
        free(command->pairs);
        free(command);
    }
}

static void fake_unlink(struct fake_command *command)
{
    struct redis *client = command->client;
    struct fake_command **at = &client->first;
    while (*at != command) {
        at = &(*at)->next;
    }
    *at = command->next;
    client->last = command->next ? client->last : at;
    fake_release(command);
}

static void fake_answer(struct fake_command *command, enum redis_result result)
{
    if (command->answered || command->client->dead) {
        return;
    }
    command->answered = true;
    if (!command->done) {
        return;
    }
    struct redis_value value = {
        .type = command->type, .integer = command->integer, .text = str_from(command->text)};
    struct redis_value items[2 * 600];
    BUG_ON(command->pair_count > 600);
    for (uint32_t i = 0; i < command->pair_count; i++) {
        const struct fake_pair *pair = &command->pairs[i];
        items[2 * i] = (struct redis_value){.type = REDIS_STRING,
                                            .text = {pair->field.bytes, pair->field.len}};
        items[2 * i + 1] = (struct redis_value){.type = REDIS_STRING,
                                                .text = {pair->value.bytes, pair->value.len}};
    }
    value.items = items;
    value.count = 2 * command->pair_count;
    command->done(command->owner, result, result == REDIS_OK ? &value : NULL);
}

static void fake_on_reply(void *context, uint64_t number)
{
    struct fake_command *command = context;
    (void)number;
    if (command->epoch == command->client->epoch) {
        fake_answer(command, REDIS_OK);
        fake_unlink(command);
    }
    fake_release(command);
}

static void fake_on_execute(void *context, uint64_t number)
{
    struct fake_command *command = context;
    struct redis *client = command->client;
    (void)number;
    if (fake.now_us < fake.pause_until_us) { /* the server hangs: later, in the same order */
        fake_at(fake.pause_until_us, fake_on_execute, command, 0);
        return;
    }
    if (command->epoch != client->epoch && !client->dead && prng_below(&fake.prng, 2)) {
        client->cut_epoch = command->epoch; /* the connection broke here */
    }
    if (command->epoch <= client->cut_epoch) {
        fake_release(command);
        return;
    }
    fake_execute(command);
    int64_t back_us = fake.now_us + 30 + (int64_t)prng_below(&fake.prng, 300);
    if (prng_below(&fake.prng, 1000) < fake.slow) {
        back_us += (int64_t)prng_below(&fake.prng, 60000);
    }
    if (command->epoch == client->epoch) {
        back_us = back_us > client->last_reply_us ? back_us : client->last_reply_us;
        client->last_reply_us = back_us;
    }
    fake_at(back_us, fake_on_reply, command, 0);
}

static void fake_on_deadline(void *context, uint64_t number)
{
    struct fake_command *command = context;
    (void)number;
    fake_answer(command, REDIS_LATE);
    fake_release(command);
}

static void fake_on_up(void *context, uint64_t number)
{
    struct redis *client = context;
    (void)number;
    client->down = client->dead;
    client->last_exec_us = client->last_reply_us = fake.now_us;
}

static void fake_fail_pending(struct redis *client)
{
    client->down = true;
    client->epoch++;
    while (client->first) {
        struct fake_command *command = client->first;
        command->refs++;
        fake_unlink(command);
        fake_answer(command, REDIS_DISCONNECTED);
        fake_release(command);
    }
}

/* The connection breaks: what is pending fails; it comes back by itself. */
static void fake_break(struct redis *client)
{
    if (!client->down) {
        fake_fail_pending(client);
        fake_at(fake.now_us + 20000 + (int64_t)prng_below(&fake.prng, 400000), fake_on_up, client,
                0);
    }
}

/* The process of this client is gone: what it sent is still executed, answers go nowhere. The
 * caller has made its callbacks harmless; they come so that memory can be freed. */
static void fake_kill(struct redis *client)
{
    fake_fail_pending(client);
    client->dead = true;
}

/* --- the interface of redis.h --------------------------------------------------------------- */

void redis_begin(struct redis *redis, uint32_t args)
{
    BUG_ON(args > FAKE_MAX_ARGS);
    free(redis->building);
    redis->building = calloc(1, sizeof(*redis->building));
    BUG_ON(!redis->building);
}

/* "*4\r\n$6\r\nHSETNX\r\n": a count of arguments and a name's length of one digit. */
void redis_begin_with(struct redis *redis, struct str head, uint32_t args)
{
    BUG_ON(!(head.len > 10 && head.ptr[1] == (char)('1' + args) &&
             head.ptr[5] == (char)('0' + head.len - 10)));
    redis_begin(redis, args + 1);
    redis_arg(redis, (struct str){head.ptr + 8, head.len - 10});
}

void redis_arg(struct redis *redis, struct str arg)
{
    struct fake_arg *to = &redis->building->args[redis->building->argc++];
    /* A script is not looked at: there is only one. */
    const struct fake_arg *verb = &redis->building->args[0];
    bool script =
        redis->building->argc == 2 && (fake_arg_is(verb, "EVAL") || fake_arg_is(verb, "EVALSHA"));
    arg.len = script ? 0 : arg.len;
    BUG_ON(arg.len > FAKE_ARG_MAX);
    memcpy(to->bytes, arg.ptr, arg.len);
    to->len = (uint8_t)arg.len;
}

void redis_arg_i64(struct redis *redis, int64_t value)
{
    char text[24];
    redis_arg(redis,
              (struct str){text, (size_t)snprintf(text, sizeof(text), "%lld", (long long)value)});
}

/* No disconnects are told: this server keeps what it has. */
const struct redis_stats *redis_stats(const struct redis *redis)
{
    return &redis->stats;
}

bool redis_send(struct redis *redis, struct str key, int64_t deadline_us, redis_fn *done,
                void *owner)
{
    struct fake_command *command = redis->building;
    (void)key;
    redis->building = NULL;
    if (redis->down || redis->dead) {
        free(command);
        return false;
    }
    command->client = redis;
    command->epoch = redis->epoch;
    command->done = done;
    command->owner = owner;
    command->refs = 2;
    *redis->last = command;
    redis->last = &command->next;
    int64_t at_us = fake.now_us + 20 + (int64_t)prng_below(&fake.prng, 200);
    if (prng_below(&fake.prng, 1000) < fake.slow) {
        at_us += (int64_t)prng_below(&fake.prng, 60000);
    }
    at_us = at_us > redis->last_exec_us ? at_us : redis->last_exec_us;
    redis->last_exec_us = at_us;
    fake_at(at_us, fake_on_execute, command, 0);
    if (done) {
        command->refs++;
        fake_at(deadline_us ? deadline_us : fake.now_us + 20000, fake_on_deadline, command, 0);
    }
    return true;
}

struct fake_later {
    struct redis *client;
    redis_fn *done;
    void *owner;
};

static void fake_on_later(void *context, uint64_t number)
{
    struct fake_later *later = context;
    (void)number;
    later->done(later->owner, REDIS_DISCONNECTED, NULL);
    free(later);
}

bool redis_later(struct redis *redis, redis_fn *done, void *owner)
{
    struct fake_later *later = malloc(sizeof(*later));
    BUG_ON(!later);
    *later = (struct fake_later){redis, done, owner};
    fake_at(fake.now_us, fake_on_later, later, 0);
    return true;
}

bool redis_is_up(const struct redis *redis)
{
    return !redis->down;
}

/* --- for the simulation --------------------------------------------------------------------- */

static void fake_client_init(struct redis *client)
{
    *client = (struct redis){.last = &client->first, .epoch = 1};
}

static void fake_client_deinit(struct redis *client)
{
    free(client->building);
    client->building = NULL;
    while (client->first) {
        fake_unlink(client->first);
    }
}

static void fake_reset(uint64_t seed)
{
    fake.prng.state = seed;
    fake.now_us = FAKE_START_US;
    fake.pause_until_us = 0;
    fake.order = 0;
    fake.no_restore = fake.script_known = false;
    BUG_ON(fake.heap_count);
    for (uint32_t i = 0; i < fake.hash_count; i++) {
        free(fake.hashes[i].pairs);
    }
    fake.hash_count = 0;
}

static void fake_free(void)
{
    fake_reset(0);
    free(fake.heap);
    free(fake.hashes);
}
