/* What a notice does, once. One desk per worker.
 *
 *   landing worker                     the worker that made the bid (or whoever adopts its notices)
 *     verify -> answer
 *     |-- impression: confirm the cap at once
 *     '-- bill, loss: route -- inbox --> claim: SET n:... NX, once per auction, impression and event
 *                                          |-- first --> settle | book | release
 *                                          '-- not first --> counted as duplicate
 *
 *   win          recorded; never spend
 *   bill         money, and the cap is confirmed
 *   impression   the cap is confirmed; for TOKEN_VIDEO it is the same billing event as bill
 *   loss         frees the budget, and the cap's reservation unless it was billed
 *   click        302 to the landing page of the token's creative, nowhere else
 *
 * Redis (7.0 or newer: SET with NX and GET):
 *         n:{<auction>.<imp>}b        who books the money: id of the first billing notice
 *         n:{<auction>.<imp>}         bitmap of the events that came (enum notice_event; bit 15: billed)
 *         inbox:<owner>               list of notices for a worker ("<event>/<token>?<query>")
 *         desks                       sorted set: owner -> second of its last sign of life
 *
 * A text leaves an inbox when what it asks for is done, so a killed worker's next life finds what
 * that left; doing it twice is safe. A claim that a former life made and did not act on (its event
 * log knows) is taken over. A worker that is gone (30 s without a sign) has its inbox emptied by
 * another: its notices are then booked as late. What waits for Redis is held in memory, bounded;
 * when that is full the answer is 503, so that the exchange sends the notice again. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/metric.h"
#include "bidder/base/redis.h"
#include "bidder/catalog.h"
#include "bidder/event_log.h"
#include "bidder/notice.h"
#include "bidder/report.h"
#include "frequency/freq.h"
#include "pacing/budget.h"

struct notice_desk;
struct notice_reply;

/* Borrowed; all outlive the desk. */
struct notice_deps {
    const struct token_keys *keys;
    struct redis *redis;
    struct freq_store *store;
    struct budget_ledger *ledger;
    struct event_log *events; /* may be NULL */
    struct report *report;    /* may be NULL */
    /* The catalog of now; asked at each notice. */
    const struct catalog *(*catalog)(void *context);
    void *catalog_context;
    /* A loss notice for a bid of this worker that was not shown; at most once per bid. May be NULL.
     */
    void (*lost)(void *context, const struct notice_token *token);
    /* A win or loss notice, as it comes (perhaps twice). loss: OpenRTB loss code, -1 = not said.
     * May be NULL. */
    void (*auctioned)(void *context, const struct notice_token *token, bool won, int32_t loss);
    /* An impression or a click came for the first time. May be NULL. */
    void (*seen)(void *context, const struct notice_token *token, bool click);
    void *event_context; /* of lost, auctioned and seen */
    /* Answers the ticket of a notice whose reply was NOTICE_LATER. NULL: all is answered at once.
     */
    void (*answer)(void *context, uint64_t ticket, const struct notice_reply *reply);
    void *answer_context;
};

struct notice_options {
    uint32_t owner;       /* as in auction_options */
    uint32_t max_pending; /* notices waiting for Redis; 0 = 8192 */
    int64_t hold_s;       /* of reservations; impressions told later are counted; 0 = none are */
};

/* Views valid until the catalog changes or the next notice: copy at once. */
#define NOTICE_LATER 0
struct notice_reply {
    int status;              /* 200, 204, 302, 403, 404, 410 or 503; NOTICE_LATER */
    struct str content_type; /* empty without a body */
    struct str body;
    struct str headers; /* whole lines with CRLF */
};

struct notice_desk *notice_desk_create(const struct notice_deps *deps,
                                       const struct notice_options *options);
/* Notices that still wait are dropped (the event log has them). */
void notice_desk_destroy(struct notice_desk **desk);

/* path and query of a GET or POST; STATUS_NOT_FOUND when it is not a notice url (reply untouched).
 * now_us is wall time. A notice that moves money or counts is answered through deps.answer with
 * this ticket when it cannot be lost any more (in an inbox in Redis, in the event log, or waiting
 * in memory for a Redis that is away); the others at once. */
enum status notice_handle(struct notice_desk *desk, struct str path, struct str query,
                          int64_t now_us, uint64_t ticket, struct notice_reply *reply);
/* Gives the answers that are due. Call at the end of each turn, when the event log and the commands
 * for Redis have been written. */
void notice_flush(struct notice_desk *desk);
/* Inbox, signs of life, retries. Call about every 100 ms; mono_us paces, now_us is wall time. */
void notice_tick(struct notice_desk *desk, int64_t mono_us, int64_t now_us);
/* Notices that wait for Redis: a drain waits a little for 0. */
uint32_t notice_desk_pending(const struct notice_desk *desk);

enum notice_refusal {
    NOTICE_MALFORMED,
    NOTICE_FORGED,
    NOTICE_EXPIRED,
    NOTICE_BUSY,
    NOTICE_NO_LANDING, /* the creative is not in the catalog any more */
    NOTICE_REFUSAL_COUNT
};
const char *notice_refusal_name(unsigned refusal);

enum notice_outcome {
    NOTICE_DONE,      /* first of its kind: counted */
    NOTICE_DUPLICATE, /* had been there before */
    NOTICE_SETTLED,   /* money: booked on its commitment */
    NOTICE_LATE,      /* money: the commitment had been freed; booked all the same */
    NOTICE_ADOPTED,   /* money: another life's bid; booked all the same */
    NOTICE_RELEASED,  /* loss: budget and cap were given back */
    NOTICE_OUTCOME_COUNT
};
const char *notice_outcome_name(unsigned outcome);

#define NOTICE_METRICS(X)                                                                          \
    X(NOTICE_RECEIVED, METRIC_COUNTER, "jointcap_notices_total", "event", notice_event_name,       \
      NOTICE_EVENT_COUNT, "Notices with a valid token, by event")                                  \
    X(NOTICE_REFUSED, METRIC_COUNTER, "jointcap_notices_refused_total", "why",                     \
      notice_refusal_name, NOTICE_REFUSAL_COUNT, "Notices refused, by reason")                     \
    X(NOTICE_OUTCOMES, METRIC_COUNTER, "jointcap_notice_outcomes_total", "outcome",                \
      notice_outcome_name, NOTICE_OUTCOME_COUNT, "What notices came to, by outcome")               \
    X(NOTICE_PRICES, METRIC_COUNTER, "jointcap_notice_prices_total", "kind",                       \
      notice_price_kind_name, NOTICE_PRICE_KIND_COUNT, "Prices of billing notices, by kind")       \
    X(NOTICE_TEST, METRIC_COUNTER, "jointcap_notices_test_total", NULL, NULL, 1,                   \
      "Notices of test requests: answered, not counted anywhere")                                  \
    X(NOTICE_FORWARDED, METRIC_COUNTER, "jointcap_notices_forwarded_total", NULL, NULL, 1,         \
      "Notices handed to the worker that made the bid")                                            \
    X(NOTICE_INBOX, METRIC_COUNTER, "jointcap_notices_inbox_total", NULL, NULL, 1,                 \
      "Notices taken from an inbox")                                                               \
    X(NOTICE_RETRIES, METRIC_COUNTER, "jointcap_notice_retries_total", NULL, NULL, 1,              \
      "Steps tried again because Redis did not answer")                                            \
    X(NOTICE_LOST, METRIC_COUNTER, "jointcap_notices_lost_total", NULL, NULL, 1,                   \
      "Notices given up because Redis was away longer than they are valid")                        \
    X(NOTICE_AFTER_HOLD, METRIC_COUNTER, "jointcap_notices_after_hold_total", NULL, NULL, 1,       \
      "Impressions told when their reservation had ended: counted, but the place may have been "   \
      "sold again")                                                                                \
    X(NOTICE_PENDING, METRIC_GAUGE, "jointcap_notices_pending", NULL, NULL, 1,                     \
      "Notices waiting for Redis")
METRIC_DECLARE(notice, NOTICE_METRICS);
