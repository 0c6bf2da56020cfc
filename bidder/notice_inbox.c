/* Which worker a notice belongs to, and how it gets there: the same whether the other worker is on
 * this machine or another.
 *
 *   forward: RPUSH inbox:<owner> text          (and its expiry)
 *   tick:    LRANGE inbox:<self> 0 63          verify again, claim, apply
 *   done:    LREM inbox:<self> 1 text          each text when it is done, at least once
 *   2 s:     ZADD desks now self; ZRANGE desks who is alive
 *   gone for 30 s: the next worker alive does the same with inbox:<gone> until it is empty, then
 *            ZREM desks gone
 *
 * Removing by value is safe when several read one inbox (a worker that comes back while it is being
 * adopted): what is gone is not removed twice, and equal texts ask for the same. */
#include "bidder/notice_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/log.h"

#define BATCH         64
#define SIGN_US       2000000
#define GONE_S        30
#define INBOX_TTL_S   86400
#define OWNERS_OLD_US 10000000 /* then it is not known any more who is alive */
#define KEY_BYTES     32

static struct str inbox_key(uint32_t owner, char key[KEY_BYTES])
{
    int len = snprintf(key, KEY_BYTES, "inbox:%" PRIu32, owner);
    return (struct str){key, (size_t)len};
}

static int by_owner(const void *a, const void *b)
{
    const struct notice_owner *x = a, *y = b;
    return x->owner < y->owner ? -1 : x->owner > y->owner;
}

static bool knows_owners(const struct notice_desk *desk)
{
    return desk->owners_us && desk->mono_us - desk->owners_us <= OWNERS_OLD_US;
}

static const struct notice_owner *find_owner(const struct notice_desk *desk, uint32_t owner)
{
    struct notice_owner key = {.owner = owner};
    return knows_owners(desk) && desk->owner_count
               ? bsearch(&key, desk->owners, desk->owner_count, sizeof(key), by_owner)
               : NULL;
}

/* Booking a living worker's commitment a second time would be wrong, waiting is not: only who is
 * known to have been silent for long counts as gone. */
bool notice_owner_alive(const struct notice_desk *desk, uint32_t owner)
{
    const struct notice_owner *found = find_owner(desk, owner);
    return !found || desk->now_us / 1000000 - found->seen_s <= GONE_S;
}

/* --- out -------------------------------------------------------------------------------------- */

/* An inbox that nobody is known to read is entered into the list of desks, so that somebody finds
 * it should its worker be gone. */
static void enter_owner(const struct notice_desk *desk, uint32_t owner)
{
    struct redis *redis = desk->deps.redis;
    redis_begin(redis, 5);
    redis_arg(redis, STR("ZADD"));
    redis_arg(redis, STR("desks"));
    redis_arg(redis, STR("NX"));
    redis_arg_i64(redis, desk->now_us / 1000000);
    redis_arg_i64(redis, owner);
    (void)redis_send(redis, STR("desks"), 0, NULL, NULL);
}

static void on_forwarded(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct notice_op *op = owner;
    if (!notice_landed(op->desk)) {
        return;
    }
    if (result != REDIS_OK || value->type == REDIS_ERROR) {
        notice_op_wait(op); /* perhaps a second time: the claim makes it one */
        return;
    }
    METRIC_INC(notice_metrics, NOTICE_FORWARDED);
    if (op->event != NOTICE_IMPRESSION) { /* its other half is still being counted */
        notice_recent_add(op->desk, &op->token, op->event);
    }
    notice_op_return(op);
}

void notice_forward(struct notice_op *op)
{
    struct redis *redis = op->desk->deps.redis;
    uint32_t owner = (uint32_t)(op->token.auction >> 40);
    char text[KEY_BYTES];
    struct str key = inbox_key(owner, text);
    if (op->retried && !notice_owner_alive(op->desk, owner)) {
        op->step = op->event == NOTICE_LOSS ? NOTICE_STEP_LOSS : NOTICE_STEP_BILL;
        notice_op_start(op);
        return;
    }
    if (!find_owner(op->desk, owner)) {
        enter_owner(op->desk, owner);
    }
    redis_begin(redis, 3);
    redis_arg(redis, STR("RPUSH"));
    redis_arg(redis, key);
    redis_arg(redis, (struct str){op->text, op->text_len});
    if (!notice_send(op->desk, key, on_forwarded, op)) {
        notice_op_wait(op);
        return;
    }
    redis_begin(redis, 3);
    redis_arg(redis, STR("EXPIRE"));
    redis_arg(redis, key);
    redis_arg_i64(redis, INBOX_TTL_S);
    (void)redis_send(redis, key, 0, NULL, NULL);
}

/* --- in --------------------------------------------------------------------------------------- */

static void send_read(struct notice_box *box);

/* As many as there is room for: what is not taken waits in Redis. */
static bool has_room(const struct notice_desk *desk)
{
    return desk->options.max_pending - desk->pending >= BATCH || desk->pending == 0;
}

static void remove_text(const struct notice_box *box, struct str text)
{
    struct redis *redis = box->desk->deps.redis;
    char key_text[KEY_BYTES];
    struct str key = inbox_key(box->owner, key_text);
    redis_begin(redis, 4);
    redis_arg(redis, STR("LREM"));
    redis_arg(redis, key);
    redis_arg_i64(redis, 1);
    redis_arg(redis, text);
    (void)redis_send(redis, key, 0, NULL, NULL); /* else it is read and removed once more */
}

void notice_inbox_done(struct notice_box *box, const struct notice_op *op)
{
    BUG_ON(box->open == 0);
    box->open--;
    remove_text(box, (struct str){op->text, op->text_len});
    if (!box->open && !box->reading && box->full && has_room(box->desk)) {
        send_read(box);
    }
}

/* Redis is not trusted with money: the token is verified like the first time. An expired one was in
 * time when it landed. False: there is no room for it now. */
static bool take(struct notice_box *box, struct str text)
{
    static const char prefix[] = "/notice/";
    struct notice_desk *desk = box->desk;
    char path[sizeof(prefix) + NOTICE_TEXT_BYTES];
    struct notice notice;
    struct notice_token token;
    enum notice_refusal refusal = NOTICE_MALFORMED;
    bool good = text.len <= NOTICE_TEXT_BYTES;
    struct str query = STR_NONE;
    if (good) {
        memcpy(path, prefix, sizeof(prefix) - 1);
        memcpy(path + sizeof(prefix) - 1, text.ptr, text.len);
        query = (struct str){path, sizeof(prefix) - 1 + text.len};
        struct str target = str_cut(&query, '?');
        good = notice_open(desk, target, query, &notice, &token, &refusal) ||
               refusal == NOTICE_EXPIRED;
    }
    if (!good) {
        METRIC_INC(notice_metrics, NOTICE_INBOX);
        metric_add(&notice_metrics, NOTICE_REFUSED, refusal, 1);
        remove_text(box, text);
        return true;
    }
    struct notice_op *op = notice_op_borrow(desk, &notice, &token);
    if (!op) {
        return false;
    }
    METRIC_INC(notice_metrics, NOTICE_INBOX);
    op->box = box;
    box->open++;
    op->text_len = (uint32_t)text.len;
    memcpy(op->text, text.ptr, text.len);
    (void)notice_price_op(op, notice.price);
    op->step = notice.event == NOTICE_LOSS ? NOTICE_STEP_LOSS : NOTICE_STEP_BILL;
    notice_op_start(op);
    return true;
}

static void forget_owner(struct notice_desk *desk, uint32_t owner)
{
    struct redis *redis = desk->deps.redis;
    redis_begin(redis, 3);
    redis_arg(redis, STR("ZREM"));
    redis_arg(redis, STR("desks"));
    redis_arg_i64(redis, owner);
    (void)redis_send(redis, STR("desks"), 0, NULL, NULL);
}

static void on_read(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct notice_box *box = owner;
    struct notice_desk *desk = box->desk;
    if (!notice_landed(desk)) {
        return;
    }
    box->reading = box->full = false;
    if (result != REDIS_OK || value->type != REDIS_ARRAY) {
        return;
    }
    uint32_t taken = 0;
    for (; taken < value->count && value->items[taken].type == REDIS_STRING; taken++) {
        if (!take(box, value->items[taken].text)) {
            break;
        }
    }
    box->full = taken == BATCH;
    if (box == &desk->adopted && taken) {
        log_info("took %u notices of worker %u, which is gone", taken, box->owner);
    } else if (box == &desk->adopted && !value->count) {
        forget_owner(desk, box->owner);
    }
}

static void send_read(struct notice_box *box)
{
    struct redis *redis = box->desk->deps.redis;
    char text[KEY_BYTES];
    struct str key = inbox_key(box->owner, text);
    redis_begin(redis, 4);
    redis_arg(redis, STR("LRANGE"));
    redis_arg(redis, key);
    redis_arg_i64(redis, 0);
    redis_arg_i64(redis, BATCH - 1);
    box->reading = notice_send(box->desk, key, on_read, box);
}

/* --- signs of life ---------------------------------------------------------------------------- */

static void on_owners(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct notice_desk *desk = owner;
    if (!notice_landed(desk)) {
        return;
    }
    if (result != REDIS_OK || value->type != REDIS_ARRAY) {
        return;
    }
    desk->owner_count = 0;
    for (uint32_t i = 0; i + 1 < value->count && desk->owner_count < NOTICE_MAX_OWNERS; i += 2) {
        int64_t id, seen_s;
        if (str_to_i64(value->items[i].text, &id) && id >= 0 && id <= UINT32_MAX &&
            str_to_i64(value->items[i + 1].text, &seen_s)) {
            desk->owners[desk->owner_count++] = (struct notice_owner){(uint32_t)id, seen_s};
        }
    }
    qsort(desk->owners, desk->owner_count, sizeof(desk->owners[0]), by_owner);
    desk->owners_us = desk->mono_us;
}

static void give_sign(struct notice_desk *desk)
{
    struct redis *redis = desk->deps.redis;
    struct str key = STR("desks");
    redis_begin(redis, 4);
    redis_arg(redis, STR("ZADD"));
    redis_arg(redis, key);
    redis_arg_i64(redis, desk->now_us / 1000000);
    redis_arg_i64(redis, desk->options.owner);
    (void)redis_send(redis, key, 0, NULL, NULL);
    redis_begin(redis, 5);
    redis_arg(redis, STR("ZRANGE"));
    redis_arg(redis, key);
    redis_arg_i64(redis, 0);
    redis_arg_i64(redis, -1);
    redis_arg(redis, STR("WITHSCORES"));
    (void)notice_send(desk, key, on_owners, desk);
}

/* One reads it, not all: the next worker alive behind the one that is gone. */
static bool is_heir(const struct notice_desk *desk, uint32_t gone)
{
    for (uint32_t i = 1; i < desk->owner_count; i++) {
        const struct notice_owner *next = &desk->owners[(gone + i) % desk->owner_count];
        if (desk->now_us / 1000000 - next->seen_s <= GONE_S) {
            return next->owner == desk->options.owner;
        }
    }
    return false;
}

static void adopt(struct notice_desk *desk)
{
    if (!knows_owners(desk)) {
        return;
    }
    for (uint32_t i = 0; i < desk->owner_count; i++) {
        struct notice_owner *gone = &desk->owners[i];
        if (gone->owner != desk->options.owner && desk->now_us / 1000000 - gone->seen_s > GONE_S &&
            is_heir(desk, i)) {
            desk->adopted.owner = gone->owner;
            send_read(&desk->adopted);
            return;
        }
    }
}

void notice_inbox_tick(struct notice_desk *desk)
{
    if (!redis_is_up(desk->deps.redis)) {
        return;
    }
    if (desk->mono_us >= desk->sign_us) {
        desk->sign_us = desk->mono_us + SIGN_US;
        give_sign(desk);
    }
    if (has_room(desk)) {
        if (!desk->own.reading && !desk->own.open) {
            send_read(&desk->own);
        }
        if (!desk->adopted.reading && !desk->adopted.open) {
            adopt(desk);
        }
    }
}
