/* Why an impression was not bid on. One enum for metrics, events, explain and the wire's nbr.
 *
 * The order is how far a line item got on the walk of a request: of several lines that did not bid,
 * the request's reason is that of the one that got farthest. */
#pragma once

/* X(NAME, nbr on the wire, text for people) */
#define NO_BID_REASONS(X)                                                                          \
    X(OVERLOADED, 1, "shed: too many auctions in flight or the request waited too long")           \
    X(RATE_LIMITED, 1, "shed: over the exchange's max_qps")                                        \
    X(NO_TIME, 15, "the deadline had passed, or was too near, on arrival")                         \
    X(NO_MEMORY, 1, "the request did not fit the memory of one auction")                           \
    X(NO_MATCH, 0, "no line item targets this impression")                                         \
    X(SEAT, 0, "wseat, bseat or the deal's seats exclude ours")                                    \
    X(DEAL, 0, "none of the line's deals can be used on this impression")                          \
    X(DEAL_DOMAIN, 0, "the deal's wadomain does not list the advertiser")                          \
    X(ADVERTISER_BLOCKED, 0, "badv blocks the advertiser's domain")                                \
    X(CATEGORY_BLOCKED, 0, "bcat blocks a category, or acat does not allow it")                    \
    X(LANGUAGE, 0, "wlang does not list the creative's language")                                  \
    X(APP_BLOCKED, 0, "bapp blocks the advertised app")                                            \
    X(CREATIVE, 0, "no creative fits the impression")                                              \
    X(ATTRIBUTE_BLOCKED, 0, "battr blocks every creative that fits")                               \
    X(NOT_SECURE, 0, "https is required and no creative is secure")                                \
    X(CURRENCY, 0, "no allowed currency with a known rate")                                        \
    X(BELOW_FLOOR, 0, "the price is below the floor")                                              \
    X(THROTTLED, 0, "the pacing throttle left this request out")                                   \
    X(STORE_LATE, 1, "the person's counts did not arrive in time")                                 \
    X(STORE_DOWN, 1, "the person's counts could not be read")                                      \
    X(NO_ID, 8, "no usable id or no consent, and the line needs one")                              \
    X(MUTED, 8, "the person muted this brand or category")                                         \
    X(AUDIENCE, 8, "the person is not in the audience")                                            \
    X(AT_CAP, 9, "a frequency cap is reached")                                                     \
    X(TOO_SOON, 9, "the last exposure is too recent (min_interval)")                               \
    X(OWN_PREFERENCE, 9, "the person's own limit of contacts per day is reached")                  \
    X(ALREADY_REACHED, 9, "new_reach_only, and the person was reached before")                     \
    X(CREATIVE_AT_CAP, 9, "every creative that fits is at its own cap")                            \
    X(BUDGET_SPENT, 0, "a budget has no room left")                                                \
    X(BUDGET_NO_LEASE, 0, "no part of the budget is leased to this worker yet")                    \
    X(BUDGET_BUSY, 1, "the ledger cannot take more bids, or records cannot be written")            \
    X(LOST_RACE, 9, "another bid for the same person took the last place under the cap")           \
    X(RESERVE_FAILED, 1, "the reservation could not be made in time")                              \
    X(RANKED_LOWER, 0, "another line item won the impression")                                     \
    X(ANSWER_LATE, 15, "the deadline passed before the answer was ready")                          \
    X(ANSWER_FAILED, 1, "the answer could not be encoded")

enum no_bid_reason {
    NO_BID_NONE = 0, /* a bid was made */
#define X(name, nbr, text) NO_BID_##name,
    NO_BID_REASONS(X)
#undef X
        NO_BID_REASON_COUNT
};

/* snake_case, for metrics and JSON. Static memory. */
const char *no_bid_reason_name(enum no_bid_reason reason);
/* A sentence for people. Static memory. */
const char *no_bid_reason_text(enum no_bid_reason reason);
/* OpenRTB nbr code. */
int no_bid_reason_nbr(enum no_bid_reason reason);
/* For metric labels: as no_bid_reason_name, by index. */
const char *no_bid_reason_label(unsigned index);
