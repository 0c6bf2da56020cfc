/* Who gets the impression: from the offers on one impression and everything known about the person
 * to one chosen line and creative, a return, or a reason. Decision code only: what happens in
 * memory of this worker (ledger, quota, rotation) goes through the desks given, nothing does I/O.
 *
 *   offers, ranked: CPD > PDB > PD > RTB, price
 *     guaranteed deals (CPD, PDB), each a push:
 *        person of a swap partner only, ledger allows -> the partner's line, the owner pays
 *        eligible lines -> rotation picks the brand -> budget commits -> chosen
 *        none -> return while the quota allows -> else must fill: least harmful line
 *     PD, RTB: the first eligible line whose budget commits -> chosen
 */
#pragma once

#include "bidder/catalog.h"
#include "bidder/reason.h"
#include "bidder/select.h"
#include "bidder/swap_desk.h"
#include "frequency/freq.h"
#include "pacing/budget.h"

struct return_quota;
struct brand_desk;

/* One impression of a running auction. Arena of the request. */
struct decision {
    const struct bidreq_imp *imp;
    struct select_imp *on; /* the same, prepared for select_offer_on_deal */
    uint16_t imp_hash;     /* names the impression in tokens and records, also after the answer */
    struct offer *offers;  /* ranked */
    uint32_t offer_count;
    struct guaranteed_push *pushes; /* guaranteed deals this impression offers, wire order */
    uint32_t push_count;
    enum no_bid_reason reason; /* farthest reason so far; NO_BID_NONE once chosen */
    /* what was chosen; line CATALOG_NONE = nothing */
    uint32_t line;
    uint32_t creative; /* catalog index */
    const struct offer *offer;
    uint32_t flight;             /* budget commitment; 0 = none */
    bool forced;                 /* must-fill: caps were not obeyed */
    bool uncapped;               /* decided without counts */
    bool swapped;                /* shown by a swap partner of the deal's owner */
    struct swap_partner partner; /* when swapped */
    uint32_t payer;              /* line whose budgets pay: the owner's when swapped, else line */
    bool held;    /* its exposure was written without asking: forced, or only announced */
    bool reserve; /* a strict reservation is needed before the bid may go out */
    struct freq_ticket ticket;
};

/* A guaranteed deal offered on the impression. */
struct guaranteed_push {
    uint32_t deal;
    const struct bidreq_deal *wire;
    bool returned;
};

struct decide_context {
    const struct catalog *catalog;
    uint32_t exchange;
    const struct bid_request *request;
    const struct freq_view *view;
    struct budget_ledger *ledger;
    struct return_quota *quota; /* NULL: nothing may be returned */
    struct brand_desk *brands;  /* NULL: no rotation */
    struct swap_desk *swaps;    /* NULL: no swaps */
    struct arena *arena;        /* of the request */
    uint64_t request_hash;      /* draws that must repeat for the same request */
    int64_t now_s, now_us;
    bool test; /* test=1: decided like any other, but books nothing */
    /* Called for every line that was considered and not chosen; may be NULL. */
    void (*note)(void *owner, uint32_t line, enum no_bid_reason reason);
    void *note_owner;
};

/* The money of one impression, catalog currency: a thousandth of the CPM, rounded up. A CPD
 * position is paid by the day, so its impressions cost nothing. */
int64_t decide_cost_micros(const struct offer *offer);

/* Is this person one the line may be shown to? NO_BID_NONE = yes. *uncapped is set when the answer
 * was given without counts. detail (explain) gets the values compared; NULL on the request path. */
enum no_bid_reason decide_person(const struct decide_context *context,
                                 const struct catalog_line *line, bool *uncapped,
                                 struct buf *detail);

/* Which of the offer's creatives: targeting, own caps, sequence, weights. Catalog index in
 * *creative; NO_BID_CREATIVE_AT_CAP, NO_BID_CREATIVE or the line's rule for unknown counts when
 * none remains. *uncapped is set when the chosen one's caps could not be checked. */
enum no_bid_reason decide_creative(const struct decide_context *context, const struct offer *offer,
                                   uint32_t *creative, bool *uncapped);

/* Fills the chosen part of *decision, or leaves line at CATALOG_NONE with the reason. */
void decide_impression(const struct decide_context *context, struct decision *decision);

/* Gives back what a choice took that will not be shown: budget and swap rights (not the person's
 * reservation). line becomes CATALOG_NONE. */
void decide_undo(const struct decide_context *context, struct decision *decision);

/* The reservation was lost to another bid: a guaranteed deal is returned or filled without a
 * reservation (forced), any other impression ends without a bid. The old commitment was released.
 */
void decide_after_lost_race(const struct decide_context *context, struct decision *decision,
                            enum no_bid_reason reason);
