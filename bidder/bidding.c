/* The composition of a worker: everything an auction or a notice needs, set up bottom-up, torn down
 * top-down.
 *
 *   redis < freq_store, budget_ledger, return_quota, swap_book, report
 *         < event_log < brand_desk, swap_desk, dmp_desk < auction_desk, notice_desk             */
#include "bidder/bidding.h"

#include <stdlib.h>

#include "bidder/admin.h"
#include "bidder/admin_person.h"
#include "bidder/auction.h"
#include "bidder/auction_metrics.h"
#include "bidder/base/bug.h"
#include "bidder/base/gzip.h"
#include "bidder/base/log.h"
#include "bidder/bidding_metrics.h"
#include "bidder/brand_desk.h"
#include "bidder/dmp.h"
#include "bidder/event_log.h"
#include "bidder/event_sum.h"
#include "bidder/http_text.h"
#include "bidder/notice_desk.h"
#include "bidder/predict.h"
#include "bidder/pacing_page.h"
#include "bidder/report.h"
#include "bidder/swap_desk.h"
#include "bidder/worker.h"
#include "frequency/freq_store.h"
#include "pacing/budget.h"
#include "pacing/pacer.h"
#include "pacing/return_quota.h"

#define TICK_100MS_US     100000
#define SETTLE_UP_US      1000000
#define SETTLE_UP_TICK_US 5000
#define MAX_ERROR_BYTES   4096
#define PACING_PAGE_BYTES ((size_t)64 << 20)

#define GZIP_LEVEL         1
#define GZIP_LEAST_BYTES   256
#define GZIP_SLACK_BYTES   8192
#define DEFLATED_MAX_BYTES ((size_t)4 << 20)

/* What an exchange needs beside its catalog entry; one per exchange of the current catalog. */
struct exchange_state {
    char *headers; /* owned; lines sent with every answer */
    size_t headers_len;
    int64_t tokens_micros; /* max_qps: requests that may still come, in millionths */
};

struct bidding {
    struct worker *worker; /* borrowed, outlives it */
    uint32_t owner;
    struct redis *redis;
    struct freq_store *store;
    struct budget_ledger *ledger;
    struct pacer *pacer;
    struct return_quota *quota;
    bool reconciled; /* the ledger was told what former runs spent */
    struct swap_book *swap_book;
    struct event_log *events;
    struct report *report;
    struct creative_counts *counts;
    struct brand_desk *brands;
    struct swap_desk *swaps;
    struct dmp_desk *dmps;
    struct auction_desk *auctions;
    struct notice_desk *notices;
    struct catalog *catalog;     /* one reference */
    struct predict_model *model; /* NULL: none */
    struct exchange_state *exchanges;
    uint32_t exchange_count;
    struct loop_timer tick;
    struct loop_hook turn, turn_end; /* before and after the commands for Redis are written */
    int64_t refilled_us;
    struct bidding_exported exported;
    struct gzip *gzip;
    struct buf inflated, deflated; /* of the request or answer at hand; warm */
};

/* --- admin ---------------------------------------------------------------------------------- */

static void on_explained(void *owner, struct str text)
{
    admin_reply(owner, 200, "text/plain; charset=utf-8", text);
}

static void handle_explain(void *context, struct admin_call *call)
{
    struct worker *worker = context;
    struct bidding *bidding = worker->bidding;
    struct buf error;
    struct str exchange;
    buf_init(&error, MAX_ERROR_BYTES);
    if (!bidding->catalog) {
        admin_reply_text(call, 503, "no catalog is loaded\n");
    } else if (!http_query_get(call->query, STR("exchange"), &exchange)) {
        admin_reply_text(call, 400, "say which exchange: /explain?exchange=ID\n");
    } else if (auction_explain(bidding->auctions, exchange, call->body, on_explained, call,
                               &error) != STATUS_OK) {
        buf_put_char(&error, '\n');
        admin_reply(call, 400, "text/plain; charset=utf-8", buf_str(&error));
    }
    buf_deinit(&error);
}

static const struct admin_endpoint explain_endpoint = {
    .path = "/explain",
    .methods = HTTP_POST,
    .where = ADMIN_ANY_WORKER,
    .handle = handle_explain,
    .help = "Why each line item would or would not bid on the request in the body (?exchange=ID).",
};

static void handle_pacing(void *context, struct admin_call *call)
{
    struct worker *worker = context;
    struct bidding *bidding = worker->bidding;
    struct str format;
    struct buf page;
    buf_init(&page, PACING_PAGE_BYTES);
    if (!bidding->catalog) {
        admin_reply_text(call, 503, "no catalog is loaded\n");
    } else {
        bool json =
            http_query_get(call->query, STR("format"), &format) && str_eq(format, STR("json"));
        pacing_page_put(&page, bidding->catalog, bidding->ledger, bidding->pacer, json);
        admin_reply(call, 200, json ? "application/x-ndjson" : "text/plain; charset=utf-8",
                    buf_str(&page));
    }
    buf_deinit(&page);
}

static const struct admin_endpoint pacing_endpoint = {
    .path = "/pacing",
    .methods = HTTP_GET,
    .where = ADMIN_ANY_WORKER,
    .handle = handle_pacing,
    .help = "Planned and spent of every budget, throttle, forecast, why (?format=json).",
};

void bidding_register(void)
{
    auction_metrics_register();
    metric_register(&notice_metrics);
    metric_register(&event_log_metrics);
    metric_register(&report_metrics);
    metric_register(&dmp_metrics);
    metric_register(&bidding_metrics);
    admin_register(&explain_endpoint);
    admin_person_register();
    admin_register(&pacing_endpoint);
}

/* --- life ----------------------------------------------------------------------------------- */

static const struct catalog *catalog_of_now(void *context)
{
    struct bidding *bidding = context;
    return bidding->catalog;
}

/* A DMP's answer, in time or late: keep it with the person for the DMP's cache time. */
static void on_learned(void *owner, const struct person_key *key, uint32_t dmp_ref,
                       const uint32_t *audience_refs, uint32_t count, uint32_t in)
{
    struct bidding *bidding = owner;
    int64_t now_s = clock_wall_us() / SECOND_US;
    for (uint32_t i = 0; bidding->catalog && i < bidding->catalog->dmp_count; i++) {
        const struct catalog_dmp *dmp = &bidding->catalog->dmps[i];
        if (cap_ref32(dmp->id) == dmp_ref && dmp->cache_s > 0) {
            freq_learn(bidding->store, key, dmp_ref, audience_refs, count, in, now_s,
                       now_s + dmp->cache_s);
        }
    }
}

/* A bid did not become an impression: the swap partner gets it back, and the rotation forgets it.
 */
static void on_lost(void *context, const struct notice_token *token)
{
    struct bidding *bidding = context;
    const struct catalog *catalog = bidding->catalog;
    if (!catalog || !token->deal_ref) {
        return;
    }
    if (token->flags & TOKEN_SWAPPED) {
        swap_desk_lost(bidding->swaps, catalog, token->deal_ref, token->brand_ref,
                       token->cost_micros);
    } else {
        brand_desk_lost(bidding->brands, catalog, token->deal_ref, token->brand_ref);
    }
}

/* OpenRTB loss codes: 102 = lost to a higher bid. */
static void on_auctioned(void *context, const struct notice_token *token, bool won, int32_t loss)
{
    struct bidding *bidding = context;
    if (won || loss == 102) {
        auction_desk_learn_price(bidding->auctions, token->line_ref, won);
    }
}

static void on_seen(void *context, const struct notice_token *token, bool click)
{
    struct bidding *bidding = context;
    creative_counts_note(bidding->counts, token->line_ref, token->creative_ref, click);
}

static bool create_stores(struct bidding *bidding, const struct config *config)
{
    struct loop *loop = &bidding->worker->loop;
    const struct redis_options redis = {
        .address = config->redis,
        .connect_timeout_us = config->redis_connect_timeout_us,
        .command_timeout_us = config->redis_timeout_us,
        .max_in_flight = (uint32_t)config->redis_in_flight,
    };
    bidding->redis = redis_create(loop, &redis);
    if (!bidding->redis) {
        log_error("redis = %s: not a usable address, or out of memory", config->redis);
        return false;
    }
    const struct freq_store_options store = {.max_reads = (uint32_t)config->max_auctions,
                                             .timeout_us = config->redis_timeout_us};
    const struct budget_options budgets = {.owner = bidding->owner,
                                           .max_flights = (uint32_t)config->max_open_bids,
                                           .win_timeout_us = config->win_timeout_us,
                                           .sync_interval_us = TICK_100MS_US};
    bidding->store = freq_store_create(bidding->redis, &store);
    bidding->ledger = budget_ledger_create(bidding->redis, &budgets);
    const struct return_quota_options returns = {.owner = bidding->owner,
                                                 .workers = (uint32_t)config->workers};
    bidding->quota = return_quota_create(bidding->redis, &returns);
    bidding->pacer =
        bidding->ledger ? pacer_create(bidding->redis, bidding->ledger, bidding->owner) : NULL;
    bidding->swap_book = swap_book_create(bidding->redis, bidding->owner, clock_wall_us());
    bidding->counts = creative_counts_create(bidding->redis);
    bidding->report = report_create(bidding->redis, catalog_of_now, bidding);
    return bidding->store && bidding->ledger && bidding->pacer && bidding->quota &&
           bidding->swap_book && bidding->counts && bidding->report;
}

static enum event_fsync fsync_of(const char *text)
{
    return strcmp(text, "off") == 0     ? EVENT_FSYNC_OFF
           : strcmp(text, "batch") == 0 ? EVENT_FSYNC_BATCH
                                        : EVENT_FSYNC_SECOND;
}

static void on_notice_answer(void *context, uint64_t ticket, const struct notice_reply *reply)
{
    struct bidding *bidding = context;
    const struct http_response response = {
        .status = reply->status,
        .content_type = reply->content_type,
        .headers = reply->headers,
        .body = reply->body,
    };
    server_respond(bidding->worker->server, ticket, &response);
}

static bool create_desks(struct bidding *bidding, const struct config *config)
{
    if (config->event_log[0]) {
        const struct event_log_options events = {.dir = config->event_log,
                                                 .owner = bidding->owner,
                                                 .fsync = fsync_of(config->event_fsync)};
        bidding->events = event_log_create(&events, clock_wall_us());
        if (!bidding->events) {
            return false;
        }
    }
    bidding->brands = brand_desk_create();
    if (bidding->brands) {
        brand_desk_set_counts(bidding->brands, bidding->counts);
    }
    bidding->swaps = swap_desk_create(bidding->swap_book);
    bidding->dmps = dmp_desk_create(&bidding->worker->loop, on_learned, bidding);
    const struct auction_options auctions = {
        .owner = bidding->owner,
        .max_auctions = (uint32_t)config->max_auctions,
        .reserve_s = config->reserve_seconds,
        .notice_ttl_s = config->notice_ttl_us / SECOND_US,
        .encode_us = config->encode_us,
        .default_tmax_us = config->deadline_us,
        .public_url = str_from(config->public_url),
        .secret = str_from(config->secret),
    };
    const struct auction_desks desks = {
        .store = bidding->store,
        .ledger = bidding->ledger,
        .quota = bidding->quota,
        .pacer = bidding->pacer,
        .brands = bidding->brands,
        .swaps = bidding->swaps,
        .dmps = bidding->dmps,
        .events = bidding->events,
        .report = bidding->report,
    };
    bidding->auctions = auction_desk_create(&auctions, &desks);
    if (!bidding->brands || !bidding->swaps || !bidding->dmps || !bidding->auctions) {
        return false;
    }
    const struct notice_deps deps = {
        .keys = auction_desk_token_keys(bidding->auctions),
        .redis = bidding->redis,
        .store = bidding->store,
        .ledger = bidding->ledger,
        .events = bidding->events,
        .report = bidding->report,
        .catalog = catalog_of_now,
        .catalog_context = bidding,
        .lost = on_lost,
        .auctioned = on_auctioned,
        .seen = on_seen,
        .event_context = bidding,
        .answer = on_notice_answer,
        .answer_context = bidding,
    };
    const struct notice_options notices = {.owner = bidding->owner};
    bidding->notices = notice_desk_create(&deps, &notices);
    return bidding->notices != NULL;
}

static void refill_tokens(struct bidding *bidding, int64_t now_us)
{
    int64_t workers = bidding->worker->config->workers;
    for (uint32_t i = 0; i < bidding->exchange_count; i++) {
        int64_t qps = bidding->catalog->exchanges[i].max_qps;
        struct exchange_state *state = &bidding->exchanges[i];
        state->tokens_micros += qps * (now_us - bidding->refilled_us) / workers;
        int64_t most = qps * SECOND_US / workers / 5; /* bursts of 200 ms */
        most = most > SECOND_US ? most : SECOND_US;
        state->tokens_micros = state->tokens_micros < most ? state->tokens_micros : most;
    }
    bidding->refilled_us = now_us;
}

static void on_tick(void *context)
{
    struct bidding *bidding = context;
    int64_t now_us = clock_mono_us(), wall_us = clock_wall_us();
    loop_timer_start(&bidding->tick, TICK_100MS_US);
    if (!bidding->catalog) {
        return;
    }
    budget_ledger_stop(bidding->ledger, bidding->events && !event_log_ok(bidding->events));
    budget_tick(bidding->ledger, now_us, wall_us / SECOND_US);
    return_quota_tick(bidding->quota, now_us, wall_us / SECOND_US);
    pacer_tick(bidding->pacer, now_us, wall_us / SECOND_US);
    swap_tick(bidding->swap_book, now_us, wall_us / SECOND_US);
    notice_tick(bidding->notices, now_us, wall_us);
    report_tick(bidding->report, now_us);
    creative_counts_tick(bidding->counts, now_us);
    if (bidding->events) {
        event_log_tick(bidding->events, wall_us);
    }
    refill_tokens(bidding, now_us);
    metric_set(&bidding_metrics, BIDDING_READY, 0,
               redis_is_up(bidding->redis) && budget_ledger_is_ready(bidding->ledger));
}

static void on_turn(void *context)
{
    struct bidding *bidding = context;
    if (event_log_is_urgent(bidding->events)) {
        event_log_tick(bidding->events, clock_wall_us());
    }
}

static void on_turn_end(void *context)
{
    struct bidding *bidding = context;
    notice_flush(bidding->notices);
}

struct bidding *bidding_create(struct worker *worker)
{
    struct bidding *bidding = calloc(1, sizeof(*bidding));
    if (!bidding) {
        return NULL;
    }
    bidding->worker = worker;
    bidding->owner = (uint32_t)worker->config->machine << 8 | (worker->index + 1);
    bidding->refilled_us = clock_mono_us();
    loop_timer_init(&bidding->tick, &worker->loop, on_tick, bidding);
    loop_hook_add(&worker->loop, &bidding->turn, on_turn, bidding);
    buf_init(&bidding->inflated, (size_t)worker->config->max_body_bytes + GZIP_SLACK_BYTES);
    buf_init(&bidding->deflated, DEFLATED_MAX_BYTES);
    bidding->gzip = gzip_create(GZIP_LEVEL);
    if (!bidding->gzip || !create_stores(bidding, worker->config) ||
        !create_desks(bidding, worker->config)) {
        log_error("the worker cannot be set up: out of memory?");
        bidding_destroy(&bidding);
        return NULL;
    }
    loop_hook_add(&worker->loop, &bidding->turn_end, on_turn_end, bidding);
    loop_timer_start(&bidding->tick, TICK_100MS_US);
    return bidding;
}

static void free_exchanges(struct bidding *bidding)
{
    for (uint32_t i = 0; i < bidding->exchange_count; i++) {
        free(bidding->exchanges[i].headers);
    }
    free(bidding->exchanges);
    bidding->exchanges = NULL;
    bidding->exchange_count = 0;
}

/* Before the end: notices that still wait are applied, leases go back to Redis and what was spent
 * is told. What does not get through in time is put right from the event log by the next life. */
static void settle_up(struct bidding *bidding)
{
    if (!bidding->catalog || !bidding->notices || !redis_is_up(bidding->redis)) {
        return;
    }
    int64_t end_us = clock_mono_us() + SETTLE_UP_US;
    budget_ledger_drain(bidding->ledger);
    while (redis_is_up(bidding->redis) && clock_mono_us() < end_us &&
           (notice_desk_pending(bidding->notices) || !budget_ledger_is_drained(bidding->ledger))) {
        loop_timer_start(&bidding->tick, SETTLE_UP_TICK_US);
        loop_turn(&bidding->worker->loop, true);
    }
}

void bidding_destroy(struct bidding **out)
{
    struct bidding *bidding = *out;
    if (!bidding) {
        return;
    }
    settle_up(bidding);
    loop_timer_stop(&bidding->tick);
    loop_hook_remove(&bidding->worker->loop, &bidding->turn);
    loop_hook_remove(&bidding->worker->loop, &bidding->turn_end);
    notice_desk_destroy(&bidding->notices);
    auction_desk_destroy(&bidding->auctions);
    predict_close(&bidding->model);
    dmp_desk_destroy(&bidding->dmps);
    swap_desk_destroy(&bidding->swaps);
    brand_desk_destroy(&bidding->brands);
    event_log_destroy(&bidding->events);
    if (bidding->report) {
        report_flush(bidding->report);
    }
    report_destroy(&bidding->report);
    pacer_destroy(&bidding->pacer);
    return_quota_destroy(&bidding->quota);
    budget_ledger_destroy(&bidding->ledger);
    freq_store_destroy(&bidding->store);
    redis_destroy(&bidding->redis);
    /* After Redis, whose end calls back what is under way; the others above outlive their calls. */
    swap_book_destroy(&bidding->swap_book);
    creative_counts_destroy(&bidding->counts);
    free_exchanges(bidding);
    gzip_destroy(&bidding->gzip);
    buf_deinit(&bidding->inflated);
    buf_deinit(&bidding->deflated);
    if (bidding->catalog) {
        catalog_release(&bidding->catalog);
    }
    free(bidding);
    *out = NULL;
}

/* --- catalog -------------------------------------------------------------------------------- */

void bidding_adopt_catalog(struct catalog *catalog)
{
    auction_metrics_adopt(catalog);
}

static bool configure_budgets(struct bidding *bidding, const struct catalog *catalog, int64_t now_s)
{
    struct budget_plan *plans = calloc(catalog->budget_count + 1, sizeof(*plans));
    if (!plans) {
        return false;
    }
    for (uint32_t i = 0; i < catalog->budget_count; i++) {
        const struct catalog_budget *budget = &catalog->budgets[i];
        plans[i] = (struct budget_plan){.ref = budget->ref,
                                        .name = budget->name,
                                        .total = budget->total,
                                        .daily = budget->daily,
                                        .impressions = budget->impressions,
                                        .start_s = budget->start_s,
                                        .end_s = budget->end_s};
    }
    bool configured = budget_ledger_configure(bidding->ledger, plans, catalog->budget_count,
                                              &catalog->tz, now_s) == STATUS_OK;
    free(plans);
    return configured;
}

static bool configure_pacer(struct bidding *bidding, const struct catalog *catalog)
{
    _Static_assert((int)PACING_EVEN == PLAN_EVEN && (int)PACING_AHEAD == PLAN_AHEAD &&
                       (int)PACING_ASAP == PLAN_ASAP && (int)PACING_HOURLY == PLAN_HOURLY,
                   "one order of modes");
    struct pacer_plan *plans = calloc(catalog->budget_count + 1, sizeof(*plans));
    if (!plans) {
        return false;
    }
    for (uint32_t i = 0; i < catalog->budget_count; i++) {
        const struct catalog_budget *budget = &catalog->budgets[i];
        plans[i] = (struct pacer_plan){.ref = budget->ref,
                                       .name = budget->name,
                                       .budget = {.mode = (enum plan_mode)budget->pacing,
                                                  .total = budget->total,
                                                  .daily = budget->daily,
                                                  .start_s = budget->start_s,
                                                  .end_s = budget->end_s}};
        memcpy(plans[i].budget.hourly_share, budget->hourly_share,
               sizeof(plans[i].budget.hourly_share));
    }
    bool configured =
        pacer_configure(bidding->pacer, plans, catalog->budget_count, &catalog->tz) == STATUS_OK;
    free(plans);
    return configured;
}

/* The names of deals for the quota: "exchange/deal". */
static bool configure_quota(struct bidding *bidding, const struct catalog *catalog, int64_t now_s)
{
    struct return_deal_plan *plans = calloc(catalog->deal_count + 1, sizeof(*plans));
    struct buf names;
    buf_init(&names, (size_t)64 << 20);
    bool good = plans != NULL;
    for (uint32_t i = 0; good && i < catalog->deal_count; i++) {
        const struct catalog_deal *deal = &catalog->deals[i];
        size_t before = names.len;
        buf_put_str(&names, catalog->exchanges[deal->exchange].id);
        buf_put_char(&names, '/');
        buf_put_str(&names, deal->id);
        plans[i] = (struct return_deal_plan){
            .name = {.len = names.len - before},
            .push_ratio_micros = deal->buying == BUYING_PDB ? deal->push_ratio_micros : 0,
            .impressions_per_day = deal->impressions_per_day};
    }
    const char *at = names.data; /* the buffer does not move any more */
    for (uint32_t i = 0; good && i < catalog->deal_count; i++) {
        plans[i].name.ptr = at;
        at += plans[i].name.len;
    }
    good = good && !buf_failed(&names) &&
           return_quota_configure(bidding->quota, plans, catalog->deal_count, &catalog->tz,
                                  now_s) == STATUS_OK;
    buf_deinit(&names);
    free(plans);
    return good;
}

static void on_former_sum(void *context, const struct event_sum *sum)
{
    struct bidding *bidding = context;
    budget_reconcile(bidding->ledger, sum->ref, (int32_t)sum->date, sum->used);
}

/* What former runs of this worker spent without telling Redis, and what they only held. Without
 * event logs nobody knows: what they held stays spent. */
static void reconcile(struct bidding *bidding)
{
    const struct config *config = bidding->worker->config;
    struct event_sums *sums = bidding->events ? event_sums_create() : NULL;
    bidding->reconciled = true;
    if (!sums) {
        return;
    }
    if (event_sums_add_folder(sums, config->event_log, bidding->owner) == STATUS_OK) {
        event_sums_each(sums, on_former_sum, bidding);
        budget_reconcile_rest(bidding->ledger);
    } else {
        log_warn("%s: event logs could not be read; leases of former runs stay spent",
                 config->event_log);
    }
    event_sums_destroy(&sums);
}

static bool make_headers(struct exchange_state *state, const struct catalog_exchange *exchange)
{
    struct buf lines;
    buf_init(&lines, 65536);
    for (uint32_t i = 0; i < exchange->response_headers.count; i++) {
        buf_put_str(&lines, exchange->response_headers.items[i]);
        BUF_PUT_LITERAL(&lines, "\r\n");
    }
    if (exchange->openrtb_version_header) {
        BUF_PUT_LITERAL(&lines, "x-openrtb-version: 2.6\r\n");
    }
    state->headers = lines.data; /* the buffer's memory changes its owner */
    state->headers_len = lines.len;
    return !buf_failed(&lines);
}

static bool configure_exchanges(struct bidding *bidding, const struct catalog *catalog)
{
    free_exchanges(bidding);
    bidding->exchanges = calloc(catalog->exchange_count + 1, sizeof(*bidding->exchanges));
    bool good = bidding->exchanges != NULL;
    for (uint32_t i = 0; good && i < catalog->exchange_count; i++) {
        good = make_headers(&bidding->exchanges[i], &catalog->exchanges[i]);
        bidding->exchanges[i].tokens_micros = SECOND_US;
        bidding->exchange_count = i + 1;
    }
    return good;
}

/* The model file of now; one that cannot be used leaves the last one in place. */
static void refresh_model(struct bidding *bidding)
{
    const char *path = bidding->worker->config->model;
    struct predict_model *next = NULL;
    struct buf error;
    if (!path[0]) {
        return;
    }
    buf_init(&error, MAX_ERROR_BYTES);
    if (predict_open(path, &next, &error) == STATUS_OK) {
        auction_desk_set_model(bidding->auctions, next);
        predict_close(&bidding->model);
        bidding->model = next;
    } else {
        log_error("model: %.*s", STR_ARG(buf_str(&error)));
    }
    buf_deinit(&error);
}

void bidding_set_catalog(struct bidding *bidding, struct catalog *catalog)
{
    int64_t now_s = clock_wall_us() / SECOND_US;
    struct catalog *old = bidding->catalog;
    /* Half of a catalog must not be served: without memory the worker ends and is restarted. */
    BUG_ON(!configure_exchanges(bidding, catalog) || !configure_budgets(bidding, catalog, now_s) ||
           !configure_pacer(bidding, catalog) || !configure_quota(bidding, catalog, now_s) ||
           !brand_desk_configure(bidding->brands, catalog) ||
           !creative_counts_configure(bidding->counts, catalog) ||
           !swap_desk_configure(bidding->swaps, catalog, now_s));
    bidding->catalog = catalog;
    auction_desk_set_catalog(bidding->auctions, catalog);
    refresh_model(bidding);
    /* Last: auctions that wait for a DMP which is gone go on at once, with the new catalog. */
    BUG_ON(!dmp_desk_configure(bidding->dmps, catalog));
    if (!bidding->reconciled) {
        reconcile(bidding);
    }
    if (old) {
        catalog_release(&old);
    }
}

struct redis *bidding_redis(struct bidding *bidding)
{
    return bidding->redis;
}

const struct catalog *bidding_catalog(const struct bidding *bidding)
{
    return bidding->catalog;
}

/* --- bid requests --------------------------------------------------------------------------- */

static bool wire_format_of(struct str content_type, enum wire_format *format)
{
    static const struct {
        struct str type;
        enum wire_format format;
    } types[] = {
        {{"application/json", 16}, WIRE_JSON},
        {{"application/x-protobuf", 22}, WIRE_PROTOBUF},
        {{"application/octet-stream", 24}, WIRE_PROTOBUF},
        {{"application/protobuf", 20}, WIRE_PROTOBUF},
        {{"text/plain", 10}, WIRE_JSON},
        {{"application/x-www-form-urlencoded", 33}, WIRE_JSON}, /* curl -d */
    };
    *format = WIRE_JSON;
    for (size_t i = 0; content_type.len && i < COUNT_OF(types); i++) {
        if (http_media_type_is(content_type, types[i].type)) {
            *format = types[i].format;
            return true;
        }
    }
    return content_type.len == 0;
}

/* An answer is compressed when the exchange has it in its profile, the request accepts it, and it
 * is long enough to gain. */
static void compress_answer(struct bidding *bidding, uint64_t ticket, bool agreed,
                            struct http_response *response)
{
    const struct http_request *http = server_request_of(bidding->worker->server, ticket);
    if (!agreed || response->body.len < GZIP_LEAST_BYTES || !http ||
        !http_accepts_gzip(http->fields[HTTP_ACCEPT_ENCODING])) {
        return;
    }
    buf_reset(&bidding->deflated);
    if (gzip_deflate(bidding->gzip, response->body, &bidding->deflated) == STATUS_OK) {
        response->content_encoding = STR("gzip");
        response->body = buf_str(&bidding->deflated);
    }
}

static bool on_answer(void *owner, uint64_t ticket, const struct auction_answer *answer)
{
    struct bidding *bidding = owner;
    struct str headers = STR_NONE;
    /* An auction that began before a reload may belong to an exchange that has moved or is gone. */
    uint32_t exchange = str_table_get(&bidding->catalog->exchange_by_id, answer->exchange->id);
    if (exchange != STR_TABLE_NONE) {
        const struct exchange_state *state = &bidding->exchanges[exchange];
        headers = (struct str){state->headers, state->headers_len};
    }
    struct http_response response = {
        .status = answer->status,
        .content_type = answer->content_type,
        .headers = headers,
        .body = answer->body,
    };
    compress_answer(bidding, ticket, answer->exchange->gzip, &response);
    return server_respond(bidding->worker->server, ticket, &response);
}

static bool over_rate(struct bidding *bidding, uint32_t exchange)
{
    struct exchange_state *state = &bidding->exchanges[exchange];
    if (!bidding->catalog->exchanges[exchange].max_qps) {
        return false;
    }
    if (state->tokens_micros < SECOND_US) {
        return true;
    }
    state->tokens_micros -= SECOND_US;
    return false;
}

/* Undoes Content-Encoding. 0, or the status to answer with. */
static int decode_body(struct bidding *bidding, const struct http_request *http, bool agreed,
                       struct str *body)
{
    struct str encoding = http->fields[HTTP_CONTENT_ENCODING];
    *body = http->body;
    if (encoding.len == 0 || str_eq_nocase(encoding, STR("identity"))) {
        return 0;
    }
    if (!agreed || !str_eq_nocase(encoding, STR("gzip"))) {
        return 415;
    }
    buf_reset(&bidding->inflated);
    enum status status =
        gzip_inflate(bidding->gzip, http->body, (size_t)bidding->worker->config->max_body_bytes,
                     &bidding->inflated);
    *body = buf_str(&bidding->inflated);
    return status == STATUS_OK ? 0 : status == STATUS_LIMIT ? 413 : 400;
}

static void start_auction(struct bidding *bidding, const struct server_request *request,
                          struct auction_call *call)
{
    const struct http_request *http = request->http;
    bool agreed = bidding->catalog->exchanges[call->exchange].gzip;
    int refused = decode_body(bidding, http, agreed, &call->body);
    if (refused) {
        server_respond_status(bidding->worker->server, request->ticket, refused);
        return;
    }
    call->lent = call->body.ptr != http->body.ptr; /* the next request inflates to the same place */
    auction_start(bidding->auctions, call);
}

void bidding_exchange(struct bidding *bidding, const struct server_request *request, struct str id)
{
    struct server *server = bidding->worker->server;
    struct auction_call call = {.received_us = request->received_us,
                                .answer = on_answer,
                                .owner = bidding,
                                .handle = request->ticket};
    if (!bidding->catalog) {
        server_respond_status(server, request->ticket, 503);
        return;
    }
    call.exchange = str_table_get(&bidding->catalog->exchange_by_id, id);
    if (call.exchange == STR_TABLE_NONE) {
        server_respond_status(server, request->ticket, 404);
    } else if (!wire_format_of(request->http->fields[HTTP_CONTENT_TYPE], &call.format)) {
        server_respond_status(server, request->ticket, 415);
    } else if (request->lag_us > bidding->worker->config->shed_lag_us) {
        auction_shed(bidding->auctions, &call, NO_BID_OVERLOADED);
    } else if (over_rate(bidding, call.exchange)) {
        auction_shed(bidding->auctions, &call, NO_BID_RATE_LIMITED);
    } else {
        start_auction(bidding, request, &call);
    }
}

void bidding_ready(struct bidding *bidding, const struct server_request *request, struct str id)
{
    struct server *server = bidding->worker->server;
    if (!bidding->catalog) {
        server_respond_status(server, request->ticket, 503);
    } else if (str_table_get(&bidding->catalog->exchange_by_id, id) == STR_TABLE_NONE) {
        server_respond_status(server, request->ticket, 404);
    } else {
        server_respond(server, request->ticket,
                       &(struct http_response){
                           .status = 200, .content_type = STR("text/plain"), .body = STR("1")});
    }
}

/* --- notices -------------------------------------------------------------------------------- */

void bidding_notice(struct bidding *bidding, const struct server_request *request)
{
    struct notice_reply reply;
    const struct http_request *http = request->http;
    struct server *server = bidding->worker->server;
    if (!bidding->catalog) {
        server_respond_status(server, request->ticket, 503);
        return;
    }
    if (notice_handle(bidding->notices, http->path, http->query, clock_wall_us(), request->ticket,
                      &reply) != STATUS_OK) {
        server_respond_status(server, request->ticket, 404);
    } else if (reply.status != NOTICE_LATER) {
        on_notice_answer(bidding, request->ticket, &reply);
    }
}

/* --- the second ----------------------------------------------------------------------------- */

void bidding_tick(struct bidding *bidding)
{
    bidding_export(&bidding->exported, freq_store_stats(bidding->store),
                   redis_stats(bidding->redis), budget_stats(bidding->ledger));
}

bool bidding_redis_is_up(const struct bidding *bidding)
{
    return redis_is_up(bidding->redis);
}

uint32_t bidding_running(const struct bidding *bidding)
{
    return auction_desk_running(bidding->auctions);
}
