/* struct bid_response -> OpenRTB JSON. Pure. Output is valid JSON whatever the strings hold: the
 * decoders let only valid UTF-8 in, and catalog text is checked at load; a byte that is none of it
 * becomes U+FFFD here. */
#include "proto/bidresp.h"

#include "bidder/base/scan.h"
#include "bidder/base/utf8.h"

/* A member is written with all that comes before its value: ,"name":" - these are constants, so
 * copying one is a few moves. */
#define PUT_TEXT(out, name, text)  put_text((out), STR(",\"" name "\":\""), (text))
#define PUT_READY(out, name, text) put_ready((out), STR(",\"" name "\":\""), (text))
#define PUT_INT(out, name, value)  put_int((out), STR(",\"" name "\":"), (value))
#define PUT_TEXTS(out, name, list) put_texts((out), STR(",\"" name "\":["), (list))
#define PUT_INTS(out, name, list)  put_ints((out), STR(",\"" name "\":["), (list))

/* From the first byte that needs a look on: escapes as buf_put_json_escaped does, and replaces what
 * is no UTF-8. */
static void put_escaped(struct buf *out, struct str text)
{
    const char *clean = text.ptr, *end = clean + text.len;
    for (const char *at = scan_json(clean, end); at < end; at = scan_json(at, end)) {
        size_t length = utf8_length(at, end);
        if (length > 1) {
            at += length;
            continue;
        }
        buf_put(out, clean, (size_t)(at - clean));
        if (length) {
            buf_put_json_escaped(out, (struct str){at, 1});
        } else {
            BUF_PUT_LITERAL(out, "\xef\xbf\xbd");
        }
        clean = ++at;
    }
    buf_put(out, clean, (size_t)(end - clean));
}

/* start, the text, and its closing quote. Most texts need no escape. */
static inline void put_quoted(struct buf *out, struct str start, struct str text)
{
    char *to = buf_reserve(out, start.len + text.len + 1);
    if (!to) {
        return;
    }
    memcpy(to, start.ptr, start.len);
    out->len += start.len;
    if (text.len) {
        if (LIKELY(scan_json(text.ptr, text.ptr + text.len) == text.ptr + text.len)) {
            memcpy(to + start.len, text.ptr, text.len);
            out->len += text.len;
        } else {
            put_escaped(out, text);
        }
    }
    buf_put_char(out, '"');
}

static inline void put_text(struct buf *out, struct str start, struct str text)
{
    if (text.len) {
        put_quoted(out, start, text);
    }
}

static inline void put_ready(struct buf *out, struct str start, struct bid_text text)
{
    size_t size = bid_text_size(text);
    char *to = size ? buf_reserve(out, start.len + size + 1) : NULL;
    if (to) {
        memcpy(to, start.ptr, start.len);
        *bid_text_write(text, to + start.len) = '"';
        out->len += start.len + size + 1;
    }
}

static inline void put_int(struct buf *out, struct str start, int32_t value)
{
    if (value) {
        buf_put_str(out, start);
        buf_put_i64(out, value);
    }
}

static void put_texts(struct buf *out, struct str start, struct str_list list)
{
    if (!list.count) {
        return;
    }
    buf_put_str(out, start);
    for (uint32_t i = 0; i < list.count; i++) {
        put_quoted(out, i ? STR(",\"") : STR("\""), list.items[i]);
    }
    buf_put_char(out, ']');
}

static void put_ints(struct buf *out, struct str start, struct int_list list)
{
    if (!list.count) {
        return;
    }
    buf_put_str(out, start);
    for (uint32_t i = 0; i < list.count; i++) {
        if (i) {
            buf_put_char(out, ',');
        }
        buf_put_i64(out, list.items[i]);
    }
    buf_put_char(out, ']');
}

void bidresp_json_members(const struct bid *bid, struct buf *out)
{
    PUT_TEXT(out, "adid", bid->adid);
    PUT_TEXTS(out, "adomain", bid->adomain);
    PUT_TEXT(out, "bundle", bid->bundle);
    PUT_TEXT(out, "cid", bid->cid);
    PUT_TEXT(out, "crid", bid->crid);
    PUT_TEXTS(out, "cat", bid->cat);
    PUT_INT(out, "cattax", bid->cattax);
    PUT_INTS(out, "attr", bid->attr);
    PUT_INTS(out, "apis", bid->apis);
    PUT_TEXT(out, "language", bid->language);
    PUT_INT(out, "w", bid->w);
    PUT_INT(out, "h", bid->h);
    PUT_INT(out, "dur", bid->dur);
    PUT_INT(out, "mtype", (int32_t)bid->mtype);
}

static void put_bid(struct buf *out, const struct bid *bid)
{
    put_quoted(out, STR("{\"id\":\""), bid->id); /* required, as the response's */
    PUT_TEXT(out, "impid", bid->impid);
    BUF_PUT_LITERAL(out, ",\"price\":");
    buf_put_micros(out, bid->price_micros);
    PUT_READY(out, "nurl", bid->nurl);
    PUT_READY(out, "burl", bid->burl);
    PUT_READY(out, "lurl", bid->lurl);
    PUT_READY(out, "adm", bid->adm);
    PUT_INT(out, "protocol", bid->protocol);
    PUT_TEXT(out, "dealid", bid->dealid);
    PUT_INT(out, "exp", bid->exp);
    PUT_INT(out, "slotinpod", bid->slotinpod);
    for (unsigned i = 0; i < BID_MEMBERS_COUNT; i++) {
        buf_put_str(out, bid->members[i]);
    }
    bidresp_json_members(bid, out);
    buf_put_char(out, '}');
}

void bidresp_encode_json(const struct bid_response *response, struct buf *out)
{
    put_quoted(out, STR("{\"id\":\""), response->id); /* required, so echoed even when empty */
    PUT_TEXT(out, "bidid", response->bidid);
    PUT_TEXT(out, "cur", response->cur);
    if (response->nbr >= 0) {
        BUF_PUT_LITERAL(out, ",\"nbr\":");
        buf_put_i64(out, response->nbr);
    }
    if (response->bids.count) {
        BUF_PUT_LITERAL(out, ",\"seatbid\":[{\"bid\":[");
        for (uint32_t i = 0; i < response->bids.count; i++) {
            if (i) {
                buf_put_char(out, ',');
            }
            put_bid(out, &response->bids.items[i]);
        }
        buf_put_char(out, ']');
        PUT_TEXT(out, "seat", response->seat);
        BUF_PUT_LITERAL(out, "}]");
    }
    buf_put_char(out, '}');
}
