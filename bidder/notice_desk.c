/* What comes in: verification, the answer, and which steps a notice sets off. The answer to what
 * moves money or counts waits until a killed worker could not lose it any more. */
#include "bidder/notice_internal.h"

#include <stdlib.h>

#include "bidder/base/bug.h"
#include "bidder/base/clock.h"

#define DEFAULT_PENDING 8192
#define NO_STORE        "Cache-Control: no-store\r\n"

METRIC_DEFINE(notice, NOTICE_METRICS);

const char *notice_refusal_name(unsigned refusal)
{
    static const char *const names[] = {"malformed", "forged", "expired", "busy", "no_landing"};
    _Static_assert(COUNT_OF(names) == NOTICE_REFUSAL_COUNT, "one name each");
    return refusal < NOTICE_REFUSAL_COUNT ? names[refusal] : "?";
}

const char *notice_outcome_name(unsigned outcome)
{
    static const char *const names[] = {"done", "duplicate", "settled",
                                        "late", "adopted",   "released"};
    _Static_assert(COUNT_OF(names) == NOTICE_OUTCOME_COUNT, "one name each");
    return outcome < NOTICE_OUTCOME_COUNT ? names[outcome] : "?";
}

struct notice_desk *notice_desk_create(const struct notice_deps *deps,
                                       const struct notice_options *options)
{
    struct notice_desk *desk = calloc(1, sizeof(*desk));
    if (!desk) {
        return NULL;
    }
    desk->deps = *deps;
    desk->options = *options;
    if (!desk->options.max_pending) {
        desk->options.max_pending = DEFAULT_PENDING;
    }
    desk->waiting_tail = &desk->waiting;
    desk->own = (struct notice_box){.desk = desk, .owner = options->owner};
    desk->adopted = (struct notice_box){.desk = desk};
    desk->due = calloc(desk->options.max_pending, sizeof(desk->due[0]));
    desk->ops = calloc(desk->options.max_pending, sizeof(desk->ops[0]));
    if (!desk->ops || !desk->due || !crypto_random(&desk->life, sizeof(desk->life))) {
        notice_desk_destroy(&desk);
        return NULL;
    }
    for (uint32_t i = 0; i < desk->options.max_pending; i++) {
        desk->ops[i].desk = desk;
        desk->ops[i].next = desk->free;
        desk->free = &desk->ops[i];
    }
    return desk;
}

static void free_desk(struct notice_desk *desk)
{
    free(desk->ops);
    free(desk->due);
    free(desk->lines);
    free(desk->creatives);
    free(desk);
}

void notice_desk_destroy(struct notice_desk **desk)
{
    if (*desk && (*desk)->in_flight) {
        (*desk)->closing = true;
    } else if (*desk) {
        free_desk(*desk);
    }
    *desk = NULL;
}

bool notice_send(struct notice_desk *desk, struct str key, redis_fn *done, void *owner)
{
    bool sent = redis_send(desk->deps.redis, key, 0, done, owner);
    desk->in_flight += sent;
    return sent;
}

bool notice_landed(struct notice_desk *desk)
{
    BUG_ON(desk->in_flight == 0);
    desk->in_flight--;
    if (desk->closing && !desk->in_flight) {
        free_desk(desk);
        return false;
    }
    return !desk->closing;
}

uint32_t notice_desk_pending(const struct notice_desk *desk)
{
    return desk->pending;
}

/* --- the catalog by ref ---------------------------------------------------------------------- */

static int by_ref(const void *a, const void *b)
{
    const struct notice_ref *x = a, *y = b;
    return x->ref < y->ref ? -1 : x->ref > y->ref;
}

static const struct notice_ref *find_ref(const struct notice_ref *refs, uint32_t count,
                                         uint32_t ref)
{
    struct notice_ref key = {.ref = ref};
    return count ? bsearch(&key, refs, count, sizeof(*refs), by_ref) : NULL;
}

/* Once per catalog. Without memory the old refs are gone too: the lines count as unknown. */
static void index_refs(struct notice_desk *desk, const struct catalog *catalog)
{
    free(desk->lines);
    free(desk->creatives);
    desk->lines = malloc((catalog->line_count + 1) * sizeof(desk->lines[0]));
    desk->creatives = malloc((catalog->creative_count + 1) * sizeof(desk->creatives[0]));
    desk->line_count = desk->lines ? catalog->line_count : 0;
    desk->creative_count = desk->creatives ? catalog->creative_count : 0;
    for (uint32_t i = 0; i < desk->line_count; i++) {
        desk->lines[i] = (struct notice_ref){catalog->lines[i].ref, i};
    }
    for (uint32_t i = 0; i < desk->creative_count; i++) {
        desk->creatives[i] = (struct notice_ref){catalog->creatives[i].ref, i};
    }
    if (desk->line_count) {
        qsort(desk->lines, desk->line_count, sizeof(desk->lines[0]), by_ref);
    }
    if (desk->creative_count) {
        qsort(desk->creatives, desk->creative_count, sizeof(desk->creatives[0]), by_ref);
    }
    desk->generation = catalog->generation + 1; /* 0 = no catalog yet */
}

const struct catalog *notice_catalog(struct notice_desk *desk)
{
    const struct catalog *catalog = desk->deps.catalog(desk->deps.catalog_context);
    if (desk->generation != catalog->generation + 1) {
        index_refs(desk, catalog);
    }
    return catalog;
}

const struct catalog_line *notice_line(struct notice_desk *desk, uint32_t ref)
{
    const struct catalog *catalog = notice_catalog(desk);
    const struct notice_ref *found = find_ref(desk->lines, desk->line_count, ref);
    return found ? &catalog->lines[found->index] : NULL;
}

const struct catalog_creative *notice_creative(struct notice_desk *desk, uint32_t ref)
{
    const struct catalog *catalog = notice_catalog(desk);
    const struct notice_ref *found = find_ref(desk->creatives, desk->creative_count, ref);
    return found ? &catalog->creatives[found->index] : NULL;
}

/* --- a notice -------------------------------------------------------------------------------- */

bool notice_open(struct notice_desk *desk, struct str path, struct str query, struct notice *notice,
                 struct notice_token *token, enum notice_refusal *refusal)
{
    if (notice_parse(path, query, notice)) {
        *refusal = NOTICE_MALFORMED;
        return false;
    }
    enum token_audience audience = notice_event_audience(notice->event);
    if (token_read(desk->deps.keys, audience, notice->token, token)) {
        *refusal = NOTICE_FORGED;
        return false;
    }
    if (audience == TOKEN_CLIENT) {
        notice->price = STR_NONE; /* the viewer could write any: the bid is charged */
    }
    if (desk->now_us / 1000000 > token->expires_s) {
        *refusal = NOTICE_EXPIRED;
        return false;
    }
    return true;
}

struct report_row notice_row(const struct notice_token *token)
{
    return (struct report_row){.line_ref = token->line_ref,
                               .exchange_ref = token->exchange_ref,
                               .deal_ref = token->deal_ref,
                               .brand_ref = token->brand_ref};
}

enum notice_price_kind notice_price_op(struct notice_op *op, struct str raw)
{
    const struct notice_token *token = &op->token;
    const struct catalog *catalog = notice_catalog(op->desk);
    struct notice_price_rule rule = {.unit_micros = 1000000};
    for (uint32_t i = 0; i < catalog->exchange_count; i++) {
        const struct catalog_exchange *exchange = &catalog->exchanges[i];
        if (exchange->ref == token->exchange_ref) {
            rule = (struct notice_price_rule){
                .unit_micros = exchange->price_unit_micros,
                .google = exchange->price_encoding == PRICE_GOOGLE,
                .encryption_key = exchange->price_key_encryption,
                .integrity_key = exchange->price_key_integrity,
            };
            break;
        }
    }
    enum notice_price_kind kind = notice_price(raw, &rule, token->price_micros, &op->price_micros);
    op->cost_micros = notice_cost(token->cost_micros, token->price_micros, op->price_micros);
    return kind;
}

void notice_event_fill(const struct notice_op *op, enum event_kind kind, struct event_record *event)
{
    const struct notice_token *token = &op->token;
    *event = (struct event_record){
        .kind = kind,
        .auction = token->auction,
        .imp_hash = token->imp_hash,
        .exchange_ref = token->exchange_ref,
        .line_ref = token->line_ref,
        .deal_ref = token->deal_ref,
        .brand_ref = token->brand_ref,
        .creative_ref = token->creative_ref,
        .bid_s = token->bid_s,
        .flight = token->flight,
        .flags = token->flags,
        .price_micros = op->price_micros,
        .cost_micros = op->cost_micros,
    };
}

static bool is_billing(enum notice_event event, const struct notice_token *token)
{
    return event == NOTICE_BILL || (event == NOTICE_IMPRESSION && token->flags & TOKEN_VIDEO);
}

static void record(struct notice_op *op, const struct notice *notice)
{
    static const enum event_kind kinds[NOTICE_EVENT_COUNT] = {
        [NOTICE_WIN] = EVENT_WIN,     [NOTICE_BILL] = EVENT_BILL,
        [NOTICE_LOSS] = EVENT_LOSS,   [NOTICE_IMPRESSION] = EVENT_IMPRESSION,
        [NOTICE_CLICK] = EVENT_CLICK,
    };
    struct event_record event;
    if (op->desk->deps.auctioned && (notice->event == NOTICE_WIN || notice->event == NOTICE_LOSS)) {
        op->desk->deps.auctioned(op->desk->deps.event_context, &op->token,
                                 notice->event == NOTICE_WIN, notice->loss);
    }
    if (!kinds[notice->event]) {
        return;
    }
    notice_event_fill(op, kinds[notice->event], &event);
    event.reason = notice->event == NOTICE_LOSS ? notice->loss : 0;
    event.billable = is_billing(notice->event, &op->token);
    event_log_put(op->desk->deps.events, &event, op->desk->now_us);
}

/* The notice as its owner will read it; without its query when that is too long (then the bid is
 * charged). */
static void keep_text(struct notice_op *op, const struct notice *notice, struct str query)
{
    int len = -1;
    if (query.len < NOTICE_TEXT_BYTES) {
        len = snprintf(op->text, sizeof(op->text), "%s/%.*s?%.*s", notice_event_name(notice->event),
                       STR_ARG(notice->token), STR_ARG(query));
    }
    if (len < 0 || (size_t)len >= sizeof(op->text)) {
        len = snprintf(op->text, sizeof(op->text), "%s/%.*s", notice_event_name(notice->event),
                       STR_ARG(notice->token));
    }
    op->text_len = (uint32_t)len;
}

/* Money and its release are the business of the worker that committed it, while it lives. */
static void start_routed(struct notice_op *op, const struct notice *notice, struct str query)
{
    uint32_t owner = (uint32_t)(op->token.auction >> 40);
    op->step = notice->event == NOTICE_LOSS ? NOTICE_STEP_LOSS : NOTICE_STEP_BILL;
    if (owner != op->desk->options.owner && notice_owner_alive(op->desk, owner)) {
        op->step = NOTICE_STEP_FORWARD;
        keep_text(op, notice, query);
    }
    notice_op_start(op);
}

/* ticket is NULL when nobody may wait. */
static bool accept(struct notice_desk *desk, const struct notice *notice,
                   const struct notice_token *token, struct str query, const uint64_t *ticket)
{
    bool billing = is_billing(notice->event, token);
    bool routed = billing || notice->event == NOTICE_LOSS;
    bool counted = notice->event != NOTICE_BILL && notice->event != NOTICE_LOSS;
    struct notice_op *op = notice_op_borrow(desk, notice, token), *second = NULL;
    if (op && routed && counted) {
        second = notice_op_borrow(desk, notice, token);
    }
    if (!op || (routed && counted && !second)) {
        if (op) {
            notice_op_return(op);
        }
        return false;
    }
    enum notice_price_kind kind = notice_price_op(op, notice->price);
    if (billing) {
        metric_add(&notice_metrics, NOTICE_PRICES, kind, 1);
    }
    record(op, notice);
    if ((billing || notice->event == NOTICE_IMPRESSION) && token->ticket.key_count) {
        freq_confirm(desk->deps.store, &token->ticket, notice_catalog(desk)->book.retention_s);
    }
    if (second) {
        second->price_micros = op->price_micros;
        second->cost_micros = op->cost_micros;
        second->step = NOTICE_STEP_COUNT;
        notice_op_start(second);
    }
    if (ticket) {
        op->asked = true;
        op->ticket = *ticket;
    }
    if (routed) {
        start_routed(op, notice, query);
    } else {
        op->step = NOTICE_STEP_COUNT;
        notice_op_start(op);
    }
    return true;
}

/* --- answers --------------------------------------------------------------------------------- */

/* The smallest transparent GIF. */
static const char pixel[43] = {
    'G',  'I',  'F',  '8',  '9',  'a',        0x01,       0x00,       0x01, 0x00,       (char)0x80,
    0x00, 0x00, 0x00, 0x00, 0x00, (char)0xff, (char)0xff, (char)0xff, 0x21, (char)0xf9, 0x04,
    0x01, 0x00, 0x00, 0x00, 0x00, 0x2c,       0x00,       0x00,       0x00, 0x00,       0x01,
    0x00, 0x01, 0x00, 0x00, 0x02, 0x02,       0x44,       0x01,       0x00, 0x3b};

static void refuse(struct notice_reply *reply, enum notice_refusal refusal)
{
    static const int status[] = {[NOTICE_MALFORMED] = 404,
                                 [NOTICE_FORGED] = 403,
                                 [NOTICE_EXPIRED] = 410,
                                 [NOTICE_BUSY] = 503,
                                 [NOTICE_NO_LANDING] = 404};
    metric_add(&notice_metrics, NOTICE_REFUSED, refusal, 1);
    *reply = (struct notice_reply){.status = status[refusal], .headers = STR(NO_STORE)};
}

/* A landing page is the catalog's; all the same nothing may end the header line early. */
static bool redirect(struct notice_desk *desk, const struct notice_token *token,
                     struct notice_reply *reply)
{
    const struct catalog_creative *creative = notice_creative(desk, token->creative_ref);
    if (!creative || !creative->landing.len) {
        return false;
    }
    for (size_t i = 0; i < creative->landing.len; i++) {
        if ((unsigned char)creative->landing.ptr[i] <= ' ') {
            return false;
        }
    }
    int len = snprintf(desk->headers, sizeof(desk->headers), "Location: %.*s\r\n" NO_STORE,
                       STR_ARG(creative->landing));
    if (len < 0 || (size_t)len >= sizeof(desk->headers)) {
        return false;
    }
    *reply = (struct notice_reply){.status = 302, .headers = {desk->headers, (size_t)len}};
    return true;
}

static void answer_simply(enum notice_event event, struct notice_reply *reply)
{
    if (notice_event_audience(event) == TOKEN_EXCHANGE) {
        *reply = (struct notice_reply){.status = 204};
    } else {
        *reply = (struct notice_reply){.status = 200,
                                       .content_type = STR("image/gif"),
                                       .body = {pixel, sizeof(pixel)},
                                       .headers = STR(NO_STORE)};
    }
}

static bool answer(struct notice_desk *desk, const struct notice *notice,
                   const struct notice_token *token, struct notice_reply *reply)
{
    if (notice->event == NOTICE_CLICK) {
        return redirect(desk, token, reply);
    }
    answer_simply(notice->event, reply);
    return true;
}

static void give_answer(struct notice_desk *desk, uint64_t ticket, enum notice_event event)
{
    struct notice_reply reply;
    answer_simply(event, &reply);
    desk->deps.answer(desk->deps.answer_context, ticket, &reply);
}

void notice_answer_later(struct notice_desk *desk, uint64_t ticket, enum notice_event event)
{
    if (desk->due_count == desk->options.max_pending) {
        give_answer(desk, ticket, event);
        return;
    }
    desk->due[desk->due_count++] = (struct notice_due){ticket, event};
}

void notice_flush(struct notice_desk *desk)
{
    for (uint32_t i = 0; i < desk->due_count; i++) {
        give_answer(desk, desk->due[i].ticket, desk->due[i].event);
    }
    desk->due_count = 0;
}

/* Money, counts and what frees them. */
static bool must_not_be_lost(enum notice_event event)
{
    return event == NOTICE_BILL || event == NOTICE_LOSS || event == NOTICE_IMPRESSION;
}

static void handle_new(struct notice_desk *desk, const struct notice *notice,
                       const struct notice_token *token, struct str query, uint64_t ticket,
                       struct notice_reply *reply)
{
    bool later = desk->deps.answer && must_not_be_lost(notice->event);
    if (accept(desk, notice, token, query, later ? &ticket : NULL)) {
        reply->status = later ? NOTICE_LATER : reply->status;
    } else if (notice->event != NOTICE_CLICK) {
        refuse(reply, NOTICE_BUSY);
    }
}

enum status notice_handle(struct notice_desk *desk, struct str path, struct str query,
                          int64_t now_us, uint64_t ticket, struct notice_reply *reply)
{
    struct notice notice;
    struct notice_token token;
    enum notice_refusal refusal;
    if (!str_starts(path, STR("/notice/"))) {
        return STATUS_NOT_FOUND;
    }
    desk->now_us = now_us;
    if (!notice_open(desk, path, query, &notice, &token, &refusal)) {
        bool late_click = refusal == NOTICE_EXPIRED && notice.event == NOTICE_CLICK;
        if (!late_click || !redirect(desk, &token, reply)) { /* who clicks late still gets there */
            refuse(reply, refusal);
        } else {
            metric_add(&notice_metrics, NOTICE_REFUSED, refusal, 1);
        }
        return STATUS_OK;
    }
    if (!answer(desk, &notice, &token, reply)) {
        refuse(reply, NOTICE_NO_LANDING);
        return STATUS_OK;
    }
    metric_add(&notice_metrics, NOTICE_RECEIVED, notice.event, 1);
    if (token.flags & TOKEN_TEST) {
        METRIC_INC(notice_metrics, NOTICE_TEST);
    } else if (notice_recent(desk, &token, notice.event)) {
        metric_add(&notice_metrics, NOTICE_OUTCOMES, NOTICE_DUPLICATE, 1);
    } else {
        handle_new(desk, &notice, &token, query, ticket, reply);
    }
    return STATUS_OK;
}

void notice_tick(struct notice_desk *desk, int64_t mono_us, int64_t now_us)
{
    desk->mono_us = mono_us;
    desk->now_us = now_us;
    notice_retry(desk);
    notice_inbox_tick(desk);
    metric_set(&notice_metrics, NOTICE_PENDING, 0, desk->pending);
}
