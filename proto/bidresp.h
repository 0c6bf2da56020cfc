/* What we answer, before it is put into a wire format. Views live at least until encoding. */
#pragma once

#include <stdint.h>

#include "bidder/base/buf.h"
#include "bidder/base/str.h"
#include "proto/bidreq.h"

/* A long text in pieces, one behind the other, ready for the answer's format: for JSON escaped as it
 * stands between the quotes, for protobuf as it is. Valid UTF-8; the encoders copy it unseen. */
struct bid_text {
    const struct str *pieces;
    uint32_t count;
};

/* Fields that do not differ from bid to bid are encoded beforehand: a JSON bid takes their members as
 * text, in up to so many parts, with the fields themselves empty. */
enum { BID_MEMBERS_CREATIVE, BID_MEMBERS_CAMPAIGN, BID_MEMBERS_CATEGORIES, BID_MEMBERS_COUNT };

enum bid_mtype { BID_BANNER = 1, BID_VIDEO = 2, BID_AUDIO = 3, BID_NATIVE = 4 };

struct bid {
    struct str id;        /* ours, unique */
    struct str impid;     /* echoed */
    int64_t price_micros; /* CPM in the response's currency */
    struct bid_text adm;  /* markup */
    struct bid_text nurl, burl, lurl;
    struct str adid, cid, crid, dealid, bundle, language;
    struct str_list adomain, cat;
    int32_t cattax; /* 0 = leave out */
    struct int_list attr, apis;
    enum bid_mtype mtype;
    int32_t protocol; /* 0 = leave out; AdCOM creative subtype for video (7 = VAST 4.0, 13 = 4.2) */
    int32_t w, h;     /* 0 = leave out */
    int32_t dur;      /* seconds; 0 = leave out */
    int32_t slotinpod;                     /* 0 = leave out */
    int32_t exp;                           /* seconds; 0 = leave out */
    struct str members[BID_MEMBERS_COUNT]; /* JSON only: made by bidresp_json_members */
};

struct bid_response {
    struct str id; /* of the request, echoed */
    struct str bidid;
    struct str cur;
    struct str seat;
    struct {
        struct bid *items;
        uint32_t count;
    } bids;
    int32_t nbr; /* for a no-bid with a body; -1 = leave out */
};

/* Bytes of all its pieces. */
static inline size_t bid_text_size(struct bid_text text)
{
    size_t size = 0;
    for (uint32_t i = 0; i < text.count; i++) {
        size += text.pieces[i].len;
    }
    return size;
}

/* Writes them, which takes bid_text_size bytes; returns the end. */
static inline char *bid_text_write(struct bid_text text, char *to)
{
    for (uint32_t i = 0; i < text.count; i++) {
        if (text.pieces[i].len) { /* ptr may be NULL */
            memcpy(to, text.pieces[i].ptr, text.pieces[i].len);
            to += text.pieces[i].len;
        }
    }
    return to;
}

/* Appends the members of the fields that creative and campaign decide (adid, cid, crid, bundle,
 * language, adomain, cat, cattax, attr, apis, mtype, w, h, dur), as far as they are there, each
 * behind its comma: what bid.members wants. */
void bidresp_json_members(const struct bid *bid, struct buf *out);

/* Encoders append to out; ask buf_failed(out) afterwards. Pure. */
void bidresp_encode_json(const struct bid_response *response, struct buf *out);
void bidresp_encode_pb(const struct bid_response *response, struct buf *out);
