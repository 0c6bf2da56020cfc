/* A Redis for unit tests: the functions of bidder/base/redis.h over a small table in memory, with
 * replies that come when the test asks for them (fake_redis_deliver) or not at all. Include it in
 * one test program; the linker then leaves the real client out. Knows the commands the tests need;
 * an unknown one fails the test. One instance: all desks of a test share it. */
#pragma once

#include <stdlib.h>

#include "bidder/base/redis.h"
#include "tests/test.h"

enum fake_mode {
    FAKE_UP,
    FAKE_DOWN,      /* commands are refused, redis_is_up is false */
    FAKE_CUT,       /* commands are taken, never run, and come back disconnected */
    FAKE_REPLY_LATE /* commands run, but the answer comes too late */
};

#define FAKE_ENTRIES 8192
#define FAKE_ARGS    160
#define FAKE_TEXT    1024

/* One key, or one field or member of it. */
struct fake_entry {
    char key[128], field[128];
    char text[FAKE_TEXT];
    size_t text_len;
    int64_t number;
};

static struct fake_redis {
    enum fake_mode mode;
    struct fake_entry entries[FAKE_ENTRIES];
    uint32_t entry_count;
    char args[FAKE_ARGS][FAKE_TEXT];
    size_t arg_len[FAKE_ARGS];
    uint32_t arg_count, args_wanted;
    struct fake_call {
        redis_fn *done;
        void *owner;
        enum redis_result result;
        struct redis_value value, items[256];
        char texts[256][FAKE_TEXT];
    } * calls[FAKE_ENTRIES];
    uint32_t call_count;
    uint64_t commands;
} fake_redis;

static bool fake_is(uint32_t arg, const char *text)
{
    return arg < fake_redis.arg_count && !strcmp(fake_redis.args[arg], text);
}

static struct fake_entry *fake_find(const char *key, const char *field)
{
    for (uint32_t i = 0; i < fake_redis.entry_count; i++) {
        struct fake_entry *entry = &fake_redis.entries[i];
        if (!strcmp(entry->key, key) && !strcmp(entry->field, field)) {
            return entry;
        }
    }
    return NULL;
}

static struct fake_entry *fake_make(const char *key, const char *field)
{
    struct fake_entry *entry = fake_find(key, field);
    if (!entry) {
        if (fake_redis.entry_count == FAKE_ENTRIES) {
            TEST_FAIL("the fake Redis is full");
            abort();
        }
        entry = &fake_redis.entries[fake_redis.entry_count++];
        *entry = (struct fake_entry){0};
        snprintf(entry->key, sizeof(entry->key), "%s", key);
        snprintf(entry->field, sizeof(entry->field), "%s", field);
    }
    return entry;
}

static void fake_remove(struct fake_entry *entry)
{
    size_t behind = (size_t)(fake_redis.entries + fake_redis.entry_count - (entry + 1));
    memmove(entry, entry + 1, behind * sizeof(*entry));
    fake_redis.entry_count--;
}

static void fake_redis_reset(void)
{
    CHECK_INT(fake_redis.call_count, 0);
    fake_redis.entry_count = 0;
    fake_redis.mode = FAKE_UP;
}

/* How many entries a key has (fields, members, list items). */
static uint32_t fake_redis_count(const char *key)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < fake_redis.entry_count; i++) {
        count += !strcmp(fake_redis.entries[i].key, key);
    }
    return count;
}

static int64_t fake_redis_number(const char *key, const char *field)
{
    struct fake_entry *entry = fake_find(key, field);
    return entry ? entry->number : 0;
}

static void fake_item(struct fake_call *call, const char *text, size_t len, int64_t number)
{
    uint32_t at = call->value.count++;
    memcpy(call->texts[at], text, len);
    call->items[at] = (struct redis_value){
        .type = text[0] || len ? REDIS_STRING : REDIS_INT,
        .integer = number,
        .text = {call->texts[at], len},
    };
    call->value.type = REDIS_ARRAY;
    call->value.items = call->items;
}

static void fake_integer(struct fake_call *call, int64_t number)
{
    call->value = (struct redis_value){.type = REDIS_INT, .integer = number};
}

static int64_t fake_set_bit(const char *key, const char *offset)
{
    struct fake_entry *entry = fake_make(key, offset);
    int64_t before = entry->number;
    entry->number = 1;
    return before;
}

static void fake_set(struct fake_call *call)
{
    const char(*args)[FAKE_TEXT] = (const char(*)[FAKE_TEXT])fake_redis.args;
    struct fake_entry *entry = fake_find(args[1], "");
    CHECK(fake_is(3, "NX") && fake_is(4, "GET") && fake_is(5, "EX"));
    if (entry) {
        memcpy(call->texts[0], entry->text, entry->text_len);
        call->value =
            (struct redis_value){.type = REDIS_STRING, .text = {call->texts[0], entry->text_len}};
        return;
    }
    entry = fake_make(args[1], "");
    entry->text_len = fake_redis.arg_len[2];
    memcpy(entry->text, args[2], entry->text_len);
    call->value.type = REDIS_NIL;
}

static void fake_list_range(struct fake_call *call)
{
    int64_t last = atoll(fake_redis.args[3]);
    CHECK(fake_is(2, "0") && last >= 0 && last < 256);
    call->value = (struct redis_value){.type = REDIS_ARRAY, .items = call->items};
    for (uint32_t i = 0; i < fake_redis.entry_count && call->value.count <= last; i++) {
        struct fake_entry *entry = &fake_redis.entries[i];
        if (!strcmp(entry->key, fake_redis.args[1])) {
            fake_item(call, entry->text, entry->text_len, 0);
        }
    }
}

static void fake_list_remove(struct fake_call *call)
{
    CHECK(fake_is(2, "1"));
    fake_integer(call, 0);
    for (uint32_t i = 0; i < fake_redis.entry_count; i++) {
        struct fake_entry *entry = &fake_redis.entries[i];
        if (!strcmp(entry->key, fake_redis.args[1]) && entry->text_len == fake_redis.arg_len[3] &&
            !memcmp(entry->text, fake_redis.args[3], entry->text_len)) {
            fake_remove(entry);
            fake_integer(call, 1);
            return;
        }
    }
}

static void fake_push(struct fake_call *call)
{
    static uint64_t serial;
    char field[32];
    snprintf(field, sizeof(field), "%020llu", (unsigned long long)serial++);
    struct fake_entry *entry = fake_make(fake_redis.args[1], field);
    entry->text_len = fake_redis.arg_len[2];
    memcpy(entry->text, fake_redis.args[2], entry->text_len);
    fake_integer(call, fake_redis_count(fake_redis.args[1]));
}

static void fake_range(struct fake_call *call)
{
    call->value = (struct redis_value){.type = REDIS_ARRAY, .items = call->items};
    for (uint32_t i = 0; i < fake_redis.entry_count; i++) {
        struct fake_entry *entry = &fake_redis.entries[i];
        char score[32];
        if (!strcmp(entry->key, fake_redis.args[1])) {
            snprintf(score, sizeof(score), "%lld", (long long)entry->number);
            fake_item(call, entry->field, strlen(entry->field), 0);
            fake_item(call, score, strlen(score), 0);
        }
    }
}

static void fake_run(struct fake_call *call)
{
    const char(*args)[FAKE_TEXT] = (const char(*)[FAKE_TEXT])fake_redis.args;
    if (fake_is(0, "SET")) {
        fake_set(call);
    } else if (fake_is(0, "SETBIT")) {
        fake_integer(call, fake_set_bit(args[1], args[2]));
    } else if (fake_is(0, "BITFIELD")) { /* GET u1 a GET u1 b SET u1 c 1 */
        CHECK_INT(fake_redis.arg_count, 12);
        int64_t first = fake_redis_number(args[1], args[4]);
        int64_t second = fake_redis_number(args[1], args[7]);
        fake_item(call, "", 0, first);
        fake_item(call, "", 0, second);
        fake_item(call, "", 0, fake_set_bit(args[1], args[10]));
    } else if (fake_is(0, "RPUSH")) {
        fake_push(call);
    } else if (fake_is(0, "LRANGE")) {
        fake_list_range(call);
    } else if (fake_is(0, "LREM")) {
        fake_list_remove(call);
    } else if (fake_is(0, "ZADD") && fake_is(2, "NX")) {
        if (!fake_find(args[1], args[4])) {
            fake_make(args[1], args[4])->number = atoll(args[3]);
        }
        fake_integer(call, 1);
    } else if (fake_is(0, "ZADD")) {
        fake_make(args[1], args[3])->number = atoll(args[2]);
        fake_integer(call, 1);
    } else if (fake_is(0, "ZREM")) {
        struct fake_entry *entry = fake_find(args[1], args[2]);
        if (entry) {
            fake_remove(entry);
        }
        fake_integer(call, entry != NULL);
    } else if (fake_is(0, "ZRANGE")) {
        fake_range(call);
    } else if (fake_is(0, "HINCRBY")) {
        struct fake_entry *entry = fake_make(args[1], args[2]);
        entry->number += atoll(args[3]);
        fake_integer(call, entry->number);
    } else if (fake_is(0, "SADD") || fake_is(0, "PFADD")) {
        for (uint32_t member = 2; member < fake_redis.arg_count; member++) {
            char hex[128];
            for (size_t i = 0; i < fake_redis.arg_len[member] && i < 60; i++) {
                snprintf(hex + 2 * i, 3, "%02x", (unsigned char)args[member][i]);
            }
            fake_make(args[1], fake_is(0, "SADD") ? args[member] : hex)->number = 1;
        }
        fake_integer(call, 1);
    } else if (fake_is(0, "HSET")) {
        struct fake_entry *entry = fake_make(args[1], args[2]);
        snprintf(entry->text, sizeof(entry->text), "%s", args[3]);
        fake_integer(call, 1);
    } else if (fake_is(0, "EXPIRE")) {
        CHECK(atoll(args[2]) > 0);
        fake_integer(call, 1);
    } else {
        TEST_FAIL("the fake Redis does not know %s", args[0]);
    }
}

/* Gives the replies of what has been sent; not of what the callbacks send. Returns how many. */
static uint32_t fake_redis_deliver(void)
{
    uint32_t count = fake_redis.call_count;
    static struct fake_call *batch[FAKE_ENTRIES];
    memcpy(batch, fake_redis.calls, count * sizeof(batch[0]));
    fake_redis.call_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct fake_call *call = batch[i];
        if (call->done) {
            call->done(call->owner, call->result, call->result == REDIS_OK ? &call->value : NULL);
        }
        free(call);
    }
    return count;
}

static void fake_redis_deliver_all(void)
{
    while (fake_redis_deliver()) {
    }
}

bool redis_is_up(const struct redis *redis)
{
    (void)redis;
    return fake_redis.mode != FAKE_DOWN;
}

void redis_begin(struct redis *redis, uint32_t args)
{
    (void)redis;
    CHECK_INT(fake_redis.arg_count, fake_redis.args_wanted);
    CHECK(args <= FAKE_ARGS);
    fake_redis.arg_count = 0;
    fake_redis.args_wanted = args;
}

/* "*4\r\n$6\r\nHSETNX\r\n": a count of arguments and a name's length of one digit. */
void redis_begin_with(struct redis *redis, struct str head, uint32_t args)
{
    CHECK(head.len > 10 && head.ptr[1] == (char)('1' + args) &&
          head.ptr[5] == (char)('0' + head.len - 10));
    redis_begin(redis, args + 1);
    redis_arg(redis, (struct str){head.ptr + 8, head.len - 10});
}

void redis_arg(struct redis *redis, struct str arg)
{
    (void)redis;
    CHECK(fake_redis.arg_count < fake_redis.args_wanted && arg.len < FAKE_TEXT);
    memcpy(fake_redis.args[fake_redis.arg_count], arg.ptr, arg.len);
    fake_redis.args[fake_redis.arg_count][arg.len] = 0;
    fake_redis.arg_len[fake_redis.arg_count++] = arg.len;
}

void redis_arg_i64(struct redis *redis, int64_t value)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%lld", (long long)value);
    redis_arg(redis, (struct str){text, (size_t)len});
}

bool redis_send(struct redis *redis, struct str key, int64_t deadline_us, redis_fn *done,
                void *owner)
{
    (void)redis;
    (void)deadline_us;
    CHECK_INT(fake_redis.arg_count, fake_redis.args_wanted);
    CHECK_STR(key, fake_redis.args[1]); /* routing in a cluster goes by it */
    if (fake_redis.mode == FAKE_DOWN) {
        return false;
    }
    struct fake_call *call = calloc(1, sizeof(*call));
    call->done = done;
    call->owner = owner;
    call->result = fake_redis.mode == FAKE_CUT          ? REDIS_DISCONNECTED
                   : fake_redis.mode == FAKE_REPLY_LATE ? REDIS_LATE
                                                        : REDIS_OK;
    if (fake_redis.mode != FAKE_CUT) {
        fake_run(call);
        fake_redis.commands++;
    }
    fake_redis.calls[fake_redis.call_count++] = call;
    return true;
}
