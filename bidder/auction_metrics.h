/* What auctions count. */
#pragma once

#include "bidder/base/metric.h"
#include "bidder/reason.h"
#include "proto/bidreq.h"

#define AUCTION_METRICS(X)                                                                         \
    X(AUCTION_REQUESTS, METRIC_COUNTER, "jointcap_bid_requests_total", NULL, NULL, 1,              \
      "Bid requests received, answered or shed")                                                   \
    X(AUCTION_REJECTS, METRIC_COUNTER, "jointcap_bid_request_rejects_total", "reason",             \
      auction_reject_label, BIDREQ_REJECT_COUNT, "Bodies that are not bid requests (400)")         \
    X(AUCTION_BID_RESPONSES, METRIC_COUNTER, "jointcap_bid_responses_total", NULL, NULL, 1,        \
      "Requests answered with at least one bid")                                                   \
    X(AUCTION_BIDS, METRIC_COUNTER, "jointcap_bids_total", "buying", auction_buying_label, 4,      \
      "Bids sent, by buying mode")                                                                 \
    X(AUCTION_NO_BIDS, METRIC_COUNTER, "jointcap_no_bids_total", "reason", no_bid_reason_label,    \
      NO_BID_REASON_COUNT, "Requests answered without a bid, by the farthest reason")              \
    X(AUCTION_PUSHES, METRIC_COUNTER, "jointcap_pushes_total", NULL, NULL, 1,                      \
      "Guaranteed deals (CPD, PDB) offered to us")                                                 \
    X(AUCTION_RETURNS, METRIC_COUNTER, "jointcap_returns_total", NULL, NULL, 1,                    \
      "Pushes returned within the allowance")                                                      \
    X(AUCTION_FORCED, METRIC_COUNTER, "jointcap_forced_total", NULL, NULL, 1,                      \
      "Pushes that had to be filled although no line wanted the person")                           \
    X(AUCTION_UNFILLED, METRIC_COUNTER, "jointcap_unfilled_total", NULL, NULL, 1,                  \
      "Pushes neither returned within the allowance nor filled (no line, no money)")               \
    X(AUCTION_UNCAPPED, METRIC_COUNTER, "jointcap_uncapped_total", NULL, NULL, 1,                  \
      "Bids on capped lines decided without the person's counts")                                  \
    X(AUCTION_SWAPPED, METRIC_COUNTER, "jointcap_swapped_total", NULL, NULL, 1,                    \
      "Bids given to a swap partner of the deal's owner")                                          \
    X(AUCTION_TRUNCATED, METRIC_COUNTER, "jointcap_matches_truncated_total", NULL, NULL, 1,        \
      "Impressions that more line items matched than are looked at")                               \
    X(AUCTION_UNDELIVERED, METRIC_COUNTER, "jointcap_answers_undelivered_total", NULL, NULL, 1,    \
      "Bids whose client was gone; reservations and commitments were given back")                  \
    X(AUCTION_ARENA_GROWN, METRIC_COUNTER, "jointcap_arena_grown_total", NULL, NULL, 1,            \
      "Blocks auctions needed beyond their first")                                                 \
    X(AUCTION_RUNNING, METRIC_GAUGE, "jointcap_auctions_running", NULL, NULL, 1,                   \
      "Auctions in flight")                                                                        \
    X(AUCTION_STAGES, METRIC_TIME, "jointcap_stage_seconds", "stage", auction_stage_label, 7,      \
      "Time spent in each stage of an auction")

const char *auction_reject_label(unsigned index);
const char *auction_buying_label(unsigned index);
const char *auction_stage_label(unsigned index);

METRIC_DECLARE(auction, AUCTION_METRICS);

/* line item x reason (column 0: bids), exchange x reason */
extern struct metric_matrix auction_lines_matrix, auction_exchanges_matrix;
/* Registers all of it; before metric_setup. */
void auction_metrics_register(void);
/* Gives every line and exchange of a freshly loaded catalog its row. Takes a lock: where catalogs
 * are loaded, before the catalog is used. */
struct catalog;
void auction_metrics_adopt(struct catalog *catalog);
