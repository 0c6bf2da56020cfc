/* struct bid_response -> OpenRTB protobuf (numbers in openrtb.proto). Written straight into the
 * buffer: protobuf-c would want every view copied to a C string first. Tests read the result back
 * with protobuf-c. */
#include "proto/bidresp.h"

#include "bidder/base/utf8.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2 };

/* Ten bytes at most; returns how many. */
static size_t varint(uint64_t value, unsigned char bytes[10])
{
    size_t n = 0;
    while (value >= 0x80) {
        bytes[n++] = (unsigned char)(value | 0x80);
        value >>= 7;
    }
    bytes[n++] = (unsigned char)value;
    return n;
}

static inline void put_varint(struct buf *out, uint64_t value)
{
    if (value < 0x80) { /* most tags and lengths */
        buf_put_char(out, (char)value);
        return;
    }
    unsigned char bytes[10];
    buf_put(out, bytes, varint(value, bytes));
}

static void put_tag(struct buf *out, uint32_t field, enum wire_type type)
{
    put_varint(out, (uint64_t)field << 3 | type);
}

static void put_int_always(struct buf *out, uint32_t field, int32_t value)
{
    put_tag(out, field, WIRE_VARINT);
    put_varint(out, (uint64_t)(int64_t)value); /* negative ones are sign-extended: ten bytes */
}

static void put_int(struct buf *out, uint32_t field, int32_t value)
{
    if (value) {
        put_int_always(out, field, value);
    }
}

static void put_text_always(struct buf *out, uint32_t field, struct str text)
{
    put_tag(out, field, WIRE_BYTES);
    put_varint(out, text.len);
    buf_put_str(out, text);
}

/* Left out when empty; and when it is not UTF-8, which a protobuf string must be. */
static void put_text(struct buf *out, uint32_t field, struct str text)
{
    if (text.len && utf8_valid(text)) {
        put_text_always(out, field, text);
    }
}

static void put_ready(struct buf *out, uint32_t field, struct bid_text text)
{
    size_t size = bid_text_size(text);
    if (!size) {
        return;
    }
    put_tag(out, field, WIRE_BYTES);
    put_varint(out, size);
    char *to = buf_reserve(out, size);
    if (to) {
        bid_text_write(text, to);
        out->len += size;
    }
}

static void put_texts(struct buf *out, uint32_t field, struct str_list list)
{
    for (uint32_t i = 0; i < list.count; i++) {
        put_text(out, field, list.items[i]);
    }
}

static void put_ints(struct buf *out, uint32_t field, struct int_list list)
{
    for (uint32_t i = 0; i < list.count; i++) {
        put_int_always(out, field, list.items[i]);
    }
}

/* The price is a double on the wire: the one nearest to the micros, no sum is done with it. */
static void put_price(struct buf *out, uint32_t field, int64_t micros)
{
    double price = (double)micros / 1e6;
    uint64_t bits;
    memcpy(&bits, &price, sizeof(bits));
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++) {
        bytes[i] = (unsigned char)(bits >> (8 * i));
    }
    put_tag(out, field, WIRE_FIXED64);
    buf_put(out, bytes, sizeof(bytes));
}

/* What was appended since start becomes a message: its length goes in front of it. */
static void wrap_message(struct buf *out, size_t start)
{
    unsigned char bytes[10];
    size_t length = out->len - start, n = varint(length, bytes);
    if (!buf_reserve(out, n)) {
        return;
    }
    memmove(out->data + start + n, out->data + start, length);
    memcpy(out->data + start, bytes, n);
    out->len += n;
}

static void put_bid(struct buf *out, const struct bid *bid)
{
    put_text(out, 1, bid->id);
    put_text(out, 2, bid->impid);
    put_price(out, 3, bid->price_micros);
    put_text(out, 4, bid->adid);
    put_ready(out, 5, bid->nurl);
    put_ready(out, 6, bid->adm);
    put_texts(out, 7, bid->adomain);
    put_text(out, 9, bid->cid);
    put_text(out, 10, bid->crid);
    put_ints(out, 11, bid->attr);
    put_text(out, 13, bid->dealid);
    put_text(out, 14, bid->bundle);
    put_texts(out, 15, bid->cat);
    put_int(out, 16, bid->w);
    put_int(out, 17, bid->h);
    put_int(out, 19, bid->protocol);
    put_int(out, 21, bid->exp);
    put_ready(out, 22, bid->burl);
    put_ready(out, 23, bid->lurl);
    put_text(out, 25, bid->language);
    put_int(out, 28, bid->slotinpod);
    put_int(out, 30, bid->cattax);
    put_ints(out, 31, bid->apis);
    put_int(out, 32, bid->dur);
    put_int(out, 33, (int32_t)bid->mtype);
}

void bidresp_encode_pb(const struct bid_response *response, struct buf *out)
{
    put_text_always(out, 1, utf8_valid(response->id) ? response->id : STR_NONE);
    if (response->bids.count) {
        put_tag(out, 2, WIRE_BYTES);
        size_t seatbid = out->len;
        for (uint32_t i = 0; i < response->bids.count; i++) {
            put_tag(out, 1, WIRE_BYTES);
            size_t start = out->len;
            put_bid(out, &response->bids.items[i]);
            wrap_message(out, start);
        }
        put_text(out, 2, response->seat);
        wrap_message(out, seatbid);
    }
    put_text(out, 3, response->bidid);
    put_text(out, 4, response->cur);
    if (response->nbr >= 0) {
        put_int_always(out, 6, response->nbr);
    }
}
