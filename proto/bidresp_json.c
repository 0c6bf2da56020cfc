/* struct bid_response -> OpenRTB JSON. Pure. Output is valid JSON whatever the strings hold: the
 * decoders let only valid UTF-8 in, and catalog text is checked at load; a byte that is none of it
 * becomes U+FFFD here. */
#include "proto/bidresp.h"

#include "bidder/base/scan.h"
#include "bidder/base/utf8.h"

/* One pass: escapes as buf_put_json_escaped does, and replaces what is no UTF-8. */
static void put_quoted(struct buf *out, struct str text)
{
    buf_put_char(out, '"');
    const char *clean = text.len ? text.ptr : "", *end = clean + text.len;
    for (const char *at = scan_json(clean, end); at < end; at = scan_json(at, end)) {
        size_t length = utf8_length(at, end);
        if (length > 1) {
            at += length;
            continue;
        }
        buf_put(out, clean, (size_t)(at - clean));
        if (*at == '"' || *at == '\\') {
            char two[2] = {'\\', *at};
            buf_put(out, two, 2);
        } else if (length) {
            buf_put_json_escaped(out, (struct str){at, 1});
        } else {
            BUF_PUT_LITERAL(out, "\xef\xbf\xbd");
        }
        clean = ++at;
    }
    buf_put(out, clean, (size_t)(end - clean));
    buf_put_char(out, '"');
}

/* ,"name": - the opening brace stands for the first member's comma. */
static void put_name(struct buf *out, const char *name)
{
    if (out->len && out->data[out->len - 1] != '{') {
        buf_put_char(out, ',');
    }
    buf_put_char(out, '"');
    buf_put(out, name, strlen(name));
    BUF_PUT_LITERAL(out, "\":");
}

static void put_text(struct buf *out, const char *name, struct str text)
{
    if (text.len) {
        put_name(out, name);
        put_quoted(out, text);
    }
}

static void put_int(struct buf *out, const char *name, int32_t value)
{
    if (value) {
        put_name(out, name);
        buf_put_i64(out, value);
    }
}

static void put_texts(struct buf *out, const char *name, struct str_list list)
{
    if (!list.count) {
        return;
    }
    put_name(out, name);
    for (uint32_t i = 0; i < list.count; i++) {
        buf_put_char(out, i ? ',' : '[');
        put_quoted(out, list.items[i]);
    }
    buf_put_char(out, ']');
}

static void put_ints(struct buf *out, const char *name, struct int_list list)
{
    if (!list.count) {
        return;
    }
    put_name(out, name);
    for (uint32_t i = 0; i < list.count; i++) {
        buf_put_char(out, i ? ',' : '[');
        buf_put_i64(out, list.items[i]);
    }
    buf_put_char(out, ']');
}

static void put_bid(struct buf *out, const struct bid *bid)
{
    buf_put_char(out, '{');
    put_text(out, "id", bid->id);
    put_text(out, "impid", bid->impid);
    put_name(out, "price");
    buf_put_micros(out, bid->price_micros);
    put_text(out, "adid", bid->adid);
    put_text(out, "nurl", bid->nurl);
    put_text(out, "burl", bid->burl);
    put_text(out, "lurl", bid->lurl);
    put_text(out, "adm", bid->adm);
    put_texts(out, "adomain", bid->adomain);
    put_text(out, "bundle", bid->bundle);
    put_text(out, "cid", bid->cid);
    put_text(out, "crid", bid->crid);
    put_texts(out, "cat", bid->cat);
    put_int(out, "cattax", bid->cattax);
    put_ints(out, "attr", bid->attr);
    put_ints(out, "apis", bid->apis);
    put_int(out, "protocol", bid->protocol);
    put_text(out, "language", bid->language);
    put_text(out, "dealid", bid->dealid);
    put_int(out, "w", bid->w);
    put_int(out, "h", bid->h);
    put_int(out, "exp", bid->exp);
    put_int(out, "dur", bid->dur);
    put_int(out, "mtype", (int32_t)bid->mtype);
    put_int(out, "slotinpod", bid->slotinpod);
    buf_put_char(out, '}');
}

void bidresp_encode_json(const struct bid_response *response, struct buf *out)
{
    buf_put_char(out, '{');
    put_name(out, "id"); /* required, so echoed even when empty */
    put_quoted(out, response->id);
    put_text(out, "bidid", response->bidid);
    put_text(out, "cur", response->cur);
    if (response->nbr >= 0) {
        put_name(out, "nbr");
        buf_put_i64(out, response->nbr);
    }
    if (response->bids.count) {
        BUF_PUT_LITERAL(out, ",\"seatbid\":[{");
        put_text(out, "seat", response->seat);
        put_name(out, "bid");
        for (uint32_t i = 0; i < response->bids.count; i++) {
            buf_put_char(out, i ? ',' : '[');
            put_bid(out, &response->bids.items[i]);
        }
        BUF_PUT_LITERAL(out, "]}]");
    }
    buf_put_char(out, '}');
}
