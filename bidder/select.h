/* From matching lines to offers: blocks, formats, floors, price, buying order. Pure.
 *
 * An offer = one line buying one impression in one way (through one deal, or openly). */
#pragma once

#include "bidder/catalog.h"
#include "bidder/imp_deals.h"
#include "proto/bidreq.h"

/* The first reason an offer is not made, in the order they are tested; 0 = it is made. */
enum select_miss {
    SELECT_OK = 0,
    SELECT_DEAL,        /* none of its deals is offered; or private auction and it buys openly */
    SELECT_SEAT,        /* wseat/bseat or the deal's wseat excludes our seat */
    SELECT_DEAL_DOMAIN, /* the deal's wadomain does not list the advertiser */
    SELECT_BADV,        /* advertiser domain blocked */
    SELECT_BCAT,        /* category blocked, or not in acat */
    SELECT_LANGUAGE,    /* wlang */
    SELECT_BAPP,        /* the advertised app is blocked */
    SELECT_CREATIVE,    /* no creative fits: format, size, mime, duration, protocol, api, ... */
    SELECT_BATTR,       /* all that fit have a blocked attribute */
    SELECT_SECURE,      /* https needed */
    SELECT_CURRENCY,    /* no allowed currency with a known rate */
    SELECT_PRICE_FLOOR, /* below the deal's or the impression's floor */
    SELECT_MISS_COUNT
};
const char *select_miss_name(enum select_miss miss);

struct offer {
    uint32_t line;
    uint32_t deal;                       /* catalog deal, or CATALOG_NONE for open RTB */
    const struct bidreq_deal *wire_deal; /* NULL for open RTB */
    enum buying_mode buying;
    struct str currency;     /* of the bid: one of the request's cur */
    int64_t floor_micros;    /* CPM, bid currency; the floor that applies */
    int64_t price_micros;    /* CPM, bid currency: what would be bid */
    int64_t cost_cpm_micros; /* the same in the catalog's currency: budgets and ledgers */
    uint16_t *creatives;     /* arena: positions in line.creatives that fit this impression */
    uint32_t creative_count;
};

/* What the offers of all lines on one impression share. Borrows all that is given; what it and the
 * offers need lies in the arena. */
struct select_imp {
    const struct catalog *catalog;
    uint32_t exchange;
    const struct bid_request *request;
    struct imp_deals deals;
    struct arena *arena;
    struct str currency;    /* of the answer; empty when none has a known rate */
    enum select_miss seats; /* does the request exclude our seat? */
    uint32_t advertiser; /* whose domain and categories were looked at last, or CATALOG_NONE ... */
    enum select_miss advertiser_miss; /* ... and what came of it */
};
/* False: the arena is full. */
bool select_imp_prepare(struct select_imp *on, const struct catalog *catalog, uint32_t exchange,
                        const struct bid_request *request, const struct bidreq_imp *imp,
                        struct arena *arena) __attribute__((warn_unused_result));

/* Fills *offer for a line on an impression; the best of its deals that are offered (buying order,
 * then the cheaper one, then the order of the request). A line with deals buys through them only.
 * price_cpm_micros: the line's bid in catalog currency for lines that bid (RTB, with a deal or
 * without: bid_cpm or a prediction).
 * detail: NULL on the request path; else the values compared are appended.
 *
 * Amounts of the offer are real money: the exchange's price_unit is taken out of the floors. What
 * goes on the wire is select_wire_price. Price by mode:
 *   CPD  the floor that applies, or 0; costs nothing when the catalog has a day price
 *   PDB, PD  wire says at=3: the wire's floor, a miss when the catalog agreed to less;
 *        else the catalog's cpm; else (no cpm) the floor that applies
 *   RTB  price_cpm_micros
 * Floors by creative: the deal's own bidfloor; else the deal's durfloors and mincpmpersec by the
 * creative's duration (the higher); else those of the video or audio; else imp.bidfloor.
 * Creatives whose floor is above the price are left out of the offer.
 * Creative-level targeting (line_creative.targeting) is not looked at: it needs the clock. */
enum select_miss select_offer(struct select_imp *on, uint32_t line, int64_t price_cpm_micros,
                              struct offer *offer, struct buf *detail);

/* A swap partner's line on somebody else's deal: as select_offer, through the one deal given,
 * whatever deals the line itself buys. The deal's price. */
enum select_miss select_offer_on_deal(struct select_imp *on, uint32_t line, uint32_t deal,
                                      const struct bidreq_deal *wire_deal, struct offer *offer);

/* Can this creative run on this impression (format, size, duration, mime, protocol, api, battr,
 * secure, native assets)? The whole check of one creative; shared by select and by must-fill. */
enum select_miss select_creative_fits(const struct catalog *catalog,
                                      const struct bid_request *request,
                                      const struct bidreq_imp *imp,
                                      const struct catalog_creative *creative, struct buf *detail);

/* Domain and category blocks (SELECT_BADV, SELECT_BCAT) for an ad of this advertiser with this
 * creative (NULL: the advertiser's own categories). bcat counts under the same taxonomy only; acat
 * is an allow list, so categories that cannot be compared with it are not allowed. */
enum select_miss select_advertiser_allowed(const struct catalog *catalog,
                                           const struct bid_request *request, uint32_t advertiser,
                                           const struct catalog_creative *creative,
                                           struct buf *detail);

/* The one currency of the answer (a response has one for all its bids). Of those in cur, or of all
 * when cur is empty: the one all floors of the request agree on, else the catalog's own, else the
 * first in cur; always one with a known rate. False when there is none. */
bool select_currency(const struct catalog *catalog, const struct bid_request *request,
                     struct str *currency);

/* Real money to the number on the wire (price_unit), rounded down; never below a floor that was. */
int64_t select_wire_price(const struct catalog_exchange *exchange, int64_t micros);
/* The other way, rounded up: floors, and ${AUCTION_PRICE} as an upper bound. */
int64_t select_real_price(const struct catalog_exchange *exchange, int64_t wire_micros);

/* Does a banner of this size fit (w and h, format[], flexible ratios; nothing said = any)? */
bool select_banner_size_fits(const struct bidreq_banner *banner, int32_t w, int32_t h);

/* The app a creative advertises, from a store url in its landing page (bundle or store id); empty
 * when it is none. For bapp and bid.bundle. */
struct str select_advertised_app(const struct catalog_creative *creative);

/* Orders offers: buying mode first, then price descending, then a hash of seed and line. With a hash
 * of the request's id as seed equal lines share evenly and a repeated request gets the same answer.
 */
void select_rank(struct offer *offers, uint32_t count, uint64_t seed,
                 const struct catalog *catalog);
