/* Everything that is written down about an auction: metrics, event records, report counters. The
 * walk itself (auction.c) only says what happened. */
#include "bidder/auction_internal.h"

#include "bidder/auction_metrics.h"
#include "bidder/base/bug.h"
#include "bidder/base/clock.h"
#include "bidder/event_log.h"
#include "bidder/report.h"

METRIC_DEFINE(auction, AUCTION_METRICS);

struct metric_matrix auction_lines_matrix = {
    .name = "jointcap_line_decisions_total",
    .row_label = "line_item",
    .column_label = "reason",
    .help = "Line items that matched an impression: bids (reason none) and why not",
    .column_text = no_bid_reason_label,
    .rows = CATALOG_MAX_LINES,
    .columns = NO_BID_REASON_COUNT,
};
struct metric_matrix auction_exchanges_matrix = {
    .name = "jointcap_exchange_answers_total",
    .row_label = "exchange",
    .column_label = "reason",
    .help = "Bid requests of an exchange: answered with a bid (reason none) and why not",
    .column_text = no_bid_reason_label,
    .rows = 256,
    .columns = NO_BID_REASON_COUNT,
};

const char *auction_reject_label(unsigned index)
{
    return bidreq_reject_name((enum bidreq_reject)index);
}

const char *auction_buying_label(unsigned index)
{
    return buying_mode_name((enum buying_mode)index);
}

const char *auction_stage_label(unsigned index)
{
    static const char *const names[STAGE_COUNT] = {"decode",  "select", "read", "decide",
                                                   "reserve", "encode", "total"};
    BUG_ON(index >= STAGE_COUNT);
    return names[index];
}

void auction_metrics_register(void)
{
    metric_register(&auction_metrics);
    metric_matrix_register(&auction_lines_matrix);
    metric_matrix_register(&auction_exchanges_matrix);
}

void auction_metrics_adopt(struct catalog *catalog)
{
    for (uint32_t i = 0; i < catalog->line_count; i++) {
        catalog->lines[i].slot = metric_matrix_row(&auction_lines_matrix, catalog->lines[i].id);
    }
    for (uint32_t i = 0; i < catalog->exchange_count; i++) {
        catalog->exchanges[i].slot =
            metric_matrix_row(&auction_exchanges_matrix, catalog->exchanges[i].id);
    }
}

void auction_note_stage(struct auction *auction, enum auction_stage stage)
{
    int64_t now_ns = clock_mono_ns();
    metric_observe(&auction_metrics, AUCTION_STAGES, stage, (uint64_t)(now_ns - auction->stage_ns));
    auction->stage_ns = now_ns;
    auction->now_us = now_ns / 1000;
}

void auction_note_answer(struct auction *auction, const struct auction_answer *answer)
{
    if (answer->bids) {
        auction_note_stage(auction, STAGE_ENCODE);
    } else {
        auction->stage_ns = clock_mono_ns();
    }
    metric_observe(&auction_metrics, AUCTION_STAGES, STAGE_TOTAL,
                   (uint64_t)(auction->stage_ns - auction->received_us * 1000));
}

void auction_note_reject(struct auction *auction, enum bidreq_reject reject)
{
    (void)auction;
    metric_add(&auction_metrics, AUCTION_REJECTS, reject, 1);
}

void auction_note_line(void *owner, uint32_t line, enum no_bid_reason reason)
{
    struct auction *auction = owner;
    metric_matrix_add(&auction_lines_matrix, auction->catalog->lines[line].slot, reason, 1);
}

void auction_note_truncated(struct auction *auction)
{
    (void)auction;
    METRIC_INC(auction_metrics, AUCTION_TRUNCATED);
}

/* line CATALOG_NONE: a push that no line took. */
static struct report_row row_of(const struct auction *auction, uint32_t line, uint32_t deal)
{
    const struct catalog *catalog = auction->catalog;
    struct report_row row = {.exchange_ref = catalog->exchanges[auction->exchange].ref};
    if (line != CATALOG_NONE) {
        row.line_ref = catalog->lines[line].ref;
        row.brand_ref = catalog->brands[catalog->lines[line].brand].ref;
    }
    if (deal != CATALOG_NONE) {
        row.deal_ref = catalog->deals[deal].ref;
    }
    return row;
}

static void count_in_report(const struct auction *auction, uint32_t line, uint32_t deal,
                            enum report_column column)
{
    struct report_row row = row_of(auction, line, deal);
    report_add(auction->desk->desks.report, &row, column, 1, auction->now_s);
}

/* What bid, return, forced and swap records have in common. */
static struct event_record event_of(const struct auction *auction, const struct decision *decision,
                                    enum event_kind kind)
{
    return (struct event_record){
        .kind = kind,
        .time_us = auction->now_s * 1000000,
        .auction = auction->id,
        .imp_hash = decision->imp_hash,
        .exchange_ref = auction->catalog->exchanges[auction->exchange].ref,
        .bid_s = (uint32_t)auction->now_s,
    };
}

static void write_event(struct auction *auction, const struct event_record *event)
{
    if (auction->desk->desks.events) {
        event_log_put(auction->desk->desks.events, event, event->time_us);
    }
}

static void note_return(struct auction *auction, const struct decision *decision,
                        const struct guaranteed_push *push)
{
    struct event_record event = event_of(auction, decision, EVENT_RETURN);
    event.deal_ref = auction->catalog->deals[push->deal].ref;
    event.reason = decision->reason;
    write_event(auction, &event);
    METRIC_INC(auction_metrics, AUCTION_RETURNS);
    count_in_report(auction, CATALOG_NONE, push->deal, REPORT_RETURNS);
}

void auction_note_pushes(struct auction *auction, const struct decision *decision)
{
    if (auction->test) {
        return;
    }
    for (uint32_t i = 0; i < decision->push_count; i++) {
        const struct guaranteed_push *push = &decision->pushes[i];
        bool filled = decision->line != CATALOG_NONE && decision->offer->wire_deal == push->wire;
        METRIC_INC(auction_metrics, AUCTION_PUSHES);
        count_in_report(auction, CATALOG_NONE, push->deal, REPORT_PUSHES);
        if (push->returned) {
            note_return(auction, decision, push);
        } else if (!filled) {
            METRIC_INC(auction_metrics, AUCTION_UNFILLED);
        }
    }
}

static void write_bid(struct auction *auction, const struct decision *decision)
{
    const struct catalog *catalog = auction->catalog;
    const struct catalog_line *line = &catalog->lines[decision->line];
    const struct offer *offer = decision->offer;
    struct event_record event = event_of(auction, decision, EVENT_BID);
    event.line_ref = line->ref;
    event.deal_ref = offer->deal == CATALOG_NONE ? 0 : catalog->deals[offer->deal].ref;
    event.brand_ref = catalog->brands[line->brand].ref;
    event.creative_ref = catalog->creatives[decision->creative].ref;
    event.price_micros = offer->price_micros;
    event.cost_micros = decide_cost_micros(offer);
    event.flight = decision->flight;
    for (uint32_t i = 0; i < line->budgets.count && i < EVENT_MAX_BUDGETS; i++) {
        event.budgets[event.budget_count++] = catalog->budgets[line->budgets.items[i]].ref;
    }
    write_event(auction, &event);
    event.budget_count = 0;
    if (decision->forced) {
        event.kind = EVENT_FORCED;
        write_event(auction, &event);
        count_in_report(auction, decision->line, offer->deal, REPORT_FORCED);
    }
    if (decision->swapped) {
        event.kind = EVENT_SWAP;
        event.other_brand_ref = catalog->brands[catalog->deals[offer->deal].owner].ref;
        write_event(auction, &event);
    }
}

void auction_note_bid(struct auction *auction, const struct decision *decision)
{
    if (!auction->test) {
        write_bid(auction, decision);
        count_in_report(auction, decision->line, decision->offer->deal, REPORT_BIDS);
    }
    metric_add(&auction_metrics, AUCTION_BIDS, decision->offer->buying, 1);
    metric_matrix_add(&auction_lines_matrix, auction->catalog->lines[decision->line].slot,
                      NO_BID_NONE, 1);
    metric_add(&auction_metrics, AUCTION_FORCED, 0, decision->forced);
    metric_add(&auction_metrics, AUCTION_UNCAPPED, 0, decision->uncapped);
    metric_add(&auction_metrics, AUCTION_SWAPPED, 0, decision->swapped);
}

void auction_note_running(const struct auction_desk *desk)
{
    metric_set(&auction_metrics, AUCTION_RUNNING, 0, desk->running);
}

void auction_note_end(struct auction *auction, const struct auction_answer *answer, bool sent)
{
    if (auction->arena.grown) {
        metric_add(&auction_metrics, AUCTION_ARENA_GROWN, 0, auction->arena.grown);
        auction->arena.grown = 0;
    }
    if (answer->bids && !sent) {
        METRIC_INC(auction_metrics, AUCTION_UNDELIVERED);
    } else if (answer->bids) {
        METRIC_INC(auction_metrics, AUCTION_BID_RESPONSES);
    } else if (answer->reason) {
        metric_add(&auction_metrics, AUCTION_NO_BIDS, answer->reason, 1);
    }
    if (answer->bids || answer->reason) { /* else a ping, or what was no bid request */
        metric_matrix_add(&auction_exchanges_matrix, answer->exchange->slot, answer->reason, 1);
    }
    /* Last, so that whoever waits for this one sees the others. */
    METRIC_INC(auction_metrics, AUCTION_REQUESTS);
}

void auction_note_shed(const struct catalog_exchange *exchange, enum no_bid_reason reason)
{
    METRIC_INC(auction_metrics, AUCTION_REQUESTS);
    metric_add(&auction_metrics, AUCTION_NO_BIDS, reason, 1);
    metric_matrix_add(&auction_exchanges_matrix, exchange->slot, reason, 1);
}
