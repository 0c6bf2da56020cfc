/* The composition of a worker: everything an auction or a notice needs, set up bottom-up, torn down
 * top-down.
 *
 *   redis < freq_store, budget_ledger, return_quota, swap_book, report
 *         < event_log < brand_desk, swap_desk, dmp_desk < auction_desk, notice_desk             */
#include "bidder/bidding_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GZIP_LEVEL         1
#define GZIP_SLACK_BYTES   8192
#define DEFLATED_MAX_BYTES ((size_t)4 << 20)
#define TICK_100MS_US      100000
#define SYNC_US            80000 /* leases: each tick, though some come a little early */
#define SETTLE_UP_US       1000000
#define SETTLE_UP_TICK_US  5000
#define PACING_PAGE_BYTES  ((size_t)64 << 20)

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
    } else {
        enum status status =
            auction_explain(bidding->auctions, exchange, call->body, on_explained, call, &error);
        if (status) {
            buf_put_char(&error, '\n');
            admin_reply(call, status == STATUS_INVALID ? 400 : 503, "text/plain; charset=utf-8",
                        buf_str(&error));
        }
    }
    buf_deinit(&error);
}

static const struct admin_endpoint explain_endpoint = {
    .path = "/explain",
    .methods = HTTP_POST,
    .right = ADMIN_GUARDED,
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
    .right = ADMIN_GUARDED,
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
                                             .timeout_us = config->redis_timeout_us,
                                             .notice_s = config->notice_ttl_us / SECOND_US};
    const struct budget_options budgets = {.owner = bidding->owner,
                                           .max_flights = (uint32_t)config->max_open_bids,
                                           .win_timeout_us = config->win_timeout_us,
                                           .sync_interval_us = SYNC_US};
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

/* Beside the event logs, which are there for the same reason. */
static void resume_swaps(struct bidding *bidding, const struct config *config)
{
    char path[4096];
    int len = snprintf(path, sizeof(path), "%s/swaps-%u.state", config->event_log, bidding->owner);
    bidding->swap_state = len < (int)sizeof(path) ? swap_state_open(path) : NULL;
    if (bidding->swap_state) {
        swap_book_resume(bidding->swap_book, bidding->swap_state);
    } else {
        log_warn("%s: cannot be used (%s); swap rights are lost when this worker is killed", path,
                 strerror(errno));
    }
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
        resume_swaps(bidding, config);
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
        .loop = &bidding->worker->loop,
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
        .answer = bidding_answer_notice,
        .answer_context = bidding,
    };
    const struct notice_options notices = {.owner = bidding->owner,
                                           .hold_s = config->reserve_seconds};
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

/* Before the end: notices that still wait are applied, leases go back to Redis and what was spent
 * is told. What does not get through in time is put right from the event log by the next life. */
static void settle_up(struct bidding *bidding)
{
    if (!bidding->catalog || !bidding->notices || !redis_is_up(bidding->redis)) {
        return;
    }
    int64_t end_us = clock_mono_us() + SETTLE_UP_US;
    budget_ledger_drain(bidding->ledger);
    swap_book_drain(bidding->swap_book);
    while (redis_is_up(bidding->redis) && clock_mono_us() < end_us &&
           (notice_desk_pending(bidding->notices) || !budget_ledger_is_drained(bidding->ledger) ||
            !swap_book_is_drained(bidding->swap_book))) {
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
    swap_state_close(&bidding->swap_state);
    creative_counts_destroy(&bidding->counts);
    bidding_free_exchanges(bidding);
    gzip_destroy(&bidding->gzip);
    buf_deinit(&bidding->inflated);
    buf_deinit(&bidding->deflated);
    if (bidding->catalog) {
        catalog_release(&bidding->catalog);
    }
    free(bidding);
    *out = NULL;
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
