/* Owns nothing but its batch. The script's SHA-1 is Redis's to compute: it answers SCRIPT LOAD. */
#include "frequency/segment_load.h"

#include <stdio.h>

#include "bidder/base/bug.h"
#include "frequency/freq_codec.h"

/* KEYS[1] the person's   ARGV[1] field   ARGV[2] value, "" takes it away   ARGV[3] seconds to live
 * -> -1 consent withdrawn | the linked keys, 14 bytes each, one behind the other */
static const char script[] =
    "local k,f=KEYS[1],ARGV[1]\n"
    "if redis.call('HEXISTS',k,'w')==1 then return -1 end\n"
    "local links={}\n"
    "for _,n in ipairs(redis.call('HKEYS',k)) do\n"
    "  if #n==15 and string.sub(n,1,1)=='l' then links[#links+1]=string.sub(n,2) end\n"
    "end\n"
    "if ARGV[2]=='' then redis.call('HDEL',k,f)\n"
    "else\n"
    "  redis.call('HSET',k,f,ARGV[2])\n"
    "  if redis.call('TTL',k)<tonumber(ARGV[3]) then redis.call('EXPIRE',k,ARGV[3]) end\n"
    "end\n"
    "return table.concat(links)\n";
_Static_assert(PERSON_KEY_BYTES == 14, "as in the script");

enum status segment_load_init(struct segment_load *load, struct redis_sync *sync, int64_t now_s,
                              struct buf *error)
{
    load->sync = sync;
    load->error = error;
    load->now_s = now_s;
    load->task_count = load->next_count = 0;
    load->failed = false;
    load->written = load->withdrawn = load->linked = 0;
    struct str argv[] = {STR("SCRIPT"), STR("LOAD"), {script, sizeof(script) - 1}};
    const struct redis_value *value = redis_sync_command(sync, COUNT_OF(argv), argv);
    if (!value || value->type != REDIS_STRING || value->text.len != sizeof(load->sha)) {
        buf_printf(error, "redis: %.*s",
                   STR_ARG(value && value->type == REDIS_ERROR
                               ? value->text
                               : STR("connection lost, or no SCRIPT LOAD")));
        return STATUS_IO;
    }
    memcpy(load->sha, value->text.ptr, sizeof(load->sha));
    return STATUS_OK;
}

static void put_be32(char *out, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        out[i] = (char)(value >> (24 - 8 * i) & 0xff);
    }
}

static bool queue_task(struct segment_load *load, const struct segment_task *task)
{
    const struct segment_row *row = &task->row;
    char field[5] = {'s'}, value[4], ttl[24];
    uint32_t hour = (uint32_t)(row->until_s / 3600 + 1);
    put_be32(field + 1, row->ref);
    put_be32(value, hour);
    int64_t ttl_s = (int64_t)hour * 3600 - load->now_s;
    int ttl_len = snprintf(ttl, sizeof(ttl), "%lld", (long long)(ttl_s > 1 ? ttl_s : 1));
    struct str sha = {load->sha, sizeof(load->sha)}, whole = {script, sizeof(script) - 1};
    struct str argv[] = {
        task->whole ? STR("EVAL") : STR("EVALSHA"),
        task->whole ? whole : sha,
        STR("1"),
        freq_codec_key(&row->key),
        {field, sizeof(field)},
        {value, row->until_s > 0 ? sizeof(value) : 0},
        {ttl, (size_t)ttl_len},
    };
    return redis_sync_queue(load->sync, COUNT_OF(argv), argv);
}

/* A person with links has few of them; should all of a batch have many, the rest waits. */
static void add_next(struct segment_load *load, const struct segment_task *task)
{
    if (load->next_count < SEGMENT_LOAD_BATCH) {
        load->next[load->next_count++] = *task;
    } else if (!load->failed) {
        load->failed = true;
        buf_printf(load->error, "too many linked ids in one batch");
    }
}

static void take_links(struct segment_load *load, const struct segment_task *task, struct str links)
{
    for (size_t at = 0; at + PERSON_KEY_BYTES <= links.len; at += PERSON_KEY_BYTES) {
        struct segment_task linked = {.row = task->row, .linked = true};
        memcpy(linked.row.key.bytes, links.ptr + at, PERSON_KEY_BYTES);
        add_next(load, &linked);
    }
}

static void on_reply(void *owner, uint32_t index, const struct redis_value *value)
{
    struct segment_load *load = owner;
    struct segment_task task = load->tasks[index];
    if (value->type == REDIS_INT && value->integer == -1) {
        load->withdrawn += !task.linked;
    } else if (value->type == REDIS_STRING && task.linked) {
        load->linked++;
    } else if (value->type == REDIS_STRING) {
        load->written++;
        take_links(load, &task, value->text);
    } else if (value->type == REDIS_ERROR && str_starts(value->text, STR("NOSCRIPT")) &&
               !task.whole) {
        task.whole = true;
        add_next(load, &task);
    } else if (!load->failed) {
        load->failed = true;
        struct str text = value->type == REDIS_ERROR ? value->text : STR("an unexpected answer");
        buf_printf(load->error, "redis: %.*s", STR_ARG(text));
    }
}

enum status segment_load_flush(struct segment_load *load)
{
    while (load->task_count && !load->failed) {
        for (uint32_t i = 0; i < load->task_count; i++) {
            BUG_ON(!queue_task(load, &load->tasks[i])); /* a batch is smaller than the queue */
        }
        load->next_count = 0;
        if (!redis_sync_flush(load->sync, on_reply, load) && !load->failed) {
            load->failed = true;
            buf_printf(load->error, "redis: connection lost");
        }
        memcpy(load->tasks, load->next, load->next_count * sizeof(load->next[0]));
        load->task_count = load->next_count;
    }
    return load->failed ? STATUS_IO : STATUS_OK;
}

enum status segment_load_add(struct segment_load *load, const struct segment_row *row)
{
    load->tasks[load->task_count++] = (struct segment_task){.row = *row};
    return load->task_count == SEGMENT_LOAD_BATCH ? segment_load_flush(load) : STATUS_OK;
}
