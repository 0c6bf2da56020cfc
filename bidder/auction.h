/* One bid request's life, from body to answer. bidder/README.md draws the walk.
 *
 *   start -> decode -> select -+-> [READING] -> decide -+-> [RESERVING] -> encode -> answer
 *                              |   one round trip       |   only where a cap must hold
 *                              +-> nothing to read      +-> nothing to reserve
 *
 * An auction answers exactly once, with a bid, a no-bid of one reason, or a 400, and always before
 * its deadline unless the process was stopped. Memory: a pooled struct with an arena, no malloc. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/crypto.h"
#include "bidder/catalog.h"
#include "bidder/decide.h"
#include "bidder/reason.h"
#include "bidder/token.h"
#include "proto/openrtb.h"

struct brand_desk;
struct dmp_desk;
struct event_log;
struct freq_store;
struct loop;
struct pacer;
struct report;
struct auction_desk;

enum wire_format { WIRE_JSON, WIRE_PROTOBUF };

/* Valid during the callback only. */
struct auction_answer {
    int status;              /* 200, 204 or 400 */
    struct str content_type; /* empty without a body */
    struct str body;
    const struct catalog_exchange *exchange; /* response headers; NULL never */
    uint32_t bids;
    enum no_bid_reason
        reason; /* NO_BID_NONE when bids > 0, for pings and for what is no bid request */
};

/* Exactly once per auction_start; perhaps before it returns. False: the client is gone, nothing was
 * sent (reservations and commitments are then given back). */
typedef bool auction_answer_fn(void *owner, uint64_t handle, const struct auction_answer *answer);

struct auction_options {
    uint32_t owner;          /* unique over all workers of all machines, < 2^24 */
    uint32_t max_auctions;   /* in flight at once; beyond: shed */
    int64_t reserve_s;       /* how long an unconfirmed reservation holds */
    int64_t notice_ttl_s;    /* how long notice urls are honoured */
    int64_t encode_us;       /* kept free at the end of the deadline for encoding and sending */
    int64_t default_tmax_us; /* deadline when neither request nor exchange says one */
    struct str public_url;   /* base of notice urls, no trailing slash; outlives the desk */
    struct str secret;       /* the deployment's; only read during create */
};

/* What an auction works with. Borrowed; all outlive the desk. NULL where said. */
struct auction_desks {
    struct loop *loop; /* for explanations, which take turns */
    struct freq_store *store;
    struct budget_ledger *ledger;
    struct return_quota *quota; /* may be NULL */
    struct brand_desk *brands;  /* may be NULL */
    struct swap_desk *swaps;    /* may be NULL: no swaps */
    struct dmp_desk *dmps;      /* may be NULL: DMPs are not asked */
    struct pacer *pacer;        /* may be NULL: no throttle */
    struct event_log *events;   /* may be NULL */
    struct report *report;      /* may be NULL */
};

struct auction_desk *auction_desk_create(const struct auction_options *options,
                                         const struct auction_desks *desks);
void auction_desk_destroy(struct auction_desk **desk);
/* New auctions use it from now on; running ones keep theirs. Takes a reference of its own. */
void auction_desk_set_catalog(struct auction_desk *desk, struct catalog *catalog);
/* For lines with a goal; borrowed until another is set. NULL: they bid their bid_cpm. */
struct predict_model;
void auction_desk_set_model(struct auction_desk *desk, const struct predict_model *model);
/* A bid of the line won its auction, or was outbid: lines with shading learn from it. */
void auction_desk_learn_price(struct auction_desk *desk, uint32_t line_ref, bool won);
const struct token_keys *auction_desk_token_keys(const struct auction_desk *desk);

/* One bid request. exchange: index in the current catalog. */
struct auction_call {
    uint32_t exchange;
    enum wire_format format;
    struct str body; /* stays until the answer, since the request's texts are views into it, ... */
    bool lent;       /* ... unless it is lent for the call only: then it is copied */
    int64_t received_us; /* when the request was complete (monotonic), for the deadline */
    auction_answer_fn *answer;
    void *owner;
    uint64_t handle;
};
void auction_start(struct auction_desk *desk, const struct auction_call *call);

/* Answers at once, without looking at the body: too much load, or over the exchange's rate. A 204;
 * an exchange that wants a body for its no-bids gets the empty form of the request's format. */
void auction_shed(struct auction_desk *desk, const struct auction_call *call,
                  enum no_bid_reason reason);

/* Why every line item of the catalog does or does not bid on the request, as text. Reads the person
 * like an auction does, reserves and commits nothing. Works a millisecond per turn of the loop, one
 * request at a time. done comes exactly once; text is valid during it. STATUS_INVALID: no such
 * exchange, or the body is not a bid request; STATUS_LIMIT: busy, try again (error has the reason).
 */
typedef void explain_fn(void *owner, struct str text);
enum status auction_explain(struct auction_desk *desk, struct str exchange_id, struct str body,
                            explain_fn *done, void *owner, struct buf *error) MUST_USE;
