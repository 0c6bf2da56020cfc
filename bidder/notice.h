/* What a notice url says: `/notice/<event>/<token>?price=...&loss=...`. Pure.
 *
 * What comes back from exchanges and browsers is seldom what was asked for: macros that nobody
 * substituted, empty prices, AUDIT, negative numbers, prices sealed by the exchange. None of that
 * is an error of the notice: what was bid is then what is charged (never less than the truth, never
 * more than was committed). So it is when a viewer's device notifies: its url could say any price.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/status.h"
#include "bidder/base/str.h"
#include "bidder/token.h"

/* X(NAME, word in the url, who may say it) */
#define NOTICE_EVENTS(X)                                                                           \
    X(WIN, "win", TOKEN_EXCHANGE)   /* nurl: won, not an impression, never spend */                \
    X(BILL, "bill", TOKEN_EXCHANGE) /* burl: billable */                                           \
    X(LOSS, "loss", TOKEN_EXCHANGE) /* lurl */                                                     \
    X(IMPRESSION, "impression", TOKEN_CLIENT)                                                      \
    X(START, "start", TOKEN_CLIENT)                                                                \
    X(FIRST_QUARTILE, "firstQuartile", TOKEN_CLIENT)                                               \
    X(MIDPOINT, "midpoint", TOKEN_CLIENT)                                                          \
    X(THIRD_QUARTILE, "thirdQuartile", TOKEN_CLIENT)                                               \
    X(COMPLETE, "complete", TOKEN_CLIENT)                                                          \
    X(CLICK, "click", TOKEN_CLIENT)                                                                \
    X(ERROR, "error", TOKEN_CLIENT)

enum notice_event {
#define X(name, word, audience) NOTICE_##name,
    NOTICE_EVENTS(X)
#undef X
        NOTICE_EVENT_COUNT
};
/* The word in the url. Static memory. */
const char *notice_event_name(unsigned event);
enum token_audience notice_event_audience(enum notice_event event);

struct notice {
    enum notice_event event;
    struct str token; /* view into the path */
    struct str price; /* view into the query, still percent-encoded; empty when absent */
    int32_t loss;     /* OpenRTB loss reason code; -1 = absent or no number */
};

/* path and query as they stand in the request target. STATUS_NOT_FOUND: not a notice url;
 * STATUS_INVALID: an event we do not know or no token. */
enum status notice_parse(struct str path, struct str query, struct notice *notice) MUST_USE;

enum notice_price_kind {
    NOTICE_PRICE_GIVEN,
    NOTICE_PRICE_CLIPPED,       /* more than was bid: the bid is charged */
    NOTICE_PRICE_EMPTY,         /* absent or empty; from here on: the bid is charged */
    NOTICE_PRICE_AUDIT,         /* the literal AUDIT */
    NOTICE_PRICE_UNSUBSTITUTED, /* ${AUCTION_PRICE} and the like */
    NOTICE_PRICE_NEGATIVE,
    NOTICE_PRICE_INVALID,  /* anything else */
    NOTICE_PRICE_UNSIGNED, /* sealed by the exchange, but not with its keys */
    NOTICE_PRICE_KIND_COUNT
};
const char *notice_price_kind_name(unsigned kind);

/* How an exchange writes prices; see struct catalog_exchange. */
struct notice_price_rule {
    int64_t unit_micros; /* 1 on the wire = unit_micros / 1e6 of the currency */
    bool google;         /* sealed: Google's private data protocol */
    struct str encryption_key, integrity_key;
};

/* The clearing price as CPM in the bid's currency; between 0 and bid_micros. Also takes the :B64
 * forms. */
enum notice_price_kind notice_price(struct str raw, const struct notice_price_rule *rule,
                                    int64_t bid_micros, int64_t *price_micros);

/* What one impression costs in the catalog's currency when it clears at price instead of the bid:
 * rounded up, never more than cost_micros. */
int64_t notice_cost(int64_t cost_micros, int64_t bid_micros, int64_t price_micros);
