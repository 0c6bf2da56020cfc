/* From matching lines to offers: blocks, formats, floors, price, buying order. Pure.
 *
 * An offer = one line buying one impression in one way (through one deal, or openly). */
#pragma once

#include "bidder/catalog.h"
#include "proto/bidreq.h"

/* The first reason an offer is not made, in the order they are tested; 0 = it is made. */
enum select_miss {
    SELECT_OK = 0,
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

/* Fills *offer for a line on an impression; the best of its deals that are offered (buying order,
 * then price). Arena: the request's. A PDB/CPD line without usable deal is a miss.
 * price_cpm_micros: the line's bid in catalog currency for open lines (bid_cpm or a prediction). */
enum select_miss select_offer(const struct catalog *catalog, uint32_t exchange,
                              const struct bid_request *request, const struct bidreq_imp *imp,
                              uint32_t line, int64_t price_cpm_micros, struct arena *arena,
                              struct offer *offer, struct buf *detail);

/* Can this creative run on this impression (format, size, duration, mime, protocol, api, battr,
 * secure, native assets)? The whole check of one creative; shared by select and by must-fill. */
enum select_miss select_creative_fits(const struct catalog *catalog,
                                      const struct bid_request *request,
                                      const struct bidreq_imp *imp,
                                      const struct catalog_creative *creative, struct buf *detail);

/* Orders offers: buying mode first, then price descending, then a hash of request id and line, so
 * that equal lines share evenly and a repeated request gets the same answer. */
void select_rank(struct offer *offers, uint32_t count, struct str request_id,
                 const struct catalog *catalog);
