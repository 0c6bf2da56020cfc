/* Adopting a catalog: every desk of the worker learns what it configures. */
#include "bidder/bidding_internal.h"

#include <stdlib.h>

#include "bidder/auction_metrics.h"
#include "bidder/base/bug.h"
#include "bidder/base/log.h"

void bidding_free_exchanges(struct bidding *bidding)
{
    for (uint32_t i = 0; i < bidding->exchange_count; i++) {
        free(bidding->exchanges[i].headers);
    }
    free(bidding->exchanges);
    bidding->exchanges = NULL;
    bidding->exchange_count = 0;
}

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
                                                  .impressions = budget->impressions,
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
    bidding_free_exchanges(bidding);
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
