/* What a bid request means to us, whatever wire format carried it.
 *
 * Every str is a view into the request body or into the request's arena; every array lies in the
 * arena. All of it dies with the auction. A field the exchange did not send holds the default said
 * beside it. "-1 = absent" fields let a rule tell "said 0" from "said nothing".
 *
 * Producers: proto/openrtb_json.c, proto/openrtb_cjson.c (oracle), proto/openrtb_pb.c.
 * They agree field by field; tests compare them over every fixture. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bidder/base/arena.h"
#include "bidder/base/str.h"

struct str_list {
    struct str *items;
    uint32_t count;
};

struct int_list {
    int32_t *items;
    uint32_t count;
};

struct bidreq_size {
    int32_t w, h;                 /* 0 = absent; absolute pixels */
    int32_t wratio, hratio, wmin; /* flexible formats; 0 = absent */
};

/* A floor that depends on the creative's duration (2.6 durfloors). */
struct bidreq_durfloor {
    int32_t min_s, max_s;    /* inclusive; 0 and INT32_MAX when open */
    int64_t bidfloor_micros; /* CPM, in the currency of the floor beside it */
};

struct bidreq_durfloors {
    struct bidreq_durfloor *items;
    uint32_t count;
};

struct bidreq_deal {
    struct str id;
    int64_t bidfloor_micros; /* CPM; 0 = none */
    struct str bidfloorcur;  /* "USD" when absent: it does not inherit from the imp */
    int32_t at;   /* 0 = absent; 1 first, 2 second price, 3 = bidfloor is the agreed price */
    int32_t guar; /* 1 = guaranteed */
    struct str_list wseat; /* empty = everyone */
    struct str_list wadomain;
    int64_t mincpmpersec_micros; /* 0 = none */
    struct bidreq_durfloors durfloors;
};

struct bidreq_banner {
    int32_t w, h; /* 0 = absent */
    struct {
        struct bidreq_size *items;
        uint32_t count;
    } format;
    struct int_list btype, battr, api;
    struct str_list mimes;
    int32_t pos; /* -1 = absent */
};

/* Video and audio share most of their fields. */
struct bidreq_av {
    struct str_list mimes;
    int32_t minduration, maxduration; /* seconds; 0 and INT32_MAX when absent */
    struct int_list rqddurs;          /* exact durations; when given, min/max do not count */
    struct int_list protocols;        /* includes the deprecated single "protocol" */
    struct int_list api, battr, delivery;
    int32_t startdelay; /* INT32_MIN = absent; >0 mid-roll second, 0 pre, -1 mid, -2 post */
    int32_t w, h;       /* 0 = absent; video only */
    int32_t plcmt, placement, linearity, skip, pos; /* -1 = absent; video only */
    int32_t minbitrate, maxbitrate;                 /* kbit/s; 0 and INT32_MAX when absent */
    struct str podid;
    int32_t podseq, slotinpod, poddur, maxseq; /* 0 = absent (0 is also "any" by the spec) */
    int64_t mincpmpersec_micros;               /* 0 = none; floor currency of the imp or deal */
    struct bidreq_durfloors durfloors;
};

enum bidreq_asset_kind {
    BIDREQ_ASSET_TITLE,
    BIDREQ_ASSET_IMAGE,
    BIDREQ_ASSET_VIDEO,
    BIDREQ_ASSET_DATA,
    BIDREQ_ASSET_UNKNOWN, /* none of the four: a required one cannot be served */
};

struct bidreq_asset {
    int32_t id;
    bool required;
    enum bidreq_asset_kind kind;
    int32_t type;                     /* image type 1 icon / 3 main; data type 1..12; 0 = absent */
    int32_t len;                      /* title, data: maximal length in characters; 0 = no limit */
    int32_t w, h, wmin, hmin;         /* image; 0 = absent */
    struct str_list mimes;            /* image, video; empty = any */
    int32_t minduration, maxduration; /* video */
    struct int_list protocols;        /* video */
};

/* event: 1 impression, 2 viewable mrc50, ...; methods: 1 img pixel, 2 js */
struct bidreq_eventtracker {
    int32_t event;
    struct int_list methods;
};

/* native.request decoded: the JSON string, an object in its place, with or without "native". */
struct bidreq_native {
    struct str ver; /* "1.2" when absent */
    struct int_list api, battr;
    struct {
        struct bidreq_asset *items;
        uint32_t count;
    } assets;
    struct {
        struct bidreq_eventtracker *items;
        uint32_t count;
    } eventtrackers;
    bool has_root;  /* the request wrapped its markup in {"native":...}: the answer does too */
    bool malformed; /* no usable markup request: never bid native on it */
};

struct bidreq_imp {
    struct str id;
    struct bidreq_banner *banner; /* NULL = not offered */
    struct bidreq_av *video, *audio;
    struct bidreq_native *native;
    struct str tagid;
    int64_t bidfloor_micros; /* CPM; 0 = none */
    struct str bidfloorcur;  /* "USD" when absent */
    int32_t secure;          /* -1 = absent (treated as 1: https works everywhere) */
    int32_t instl, rwdd, ssai;
    int32_t exp;        /* seconds; 0 = absent */
    int64_t qty_micros; /* multiplier * 1e6; 1000000 when absent */
    bool private_auction;
    struct {
        struct bidreq_deal *items;
        uint32_t count;
    } deals;
};

enum bidreq_medium { BIDREQ_MEDIUM_NONE, BIDREQ_SITE, BIDREQ_APP, BIDREQ_DOOH };

/* site, app or dooh: the place the impression is in. */
struct bidreq_media {
    enum bidreq_medium kind;
    struct str id, name, domain, page;
    struct str bundle; /* app only */
    struct str publisher_id, publisher_domain;
    struct str_list cat, sectioncat, pagecat; /* taxonomy in cattax */
    int32_t cattax;                           /* 1 when absent */
    struct str_list keywords;                 /* comma text and lists alike, trimmed */
    struct str content_id, content_title, content_series, content_language;
    struct str_list content_cat;
    int32_t content_cattax;     /* 1 when absent */
    int32_t content_len;        /* seconds; 0 = absent */
    int32_t content_livestream; /* -1 = absent */
};

struct bidreq_geo {
    bool has_point;
    int64_t lat_micro, lon_micro; /* degrees * 1e6 */
    struct str country;           /* ISO-3166 alpha-3, as sent */
    struct str region, city, zip, metro;
    int32_t utcoffset; /* minutes; INT32_MIN = absent */
    int32_t type;      /* 0 = absent */
};

struct bidreq_device {
    struct str ua, ip, ipv6, make, model, os, osv, language, carrier;
    struct str ifa, didmd5, didsha1, dpidmd5, dpidsha1, macmd5, macsha1;
    struct bidreq_geo geo; /* device.geo, filled up from user.geo where empty */
    int32_t
        devicetype; /* 0 = absent; 1 mobile 2 pc 3 tv 4 phone 5 tablet 6 connected 7 stb 8 ooh */
    int32_t connectiontype; /* 0 = absent/unknown; 1 ethernet 2 wifi 3 cell 4 2g 5 3g 6 4g 7 5g */
    int32_t dnt, lmt;       /* -1 = absent */
    int32_t w, h;
};

struct bidreq_eid {
    struct str source;
    struct str id; /* uids[0].id */
    int32_t atype; /* 0 = absent */
};

struct bidreq_user {
    struct str id, buyeruid, gender, consent;
    int32_t yob; /* 0 = absent */
    struct str_list keywords;
    struct str_list segments; /* data[].segment[].id, flattened */
    struct {
        struct bidreq_eid *items;
        uint32_t count;
    } eids;
};

struct bidreq_regs {
    int32_t coppa; /* -1 = absent */
    int32_t gdpr;  /* -1 = absent; regs.gdpr wins over regs.ext.gdpr */
    struct str us_privacy, gpp;
    struct int_list gpp_sid;
    int32_t gpc; /* -1 = absent */
};

struct bidreq_schain_node {
    struct str asi, sid;
};

struct bidreq_source {
    struct str tid;
    int32_t fd; /* -1 = absent */
    bool has_schain;
    int32_t schain_complete; /* -1 = absent */
    struct {
        struct bidreq_schain_node *items;
        uint32_t count;
    } schain;
};

/* Text values of id paths the model has no field for (device.ext.oaid, device.ext.caid, ...).
 * The decoder keeps every scalar directly inside device.ext and user.ext. */
struct bidreq_ext {
    struct str path; /* "device.ext.oaid" */
    struct str value;
};

struct bid_request {
    struct str id;
    struct {
        struct bidreq_imp *items;
        uint32_t count;
    } imp;
    struct bidreq_media media;
    struct bidreq_device device;
    struct bidreq_user user;
    struct bidreq_regs regs;
    struct bidreq_source source;
    int32_t test;
    int32_t at;      /* 2 when absent */
    int32_t tmax_ms; /* 0 = absent */
    bool allimps;
    struct str_list wseat, bseat, cur, wlang, bcat, acat, badv, bapp;
    int32_t cattax; /* of bcat and acat; 1 when absent */
    struct {
        struct bidreq_ext *items;
        uint32_t count;
    } ext;
    struct arena *arena; /* where all of this lies; borrowed */
};

/* Why a body is not a bid request we can answer. Each has a counter; all but the last two are
 * answered 400. */
enum bidreq_reject {
    BIDREQ_OK = 0,
    BIDREQ_NOT_JSON,   /* syntax error, or protobuf that does not parse */
    BIDREQ_NOT_OBJECT, /* JSON, but not an object at the top */
    BIDREQ_TOO_DEEP,   /* nesting limit */
    BIDREQ_TOO_LARGE,  /* string, array or field-count limit */
    BIDREQ_NO_ID,      /* BidRequest.id missing or empty */
    BIDREQ_NO_IMP,     /* imp missing or empty */
    BIDREQ_NO_IMP_ID,  /* an imp without id */
    BIDREQ_DUPLICATE_IMP_ID,
    BIDREQ_NO_MEMORY, /* the request does not fit the arena */
    BIDREQ_PING,      /* a readiness probe: the body is the number 1 or an empty object */
    BIDREQ_REJECT_COUNT
};

/* snake_case name for metrics and messages; static memory. */
const char *bidreq_reject_name(enum bidreq_reject reject);

/* Limits of every decoder. */
#define BIDREQ_MAX_DEPTH 32
#define BIDREQ_MAX_IMPS  64
#define BIDREQ_MAX_LIST  1024  /* items in any list; beyond: BIDREQ_TOO_LARGE */
#define BIDREQ_MAX_EXT   32    /* ext scalars kept; further ones are ignored */
#define BIDREQ_MAX_TEXT  65536 /* bytes of a text we keep; beyond: BIDREQ_TOO_LARGE */
