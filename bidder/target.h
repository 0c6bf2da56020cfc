/* Which line items want this impression? Bitmaps over lines, one per targeted value, intersected
 * per request, so that cost follows matches rather than catalog size. Pure. */
#pragma once

#include "bidder/catalog.h"
#include "bidder/imp_deals.h"
#include "proto/bidreq.h"

/* The first reason a line does not match, in the order they are tested; 0 = it matches. */
enum target_miss {
    TARGET_OK = 0,
    TARGET_DISABLED,
    TARGET_DATES,
    TARGET_EXCHANGE,
    TARGET_DEAL, /* none of the line's deals is offered (or it is an open line, but private_auction)
                  */
    TARGET_FORMAT, /* none of its creatives has a format and size the impression takes */
    TARGET_DEVICE,
    TARGET_CONNECTION,
    TARGET_OS,
    TARGET_GEO,
    TARGET_MEDIA,
    TARGET_CATEGORY,
    TARGET_LANGUAGE,
    TARGET_DAYPART,
    TARGET_MISS_COUNT
};
const char *target_miss_name(enum target_miss miss); /* "dates", "geo": for metrics and explain */

/* What of a request all its impressions share, looked up once (dictionary ids, hour of week, ...).
 */
struct target_request;

/* Builds the index of a loaded catalog (called at the end of catalog_load). Arena: catalog's. */
enum status target_index_build(struct catalog *catalog) MUST_USE;

/* Arena memory of the request; NULL when it is full. */
struct target_request *target_request_prepare(const struct catalog *catalog, uint32_t exchange,
                                              const struct bid_request *request, int64_t now_s,
                                              struct arena *arena);

/* Lines that match the impression whose deals these are: ascending indexes, at most max; returns how many were written.
 * *truncated: there are more (those of the first buying modes were kept), or the arena is full; the
 * caller counts it. Audiences, caps, pacing, floors and blocks are not looked at here. */
uint32_t target_find(const struct catalog *catalog, struct target_request *prepared,
                     const struct imp_deals *deals, uint32_t *lines, uint32_t max, bool *truncated);

/* The same question for one line with the reason: the slow, plain version. It is the oracle of
 * target_find in tests and what explain prints; detail gets the values compared. */
enum target_miss target_explain(const struct catalog *catalog, uint32_t exchange,
                                const struct bid_request *request, const struct bidreq_imp *imp,
                                uint32_t line, int64_t now_s, struct buf *detail);
/* Does a creative-level targeting match (line_creative.targeting)? */
bool target_matches(const struct catalog *catalog, const struct targeting *targeting,
                    uint32_t exchange, const struct bid_request *request, int64_t now_s);
