/* Shared by the parts of the composition: bidding.c (life), bidding_catalog.c (adopting a catalog),
 * bidding_request.c (requests in, answers out). */
#pragma once

#include "bidder/bidding.h"

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
#include "pacing/swap_state.h"

#define MAX_ERROR_BYTES 4096

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
    struct swap_state *swap_state; /* NULL without event logs */
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

/* bidding_catalog.c */
void bidding_free_exchanges(struct bidding *bidding);
/* bidding_request.c: a notice desk's answer, now or later. context: struct bidding * */
void bidding_answer_notice(void *context, uint64_t ticket, const struct notice_reply *reply);
