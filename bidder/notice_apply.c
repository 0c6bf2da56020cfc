/* Claims, and what the first notice of its kind sets off. An op is one such step:
 *
 *   borrow -> start --sent--> in flight --reply--> done, return
 *               ^ not sent |      | lost, late
 *               |          v      v
 *               '--tick-- waiting <'
 *
 * The claim of money names the op, so that one whose reply was lost is recognised as ours when it
 * is tried again. */
#include "bidder/notice_internal.h"

#include <inttypes.h>

#include "bidder/base/bug.h"
#include "bidder/base/hash.h"
#include "bidder/base/log.h"

#define WARN_EVERY_US 10000000
#define CLAIM_SPARE_S 600 /* a claim outlives its token by this */

struct notice_op *notice_op_borrow(struct notice_desk *desk, const struct notice *notice,
                                   const struct notice_token *token)
{
    struct notice_op *op = desk->free;
    if (!op) {
        return NULL;
    }
    desk->free = op->next;
    desk->pending++;
    op->next = NULL;
    op->event = notice->event;
    op->token = *token;
    op->id = desk->next_id++;
    op->claim_s = (uint32_t)(desk->now_us / 1000000);
    op->retried = op->asked = false;
    op->box = NULL;
    op->text_len = 0;
    return op;
}

void notice_op_return(struct notice_op *op)
{
    struct notice_desk *desk = op->desk;
    BUG_ON(desk->pending == 0);
    if (op->asked) {
        notice_answer_later(desk, op->ticket, op->event);
    }
    if (op->box) {
        notice_inbox_done(op->box, op);
    }
    op->step = NOTICE_STEP_FREE;
    op->next = desk->free;
    desk->free = op;
    desk->pending--;
}

/* --- what this worker has just finished ------------------------------------------------------- */

static uint64_t fingerprint(const struct notice_token *token, unsigned event)
{
    uint64_t parts[2] = {token->auction, (uint64_t)token->imp_hash << 8 | event};
    return hash_bytes(parts, sizeof(parts), 0) | 1;
}

bool notice_recent(struct notice_desk *desk, const struct notice_token *token, unsigned event)
{
    uint64_t mark = fingerprint(token, event);
    return desk->recent[mark / 2 % NOTICE_RECENT] == mark;
}

void notice_recent_add(struct notice_desk *desk, const struct notice_token *token, unsigned event)
{
    uint64_t mark = fingerprint(token, event);
    desk->recent[mark / 2 % NOTICE_RECENT] = mark;
}

/* --- Redis ------------------------------------------------------------------------------------ */

static struct str key_of(const struct notice_token *token, const char *suffix,
                         char key[NOTICE_KEY_BYTES])
{
    int len = snprintf(key, NOTICE_KEY_BYTES, "n:{%" PRIx64 ".%x}%s", token->auction,
                       token->imp_hash, suffix);
    return (struct str){key, (size_t)len};
}

static int64_t ttl_s(const struct notice_op *op)
{
    int64_t left_s = op->token.expires_s - op->desk->now_us / 1000000;
    return (left_s > 0 ? left_s : 0) + CLAIM_SPARE_S;
}

static void send_expire(const struct notice_op *op, struct str key)
{
    struct redis *redis = op->desk->deps.redis;
    redis_begin(redis, 3);
    redis_arg(redis, STR("EXPIRE"));
    redis_arg(redis, key);
    redis_arg_i64(redis, ttl_s(op));
    (void)redis_send(redis, key, 0, NULL, NULL);
}

static void send_bit(const struct notice_op *op, unsigned bit, redis_fn *done, bool *sent)
{
    struct redis *redis = op->desk->deps.redis;
    char text[NOTICE_KEY_BYTES];
    struct str key = key_of(&op->token, "", text);
    redis_begin(redis, 4);
    redis_arg(redis, STR("SETBIT"));
    redis_arg(redis, key);
    redis_arg_i64(redis, bit);
    redis_arg_i64(redis, 1);
    *sent =
        done ? notice_send(op->desk, key, done, (void *)op) : redis_send(redis, key, 0, NULL, NULL);
    send_expire(op, key);
}

/* Did Redis fail in a way that trying again may help? Error replies too: a failover says LOADING or
 * READONLY for a while. */
static bool failed(const struct notice_op *op, enum redis_result result,
                   const struct redis_value *value)
{
    struct notice_desk *desk = op->desk;
    if (result == REDIS_OK && value->type == REDIS_ERROR &&
        desk->mono_us - desk->warned_us >= WARN_EVERY_US) {
        desk->warned_us = desk->mono_us;
        log_warn("notices wait: redis answers \"%.*s\"", STR_ARG(value->text));
    }
    return result != REDIS_OK || value->type == REDIS_ERROR;
}

void notice_op_wait(struct notice_op *op)
{
    struct notice_desk *desk = op->desk;
    METRIC_INC(notice_metrics, NOTICE_RETRIES);
    op->retried = true;
    if (op->asked) { /* an exchange does not wait as long as Redis may be away */
        op->asked = false;
        notice_answer_later(desk, op->ticket, op->event);
    }
    op->next = NULL;
    *desk->waiting_tail = op;
    desk->waiting_tail = &op->next;
}

static void finish(struct notice_op *op, enum notice_outcome outcome)
{
    metric_add(&notice_metrics, NOTICE_OUTCOMES, outcome, 1);
    notice_op_return(op);
}

/* The confirmation that went out when the notice came may have been lost with Redis. */
static void confirm_again(const struct notice_op *op)
{
    if (op->retried && op->token.ticket.key_count) {
        freq_confirm(op->desk->deps.store, &op->token.ticket,
                     notice_catalog(op->desk)->book.retention_s);
    }
}

/* --- counting for reports --------------------------------------------------------------------- */

/* The person an exposure was counted for; NULL when there was none, or only a household. */
static const struct person_key *person_of(const struct freq_ticket *ticket)
{
    for (unsigned i = 0; i < ticket->key_count; i++) {
        if (!(ticket->household_mask >> i & 1)) {
            return &ticket->keys[i];
        }
    }
    return NULL;
}

/* Counted for its caps it is all the same, but its place may have been sold again. */
static void note_after_hold(const struct notice_op *op)
{
    int64_t hold_s = op->desk->options.hold_s;
    int64_t after_s = op->desk->now_us / 1000000 - op->token.bid_s;
    if (hold_s && op->token.ticket.key_count && after_s > hold_s) {
        METRIC_INC(notice_metrics, NOTICE_AFTER_HOLD);
    }
}

static void report_impression(const struct notice_op *op)
{
    const struct notice_token *token = &op->token;
    const struct person_key *person = person_of(&token->ticket);
    struct report *report = op->desk->deps.report;
    struct report_row row = notice_row(token);
    int64_t now_s = op->desk->now_us / 1000000;
    unsigned seen = TOKEN_SEEN_OF(token->flags);
    report_add(report, &row, REPORT_IMPRESSIONS, 1, now_s);
    report_add(report, &row, REPORT_UNCAPPED, token->flags & TOKEN_UNCAPPED ? 1 : 0, now_s);
    report_add(report, &row, REPORT_SWAPPED, token->flags & TOKEN_SWAPPED ? 1 : 0, now_s);
    if (!person) {
        report_add(report, &row, REPORT_ANONYMOUS, 1, now_s);
        return;
    }
    seen = seen < REPORT_SEEN_STEPS ? seen : REPORT_SEEN_STEPS - 1;
    report_add(report, &row, REPORT_SEEN_0 + seen, 1, now_s);
    report_person(report, &row, person, token->flags & TOKEN_IN_TARGET, now_s);
}

static void report_event(const struct notice_op *op)
{
    static const struct {
        bool counted;
        enum report_column column;
    } columns[NOTICE_EVENT_COUNT] = {
        [NOTICE_WIN] = {true, REPORT_WINS},           [NOTICE_LOSS] = {true, REPORT_LOSSES},
        [NOTICE_CLICK] = {true, REPORT_CLICKS},       [NOTICE_START] = {true, REPORT_STARTS},
        [NOTICE_COMPLETE] = {true, REPORT_COMPLETES},
    };
    struct report_row row = notice_row(&op->token);
    if (op->event == NOTICE_IMPRESSION) {
        note_after_hold(op);
        report_impression(op);
    } else if (columns[op->event].counted) {
        report_add(op->desk->deps.report, &row, columns[op->event].column, 1,
                   op->desk->now_us / 1000000);
    }
}

/* An answer that came too late is not waited for twice: the event is counted, as most are firsts.
 */
static void on_counted(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct notice_op *op = owner;
    if (!notice_landed(op->desk)) {
        return;
    }
    if (result != REDIS_LATE && failed(op, result, value)) {
        notice_op_wait(op);
        return;
    }
    bool first = result == REDIS_LATE || value->integer == 0;
    notice_recent_add(op->desk, &op->token, op->event);
    confirm_again(op);
    if (first) {
        report_event(op);
        const struct notice_deps *deps = &op->desk->deps;
        if (deps->seen && (op->event == NOTICE_IMPRESSION || op->event == NOTICE_CLICK)) {
            deps->seen(deps->event_context, &op->token, op->event == NOTICE_CLICK);
        }
    }
    finish(op, first ? NOTICE_DONE : NOTICE_DUPLICATE);
}

/* --- money ------------------------------------------------------------------------------------ */

/* The day the daily budgets were booked on: a commitment's own, else the day it comes in. */
static uint32_t booked_date(const struct notice_op *op, enum notice_outcome outcome)
{
    const struct budget_ledger *ledger = op->desk->deps.ledger;
    return (uint32_t)(outcome == NOTICE_ADOPTED ? budget_ledger_date(ledger)
                                                : budget_flight_date(ledger, op->token.flight));
}

/* Whose budgets pay: the shown line's; what was lent is paid by its deal's owner. */
static const struct catalog_line *payer_of(struct notice_desk *desk,
                                           const struct notice_token *token)
{
    if (!(token->flags & TOKEN_SWAPPED)) {
        return notice_line(desk, token->line_ref);
    }
    const struct catalog *catalog = notice_catalog(desk);
    for (uint32_t i = 0; i < catalog->deal_count; i++) {
        if (catalog->deals[i].ref == token->deal_ref) {
            uint32_t payer = catalog_deal_payer(catalog, &catalog->deals[i]);
            return payer == CATALOG_NONE ? NULL : &catalog->lines[payer];
        }
    }
    return NULL;
}

/* What was booked, where: a commitment's own budgets, even when the catalog names others now. */
static void record_settled(const struct notice_op *op, const struct catalog_line *line,
                           enum notice_outcome outcome)
{
    _Static_assert(BUDGET_MAX_PER_BID <= EVENT_MAX_BUDGETS, "all are kept");
    struct notice_desk *desk = op->desk;
    struct event_record event;
    notice_event_fill(op, EVENT_SETTLE, &event);
    event.billable = true;
    event.owner = desk->options.owner;
    event.date = booked_date(op, outcome);
    if (outcome != NOTICE_ADOPTED) {
        event.budget_count = budget_flight_refs(desk->deps.ledger, op->token.flight, event.budgets,
                                                &event.impressions);
        line = NULL;
    }
    for (uint32_t i = 0; line && i < line->budgets.count && i < EVENT_MAX_BUDGETS; i++) {
        const struct catalog_budget *budget =
            &notice_catalog(desk)->budgets[line->budgets.items[i]];
        event.budgets[i] = budget->ref;
        event.impressions |= (uint32_t)budget->impressions << i;
        event.budget_count = i + 1;
    }
    event_log_put(desk->deps.events, &event, desk->now_us);
}

static enum notice_outcome settle(const struct notice_op *op, const struct catalog_line *line)
{
    struct notice_desk *desk = op->desk;
    const struct notice_token *token = &op->token;
    if (!token->flight) {
        return NOTICE_SETTLED; /* no budget */
    }
    enum budget_settlement settlement = BUDGET_UNKNOWN;
    if (token->auction >> 40 == desk->options.owner) {
        settlement =
            budget_settle(desk->deps.ledger, token->flight, op->cost_micros, desk->mono_us);
    }
    switch (settlement) {
    case BUDGET_SETTLED:
        return NOTICE_SETTLED;
    case BUDGET_DUPLICATE: /* the claim was lost with Redis, the ledger remembers */
        return NOTICE_DUPLICATE;
    case BUDGET_LATE:
        return NOTICE_LATE;
    case BUDGET_UNKNOWN:
        break;
    }
    if (line) {
        budget_book_late(desk->deps.ledger, line->budgets.items, line->budgets.count,
                         op->cost_micros, desk->mono_us);
    }
    return NOTICE_ADOPTED;
}

static void apply_bill(struct notice_op *op)
{
    struct notice_desk *desk = op->desk;
    const struct catalog_line *line = payer_of(desk, &op->token);
    enum notice_outcome outcome = settle(op, line);
    if (outcome != NOTICE_DUPLICATE) {
        struct report_row row = notice_row(&op->token);
        record_settled(op, line, outcome);
        report_add(desk->deps.report, &row, REPORT_SPEND, op->cost_micros, desk->now_us / 1000000);
    }
    finish(op, outcome);
}

static struct str op_name(const struct notice_op *op, char text[NOTICE_NAME_BYTES])
{
    int len = snprintf(text, NOTICE_NAME_BYTES, "%" PRIu32 ".%" PRIu32 ".%" PRIx64 ".%" PRIx64,
                       op->desk->options.owner, op->claim_s, op->desk->life, op->id);
    return (struct str){text, (size_t)len};
}

/* Is the claim that of a former life of this worker, killed before it booked anything? Its event
 * log knows. True once. */
static bool take_over(const struct notice_op *op, struct str name)
{
    const struct notice_desk *desk = op->desk;
    char life[20];
    int64_t owner, claim_s;
    int len = snprintf(life, sizeof(life), "%" PRIx64, desk->life);
    return str_to_i64(str_cut(&name, '.'), &owner) && owner == desk->options.owner &&
           str_to_i64(str_cut(&name, '.'), &claim_s) &&
           !str_eq(str_cut(&name, '.'), (struct str){life, (size_t)len}) &&
           event_log_take_missed(desk->deps.events, op->token.auction, op->token.imp_hash, claim_s);
}

static void on_claimed(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct notice_op *op = owner;
    char text[NOTICE_NAME_BYTES];
    if (!notice_landed(op->desk)) {
        return;
    }
    if (failed(op, result, value)) {
        notice_op_wait(op);
        return;
    }
    notice_recent_add(op->desk, &op->token, NOTICE_BILL);
    confirm_again(op);
    if (value->type == REDIS_NIL || str_eq(value->text, op_name(op, text)) ||
        take_over(op, value->text)) {
        apply_bill(op);
    } else {
        finish(op, NOTICE_DUPLICATE);
    }
}

/* The bit first: a loss notice that comes between must not give back what was shown. */
static bool send_claim(struct notice_op *op)
{
    bool sent;
    send_bit(op, NOTICE_BIT_BILLED, NULL, &sent);
    if (!sent) {
        return false;
    }
    struct redis *redis = op->desk->deps.redis;
    char key_text[NOTICE_KEY_BYTES], name[NOTICE_NAME_BYTES];
    struct str key = key_of(&op->token, "b", key_text);
    redis_begin(redis, 7);
    redis_arg(redis, STR("SET"));
    redis_arg(redis, key);
    redis_arg(redis, op_name(op, name));
    redis_arg(redis, STR("NX"));
    redis_arg(redis, STR("GET"));
    redis_arg(redis, STR("EX"));
    redis_arg_i64(redis, ttl_s(op));
    return notice_send(op->desk, key, on_claimed, op);
}

/* --- losses ----------------------------------------------------------------------------------- */

/* [billed, impression seen, lost before] */
static void on_loss(void *owner, enum redis_result result, const struct redis_value *value)
{
    struct notice_op *op = owner;
    struct notice_desk *desk = op->desk;
    if (!notice_landed(desk)) {
        return;
    }
    if (failed(op, result, value) || value->type != REDIS_ARRAY || value->count != 3) {
        notice_op_wait(op);
        return;
    }
    notice_recent_add(desk, &op->token, NOTICE_LOSS);
    /* "Lost before" may be our own doing when this is tried again after a lost reply, or that of a
     * worker who was killed between this and the release; releasing twice is safe. */
    bool again = value->items[2].integer && !op->retried;
    if (!again) {
        report_event(op);
    }
    if (value->items[0].integer || value->items[1].integer) {
        /* it was shown all the same: nothing is given back */
        finish(op, again ? NOTICE_DUPLICATE : NOTICE_DONE);
        return;
    }
    bool ours = op->token.auction >> 40 == desk->options.owner;
    if (op->token.flight && ours) {
        (void)budget_release(desk->deps.ledger, op->token.flight, desk->mono_us);
    }
    if (op->token.ticket.key_count) {
        freq_release(desk->deps.store, &op->token.ticket);
    }
    /* What is not safe twice: rather not at all. */
    if (ours && !op->retried && !again && desk->deps.lost) {
        desk->deps.lost(desk->deps.event_context, &op->token);
    }
    finish(op, again ? NOTICE_DUPLICATE : NOTICE_RELEASED);
}

static bool send_loss(struct notice_op *op)
{
    struct redis *redis = op->desk->deps.redis;
    char text[NOTICE_KEY_BYTES];
    struct str key = key_of(&op->token, "", text);
    redis_begin(redis, 12);
    redis_arg(redis, STR("BITFIELD"));
    redis_arg(redis, key);
    redis_arg(redis, STR("GET"));
    redis_arg(redis, STR("u1"));
    redis_arg_i64(redis, NOTICE_BIT_BILLED);
    redis_arg(redis, STR("GET"));
    redis_arg(redis, STR("u1"));
    redis_arg_i64(redis, NOTICE_IMPRESSION);
    redis_arg(redis, STR("SET"));
    redis_arg(redis, STR("u1"));
    redis_arg_i64(redis, NOTICE_LOSS);
    redis_arg_i64(redis, 1);
    bool sent = notice_send(op->desk, key, on_loss, op);
    send_expire(op, key);
    return sent;
}

/* --- running ---------------------------------------------------------------------------------- */

void notice_op_start(struct notice_op *op)
{
    bool sent = false;
    switch (op->step) {
    case NOTICE_STEP_FREE:
        BUG_ON(true);
    case NOTICE_STEP_COUNT:
        send_bit(op, op->event, on_counted, &sent);
        break;
    case NOTICE_STEP_BILL:
        sent = send_claim(op);
        break;
    case NOTICE_STEP_LOSS:
        sent = send_loss(op);
        break;
    case NOTICE_STEP_FORWARD:
        notice_forward(op);
        return;
    }
    if (!sent) {
        notice_op_wait(op);
    }
}

void notice_retry(struct notice_desk *desk)
{
    if (!desk->waiting || desk->mono_us < desk->retry_us || !redis_is_up(desk->deps.redis)) {
        return;
    }
    desk->retry_us = desk->mono_us + NOTICE_RETRY_US;
    struct notice_op *op = desk->waiting;
    desk->waiting = NULL;
    desk->waiting_tail = &desk->waiting;
    while (op) {
        struct notice_op *next = op->next;
        if (op->token.expires_s + CLAIM_SPARE_S < desk->now_us / 1000000) {
            METRIC_INC(notice_metrics, NOTICE_LOST);
            notice_op_return(op);
        } else {
            notice_op_start(op);
        }
        op = next;
    }
}
