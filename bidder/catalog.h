/* One immutable snapshot of everything planners configured. Built whole by catalog_load, swapped by
 * pointer, kept alive by reference count while auctions use it. Everything lies in its arena.
 *
 * Entities are arrays; cross references are indexes into them (CATALOG_NONE = none), resolved at
 * load, so that the request path never looks an id up, except those that come from the wire. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/arena.h"
#include "bidder/base/hash.h"
#include "bidder/base/str.h"
#include "bidder/base/tz.h"
#include "frequency/cap_book.h"
#include "frequency/person.h"
#include "proto/bidresp.h"

#define CATALOG_NONE      UINT32_MAX
#define CATALOG_MAX_LINES 131072

struct index_list {
    const uint32_t *items;
    uint32_t count;
};

enum buying_mode { BUYING_CPD, BUYING_PDB, BUYING_PD, BUYING_RTB, BUYING_MODE_COUNT };
const char *buying_mode_name(enum buying_mode mode);

/* How a no-bid looks on the wire. */
enum no_bid_form { NO_BID_204, NO_BID_EMPTY_OBJECT, NO_BID_NBR };
enum price_encoding { PRICE_PLAIN, PRICE_GOOGLE };

struct catalog_exchange {
    struct str id; /* the <exchange> of /openrtb2/<exchange> */
    enum no_bid_form no_bid;
    int64_t tmax_us;   /* deadline when the request names none; default 100 ms */
    int64_t margin_us; /* taken off the deadline for the way back */
    struct str seat;
    struct id_path *ids; /* in order of preference */
    uint32_t id_count;
    struct id_path *household_ids; /* none while no cap counts households */
    uint32_t household_id_count;
    int64_t price_unit_micros; /* what 1 of the wire's price means in units of its currency: 1000000
                                  = 1 yuan, 10000 = 1 fen; also of bidfloor and ${AUCTION_PRICE} */
    enum price_encoding price_encoding;
    struct str price_key_encryption, price_key_integrity; /* PRICE_GOOGLE: 32 raw bytes each */
    struct str_list response_headers; /* "Name: value", sent with every answer */
    uint32_t max_qps;                 /* per worker share computed by the server; 0 = no limit */
    bool gzip;                        /* accept and send gzip */
    bool vast_3;                      /* VAST 3.0 instead of 4.2 */
    bool openrtb_version_header;
    uint32_t ref;  /* cap_ref32(id) */
    uint32_t slot; /* metrics row of the exchange */
};

struct catalog_advertiser {
    struct str id, domain;
    struct str_list categories; /* of the advertiser's ads; taxonomy in cattax */
    int32_t cattax;
    struct index_list caps;
    struct str bid_categories; /* bid_members_prepare; empty without categories */
};

struct catalog_brand {
    struct str id;
    uint32_t advertiser;
    uint32_t audience; /* its target audience (TA), or CATALOG_NONE */
    uint32_t ref;      /* cap_ref24(id) */
    uint32_t ref32;
    struct index_list caps;
};

/* Boolean expression over segments: every list may be empty; nested audiences by index, always
 * smaller than the audience's own (no cycles). any/all/none are ANDed. */
struct audience_expr {
    const uint32_t *any_segments, *all_segments, *none_segments; /* cap_ref32 of segment ids */
    uint32_t any_segment_count, all_segment_count, none_segment_count;
    struct index_list any_audiences, all_audiences, none_audiences;
};

struct catalog_audience {
    struct str id;
    struct audience_expr expr;
};

struct catalog_deal {
    struct str id;
    uint32_t ref; /* cap_ref32(id) */
    uint32_t exchange;
    enum buying_mode buying;
    uint32_t owner;           /* brand, or CATALOG_NONE */
    int64_t cpm_micros;       /* agreed price, catalog currency; 0 = the deal's floor on the wire */
    int64_t day_price_micros; /* CPD */
    int64_t
        push_ratio_micros; /* 1500000 = 1.5; 0 = may not return (1) for CPD and PDB without one */
    int64_t impressions_per_day; /* guaranteed; 0 = not agreed */
    uint32_t default_creative;   /* 打底, or CATALOG_NONE */
    uint32_t formats;            /* bit t for each enum creative_type it takes; 0 = any */
    struct index_list lines;     /* lines that buy through it, catalog order */
};

struct geo_circle {
    int64_t lat_micro, lon_micro; /* degrees * 1e6 */
    int64_t radius_m;
};

/* What a line item asks of a request. An empty list asks nothing. */
struct targeting {
    struct index_list exchanges;
    struct str_list countries, regions, cities; /* any of the three matches (a place list) */
    struct geo_circle *circles;                 /* or any of the circles */
    uint32_t circle_count;
    uint32_t devices;                        /* bit d for each OpenRTB devicetype d; 0 = all */
    uint32_t connections;                    /* bit c for each connectiontype c; 0 = all */
    struct str_list os;                      /* lower-case */
    struct str_list media_allow, media_deny; /* bundles or domains (a domain covers subdomains) */
    struct str_list categories_allow, categories_deny; /* IAB codes; a parent covers children */
    int32_t cattax;
    struct str_list languages;      /* lower-case */
    uint8_t dayparts[21];           /* bit h of the local week's 168 hours; all zero = always */
    struct audience_expr audiences; /* audiences here by index; segments empty */
    bool has_audiences;
};

enum creative_type { CREATIVE_BANNER, CREATIVE_VIDEO, CREATIVE_AUDIO, CREATIVE_NATIVE };

struct native_asset {
    enum bidreq_asset_kind kind;
    int32_t type;    /* image type or data type */
    struct str text; /* title or data value */
    struct str url;  /* image or VAST-less video */
    struct str mime;
    int32_t w, h, duration_s;
};

/* What markup makes of a creative once, when the catalog loads; pairs are by enum markup_form. */
struct creative_markup {
    struct str id[2], ad_id[2]; /* as XML */
    struct str duration;        /* 00:00:15 */
    struct str media[2];        /* VAST's MediaFile, a banner's img */
    struct str_list html[2];    /* what is between its {CLICK}s */
};

struct catalog_creative {
    struct str id;
    uint32_t ref; /* cap_ref32(id) */
    enum creative_type type;
    int32_t w, h;
    int32_t duration_s;
    int32_t bitrate_kbps; /* 0 = unknown */
    struct str mime;      /* video, audio */
    struct str url;       /* media file */
    struct str image;     /* banner image */
    struct str html;      /* banner HTML5 markup, with {CLICK} where the click url goes */
    struct str landing;
    struct native_asset *assets;
    uint32_t asset_count;
    struct int_list attr, apis; /* IAB creative attributes; APIs the ad needs */
    struct str_list categories; /* else the advertiser's */
    struct str language;
    struct str adid;
    struct index_list caps;
    bool secure;                          /* every url is https */
    const struct creative_markup *markup; /* markup_prepare */
    struct str bid_members;               /* bid_members_prepare */
};

enum no_id_policy { NO_ID_SKIP, NO_ID_ALLOW };
enum store_error_policy { STORE_ERROR_NO_BID, STORE_ERROR_ALLOW };
enum pacing_mode { PACING_EVEN, PACING_AHEAD, PACING_ASAP, PACING_HOURLY };
enum goal_kind { GOAL_NONE, GOAL_CPC, GOAL_CPA };

struct catalog_budget {
    uint32_t ref;         /* names it in Redis; made of name and unit */
    struct str name;      /* "campaign:ID" or "line:ID" */
    int64_t total, daily; /* micros, or impressions; 0 = none */
    bool impressions;     /* unit of both */
    enum pacing_mode pacing;
    uint16_t hourly_share[24]; /* PACING_HOURLY: parts per 10000 of the day */
    int64_t start_s, end_s;    /* the flight it belongs to */
};

/* One of a line's creatives with the circumstances it is for. */
struct line_creative {
    uint32_t creative;
    uint32_t weight;                   /* relative; 1 when not given */
    const struct targeting *targeting; /* NULL = any request */
};

struct catalog_line {
    struct str id;
    uint32_t ref;  /* cap_ref32(id) */
    uint32_t slot; /* metrics row; stays with the id over reloads */
    uint32_t campaign, brand, advertiser;
    enum buying_mode buying;
    struct index_list deals; /* empty for open RTB */
    struct line_creative *creatives;
    uint32_t creative_count;
    bool sequence;        /* the n-th exposure shows the n-th creative; the last one stays */
    bool best_performing; /* Thompson sampling among creatives */
    int64_t bid_cpm_micros;
    enum goal_kind goal;
    int64_t goal_micros;
    bool shading;
    bool new_reach_only;
    bool reserve;
    enum no_id_policy no_id;
    enum store_error_policy on_store_error;
    struct cap_list caps; /* line + campaign + brand + advertiser + named sets, by cap_book index */
    struct index_list budgets; /* into catalog.budgets: line's and campaign's */
    int64_t start_s, end_s;    /* [start, end) UTC */
    struct targeting targeting;
    bool enabled;
};

struct catalog_campaign {
    struct str id;
    uint32_t brand;
    int64_t start_s, end_s;
    struct index_list caps;
    uint32_t first_line, line_count;
    struct str bid_members; /* bid_members_prepare */
};

struct rotation_share {
    uint32_t brand;
    uint32_t share_ppm; /* of 1,000,000; all shares of a rotation sum to it */
};

struct catalog_rotation {
    struct str id;
    uint32_t ref;
    struct index_list deals;
    struct rotation_share *shares;
    uint32_t share_count;
    int64_t window_s; /* how long a last touch counts; default 30 days */
};

struct catalog_swap {
    struct str id;
    uint32_t ref;
    uint32_t brands[2];
    bool by_value;
    bool cross_advertiser;
    bool consent;                /* both sides; required for cross-advertiser */
    uint32_t dmp;                /* or CATALOG_NONE */
    int64_t planned_impressions; /* of the smaller brand */
    int64_t start_s, end_s;
};

struct catalog_dmp {
    struct str id, url;
    int64_t deadline_us;
    int64_t cache_s;
};

struct catalog_currency {
    struct str code;
    int64_t rate_micros; /* one unit of it = rate_micros / 1e6 of the catalog's currency */
};

struct target_index; /* bidder/target.c: bitmaps over lines */

struct catalog {
    struct arena arena; /* everything below */
    uint32_t references;
    uint64_t generation;
    uint64_t digest; /* of the file's bytes */
    struct tz tz;
    struct str currency;
    struct catalog_currency *currencies; /* includes the catalog's own at 1000000 */
    uint32_t currency_count;
    struct catalog_exchange *exchanges;
    uint32_t exchange_count;
    struct catalog_advertiser *advertisers;
    uint32_t advertiser_count;
    struct catalog_brand *brands;
    uint32_t brand_count;
    struct catalog_audience *audiences;
    uint32_t audience_count;
    struct cap *caps;
    uint32_t cap_count;
    struct cap_book book;
    struct catalog_deal *deals;
    uint32_t deal_count;
    struct catalog_campaign *campaigns;
    uint32_t campaign_count;
    struct catalog_line *lines;
    uint32_t line_count;
    struct index_list shading_lines; /* lines with shading */
    struct catalog_creative *creatives;
    uint32_t creative_count;
    struct catalog_budget *budgets;
    uint32_t budget_count;
    struct catalog_rotation *rotations;
    uint32_t rotation_count;
    struct catalog_swap *swaps;
    uint32_t swap_count;
    struct catalog_dmp *dmps;
    uint32_t dmp_count;
    struct str_table exchange_by_id;
    struct str_table deal_by_id; /* key: deal id; several exchanges may use one id, see next_deal */
    uint32_t *next_deal;         /* by deal index: next deal with the same id, or CATALOG_NONE */
    struct str_table line_by_id, brand_by_id, campaign_by_id, creative_by_id;
    struct target_index *index;
};

/* Auctions hold a reference while they run; the last one frees. Single-threaded (per worker). */
struct catalog *catalog_retain(struct catalog *catalog);
void catalog_release(struct catalog **catalog);

/* The deal a wire id means on an exchange, or CATALOG_NONE. */
/* The owner's line on a deal, whose budgets pay for what the owner lends; CATALOG_NONE. */
uint32_t catalog_deal_payer(const struct catalog *catalog, const struct catalog_deal *deal);
uint32_t catalog_find_deal(const struct catalog *catalog, uint32_t exchange, struct str wire_id);
/* micros of currency code -> micros of the catalog's; false when the catalog has no rate. Rounds up
 * (floors must not be undercut). */
bool catalog_to_own_currency(const struct catalog *catalog, struct str code, int64_t micros,
                             int64_t *own_micros);
/* The other way, rounded down (a bid must not exceed what was decided). */
bool catalog_from_own_currency(const struct catalog *catalog, struct str code, int64_t own_micros,
                               int64_t *micros);
/* Is a person with these segments (ascending cap_ref32) in the audience? */
bool audience_expr_matches(const struct catalog *catalog, const struct audience_expr *expr,
                           const uint32_t *segments, uint32_t segment_count);
