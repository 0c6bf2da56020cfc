/* hiredis's reader calls these functions for each element it has read; they build our value tree.
 * An array's items lie in one piece, so a child is written into its parent's place:
 *
 *   value { ARRAY, count 2, items } --> [ value { STRING } | value { STRING } ]
 *
 * Text is copied, because the reader's buffer moves while a reply is still incomplete. */
#include "bidder/base/redis_reply.h"

#include "bidder/base/bug.h"

/* The longest record of a person, 512 exposures, fits: larger replies allocate, and few are. */
#define ARENA_FIRST_BYTES (128 * 1024)

static struct redis_value *place_of(const redisReadTask *task)
{
    if (!task->parent) {
        return arena_alloc(task->privdata, sizeof(struct redis_value));
    }
    struct redis_value *parent = task->parent->obj;
    return (struct redis_value *)&parent->items[task->idx];
}

static void *make_text(const redisReadTask *task, char *text, size_t len)
{
    struct redis_value *value = place_of(task);
    struct str copy = arena_strdup(task->privdata, (struct str){text, len});
    if (!value || !copy.ptr) {
        return NULL;
    }
    enum redis_type type = task->type == REDIS_REPLY_ERROR    ? REDIS_ERROR
                           : task->type == REDIS_REPLY_STATUS ? REDIS_STATUS
                                                              : REDIS_STRING;
    *value = (struct redis_value){.type = type, .text = copy};
    return value;
}

static void *make_array(const redisReadTask *task, int count)
{
    struct redis_value *value = place_of(task);
    /* Each item is written before anybody sees the array. */
    struct redis_value *items =
        count < 0 ? NULL : arena_alloc(task->privdata, (size_t)count * sizeof(*items));
    if (!value || !items) {
        return NULL;
    }
    *value = (struct redis_value){.type = REDIS_ARRAY, .items = items, .count = (uint32_t)count};
    return value;
}

static void *make_integer(const redisReadTask *task, long long integer)
{
    struct redis_value *value = place_of(task);
    if (value) {
        *value = (struct redis_value){.type = REDIS_INT, .integer = integer};
    }
    return value;
}

static void *make_nil(const redisReadTask *task)
{
    struct redis_value *value = place_of(task);
    if (value) {
        *value = (struct redis_value){.type = REDIS_NIL};
    }
    return value;
}

static void free_nothing(void *object)
{
    (void)object; /* the arena's */
}

bool redis_reply_reader_init(struct redis_reply_reader *in)
{
    static redisReplyObjectFunctions functions = {.createString = make_text,
                                                  .createArray = make_array,
                                                  .createInteger = make_integer,
                                                  .createNil = make_nil,
                                                  .freeObject = free_nothing};
    in->reader = NULL;
    if (!arena_init(&in->arena, ARENA_FIRST_BYTES, REDIS_REPLY_LIMIT_BYTES)) {
        return false;
    }
    in->reader = redisReaderCreateWithFunctions(&functions);
    if (!in->reader) {
        arena_deinit(&in->arena);
        return false;
    }
    in->reader->privdata = &in->arena;
    in->reader->maxbuf = 0; /* keep the buffer: no allocation per read */
    return true;
}

void redis_reply_reader_deinit(struct redis_reply_reader *in)
{
    if (in->reader) {
        redisReaderFree(in->reader);
        arena_deinit(&in->arena);
        in->reader = NULL;
    }
}

bool redis_reply_feed(struct redis_reply_reader *in, const char *bytes, size_t len)
{
    return in->reader->len <= REDIS_REPLY_LIMIT_BYTES &&
           redisReaderFeed(in->reader, bytes, len) == 0;
}

int redis_reply_next(struct redis_reply_reader *in, const struct redis_value **value)
{
    void *reply = NULL;
    if (redisReaderGetReply(in->reader, &reply) != 0) {
        return -1;
    }
    *value = reply;
    return reply != NULL;
}

void redis_reply_done(struct redis_reply_reader *in)
{
    arena_reset(&in->arena);
}

/* --- commands ------------------------------------------------------------------------------- */

#define HEAD_BYTES 23 /* a kind, 20 digits, the line's end */

/* "$16\r\n" or "*3\r\n"; returns what is behind it. */
static char *write_head(char *at, char kind, size_t count)
{
    *at++ = kind;
    if (LIKELY(count < 100)) { /* what bids send has one or two digits */
        if (count >= 10) {
            *at++ = (char)('0' + count / 10);
        }
        *at++ = (char)('0' + count % 10);
    } else {
        char digits[HEAD_BYTES], *from = digits + sizeof(digits);
        for (; count; count /= 10) {
            *--from = (char)('0' + count % 10);
        }
        size_t len = (size_t)(digits + sizeof(digits) - from);
        memcpy(at, from, len);
        at += len;
    }
    memcpy(at, "\r\n", 2);
    return at + 2;
}

void redis_command_begin(struct buf *out, uint32_t args)
{
    char *at = buf_reserve(out, HEAD_BYTES);
    if (at) {
        out->len += (size_t)(write_head(at, '*', args) - at);
    }
}

void redis_command_arg(struct buf *out, struct str arg)
{
    char *start = buf_reserve(out, HEAD_BYTES + arg.len + 2);
    if (!start) {
        return;
    }
    char *at = write_head(start, '$', arg.len);
    if (arg.len) {
        memcpy(at, arg.ptr, arg.len);
        at += arg.len;
    }
    memcpy(at, "\r\n", 2);
    out->len += (size_t)(at + 2 - start);
}
